//! Free TCP ports of 127.0.0.1.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::procs;

/// Whether nothing listens on the port.
fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Waits until the port is free. After a process is killed, the kernel closes its sockets within milliseconds, or within
/// seconds on a busy machine.
///
/// # Errors
/// The port is still taken after a minute.
pub(crate) fn wait_free(port: u16) -> Result<()> {
    ensure!(procs::wait_until(Duration::from_secs(60), || is_free(port)), "port {port} is taken by another process");
    Ok(())
}

/// Returns the preferred port if it is free, otherwise another port.
pub(crate) fn free_port_near(preferred: u16) -> u16 {
    if is_free(preferred) { preferred } else { free_port() }
}

/// Returns a free port below Linux's ephemeral range. So no outgoing connection takes the port while its owner restarts, and no
/// client that reconnects to the port in a loop connects to itself. A process gets each port at most once.
pub fn free_port() -> u16 {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    loop {
        let port = 20_000 + (uuid::Uuid::new_v4().as_u128() % 12_000) as u16;
        // The preferred ports of engines are not used.
        if !(27_400..27_800).contains(&port) && is_free(port) && given.insert(port) {
            return port;
        }
    }
}
