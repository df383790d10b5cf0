//! The command line: one subcommand for each service and tool. `--help` is the reference of all settings.

use postrider_settings::{CheckSettings, Optional, SettingError, optional_http_url};
use postrider_store::{DatabaseSettings, MasterKeySettings};
use url::Url;

/// Postrider delivers webhooks: it accepts events, sends signed requests, retries them, and records every attempt.
#[derive(Debug, clap::Parser)]
#[command(name = "postrider", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Accept events over HTTP and from the exchange.
    Ingest(IngestArgs),
    /// Match events with subscriptions and create deliveries.
    Fanout(ServiceArgs),
    /// Sign, send and retry deliveries.
    Dispatcher(DispatcherArgs),
    /// Record events, deliveries and attempts in the database.
    Recorder(RecorderArgs),
    /// Serve the management API and the dashboard.
    Api(ApiArgs),
    /// Run every service in one process on one port.
    All(Box<AllArgs>),
    /// Bring the database schema up to date. Safe to repeat and to run concurrently.
    Migrate(MigrateArgs),
    /// Check that no accepted event or delivery is missing in the history. The exit code is 0 if nothing is missing, 1 if
    /// something is missing, and 2 if the check fails.
    Audit(AuditArgs),
    /// Encrypt every secret with the first key of POSTRIDER_MASTER_KEYS, so that the other keys can be removed.
    Reencrypt(ReencryptArgs),
    /// Print the OpenAPI 3.1 document.
    Openapi,
    /// Check whether a running service is ready. The exit code is 0 if the service is ready, and 1 if it is not.
    Healthcheck(HealthcheckArgs),
}

/// Settings that all services share.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServiceArgs {
    #[command(flatten)]
    pub(crate) http: postrider_http::Settings,
    #[command(flatten)]
    pub(crate) amqp: postrider_broker::Settings,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
    #[command(flatten)]
    pub(crate) profiles: postrider_profiles::Settings,
}

/// Settings of `postrider ingest`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct IngestArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) ingest: postrider_ingest::Settings,
    #[command(flatten)]
    pub(crate) access: postrider_access::Settings,
}

/// Settings of `postrider dispatcher`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DispatcherArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) master_keys: MasterKeySettings,
    #[command(flatten)]
    pub(crate) egress: postrider_egress::Settings,
    #[command(flatten)]
    pub(crate) mail: postrider_mail::Settings,
    #[command(flatten)]
    pub(crate) dispatcher: postrider_dispatcher::Settings,
}

/// Settings of `postrider recorder`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RecorderArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) recorder: postrider_recorder::Settings,
    /// The URL of the dashboard for people, for the links in notices about endpoints.
    #[arg(
        long = "public-url",
        env = "POSTRIDER_PUBLIC_URL",
        value_name = "URL",
        default_value = "",
        hide_default_value = true,
        value_parser = optional_http_url,
        help_heading = "Public URL"
    )]
    pub(crate) public_url: Optional<Url>,
}

/// Settings of `postrider api`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ApiArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) access: postrider_access::Settings,
    #[command(flatten)]
    pub(crate) api: postrider_api::Settings,
    #[command(flatten)]
    pub(crate) master_keys: MasterKeySettings,
    #[command(flatten)]
    pub(crate) egress: postrider_egress::Settings,
    #[command(flatten)]
    pub(crate) mail: postrider_mail::Settings,
}

/// Settings of `postrider all`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AllArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) ingest: postrider_ingest::Settings,
    #[command(flatten)]
    pub(crate) access: postrider_access::Settings,
    #[command(flatten)]
    pub(crate) api: postrider_api::Settings,
    #[command(flatten)]
    pub(crate) master_keys: MasterKeySettings,
    #[command(flatten)]
    pub(crate) egress: postrider_egress::Settings,
    #[command(flatten)]
    pub(crate) mail: postrider_mail::Settings,
    #[command(flatten)]
    pub(crate) dispatcher: postrider_dispatcher::Settings,
    #[command(flatten)]
    pub(crate) recorder: postrider_recorder::Settings,
}

/// Settings of `postrider audit`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
    /// Number of days to check, including today.
    #[arg(long, value_name = "DAYS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
    /// Time to wait before missing rows are checked again, because their messages may be in flight.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) recheck_after: std::time::Duration,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Settings of `postrider reencrypt`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReencryptArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
    #[command(flatten)]
    pub(crate) master_keys: MasterKeySettings,
}

/// Settings of `postrider migrate`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
}

/// Settings of `postrider healthcheck`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HealthcheckArgs {
    /// Address of the service to check. It is the service's POSTRIDER_LISTEN.
    #[arg(long, env = "POSTRIDER_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(crate) listen: std::net::SocketAddr,
    /// Address of the service's probes, if they have a separate address. It is the service's POSTRIDER_MANAGEMENT_LISTEN.
    #[arg(long, env = "POSTRIDER_MANAGEMENT_LISTEN", value_name = "ADDRESS")]
    pub(crate) management_listen: Option<std::net::SocketAddr>,
}

impl Command {
    /// Returns the name of the process in logs, metrics and broker connections.
    pub(crate) fn service(&self) -> &'static str {
        match self {
            Self::Ingest(_) => "ingest",
            Self::Fanout(_) => "fanout",
            Self::Dispatcher(_) => "dispatcher",
            Self::Recorder(_) => "recorder",
            Self::Api(_) => "api",
            Self::All(_) => "all",
            Self::Migrate(_) => "migrate",
            Self::Audit(_) => "audit",
            Self::Reencrypt(_) => "reencrypt",
            Self::Openapi => "openapi",
            Self::Healthcheck(_) => "healthcheck",
        }
    }

    /// Checks all settings.
    ///
    /// # Errors
    /// The first setting whose value cannot be used.
    pub(crate) fn check(&self) -> Result<(), SettingError> {
        self.settings().into_iter().try_for_each(CheckSettings::check)
    }

    fn settings(&self) -> Vec<&dyn CheckSettings> {
        let (service, own): (Option<&ServiceArgs>, Vec<&dyn CheckSettings>) = match self {
            Self::Ingest(args) => (Some(&args.service), vec![&args.ingest, &args.access]),
            Self::Fanout(service) => (Some(service), Vec::new()),
            Self::Dispatcher(args) => {
                (Some(&args.service), vec![&args.master_keys, &args.egress, &args.mail, &args.dispatcher])
            }
            Self::Recorder(args) => (Some(&args.service), vec![&args.recorder]),
            Self::Api(args) => {
                (Some(&args.service), vec![&args.access, &args.api, &args.master_keys, &args.egress, &args.mail])
            }
            Self::All(args) => (Some(&args.service), args.settings()),
            Self::Migrate(args) => (None, vec![&args.database]),
            Self::Audit(args) => (None, vec![&args.database]),
            Self::Reencrypt(args) => (None, vec![&args.database, &args.master_keys]),
            Self::Openapi | Self::Healthcheck(_) => (None, Vec::new()),
        };
        service.map(ServiceArgs::settings).into_iter().flatten().chain(own).collect()
    }
}

impl ServiceArgs {
    fn settings(&self) -> [&dyn CheckSettings; 4] {
        [&self.http, &self.amqp, &self.database, &self.profiles]
    }
}

impl AllArgs {
    fn settings(&self) -> Vec<&dyn CheckSettings> {
        vec![
            &self.ingest,
            &self.access,
            &self.api,
            &self.master_keys,
            &self.egress,
            &self.mail,
            &self.dispatcher,
            &self.recorder,
        ]
    }
}

#[cfg(test)]
mod tests;
