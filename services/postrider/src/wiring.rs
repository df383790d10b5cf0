//! Creates the shared clients from the settings: one client of each kind per process.

use std::sync::Arc;

use anyhow::Context;
use postrider_broker::{Broker, BrokerConfig, BrokerError, PublishState};
use postrider_egress::{Egress, EgressConfig};
use postrider_mail::Mailer;
use postrider_oidc::Provider;
use postrider_profiles::{Mappings, Profiles};
use postrider_store::crypto::MasterKeys;
use postrider_store::{DatabaseSettings, MasterKeySettings, Store, StoreConfig};
use postrider_telemetry::health::Health;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

/// Creates the client of the database without connecting. Services that read no secrets have no master key.
pub(crate) fn store(database: &DatabaseSettings, keys: Option<&MasterKeySettings>) -> anyhow::Result<Store> {
    let keys = match keys {
        Some(keys) => MasterKeys::parse(keys.master_keys.expose_secret()).context("POSTRIDER_MASTER_KEYS")?,
        None => MasterKeys::none(),
    };
    let config = StoreConfig {
        database_url: database.url.clone(),
        ca_file: database.ca_file.0.clone(),
        pool_max: usize::from(database.connections_max),
    };
    Store::connect(config, keys).context("POSTRIDER_DATABASE_URL")
}

/// Creates the broker's settings and checks them without a connection.
pub(crate) fn broker_config(amqp: &postrider_broker::Settings, service: &str) -> anyhow::Result<BrokerConfig> {
    let mut config = BrokerConfig::new(amqp.url.expose_secret(), format!("postrider {service}"));
    config.ca_file.clone_from(&amqp.ca_file.0);
    config.check().context("POSTRIDER_AMQP_URL or POSTRIDER_AMQP_CA_FILE")?;
    Ok(config)
}

/// Connects to the broker and declares the topology. Waits without a time limit. Returns `None` if `stop` comes first.
pub(crate) async fn broker(config: BrokerConfig, stop: &CancellationToken) -> anyhow::Result<Option<Broker>> {
    match Broker::connect(config, stop.clone()).await {
        Err(BrokerError::Stopped) => Ok(None),
        connected => Ok(Some(connected?)),
    }
}

/// Loads the built-in profiles and the profiles in the directory.
pub(crate) fn profiles(args: &postrider_profiles::Settings) -> anyhow::Result<Arc<Profiles>> {
    Ok(Arc::new(Profiles::load(args.directory.as_deref()).context("POSTRIDER_PROFILES_DIR")?))
}

/// Loads the built-in mappings and the mappings in the directory. An event type in a mapping is an error if the profile with
/// the same name does not define it, because all events of such a type would become dead letters.
pub(crate) fn mappings(
    settings: &postrider_ingest::Settings,
    profile_settings: &postrider_profiles::Settings,
) -> anyhow::Result<Arc<Mappings>> {
    let mappings = Mappings::load(settings.mappings_dir.as_deref()).context("POSTRIDER_MAPPINGS_DIR")?;
    let profiles = profiles(profile_settings)?;
    for (name, mapping) in mappings.iter() {
        let Some(profile) = profiles.get(name) else { continue };
        if let Some(unknown) = mapping.event_types().find(|event_type| !profile.knows(event_type)) {
            anyhow::bail!("mapping {name}.toml, events.type: {unknown} is not in the catalog of profile {name}");
        }
    }
    Ok(Arc::new(mappings))
}

/// Creates the client for requests to endpoints.
pub(crate) fn egress(args: &postrider_egress::Settings) -> anyhow::Result<Egress> {
    let config = EgressConfig {
        allow: args.allow.0.clone(),
        allow_http: args.allow_http,
        ca_file: args.ca_file.0.clone(),
        proxy: args.proxy.0.as_ref().map(|url| url.expose_secret().to_owned()),
        connect_timeout: args.connect_timeout,
    };
    Egress::new(config).context("POSTRIDER_EGRESS_CA_FILE or POSTRIDER_EGRESS_PROXY")
}

/// Creates the client for e-mail, without connecting. Returns `None` if no SMTP server is set.
pub(crate) fn mailer(settings: &postrider_mail::Settings) -> anyhow::Result<Option<Mailer>> {
    settings.mailer().context("POSTRIDER_SMTP_URL, POSTRIDER_SMTP_CA_FILE or POSTRIDER_MAIL_FROM")
}

/// Creates the client of the identity provider, without a request. Returns `None` if no provider is set.
pub(crate) fn identity_provider(settings: &postrider_api::Settings) -> anyhow::Result<Option<Arc<Provider>>> {
    let config = settings.oidc.provider(settings.public_url.as_ref());
    let provider = config.map(Provider::new).transpose().context("POSTRIDER_OIDC_CA_FILE")?;
    Ok(provider.map(Arc::new))
}

/// Shows on `/readyz` whether messages can be published. Ends when the broker client stops working.
pub(crate) fn watch_broker(broker: &Broker, health: &Health) -> impl Future<Output = ()> + Send + 'static {
    let check = health.check("broker");
    let mut state = broker.publish_state();
    let task_panicked = broker.task_panicked();
    let watch = async move {
        loop {
            match &*state.borrow_and_update() {
                PublishState::Up => check.ok(),
                PublishState::Blocked(reason) => check.failing(format!("the broker blocks publishers: {reason}")),
                PublishState::Down => check.failing("not connected"),
            }
            if state.changed().await.is_err() {
                return;
            }
        }
    };
    async move {
        tokio::select! {
            () = watch => {}
            _ = task_panicked => {}
        }
    }
}
