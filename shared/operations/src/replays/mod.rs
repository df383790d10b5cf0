//! Replays: past events, delivered again. Operations only store the request; the recorder's replayer carries it out.

mod request;

use std::collections::BTreeMap;

use postrider_ledger::replay::{self, Counted, DryRunLimits};
use postrider_model::ids::{EndpointId, EventId, ReplayId, TenantId};
use postrider_model::limits::{REPLAY_DRY_RUN_BYTES_MAX, REPLAY_DRY_RUN_EVENTS_MAX, REPLAY_DRY_RUN_STEPS_MAX};
use postrider_model::replay::{ReplayMode, ReplaySelection, ReplayStatus};
use postrider_model::scope::Scope;
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_store::replay::{Replay as StoredReplay, ReplayRequest};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::parse_id;
use crate::page::{List, PageQuery};
use crate::{Caller, Error, Operations};

pub use postrider_store::replay::ReplayAction;
pub use request::CreateReplay;

/// What a replay would deliver.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayPreview {
    /// Events that would be delivered again.
    pub events: u64,
    /// Deliveries that would be created.
    pub deliveries: u64,
    /// Pending deliveries that would be attempted now; only with the mode `recover`.
    pub retrying: u64,
}

/// A replay that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayAccepted {
    /// The replay.
    pub id: ReplayId,
}

/// A replay and its progress.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its status; the deliveries of a `finished` replay may still be pending.
    pub status: ReplayStatus,
    /// The endpoint, if the replay delivers to one endpoint only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<EndpointId>,
    /// The event, if the replay delivers one event only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    /// The start of the time in which the events were accepted, if the replay has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The end (exclusive) of the time in which the events were accepted; at most the time of the request.
    pub to: Timestamp,
    /// Types of the events, or patterns of them; empty for all types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
    /// Only events with these attribute values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Whether only failed events are delivered again.
    pub only_failed: bool,
    /// Which endpoints get the events.
    pub mode: ReplayMode,
    /// When it was requested.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When the replay created its last delivery, or was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Its progress.
    pub progress: ReplayProgress,
}

/// The progress of a replay.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayProgress {
    /// Events that the replay has examined so far, oldest first.
    pub walked: u64,
    /// Examined events that are delivered again.
    pub events: u64,
    /// Deliveries that the replay created, or that a recovery attempted at once.
    pub deliveries: u64,
    /// The part of `deliveries` that waited for a retry and was attempted at once; only with the mode `recover`.
    pub retried: u64,
    /// When the last examined event was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached_at: Option<Timestamp>,
}

impl From<StoredReplay> for Replay {
    fn from(replay: StoredReplay) -> Self {
        let StoredReplay { selection, progress, .. } = replay;
        Self {
            id: replay.id,
            tenant_id: replay.tenant,
            status: replay.status,
            endpoint_id: selection.endpoint,
            event_id: selection.event,
            from: selection.from.map(Timestamp),
            to: selection.to.into(),
            event_types: selection.event_types.iter().map(ToString::to_string).collect(),
            attributes: selection.attributes,
            only_failed: selection.only_failed,
            mode: selection.mode,
            created_at: replay.created_at.into(),
            updated_at: replay.updated_at.into(),
            finished_at: replay.finished_at.map(Timestamp),
            progress: ReplayProgress {
                walked: progress.walked,
                events: progress.events,
                deliveries: progress.deliveries,
                retried: progress.hurried,
                reached_at: progress.reached_at.map(Timestamp),
            },
        }
    }
}

impl Operations {
    /// Counts the events and deliveries of a replay without starting it.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::TooMany`] while another dry run of the tenant runs.
    pub async fn preview_replay(&self, caller: Caller, request: &CreateReplay) -> Result<ReplayPreview, Error> {
        let counted = self.count_replay(caller.tenant(Scope::Manage)?, request).await?;
        Ok(ReplayPreview { events: counted.events, deliveries: counted.deliveries, retrying: counted.hurried })
    }

    /// Counts what a replay of this tenant would do.
    pub(crate) async fn count_replay(&self, tenant: TenantId, request: &CreateReplay) -> Result<Counted, Error> {
        let selection = request.selection(UnixMillis::now())?;
        self.check_targets(tenant, &selection).await?;
        let _slot = self.heavy.dry_run(tenant).await?;
        let counted = replay::count(&self.store, &self.profiles, tenant, &selection, DryRunLimits::default()).await?;
        counted.ok_or_else(|| {
            let detail = format!(
                "a dry run examines at most {REPLAY_DRY_RUN_EVENTS_MAX} events and, with payload filters, \
                 {REPLAY_DRY_RUN_BYTES_MAX} bytes of payloads in {REPLAY_DRY_RUN_STEPS_MAX} steps: narrow the selection"
            );
            Error::invalid("/dry_run", detail)
        })
    }

    /// Stores a replay. A repeated request with the same idempotency key returns the first request's replay. Requires the scope
    /// `manage`.
    pub async fn start_replay(
        &self,
        caller: Caller,
        request: &CreateReplay,
        idempotency_key: Option<String>,
    ) -> Result<ReplayAccepted, Error> {
        self.store_replay(caller, caller.tenant(Scope::Manage)?, request, idempotency_key).await
    }

    /// Stores a replay of `tenant`. Does not check whether the caller may change the tenant.
    pub(crate) async fn store_replay(
        &self,
        caller: Caller,
        tenant: TenantId,
        request: &CreateReplay,
        idempotency_key: Option<String>,
    ) -> Result<ReplayAccepted, Error> {
        let selection = request.selection(UnixMillis::now())?;
        // Fields serialise in their declared order, so equal requests have equal texts.
        let text = serde_json::to_string(request).map_err(|_| Error::Internal)?;
        let asked = ReplayRequest { selection, text, idempotency_key };
        let id = match self.store.replay_by_key(tenant, &asked).await? {
            Some(known) => known,
            None => {
                self.check_targets(tenant, &asked.selection).await?;
                self.edits_of(caller)?.create_replay(tenant, &asked).await?
            }
        };
        Ok(ReplayAccepted { id })
    }

    /// Requires that the endpoint and the event of a selection exist.
    async fn check_targets(&self, tenant: TenantId, selection: &ReplaySelection) -> Result<(), Error> {
        if let Some(endpoint) = selection.endpoint
            && self.store.config().get_endpoint(Some(tenant), endpoint).await?.is_none()
        {
            return Err(Error::invalid("/endpoint_id", "no such endpoint"));
        }
        if let Some(event) = &selection.event
            && self.store.history().get_event(tenant, event).await?.is_none()
        {
            return Err(Error::invalid("/event_id", "no such event in the history"));
        }
        Ok(())
    }

    /// Lists the replays that the caller may see, newest first. Requires the scope `read`.
    pub async fn list_replays(&self, caller: Caller, page: &PageQuery) -> Result<List<Replay>, Error> {
        let visible = caller.visible(Scope::Read)?;
        let page = self.store.list_replays(visible, &page.request("replays")?).await?;
        Ok(List::of("replays", page, Replay::from))
    }

    /// Reads a replay. Requires the scope `read`.
    pub async fn read_replay(&self, caller: Caller, id: &str) -> Result<Replay, Error> {
        let (visible, id) = (caller.visible(Scope::Read)?, parse_id("replay", id)?);
        let replay = self.store.get_replay(visible, id).await?.ok_or(Error::NotFound("replay"))?;
        Ok(replay.into())
    }

    /// Pauses, resumes or cancels a replay.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Conflict`] for a replay that has ended.
    pub async fn steer_replay(&self, caller: Caller, id: &str, to: ReplayAction) -> Result<ReplayAccepted, Error> {
        let (visible, id) = (caller.visible(Scope::Manage)?, parse_id("replay", id)?);
        self.edits_of(caller)?.steer_replay(visible, id, to).await?;
        Ok(ReplayAccepted { id })
    }
}
