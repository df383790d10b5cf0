//! A real SMTP server (aiosmtpd) that takes messages with TLS or STARTTLS and a password.
//!
//! It refuses recipients whose address begins with `busy` (451) or `gone` (550), and accepts the others, after 2 seconds if the
//! address begins with `slow`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::python;

/// Maximum wait for the server's start and for a message.
const PATIENCE: Duration = Duration::from_secs(120);
const SCRIPT: &str = include_str!("smtp.py");

/// How clients reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// TLS from the first byte.
    Tls,
    /// Plain text until the command STARTTLS, which is required.
    StartTls,
}

/// A message that the server took.
#[derive(Debug, Clone, Deserialize)]
pub struct Message {
    /// The sender of the envelope.
    pub sender: String,
    /// The recipients of the envelope.
    pub recipients: Vec<String>,
    /// Headers and body.
    pub message: String,
    /// The port of the client, which differs for each connection.
    pub client: u16,
    /// Whether the message arrived over TLS.
    pub encrypted: bool,
}

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub struct SmtpServer {
    _process: Child,
    output: Lines<BufReader<ChildStdout>>,
    encryption: Encryption,
    port: u16,
    folder: TempDir,
}

impl SmtpServer {
    /// Starts the server. `certificate` and `key` are PEM texts for 127.0.0.1.
    ///
    /// # Errors
    /// There is no Python with aiosmtpd, or the server does not start.
    pub async fn start(encryption: Encryption, certificate: &str, key: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str, text: &str| -> Result<PathBuf> {
            let path = folder.path().join(name);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        let (certificate, key) = (file("certificate.pem", certificate)?, file("key.pem", key)?);
        let python = tokio::task::spawn_blocking(|| python::with(&python::AIOSMTPD)).await??;
        let mode = if encryption == Encryption::Tls { "tls" } else { "starttls" };
        let mut command = Command::from(python);
        command.arg(file("smtp.py", SCRIPT)?).arg(mode).arg(certificate).arg(key);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut output = BufReader::new(process.stdout.take().context("the output of the SMTP server")?).lines();
        let Some(line) = tokio::time::timeout(PATIENCE, output.next_line()).await?? else {
            bail!("the SMTP server ended at once");
        };
        #[derive(Deserialize)]
        struct Started {
            port: u16,
        }
        let port = serde_json::from_str::<Started>(&line)?.port;
        Ok(Self { _process: process, output, encryption, port, folder })
    }

    /// The server's URL with its user and password.
    pub fn url(&self) -> String {
        let scheme = if self.encryption == Encryption::Tls { "smtps" } else { "smtp" };
        format!("{scheme}://user%40example.com:p+a%20ss=word@127.0.0.1:{}", self.port)
    }

    /// The file with the server's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder().join("certificate.pem")
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the next message.
    ///
    /// # Errors
    /// None came in time.
    pub async fn next(&mut self) -> Result<Message> {
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await??;
        Ok(serde_json::from_str(&line.context("the SMTP server ended")?)?)
    }
}
