//! A RabbitMQ and a PostgreSQL that belong to this checkout alone.
//!
//! Owns: finding, installing, starting, sharing and stopping them. Their data is in `<checkout>/.postrider`, their
//! ports are their own, everything listens on 127.0.0.1 only.
//! Promises: several `cargo xtask` at once share one pair of engines and the last one out stops them; engines that a
//! killed `xtask` left behind are found and used again; after the stop no process is left, epmd included.
//! Does not: touch the distribution's own services or data, or anything when the environment names other engines.

mod install;
mod postgres;
mod private;
mod rabbit;
mod scope;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

pub use install::{AptPlan, Install, apt_plan, missing_engines, missing_tools};
pub use private::{PrivatePostgres, PrivateRabbit};
pub use scope::{Rights, Scope, management_url};

use postgres::Postgres;
use rabbit::{RabbitNode, RabbitPorts};

/// Who gets told what is going on; `xtask` prints it, tests ignore it.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// What the engines are for, which decides where their data is and which variables name others instead.
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
    /// Which variables take precedence.
    pub purpose: Purpose,
    /// Throw the engines' data away first.
    pub reset: bool,
    /// Progress, a line a call.
    pub say: Say,
}

/// Running engines. Dropping it (or [`Engines::stop`]) stops them unless somebody else still uses them.
pub struct Engines {
    /// Without a vhost; has rights to make vhosts when private.
    pub amqp_url: String,
    /// The management API with credentials, `http://user:password@host:port`; `None` when only an AMQP URL was given.
    pub amqp_api_url: Option<String>,
    /// A superuser's URL of the maintenance database when private.
    pub database_url: String,
    /// Names for people: `private, port 27672` or `from POSTRIDER_AMQP_URL`.
    pub described: Vec<String>,
    held: Option<Held>,
}

struct Held {
    folder: PathBuf,
    users: File,
    /// Held while engines come up, so that a start that is given up can stop them under the same lock.
    gate: Option<File>,
    rabbit: Option<RabbitNode>,
    postgres: Option<Postgres>,
}

/// The ports that the running engines were started with; a later start with other wishes finds them by this.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Ports {
    amqp: u16,
    management: u16,
    distribution: u16,
    epmd: u16,
    postgres: u16,
}

impl Ports {
    // Below Linux's ephemeral range (32768 and up): a port in it can be taken by any outgoing connection. Those of the
    // test engines are a hundred higher, so that tests run beside `up`.
    fn wanted(purpose: Purpose) -> Result<Self> {
        let prefix = purpose.prefix();
        let more = if purpose == Purpose::Tests { 100 } else { 0 };
        let port = |name: &str, default: u16| port_from_env(&format!("{prefix}_{name}"), default + more);
        Ok(Self {
            amqp: port("AMQP_PORT", 27672)?,
            management: port("AMQP_API_PORT", 27673)?,
            distribution: port("AMQP_DIST_PORT", 27674)?,
            epmd: port("EPMD_PORT", 27675)?,
            postgres: port("POSTGRES_PORT", 27432)?,
        })
    }

    fn rabbit(&self, folder: &Path, purpose: Purpose) -> RabbitNode {
        let Self { amqp, management, distribution, epmd, .. } = *self;
        let ports = RabbitPorts { amqp, management, distribution, epmd };
        RabbitNode::new(folder.join("rabbitmq"), ports, purpose.prefix())
    }

    fn postgres(&self, folder: &Path, purpose: Purpose) -> Postgres {
        Postgres::new(folder.join("postgres"), self.postgres, purpose.prefix())
    }
}

impl Purpose {
    /// What the variables that choose ports begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::Development => "POSTRIDER_DEV",
            Self::Tests => "POSTRIDER_TEST",
        }
    }

    /// Tests have engines of their own: they start empty, and never meet the data of `up`.
    fn folder(self, folder: &Path) -> PathBuf {
        match self {
            Self::Development => folder.to_path_buf(),
            Self::Tests => folder.join("tests"),
        }
    }
}

/// A port from an environment variable, or the default.
pub fn port_from_env(name: &str, default: u16) -> Result<u16> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is not a port")),
        Err(_) => Ok(default),
    }
}

/// `<checkout>/.postrider`, found from where this crate was compiled, or what `POSTRIDER_DEV_FOLDER` names.
pub fn default_folder() -> PathBuf {
    if let Some(named) = set("POSTRIDER_DEV_FOLDER") {
        return named.into();
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).join(".postrider")
}

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Engines {
    /// Finds, installs (if allowed) and starts what the environment does not name.
    ///
    /// # Errors
    /// A taken port (which one, by whom, which variable changes it), a missing package, an engine that does not
    /// come up (with the end of its log).
    pub async fn start(options: EngineOptions) -> Result<Self> {
        crate::install_crypto();
        let (amqp, amqp_name, api, database, database_name) = match options.purpose {
            Purpose::Development => (
                set("POSTRIDER_AMQP_URL"),
                "POSTRIDER_AMQP_URL",
                set("POSTRIDER_AMQP_API"),
                set("POSTRIDER_DATABASE_URL"),
                "POSTRIDER_DATABASE_URL",
            ),
            Purpose::Tests => (
                set("POSTRIDER_TEST_AMQP_URL"),
                "POSTRIDER_TEST_AMQP_URL",
                set("POSTRIDER_TEST_AMQP_API"),
                set("POSTRIDER_TEST_DATABASE_URL"),
                "POSTRIDER_TEST_DATABASE_URL",
            ),
        };
        if options.purpose == Purpose::Tests && amqp.is_some() && api.is_none() {
            bail!(
                "POSTRIDER_TEST_AMQP_URL is set, but POSTRIDER_TEST_AMQP_API (http://user:password@host:15672), through which tests make their vhosts, is not"
            );
        }
        let mut described = Vec::new();
        if amqp.is_some() {
            described.push(format!("RabbitMQ from {amqp_name}"));
        }
        if database.is_some() {
            described.push(format!("PostgreSQL from {database_name}"));
        }
        install::ensure(amqp.is_none(), database.is_none(), &options)?;
        if let (Some(amqp_url), Some(database_url)) = (amqp.clone(), database.clone()) {
            return Ok(Self { amqp_url, amqp_api_url: api, database_url, described, held: None });
        }
        let purpose = options.purpose;
        let folder = purpose.folder(&options.folder);
        std::fs::create_dir_all(&folder).with_context(|| {
            format!("cannot make {} (was it made by another user? remove it as that user)", folder.display())
        })?;
        let folder = folder.canonicalize()?;
        let gate = open_lock(&folder, "engines.lock")?;
        gate.lock().context("waiting for another `cargo xtask` to start or stop the engines")?;
        let users = open_lock(&folder, "users.lock")?;

        let wanted = Ports::wanted(purpose)?;
        let ports = running_ports(&folder, purpose).unwrap_or(wanted);
        let mut held = Held {
            rabbit: amqp.is_none().then(|| ports.rabbit(&folder, purpose)),
            postgres: database.is_none().then(|| ports.postgres(&folder, purpose)),
            folder: folder.clone(),
            users,
            gate: Some(gate),
        };
        // Tests leave their vhosts behind (see `Scope`), so their engines start empty when nobody else is using them.
        let unused = held.users.try_lock().is_ok();
        if options.reset && !unused {
            bail!("--reset: another `cargo xtask` uses the engines in {}; stop it first", folder.display());
        }
        if options.reset || (purpose == Purpose::Tests && unused) {
            if options.reset {
                (options.say)("removing the data of RabbitMQ and PostgreSQL");
            }
            held.empty()?;
            held.rabbit = amqp.is_none().then(|| wanted.rabbit(&folder, purpose));
            held.postgres = database.is_none().then(|| wanted.postgres(&folder, purpose));
        }
        held.remember(purpose)?;
        held.users.lock_shared().context("taking the engines' user lock")?;

        let mut engines = Self {
            amqp_url: amqp.unwrap_or_default(),
            amqp_api_url: api,
            database_url: database.unwrap_or_default(),
            described,
            held: Some(held),
        };
        engines.bring_up(&options.say).await?;
        if let Some(held) = &mut engines.held {
            held.gate = None;
        }
        Ok(engines)
    }

    async fn bring_up(&mut self, say: &Say) -> Result<()> {
        let Some(held) = &mut self.held else { return Ok(()) };
        if let Some(rabbit) = &mut held.rabbit {
            // An unfinished start is cheaper to repeat than to wait for.
            let was_running = rabbit.running();
            if !was_running {
                rabbit.start(say)?;
            }
        }
        if let Some(postgres) = &mut held.postgres
            && !postgres.running()
        {
            postgres.start(say)?;
        }
        if let Some(rabbit) = &mut held.rabbit {
            rabbit.wait_ready().await?;
            rabbit.check_version().await?;
            self.amqp_url = rabbit.amqp_url();
            self.amqp_api_url = Some(rabbit.api_url());
            self.described.push(format!("RabbitMQ, private, AMQP port {}", rabbit.ports.amqp));
        }
        if let Some(postgres) = &mut held.postgres {
            postgres.wait_ready().await?;
            self.database_url = postgres.url("postgres");
            self.described.push(format!("PostgreSQL, private, port {}", postgres.port));
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

    /// A vhost and a database of their own on these engines.
    ///
    /// # Errors
    /// The engines refuse, or there is no management API.
    pub async fn scope(&self, name: &str) -> Result<Scope> {
        let api = self.amqp_api_url.as_deref().context("POSTRIDER_TEST_AMQP_API is not set")?;
        Scope::on(name, &self.amqp_url, api, &self.database_url).await
    }

    /// Stops what this checkout started, unless another process uses it still. Blocks for some seconds.
    pub fn stop(mut self) {
        self.release();
    }

    fn release(&mut self) {
        if let Some(mut held) = self.held.take() {
            // Stopping is best effort: there is nobody left to act on an error, and the next start finds what stays.
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
    fn remember(&self, purpose: Purpose) -> Result<()> {
        let wanted = Ports::wanted(purpose)?;
        let ports = Ports {
            amqp: self.rabbit.as_ref().map_or(wanted.amqp, |r| r.ports.amqp),
            management: self.rabbit.as_ref().map_or(wanted.management, |r| r.ports.management),
            distribution: self.rabbit.as_ref().map_or(wanted.distribution, |r| r.ports.distribution),
            epmd: self.rabbit.as_ref().map_or(wanted.epmd, |r| r.ports.epmd),
            postgres: self.postgres.as_ref().map_or(wanted.postgres, |p| p.port),
        };
        std::fs::write(self.folder.join("engines.json"), serde_json::to_vec_pretty(&ports)?)?;
        Ok(())
    }

    fn release(&mut self) -> Result<()> {
        let gate = match self.gate.take() {
            Some(gate) => gate,
            None => open_lock(&self.folder, "engines.lock")?,
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
        for name in ["rabbitmq", "postgres", "engines.json"] {
            let path = self.folder.join(name);
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

/// The ports of engines of ours that run now; `None` when none run.
fn running_ports(folder: &Path, purpose: Purpose) -> Option<Ports> {
    let ports: Ports = serde_json::from_slice(&std::fs::read(folder.join("engines.json")).ok()?).ok()?;
    let running = ports.rabbit(folder, purpose).running() || ports.postgres(folder, purpose).running();
    running.then_some(ports)
}

fn open_lock(folder: &Path, name: &str) -> Result<File> {
    let path = folder.join(name);
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .open(&path)
        .with_context(|| format!("cannot open {} (made by another user?)", path.display()))
}

/// The URLs of the private test engines of this checkout if they run now, for tests that were started by hand.
pub(crate) fn running_private() -> Option<(String, String, String)> {
    let purpose = Purpose::Tests;
    let folder = purpose.folder(&default_folder()).canonicalize().ok()?;
    let ports = running_ports(&folder, purpose)?;
    let (rabbit, postgres) = (ports.rabbit(&folder, purpose), ports.postgres(&folder, purpose));
    (rabbit.running() && postgres.running()).then(|| (rabbit.amqp_url(), rabbit.api_url(), postgres.url("postgres")))
}
