//! What the sign-in page says when a sign-in with the identity provider has failed.

use axum::http::StatusCode;
use postrider_model::ids::PersonId;
use postrider_oidc::SignInError;

/// Why a sign-in failed.
pub(crate) enum Refused {
    /// The browser has no cookie of this sign-in.
    NotStarted,
    /// The visitor or the provider refused.
    Denied,
    /// The provider returned the browser with an error.
    ProviderError,
    /// The person is not an operator.
    NotAnOperator {
        /// The id of the person.
        id: PersonId,
        /// The name of the person.
        name: String,
        /// Whether the provider has verified an e-mail address.
        has_email: bool,
    },
    /// The provider did not confirm the sign-in.
    Failed(SignInError),
}

impl Refused {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotStarted => StatusCode::BAD_REQUEST,
            Self::Denied | Self::NotAnOperator { .. } => StatusCode::FORBIDDEN,
            Self::Failed(SignInError::Invalid(_)) => StatusCode::UNAUTHORIZED,
            Self::Failed(SignInError::Misconfigured(_)) | Self::ProviderError => StatusCode::BAD_GATEWAY,
            Self::Failed(SignInError::Unavailable(_) | SignInError::Busy) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether the failure counts towards the limit of failed sign-ins.
    pub(crate) fn counts(&self) -> bool {
        !matches!(self, Self::NotStarted | Self::Failed(SignInError::Unavailable(_) | SignInError::Busy))
    }

    /// The text for the visitor: what happened, and what to do. `provider` is the name of the provider.
    pub(crate) fn text(&self, provider: &str) -> String {
        match self {
            Self::NotStarted => {
                "This sign-in is more than 10 minutes old, was completed already, or was started in another browser or under \
                 another address of this site. Begin again here."
                    .to_owned()
            }
            Self::Denied => {
                format!("{provider} did not allow the sign-in, or you cancelled it. Try again, or sign in with a key.")
            }
            Self::ProviderError => format!(
                "{provider} reported an error. Try again. If it happens again, ask the operator of this server: its log names the \
                 error."
            ),
            Self::NotAnOperator { name, has_email: true, .. } => format!(
                "You are signed in at {provider} as {name}, but this account is not an operator here. Ask an operator to add it, or \
                 sign out at {provider} and use another account."
            ),
            Self::NotAnOperator { name, has_email: false, .. } => format!(
                "You are signed in at {provider} as {name}, but this account is not an operator here. {provider} has not verified \
                 an e-mail address of it. Ask an operator to add the account, or sign out at {provider} and use another one."
            ),
            Self::Failed(SignInError::Invalid(_)) => {
                format!("{provider} did not confirm the sign-in. Begin again. If it happens again, the server's log says why.")
            }
            Self::Failed(SignInError::Misconfigured(_)) => format!(
                "{provider} and this server are not set up for each other. Ask the operator of this server: its log says what to change."
            ),
            Self::Failed(SignInError::Unavailable(_)) => {
                format!("{provider} does not answer now. Try again in a minute, or sign in with a key.")
            }
            Self::Failed(SignInError::Busy) => "Many people are signing in now. Try again in a few seconds.".to_owned(),
        }
    }
}
