//! `cargo xtask up`: runs Postrider on this machine with a demo tenant of each profile, and prints the tenants' deliveries to
//! the terminal.

mod api;
mod demo;
mod keys;
mod receiver;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postrider_testkit::engines::{EngineOptions, Engines, Purpose};
use postrider_testkit::paths::{default_folder, set};
use tokio::process::Command;

use crate::child::{self, Guarded};
use crate::{InstallArgs, report};

/// Builds the binary with the features of dependencies that the workspace's tests enable, so that `cargo xtask test` and `up`
/// compile each dependency once. Cargo enables these features only if it also builds a test. `settings` is a small test.
const BUILD: [&str; 6] = ["build", "--workspace", "--bin", "postrider", "--test", "settings"];

/// Arguments of `cargo xtask up`.
#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    install: InstallArgs,
    /// Before the start, delete this checkout's data of RabbitMQ and PostgreSQL, its keys and its demo tenants.
    #[arg(long)]
    reset: bool,
}

/// Starts everything and runs until a service ends. Dropping the future stops everything.
pub(crate) async fn run(args: UpArgs) -> Result<()> {
    // If a setting is invalid, `up` ends here, before the build, which takes minutes.
    let listen: SocketAddr = set("POSTRIDER_LISTEN")
        .unwrap_or_else(|| "127.0.0.1:8080".into())
        .parse()
        .context("POSTRIDER_LISTEN must be an address and a port, like 127.0.0.1:8080")?;
    let receiver_port = set("POSTRIDER_DEV_RECEIVER_PORT").unwrap_or_else(|| "27680".into());
    let receiver_port = receiver_port.parse().context("POSTRIDER_DEV_RECEIVER_PORT must be a port")?;
    check_free(listen, "Postrider's HTTP", "POSTRIDER_LISTEN=127.0.0.1:<port>")?;
    check_free(([127, 0, 0, 1], receiver_port).into(), "the demo receiver", "POSTRIDER_DEV_RECEIVER_PORT=<port>")?;

    let engines = Engines::start(EngineOptions {
        install: args.install.into(),
        purpose: Purpose::Development,
        reset: args.reset,
        say: report::step,
    })
    .await?;
    let folder = default_folder();
    std::fs::create_dir_all(&folder)?;
    if args.reset {
        keys::forget(&folder)?;
        demo::forget(&folder)?;
    }
    let keys = keys::load_or_make(&folder)?;

    report::step(&format!("building postrider (cargo {})", BUILD.join(" ")));
    if !child::run(child::cargo(&BUILD), "cargo build").await? {
        bail!("the build failed");
    }
    let log = folder.join("postrider.log");
    let environment = environment(&engines, &keys, listen).await?;
    report::step("migrating the database (postrider migrate)");
    let migrated = Guarded::spawn(postrider("migrate", &environment, &log)?, "postrider")?;
    finished(migrated, &log).await?;
    report::step("starting Postrider (postrider all)");
    let mut all = Guarded::spawn(postrider("all", &environment, &log)?, "postrider")?;

    let api = api::Api::new(listen, &keys.operator)?;
    let serving = async {
        api.wait_ready().await.with_context(|| format!("{} ends with\n{}\n", log.display(), tail(&log)))?;
        let demo = demo::find_or_make(&folder, &api, receiver_port).await?;
        let receiver = receiver::serve(receiver_port, &demo).await?;
        demo::write_script(&folder, listen, &demo)?;
        announce(&engines, &keys, listen, &folder, &demo);
        // The receiver never ends, so this line waits until `up` is stopped.
        tokio::join!(receiver, demo::greet(&api, &demo)).0
    };
    tokio::select! {
        ended = serving => ended,
        status = all.wait() => bail!("postrider ended: {}; {} ends with\n{}", status?, log.display(), tail(&log)),
    }
}

fn check_free(address: SocketAddr, user: &str, other: &str) -> Result<()> {
    if std::net::TcpListener::bind(address).is_err() {
        bail!(
            "{address} ({user}) is taken, perhaps by another `cargo xtask up`: stop that, or choose another with {other}"
        );
    }
    Ok(())
}

/// Returns the settings of `postrider`. A variable that is already set takes precedence.
async fn environment(engines: &Engines, keys: &keys::Keys, listen: SocketAddr) -> Result<Vec<(&'static str, String)>> {
    let mut wanted = vec![
        ("POSTRIDER_LISTEN", listen.to_string()),
        ("POSTRIDER_AMQP_URL", engines.development_amqp_url()),
        ("POSTRIDER_DATABASE_URL", engines.development_database().await?),
        ("POSTRIDER_OPERATOR_KEYS", keys.operator_keys.clone()),
        ("POSTRIDER_MASTER_KEYS", keys.master.clone()),
        ("POSTRIDER_EGRESS_ALLOW", "127.0.0.0/8,::1/128".into()),
        ("POSTRIDER_EGRESS_ALLOW_HTTP", "true".into()),
        // The address of portal links.
        ("POSTRIDER_PUBLIC_URL", format!("http://{listen}")),
    ];
    wanted.retain(|(name, _)| set(name).is_none());
    Ok(wanted)
}

fn postrider(role: &str, environment: &[(&'static str, String)], log: &Path) -> Result<Command> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("opening {}", log.display()))?;
    let mut command = Command::new(child::built("debug", "postrider")?);
    command
        .arg(role)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(child::checkout())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(command)
}

async fn finished(mut child: Guarded, log: &Path) -> Result<()> {
    let started = Instant::now();
    let status = tokio::time::timeout(Duration::from_secs(120), child.wait()).await;
    match status {
        Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(()),
        Ok(status) => bail!("postrider migrate: {}; {} ends with\n{}", status?, log.display(), tail(log)),
        Err(_) => bail!("postrider migrate does not end ({:?}); see {}", started.elapsed(), log.display()),
    }
}

fn tail(log: &Path) -> String {
    postrider_testkit::procs::tail(log, 15)
}

fn announce(engines: &Engines, keys: &keys::Keys, listen: SocketAddr, folder: &Path, demo: &demo::Demo) {
    let folder = folder.strip_prefix(std::env::current_dir().unwrap_or_default()).unwrap_or(folder).display();
    report::line(format!("\nPostrider is up on http://{listen} (Ctrl-C stops everything)\n"));
    report::line(format!("  operator key   {}", keys.operator));
    report::line(format!("  dashboard      http://{listen}/dashboard (sign in with the operator key)"));
    report::line(format!("  API document   http://{listen}/openapi.json"));
    report::line(format!("  metrics        http://{listen}/metrics"));
    for engine in &engines.described {
        report::line(format!("  engine         {engine}"));
    }
    if let Some(api) = &engines.amqp_api_url {
        report::line(format!("  RabbitMQ page  {}", api.replace("guest:guest@", "")));
    }
    report::line(format!("  data and logs  {folder}/, {folder}/postrider.log"));
    report::line("  demo tenants   one for each product, with an endpoint at the built-in receiver:");
    for tenant in &demo.tenants {
        report::line(format!("    {:<12} {}  {}  {}", tenant.profile, tenant.tenant, tenant.endpoint, tenant.url));
    }
    if let Some(tenant) = demo.tenants.first() {
        let url = receiver::own_url(&tenant.url);
        report::line(format!(
            "  your endpoints {url} accepts the deliveries of endpoints that you add, without a check"
        ));
        report::line("\nSend an event from another terminal, and watch it arrive here:\n");
        report::line(format!("  {}\n", demo::curl(listen, tenant)));
        let others: Vec<_> = demo.tenants.iter().skip(1).map(|tenant| tenant.profile.as_str()).collect();
        report::line(format!("The same for another product ({}):\n", others.join(", ")));
        report::line(format!("  sh {folder}/publish.sh {}\n", others.first().unwrap_or(&"")));
        report::line(
            "The receiver checks each signature by the rule of its product. The test events of the demo tenants:\n",
        );
    }
}
