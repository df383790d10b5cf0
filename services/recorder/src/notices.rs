//! Sends notices about the state of endpoints: decides which are sent, and puts them into the outbox for the relay. This is a task of
//! its own, because the count of an endpoint's waiting deliveries may take seconds, and the relay must not wait for it.

use postrider_ledger::notice;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_store::notices::Settled;
use postrider_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::Config;
use crate::metrics;

/// Maximum number of notices that are settled in one round.
const ROUND_MAX: usize = 200;

/// Settles due notices until `stop`.
pub(crate) async fn run(store: Store, config: Config, stop: CancellationToken) {
    let mut tick = tokio::time::interval(config.relay_every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        match stop.run_until_cancelled(send_due(&store, config.public_url.as_ref())).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "cannot settle the notices about endpoints"),
        }
    }
}

/// Settles the notices that are due. `public_url` is the URL of the deployment, for the links.
async fn send_due(store: &Store, public_url: Option<&Url>) -> Result<(), StoreError> {
    for _ in 0..ROUND_MAX {
        let settled = store
            .settle_notice(|due| notice::data(due, public_url.and_then(|url| link(url, due.tenant, due.endpoint))))
            .await?;
        match settled {
            Some(Settled::Sent) => metrics::notified(),
            Some(Settled::Dropped) => {}
            None => break,
        }
    }
    Ok(())
}

/// The address of an endpoint's page in the dashboard.
fn link(public_url: &Url, tenant: TenantId, endpoint: EndpointId) -> Option<String> {
    public_url.join(&format!("/dashboard/{tenant}/webhooks/{endpoint}")).ok().map(String::from)
}
