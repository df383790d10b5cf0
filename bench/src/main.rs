//! The benchmark of Postrider: the engine's real processes, a load generator and a receiver, each its own process,
//! and the **bare path** (publish, consume, POST, acknowledge and nothing else) that figures are quoted as a share of.
//!
//! `cargo xtask bench` builds everything with optimisation, starts private engines and calls `run`; the other
//! subcommands are the parts that `run` starts. What each row of the output means is in `docs/performance.md`.
//!
//! Generator, receiver and bare path share the machine with the engine under test. To be cheap, they use a hand-written subset of
//! HTTP/1.1 over keep-alive connections.
//!
//! Figures of different machines, or of runs on a busy machine, do not compare. Compare ratios within one run.

mod bare;
mod broker;
mod clock;
mod console;
mod engine;
mod generate;
mod http;
mod isolation;
mod ledger;
mod matches;
mod matching;
mod payload;
mod processes;
mod report;
mod run;
mod sink;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Postrider: throughput, latency, CPU and memory by process, lost and duplicated deliveries.
#[derive(Debug, Parser)]
#[command(name = "postrider-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every workload against private service processes and print the figures.
    Run(run::RunArgs),
    /// Receive deliveries: answers 200 on one port, never or a byte a second on others.
    Sink(sink::SinkArgs),
    /// Publish events over HTTP, in a closed loop or at a fixed rate.
    Generate(generate::GenerateArgs),
    /// The bare path: publish, consume, POST, acknowledge.
    Bare(bare::BareArgs),
    /// Time matches against a fan-out's index.
    Match(matches::MatchArgs),
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn start() -> anyhow::Result<()> {
    // One thread each: the parts of a measurement need no more, and threads that wake each other cost the CPU that is
    // being measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        match Cli::parse().command {
            Command::Run(args) => Box::pin(run::run(args)).await,
            Command::Sink(args) => sink::run(args).await,
            Command::Generate(args) => generate::run(args).await,
            Command::Bare(args) => bare::run(args).await,
            Command::Match(args) => matches::run(&args),
        }
    })
}

#[expect(clippy::print_stderr, reason = "why a run ended early is for the person who started it")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("postrider-bench: {error:#}");
    ExitCode::FAILURE
}
