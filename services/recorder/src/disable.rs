//! Stops endpoints: disables them, or pauses them if the tenant prefers that. Two kinds are stopped: endpoints that requested it by
//! a status code that the profile defines for this purpose (such as `410 Gone`), and endpoints whose attempts have all failed for the number of days that the tenant or its profile
//! defines.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_model::delivery::Trigger;
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_store::record::{LongFailing, RecordBatch};
use postrider_store::{Store, StoreError};
use postrider_wire::messages::OutcomeReport;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::write::Stopped;

const PAUSE: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// An endpoint that requested to be disabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gone {
    endpoint: EndpointId,
    /// The time of the endpoint's last response that requested it.
    at: UnixMillis,
    reason: String,
}

/// Returns the endpoints of a batch that requested to be disabled, without duplicates. Responses to test calls do not count.
pub(crate) fn endpoints_gone(rows: &RecordBatch) -> Vec<Gone> {
    let mut gone: BTreeMap<EndpointId, Gone> = BTreeMap::new();
    let is_test =
        |outcome: &OutcomeReport| outcome.attempt.as_ref().is_some_and(|attempt| attempt.trigger == Trigger::Test);
    for (outcome, _) in rows.outcomes.iter().filter(|(outcome, _)| outcome.disable_endpoint && !is_test(outcome)) {
        let endpoint = outcome.delivery.endpoint;
        let code = outcome.attempt.as_ref().and_then(|attempt| attempt.status_code);
        let reason = code.map_or_else(|| "its answer".to_owned(), |code| format!("it answered {code}"));
        let entry = gone.entry(endpoint).or_insert(Gone { endpoint, at: outcome.at, reason });
        entry.at = entry.at.max(outcome.at);
    }
    gone.into_values().collect()
}

/// Disables or pauses the endpoints. Skips an endpoint that was edited after the response, because the message may be a late duplicate.
pub(crate) async fn apply(store: &Store, gone: &[Gone], stop: &CancellationToken) -> Result<(), Stopped> {
    for gone in gone {
        loop {
            let done = async {
                let edited =
                    store.config().get_endpoint(None, gone.endpoint).await?.map(|endpoint| endpoint.updated_at);
                match edited {
                    Some(edited) if edited <= gone.at => {
                        store.config().stop_endpoint(gone.endpoint, &gone.reason).await
                    }
                    _ => Ok(None),
                }
            };
            match done.await {
                Ok(stopped) => {
                    if let Some(status) = stopped {
                        metrics::stopped(status);
                        tracing::info!(endpoint.id = %gone.endpoint, reason = gone.reason, %status, "stopped an endpoint");
                    }
                    break;
                }
                Err(error) if error.is_unavailable() => tokio::select! {
                    () = stop.cancelled() => return Err(Stopped),
                    () = tokio::time::sleep(PAUSE) => {}
                },
                Err(error) => {
                    tracing::warn!(endpoint.id = %gone.endpoint, %error, "cannot stop the endpoint");
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Disables or pauses the endpoints whose attempts have all failed for the defined number of days.
pub(crate) async fn long_failing(store: &Store, profiles: &Profiles) -> Result<(), StoreError> {
    for failing in store.record().long_failing_endpoints().await? {
        let Some(days) = too_long(&failing, profiles) else { continue };
        let reason = format!("nothing but failure for {days} days, since {}", failing.since.to_rfc3339_millis());
        if let Some(status) = store.config().stop_endpoint(failing.endpoint, &reason).await? {
            metrics::stopped(status);
            tracing::info!(endpoint.id = %failing.endpoint, reason, %status, "stopped an endpoint");
        }
    }
    Ok(())
}

/// Returns the number of days after which the endpoint is disabled. Returns `None` if it has not failed for this number of
/// days.
fn too_long(failing: &LongFailing, profiles: &Profiles) -> Option<u32> {
    let own = failing.disable_after_days;
    let days = own.or_else(|| profiles.get(&failing.profile)?.disable_after_days).filter(|days| *days > 0)?;
    (failing.since.until(failing.last_failure_at) >= DAY * days).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_until_disabling_come_from_tenant_or_profile_and_0_is_never() {
        let check = |profile: &str, own: Option<u32>, failed_for: Duration, expected: Option<u32>| {
            let since = UnixMillis(1_800_000_000_000);
            let failing = LongFailing {
                endpoint: EndpointId::generate(),
                since,
                last_failure_at: since.plus(failed_for),
                profile: profile.into(),
                disable_after_days: own,
            };
            assert_eq!(too_long(&failing, &Profiles::builtin()), expected, "{profile} {own:?} {failed_for:?}");
        };
        let (short, five) = (DAY * 5 - Duration::from_millis(1), DAY * 5);
        check("standard", None, short, None);
        check("standard", None, five, Some(5));
        check("standard", Some(0), DAY * 300, None);
        check("standard", Some(1), five, Some(1));
        check("mumara", None, DAY * 300, None);
        check("mumara", Some(5), short, None);
        check("mumara", Some(5), five, Some(5));
        check("gone", None, DAY * 300, None);
    }
}
