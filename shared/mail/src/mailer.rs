//! The SMTP client.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{self, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use percent_encoding::percent_decode_str;
use postrider_model::attempt::Outcome;
use postrider_model::ids::TenantId;
use postrider_model::notification::Notification;
use postrider_model::time::UnixMillis;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::budget::Budget;
use crate::message::message;

/// Maximum number of connections to the server.
const CONNECTIONS_MAX: u32 = 4;
/// How long an unused connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Maximum number of characters of the server's words that are kept.
const SAID_CHARS_MAX: usize = 500;
/// Codes of a refused login (RFC 4954). The customer cannot change it, so the delivery is retried.
const LOGIN_REFUSED: [u16; 4] = [530, 534, 535, 538];
/// The code of an attempt that the limit of its tenant refuses. It is the code of HTTP, because SMTP has none.
const TOO_MANY: u16 = 429;

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
    /// The server's reply code, or 429 for the limit of the tenant.
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

/// The client. It keeps connections open. Clones share the connections and the limits of tenants.
#[derive(Debug, Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    budget: Arc<Budget>,
}

impl Mailer {
    /// Creates the client without connecting.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn new(config: &MailerConfig) -> Result<Self, MailError> {
        let from: Mailbox = config.from.parse().map_err(|_| MailError::From)?;
        Ok(Self {
            transport: transport(config)?,
            from,
            budget: Arc::new(Budget::new(config.per_tenant_and_hour, config.per_tenant_and_day)),
        })
    }

    /// Sends a message of a tenant, and returns at the latest after `timeout`.
    pub async fn send(&self, tenant: TenantId, mail: &Mail<'_>, timeout: Duration) -> Sent {
        let start = Instant::now();
        let Some(message) = message(mail, &self.from) else {
            return Sent::failed(Outcome::ProtocolError, "a recipient is not an address");
        };
        if let Err(used_up) = self.budget.take(tenant, mail.recipients.len(), UnixMillis::now()) {
            let limited = Sent::failed(Outcome::HttpStatus, used_up.to_string());
            return Sent { code: Some(TOO_MANY), retry_after: Some(used_up.wait), ..limited };
        }
        let sent = match tokio::time::timeout(timeout, self.transport.send(message)).await {
            Ok(Ok(response)) => {
                let said = cut(&response.message().collect::<Vec<_>>().join(" "));
                let code = Some(response.code().into());
                Sent { outcome: Outcome::Success, code, said, error: None, retry_after: None, duration: Duration::ZERO }
            }
            Ok(Err(error)) => refused(&error),
            Err(_) => Sent::failed(Outcome::Timeout, format!("no answer within {} s", timeout.as_secs_f32())),
        };
        Sent { duration: start.elapsed(), ..sent }
    }
}

fn transport(config: &MailerConfig) -> Result<AsyncSmtpTransport<Tokio1Executor>, MailError> {
    let url: Url = config.url.expose_secret().parse().map_err(|_| MailError::Url("it is not a URL"))?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(MailError::Url("it has no host"))?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let parameters = tls(&host, config.ca_file.as_deref())?;
    let (tls, port) = match url.scheme() {
        "smtps" => (Tls::Wrapper(parameters), 465),
        "smtp" => (Tls::Required(parameters), 587),
        _ => return Err(MailError::Url("the scheme must be smtps or smtp")),
    };
    let pool = PoolConfig::new().max_size(CONNECTIONS_MAX).idle_timeout(IDLE_MAX);
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .tls(tls)
        .port(url.port().unwrap_or(port))
        .timeout(Some(postrider_model::limits::ATTEMPT_TIMEOUT_MAX))
        .pool_config(pool);
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(|text| text.into_owned()).map_err(|_| MailError::Url("user or password is not UTF-8"))
    };
    Ok(match (url.username(), url.password()) {
        ("", None) => builder,
        (user, password) => {
            builder.credentials(Credentials::new(decoded(user)?, decoded(password.unwrap_or_default())?))
        }
    }
    .build())
}

fn tls(host: &str, ca_file: Option<&Path>) -> Result<TlsParameters, MailError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = ca_file {
        let failed = |reason: String| MailError::CaFile { path: path.to_owned(), reason };
        let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| failed(error.to_string()))?);
    }
    builder.build_rustls().map_err(|error| MailError::Tls(error.to_string()))
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
