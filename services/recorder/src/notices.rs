//! Sends notices about the state of endpoints: decides what is told, and leaves it in the outbox for the relay.

use postrider_ledger::notice;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_store::notices::Settled;
use postrider_store::{Store, StoreError};
use url::Url;

use crate::metrics;

/// Maximum number of notices that are settled in one round.
const ROUND_MAX: usize = 200;

/// Settles the notices that are due. `public_url` is the URL of the deployment, for the links.
pub(crate) async fn send_due(store: &Store, public_url: Option<&Url>) -> Result<(), StoreError> {
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
