//! The URL that people and producers reach this deployment by.

use postrider_settings::{CheckSettings, Optional, SettingError, optional_http_url};
use url::Url;

/// The URL of the deployment.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Public URL")]
pub struct Settings {
    /// The URL of the dashboard for people, such as `https://hooks.example.com`. With an https URL the session cookie is
    /// always `Secure`.
    #[arg(
        id = "public-url",
        long = "public-url",
        env = "POSTRIDER_PUBLIC_URL",
        value_name = "URL",
        default_value = "",
        hide_default_value = true,
        value_parser = optional_http_url
    )]
    pub public_url: Optional<Url>,
}

impl Settings {
    /// Whether people come by https, as far as the setting says.
    pub fn is_https(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        if self.public_url.is_some() && !self.is_https() {
            tracing::warn!("POSTRIDER_PUBLIC_URL is not https: the dashboard's cookies and keys travel unencrypted");
        }
        Ok(())
    }
}
