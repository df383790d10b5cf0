//! TCP ports: whether one is free, who holds it, and free ones that stay free.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::procs;

/// Fails when the port of 127.0.0.1 is taken, naming its holder if that can be known and the variable that chooses another.
pub fn claim(port: u16, what: &str, variable: &str) -> Result<()> {
    let free = || TcpListener::bind(("127.0.0.1", port)).is_ok();
    // A process that was just killed has no command line any more, and may be past finding, before the kernel has closed
    // its sockets: milliseconds, or seconds on a busy machine.
    let dying = || listener(port).is_none_or(|pid| procs::command_of(pid).is_none());
    if procs::wait_until(Duration::from_secs(60), || free() || !dying()) && free() {
        return Ok(());
    }
    let holder = describe_listener(port).map_or_else(String::new, |who| format!(" by {who}"));
    bail!("port {port} ({what}) is taken{holder}: stop that, or choose another port with {variable}=<port>")
}

/// Who listens on a TCP port of this machine, as `pid 123 (postgres -D ...)`. `None` when it cannot be known (another
/// user's process).
pub fn describe_listener(port: u16) -> Option<String> {
    let pid = listener(port)?;
    let command: String = procs::command_of(pid).unwrap_or_default().chars().take(100).collect();
    Some(format!("pid {pid} ({command})"))
}

/// The process that listens on a TCP port.
fn listener(port: u16) -> Option<i32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| listening_inode(table, port))?;
    let link = format!("socket:[{inode}]");
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(files) = std::fs::read_dir(entry.path().join("fd")) else { continue };
        if files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == link.as_str())) {
            return Some(pid);
        }
    }
    None
}

fn listening_inode(table: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    std::fs::read_to_string(table).ok()?.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = fields.get(1)?.rsplit(':').next()?;
        let matches = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == LISTEN;
        matches.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })
}

/// A free port below Linux's ephemeral range, so that no outgoing connection takes it while its owner restarts (and
/// no client that reconnects to it in a loop connects to itself). Not given out twice by this process.
pub fn free_port() -> u16 {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    loop {
        let port = 20_000 + (uuid::Uuid::new_v4().as_u128() % 12_000) as u16;
        // The engines' own defaults are left alone.
        if !(27_400..27_800).contains(&port) && !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            given.insert(port);
            return port;
        }
    }
}

/// A port from an environment variable, or the default.
///
/// # Errors
/// The variable holds no port.
pub fn port_from_env(name: &str, default: u16) -> Result<u16> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is not a port")),
        Err(_) => Ok(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_holder_and_the_way_out() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = claim(port, "RabbitMQ", "POSTRIDER_DEV_AMQP_PORT").unwrap_err().to_string();
        assert!(error.contains(&format!("port {port} (RabbitMQ) is taken by pid {}", std::process::id())), "{error}");
        assert!(error.contains("POSTRIDER_DEV_AMQP_PORT=<port>"), "{error}");
        drop(listener);
        claim(port, "RabbitMQ", "POSTRIDER_DEV_AMQP_PORT").unwrap();
    }
}
