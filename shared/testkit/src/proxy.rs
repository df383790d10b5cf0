//! A network that a test may stall: a TCP proxy that stops forwarding bytes, as if every packet were dropped.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Whether the network is stalled. While it is stalled, no byte arrives and no connection ends.
struct Stalled(bool);

/// A proxy to one address. Dropping this value ends the proxy and its connections.
pub struct Proxy {
    address: SocketAddr,
    network: watch::Sender<Stalled>,
}

impl Proxy {
    /// Listens on a port of 127.0.0.1 for connections to `target`.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", crate::ports::free_port())).await?;
        let address = listener.local_addr()?;
        let (network, seen) = watch::channel(Stalled(false));
        tokio::spawn(accept(listener, target, seen));
        Ok(Self { address, network })
    }

    /// Starts a proxy to the address in a URL. Returns the proxy, and the URL through the proxy.
    ///
    /// # Errors
    /// The URL's host is not an IP address with a port.
    pub async fn before(url: &str) -> Result<(Self, String)> {
        let mut through = url::Url::parse(url)?;
        let target = format!("{}:{}", through.host_str().unwrap_or_default(), through.port().unwrap_or_default());
        let proxy = Self::start(target.parse()?).await?;
        // This call succeeds for every URL that has a host.
        let _ = through.set_port(Some(proxy.address.port()));
        Ok((proxy, through.into()))
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stalls the network: no byte arrives on either side, and no connection ends. New connections are accepted but get no
    /// bytes.
    pub fn stall(&self) {
        self.network.send_replace(Stalled(true));
    }

    /// Ends the stall. First the delayed bytes arrive, then later bytes.
    pub fn resume(&self) {
        self.network.send_replace(Stalled(false));
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, mut network: watch::Receiver<Stalled>) {
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            // This arm is taken when the proxy is dropped.
            gone = network.wait_for(|_| false) => return drop(gone),
        };
        if let Ok((client, _)) = connection {
            tokio::spawn(serve(client, target, network.clone()));
        }
    }
}

async fn serve(client: TcpStream, target: SocketAddr, mut network: watch::Receiver<Stalled>) {
    if up(&mut network).await.is_none() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // If either side closes, both connections end.
    tokio::select! {
        () = pass(from_client, to_server, network.clone()) => {}
        () = pass(from_server, to_client, network) => {}
    }
}

/// Forwards bytes while the network is not stalled.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut network: watch::Receiver<Stalled>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            gone = network.wait_for(|_| false) => return drop(gone),
        };
        let Ok(bytes @ 1..) = read else { return };
        if up(&mut network).await.is_none() || to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

/// Waits until the network is not stalled; `None` if the proxy was dropped.
async fn up(network: &mut watch::Receiver<Stalled>) -> Option<()> {
    network.wait_for(|network| !network.0).await.ok().map(drop)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn bytes_sent_during_a_stall_arrive_after_it() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        let mut buffer = [0; 1];
        client.write_all(b"a").await.unwrap();
        accepted.read_exact(&mut buffer).await.unwrap();
        proxy.stall();
        client.write_all(b"b").await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(100), accepted.read_exact(&mut buffer)).await;
        assert!(early.is_err(), "it arrived");
        proxy.resume();
        accepted.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"b");
        drop(proxy);
        assert_eq!(accepted.read(&mut buffer).await.unwrap(), 0, "the connection ends with the proxy");
    }
}
