//! SIGTERM and SIGINT: the first signal stops the process gracefully, the second immediately.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code after a second signal: 128 + SIGINT, the convention of shells.
const EXIT_FORCED: i32 = 130;

/// Returns a token that the first SIGTERM or SIGINT cancels. A second signal ends the process immediately, without draining.
///
/// # Errors
/// The handlers cannot be installed.
pub fn stop_token() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = stop.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(signal = name, "stopping; a second signal exits at once");
        token.cancel();
        let name = next().await;
        tracing::warn!(signal = name, "second signal, exiting without drain");
        std::process::exit(EXIT_FORCED);
    });
    Ok(stop)
}
