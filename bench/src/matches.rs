//! Measures the time that fan-out's index needs to match one event, in a process without the rest of fan-out.

use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use postrider_fanout::bench_matcher::Matcher;
use postrider_model::delivery::BodyKind;
use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::payload_filter::Payload;
use postrider_profiles::Profiles;
use postrider_store::feed::{Changes, EndpointSubscription, FeedTenant};

use crate::console::say;
use crate::ledger::Latency;

/// Number of endpoints of each small tenant.
pub(crate) const SMALL_TENANT: u32 = 100;
/// Number of event types that the endpoints of small tenants select. Each endpoint selects one type.
pub(crate) const TYPES: u32 = 20;
/// The event type that all endpoints of the large tenant select.
pub(crate) const LARGE_TENANTS_TYPE: &str = "bench.match";

/// Returns the number of endpoints of the large tenant.
pub(crate) fn large_tenant(subscriptions: u32) -> u32 {
    subscriptions / 10
}

/// Options of `match`.
#[derive(Debug, clap::Args)]
pub(crate) struct MatchArgs {
    /// Number of active endpoints, a multiple of 1,000.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    subscriptions: u32,
    /// Number of events to match, one at a time.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,
}

/// Builds the index, measures matches, and prints their [`Latency`] as JSON.
pub(crate) fn run(args: &MatchArgs) -> anyhow::Result<()> {
    ensure!(
        args.subscriptions.is_multiple_of(1_000),
        "subscriptions must be whole thousands, so that every tenant has all its endpoints"
    );
    let tenants: Vec<TenantId> = (0..=tenants(args.subscriptions)).map(|_| TenantId::generate()).collect();
    let mut matcher = Matcher::new(Arc::new(Profiles::builtin()));
    let configuration = configuration(&tenants, args.subscriptions);
    matcher.apply(configuration);

    let mut took = Vec::new();
    for number in 0..args.events {
        let (tenant, event_type, attributes) = event(number, &tenants, args.subscriptions)?;
        let payload = Payload { data: b"{}", metadata: None, attributes: &attributes };
        let began = Instant::now();
        let found = matcher.matching(tenant, &event_type, &payload);
        took.push(began.elapsed().as_nanos() as u64);
        ensure!((1..=SMALL_TENANT as usize).contains(&found), "an event matched {found} endpoints");
    }
    say(&serde_json::to_string(&Latency::of(&mut took))?);
    Ok(())
}

/// Returns the number of small tenants.
pub(crate) fn tenants(subscriptions: u32) -> u32 {
    (subscriptions - large_tenant(subscriptions)).div_ceil(SMALL_TENANT)
}

/// Returns a configuration in which the first tenant is the large tenant. In a small tenant, five endpoints select each type.
fn configuration(tenants: &[TenantId], subscriptions: u32) -> Changes {
    let large = large_tenant(subscriptions);
    let of_large = (0..large)
        .map(|number| subscription(tenants[0], LARGE_TENANTS_TYPE.into(), Some(format!("d{number}.example.com"))));
    let others = (0..subscriptions - large).map(|number| {
        subscription(tenants[1 + (number / SMALL_TENANT) as usize], format!("bench.t{}", number % TYPES), None)
    });
    Changes {
        version: 1,
        snapshot: true,
        tenants: tenants.iter().map(|id| tenant(*id)).collect(),
        subscriptions: of_large.chain(others).collect(),
        ..Changes::default()
    }
}

fn tenant(id: TenantId) -> FeedTenant {
    FeedTenant {
        id,
        profile: "standard".into(),
        external_id: None,
        limits: Default::default(),
        enforce_catalog: false,
        enforce_schemas: false,
        disable_after_days: None,
        ordered: false,
        version: 1,
    }
}

fn subscription(tenant: TenantId, event_type: String, domain: Option<String>) -> EndpointSubscription {
    EndpointSubscription {
        endpoint: EndpointId::generate(),
        tenant,
        event_types: [event_type].into(),
        filters: domain.map(|domain| ("sending_domain".to_owned(), [domain].into())).into_iter().collect(),
        payload_filter: None,
        body_kind: BodyKind::Json,
        paused: false,
        ordering: None,
        version: 1,
    }
}

/// Returns an event and its tenant. Events with even numbers belong to the large tenant. The other choices are random.
fn event(number: u32, tenants: &[TenantId], subscriptions: u32) -> anyhow::Result<(TenantId, EventType, Attributes)> {
    let domain = rand::random_range(0..large_tenant(subscriptions));
    let attributes = Attributes([("sending_domain".into(), format!("d{domain}.example.com").into())].into());
    if number.is_multiple_of(2) {
        return Ok((tenants[0], LARGE_TENANTS_TYPE.parse()?, attributes));
    }
    let tenant = tenants[rand::random_range(1..tenants.len())];
    Ok((tenant, format!("bench.t{}", rand::random_range(0..TYPES)).parse()?, attributes))
}
