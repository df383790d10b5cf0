//! Endpoints: where a tenant receives events.

mod chat;
mod check;
mod health;
mod held_keys;
mod new_key;
mod paused;
mod recover;
mod request;
mod rotate;
mod view;

use postrider_model::endpoint::Channel;
use postrider_model::event::EventType;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::notice::Notify;
use postrider_model::scope::Scope;
use postrider_profiles::Profile;
use postrider_store::config::{Endpoint as StoredEndpoint, EndpointDraft, EndpointHealth, NewEndpoint, Tenant};

use crate::error::{Error, Mistakes, parse_id};
use crate::page::{PageQuery, cursor_of};
use crate::{Caller, Operations};
use check::{
    ORDERED_AND_BATCHED, ORDERED_AND_PAUSED, Rules, check_chain, is_ordered_and_batched, is_ordered_and_paused,
    refuse_kept_headers,
};
use new_key::NewKey;

pub use chat::{ChatFields, ChatShown, EmailFields, TelegramFields, TelegramShown};
pub use health::{Failure, Health, HealthState, OutageShown};
pub use held_keys::{HeldKey, HeldKeyAction, HeldKeyReleased, HeldKeys, ReleaseHeldKey};
pub use paused::{SetAside, SkippedPaused};
pub use postrider_model::endpoint::EndpointOrder;
pub use recover::{RecoverEndpoint, RecoverSince, RecoveryAccepted, RecoveryPreview};
pub use request::{CreateEndpoint, EditEndpoint, MASK, PushoverFields, RequestedStatus};
pub use rotate::{RotateSecret, RotatedSecret};
pub use view::{Breaker, CreatedEndpoint, EditedEndpoint, Endpoint, EndpointInList, EndpointPage, PushoverShown};

impl Operations {
    /// Returns an endpoint that the caller may see, as it is stored.
    pub(crate) async fn stored_endpoint(
        &self,
        caller: Caller,
        scope: Scope,
        id: &str,
    ) -> Result<StoredEndpoint, Error> {
        let (visible, id) = (caller.visible(scope)?, parse_id("endpoint", id)?);
        self.store.config().get_endpoint(visible, id).await?.ok_or(Error::NotFound("endpoint"))
    }

    /// Returns the types that a tenant added to its profile's catalog; empty if the profile accepts any type.
    pub(crate) async fn added_event_types(&self, profile: &Profile, tenant: &Tenant) -> Result<Vec<EventType>, Error> {
        if profile.open_catalog { Ok(Vec::new()) } else { Ok(self.store.config().event_type_names(tenant.id).await?) }
    }

    async fn endpoint_view(&self, endpoint: StoredEndpoint) -> Result<Endpoint, Error> {
        let health = self.stored_health(&[endpoint.id]).await?.remove(&endpoint.id).unwrap_or_default();
        let breaker = self.breakers.get(endpoint.id);
        let set_aside = self.set_aside(&[endpoint.id]).await?.remove(&endpoint.id);
        Ok(Endpoint::new(endpoint, breaker, health, set_aside))
    }

    /// Creates an endpoint of the caller's tenant.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Conflict`] if the tenant has its maximum number of endpoints.
    pub async fn create_endpoint(&self, caller: Caller, mut request: CreateEndpoint) -> Result<CreatedEndpoint, Error> {
        let tenant = self.stored_tenant(caller.tenant(Scope::Manage)?).await?;
        let profile = self.profile(&tenant.draft.profile)?;
        let event_types = self.added_event_types(profile, &tenant).await?;
        let rules = Rules {
            profile,
            limits: &tenant.draft.limits,
            guard: &self.guard,
            recipients: &self.recipients,
            event_types: &event_types,
        };
        let given = request.secret.take();
        let mut draft = request.into_draft();
        let mut mistakes = rules.check(&draft);
        if let Some(notify) = &draft.document.notify {
            self.check_notified(tenant.id, None, notify, &mut mistakes).await?;
        }
        let channel = draft.document.channel;
        let is_signed = channel == Channel::Web;
        if !is_signed && given.is_some() {
            let detail = format!("deliveries to {} have no signature; leave the secret out", channel.label());
            mistakes.add("/secret", detail);
        }
        let key = NewKey::new(draft.document.signature_key, given, profile, &mut mistakes);
        mistakes.finish()?;
        draft.document.public_key.clone_from(&key.public);
        rules.normalize_url(&mut draft.document);
        let secret = key.shown_once().filter(|_| is_signed);
        let new = NewEndpoint { draft, secret: key.secret };
        let created = self.edits_of(caller)?.config().create_endpoint(tenant.id, &new).await?;
        Ok(CreatedEndpoint { endpoint: Endpoint::new(created, None, EndpointHealth::default(), None), secret })
    }

    /// Checks that the endpoint to notify can be notified. `own` is the endpoint that notifies; `None` for a new one.
    async fn check_notified(
        &self,
        tenant: TenantId,
        own: Option<EndpointId>,
        notify: &Notify,
        mistakes: &mut Mistakes,
    ) -> Result<(), Error> {
        let chain = self.store.config().notified_chain(tenant, notify.endpoint).await?;
        check_chain(own, &chain, mistakes);
        Ok(())
    }

    /// Lists the endpoints of the caller's tenant in this order. Requires the scope `read`.
    pub async fn list_endpoints(
        &self,
        caller: Caller,
        order: EndpointOrder,
        page: &PageQuery,
    ) -> Result<EndpointPage, Error> {
        let tenant = caller.tenant(Scope::Read)?;
        let list = match order {
            EndpointOrder::Newest => "endpoints",
            EndpointOrder::Trouble => "endpoints_by_trouble",
            EndpointOrder::Name => "endpoints_by_name",
        };
        let page = self.store.config().list_endpoints(tenant, order, &page.request(list)?).await?;
        let ids: Vec<EndpointId> = page.items.iter().map(|item| item.endpoint.id).collect();
        let (mut health, mut set_aside) = (self.stored_health(&ids).await?, self.set_aside(&ids).await?);
        let data = page.items.into_iter().map(|item| {
            let id = item.endpoint.id;
            let (health, breaker) = (health.remove(&id).unwrap_or_default(), self.breakers.get(id));
            EndpointInList {
                successes: item.successes,
                failures: item.failures,
                failed_deliveries: item.failed_deliveries,
                endpoint: Endpoint::new(item.endpoint, breaker, health, set_aside.remove(&id)),
            }
        });
        let next_cursor = page.next_cursor.map(|place| cursor_of(list, &place));
        Ok(EndpointPage { data: data.collect(), next_cursor, usage: page.usage, limit: page.limit })
    }

    /// Reads an endpoint. Requires the scope `read`.
    pub async fn read_endpoint(&self, caller: Caller, id: &str) -> Result<Endpoint, Error> {
        self.endpoint_view(self.stored_endpoint(caller, Scope::Read, id).await?).await
    }

    /// Edits an endpoint if its version is `expected`. `None` accepts any version. If the edit orders a recovery, starts it once
    /// every live instance has applied the edit, so that the recovery covers all events before.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Conflict`] if the ordered recovery cannot start; then the edit is in effect.
    pub async fn edit_endpoint(
        &self,
        caller: Caller,
        id: &str,
        expected: Option<i64>,
        request: EditEndpoint,
    ) -> Result<EditedEndpoint, Error> {
        let before = self.stored_endpoint(caller, Scope::Manage, id).await?;
        let tenant = self.stored_tenant(before.tenant).await?;
        let profile = self.profile(&tenant.draft.profile)?;
        let event_types = self.added_event_types(profile, &tenant).await?;
        let rules = Rules {
            profile,
            limits: &tenant.draft.limits,
            guard: &self.guard,
            recipients: &self.recipients,
            event_types: &event_types,
        };
        let recovery = match &request.recover {
            None => None,
            Some(order) => {
                let status = request.status.map_or(before.status, Into::into);
                Some(Self::ordered_recovery(&self.endpoint_view(before.clone()).await?, order, status)?)
            }
        };
        let mut mistakes = Mistakes::default();
        if let Some(Some(notify)) = &request.notify {
            self.check_notified(tenant.id, Some(before.id), notify, &mut mistakes).await?;
        }
        let apply = |draft: &mut EndpointDraft| apply_edit(&rules, &request, mistakes, draft);
        let visible = caller.visible(Scope::Manage)?;
        let edits = self.edits_of(caller)?;
        let edit = edits.config().edit_endpoint(visible, before.id, expected, apply);
        let Some(recovery) = recovery else {
            return Ok(EditedEndpoint { endpoint: self.endpoint_view(edit.await?).await?, recovery: None });
        };
        let (edited, _) = self.wait_for_edit(Box::pin(edit)).await;
        let endpoint = self.endpoint_view(edited?).await?;
        let recovery = Box::pin(self.recover_endpoint(caller, id, &recovery)).await?;
        Ok(EditedEndpoint { endpoint, recovery: Some(recovery) })
    }

    /// Returns the ids and names of the newest endpoints of the caller's tenant, at most `limit`. Requires the scope `read`.
    pub async fn endpoint_names(&self, caller: Caller, limit: u32) -> Result<Vec<(EndpointId, String)>, Error> {
        Ok(self.store.config().endpoint_names(caller.tenant(Scope::Read)?, limit).await?)
    }

    /// The names of these endpoints of the caller's tenant, and whether each was deleted. Requires the scope `read`.
    pub async fn names_of_endpoints(
        &self,
        caller: Caller,
        ids: &[EndpointId],
    ) -> Result<Vec<(EndpointId, String, bool)>, Error> {
        Ok(self.store.config().names_of_endpoints(caller.tenant(Scope::Read)?, ids).await?)
    }

    /// Deletes an endpoint if its version is `expected`. Requires the scope `manage`.
    pub async fn delete_endpoint(&self, caller: Caller, id: &str, expected: Option<i64>) -> Result<(), Error> {
        let (visible, id) = (caller.visible(Scope::Manage)?, parse_id("endpoint", id)?);
        Ok(self.edits_of(caller)?.config().delete_endpoint(visible, id, expected).await?)
    }
}

/// Applies an edit and checks the members that it sets.
/// `found` has the mistakes that were found before the edit.
fn apply_edit(
    rules: &Rules<'_>,
    request: &EditEndpoint,
    found: Mistakes,
    draft: &mut EndpointDraft,
) -> Result<(), Error> {
    let (key, channel) = (draft.document.signature_key, draft.document.channel);
    let url = draft.document.url.clone();
    let touched = request.clone().apply(draft);
    let mut mistakes = rules.check(draft);
    // The rules may have changed since the endpoint was saved. Mistakes in members that this edit does not set must not make it
    // fail.
    mistakes.retain(|error| error.pointer.split('/').nth(1).is_some_and(|member| touched.contains(&member)));
    if touched.contains(&"ordering") && !touched.contains(&"status") && is_ordered_and_paused(draft) {
        mistakes.add("/ordering", ORDERED_AND_PAUSED);
    }
    if touched.contains(&"ordering") && !touched.contains(&"batch") && is_ordered_and_batched(&draft.document) {
        mistakes.add("/ordering", ORDERED_AND_BATCHED);
    }
    refuse_kept_headers(request, url.as_deref(), draft, &mut mistakes);
    if draft.document.signature_key != key {
        mistakes.add("/signature_key", "cannot be changed; create another endpoint with this kind of key");
    }
    if draft.document.channel != channel {
        mistakes.retain(|error| error.pointer != "/channel");
        mistakes.add("/channel", "cannot be changed; create another endpoint with this channel");
    }
    mistakes.append(found);
    mistakes.finish()?;
    if touched.contains(&"url") {
        rules.normalize_url(&mut draft.document);
    }
    Ok(())
}
