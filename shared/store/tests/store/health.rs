//! Operational events about failing and recovered endpoints, each reported once.

use std::time::Duration;

use postrider_model::delivery::DeliveryStatus::{Delivered, Pending};
use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
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

    // The endpoint was disabled and activated again. It still fails, but its days of failures start again.
    assert!(store.config().disable_endpoint(endpoint, "why").await.unwrap());
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
