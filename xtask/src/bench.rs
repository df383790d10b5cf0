//! `cargo xtask bench`: optimised binaries, private engines, a vhost and a database of their own.

use std::time::Duration;

use anyhow::{Result, bail};
use postrider_testkit::engines::{Purpose, Release};

use crate::child::{self, Guarded};
use crate::{report, start_engines};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Only tell what would have to be installed.
    #[arg(long)]
    no_install: bool,
    /// Passed on to `postrider-bench run`; `cargo xtask bench -- --help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds, starts engines, measures.
pub(crate) async fn run(args: BenchArgs) -> Result<bool> {
    report::step("building with optimisation (cargo build --release)");
    let build = child::cargo(&["build", "--release", "-p", "postrider", "-p", "postrider-bench"]);
    if !child::run(build, "cargo build").await? {
        bail!("the build failed");
    }
    let engines = start_engines(Purpose::Tests, Release::Installed, args.no_install, false).await?;
    let scope = engines.scope("bench").await?;
    let mut command = tokio::process::Command::new(child::built("release", "postrider-bench")?);
    command
        .arg("run")
        .args(&args.arguments)
        .env("POSTRIDER_AMQP_URL", &scope.amqp_url)
        .env("POSTRIDER_AMQP_API", &scope.amqp_api_url)
        .env("POSTRIDER_DATABASE_URL", &scope.database_url)
        .env("POSTRIDER_BIN", child::built("release", "postrider")?)
        .current_dir(child::checkout());
    let measured = Guarded::spawn(command, "postrider-bench", Duration::from_secs(30))?.wait().await?.success();
    drop(scope);
    engines.stop();
    Ok(measured)
}
