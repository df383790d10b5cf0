//! The wish to stop: Ctrl-C, SIGTERM, or the terminal's end.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for the first of them and says which it was. Never returns if signals cannot be listened to.
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
