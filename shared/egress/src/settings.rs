//! Settings of outgoing requests.

use std::path::PathBuf;
use std::time::Duration;

use postrider_settings::{
    CheckSettings, Cidrs, Hosts, Optional, OptionalSecret, SettingError, check_file, duration, switch,
};
use secrecy::ExposeSecret;

/// Settings of outgoing requests.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Egress")]
pub struct Settings {
    /// Private address ranges in which endpoints may be, as CIDRs separated by commas. If empty, endpoints need public
    /// addresses.
    #[arg(
        id = "egress-allow",
        long = "egress-allow",
        env = "POSTRIDER_EGRESS_ALLOW",
        value_name = "CIDR,…",
        default_value = "",
        hide_default_value = true
    )]
    pub allow: Cidrs,

    /// Whether endpoints of every profile may have http URLs. For development only.
    #[arg(
        id = "egress-allow-http", long = "egress-allow-http",
        env = "POSTRIDER_EGRESS_ALLOW_HTTP",
        value_name = "BOOL",
        num_args = 0..=1,
        default_value = "false",
        default_missing_value = "true",
        value_parser = switch
    )]
    pub allow_http: bool,

    /// A PEM file with root certificates for the servers of endpoints, in addition to the system's.
    #[arg(
        id = "egress-ca-file",
        long = "egress-ca-file",
        env = "POSTRIDER_EGRESS_CA_FILE",
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub ca_file: Optional<PathBuf>,

    /// A forward proxy for every delivery, as `http://[user:password@]host:port`.
    #[arg(
        id = "egress-proxy",
        long = "egress-proxy",
        env = "POSTRIDER_EGRESS_PROXY",
        hide_env_values = true,
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    pub proxy: OptionalSecret,

    /// Hosts that webhook URLs of Slack, Discord and Microsoft Teams may have in addition to the service's own, separated by
    /// commas: `host` or `host:port`. For services that accept the same messages, such as Mattermost.
    #[arg(
        id = "chat-hosts",
        long = "chat-hosts",
        env = "POSTRIDER_CHAT_HOSTS",
        value_name = "HOST,…",
        default_value = "",
        hide_default_value = true
    )]
    pub chat_hosts: Hosts,

    /// Maximum time for DNS, TCP and TLS before a request. The timeout of the attempt also limits it.
    #[arg(
        id = "egress-connect-timeout", long = "egress-connect-timeout",
        env = "POSTRIDER_EGRESS_CONNECT_TIMEOUT",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration(Duration::from_millis(1)..=postrider_model::limits::ATTEMPT_TIMEOUT_MAX)
    )]
    pub connect_timeout: Duration,
}

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        if let Some(proxy) = &self.proxy.0
            && !["http://", "https://"].iter().any(|scheme| proxy.expose_secret().starts_with(scheme))
        {
            return Err(SettingError::new("POSTRIDER_EGRESS_PROXY", "expected http://host:port or https://host:port"));
        }
        if self.allow.0.iter().any(|range| range.prefix_len() == 0) {
            tracing::warn!(
                "POSTRIDER_EGRESS_ALLOW allows every address: endpoints can reach this network and its metadata service"
            );
        }
        if self.allow_http {
            tracing::warn!("POSTRIDER_EGRESS_ALLOW_HTTP is on: deliveries may travel unencrypted");
        }
        if self.proxy.0.is_some() {
            tracing::warn!(
                "POSTRIDER_EGRESS_PROXY is set: names are checked here before each attempt, but the proxy resolves them \
                 again and must refuse private, loopback, link-local and metadata addresses itself"
            );
        }
        check_file("POSTRIDER_EGRESS_CA_FILE", self.ca_file.as_ref())
    }
}
