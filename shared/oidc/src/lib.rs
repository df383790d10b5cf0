//! Signs operators in with an OpenID Connect provider: the authorization code flow with PKCE.
//!
//! # What it owns
//! The [settings](Settings) of the provider, the requests to it, the check of its ID tokens, and the [`OperatorRule`], which
//! decides who is an operator.
//!
//! # What it promises
//! - **A sign-in belongs to one browser.** State, nonce and PKCE verifier derive from the secret of a [`Flow`], which only the
//!   browser that began the sign-in has. The server stores nothing until the sign-in has succeeded.
//! - **An ID token is used only if it is valid**: signed with an asymmetric algorithm by a key of the provider that was read in the last
//!   day, for this client, by this issuer, in time, and with the nonce of the flow.
//! - **An e-mail address counts only if the provider has verified it.**
//! - Each request has a timeout and a maximum number of bytes, and follows no redirects. The provider's configuration and keys
//!   are cached.
//! - Errors and log lines contain no token, code or secret.
//!
//! # What it does not do
//! It has no pages, cookies or sessions: these belong to the dashboard. The operator configures the provider, so its address may
//! be internal: the address guard of deliveries does not apply here.

mod cached;
mod client;
mod emails;
mod endpoints;
mod error;
mod flow;
mod id_token;
mod identity;
mod keys;
mod provider;
mod rule;
mod settings;
mod signature;

pub use emails::OperatorEmails;
pub use error::{ProviderError, SignInError};
pub use flow::Flow;
pub use identity::Identity;
pub use provider::{Provider, ProviderConfig};
pub use rule::{ClaimRule, OperatorRule};
pub use settings::Settings;

/// The path at the dashboard to which the provider redirects a browser.
pub const CALLBACK_PATH: &str = "/dashboard/sign-in/oidc/callback";
