//! The SMTP client.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lettre::Message;
use lettre::message::Mailbox;
use lettre::transport::smtp;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use postrider_model::attempt::Outcome;
use postrider_model::ids::TenantId;
use postrider_model::limits::SMTP_CONNECTIONS_MAX;
use postrider_model::notification::Notification;
use postrider_model::time::UnixMillis;
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::Recipients;
use crate::budget::Budget;
use crate::message::message;
use crate::server::Server;

/// Maximum wait for the server's answer to QUIT.
const QUIT_MAX: Duration = Duration::from_secs(1);
/// Maximum number of characters of the server's words that are kept.
const SAID_CHARS_MAX: usize = 500;
/// Codes of a refused login (RFC 4954). The customer cannot change it, so the delivery is retried.
const LOGIN_REFUSED: [u16; 4] = [530, 534, 535, 538];
/// The code of an attempt that the limit of its tenant refuses. It is the code of HTTP, because SMTP has none.
const TOO_MANY: u16 = 429;
/// The code of a message to an address that the operator does not allow, as if the server had refused it.
const REFUSED: u16 = 550;

/// Why the client cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The server's URL is not valid. The text has no secret.
    #[error("the URL of the SMTP server: {0}")]
    Url(&'static str),
    /// The sender is not an address.
    #[error("the sender is not an address such as hooks@example.com")]
    From,
    /// The file with certificates cannot be used.
    #[error("cannot use the certificates in {path}: {reason}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// The settings of the client.
#[derive(Debug, Clone)]
pub struct MailerConfig {
    /// The server: `smtps://[user:password@]host[:port]` for TLS, `smtp://…` for STARTTLS.
    pub url: SecretString,
    /// A PEM file of root certificates that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The address of the sender.
    pub from: String,
    /// The addresses that messages may go to.
    pub allowed: Recipients,
    /// Maximum number of recipients per tenant and hour.
    pub per_tenant_and_hour: u32,
    /// Maximum number of recipients per tenant and day.
    pub per_tenant_and_day: u32,
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// The id of the delivery, which becomes the `Message-ID`.
    pub id: &'a str,
    /// The addresses.
    pub recipients: &'a [String],
    /// The name of the sender; the name in [`MailerConfig::from`] if absent.
    pub sender: Option<&'a str>,
    /// What the message says.
    pub notification: &'a Notification,
}

/// The result of sending a message.
#[derive(Debug, Clone)]
pub struct Sent {
    /// `Success` if the server took the message for all recipients, `HttpStatus` if it refused.
    pub outcome: Outcome,
    /// The server's reply code; 429 for the limit of the tenant; 550 for an address that the operator does not allow.
    pub code: Option<u16>,
    /// The server's words.
    pub said: String,
    /// A text for the endpoint's owner if the message was not sent.
    pub error: Option<String>,
    /// The time after which the tenant may send again.
    pub retry_after: Option<Duration>,
    /// The time from the start to the end.
    pub duration: Duration,
}

impl Sent {
    fn failed(outcome: Outcome, error: impl Into<String>) -> Self {
        let (said, error) = (String::new(), Some(error.into()));
        Self { outcome, code: None, said, error, retry_after: None, duration: Duration::ZERO }
    }
}

/// The client. Each message has a connection of its own. Clones share the limits of connections and of tenants.
#[derive(Debug, Clone)]
pub struct Mailer {
    server: Arc<Server>,
    from: Mailbox,
    allowed: Recipients,
    budget: Arc<Budget>,
    connections: Arc<Semaphore>,
}

impl Mailer {
    /// Creates the client without connecting.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn new(config: &MailerConfig) -> Result<Self, MailError> {
        let from: Mailbox = config.from.parse().map_err(|_| MailError::From)?;
        Ok(Self {
            server: Arc::new(Server::new(config)?),
            from,
            allowed: config.allowed.clone(),
            budget: Arc::new(Budget::new(config.per_tenant_and_hour, config.per_tenant_and_day)),
            connections: Arc::new(Semaphore::new(SMTP_CONNECTIONS_MAX)),
        })
    }

    /// Sends a message of a tenant, and returns at the latest after `timeout`.
    ///
    /// The tenant's limit counts the recipients unless there was no connection, or [`Sent::outcome`] says that it failed.
    pub async fn send(&self, tenant: TenantId, mail: &Mail<'_>, timeout: Duration) -> Sent {
        let start = Instant::now();
        let not_allowed =
            |address: &String| self.allowed.check(address).err().map(|error| format!("{address}: {error}"));
        if let Some(error) = mail.recipients.iter().find_map(not_allowed) {
            return Sent { code: Some(REFUSED), ..Sent::failed(Outcome::HttpStatus, error) };
        }
        let Some(message) = message(mail, &self.from) else {
            return Sent::failed(Outcome::ProtocolError, "a recipient is not an address");
        };
        let now = UnixMillis::now();
        if let Err(used_up) = self.budget.take(tenant, mail.recipients.len(), now) {
            let limited = Sent::failed(Outcome::HttpStatus, used_up.to_string());
            return Sent { code: Some(TOO_MANY), retry_after: Some(used_up.wait), ..limited };
        }
        let deadline = start + timeout;
        // The permit is held until the connection is closed. The semaphore is never closed.
        let open = async { (self.connections.acquire().await.ok(), self.server.connect().await) };
        let (is_connected, sent) = match timeout_at(deadline, open).await {
            Ok((_permit, Ok(connection))) => (true, converse(connection, &message, deadline).await),
            Ok((_, Err(error))) => (false, Ok(refused(&error))),
            Err(elapsed) => (false, Err(elapsed)),
        };
        let sent = sent.unwrap_or_else(|_| {
            let what = if is_connected { "no answer" } else { "no connection to the SMTP server" };
            Sent::failed(Outcome::Timeout, format!("{what} within {} s", timeout.as_secs_f32()))
        });
        if !is_connected || matches!(sent.outcome, Outcome::ConnectFailed | Outcome::TlsFailed) {
            self.budget.give_back(tenant, mail.recipients.len(), now);
        }
        Sent { duration: start.elapsed(), ..sent }
    }
}

/// Sends a message over a connection, and closes it: a late answer must not be read as the answer to another message.
async fn converse(mut connection: AsyncSmtpConnection, message: &Message, deadline: Instant) -> Result<Sent, Elapsed> {
    let response = match timeout_at(deadline, connection.send(message.envelope(), &message.formatted())).await? {
        Ok(response) => response,
        Err(error) => return Ok(refused(&error)),
    };
    // The server has the message, so its answer to QUIT changes nothing.
    timeout_at(deadline.min(Instant::now() + QUIT_MAX), connection.abort()).await.ok();
    let said = cut(&response.message().collect::<Vec<_>>().join(" "));
    let code = Some(response.code().into());
    Ok(Sent { outcome: Outcome::Success, code, said, error: None, retry_after: None, duration: Duration::ZERO })
}

/// Returns the outcome of a message that was not sent.
fn refused(error: &smtp::Error) -> Sent {
    let said = cut(&error.source().map(ToString::to_string).unwrap_or_default());
    if let Some(code) = error.status().map(u16::from).filter(|code| LOGIN_REFUSED.contains(code)) {
        tracing::warn!(
            code,
            "the SMTP server refuses the login; check POSTRIDER_SMTP_URL. Deliveries by e-mail are retried"
        );
        return Sent::failed(Outcome::ConnectFailed, "the SMTP server refused the login of this deployment");
    }
    if let Some(code) = error.status() {
        let what = if error.is_permanent() { "refused the message" } else { "cannot accept the message now" };
        let text = format!("the SMTP server {what}: {} {said}", u16::from(code));
        return Sent { code: Some(code.into()), said, ..Sent::failed(Outcome::HttpStatus, text) };
    }
    let io = io_error(error);
    let (outcome, what) = match io.map(io::Error::kind) {
        _ if error.is_tls() => (Outcome::TlsFailed, "TLS with the SMTP server failed"),
        Some(io::ErrorKind::InvalidData) => (Outcome::TlsFailed, "TLS with the SMTP server failed"),
        Some(io::ErrorKind::TimedOut) => (Outcome::Timeout, "the SMTP server did not answer in time"),
        _ if error.is_response() || error.is_client() => {
            (Outcome::ProtocolError, "the SMTP server's answer cannot be used")
        }
        _ => (Outcome::ConnectFailed, "no connection to the SMTP server"),
    };
    Sent::failed(outcome, if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") })
}

fn io_error(error: &smtp::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return Some(io);
        }
        source = inner.source();
    }
    None
}

fn cut(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect()
}
