//! A RabbitMQ and a PostgreSQL that belong to this checkout alone.
//!
//! Owns: finding, installing, starting, sharing and stopping them. Their data is in `<checkout>/.postrider`, their
//! ports are their own, everything listens on 127.0.0.1 only.
//! Promises: several `cargo xtask` at once share one pair of engines and the last one out stops them; engines that a
//! killed `xtask` left behind are found and used again; after the stop no process is left, epmd included.
//! Does not: touch the distribution's own services or data, or anything when the environment names other engines.

mod home;
mod install;
mod postgres;
mod private;
mod programs;
mod rabbit;
mod scope;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

pub use install::{Install, ensure, missing_tools};
pub use private::{PrivatePostgres, PrivateRabbit};
pub use scope::{Rights, Scope, management_url};

use crate::paths::{default_folder, set};
use home::{Home, Ports};
use install::Engine;
use postgres::Postgres;
use rabbit::RabbitNode;

/// Takes progress, a line a call; `xtask` prints it, tests ignore it.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// What the engines are for: decides where their data is and which variables name other engines instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `POSTRIDER_AMQP_URL`, `POSTRIDER_DATABASE_URL`.
    Development,
    /// `POSTRIDER_TEST_AMQP_URL` with `POSTRIDER_TEST_AMQP_API`, `POSTRIDER_TEST_DATABASE_URL`.
    Tests,
}

/// How to get engines.
#[derive(Clone)]
pub struct EngineOptions {
    /// The ignored folder that holds everything, `<checkout>/.postrider`.
    pub folder: PathBuf,
    /// Whether missing packages may be installed.
    pub install: Install,
    /// What they are for.
    pub purpose: Purpose,
    /// Throw the engines' data away first.
    pub reset: bool,
    /// Progress, a line a call.
    pub say: Say,
}

/// Running engines. Dropping it (or [`Engines::stop`]) stops them unless another process still uses them.
pub struct Engines {
    /// Without a vhost; has rights to make vhosts when private.
    pub amqp_url: String,
    /// The management API with credentials, `http://user:password@host:port`; `None` when only an AMQP URL was given.
    pub amqp_api_url: Option<String>,
    /// A superuser's URL of the maintenance database when private.
    pub database_url: String,
    /// Names for people: `RabbitMQ 4.0.5, private, AMQP port 27672` or `from POSTRIDER_AMQP_URL`.
    pub described: Vec<String>,
    held: Option<Held>,
}

struct Held {
    home: Home,
    users: File,
    /// Held while engines come up, so that a start that is given up can stop them under the same lock.
    gate: Option<File>,
    rabbit: Option<RabbitNode>,
    postgres: Option<Postgres>,
}

/// Engines that the environment names.
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
                "POSTRIDER_TEST_AMQP_URL is set, but POSTRIDER_TEST_AMQP_API (http://user:password@host:15672), through which tests make their vhosts, is not"
            );
        }
        Ok(Self { variables, amqp, api, database })
    }

    fn described(&self) -> Vec<String> {
        let [amqp, _, database] = self.variables;
        let rabbit = self.amqp.is_some().then(|| format!("RabbitMQ from {amqp}"));
        rabbit.into_iter().chain(self.database.is_some().then(|| format!("PostgreSQL from {database}"))).collect()
    }

    /// The engines that it does not name.
    fn others(&self) -> Vec<Engine> {
        let rabbit = self.amqp.is_none().then_some(Engine::RabbitMq);
        rabbit.into_iter().chain(self.database.is_none().then_some(Engine::PostgreSql)).collect()
    }
}

impl Engines {
    /// Finds, installs (if allowed) and starts what the environment does not name.
    ///
    /// # Errors
    /// A port is taken (the message names its holder and the variable that changes it), a package is missing, or an engine does
    /// not start (the message has the end of its log).
    pub async fn start(options: EngineOptions) -> Result<Self> {
        crate::install_crypto();
        let named = Named::by(options.purpose)?;
        let needed = named.others();
        install::ensure(|| install::missing_engines(&needed), options.install, &options.say)?;
        let held = if needed.is_empty() { None } else { Some(Held::prepare(&options, &needed)?) };
        let mut engines = Self {
            described: named.described(),
            amqp_url: named.amqp.unwrap_or_default(),
            amqp_api_url: named.api,
            database_url: named.database.unwrap_or_default(),
            held,
        };
        engines.bring_up(&options.say).await?;
        if let Some(held) = &mut engines.held {
            held.gate = None;
        }
        Ok(engines)
    }

    async fn bring_up(&mut self, say: &Say) -> Result<()> {
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

    /// The URL of a database of the development's own, made when it is not there. Only private engines have one: a
    /// URL from the environment names its database itself.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub async fn development_database(&self) -> Result<String> {
        let Some(postgres) = self.held.as_ref().and_then(|held| held.postgres.as_ref()) else {
            return Ok(self.database_url.clone());
        };
        scope::make_database(&self.database_url, "postrider").await?;
        Ok(postgres.url("postrider"))
    }

    /// The URL with a vhost for development: the default one of a private broker.
    pub fn development_amqp_url(&self) -> String {
        match self.held.as_ref().and_then(|held| held.rabbit.as_ref()) {
            Some(rabbit) => format!("{}/%2f", rabbit.amqp_url()),
            None => self.amqp_url.clone(),
        }
    }

    /// Stops what this checkout started, unless another process uses it still. Blocks for some seconds.
    pub fn stop(mut self) {
        self.release();
    }

    fn release(&mut self) {
        if let Some(mut held) = self.held.take() {
            // Best effort: nothing can act on an error here, and the next start finds what is left.
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
    /// Takes the locks, and empties engines that are to start empty. Starts nothing.
    fn prepare(options: &EngineOptions, needed: &[Engine]) -> Result<Self> {
        std::fs::create_dir_all(&options.folder).with_context(|| {
            format!("cannot make {} (was it made by another user? remove it as that user)", options.folder.display())
        })?;
        let home = Home::of(options.purpose, &options.folder.canonicalize()?);
        std::fs::create_dir_all(&home.folder).with_context(|| format!("making {}", home.folder.display()))?;
        let gate = home.lock_file("engines.lock")?;
        gate.lock().context("waiting for another `cargo xtask` to start or stop the engines")?;
        let users = home.lock_file("users.lock")?;
        let wanted = Ports::wanted(options.purpose)?;
        let ports = home.running_ports().unwrap_or(wanted);
        let mut held = Self { home, users, gate: Some(gate), rabbit: None, postgres: None };
        held.choose(ports, needed);
        // Tests leave their vhosts behind (see `Scope`), so unused test engines start empty.
        let unused = held.users.try_lock().is_ok();
        if options.reset && !unused {
            bail!("--reset: another `cargo xtask` uses the engines in {}; stop it first", held.home.folder.display());
        }
        if options.reset || (options.purpose == Purpose::Tests && unused) {
            if options.reset {
                (options.say)("removing the data of RabbitMQ and PostgreSQL");
            }
            held.empty()?;
            held.choose(wanted, needed);
        }
        held.home.remember(held.rabbit.as_ref(), held.postgres.as_ref())?;
        held.users.lock_shared().context("taking the engines' user lock")?;
        Ok(held)
    }

    fn choose(&mut self, ports: Ports, needed: &[Engine]) {
        self.rabbit = needed.contains(&Engine::RabbitMq).then(|| ports.rabbit(&self.home));
        self.postgres = needed.contains(&Engine::PostgreSql).then(|| ports.postgres(&self.home));
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
        // Both are asked first, then waited for: they stop side by side.
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

    /// Stops what runs and removes its data. Only with the users' lock.
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

/// The URLs of the private test engines of this checkout if they run now, for tests that were started by hand.
pub(crate) fn running_private() -> Option<(String, String, String)> {
    let home = Home::of(Purpose::Tests, &default_folder().canonicalize().ok()?);
    let ports = home.running_ports()?;
    let (rabbit, postgres) = (ports.rabbit(&home), ports.postgres(&home));
    (rabbit.running() && postgres.running()).then(|| (rabbit.amqp_url(), rabbit.api_url(), postgres.url("postgres")))
}
