//! A vhost and a database of a scenario's own, in the engines that the environment names.

use std::path::Path;

use reqwest::Client;
use serde_json::json;
use uuid::Uuid;

/// Made by [`Scope::new`], gone when dropped.
pub(crate) struct Scope {
    /// The broker, with the vhost.
    pub(crate) amqp_url: String,
    /// The database.
    pub(crate) database_url: String,
    name: String,
    api: String,
    admin_url: String,
    folder: tempfile::TempDir,
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: `cargo xtask test` starts the engines and sets it"))
}

impl Scope {
    /// Makes them.
    pub(crate) async fn new(name: &str) -> Self {
        let name = format!("{name}-{}", &Uuid::new_v4().simple().to_string()[..8]);
        let (amqp, api) = (variable("POSTRIDER_TEST_AMQP_URL"), variable("POSTRIDER_TEST_AMQP_API"));
        let admin_url = variable("POSTRIDER_TEST_DATABASE_URL");
        let client = Client::new();
        for (path, body) in [
            (format!("vhosts/{name}"), json!({})),
            (format!("permissions/{name}/guest"), json!({"configure": ".*", "write": ".*", "read": ".*"})),
        ] {
            let made = client.put(format!("{api}/api/{path}")).json(&body).send().await;
            made.and_then(reqwest::Response::error_for_status).expect("the broker's management API");
        }
        execute(&admin_url, &format!("CREATE DATABASE \"{name}\"")).await;
        let (server, _) = admin_url.rsplit_once('/').expect("a URL with a database");
        Self {
            amqp_url: format!("{amqp}/{name}"),
            database_url: format!("{server}/{name}"),
            folder: tempfile::Builder::new().prefix(&format!("postrider-{name}-")).tempdir().expect("a folder"),
            api,
            admin_url,
            name,
        }
    }

    /// Where logs go. Kept when the scenario fails.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

async fn execute(url: &str, statement: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the database server");
    let connection = tokio::spawn(connection);
    client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    drop(client);
    let _ = connection.await;
}

impl Drop for Scope {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
        }
        let (name, api, admin_url) = (self.name.clone(), self.api.clone(), self.admin_url.clone());
        // The scenario's own runtime is blocked by this very call.
        let cleanup = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let _ = Client::new().delete(format!("{api}/api/vhosts/{name}")).send().await;
                execute(&admin_url, &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)")).await;
            });
        });
        let _ = cleanup.join();
    }
}
