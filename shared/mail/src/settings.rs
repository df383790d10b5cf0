//! Settings of e-mail.

use std::path::PathBuf;

use postrider_settings::{CheckSettings, Optional, OptionalSecret, SettingError, check_file, number};
use secrecy::ExposeSecret;

use crate::{MailError, Mailer, MailerConfig, Recipients};

/// Settings of e-mail. Without an SMTP server, the channel `email` is off.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "E-mail")]
pub struct Settings {
    /// The SMTP server, as `smtps://[user:password@]host[:465]` for TLS or `smtp://[user:password@]host[:587]` for STARTTLS, which is
    /// required. Without it, endpoints cannot have the channel `email`.
    #[arg(
        id = "smtp-url",
        long = "smtp-url",
        env = "POSTRIDER_SMTP_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    pub smtp_url: OptionalSecret,

    /// A PEM file with root certificates for the SMTP server, in addition to the system's.
    #[arg(
        id = "smtp-ca-file",
        long = "smtp-ca-file",
        env = "POSTRIDER_SMTP_CA_FILE",
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub smtp_ca_file: Optional<PathBuf>,

    /// The address that e-mail is sent from. Required with an SMTP server.
    #[arg(
        id = "mail-from",
        long = "mail-from",
        env = "POSTRIDER_MAIL_FROM",
        value_name = "ADDRESS",
        default_value = "",
        hide_default_value = true
    )]
    pub mail_from: String,

    /// Domains that recipients may have, separated by commas; `*` allows every domain. Required with an SMTP server.
    #[arg(
        id = "mail-domains",
        long = "mail-domains",
        env = "POSTRIDER_MAIL_DOMAINS",
        value_name = "DOMAIN,…",
        default_value = "",
        hide_default_value = true
    )]
    pub mail_domains: String,

    /// Maximum number of e-mail recipients per tenant and hour, in each dispatcher process.
    #[arg(
        id = "mail-per-hour",
        long = "mail-per-hour",
        env = "POSTRIDER_MAIL_PER_HOUR",
        value_name = "NUMBER",
        default_value = "100",
        value_parser = number(1..=1_000_000_u32)
    )]
    pub mail_per_hour: u32,

    /// Maximum number of e-mail recipients per tenant and day (UTC), in each dispatcher process.
    #[arg(
        id = "mail-per-day",
        long = "mail-per-day",
        env = "POSTRIDER_MAIL_PER_DAY",
        value_name = "NUMBER",
        default_value = "500",
        value_parser = number(1..=1_000_000_u32)
    )]
    pub mail_per_day: u32,
}

impl Settings {
    /// The addresses that endpoints may have.
    pub fn recipients(&self) -> Recipients {
        if self.smtp_url.0.is_some() { Recipients::of_domains(&self.domains()) } else { Recipients::default() }
    }

    /// Creates the client; `None` without an SMTP server.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn mailer(&self) -> Result<Option<Mailer>, MailError> {
        let Some(url) = &self.smtp_url.0 else { return Ok(None) };
        let config = MailerConfig {
            url: url.clone(),
            ca_file: self.smtp_ca_file.0.clone(),
            from: self.mail_from.trim().to_owned(),
            allowed: self.recipients(),
            per_tenant_and_hour: self.mail_per_hour,
            per_tenant_and_day: self.mail_per_day,
        };
        Mailer::new(&config).map(Some)
    }

    fn domains(&self) -> Vec<String> {
        let domains = self.mail_domains.split(',').map(str::trim).filter(|domain| !domain.is_empty());
        domains.map(str::to_owned).collect()
    }
}

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        check_file("POSTRIDER_SMTP_CA_FILE", self.smtp_ca_file.0.as_ref())?;
        let Some(url) = &self.smtp_url.0 else { return Ok(()) };
        if !["smtp://", "smtps://"].iter().any(|scheme| url.expose_secret().starts_with(scheme)) {
            return Err(SettingError::new("POSTRIDER_SMTP_URL", "expected smtps://host:port or smtp://host:port"));
        }
        if self.mail_from.trim().is_empty() {
            return Err(SettingError::new("POSTRIDER_MAIL_FROM", "is required with POSTRIDER_SMTP_URL"));
        }
        if self.domains().is_empty() {
            let detail = "is required with POSTRIDER_SMTP_URL: domains of recipients such as example.com, or *";
            return Err(SettingError::new("POSTRIDER_MAIL_DOMAINS", detail));
        }
        Ok(())
    }
}
