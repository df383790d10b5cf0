//! A vhost and a database for one test.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use reqwest::{Client, Method, RequestBuilder};
use tokio_postgres::SimpleQueryMessage;
use url::Url;

use super::running_private;
use crate::paths::set;

/// A unique vhost and a unique, empty database on the test engines. Dropping this value drops the database, even after a panic.
/// The vhost remains until the broker's data is deleted.
pub struct Scope {
    /// The broker's URL with the vhost.
    pub amqp_url: String,
    /// The URL of the database.
    pub database_url: String,
    /// The URL of the management API, with credentials.
    pub amqp_api_url: String,
    /// The vhost's name.
    pub vhost: String,
    /// The database's name.
    pub database: String,
    admin_database_url: String,
}

/// Maximum time for an engine to answer, on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(180);

const MISSING: &str = "no engines to test with. Run the tests with `cargo xtask test`, or keep engines running with \
                       `cargo xtask engines` in another terminal, or set POSTRIDER_TEST_AMQP_URL, \
                       POSTRIDER_TEST_AMQP_API and POSTRIDER_TEST_DATABASE_URL";

impl Scope {
    /// Creates the vhost and the database. Their names contain `name`, so that a listing shows to which test they belong.
    ///
    /// # Panics
    /// The engines are missing or refuse the request. The message says which command to run.
    pub async fn new(name: &str) -> Self {
        Self::try_new(name).await.context(MISSING).unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn try_new(name: &str) -> Result<Self> {
        crate::install_crypto();
        let (amqp, api, database_admin) = locate()?;
        let clean: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .take(30)
            .collect();
        let unique = format!("pr_{clean}_{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);

        management_put(&api, &format!("/api/vhosts/{unique}"), "{}").await?;
        let mut scope = Self {
            amqp_url: format!("{}/{unique}", amqp.trim_end_matches('/')),
            database_url: String::new(),
            amqp_api_url: api.clone(),
            vhost: unique.clone(),
            database: unique.clone(),
            admin_database_url: database_admin.clone(),
        };
        let user = Url::parse(&amqp)?.username().to_owned();
        let user = if user.is_empty() { "guest" } else { &user };
        let rights = r#"{"configure":".*","write":".*","read":".*"}"#;
        management_put(&api, &format!("/api/permissions/{unique}/{user}"), rights).await?;
        run_sql(&database_admin, &format!("CREATE DATABASE {unique}")).await?;
        let mut url = Url::parse(&database_admin).context("POSTRIDER_TEST_DATABASE_URL must be a postgres:// URL")?;
        url.set_path(&unique);
        scope.database_url = url.to_string();
        Ok(scope)
    }

    /// Creates a user of the broker with these rights in this vhost, and returns the URL with which to connect. Users have
    /// unique names and remain until the broker's data is deleted.
    ///
    /// # Errors
    /// The management API refuses the request.
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
        // Setting a user and a password never fails for an `amqp` URL.
        let _ = url.set_username(&name);
        let _ = url.set_password(Some(&name));
        Ok(url.to_string())
    }

    /// Publishes a message to `postrider.events` as the user in the URL, with an expiration of 1 ms and these headers, and
    /// waits for the broker's confirm.
    ///
    /// # Errors
    /// The broker is unavailable or refuses the message.
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

/// The rights of a user of the broker. The names are regular expressions.
#[derive(Debug, Clone, Copy)]
pub struct Rights<'a> {
    /// Names of exchanges and queues that the user may declare.
    pub configure: &'a str,
    /// Names to which the user may publish.
    pub write: &'a str,
    /// Names from which the user may consume.
    pub read: &'a str,
    /// A topic exchange, and the routing keys with which the user may publish to it.
    pub routing_keys: (&'a str, &'a str),
}

impl Drop for Scope {
    fn drop(&mut self) {
        // The vhost is not deleted. RabbitMQ 3.10 gives every dead-lettering quorum queue a worker. If a queue is deleted while
        // its worker starts, the worker crashes, and several such crashes end the supervisor of *all* workers. After that no
        // test can use a quorum queue of the broker.
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database);
        let admin = self.admin_database_url.clone();
        // Runs in another thread with a separate runtime, because this runtime may be shutting down and must not be blocked.
        let cleaner = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                // The error is ignored, because a database that remains has a unique name and does no harm.
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
        (None, None, None) => running_private().context("no engines are named and none run"),
        _ => bail!(
            "POSTRIDER_TEST_AMQP_URL, POSTRIDER_TEST_AMQP_API and POSTRIDER_TEST_DATABASE_URL go together: set all three or none"
        ),
    }
}

async fn management_put(api: &str, path: &str, body: &str) -> Result<()> {
    let request = management(Method::PUT, api, path)?.header("content-type", "application/json").body(body.to_owned());
    request.send().await?.error_for_status()?;
    Ok(())
}

/// Returns the response of the management API to a GET.
pub(super) async fn management_get(api: &str, path: &str) -> Result<Vec<u8>> {
    let answer = management(Method::GET, api, path)?.send().await?.error_for_status()?;
    Ok(answer.bytes().await?.to_vec())
}

/// Builds a request to the management API. `api` contains the user and the password; reqwest sends them in the header `Authorization`.
fn management(method: Method, api: &str, path: &str) -> Result<RequestBuilder> {
    let client = Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
    Ok(client.request(method, format!("{}{path}", api.trim_end_matches('/'))))
}

/// Creates a database if it does not exist.
pub(super) async fn make_database(admin: &str, name: &str) -> Result<()> {
    match run_sql(admin, &format!("CREATE DATABASE {name}")).await {
        Err(error) => {
            let code = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
            if code == Some(&tokio_postgres::error::SqlState::DUPLICATE_DATABASE) { Ok(()) } else { Err(error) }
        }
        Ok(_) => Ok(()),
    }
}

/// Runs a statement and returns the first value of its first row, if it has one.
pub(super) async fn run_sql(url: &str, sql: &str) -> Result<Option<String>> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let driver = tokio::spawn(connection);
    let messages = client.simple_query(sql).await.with_context(|| sql.to_owned())?;
    drop(client);
    driver.await??;
    let value = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    Ok(messages.iter().find_map(value))
}
