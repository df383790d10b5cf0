//! A vhost and a database for one test.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use url::Url;

use super::running_private;
use crate::paths::set;

/// A unique vhost and a unique, empty database on the test engines. The database is dropped with it, also after a panic; the
/// vhost goes with the broker's data.
pub struct Scope {
    /// With the vhost.
    pub amqp_url: String,
    /// With the database.
    pub database_url: String,
    /// The management API with credentials.
    pub amqp_api_url: String,
    /// The vhost's name.
    pub vhost: String,
    /// The database's name.
    pub database: String,
    admin_database_url: String,
}

/// How long an engine may take to answer, on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(180);

const MISSING: &str = "no engines to test with. Run the tests with `cargo xtask test`, or keep engines running with \
                       `cargo xtask engines` in another terminal, or set POSTRIDER_TEST_AMQP_URL, \
                       POSTRIDER_TEST_AMQP_API and POSTRIDER_TEST_DATABASE_URL";

impl Scope {
    /// Makes both; the name (letters, digits, `_`) is there to be recognised in a listing.
    ///
    /// # Panics
    /// When the engines are missing or refuse: a test must not go on, nor be skipped. The message says what to run.
    pub async fn new(name: &str) -> Self {
        match Self::try_new(name).await {
            Ok(scope) => scope,
            Err(error) => panic!("{error:#}"),
        }
    }

    async fn try_new(name: &str) -> Result<Self> {
        crate::install_crypto();
        let (amqp, api, database) = locate()?;
        Self::on(name, &amqp, &api, &database).await.context(MISSING)
    }

    /// Makes both on these engines.
    async fn on(name: &str, amqp: &str, api: &str, database_admin: &str) -> Result<Self> {
        let clean: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .take(30)
            .collect();
        let unique = format!("pr_{clean}_{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);

        management_put(api, &format!("/api/vhosts/{unique}"), "{}").await?;
        let mut scope = Self {
            amqp_url: format!("{}/{unique}", amqp.trim_end_matches('/')),
            database_url: String::new(),
            amqp_api_url: api.to_owned(),
            vhost: unique.clone(),
            database: unique.clone(),
            admin_database_url: database_admin.to_owned(),
        };
        let user = Url::parse(amqp)?.username().to_owned();
        let user = if user.is_empty() { "guest" } else { &user };
        let rights = r#"{"configure":".*","write":".*","read":".*"}"#;
        management_put(api, &format!("/api/permissions/{unique}/{user}"), rights).await?;
        run_sql(database_admin, &format!("CREATE DATABASE {unique}")).await?;
        let mut url = Url::parse(database_admin).context("POSTRIDER_TEST_DATABASE_URL must be a postgres:// URL")?;
        url.set_path(&unique);
        scope.database_url = url.to_string();
        Ok(scope)
    }

    /// Drops the database. Dropping the scope does the same.
    pub fn close(self) {}
}

impl Scope {
    /// Makes a user of the broker with these rights in this vhost and on one exchange's routing keys, as regular expressions,
    /// and returns the URL to connect with. Users stay until the broker's data goes; their names are unique.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn user(&self, rights: &Rights<'_>) -> Result<String> {
        let name = format!("user_{}", uuid::Uuid::new_v4().simple());
        let put = async |path: String, body: serde_json::Value| {
            management_put(&self.amqp_api_url, &path, &body.to_string()).await
        };
        put(format!("/api/users/{name}"), serde_json::json!({"password": name, "tags": ""})).await?;
        let permissions =
            serde_json::json!({"configure": rights.configure, "write": rights.write, "read": rights.read});
        put(format!("/api/permissions/{}/{name}", self.vhost), permissions).await?;
        let (exchange, keys) = rights.routing_keys;
        let topic = serde_json::json!({"exchange": exchange, "write": keys, "read": "^$"});
        put(format!("/api/topic-permissions/{}/{name}", self.vhost), topic).await?;
        let mut url = Url::parse(&self.amqp_url)?;
        // Both only fail for URLs that cannot have a user, which `amqp` ones can.
        let _ = url.set_username(&name);
        let _ = url.set_password(Some(&name));
        Ok(url.to_string())
    }

    /// Publishes a message on `postrider.events` as a producer of its own making would: with this URL's user, an expiration of 1 ms and
    /// any headers. Returns when the broker has confirmed.
    ///
    /// # Errors
    /// The broker is away or refuses.
    pub async fn publish_expiring(url: &str, routing_key: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_expiration("1".into()).with_headers(table);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let confirm = channel
            .basic_publish("postrider.events".into(), routing_key.into(), options, body, properties)
            .await?
            .await?;
        anyhow::ensure!(confirm.is_ack() && confirm.take_message().is_none(), "the broker refused the message");
        connection.close(200, "OK".into()).await?;
        Ok(())
    }
}

/// What a user of the broker may do.
#[derive(Debug, Clone, Copy)]
pub struct Rights<'a> {
    /// Names that may be declared.
    pub configure: &'a str,
    /// Names that may be published to.
    pub write: &'a str,
    /// Names that may be consumed from.
    pub read: &'a str,
    /// A topic exchange, and the routing keys that may be published with there.
    pub routing_keys: (&'a str, &'a str),
}

impl Drop for Scope {
    fn drop(&mut self) {
        // The vhost stays, and goes with the broker's data. RabbitMQ 3.10 gives every dead-lettering quorum queue a worker;
        // one that is deleted while its worker starts or restarts crashes it, and enough of those crash the supervisor of
        // *all* such workers: from then on no quorum queue of the broker can be used, by any test.
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database);
        let admin = self.admin_database_url.clone();
        // A thread with a runtime of its own: this one may be shutting down, or be the one that we would block.
        let cleaner = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                // Best effort: a database that stays has a unique name and does no harm.
                let limit = ANSWER_WITHIN;
                let _ = tokio::time::timeout(limit, run_sql(&admin, &sql)).await;
            });
        });
        let _ = cleaner.join();
    }
}

fn locate() -> Result<(String, String, String)> {
    let amqp = set("POSTRIDER_TEST_AMQP_URL");
    let api = set("POSTRIDER_TEST_AMQP_API");
    let database = set("POSTRIDER_TEST_DATABASE_URL");
    match (amqp, api, database) {
        (Some(amqp), Some(api), Some(database)) => Ok((amqp, api, database)),
        (None, None, None) => running_private().context(MISSING),
        _ => bail!(
            "POSTRIDER_TEST_AMQP_URL, POSTRIDER_TEST_AMQP_API and POSTRIDER_TEST_DATABASE_URL go together: set all three or none"
        ),
    }
}

/// A URL of the management API split into the address and the credentials.
///
/// # Errors
/// Not a URL.
pub fn management_url(api: &str, path: &str) -> Result<(Url, String, String)> {
    let base = Url::parse(api).with_context(|| format!("{api} is not a URL"))?;
    let credentials = (base.username().to_owned(), base.password().unwrap_or_default().to_owned());
    let mut url = base.join(path)?;
    // Both only fail for URLs that cannot have a user, which `http` ones can.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok((url, credentials.0, credentials.1))
}

async fn management_put(api: &str, path: &str, body: &str) -> Result<()> {
    let (url, user, password) = management_url(api, path)?;
    let request = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
    let answer = request
        .put(url.clone())
        .basic_auth(user, Some(password))
        .header("content-type", "application/json")
        .body(body.to_owned())
        .send()
        .await?;
    if !answer.status().is_success() {
        bail!("PUT {url}: {}", answer.status());
    }
    Ok(())
}

/// What the management API answers to a GET.
pub(super) async fn management_get(api: &str, path: &str) -> Result<Vec<u8>> {
    let (url, user, password) = management_url(api, path)?;
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
    let answer = client.get(url).basic_auth(user, Some(password)).send().await?.error_for_status()?;
    Ok(answer.bytes().await?.to_vec())
}

/// Makes a database unless it is there.
pub(super) async fn make_database(admin: &str, name: &str) -> Result<()> {
    match run_sql(admin, &format!("CREATE DATABASE {name}")).await {
        Err(error) => {
            let code = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
            if code == Some(&tokio_postgres::error::SqlState::DUPLICATE_DATABASE) { Ok(()) } else { Err(error) }
        }
        Ok(()) => Ok(()),
    }
}

/// The only value that a query answers with.
pub(super) async fn query_text(url: &str, sql: &str) -> Result<String> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let driver = tokio::spawn(connection);
    let value = client.query_one(sql, &[]).await.with_context(|| sql.to_owned())?.try_get(0)?;
    drop(client);
    driver.await??;
    Ok(value)
}

async fn run_sql(url: &str, sql: &str) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let driver = tokio::spawn(connection);
    client.batch_execute(sql).await.with_context(|| sql.to_owned())?;
    drop(client);
    driver.await??;
    Ok(())
}
