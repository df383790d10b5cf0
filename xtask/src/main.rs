//! `cargo xtask`: what a developer runs. `up` is a working Postrider, `test` is everything that CI checks, `bench`
//! measures.
//!
//! Owns: the order in which things are prepared, started and stopped. Promises: whatever it started is stopped when
//! it ends, also after Ctrl-C, SIGTERM or a failure. Does not: touch anything outside the checkout, apart from
//! packages that `up` and `test` install with apt, saying so.

mod bench;
mod child;
mod deny;
mod faults;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod metrics_page;
#[cfg(test)]
mod migrations_page;
#[cfg(test)]
mod pages;
mod report;
mod stop;
mod test;
mod up;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::{Parser, Subcommand};
use postrider_testkit::engines::{EngineOptions, Engines, Install, Purpose, Release, default_folder};

/// What a developer runs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start Postrider with RabbitMQ, PostgreSQL and a demo tenant, until Ctrl-C.
    Up(up::UpArgs),
    /// Check everything that CI checks, over real engines.
    Test(test::TestArgs),
    /// Measure, with optimised binaries and separate processes.
    Bench(bench::BenchArgs),
    /// Keep the test engines running until Ctrl-C, for `cargo test` by hand.
    Engines {
        /// Only tell what would have to be installed.
        #[arg(long)]
        no_install: bool,
        /// Whose: `installed` or `debian13`.
        #[arg(long, value_name = "RELEASE")]
        engines: Option<Release>,
    },
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report::line(format!("error: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        postrider_testkit::install_crypto();
        let until_ctrl_c = matches!(command, Command::Up(_) | Command::Engines { .. });
        let work = async {
            match command {
                Command::Up(args) => Box::pin(up::run(args)).await.map(|()| true),
                Command::Test(args) => Box::pin(test::run(args)).await,
                Command::Bench(args) => Box::pin(bench::run(args)).await,
                Command::Engines { no_install, engines: release } => {
                    Box::pin(engines(no_install, release)).await.map(|()| true)
                }
            }
        };
        // Losing the race drops the work, and with it the guards that stop what it started.
        let ended = tokio::select! {
            ended = work => ended,
            name = stop::requested() => {
                if until_ctrl_c {
                    report::line("stopped");
                    return ExitCode::SUCCESS;
                }
                report::line(format!("stopped by {name}"));
                return ExitCode::from(130);
            }
        };
        match ended {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                report::line(format!("error: {error:#}"));
                ExitCode::FAILURE
            }
        }
    })
}

/// Starts (or finds) the engines.
async fn start_engines(purpose: Purpose, release: Release, no_install: bool, reset: bool) -> Result<Engines> {
    let install = if no_install { Install::Tell } else { Install::Apt };
    let say = Arc::new(report::step);
    Engines::start(EngineOptions { folder: default_folder(), install, purpose, release, reset, say }).await
}

async fn engines(no_install: bool, release: Option<Release>) -> Result<()> {
    let release = release.map_or_else(Release::chosen, Ok)?;
    let engines = start_engines(Purpose::Tests, release, no_install, false).await?;
    report::line(
        "the test engines run until Ctrl-C. In another terminal:\n\n  cargo test -p <package>\n\nor, for other tools:\n",
    );
    for (name, value) in test::variables(&engines, release) {
        report::line(format!("  export {name}={value}"));
    }
    std::future::pending().await
}
