//! Operational events about failing and recovered endpoints. Each change is reported once.

use std::time::Duration;

use postrider_model::attempt::Outcome;
use postrider_model::delivery::DeliveryStatus::{Delivered, Pending};
use postrider_model::delivery::EndpointStatus;
use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
use postrider_store::config::{EndpointDraft, EndpointHealth, LastFailure, Outage};
use postrider_store::outbox::{OperationalEvent, OutboxEntry};
use postrider_wire::messages::OutcomeReport;

use crate::support::{Fixture, batch, event, new_endpoint, outcome};

impl Fixture {
    async fn record(&self, outcomes: &[OutcomeReport]) {
        self.store.record().write(&batch(vec![], vec![], outcomes.to_vec())).await.unwrap();
    }

    /// The operational events written since the previous call.
    async fn told(&self) -> Vec<OperationalEvent> {
        let entries = self.store.outbox_claim(100, Duration::ZERO).await.unwrap().into_iter();
        let events = entries.filter_map(|entry| if let OutboxEntry::Event(event) = entry { Some(event) } else { None });
        events.collect()
    }

    async fn told_types(&self) -> Vec<String> {
        self.told().await.into_iter().map(|event| event.event_type).collect()
    }
}

#[tokio::test]
async fn five_failures_and_the_next_success_are_reported_once_in_any_batches() {
    let fixture = Fixture::new("health").await;
    let tenant = fixture.tenant().await.id;
    let endpoint = fixture.store.config().create_endpoint(tenant, &new_endpoint("e")).await.unwrap().id;
    let event = event(tenant, UnixMillis::now());
    let failed = |number| outcome(&event, endpoint, number, Pending, Some(500));
    let delivered = |number| outcome(&event, endpoint, number, Delivered, Some(200));

    let (first, second) = ([failed(1), failed(2)], [failed(3), failed(4)]);
    fixture.record(&first).await;
    fixture.record(&second).await;
    // A success in between ends the series of failures, even within one batch.
    fixture.record(&[failed(5), delivered(6), failed(7)]).await;
    fixture.record(&[failed(8), failed(9), failed(10)]).await;
    assert_eq!(fixture.told_types().await, [""; 0]);

    let fifth = [failed(11)];
    fixture.record(&fifth).await;
    // Duplicates do not count as failures, even in a batch with new attempts.
    fixture.record(&fifth).await;
    fixture.record(&[fifth[0].clone(), failed(12)]).await;
    let [failing] = fixture.told().await.try_into().unwrap();
    let data: serde_json::Value = serde_json::from_slice(&failing.data).unwrap();
    let since = UnixMillis(event.accepted_at.0 + 7_000).to_rfc3339_millis();
    let expected = serde_json::json!({"tenant_id": tenant, "endpoint_id": endpoint, "name": "e", "failures": 5,
        "failing_since": since});
    assert_eq!((failing.event_type.as_str(), failing.about, data), ("endpoint.failing", tenant, expected));

    let success = [delivered(13)];
    fixture.record(&success).await;
    fixture.record(&success).await;
    let [recovered] = fixture.told().await.try_into().unwrap();
    let data: serde_json::Value = serde_json::from_slice(&recovered.data).unwrap();
    let at = UnixMillis(event.accepted_at.0 + 13_000).to_rfc3339_millis();
    let expected = serde_json::json!({"tenant_id": tenant, "endpoint_id": endpoint, "name": "e",
        "failing_since": since, "recovered_at": at});
    assert_eq!((recovered.event_type.as_str(), data), ("endpoint.recovered", expected));
    fixture.record(&(14..20).map(failed).collect::<Vec<_>>()).await;
    assert_eq!(fixture.told_types().await, ["endpoint.failing"]);
}

#[tokio::test]
async fn two_recorders_at_once_tell_it_once() {
    let fixture = Fixture::new("healthtwo").await;
    let tenant = fixture.tenant().await.id;
    let endpoint = fixture.store.config().create_endpoint(tenant, &new_endpoint("e")).await.unwrap().id;
    let event = event(tenant, UnixMillis::now());
    let reports: Vec<_> = (1..=12).map(|number| outcome(&event, endpoint, number, Pending, Some(500))).collect();
    let writes = reports.chunks(2).map(|pair| fixture.record(pair));
    futures::future::join_all(writes).await;
    assert_eq!(fixture.told_types().await, ["endpoint.failing"]);
}

#[tokio::test]
async fn the_operators_own_endpoints_and_those_that_are_gone_tell_nothing() {
    let fixture = Fixture::new("healthown").await;
    let own = fixture.store.config().create_endpoint(TenantId::OPERATOR, &new_endpoint("own")).await.unwrap().id;
    let tenant = fixture.tenant().await.id;
    let gone = fixture.store.config().create_endpoint(tenant, &new_endpoint("gone")).await.unwrap().id;
    fixture.store.config().delete_endpoint(None, gone, None).await.unwrap();
    for (tenant, endpoint) in [(TenantId::OPERATOR, own), (tenant, gone)] {
        let event = event(tenant, UnixMillis::now());
        let reports: Vec<_> = (1..=6).map(|number| outcome(&event, endpoint, number, Pending, None)).collect();
        fixture.record(&reports).await;
    }
    assert_eq!(fixture.told_types().await, [""; 0]);
}

#[tokio::test]
async fn days_of_failures_count_only_for_active_endpoints_without_success() {
    let fixture = Fixture::new("healthlong").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let endpoint = store.config().create_endpoint(tenant, &new_endpoint("e")).await.unwrap().id;
    let event = event(tenant, UnixMillis::now());
    let failed = |numbers: std::ops::Range<u16>| {
        numbers.map(|number| outcome(&event, endpoint, number, Pending, Some(500))).collect::<Vec<_>>()
    };
    let long = async || {
        store.record().long_failing_endpoints().await.unwrap().into_iter().map(|long| long.endpoint).collect::<Vec<_>>()
    };
    fixture.record(&failed(1..6)).await;
    assert_eq!(long().await, []);
    fixture
        .sql()
        .await
        .execute("UPDATE endpoint_health SET failing_since = now() - interval '25 h'", &[])
        .await
        .unwrap();
    assert_eq!(long().await, [endpoint]);

    // The endpoint was disabled and activated again. It still fails, but its days of failures are counted from the beginning.
    assert!(store.config().stop_endpoint(endpoint, "why").await.unwrap().is_some());
    assert_eq!(long().await, []);
    let on = |draft: &mut postrider_store::config::EndpointDraft| {
        draft.status = postrider_model::delivery::EndpointStatus::Active;
        Ok::<_, ()>(())
    };
    store.config().edit_endpoint(None, endpoint, None, on).await.unwrap();
    fixture.record(&failed(6..8)).await;
    assert_eq!(long().await, []);
    assert_eq!(fixture.told_types().await, ["endpoint.failing", "endpoint.disabled"]);
}

#[tokio::test]
async fn the_last_failure_and_the_last_outage_are_kept_with_their_times_and_their_cause() {
    let fixture = Fixture::new("healthcause").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let endpoint = store.config().create_endpoint(tenant, &new_endpoint("e")).await.unwrap().id;
    let event = event(tenant, UnixMillis::now());
    let at = |number: i64| UnixMillis(event.accepted_at.0 + number * 1_000);
    let health = async || {
        let mut found = store.config().endpoints_health(&[endpoint]).await.unwrap();
        found.pop().expect("the endpoint").1
    };
    assert_eq!(health().await, EndpointHealth::default());
    fixture.record(&[outcome(&event, endpoint, 0, Delivered, Some(200))]).await;
    assert_eq!(health().await, EndpointHealth { attempted: true, ..EndpointHealth::default() });

    let failed = |number, code| {
        let mut failed = outcome(&event, endpoint, number, Pending, code);
        let attempt = failed.attempt.as_mut().unwrap();
        attempt.outcome = if code.is_some() { Outcome::HttpStatus } else { Outcome::Timeout };
        attempt.error = code.is_none().then(|| "no answer".to_owned());
        failed
    };
    fixture.record(&[failed(1, Some(503)), failed(2, None)]).await;
    let found = health().await;
    assert_eq!((found.failures, found.failing, found.first_failure_at), (2, false, Some(at(1))));
    let last = LastFailure { at: at(2), outcome: Outcome::Timeout, status_code: None, error: Some("no answer".into()) };
    assert_eq!(found.last_failure, Some(last));
    // An older failure that is recorded later changes neither the cause nor the time.
    fixture.record(&[failed(3, Some(500)), failed(4, Some(500)), failed(6, Some(502))]).await;
    fixture.record(&[failed(5, Some(404))]).await;
    let found = health().await;
    assert_eq!((found.failures, found.failing, found.failed), (6, true, None));
    assert_eq!(found.last_failure.map(|last| (last.at, last.status_code)), Some((at(6), Some(502))));

    fixture.record(&[outcome(&event, endpoint, 7, Delivered, Some(200))]).await;
    let found = health().await;
    assert_eq!((found.failures, found.failing), (0, false));
    assert_eq!(found.failed, Some(Outage { from: at(1), until: Some(at(7)) }));
    // A short series of failures is not an outage, so the previous outage is still returned.
    fixture.record(&[failed(8, Some(500))]).await;
    let found = health().await;
    assert_eq!((found.first_failure_at, found.failed.map(|outage| outage.from)), (Some(at(8)), Some(at(1))));
    // The endpoint recovered and fails again: the earlier outage is remembered.
    fixture.record(&[9, 10, 11, 12].map(|number| failed(number, Some(500)))).await;
    fixture.record(&[outcome(&event, endpoint, 13, Delivered, Some(200))]).await;
    let found = health().await;
    assert_eq!(found.failed, Some(Outage { from: at(8), until: Some(at(13)) }));
    assert_eq!(found.failed_first, Some(at(1)));
}

#[tokio::test]
async fn the_time_in_which_an_endpoint_was_off_follows_from_its_versions() {
    let fixture = Fixture::new("healthoff").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let mut off_at_first = new_endpoint("e");
    off_at_first.draft.status = EndpointStatus::Inactive;
    let endpoint = store.config().create_endpoint(tenant, &off_at_first).await.unwrap().id;
    let off = async || store.config().endpoints_health(&[endpoint]).await.unwrap().pop().expect("the endpoint").1.off;
    let switch = async |status| {
        let edit = move |draft: &mut EndpointDraft| {
            draft.status = status;
            Ok::<_, ()>(())
        };
        store.config().edit_endpoint(None, endpoint, None, edit).await.unwrap().updated_at
    };
    assert_eq!(off().await, None, "it was never on");
    switch(EndpointStatus::Active).await;
    assert_eq!(off().await, None);
    let from = switch(EndpointStatus::Inactive).await;
    assert_eq!(off().await, Some(Outage { from, until: None }));
    let until = Some(switch(EndpointStatus::Active).await);
    assert_eq!(off().await, Some(Outage { from, until }));
}
