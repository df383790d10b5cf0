//! Values of attributes are counted, limited and deleted.

use bytes::Bytes;
use postrider_model::ids::TenantId;
use postrider_model::limits::{ATTRIBUTE_VALUES_DAYS, ATTRIBUTE_VALUES_MAX, ATTRIBUTE_VALUES_PER_TENANT_MAX};
use postrider_model::time::UnixMillis;
use postrider_store::attributes::AttributeTally;
use postrider_wire::messages::AcceptedEvent;

use crate::support::{Fixture, LOCK_TIMEOUT, event};

/// An event with these attributes, accepted `days_ago` days ago.
fn with(tenant: TenantId, days_ago: i32, pairs: &[(&str, &str)]) -> (AcceptedEvent, Bytes) {
    let at = UnixMillis(UnixMillis::now().0 - i64::from(days_ago) * 86_400_000);
    let mut event = event(tenant, at);
    for (name, value) in pairs {
        event.attributes.0.insert((*name).into(), (*value).into());
    }
    (event, Bytes::new())
}

async fn values(fixture: &Fixture, tenant: TenantId, name: &str) -> Vec<(String, u64)> {
    let today = UnixMillis::now().day();
    let values = fixture.store.history().attribute_values(tenant, name, today, 100_000).await.unwrap();
    values.into_iter().map(|seen| (seen.value, seen.events)).collect()
}

#[tokio::test]
async fn values_add_up_over_writes_and_days_the_most_frequent_first() {
    let fixture = Fixture::new("attributes").await;
    let (tenant, other) = (TenantId::generate(), TenantId::generate());
    let first = [
        with(tenant, 0, &[("bridge", "b1"), ("sending_domain", "a.example")]),
        with(tenant, 0, &[("bridge", "b2")]),
        with(tenant, 1, &[("bridge", "b2")]),
        with(tenant, ATTRIBUTE_VALUES_DAYS, &[("bridge", "long ago")]),
        with(other, 0, &[("bridge", "b3")]),
    ];
    fixture.store.record().add_attribute_values(&AttributeTally::of(&first)).await.unwrap();
    let again = [with(tenant, 0, &[("bridge", "b2")])];
    fixture.store.record().add_attribute_values(&AttributeTally::of(&again)).await.unwrap();
    let owned = |value: &str, events| (value.to_owned(), events);
    assert_eq!(values(&fixture, tenant, "bridge").await, [owned("b2", 3), owned("b1", 1)]);
    assert_eq!(values(&fixture, tenant, "sending_domain").await, [owned("a.example", 1)]);
    assert_eq!(values(&fixture, other, "bridge").await, [owned("b3", 1)]);

    assert_eq!(fixture.number("SELECT count(*) FROM attribute_values WHERE value = 'long ago'").await, 1);
    fixture.store.record().drop_partitions(UnixMillis::now().day(), 30, LOCK_TIMEOUT).await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM attribute_values WHERE value = 'long ago'").await, 0);
}

#[tokio::test]
async fn a_flood_of_values_is_cut_off_and_known_ones_keep_counting() {
    let fixture = Fixture::new("attributeflood").await;
    let tenant = TenantId::generate();
    let flood = |name: &str, count: u32| -> Vec<_> {
        (0..count).map(|n| with(tenant, 0, &[(name, &format!("{name}-{n}"))])).collect()
    };
    let add = async |events: &[(AcceptedEvent, Bytes)]| {
        fixture.store.record().add_attribute_values(&AttributeTally::of(events)).await.unwrap();
    };
    add(&[with(tenant, 0, &[("bridge", "b1")])]).await;
    let mut events = flood("bridge", ATTRIBUTE_VALUES_MAX + 500);
    events.push(with(tenant, 0, &[("bridge", "b1")]));
    add(&events).await;
    add(&flood("bridge", ATTRIBUTE_VALUES_MAX + 1_000)).await;
    let kept = values(&fixture, tenant, "bridge").await;
    assert_eq!(kept.len(), ATTRIBUTE_VALUES_MAX as usize);
    assert!(kept.contains(&("b1".to_owned(), 2)), "it was there before the flood");

    for number in 0..=ATTRIBUTE_VALUES_PER_TENANT_MAX / ATTRIBUTE_VALUES_MAX {
        add(&flood(&format!("a{number}"), ATTRIBUTE_VALUES_MAX)).await;
    }
    let rows = fixture.number("SELECT count(*) FROM attribute_values").await;
    assert_eq!(rows, i64::from(ATTRIBUTE_VALUES_PER_TENANT_MAX));
}
