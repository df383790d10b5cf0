//! The process of the sink, from the view of `run`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::time::sleep;

use crate::http::{self, Connection};
use crate::ledger::{self, Accepted, Balance, Received};
use crate::part::own_command;
use crate::processes::{Kind, Watched};
use crate::sink::Behaviour;

/// Time without any delivery after which missing deliveries count as lost.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running sink.
pub(crate) struct Sink {
    child: Child,
    /// Standard input of the process. The process ends when it is closed.
    _lifeline: ChildStdin,
    /// The port for each [`Behaviour`].
    ports: [u16; 5],
}

impl Sink {
    /// Starts the sink.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut child = own_command()?.arg("sink").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lifeline = child.stdin.take().context("the sink's input")?;
        let output = child.stdout.take().context("the sink's output")?;
        let line = BufReader::new(output).lines().next_line().await?.context("the sink ended before it was ready")?;
        Ok(Self { child, _lifeline: lifeline, ports: serde_json::from_str(&line)? })
    }

    /// Returns the address (`host:port`) at which deliveries are answered with 200.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[Behaviour::Answers as usize])
    }

    /// Returns the URL of the endpoint `number`.
    pub(crate) fn url(&self, number: u16) -> String {
        format!("http://{}/e/{number}", self.address())
    }

    /// Returns the URL of an endpoint with this behaviour. It has the number 0.
    pub(crate) fn url_of(&self, behaviour: Behaviour) -> String {
        format!("http://127.0.0.1:{}/e/0", self.ports[behaviour as usize])
    }

    /// Returns the process of the sink, for measurements.
    pub(crate) fn watched(&self) -> Option<Watched> {
        Some(Watched::process("sink", Kind::Instrument, self.child.id()?))
    }

    async fn ask(&self, method: &str, target: &str) -> anyhow::Result<Vec<u8>> {
        let address = self.address();
        let mut connection = Connection::open(&address).await?;
        Ok(connection.send(&http::request(method, target, &address, "", b"")).await?.body.to_vec())
    }

    /// Returns the number of deliveries received so far.
    pub(crate) async fn received(&self) -> anyhow::Result<u64> {
        Ok(serde_json::from_slice(&self.ask("GET", "/count").await?)?)
    }

    /// Compares `accepted` with the deliveries received since the last reset.
    pub(crate) async fn balance(&self, accepted: &[Accepted], endpoints: u16) -> anyhow::Result<Balance> {
        let received: Vec<Received> = serde_json::from_slice(&self.ask("GET", "/ledger").await?)?;
        Ok(ledger::balance(accepted, &received, endpoints))
    }

    /// Deletes the record of received deliveries.
    pub(crate) async fn reset(&self) -> anyhow::Result<()> {
        self.ask("POST", "/reset").await.map(drop)
    }

    /// Waits until `expected` deliveries are received, or until no delivery is received for [`PATIENCE`].
    pub(crate) async fn wait_for(&self, expected: u64) -> anyhow::Result<()> {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let count = self.received().await?;
            if count >= expected || since.elapsed() > PATIENCE {
                return Ok(());
            }
            if count > last {
                (last, since) = (count, Instant::now());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}
