//! `cargo xtask bench`: measures optimised binaries on private engines.

use crate::child::{self, Guarded};
use crate::test_engines::{Release, TestEngines};
use crate::{InstallArgs, report};
use anyhow::{Result, bail};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    install: InstallArgs,
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
    let engines = TestEngines::start(Release::Installed, args.install.into()).await?;
    let mut command = tokio::process::Command::new(child::built("release", "postrider-bench")?);
    command
        .arg("run")
        .args(&args.arguments)
        .envs(engines.variables.clone())
        .env("POSTRIDER_BIN", child::built("release", "postrider")?)
        .current_dir(child::checkout());
    let measured = Guarded::spawn(command, "postrider-bench")?.wait().await?.success();
    engines.stop();
    Ok(measured)
}
