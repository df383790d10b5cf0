//! What the benchmark needs of RabbitMQ: a connection, a virtual host of its own, the depth of queues.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use url::Url;

use crate::http;

/// Connects under a name that the management page shows.
pub(crate) async fn connect(amqp_url: &str, name: &str) -> anyhow::Result<Connection> {
    let options = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect(amqp_url, options).await.context("connect to RabbitMQ")
}

/// A virtual host of the run's own, so that it starts empty and leaves nothing.
#[derive(Debug)]
pub(crate) struct VirtualHost {
    /// The URL that leads there.
    pub(crate) amqp_url: String,
    api: Option<(Url, String)>,
}

impl VirtualHost {
    /// Makes one over the management API; without that API the URL's own virtual host is used as it is.
    pub(crate) async fn make(amqp_url: &str, api: Option<&str>, name: &str) -> anyhow::Result<Self> {
        let Some(api) = api else { return Ok(Self { amqp_url: amqp_url.to_owned(), api: None }) };
        let api = Url::parse(api).context("the management API's URL")?;
        let mut url = Url::parse(amqp_url).context("the broker's URL")?;
        let user = if url.username().is_empty() { "guest" } else { url.username() };
        manage(&api, "PUT", &format!("/api/vhosts/{name}"), b"{}").await?;
        let rights = br#"{"configure":".*","write":".*","read":".*"}"#;
        manage(&api, "PUT", &format!("/api/permissions/{name}/{user}"), rights).await?;
        url.set_path(&format!("/{name}"));
        Ok(Self { amqp_url: url.into(), api: Some((api, name.to_owned())) })
    }

    /// Deletes it with everything in it.
    pub(crate) async fn drop(self) -> anyhow::Result<()> {
        match self.api {
            Some((api, name)) => manage(&api, "DELETE", &format!("/api/vhosts/{name}"), b"").await,
            None => Ok(()),
        }
    }
}

async fn manage(api: &Url, method: &str, target: &str, body: &[u8]) -> anyhow::Result<()> {
    let host = api.host_str().context("the management API's host")?;
    let address = format!("{host}:{}", api.port_or_known_default().context("the management API's port")?);
    let (user, password) = match api.username() {
        "" => ("guest", "guest"),
        user => (user, api.password().unwrap_or_default()),
    };
    let basic = BASE64_STANDARD.encode(format!("{user}:{password}"));
    let request = http::request(method, target, &address, &format!("authorization: Basic {basic}\r\n"), body);
    let mut connection = http::Connection::open(&address).await?;
    let answer = connection.send(&request).await?;
    if !(200..300).contains(&answer.status) {
        bail!("{method} {target}: {} {}", answer.status, String::from_utf8_lossy(answer.body));
    }
    Ok(())
}

/// Asks how many messages wait in queues, by passive declares on a connection of its own.
#[derive(Debug)]
pub(crate) struct Depths {
    channel: Channel,
    _connection: Connection,
}

impl Depths {
    /// Connects.
    pub(crate) async fn connect(amqp_url: &str) -> anyhow::Result<Self> {
        let connection = connect(amqp_url, "postrider-bench depths").await?;
        Ok(Self { channel: connection.create_channel().await?, _connection: connection })
    }

    /// Messages ready in `queue`: those a consumer holds are not among them.
    pub(crate) async fn ready(&self, queue: &str) -> anyhow::Result<u32> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        Ok(declared.with_context(|| format!("the depth of {queue}"))?.message_count())
    }
}
