//! What the pages of a delivery and of an event show, and in which order.

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use postrider_model::delivery::{DeliveryStatus, EndpointStatus};
use postrider_model::ids::{DeliveryId, EndpointId, Generation, RetryId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::config::{EndpointDocument, EndpointDraft, EndpointPrivate, NewEndpoint};
use postrider_store::record::RecordBatch;
use postrider_wire::messages::OutcomeReport;
use postrider_wire::testing;
use serde_json::{Value, json};

use crate::harness::{OPERATOR, Tenant, World};
use crate::pages::{get, post, sign_in};

const DATA: &[u8] = br#"{"name": "it's <b>", "price": 1.50, "tags": ["a", "b"]}"#;

/// Records an event and one attempt, which `edit` changes first. Returns the ids of the event and of the delivery.
async fn attempted(
    world: &World,
    tenant: &Tenant,
    endpoint: &Value,
    edit: impl FnOnce(&mut OutcomeReport),
) -> (String, String) {
    let of: TenantId = tenant.id.parse().unwrap();
    let id: EndpointId = endpoint["id"].as_str().unwrap().parse().unwrap();
    let now = UnixMillis::now();
    let event = testing::accepted(of, "user.created".parse().unwrap(), now);
    let decision = testing::decision(&event, vec![id], endpoint["version"].as_i64().unwrap());
    let mut outcome = testing::attempted(&event, id, 1, now, DeliveryStatus::Pending, Some(503));
    edit(&mut outcome);
    let ids = (event.id.to_string(), outcome.delivery.id.to_string());
    let rows = RecordBatch {
        events: vec![(event, Bytes::from_static(DATA))],
        decisions: vec![decision],
        outcomes: vec![(outcome, Bytes::from_static(b"<i>busy</i>"))],
        dead_letters: Vec::new(),
        numbers: Vec::new(),
    };
    world.store.record().write(&rows).await.unwrap();
    ids
}

/// Records a delivery of a test call, with data that its caller entered.
pub(crate) async fn recorded_test(world: &World, tenant: &Tenant, endpoint: &Value, data: &str) -> DeliveryId {
    let tenant: TenantId = tenant.id.parse().unwrap();
    let endpoint: EndpointId = endpoint["id"].as_str().unwrap().parse().unwrap();
    let now = UnixMillis::now();
    let event = testing::accepted(tenant, "user.created".parse().unwrap(), now);
    let mut outcome = testing::attempted(&event, endpoint, 1, now, DeliveryStatus::Delivered, Some(200));
    outcome.delivery.generation = Generation::Test(RetryId::generate());
    let id = outcome.delivery.id;
    world.store.history().keep_test_data(tenant, id, now, data).await.unwrap();
    let rows = RecordBatch { outcomes: vec![(outcome, Bytes::from_static(b"ok"))], ..RecordBatch::default() };
    world.store.record().write(&rows).await.unwrap();
    id
}

/// Asserts that the texts appear in this order.
#[track_caller]
fn in_order(page: &str, texts: &[&str]) {
    let mut rest = page;
    for text in texts {
        rest = rest.split_once(text).unwrap_or_else(|| panic!("no {text:?} after the others in\n{page}")).1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_opens_with_its_cause_then_its_body_then_its_attempts() {
    let world = crate::world("dash_cause").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    let asked = |outcome: &mut OutcomeReport| {
        let attempt = outcome.attempt.as_mut().unwrap();
        attempt.response_headers = [("retry-after", "600")].into();
        outcome.next_attempt_at = Some(UnixMillis(attempt.started_at.0 + 600_005));
        attempt.request_headers =
            [("content-type", "application/json"), ("webhook-signature", "v1,c2ln"), ("x-own", "***")].into();
    };
    let (event, delivery) = attempted(&world, &tenant, &endpoint, asked).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let path = format!("/dashboard/{}/deliveries/{delivery}", tenant.id);
    let page = get(&world, &cookie, &path).await;
    assert_eq!(page.status, StatusCode::OK);
    in_order(
        &page.text,
        &[
            "<title>Delivery of user.created to hook",
            "The endpoint answered 503 Service Unavailable",
            "&lt;i&gt;busy",
            "Next attempt:",
            "because the endpoint asked for this wait (Retry-After)",
            "why it was sent",
            "Request body",
            "1.50",
            "Attempts",
            "Attempt 1",
        ],
    );
    assert!(page.text.contains(&format!("/events/{event}#why")));
    assert!(!page.text.contains("<i>busy") && !page.text.contains("it's <b>"));
    let raw = get(&world, &cookie, &format!("{path}?view=raw")).await.text;
    let body = get(&world, &cookie, &format!("{path}/body")).await;
    assert_eq!(body.header("content-type"), "text/plain; charset=utf-8");
    assert!(body.text.contains(r#""price": 1.50"#), "{}", body.text);
    assert!(raw.contains("&quot;price&quot;: 1.50") && !raw.contains("json-tree"));

    let curl = get(&world, &cookie, &format!("{path}/curl")).await;
    assert_eq!(curl.header("content-type"), "text/plain; charset=utf-8");
    assert!(curl.text.contains("--header 'webhook-signature: v1,c2ln'") && curl.text.contains("--header 'x-own: ***'"));
    assert!(curl.text.contains(r"it'\''s <b>"), "{}", curl.text);
    assert!(curl.text.starts_with("curl --globoff --request POST 'https://example.com/hook'"), "{}", curl.text);
    assert!(page.text.contains("In the command, *** stands for a secret value"), "{}", page.text);
    let unknown = get(&world, &cookie, &format!("{path}/curl?attempt=snd_1")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let api = world.get(&tenant.key, &format!("/v1/deliveries/{delivery}")).await.ok(200);
    assert_eq!(api["attempts"][0]["next_attempt_reason"], json!("retry_after"));
    assert_eq!(api["outcome"], json!("http_status"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_by_the_schedule_and_an_end_without_retry_are_told_as_such() {
    let world = crate::world("dash_next").await;
    let tenant = world.tenant("migomail").await;
    let body = json!({"name": "hook", "url": "https://example.com/hook", "event_types": ["email.opened"]});
    let endpoint = world.post(&tenant.key, "/v1/endpoints", body).await.ok(201);
    let cookie = sign_in(&world, &tenant.key).await;
    let page = async |edit: &dyn Fn(&mut OutcomeReport)| {
        let (_, delivery) = attempted(&world, &tenant, &endpoint, edit).await;
        get(&world, &cookie, &format!("/dashboard/{}/deliveries/{delivery}", tenant.id)).await.text
    };
    let waiting = page(&|outcome| outcome.next_attempt_at = Some(outcome.at.plus(Duration::from_secs(60)))).await;
    assert!(waiting.contains(", by the retry schedule."), "{waiting}");
    let timed_out = |outcome: &mut OutcomeReport| {
        let attempt = outcome.attempt.as_mut().unwrap();
        (attempt.status_code, attempt.outcome) = (None, postrider_model::attempt::Outcome::Timeout);
        (outcome.status, outcome.next_attempt_at) = (DeliveryStatus::Failed, None);
    };
    let failed = page(&timed_out).await;
    in_order(&failed, &["Failed after 1 attempt.", "No answer arrived in time.", "There is no further attempt."]);
    let list = get(&world, &cookie, &format!("/dashboard/{}/deliveries?outcome=timeout", tenant.id)).await.text;
    in_order(&list, &["title=\"no answer in time\"", ">timeout<"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_an_event_stays_small_with_a_thousand_webhooks() {
    let world = crate::world("dash_thousand").await;
    let request = json!({"name": "Big", "profile": "standard", "limits": {"endpoints": 1_000}});
    let made = world.post(OPERATOR, "/v1/tenants", request).await.ok(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let tenant = Tenant { key: world.key(&id, &["read", "manage"]).await, id };
    let hook = |types: &str, filters: Value| json!({"name": "hook", "url": "https://example.com/", "event_types": [types], "filters": filters});
    let fired = world.post(&tenant.key, "/v1/endpoints", hook("user.*", json!({}))).await.ok(201);
    for bridge in ["b1", "b2"] {
        let filtered = hook("user.created", json!({"bridge": [bridge]}));
        world.post(&tenant.key, "/v1/endpoints", filtered).await.ok(201);
    }
    let other = |number: usize| NewEndpoint {
        draft: EndpointDraft {
            document: EndpointDocument {
                name: format!("other {number}"),
                url: Some("https://example.com/a/rather/long/path/of/a/webhook".into()),
                event_types: vec!["order.*".into()],
                ..EndpointDocument::default()
            },
            status: EndpointStatus::Active,
            private: EndpointPrivate::default(),
        },
        secret: "whsec_c2VjcmV0".into(),
    };
    let mut last = fired.clone();
    for number in 0..997 {
        let made = world.store.config().create_endpoint(tenant.id.parse().unwrap(), &other(number)).await.unwrap();
        last["version"] = json!(made.version);
    }
    let (event, _) = attempted(&world, &tenant, &last, |_| {}).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let path = format!("/dashboard/{}/events/{event}", tenant.id);
    let page = get(&world, &cookie, &path).await.text;
    in_order(&page, &["Payload", "1.50", "1 fired, 2 filtered out, 997 not subscribed.", "Deliveries"]);
    assert!(page.len() < 300 * 1_024, "{} bytes", page.len());
    let groups = |open: &str| page.matches(&format!("<details class=\"why-group\"{open}>")).count();
    assert_eq!((groups(" open"), groups("")), (1, 2), "only what was filtered out is open");
    let list = get(&world, &cookie, &format!("{path}?why=unsubscribed&skip=50")).await.text;
    assert!(list.len() < 300 * 1_024 && list.contains("rel=\"next\""), "{} bytes", list.len());
    let found = get(&world, &cookie, &format!("/dashboard/{}/find?q=rather/long", tenant.id)).await.text;
    assert_eq!(found.matches("<li><span class=\"tag\">Webhook").count(), 50);
    assert!(found.len() < 100 * 1_024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_says_what_changed_since_the_one_before_it() {
    let world = crate::world("dash_changes").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    let mut first = None;
    let (_, delivery) = attempted(&world, &tenant, &endpoint, |outcome| {
        outcome.attempt.as_mut().unwrap().response_headers = [("server", "old"), ("date", "1")].into();
        first = Some(outcome.clone());
    })
    .await;
    let mut second = first.unwrap();
    second.status = DeliveryStatus::Delivered;
    let attempt = second.attempt.as_mut().unwrap();
    (attempt.number, attempt.send_id) = (2, postrider_model::ids::SendId::generate());
    (attempt.status_code, attempt.outcome) = (Some(200), postrider_model::attempt::Outcome::Success);
    attempt.request_headers = [("webhook-signature", "v1,bmV3"), ("x-own", "<b>")].into();
    attempt.response_headers = [("server", "new"), ("date", "2")].into();
    let rows = RecordBatch { outcomes: vec![(second, Bytes::from_static(b"<i>fine</i>"))], ..RecordBatch::default() };
    world.store.record().write(&rows).await.unwrap();
    let cookie = sign_in(&world, &tenant.key).await;
    let page = get(&world, &cookie, &format!("/dashboard/{}/deliveries/{delivery}", tenant.id)).await.text;
    in_order(
        &page,
        &[
            "Attempt 2",
            "Changed since attempt 1",
            "<del>503 Service Unavailable</del> → <ins>200 OK</ins>",
            "Request header x-own",
            "→ <ins>&lt;b&gt;</ins>",
            "Response header server",
            "<del>old</del> → <ins>new</ins>",
            "<del>&lt;i&gt;busy&lt;/i&gt;</del><ins>&lt;i&gt;fine&lt;/i&gt;</ins>",
            "Attempt 1",
        ],
    );
    assert_eq!(page.matches("Changed since attempt").count(), 1, "the first attempt has none before it: {page}");
    for of_each in ["header webhook-signature", "header date"] {
        assert!(!page.contains(of_each), "{of_each} differs with each attempt: {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cause_of_a_failing_webhook_stands_once_on_the_page_of_its_delivery() {
    let world = crate::world("dash_once").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    let mut delivery = String::new();
    for _ in 0..5 {
        delivery = attempted(&world, &tenant, &endpoint, |_| {}).await.1;
    }
    let cookie = sign_in(&world, &tenant.key).await;
    let page = get(&world, &cookie, &format!("/dashboard/{}/deliveries/{delivery}", tenant.id)).await.text;
    assert!(page.contains("5 failed attempts in a row"), "{page}");
    let cause = page.split_once("Request body").unwrap().0;
    assert_eq!(cause.matches("503 Service Unavailable").count(), 1, "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_that_was_entered_for_a_test_can_be_expunged() {
    let world = crate::world("dash_test_data").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    let id = recorded_test(&world, &tenant, &endpoint, r#"{"secret": "of Ann"}"#).await;
    let (_, other) = attempted(&world, &tenant, &endpoint, |_| {}).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let at = |id: &str| format!("/dashboard/{}/deliveries/{id}", tenant.id);
    let page = get(&world, &cookie, &at(&id.to_string())).await.text;
    assert!(page.contains("of Ann") && page.contains("/expunge\">Expunge the data</a>"), "{page}");
    assert!(!get(&world, &cookie, &at(&other)).await.text.contains("/expunge"), "only tests have it");
    let expunge = |id: &str| format!("{}/expunge", at(id));
    assert_eq!(get(&world, &cookie, &expunge(&other)).await.status, StatusCode::NOT_FOUND);
    let asked = get(&world, &cookie, &expunge(&id.to_string())).await;
    assert!(asked.text.contains("Expunge the data of this test?"), "{}", asked.text);
    let done = post(&world, &cookie, &expunge(&id.to_string()), &[("csrf", &asked.csrf())]).await;
    let page = get(&world, &cookie, done.header("location")).await.text;
    assert!(page.contains("The payload was expunged.") && !page.contains("of Ann"), "{page}");
    assert!(!page.contains("Expunge the data"), "{page}");
}
