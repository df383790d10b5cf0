//! A tenant with at least one object of each kind, so that each form is on one of its pages, and the counts that show what forms did.

use std::time::Duration;

use bytes::Bytes;
use postrider_broker::Queue;
use postrider_model::delivery::{DeliveryStatus, Lane};
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_store::lines::LineChanges;
use postrider_wire::messages::{AcceptedEvent, Enqueued, Line, RunReport};
use postrider_wire::testing;
use serde_json::{Value, json};

use super::html::Document;
use crate::dead_letters::record;
use crate::erasures::counted;
use crate::harness::{OPERATOR, Tenant, World};
use crate::pages::{get, send_form, sign_in};
use crate::recorded::recorded;
use crate::understand::recorded_test;

/// Who looks at a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visitor {
    Customer,
    Operator,
}

/// A tenant with its objects.
pub(super) struct Site {
    tenant: Tenant,
    /// The ids of the objects, in the same order for each site of a profile.
    ids: Vec<String>,
}

impl Site {
    /// Creates a tenant with this profile and its objects. Dead letters of other sites are discarded.
    pub(super) async fn new(world: &World, profile: &str) -> Self {
        let all = json!({"filter": {}});
        world.post(OPERATOR, "/v1/dead-letters/discard", all).await.ok(200);
        record(world, ["one", "two"].map(|reason| ("postrider.fanout", reason.to_owned()))).await;
        let tenant = world.tenant(profile).await;
        let endpoint = world.endpoint(&tenant).await;
        let mut ids = vec![tenant.id.clone(), id(&endpoint)];
        for status in [
            DeliveryStatus::Failed,
            DeliveryStatus::Pending,
            DeliveryStatus::Pending,
            DeliveryStatus::Pending,
            DeliveryStatus::Pending,
            DeliveryStatus::Delivered,
        ] {
            let (event, delivery) = recorded(world, &tenant, &endpoint, status).await;
            ids.extend([event.to_string(), delivery.to_string()]);
        }
        ids.push(recorded_test(world, &tenant, &endpoint, r#"{"n": 7}"#).await.to_string());
        ids.extend(Box::pin(more_endpoints(world, &tenant, profile)).await);
        ids.extend(Box::pin(held_key(world, &tenant)).await);
        for paused in [false, true] {
            let what = if paused { json!({"event_types": ["user.created"]}) } else { json!({"only_failed": true}) };
            let made = world.post(&tenant.key, "/v1/replays", what).await.ok(202);
            ids.push(id(&made));
            if paused {
                let path = format!("/v1/replays/{}/pause", id(&made));
                world.post(&tenant.key, &path, json!({})).await.ok(202);
            }
        }
        ids.push(counted(world, &tenant, "typed value").await);
        let waiting = world.post(&tenant.key, "/v1/erasures", json!({"value": "another value"})).await.ok(202);
        ids.push(id(&waiting));
        let event_type = json!({"description": "Own", "sample": {}});
        world.call(&tenant.key, "PUT", "/v1/event-types/own.type", Some(&event_type)).await.ok(201);
        ids.push(saved_view(world, &tenant).await);
        for list in [format!("/v1/tenants/{}/keys", tenant.id), "/v1/dead-letters?state=open".to_owned()] {
            let listed = world.get(OPERATOR, &list).await.ok(200);
            ids.extend(listed["data"].as_array().unwrap().iter().map(id));
        }
        Self { tenant, ids }
    }

    /// Signs in and returns the cookie.
    pub(super) async fn sign_in(&self, world: &World, visitor: Visitor) -> String {
        sign_in(world, self.key(visitor)).await
    }

    pub(super) fn key(&self, visitor: Visitor) -> &str {
        match visitor {
            Visitor::Customer => &self.tenant.key,
            Visitor::Operator => OPERATOR,
        }
    }

    pub(super) fn tenant(&self) -> &str {
        &self.tenant.id
    }

    /// An address with `{0}`, `{1}` and so on in place of the site's ids.
    pub(super) fn template(&self, address: &str) -> String {
        let ids = self.ids.iter().enumerate();
        // Ids of dead letters are short numbers, which may be a part of another id.
        let named = |text: String, (n, id): (usize, &String)| match id.contains('_') {
            true => text.replace(id, &format!("{{{n}}}")),
            false => text.replace(&format!("/{id}"), &format!("/{{{n}}}")),
        };
        ids.fold(address.to_owned(), named)
    }

    /// The address that `template` stands for on this site.
    pub(super) fn address(&self, template: &str) -> String {
        let ids = self.ids.iter().enumerate();
        ids.fold(template.to_owned(), |text, (n, id)| text.replace(&format!("{{{n}}}"), id))
    }
}

fn id(object: &Value) -> String {
    object["id"].as_str().expect("an id").to_owned()
}

/// A saved view of the failed deliveries. Returns its id.
async fn saved_view(world: &World, tenant: &Tenant) -> String {
    let cookie = sign_in(world, &tenant.key).await;
    let new = format!("/dashboard/{}/views/new", tenant.id);
    let csrf = get(world, &cookie, &format!("{new}?list=deliveries&query=status%3Dfailed")).await.csrf();
    let form = [("csrf", csrf.as_str()), ("list", "deliveries"), ("query", "status=failed"), ("name", "Failures")];
    let saved = send_form(world, &cookie, &new, &form).await;
    let list = get(world, &cookie, saved.header("location")).await.text;
    let address =
        Document::read(&list).links.into_iter().find(|link| link.contains("/views/")).expect("a link to edit it");
    address.rsplit('/').next().expect("an id").to_owned()
}

/// A disabled endpoint, a paused one, and an endpoint for Pushover if the profile has that channel. The first two have no deliveries,
/// because a delivery to them cannot be sent again.
async fn more_endpoints(world: &World, tenant: &Tenant, profile: &str) -> Vec<String> {
    let disabled = world.endpoint(tenant).await;
    world.store.config().stop_endpoint(id(&disabled).parse().unwrap(), "it answered 410").await.unwrap();
    let paused =
        json!({"name": "paused", "url": "https://example.com/paused", "event_types": ["*"], "status": "paused"});
    let paused = world.post(&tenant.key, "/v1/endpoints", paused).await.ok(201);
    let mut ids = vec![id(&disabled), id(&paused)];
    if profile == "mumara" {
        let pushover = json!({"user_key": "u".repeat(30), "api_token": "a".repeat(30), "sound": "Pushover"});
        let phone = json!({"name": "phone", "channel": "pushover", "pushover": pushover, "event_types": ["*"]});
        ids.push(id(&world.post(&tenant.key, "/v1/endpoints", phone).await.ok(201)));
    }
    ids
}

/// An ordered endpoint with a failed delivery that holds its key. Returns the ids of the endpoint, the event and the delivery.
pub(crate) async fn held_key(world: &World, tenant: &Tenant) -> [String; 3] {
    let ordered = json!({"name": "ordered", "url": "https://example.com/ordered", "event_types": ["*"],
        "ordering": {"on_exhausted": "hold"}});
    let ordered = world.post(&tenant.key, "/v1/endpoints", ordered).await.ok(201);
    let (event, delivery) = recorded(world, tenant, &ordered, DeliveryStatus::Failed).await;
    let endpoint: EndpointId = id(&ordered).parse().unwrap();
    let accepted = testing::accepted(tenant.id.parse().unwrap(), "user.created".parse().unwrap(), UnixMillis::now());
    let task = testing::first_task(&AcceptedEvent { id: event.clone(), ..accepted }, endpoint);
    assert_eq!(task.delivery.id, delivery);
    let line = Line { endpoint, key: format!("key of {endpoint}") };
    let enqueued = Enqueued { key: line.key.clone(), generation: 0, task: Box::new(task) };
    let lines = world.store.lines();
    let new = LineChanges { enqueued: vec![(enqueued, Bytes::new())], ..LineChanges::default() };
    let released = lines.advance(endpoint.0, &new).await.unwrap();
    let run = released.iter().find(|run| run.line == line).expect("a run").run;
    let failed = RunReport { line, run, ended: Vec::new(), waits: None, holds: Some(delivery) };
    let failed = LineChanges { reports: vec![failed], ..LineChanges::default() };
    lines.advance(endpoint.0, &failed).await.unwrap();
    [id(&ordered), event.to_string(), delivery.to_string()]
}

/// What has happened: each number grows with each thing that a form does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effects {
    /// Entries of the audit log, whose ids ascend.
    audit: i64,
    deliveries: i64,
    /// The number of pending deliveries, negated.
    not_pending: i64,
    replays: i64,
    /// Messages that were published to services.
    messages: i64,
    /// Dead letters that are no longer open.
    letters: i64,
    tests: i64,
}

impl Effects {
    pub(super) async fn so_far(world: &World, site: &Site, tests: i64) -> Self {
        // A form may delete the tenant's key.
        let of_tenant = async |path: &str| count(world, &format!("{path}limit=200&tenant={}", site.tenant.id)).await;
        let newest = world.get(OPERATOR, "/v1/audit-log?limit=1").await.ok(200);
        let audit = newest["data"][0]["id"].as_str().unwrap_or("0").parse().expect("a number");
        let mut messages = 0;
        let queues = [Queue::Fanout, Queue::Decisions, Queue::Outcomes, Queue::EventLog];
        for queue in Lane::ALL.into_iter().map(Queue::Lane).chain(queues) {
            messages += i64::from(world.broker.queue_depth(queue.name()).await.unwrap().messages);
        }
        Self {
            audit,
            deliveries: of_tenant("/v1/deliveries?").await,
            not_pending: -of_tenant("/v1/deliveries?status=pending&").await,
            replays: of_tenant("/v1/replays?").await,
            messages,
            letters: -count(world, "/v1/dead-letters?state=open&limit=200").await,
            tests,
        }
    }

    /// What has happened since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            audit: self.audit - before.audit,
            deliveries: self.deliveries - before.deliveries,
            not_pending: self.not_pending - before.not_pending,
            replays: self.replays - before.replays,
            messages: self.messages - before.messages,
            letters: self.letters - before.letters,
            tests: self.tests - before.tests,
        }
    }

    pub(super) const NONE: Self =
        Self { audit: 0, deliveries: 0, not_pending: 0, replays: 0, messages: 0, letters: 0, tests: 0 };
    /// The effects of a sign-in: its entry of the audit log.
    pub(super) const SIGN_IN: Self = Self { audit: 1, ..Self::NONE };
    /// If nothing changed for this time, everything has happened.
    pub(super) const SETTLED_AFTER: Duration = Duration::from_millis(100);
}

async fn count(world: &World, path: &str) -> i64 {
    let listed = world.get(OPERATOR, path).await.ok(200);
    i64::try_from(listed["data"].as_array().expect("a list").len()).expect("a small number")
}
