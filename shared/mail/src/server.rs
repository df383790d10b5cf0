//! The operator's SMTP server: its address, encryption and login.

use std::fmt;
use std::path::Path;

use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use postrider_model::limits::ATTEMPT_TIMEOUT_MAX;
use secrecy::ExposeSecret;
use url::Url;

use crate::{MailError, MailerConfig};

/// The server.
pub(crate) struct Server {
    host: String,
    port: u16,
    encryption: Encryption,
    tls: TlsParameters,
    credentials: Option<Credentials>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// TLS from the first byte.
    Tls,
    /// Plain text until the command STARTTLS, which is required.
    StartTls,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, encryption, .. } = self;
        write!(f, "Server({host}:{port}, {encryption:?})")
    }
}

impl Server {
    /// Reads the settings without connecting.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub(crate) fn new(config: &MailerConfig) -> Result<Self, MailError> {
        let url: Url = config.url.expose_secret().parse().map_err(|_| MailError::Url("it is not a URL"))?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(MailError::Url("it has no host"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let tls = tls(&host, config.ca_file.as_deref())?;
        let (encryption, port) = match url.scheme() {
            "smtps" => (Encryption::Tls, 465),
            "smtp" => (Encryption::StartTls, 587),
            _ => return Err(MailError::Url("the scheme must be smtps or smtp")),
        };
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(|text| text.into_owned()).map_err(|_| MailError::Url("user or password is not UTF-8"))
        };
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some(Credentials::new(decoded(user)?, decoded(password.unwrap_or_default())?)),
        };
        Ok(Self { host, port: url.port().unwrap_or(port), encryption, tls, credentials })
    }

    /// Opens an encrypted connection and logs in. Dropping the future or the connection closes it.
    ///
    /// # Errors
    /// There is no connection, TLS fails, or the server refuses the client or its login.
    pub(crate) async fn connect(&self) -> Result<AsyncSmtpConnection, smtp::Error> {
        let address = (self.host.as_str(), self.port);
        let (client, timeout) = (ClientId::default(), Some(ATTEMPT_TIMEOUT_MAX));
        let tls = (self.encryption == Encryption::Tls).then(|| self.tls.clone());
        let mut connection = AsyncSmtpConnection::connect_tokio1(address, timeout, &client, tls, None).await?;
        if self.encryption == Encryption::StartTls {
            connection.starttls(self.tls.clone(), &client).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
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
