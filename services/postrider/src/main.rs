//! `postrider`: all services in one binary. Except for the variables of telemetry, only this crate reads the environment.

mod audit;
mod cli;
mod environment;
mod healthcheck;
mod heartbeat;
mod metrics;
mod process;
mod reencrypt;
mod serve;
mod wiring;

use std::num::NonZero;
use std::process::ExitCode;
use std::thread;

use anyhow::Context;
use postrider_telemetry::signals;

use crate::cli::Command;
use crate::environment::Parsed;

/// The process makes many small allocations on many threads. mimalloc needs a tenth less CPU than the allocator of the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let parsed = match environment::parse() {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("cannot start the async runtime")),
    };
    match runtime.block_on(run(parsed)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// Builds the async runtime with one worker thread for every two processors. Each connection to the broker has a thread of its
/// own, and at everyday rates much of the CPU time is the kernel's for switching between threads. The variable
/// `TOKIO_WORKER_THREADS` sets another number.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        builder.worker_threads(processors.div_ceil(2));
    }
    builder.enable_all().build()
}

async fn run(Parsed { command, summary }: Parsed) -> anyhow::Result<ExitCode> {
    match &command {
        Command::Openapi => return print(&format!("{:#}", postrider_api::openapi())),
        Command::Healthcheck(args) => return Ok(healthcheck::run(args.management_listen.unwrap_or(args.listen)).await),
        // These commands write no logs, because their output is their result.
        Command::Audit(args) => return Ok(audit::run(args).await),
        Command::Reencrypt(args) => return reencrypt::run(args).await,
        _ => {}
    }
    let _telemetry = postrider_telemetry::init(command.service(), env!("CARGO_PKG_VERSION"))?;
    install_crypto();
    command.check()?;
    for (setting, value) in summary {
        tracing::info!(setting, value, "configured");
    }
    let stop = signals::stop_token().context("cannot listen to signals")?;
    serve::run(command, stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// Installs one crypto provider for all TLS connections of the process.
pub(crate) fn install_crypto() {
    // An error means that a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[expect(clippy::print_stdout, reason = "the output of a tool")]
pub(crate) fn print(text: &str) -> anyhow::Result<ExitCode> {
    println!("{text}");
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "the process may have no logs yet")]
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("postrider: {error:#}");
    ExitCode::FAILURE
}
