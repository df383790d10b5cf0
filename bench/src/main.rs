//! The benchmark of Postrider. It consists of the real services, a load generator, a receiver (the sink), and the **bare path**
//! (publish, consume, POST, ack and nothing else), whose figures are the reference. Each of them has its own process.
//!
//! `cargo xtask bench` builds everything with optimization, starts its own engines and calls `run`. The other subcommands are
//! the parts that `run` starts. `docs/performance.md` explains each row of the output.
//!
//! The generator, the sink and the bare path run on the same machine as the services. To use little CPU, they implement only a
//! subset of HTTP/1.1 over keep-alive connections.
//!
//! Figures of different machines, or of a busy machine, are not comparable. Compare only ratios within one run.

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
mod ordered;
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

/// Measures Postrider: throughput, latency, CPU and memory by process, and lost and duplicated deliveries.
#[derive(Debug, Parser)]
#[command(name = "postrider-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all workloads with newly started services and print the figures.
    Run(run::RunArgs),
    /// Receive deliveries. The first port responds with 200. The other ports never respond, respond with one byte per second, or
    /// refuse connections.
    Sink,
    /// Publish events over HTTP, in a closed loop or at a fixed rate.
    Generate(generate::GenerateArgs),
    /// Measure the bare path: publish, consume, POST, ack.
    Bare(bare::BareArgs),
    /// Measure the time that fan-out's index needs to match an event.
    Match(matches::MatchArgs),
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn start() -> anyhow::Result<()> {
    // Each part needs only one thread. Several threads that wake each other would use the CPU that is being measured.
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
