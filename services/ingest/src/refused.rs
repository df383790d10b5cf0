//! The reasons why ingest does not accept something, over HTTP or from the exchange.
//!
//! The HTTP routes answer with a [`Problem`]. The intake makes a dead letter, or tries again later ([`Refused::is_temporary`]).

use std::time::Duration;

use postrider_access::KeyError;
use postrider_http::json::JsonError;
use postrider_http::problem::{ERRORS_MAX, FieldError, Problem, cut_detail};

/// What was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// Its format or encoding is not supported.
    #[error("{0}")]
    UnsupportedFormat(String),
    /// Fields are missing or wrong.
    #[error("{} fields are not valid", .0.len())]
    Invalid(Vec<FieldError>),
    /// It has more bytes than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// Its id belongs to an event with other content.
    #[error("{0}")]
    Conflict(String),
    /// The request has no key, or an unknown one.
    #[error("{0}")]
    NoKey(&'static str),
    /// The key may not publish.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// The tenant is not one that the sender publishes for.
    #[error("{error}")]
    Tenant {
        /// Why the name stands for no tenant.
        error: TenantError,
        /// Where the tenant is named.
        at: Option<String>,
    },
    /// The tenant sends too much.
    #[error("{detail}")]
    Limited {
        /// Which limit it exceeds.
        detail: String,
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// Postrider cannot accept it now.
    #[error("{detail}")]
    Later {
        /// Why it cannot be accepted now.
        detail: String,
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// A fault in Postrider.
    #[error("internal error")]
    Internal,
}

/// Why a name stands for no tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TenantError {
    /// There is none, or the sender does not publish for it.
    #[error("no such tenant, or not one that this key publishes for")]
    NotFound,
    /// It may be new: the configuration in memory is stale.
    #[error("the tenant is not known here, and the database that may know it is not available")]
    MaybeNew,
}

/// How long to wait before trying again what needs the database.
const DATABASE_RETRY: Duration = Duration::from_secs(2);

impl Refused {
    /// A refusal because of one wrong field.
    pub(crate) fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, detail)])
    }

    /// A refusal because of a limit of the tenant.
    pub(crate) fn limited(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::Limited { detail: detail.into(), retry_after }
    }

    /// A refusal of something that Postrider cannot do now.
    pub(crate) fn later(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::Later { detail: detail.into(), retry_after }
    }

    /// The same refusal, about a tenant that is named at `pointer`.
    pub(crate) fn at(self, pointer: String) -> Self {
        match self {
            Self::Tenant { error, .. } => Self::Tenant { error, at: Some(pointer) },
            Self::Invalid(errors) => {
                Self::Invalid(errors.into_iter().map(|error| FieldError::new(pointer.clone(), error.detail)).collect())
            }
            other => other,
        }
    }

    /// Whether the same thing may be accepted later.
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

    /// The reason in one line of bounded length. It names the place of each wrong field, up to a maximum number of fields.
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
