//! Settings of the dispatcher.

use postrider_settings::{CheckSettings, SettingError, http_url};
use url::Url;

/// Settings of the dispatcher.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Egress")]
pub struct Settings {
    /// Base URL of Pushover's API. Other values are for tests. The egress rules for endpoints also apply to this URL.
    #[arg(
        id = "pushover-url",
        long = "pushover-url",
        env = "POSTRIDER_PUSHOVER_URL",
        value_name = "URL",
        default_value = "https://api.pushover.net",
        value_parser = http_url
    )]
    pub pushover_url: Url,

    /// Base URL of Telegram's Bot API: a server of your own, or a stand-in for tests. The egress rules for endpoints also apply to
    /// this URL.
    #[arg(
        id = "telegram-url",
        long = "telegram-url",
        env = "POSTRIDER_TELEGRAM_URL",
        value_name = "URL",
        default_value = "https://api.telegram.org",
        value_parser = http_url
    )]
    pub telegram_url: Url,
}

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }
}
