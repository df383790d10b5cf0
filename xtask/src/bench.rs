//! `cargo xtask bench`: measures optimized binaries with separate engines.

use crate::child::{self, Guarded};
use crate::test_engines::{Release, TestEngines};
use crate::{InstallArgs, report};
use anyhow::{Result, bail};

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    install: InstallArgs,
    /// Arguments for `postrider-bench run`. `cargo xtask bench -- --help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the binaries, starts engines, and measures.
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
