//! The command line: a subcommand per service, and the tools around them. `--help` is the reference of all settings.

use postrider_runtime::config::{
    AmqpArgs, BrakeArgs, Checked, ConfigError, DatabaseArgs, EgressArgs, HttpArgs, KeysArgs, MappingsArgs,
    MasterKeysArgs, ProfilesArgs, PublicArgs, ReconcileArgs, RetentionArgs, check_all,
};

/// Postrider delivers webhooks: events in, signed requests out, retried, on record.
#[derive(Debug, clap::Parser)]
#[command(name = "postrider", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to run.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Accept events, over HTTP and from the exchange.
    Ingest(IngestArgs),
    /// Match events with subscriptions and make deliveries of them.
    Fanout(ServiceArgs),
    /// Deliver: sign, send, retry.
    Dispatcher(DispatcherArgs),
    /// Write events, deliveries and attempts down.
    Recorder(RecorderArgs),
    /// Serve the management API.
    Api(ApiArgs),
    /// Run every service in one process on one port.
    All(AllArgs),
    /// Bring the database's schema up to date; safe to repeat and to run twice at once.
    Migrate(MigrateArgs),
    /// Count the log against itself: exits with 0 when nothing is missing, 1 when something is, 2 when it cannot be told.
    Audit(AuditArgs),
    /// Seal every secret with the first of POSTRIDER_MASTER_KEYS, so that the others can be dropped.
    Reencrypt(ReencryptArgs),
    /// Print the OpenAPI 3.1 document.
    Openapi,
    /// Ask a running service whether it is ready; exits with 0 or 1.
    Healthcheck(HealthcheckArgs),
}

/// What every service needs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServiceArgs {
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) amqp: AmqpArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) profiles: ProfilesArgs,
}

/// What ingest needs besides.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct IngestArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) mappings: MappingsArgs,
    #[command(flatten)]
    pub(crate) brake: BrakeArgs,
    #[command(flatten)]
    pub(crate) keys: KeysArgs,
}

/// What the dispatcher needs besides.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DispatcherArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) master_keys: MasterKeysArgs,
    #[command(flatten)]
    pub(crate) egress: EgressArgs,
}

/// What the recorder needs besides.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RecorderArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) retention: RetentionArgs,
    #[command(flatten)]
    pub(crate) reconcile: ReconcileArgs,
}

/// What the API needs besides.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ApiArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) keys: KeysArgs,
    #[command(flatten)]
    pub(crate) public: PublicArgs,
    #[command(flatten)]
    pub(crate) master_keys: MasterKeysArgs,
    #[command(flatten)]
    pub(crate) egress: EgressArgs,
}

/// What all services together need.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AllArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) mappings: MappingsArgs,
    #[command(flatten)]
    pub(crate) brake: BrakeArgs,
    #[command(flatten)]
    pub(crate) keys: KeysArgs,
    #[command(flatten)]
    pub(crate) public: PublicArgs,
    #[command(flatten)]
    pub(crate) master_keys: MasterKeysArgs,
    #[command(flatten)]
    pub(crate) egress: EgressArgs,
    #[command(flatten)]
    pub(crate) retention: RetentionArgs,
    #[command(flatten)]
    pub(crate) reconcile: ReconcileArgs,
}

/// What an audit needs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// Days to count, today and back.
    #[arg(long, value_name = "DAYS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
    /// How long after the first look what was missing is looked for again, in case it was on its way.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) settle: std::time::Duration,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What sealing again needs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReencryptArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) master_keys: MasterKeysArgs,
}

/// What migrating needs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

/// Whom to ask.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HealthcheckArgs {
    /// Address of the service, as its `POSTRIDER_LISTEN`.
    #[arg(long, env = "POSTRIDER_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(crate) listen: std::net::SocketAddr,
    /// Address of its probes, as its `POSTRIDER_MANAGEMENT_LISTEN`, when they have a port of their own.
    #[arg(long, env = "POSTRIDER_MANAGEMENT_LISTEN", value_name = "ADDRESS")]
    pub(crate) management_listen: Option<std::net::SocketAddr>,
}

impl ServiceArgs {
    fn groups(&self) -> Vec<&dyn Checked> {
        vec![&self.http, &self.amqp, &self.database, &self.profiles]
    }
}

impl Command {
    /// The name that logs, metrics and broker connections know the process by.
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

    /// Checks all settings at once and logs them without their secrets.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let mut groups: Vec<&dyn Checked> = Vec::new();
        match self {
            Self::Ingest(args) => {
                groups.extend(args.service.groups());
                groups.extend([&args.mappings as &dyn Checked, &args.brake, &args.keys]);
            }
            Self::Fanout(service) => groups.extend(service.groups()),
            Self::Dispatcher(args) => {
                groups.extend(args.service.groups());
                groups.extend([&args.master_keys as &dyn Checked, &args.egress]);
            }
            Self::Recorder(args) => {
                groups.extend(args.service.groups());
                groups.extend([&args.retention as &dyn Checked, &args.reconcile]);
            }
            Self::Api(args) => {
                groups.extend(args.service.groups());
                groups.extend([&args.keys as &dyn Checked, &args.public, &args.master_keys, &args.egress]);
            }
            Self::All(args) => {
                groups.extend(args.service.groups());
                groups.extend([
                    &args.mappings as &dyn Checked,
                    &args.brake,
                    &args.keys,
                    &args.public,
                    &args.master_keys,
                ]);
                groups.extend([&args.egress as &dyn Checked, &args.retention, &args.reconcile]);
            }
            Self::Migrate(args) => groups.push(&args.database),
            Self::Audit(args) => groups.push(&args.database),
            Self::Reencrypt(args) => groups.extend([&args.database as &dyn Checked, &args.master_keys]),
            Self::Openapi | Self::Healthcheck(_) => {}
        }
        check_all(&groups)
    }
}
