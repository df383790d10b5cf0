//! A database of the run's own.

use anyhow::Context as _;
use tokio_postgres::NoTls;
use url::Url;

/// Made when the run starts, dropped when it ends.
#[derive(Debug)]
pub(crate) struct Database {
    /// The URL that leads there.
    pub(crate) url: String,
    server: String,
    name: String,
}

impl Database {
    /// Creates the database `name` on the server of `url`, whose user must have the right to.
    pub(crate) async fn make(url: &str, name: &str) -> anyhow::Result<Self> {
        execute(url, &format!("CREATE DATABASE \"{name}\"")).await?;
        let mut own = Url::parse(url).context("the database's URL")?;
        own.set_path(&format!("/{name}"));
        Ok(Self { url: own.into(), server: url.to_owned(), name: name.to_owned() })
    }

    /// Drops it.
    pub(crate) async fn drop(self) -> anyhow::Result<()> {
        execute(&self.server, &format!("DROP DATABASE \"{}\" WITH (FORCE)", self.name)).await
    }
}

async fn execute(url: &str, statement: &str) -> anyhow::Result<()> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("connect to PostgreSQL")?;
    let driving = tokio::task::spawn_local(connection);
    client.batch_execute(statement).await.with_context(|| statement.to_owned())?;
    drop(client);
    driving.await?.context("the connection to PostgreSQL")
}
