//! A RabbitMQ and a PostgreSQL that belong to this checkout alone.
//!
//! Owns: finding, installing, starting, sharing and stopping them. Their data is in `<checkout>/.postrider`, their
//! ports are their own, everything listens on 127.0.0.1 only.
//! Promises: several `cargo xtask` at once share one pair of engines and the last one out stops them; engines that a
//! killed `xtask` left behind are found and used again; after the stop no process is left, epmd included.
//! Does not: touch the distribution's own services or data, or anything when the environment names other engines.

mod debian13;
mod home;
mod install;
mod postgres;
mod private;
mod rabbit;
mod scope;
mod system;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

pub use home::{default_folder, port_from_env};
pub use install::{AptPlan, Install, apt_plan, missing_tools};
pub use private::{PrivatePostgres, PrivateRabbit};
pub use scope::{Rights, Scope, management_url};
pub use system::Release;

use home::{Home, Ports};
use postgres::Postgres;
use rabbit::RabbitNode;

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
    /// Whose engines.
    pub release: Release,
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
        // Named by `cargo xtask engines` in another terminal they are of the release that it named, too.
        if options.release != Release::chosen()? && (amqp.is_some() || database.is_some()) {
            bail!(
                "{amqp_name} or {database_name} names engines that are to be used, and --engines {} others: unset them, or leave --engines out",
                options.release.name()
            );
        }
        let mut described = Vec::new();
        if amqp.is_some() {
            described.push(format!("RabbitMQ from {amqp_name}"));
        }
        if database.is_some() {
            described.push(format!("PostgreSQL from {database_name}"));
        }
        if options.release == Release::Debian13 {
            system::may_enter()?;
        }
        install::ensure(amqp.is_none(), database.is_none(), &options)?;
        if let (Some(amqp_url), Some(database_url)) = (amqp.clone(), database.clone()) {
            return Ok(Self { amqp_url, amqp_api_url: api, database_url, described, held: None });
        }
        let purpose = options.purpose;
        std::fs::create_dir_all(&options.folder).with_context(|| {
            format!("cannot make {} (was it made by another user? remove it as that user)", options.folder.display())
        })?;
        let folder = options.folder.canonicalize()?;
        if options.release == Release::Debian13 {
            debian13::make(&options.release.folder(&folder), &options.say)?;
        }
        let home = Home::of(options.release, purpose, &folder);
        std::fs::create_dir_all(&home.folder).with_context(|| format!("making {}", home.folder.display()))?;
        let gate = home.lock_file("engines.lock")?;
        gate.lock().context("waiting for another `cargo xtask` to start or stop the engines")?;
        let users = home.lock_file("users.lock")?;

        let wanted = Ports::wanted(purpose)?;
        let ports = home.running_ports().unwrap_or(wanted);
        let mut held = Held {
            rabbit: amqp.is_none().then(|| ports.rabbit(&home)),
            postgres: database.is_none().then(|| ports.postgres(&home)),
            home: home.clone(),
            users,
            gate: Some(gate),
        };
        // Tests leave their vhosts behind (see `Scope`), so their engines start empty when nobody else is using them.
        let unused = held.users.try_lock().is_ok();
        if options.reset && !unused {
            bail!("--reset: another `cargo xtask` uses the engines in {}; stop it first", home.folder.display());
        }
        if options.reset || (purpose == Purpose::Tests && unused) {
            if options.reset {
                (options.say)("removing the data of RabbitMQ and PostgreSQL");
            }
            held.empty()?;
            held.rabbit = amqp.is_none().then(|| wanted.rabbit(&home));
            held.postgres = database.is_none().then(|| wanted.postgres(&home));
        }
        held.home.remember(held.rabbit.as_ref(), held.postgres.as_ref())?;
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
    let home = Home::of(Release::chosen().ok()?, Purpose::Tests, &default_folder().canonicalize().ok()?);
    let ports = home.running_ports()?;
    let (rabbit, postgres) = (ports.rabbit(&home), ports.postgres(&home));
    (rabbit.running() && postgres.running()).then(|| (rabbit.amqp_url(), rabbit.api_url(), postgres.url("postgres")))
}
