//! Signals that stop `xtask`: Ctrl-C (SIGINT), SIGTERM, and SIGHUP, which is sent when the terminal closes.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for the first signal and returns its name. Never returns if the handlers cannot be installed.
pub(crate) async fn requested() -> &'static str {
    let listen = || -> std::io::Result<_> {
        Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?))
    };
    let Ok((mut interrupt, mut terminate, mut hangup)) = listen() else { return std::future::pending().await };
    tokio::select! {
        _ = interrupt.recv() => "Ctrl-C",
        _ = terminate.recv() => "SIGTERM",
        _ = hangup.recv() => "SIGHUP",
    }
}
