//! Why an operation failed.

use std::str::FromStr;
use std::time::Duration;

use postrider_http::problem::Problem;
use postrider_model::scope::Scope;
use postrider_store::{EditError, StoreError};

/// How long to wait before a new try while the database or the broker is not available.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);

pub use postrider_http::problem::FieldError;

/// Why a caller may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Only operators may call the operation.
    #[error("this requires an operator key")]
    OperatorOnly,
    /// The key does not have the scope that the operation requires.
    #[error("this requires a key with the scope `{}`", .0.as_str())]
    MissingScope(Scope),
    /// The key belongs to several tenants.
    #[error("this key can only publish, for several tenants; use a tenant's key or an operator key")]
    SeveralTenants,
    /// The request gives a new key or portal link a scope that the caller's key does not have.
    #[error("your key does not have this scope, so it cannot give it")]
    ScopeNotHeld {
        /// The index of the scope in the request's list of scopes.
        index: usize,
    },
}

/// Why an operation failed. A failed operation changed nothing, except that the change may have happened after
/// [`Error::Unavailable`], and that an edit stays in effect if the recovery that it orders cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The object does not exist, or it belongs to another tenant.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The caller may not do this.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The request contradicts the current state.
    #[error("{0}")]
    Conflict(String),
    /// The version that the caller expects is not the current version.
    #[error("If-Match names another version than the current one, \"v{current}\"; read it again")]
    VersionMismatch {
        /// The current version.
        current: i64,
    },
    /// At least one field is wrong.
    #[error("{}", Problem::unprocessable(.0.clone()).detail)]
    Invalid(Vec<FieldError>),
    /// A limit on requests, changes or work in progress is exceeded.
    #[error("{detail}")]
    TooMany {
        /// The limit.
        detail: String,
        /// How long to wait before a new try.
        retry_after: Duration,
    },
    /// The database or the broker is not available, or the process is busy: whether the request took effect is unknown.
    #[error("{detail}")]
    Unavailable {
        /// What is not available.
        detail: String,
        /// How long to wait before a new try.
        retry_after: Duration,
    },
    /// A fault in Postrider, which is logged where it happens.
    #[error("an internal error; it was logged")]
    Internal,
}

impl Error {
    /// One wrong field.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, detail)])
    }

    /// Moves the pointers of wrong fields below `prefix`, the pointer of the object that has the fields.
    pub(crate) fn below(self, prefix: &str) -> Self {
        match self {
            Self::Invalid(errors) => {
                let moved = |error: FieldError| FieldError { pointer: format!("{prefix}{}", error.pointer), ..error };
                Self::Invalid(errors.into_iter().map(moved).collect())
            }
            other => other,
        }
    }

    /// Returns the error for an exceeded limit, with a wait of at least a second before a new try.
    pub(crate) fn too_many(detail: impl Into<String>, wait: Duration) -> Self {
        Self::TooMany { detail: detail.into(), retry_after: wait.max(Duration::from_secs(1)) }
    }

    /// The database or the broker is not available.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::Unavailable { detail: detail.into(), retry_after: RETRY_AFTER }
    }
}

/// Converts an error to the answer of the API and of the dashboard: status, text and `Retry-After`.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::NotFound(_) => Self::not_found(detail),
            Error::Forbidden(Forbidden::ScopeNotHeld { index }) => {
                let errors = vec![FieldError::new(format!("/scopes/{index}"), detail.clone())];
                Self { errors, ..Self::forbidden(detail) }
            }
            Error::Forbidden(_) => Self::forbidden(detail),
            Error::Conflict(_) => Self::conflict(detail),
            Error::VersionMismatch { .. } => Self::precondition_failed(detail),
            Error::Invalid(errors) => Self::unprocessable(errors),
            Error::TooMany { retry_after, .. } => Self::too_many_requests(detail, retry_after),
            Error::Unavailable { retry_after, .. } => Self::unavailable(detail, retry_after),
            Error::Internal => Self::internal(),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Refused(_) => {
                tracing::debug!(%error, "the database is not available");
                Self::unavailable("the database is not available")
            }
            StoreError::NotFound { what } => Self::NotFound(what),
            StoreError::VersionMismatch { current } => Self::VersionMismatch { current },
            StoreError::Conflict(detail) => Self::Conflict(detail),
            StoreError::InvalidCursor => Self::invalid("cursor", "not a cursor of this list"),
            error => {
                tracing::error!(%error, "the store failed");
                Self::Internal
            }
        }
    }
}

impl From<EditError<Error>> for Error {
    fn from(error: EditError<Error>) -> Self {
        match error {
            EditError::Store(error) => error.into(),
            EditError::Refused(error) => error,
        }
    }
}

/// Parses an id or a name. No object has a malformed id or name, so the error is [`Error::NotFound`].
pub(crate) fn parse_id<T: FromStr>(thing: &'static str, id: &str) -> Result<T, Error> {
    id.parse().map_err(|_| Error::NotFound(thing))
}

/// Collects wrong fields, so that an answer names all of them.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<FieldError>);

impl Mistakes {
    pub(crate) fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldError::new(pointer, detail));
    }

    /// Adds the mistake that a check found, if any.
    pub(crate) fn check(&mut self, pointer: &str, result: Result<(), String>) {
        if let Err(detail) = result {
            self.add(pointer, detail);
        }
    }

    /// Adds the mistakes that another check found.
    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&FieldError) -> bool) {
        self.0.retain(keep);
    }

    #[cfg(test)]
    pub(crate) fn pointers(&self) -> Vec<&str> {
        self.0.iter().map(|error| error.pointer.as_str()).collect()
    }

    /// Returns [`Error::Invalid`] if there are mistakes.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}
