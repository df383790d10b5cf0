//! A network that a test may cut: a TCP proxy that stops passing bytes on, as when every packet is dropped.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Up,
    /// Nothing arrives, and no connection ends.
    Stalled,
}

/// A proxy to one address; it ends, and its connections with it, when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
}

impl Proxy {
    /// Listens on a port of 127.0.0.1 for connections to `target`.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", crate::ports::free_port())).await?;
        let address = listener.local_addr()?;
        let (network, seen) = watch::channel(Network::Up);
        tokio::spawn(accept(listener, target, seen));
        Ok(Self { address, network })
    }

    /// A proxy to where a URL points, and the URL that leads through it.
    ///
    /// # Errors
    /// The URL names no address of this machine by number and port.
    pub async fn before(url: &str) -> Result<(Self, String)> {
        let mut through = url::Url::parse(url)?;
        let target = format!("{}:{}", through.host_str().unwrap_or_default(), through.port().unwrap_or_default());
        let proxy = Self::start(target.parse()?).await?;
        // A port can be set on every URL that has a host.
        let _ = through.set_port(Some(proxy.address.port()));
        Ok((proxy, through.into()))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing arrives on either side, nor is any connection ended; new ones are taken and hear nothing.
    pub fn stall(&self) {
        self.network.send_replace(Network::Stalled);
    }

    /// What was held back arrives, and everything after it.
    pub fn resume(&self) {
        self.network.send_replace(Network::Up);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, mut network: watch::Receiver<Network>) {
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            // The proxy was dropped.
            gone = network.wait_for(|_| false) => return drop(gone),
        };
        if let Ok((client, _)) = connection {
            tokio::spawn(serve(client, target, network.clone()));
        }
    }
}

async fn serve(client: TcpStream, target: SocketAddr, mut network: watch::Receiver<Network>) {
    if up(&mut network).await.is_none() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // Either end closing ends both ways.
    tokio::select! {
        () = pass(from_client, to_server, network.clone()) => {}
        () = pass(from_server, to_client, network) => {}
    }
}

/// Passes bytes on while the network is up.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut network: watch::Receiver<Network>,
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

/// Waits until the network is up; `None` when the proxy is gone.
async fn up(network: &mut watch::Receiver<Network>) -> Option<()> {
    network.wait_for(|network| *network == Network::Up).await.ok().map(drop)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_sent_while_the_network_is_stalled_arrives_when_it_is_back() {
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
