//! The search in payloads through `GET /v1/events`.

use bytes::Bytes;
use postrider_model::ids::TenantId;
use postrider_model::limits::{PAYLOAD_SEARCH_BYTES_MAX, PAYLOAD_SEARCH_EVENTS_MAX};
use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;
use postrider_wire::testing;
use serde_json::{Value, json};

use crate::harness::{OPERATOR, Tenant, World};

/// Records events, one each millisecond, the last of `data` first. Returns the time of the first of `data`.
async fn record(world: &World, tenant: &Tenant, data: &[Bytes]) -> UnixMillis {
    let tenant: TenantId = tenant.id.parse().unwrap();
    let newest = UnixMillis(UnixMillis::now().day().start().0 + data.len() as i64);
    let mut events = data.iter().enumerate().map(|(n, data)| {
        let at = UnixMillis(newest.0 - n as i64);
        (testing::accepted(tenant, "user.created".parse().unwrap(), at), data.clone())
    });
    loop {
        let events: Vec<_> = events.by_ref().take(2_000).collect();
        if events.is_empty() {
            return newest;
        }
        let rows = RecordBatch { events, ..RecordBatch::default() };
        world.store.record().write(&rows).await.unwrap();
    }
}

/// The pages of a search: for each, the positions of its events after the newest, the number of searched events, and the position
/// of the last of them.
async fn pages(world: &World, tenant: &Tenant, newest: UnixMillis, query: &str) -> Vec<(Vec<i64>, u64, i64)> {
    let place = |time: &Value| newest.0 - time.as_str().unwrap().parse::<UnixMillis>().unwrap().0;
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&tenant.key, &format!("/v1/events?{query}{cursor}")).await.ok(200);
        let found = page["data"].as_array().unwrap().iter().map(|event| place(&event["accepted_at"])).collect();
        let searched = &page["searched"];
        pages.push((found, searched["events"].as_u64().unwrap(), place(&searched["until"])));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_says_what_it_searched_and_continues_until_it_has_searched_all() {
    let world = World::new("api_payload").await;
    let (tenant, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let most = PAYLOAD_SEARCH_EVENTS_MAX as usize;
    let mut data = vec![Bytes::from_static(br#"{"email":"ann@example.com","n":1}"#); most + 300];
    let places = [0, 5, most - 1, most, most + 299];
    for place in places {
        data[place] = Bytes::from_static(br#"{"email":"jo@example.com","n":2}"#);
    }
    let newest = record(&world, &tenant, &data).await;
    record(&world, &other, &data[..1]).await;
    let [a, b, c, d, e] = places.map(|place| place as i64);
    let most = u64::from(PAYLOAD_SEARCH_EVENTS_MAX);

    let first = (vec![a, b, c], most, c);
    let last = (vec![d, e], 300, e);
    for query in ["payload=data.email=jo@example.com", "payload=email:jo@*", "payload=n=2", "payload=*=jo@example.com"]
    {
        assert_eq!(pages(&world, &tenant, newest, query).await, [first.clone(), last.clone()], "{query}");
    }
    let two = pages(&world, &tenant, newest, "payload=n=2&limit=2").await;
    assert_eq!(two, [(vec![a, b], 6, b), (vec![c, d], most - 5, d), (vec![e], 299, e)]);
    let oldest = pages(&world, &tenant, newest, "payload=n=2&order=oldest").await;
    assert_eq!(oldest, [(vec![e, d, c], most, 300), (vec![b, a], 300, a)]);
    let none = pages(&world, &tenant, newest, "payload=n=2&type=user.deleted").await;
    assert_eq!(none, [(vec![], most, c), (vec![], 300, e)]);

    let listed = world.get(&tenant.key, "/v1/events?limit=1").await.ok(200);
    assert!(listed.get("searched").is_none(), "{listed}");
    let problem = world.get(&tenant.key, "/v1/events?payload=email").await.problem(422, "payload");
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("data.email=jo@example.com"), "{problem}");
    world.get(OPERATOR, "/v1/events?payload=n=2").await.problem(422, "tenant");
    let named = world.get(OPERATOR, &format!("/v1/events?payload=n=2&tenant={}", other.id)).await.ok(200);
    assert_eq!((&named["searched"]["events"], named["data"].as_array().unwrap().len()), (&json!(1), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_search_reads_a_limited_number_of_bytes() {
    let world = World::new("api_payload_bytes").await;
    let tenant = world.tenant("standard").await;
    let large = Bytes::from(format!(r#"{{"n":1,"text":"{}"}}"#, "x".repeat(1024 * 1024)));
    let mut data = vec![large; 40];
    data[39] = Bytes::from_static(br#"{"n":2}"#);
    let newest = record(&world, &tenant, &data).await;
    let pages = pages(&world, &tenant, newest, "payload=n=2").await;
    // The event that reaches the limit is read whole.
    let first = PAYLOAD_SEARCH_BYTES_MAX / (1024 * 1024);
    assert_eq!(pages.len(), 2, "{pages:?}");
    assert!(pages[0].0.is_empty() && (first - 1..=first + 1).contains(&pages[0].1), "{pages:?}");
    assert_eq!((&pages[1].0, pages[0].1 + pages[1].1), (&vec![39], 40), "{pages:?}");
}
