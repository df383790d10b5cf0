//! The RabbitMQ and the PostgreSQL of this checkout.
//!
//! Owns: finding, installing, starting, sharing and stopping the engines. Their data is in `<checkout>/.postrider`. They have
//! separate ports and listen on 127.0.0.1 only. Promises: concurrent `cargo xtask` commands share one pair of engines, and the
//! last command stops them; if a killed `xtask` left engines running, they are found and used again; after the stop no process
//! remains, not even epmd. Does not: touch the distribution's services or their data, or start engines that the environment
//! names.

mod home;
mod install;
mod postgres;
mod private;
mod programs;
mod rabbit;
mod scope;

use std::fs::File;

use anyhow::{Context, Result, bail};

pub use install::{Install, ensure, missing_tools};
pub use private::{PrivatePostgres, PrivateRabbit};
pub use scope::{Rights, Scope};

use crate::paths::{default_folder, set};
use home::{Home, Ports};
use install::Engine;
use postgres::Postgres;
use rabbit::RabbitNode;

/// Prints a line of progress. Tests print nothing.
pub type Say = fn(&str);

/// The purpose of engines. It determines the folder of their data, and the environment variables that name other engines to use
/// instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `POSTRIDER_AMQP_URL`, `POSTRIDER_DATABASE_URL`.
    Development,
    /// `POSTRIDER_TEST_AMQP_URL` with `POSTRIDER_TEST_AMQP_API`, `POSTRIDER_TEST_DATABASE_URL`.
    Tests,
}

/// How to start engines.
#[derive(Clone, Copy)]
pub struct EngineOptions {
    /// Whether missing packages may be installed.
    pub install: Install,
    /// The purpose of the engines.
    pub purpose: Purpose,
    /// Whether to delete the engines' data first.
    pub reset: bool,
    /// Prints the progress.
    pub say: Say,
}

/// Running engines. Dropping this value (or [`Engines::stop`]) stops them unless another process uses them.
pub struct Engines {
    /// The broker's URL without a vhost. The account in the URL of a broker that this crate started has the right to create vhosts.
    pub amqp_url: String,
    /// The management API with credentials, `http://user:password@host:port`; `None` if the environment names only an AMQP URL.
    pub amqp_api_url: Option<String>,
    /// The database URL. For a private PostgreSQL it contains the maintenance database and the superuser.
    pub database_url: String,
    /// Texts to print about the engines: `RabbitMQ 4.0.5, private, AMQP port 27672` or `RabbitMQ from POSTRIDER_AMQP_URL`.
    pub described: Vec<String>,
    held: Option<Held>,
}

struct Held {
    home: Home,
    users: File,
    /// The lock for starts and stops. It is held until the start has succeeded, so that a failed start stops the engines while
    /// it holds the lock.
    gate: Option<File>,
    rabbit: Option<RabbitNode>,
    postgres: Option<Postgres>,
}

/// The engines that the environment names.
struct Named {
    variables: [&'static str; 3],
    amqp: Option<String>,
    api: Option<String>,
    database: Option<String>,
}

impl Named {
    fn by(purpose: Purpose) -> Result<Self> {
        let variables = match purpose {
            Purpose::Development => ["POSTRIDER_AMQP_URL", "POSTRIDER_AMQP_API", "POSTRIDER_DATABASE_URL"],
            Purpose::Tests => ["POSTRIDER_TEST_AMQP_URL", "POSTRIDER_TEST_AMQP_API", "POSTRIDER_TEST_DATABASE_URL"],
        };
        let [amqp, api, database] = variables.map(set);
        if purpose == Purpose::Tests && amqp.is_some() && api.is_none() {
            bail!(
                "POSTRIDER_TEST_AMQP_URL is set, but POSTRIDER_TEST_AMQP_API (http://user:password@host:15672), through which tests create their vhosts, is not"
            );
        }
        Ok(Self { variables, amqp, api, database })
    }

    fn described(&self) -> Vec<String> {
        let [amqp, _, database] = self.variables;
        let rabbit = self.amqp.is_some().then(|| format!("RabbitMQ from {amqp}"));
        rabbit.into_iter().chain(self.database.is_some().then(|| format!("PostgreSQL from {database}"))).collect()
    }

    /// The engines that the environment does not name.
    fn others(&self) -> Vec<Engine> {
        let rabbit = self.amqp.is_none().then_some(Engine::RabbitMq);
        rabbit.into_iter().chain(self.database.is_none().then_some(Engine::PostgreSql)).collect()
    }
}

impl Engines {
    /// Finds, installs (if allowed) and starts the engines that the environment does not name.
    ///
    /// # Errors
    /// A package is missing, or an engine does not start; then the error contains the end of its log.
    pub async fn start(options: EngineOptions) -> Result<Self> {
        crate::install_crypto();
        let named = Named::by(options.purpose)?;
        let needed = named.others();
        install::ensure(|| install::missing_engines(&needed), options.install, options.say)?;
        let held = if needed.is_empty() { None } else { Some(Held::prepare(&options, &needed)?) };
        let mut engines = Self {
            described: named.described(),
            amqp_url: named.amqp.unwrap_or_default(),
            amqp_api_url: named.api,
            database_url: named.database.unwrap_or_default(),
            held,
        };
        engines.bring_up(options.say).await?;
        if let Some(held) = &mut engines.held {
            held.gate = None;
        }
        Ok(engines)
    }

    async fn bring_up(&mut self, say: Say) -> Result<()> {
        let Some(held) = &mut self.held else { return Ok(()) };
        if let Some(rabbit) = &mut held.rabbit
            && !rabbit.running()
        {
            rabbit.start(say)?;
        }
        if let Some(postgres) = &mut held.postgres
            && !postgres.running()
        {
            postgres.start(say)?;
        }
        if let Some(rabbit) = &mut held.rabbit {
            rabbit.wait_ready().await?;
            let version = rabbit.check_version().await?;
            self.amqp_url = rabbit.amqp_url();
            self.amqp_api_url = Some(rabbit.api_url());
            self.described.push(format!("RabbitMQ {version}, private, AMQP port {}", rabbit.ports.amqp));
        }
        if let Some(postgres) = &mut held.postgres {
            let version = postgres.wait_ready().await?;
            self.database_url = postgres.url("postgres");
            self.described.push(format!("PostgreSQL {version}, private, port {}", postgres.port));
        }
        Ok(())
    }

    /// The URL of the development database. In a private PostgreSQL the database is created if it does not exist. A URL from
    /// the environment names its own database.
    ///
    /// # Errors
    /// PostgreSQL refuses the statement.
    pub async fn development_database(&self) -> Result<String> {
        let Some(postgres) = self.held.as_ref().and_then(|held| held.postgres.as_ref()) else {
            return Ok(self.database_url.clone());
        };
        scope::make_database(&self.database_url, "postrider").await?;
        Ok(postgres.url("postrider"))
    }

    /// The AMQP URL for development. For a private broker it is the URL of the default vhost.
    pub fn development_amqp_url(&self) -> String {
        match self.held.as_ref().and_then(|held| held.rabbit.as_ref()) {
            Some(rabbit) => format!("{}/%2f", rabbit.amqp_url()),
            None => self.amqp_url.clone(),
        }
    }

    /// Stops the private engines unless another process uses them. Blocks for some seconds.
    pub fn stop(mut self) {
        self.release();
    }

    fn release(&mut self) {
        if let Some(mut held) = self.held.take() {
            // The error is ignored, because the next start finds engines that still run.
            let _ = held.release();
        }
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        self.release();
    }
}

impl Held {
    /// Takes the locks. If the engines must start empty, stops them and deletes their data. Starts nothing.
    fn prepare(options: &EngineOptions, needed: &[Engine]) -> Result<Self> {
        let folder = default_folder();
        std::fs::create_dir_all(&folder).with_context(|| {
            format!("cannot create {} (was it created by another user? remove it as that user)", folder.display())
        })?;
        let home = Home::of(options.purpose, &folder.canonicalize()?);
        std::fs::create_dir_all(&home.folder).with_context(|| format!("creating {}", home.folder.display()))?;
        let gate = home.lock_file("engines.lock")?;
        gate.lock().context("waiting for another `cargo xtask` to start or stop the engines")?;
        let users = home.lock_file("users.lock")?;
        let mut held = Self { home, users, gate: Some(gate), rabbit: None, postgres: None };
        let mut running = held.home.running_ports();
        if let Some(ports) = running {
            held.set_engines(ports, needed);
        }
        // Test engines that no process uses start empty, because tests do not delete their vhosts (see `Scope`).
        let unused = held.users.try_lock().is_ok();
        if options.reset && !unused {
            bail!("--reset: another `cargo xtask` uses the engines in {}; stop it first", held.home.folder.display());
        }
        if options.reset || (options.purpose == Purpose::Tests && unused) {
            if options.reset {
                (options.say)("removing the data of RabbitMQ and PostgreSQL");
            }
            held.empty()?;
            running = None;
        }
        let ports = running.unwrap_or_else(|| Ports::choose(options.purpose));
        held.set_engines(ports, needed);
        held.home.remember(ports)?;
        held.users.lock_shared().context("taking the engines' user lock")?;
        Ok(held)
    }

    fn set_engines(&mut self, ports: Ports, needed: &[Engine]) {
        self.rabbit = needed.contains(&Engine::RabbitMq).then(|| self.home.rabbit(ports));
        self.postgres = needed.contains(&Engine::PostgreSql).then(|| self.home.postgres(ports));
    }

    fn release(&mut self) -> Result<()> {
        let gate = match self.gate.take() {
            Some(gate) => gate,
            None => self.home.lock_file("engines.lock")?,
        };
        gate.lock()?;
        self.users.unlock()?;
        if self.users.try_lock().is_err() {
            return Ok(());
        }
        self.stop_all();
        self.users.unlock()?;
        Ok(())
    }

    fn stop_all(&mut self) {
        // RabbitMQ gets its signal first, so that both engines stop at the same time.
        if let Some(rabbit) = &self.rabbit {
            rabbit.ask_to_stop();
        }
        if let Some(postgres) = &mut self.postgres {
            postgres.stop();
        }
        if let Some(rabbit) = &mut self.rabbit {
            rabbit.stop();
        }
    }

    /// Stops running engines and deletes their data. The caller must hold the users' lock.
    fn empty(&mut self) -> Result<()> {
        self.stop_all();
        for name in ["rabbitmq", "postgres", home::PORTS] {
            let path = self.home.folder.join(name);
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            if let Err(error) = removed
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(error).with_context(|| format!("removing {}", path.display()));
            }
        }
        Ok(())
    }
}

/// The URLs of this checkout's private test engines if they are running. For tests that are started without `cargo xtask`.
pub(crate) fn running_private() -> Option<(String, String, String)> {
    let home = Home::of(Purpose::Tests, &default_folder().canonicalize().ok()?);
    let ports = home.running_ports()?;
    let (rabbit, postgres) = (home.rabbit(ports), home.postgres(ports));
    (rabbit.running() && postgres.running()).then(|| (rabbit.amqp_url(), rabbit.api_url(), postgres.url("postgres")))
}
