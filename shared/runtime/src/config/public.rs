//! The URL that people and producers reach this deployment by.

use url::Url;

use super::values::optional_http_url;
use super::{Checked, ConfigError, Optional, shown};

/// How the deployment is reached from outside.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Public URL")]
pub struct PublicArgs {
    /// The URL that people reach the dashboard by, such as `https://hooks.example.com`. With https the session cookie is always
    /// `Secure`.
    #[arg(
        id = "public-url",
        long = "public-url",
        env = "POSTRIDER_PUBLIC_URL",
        value_name = "URL",
        default_value = "",
        hide_default_value = true,
        value_parser = optional_http_url
    )]
    pub url: Optional<Url>,
}

impl PublicArgs {
    /// Whether people come by https, as far as the setting says.
    pub fn is_https(&self) -> bool {
        self.url.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}

impl Checked for PublicArgs {
    fn check(&self) -> Result<(), ConfigError> {
        if self.url.is_some() && !self.is_https() {
            tracing::warn!("POSTRIDER_PUBLIC_URL is not https: the dashboard's cookies and keys travel unencrypted");
        }
        Ok(())
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        vec![("POSTRIDER_PUBLIC_URL", shown(self.url.as_ref(), ToString::to_string))]
    }
}
