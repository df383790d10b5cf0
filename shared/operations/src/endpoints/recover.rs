//! Recovers an endpoint: a replay delivers the events that the endpoint did not receive, and immediately attempts deliveries that
//! wait for a retry.

use postrider_model::delivery::EndpointStatus;
use postrider_model::ids::ReplayId;
use postrider_model::replay::ReplayMode;
use postrider_model::scope::Scope;
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Endpoint;
use crate::replays::CreateReplay;
use crate::{Caller, Error, Operations};

/// A request to recover an endpoint.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoverEndpoint {
    /// Only events accepted at or after this time. If absent, `recover_since` of the endpoint's `health` is used.
    #[schema(format = DateTime, example = "2026-01-31T02:00:00Z")]
    pub since: Option<String>,
    /// Whether to count the deliveries without creating any.
    pub dry_run: Option<bool>,
}

/// From when on an edit that activates an endpoint recovers it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoverSince {
    /// Only events accepted at or after this time. If absent, `recover_since` of the endpoint's `health` before the edit is used.
    #[schema(format = DateTime, example = "2026-01-31T02:00:00Z")]
    pub since: Option<String>,
}

/// What a recovery would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecoveryPreview {
    /// Only events accepted at or after this time count.
    pub since: Timestamp,
    /// New deliveries of failed events. An event failed if no delivery of it reached the endpoint, and at least one failed or was
    /// discarded.
    pub failed: u64,
    /// New deliveries of events that match the endpoint, and that fan-out processed while the endpoint was inactive or disabled.
    pub missed: u64,
    /// Deliveries that wait for a retry and would be attempted now.
    pub retrying: u64,
}

/// A recovery that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecoveryAccepted {
    /// The id of the replay that carries out the recovery.
    pub id: ReplayId,
    /// The recovery delivers events accepted at or after this time.
    pub since: Timestamp,
}

impl RecoverEndpoint {
    /// Whether the request is a dry run, which only counts.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run.unwrap_or_default()
    }

    /// Returns the replay that carries out this recovery, and the time from which on it delivers events.
    fn replay(&self, endpoint: &Endpoint) -> Result<(CreateReplay, UnixMillis), Error> {
        let since = match &self.since {
            Some(text) => text.parse().map_err(|error| Error::invalid("/since", format!("{error}")))?,
            None => endpoint.health.recover_since.map(|since| since.0).ok_or_else(|| {
                let detail = "say since when: this endpoint had no outage in the last 3 days that was not recovered";
                Error::invalid("/since", detail)
            })?,
        };
        if since >= UnixMillis::now() {
            return Err(Error::invalid("/since", format!("must lie in the past, got {since}")));
        }
        let replay = CreateReplay {
            endpoint_id: Some(endpoint.id.to_string()),
            from: Some(since.to_rfc3339_millis()),
            mode: Some(ReplayMode::Recover),
            ..CreateReplay::default()
        };
        Ok((replay, since))
    }
}

impl Operations {
    /// Returns the recovery that an edit orders, with its start. `status` is the endpoint's status after the edit.
    pub(super) fn ordered_recovery(
        endpoint: &Endpoint,
        order: &RecoverSince,
        status: EndpointStatus,
    ) -> Result<RecoverEndpoint, Error> {
        if status != EndpointStatus::Active {
            let detail =
                format!("only an endpoint that is active after the edit can be recovered, and this one is {status}");
            return Err(Error::invalid("/recover", detail));
        }
        let request = RecoverEndpoint { since: order.since.clone(), dry_run: None };
        let since = request.replay(endpoint).map_err(|error| error.below("/recover"))?.1;
        Ok(RecoverEndpoint { since: Some(since.to_rfc3339_millis()), dry_run: None })
    }

    /// Counts what a recovery of an endpoint would do. The endpoint may be off.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::TooMany`] while another dry run of the tenant runs.
    pub async fn preview_recovery(
        &self,
        caller: Caller,
        id: &str,
        request: &RecoverEndpoint,
    ) -> Result<RecoveryPreview, Error> {
        let endpoint = self.endpoint_view(self.stored_endpoint(caller, Scope::Manage, id).await?).await?;
        let (replay, since) = request.replay(&endpoint)?;
        let counted = self.count_replay(endpoint.tenant_id, &replay).await?;
        Ok(RecoveryPreview {
            since: since.into(),
            failed: counted.deliveries - counted.missed,
            missed: counted.missed,
            retrying: counted.hurried,
        })
    }

    /// Starts the recovery of an endpoint. If a recovery of the same time is running and was requested less than a minute ago,
    /// returns that recovery.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Conflict`] if the endpoint is off, or has another unfinished recovery.
    pub async fn recover_endpoint(
        &self,
        caller: Caller,
        id: &str,
        request: &RecoverEndpoint,
    ) -> Result<RecoveryAccepted, Error> {
        let endpoint = self.endpoint_view(self.stored_endpoint(caller, Scope::Manage, id).await?).await?;
        if endpoint.status != EndpointStatus::Active {
            let reason = endpoint.disabled_reason.or(endpoint.paused_reason);
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            return Err(Error::Conflict(format!("the endpoint is {}{reason}: activate it first", endpoint.status)));
        }
        let (replay, _) = request.replay(&endpoint)?;
        let id = self.store_replay(caller, endpoint.tenant_id, &replay, None).await?.id;
        let stored = self.store.get_replay(Some(endpoint.tenant_id), id).await?.ok_or(Error::NotFound("replay"))?;
        Ok(RecoveryAccepted { id, since: stored.selection.from.unwrap_or_default().into() })
    }
}
