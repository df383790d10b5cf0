//! Measures how long fan-out's index takes to match one event, in a process without the rest of fan-out.

use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use postrider_fanout::bench_matcher::Matcher;
use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::payload_filter::Payload;
use postrider_profiles::Profiles;
use postrider_store::feed::{Changes, EndpointSubscription, FeedTenant};

use crate::console::say;
use crate::ledger::Latency;

/// Endpoints of each tenant except the large one.
pub(crate) const SMALL_TENANT: u32 = 100;
/// Types that these endpoints select, one each.
pub(crate) const TYPES: u32 = 20;
/// The type that every endpoint of the large tenant selects.
pub(crate) const LARGE_TENANTS_TYPE: &str = "bench.match";

/// Endpoints of the large tenant.
pub(crate) fn large_tenant(subscriptions: u32) -> u32 {
    subscriptions / 10
}

/// Options of `match`.
#[derive(Debug, clap::Args)]
pub(crate) struct MatchArgs {
    /// Active endpoints, in whole thousands.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    subscriptions: u32,
    /// Events to match, one at a time.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,
}

/// Builds the index, times matches, prints their [`Latency`] as JSON.
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

/// The number of small tenants.
pub(crate) fn tenants(subscriptions: u32) -> u32 {
    (subscriptions - large_tenant(subscriptions)).div_ceil(SMALL_TENANT)
}

/// The first tenant is the large one. In a small tenant, each type is selected by five endpoints.
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
        channel: Default::default(),
        ascii_json: false,
        version: 1,
    }
}

/// Every other event is the large tenant's; the rest is random.
fn event(number: u32, tenants: &[TenantId], subscriptions: u32) -> anyhow::Result<(TenantId, EventType, Attributes)> {
    let domain = rand::random_range(0..large_tenant(subscriptions));
    let attributes = Attributes([("sending_domain".into(), format!("d{domain}.example.com").into())].into());
    if number.is_multiple_of(2) {
        return Ok((tenants[0], LARGE_TENANTS_TYPE.parse()?, attributes));
    }
    let tenant = tenants[rand::random_range(1..tenants.len())];
    Ok((tenant, format!("bench.t{}", rand::random_range(0..TYPES)).parse()?, attributes))
}
