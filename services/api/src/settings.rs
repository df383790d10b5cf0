//! The public URL of the deployment, the sites that may show the dashboard in a frame, and the sign-in of operators.

use postrider_settings::{CheckSettings, Optional, SettingError, optional_http_url};
use url::{Host, Url};

use crate::origins::Origins;

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
    /// Origins of the pages that may show the dashboard in a frame, comma-separated, such as
    /// `https://app.example.com,https://*.example.org`. Requires a public URL with https.
    #[arg(
        id = "dashboard-frame-ancestors",
        long = "dashboard-frame-ancestors",
        env = "POSTRIDER_DASHBOARD_FRAME_ANCESTORS",
        value_name = "ORIGIN,…",
        default_value = "",
        hide_default_value = true
    )]
    pub frame_ancestors: Origins,
    /// The identity provider that signs operators in.
    #[command(flatten)]
    pub oidc: postrider_oidc::Settings,
}

impl Settings {
    /// Whether the public URL is an https URL; `false` if no public URL is set.
    pub fn is_https(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}

/// Whether the host of a URL is this machine. Browsers treat such a URL like an https URL.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        let cookies_work = self.is_https() || self.public_url.as_ref().is_some_and(is_loopback);
        if !self.frame_ancestors.0.is_empty() && !cookies_work {
            let detail = "requires POSTRIDER_PUBLIC_URL with https: browsers send no cookie to a frame without it";
            return Err(SettingError::new("POSTRIDER_DASHBOARD_FRAME_ANCESTORS", detail));
        }
        self.oidc.check_with(self.public_url.as_ref())?;
        if self.public_url.is_some() && !cookies_work {
            tracing::warn!("POSTRIDER_PUBLIC_URL is not https: the dashboard's cookies and keys travel unencrypted");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn frames_need_https_or_this_machine() {
        let check = |url: &str, origins: &str| {
            let flags = [format!("--public-url={url}"), format!("--dashboard-frame-ancestors={origins}")];
            Line::parse_from(std::iter::once("test".to_owned()).chain(flags)).settings.check()
        };
        assert_eq!(check("", ""), Ok(()));
        for good in ["https://hooks.example.com", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"] {
            assert_eq!(check(good, "https://app.example.com"), Ok(()), "{good}");
        }
        for bad in ["", "http://hooks.example.com", "http://10.0.0.1"] {
            let refused = check(bad, "https://app.example.com").unwrap_err().to_string();
            assert!(refused.contains("POSTRIDER_DASHBOARD_FRAME_ANCESTORS") && refused.contains("https"), "{refused}");
        }
    }
}
