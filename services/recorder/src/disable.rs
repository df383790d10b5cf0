//! Endpoints that asked to be switched off: their answer was one that the profile reads so (`410 Gone`).

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use postrider_store::record::RecordBatch;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::write::Stopped;

const PAUSE: Duration = Duration::from_secs(1);

/// An endpoint that asked to be switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gone {
    endpoint: EndpointId,
    /// When it last said so.
    at: UnixMillis,
    reason: String,
}

/// The endpoints of a batch that asked to be switched off, each once.
pub(crate) fn endpoints_gone(rows: &RecordBatch) -> Vec<Gone> {
    let mut gone: BTreeMap<EndpointId, Gone> = BTreeMap::new();
    for (outcome, _) in rows.outcomes.iter().filter(|(outcome, _)| outcome.disable_endpoint) {
        let endpoint = outcome.delivery.endpoint;
        let code = outcome.attempt.as_ref().and_then(|attempt| attempt.status_code);
        let reason = code.map_or_else(|| "its answer".to_owned(), |code| format!("it answered {code}"));
        let entry = gone.entry(endpoint).or_insert(Gone { endpoint, at: outcome.at, reason });
        entry.at = entry.at.max(outcome.at);
    }
    gone.into_values().collect()
}

/// Switches them off. An endpoint that was edited after it said so stays as its customer wants it: the message may be a
/// repeat of one that was heeded long ago.
pub(crate) async fn apply(store: &Store, gone: &[Gone], stop: &CancellationToken) -> Result<(), Stopped> {
    for gone in gone {
        loop {
            let done = async {
                let edited = store.get_endpoint(None, gone.endpoint).await?.map(|endpoint| endpoint.updated_at);
                match edited {
                    Some(edited) if edited <= gone.at => store.disable_endpoint(gone.endpoint, &gone.reason).await,
                    _ => Ok(false),
                }
            };
            match done.await {
                Ok(disabled) => {
                    if disabled {
                        metrics::disabled();
                        tracing::info!(endpoint.id = %gone.endpoint, reason = gone.reason, "endpoint switched off");
                    }
                    break;
                }
                Err(error) if error.is_unavailable() => tokio::select! {
                    () = stop.cancelled() => return Err(Stopped),
                    () = tokio::time::sleep(PAUSE) => {}
                },
                Err(error) => {
                    tracing::warn!(endpoint.id = %gone.endpoint, %error, "cannot switch the endpoint off");
                    break;
                }
            }
        }
    }
    Ok(())
}
