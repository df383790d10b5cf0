//! The reasons why ingest refuses a request, a message or an event.
//!
//! The HTTP routes answer with a [`Problem`]. The intake creates a dead letter, or tries the message again later
//! ([`Refused::is_temporary`]).

use std::time::Duration;

use postrider_access::KeyError;
use postrider_http::json::JsonError;
use postrider_http::problem::{ERRORS_MAX, FieldError, Problem, cut_detail};

/// The reason of a refusal, with its details.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The request, message or event cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// The format or encoding is not supported.
    #[error("{0}")]
    UnsupportedFormat(String),
    /// Fields are missing or invalid.
    #[error("{} fields are not valid", .0.len())]
    Invalid(Vec<FieldError>),
    /// The request or the event has more bytes than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// The id belongs to an event with different content.
    #[error("{0}")]
    Conflict(String),
    /// The request contains no key or an unknown key.
    #[error("{0}")]
    NoKey(&'static str),
    /// The key lacks the permission to publish.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// The sender does not publish for the specified tenant.
    #[error("{error}")]
    Tenant {
        /// The reason why the name does not identify a tenant.
        error: TenantError,
        /// The place where the tenant is specified.
        at: Option<String>,
    },
    /// The tenant exceeds a limit.
    #[error("{detail}")]
    Limited {
        /// A text about the limit that is exceeded.
        detail: String,
        /// The time after which to try again.
        retry_after: Duration,
    },
    /// Postrider cannot accept the request, message or event now.
    #[error("{detail}")]
    Later {
        /// The reason why it cannot be accepted now.
        detail: String,
        /// The time after which to try again.
        retry_after: Duration,
    },
    /// A fault in Postrider.
    #[error("internal error")]
    Internal,
}

/// The reason why a name does not identify a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TenantError {
    /// The tenant does not exist, or the sender does not publish for it.
    #[error("no such tenant, or not one that this key publishes for")]
    NotFound,
    /// The tenant may be new, because the configuration in memory is out of date.
    #[error("the tenant is not known here, and the database that may know it is not available")]
    MaybeNew,
}

/// Time after which to try again if the database is needed.
const DATABASE_RETRY: Duration = Duration::from_secs(2);

impl Refused {
    /// Creates a refusal because of one invalid field.
    pub(crate) fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, detail)])
    }

    /// Creates a refusal because the tenant exceeds a limit.
    pub(crate) fn limited(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::Limited { detail: detail.into(), retry_after }
    }

    /// Creates a refusal because Postrider cannot accept the event now.
    pub(crate) fn later(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::Later { detail: detail.into(), retry_after }
    }

    /// Returns the same refusal for a tenant or field that is specified at `pointer`.
    pub(crate) fn at(self, pointer: String) -> Self {
        match self {
            Self::Tenant { error, .. } => Self::Tenant { error, at: Some(pointer) },
            Self::Invalid(errors) => {
                Self::Invalid(errors.into_iter().map(|error| FieldError::new(pointer.clone(), error.detail)).collect())
            }
            other => other,
        }
    }

    /// Whether a later try may be accepted.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Limited { .. } | Self::Later { .. } | Self::Internal => true,
            Self::Tenant { error, .. } => *error == TenantError::MaybeNew,
            Self::Malformed(_)
            | Self::UnsupportedFormat(_)
            | Self::Invalid(_)
            | Self::TooLarge(_)
            | Self::Conflict(_)
            | Self::NoKey(_)
            | Self::NotAllowed(_) => false,
        }
    }

    /// Returns the reason in one line of limited length. It contains the location of each invalid field, up to a maximum number
    /// of fields.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Invalid(errors) => {
                let each = errors.iter().take(ERRORS_MAX).map(|error| format!("{}: {}", error.pointer, error.detail));
                each.collect::<Vec<_>>().join("; ")
            }
            Self::Tenant { error, at: Some(at) } => format!("{at}: {error}"),
            other => cut_detail(other.to_string()),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed(detail) => Self::bad_request(detail),
            Refused::UnsupportedFormat(detail) => Self::unsupported_media_type(detail),
            Refused::Invalid(errors) => Self::unprocessable(errors),
            Refused::TooLarge(detail) => Self::payload_too_large(detail),
            Refused::Conflict(detail) => Self::conflict(detail),
            Refused::NoKey(detail) => Self::unauthorized(detail),
            Refused::NotAllowed(detail) => Self::forbidden(detail),
            Refused::Tenant { error, at } => {
                let problem = match error {
                    TenantError::NotFound => Self::not_found(error.to_string()),
                    TenantError::MaybeNew => Self::unavailable(error.to_string(), DATABASE_RETRY),
                };
                let errors = at.map(|at| FieldError::new(at, error.to_string())).into_iter().collect();
                Self { errors, ..problem }
            }
            Refused::Limited { detail, retry_after } => Self::too_many_requests(detail, retry_after),
            Refused::Later { detail, retry_after } => Self::unavailable(detail, retry_after),
            Refused::Internal => Self::internal(),
        }
    }
}

impl From<JsonError> for Refused {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Syntax(detail) => Self::Malformed(detail),
            JsonError::Field(error) => Self::Invalid(vec![error]),
        }
    }
}

impl From<TenantError> for Refused {
    fn from(error: TenantError) -> Self {
        Self::Tenant { error, at: None }
    }
}

impl From<KeyError> for Refused {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unknown => Self::NoKey("no such key"),
            KeyError::MaybeNew => Self::later(
                "the key is not known here, and the database that may know it is not available",
                DATABASE_RETRY,
            ),
        }
    }
}
