//! The benchmark of Postrider: the real services, a load generator and a receiver (the sink), each in its own process, and the
//! **bare path** (publish, consume, POST, ack and nothing else) that figures are compared with.
//!
//! `cargo xtask bench` builds everything with optimisation, starts private engines and calls `run`; the other subcommands are the
//! parts that `run` starts. `docs/performance.md` explains each row of the output.
//!
//! Generator, sink and bare path share the machine with the services. To use little CPU, they speak a subset of HTTP/1.1 over
//! keep-alive connections.
//!
//! Figures of different machines, or of a busy machine, are not comparable. Compare ratios within one run.

mod bare;
mod broker;
mod clock;
mod console;
mod engine;
mod everyday;
mod generate;
mod http;
mod isolation;
mod ledger;
mod load;
mod log;
mod matches;
mod matching;
mod part;
mod payload;
mod processes;
mod receiver;
mod report;
mod run;
mod sink;
mod targets;
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
    /// Receive deliveries: answer 200 on one port, never or one byte per second on others.
    Sink,
    /// Publish events over HTTP, in a closed loop or at a fixed rate.
    Generate(generate::GenerateArgs),
    /// The bare path: publish, consume, POST, ack.
    Bare(bare::BareArgs),
    /// Time matches against the index of a fan-out.
    Match(matches::MatchArgs),
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn start() -> anyhow::Result<()> {
    // One thread each is enough, and threads that wake each other would use the CPU that is being measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        match Cli::parse().command {
            Command::Run(args) => Box::pin(run::run(args)).await,
            Command::Sink => sink::run().await,
            Command::Generate(args) => generate::run(args).await,
            Command::Bare(args) => bare::run(args).await,
            Command::Match(args) => matches::run(&args),
        }
    })
}

#[expect(clippy::print_stderr, reason = "the error is the output of a failed command")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("postrider-bench: {error:#}");
    ExitCode::FAILURE
}
