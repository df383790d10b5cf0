//! `cargo xtask`: what a developer runs. `up` is a working Postrider, `test` is everything that CI checks, `bench`
//! measures.
//!
//! Owns: the order in which things are prepared, started and stopped. Promises: everything it started is stopped when
//! it ends, also after Ctrl-C, SIGTERM or a failure. Does not: touch anything outside the checkout, apart from
//! packages that `up` and `test` install with apt, saying so.

mod bench;
mod child;
mod debian13;
mod deny;
mod faults;
mod guarantees;
#[cfg(test)]
mod layers;
mod marked;
#[cfg(test)]
mod metrics_page;
#[cfg(test)]
mod migrations_page;
#[cfg(test)]
mod pages;
mod report;
mod stop;
mod test;
mod test_engines;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use postrider_testkit::engines::Install;

use test_engines::{EXPORT, Release, TestEngines};

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
    /// Write docs/guarantees.md from what the end-to-end tests state.
    Guarantees,
    /// Keep the test engines running until Ctrl-C, for `cargo test` by hand.
    Engines {
        #[command(flatten)]
        install: InstallArgs,
        /// Whose engines.
        #[arg(long, value_enum, default_value_t)]
        engines: Release,
    },
}

/// What to do about missing packages.
#[derive(Debug, Clone, Copy, clap::Args)]
struct InstallArgs {
    /// Only say what would have to be installed.
    #[arg(long)]
    no_install: bool,
}

impl From<InstallArgs> for Install {
    fn from(args: InstallArgs) -> Self {
        if args.no_install { Self::Tell } else { Self::Apt }
    }
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
                Command::Guarantees => guarantees::write().map(|()| true),
                Command::Engines { install, engines: release } => {
                    Box::pin(engines(release, install.into())).await.map(|()| true)
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

async fn engines(release: Release, install: Install) -> Result<()> {
    let engines = TestEngines::start(release, install).await?;
    report::line(
        "the test engines run until Ctrl-C. In another terminal:\n\n  cargo test -p <package>\n\nor, for other tools:\n",
    );
    for (name, value) in &engines.variables {
        report::line(format!("{EXPORT}{name}={value}"));
    }
    std::future::pending().await
}
