//! The page about the health of webhooks: failures by cause, the comparison of webhooks, and what a product promises.

use bytes::Bytes;
use postrider_model::attempt::Outcome;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;
use postrider_wire::messages::OutcomeReport;
use postrider_wire::testing;
use serde_json::{Value, json};

use crate::harness::{Tenant, World};
use crate::pages::{get, sign_in};
use crate::recorded::recorded;

const HOUR: i64 = 3_600_000;

/// The report of a failed attempt that started `ago_ms` ago. Without a status code it ended with `outcome`.
fn failed(tenant: &Tenant, endpoint: &Value, ago_ms: i64, code: Option<u16>, outcome: Outcome) -> OutcomeReport {
    let (now, endpoint) = (UnixMillis::now(), endpoint["id"].as_str().unwrap().parse::<EndpointId>().unwrap());
    let event = testing::accepted(tenant.id.parse().unwrap(), "user.created".parse().unwrap(), now);
    let mut report = testing::attempted(&event, endpoint, 1, UnixMillis(now.0 - ago_ms), DeliveryStatus::Failed, code);
    report.attempt.as_mut().unwrap().outcome = outcome;
    report
}

async fn write(world: &World, reports: Vec<OutcomeReport>) {
    let outcomes = reports.into_iter().map(|report| (report, Bytes::new())).collect();
    world.store.record().write(&RecordBatch { outcomes, ..RecordBatch::default() }).await.unwrap();
}

/// A webhook of a tenant, by name.
async fn webhook(world: &World, tenant: &Tenant, name: &str) -> Value {
    let body = json!({"name": name, "url": "https://example.com/", "event_types": ["*"]});
    world.post(&tenant.key, "/v1/endpoints", body).await.ok(201)
}

/// The address of the first link that contains `text` in its address.
fn link(page: &str, text: &str) -> String {
    let link = page.split("href=\"").skip(1).find(|link| link.split('"').next().unwrap().contains(text));
    link.unwrap_or_else(|| panic!("{text}: {page}")).split('"').next().unwrap().replace("&amp;", "&")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_by_cause_lead_to_the_deliveries_that_ended_so() {
    let world = crate::world("dash_causes").await;
    let tenant = world.tenant("standard").await;
    let (one, two) = (webhook(&world, &tenant, "one").await, webhook(&world, &tenant, "<i>two").await);
    recorded(&world, &tenant, &two, DeliveryStatus::Delivered).await;
    let unavailable = |endpoint| failed(&tenant, endpoint, 0, Some(503), Outcome::HttpStatus);
    let unresolved = failed(&tenant, &one, 0, None, Outcome::DnsFailed);
    write(&world, vec![unavailable(&one), unavailable(&one), unavailable(&two), unresolved]).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let health = format!("/dashboard/{}/health", tenant.id);
    let id = one["id"].as_str().unwrap();

    let page = get(&world, &cookie, &health).await.text;
    assert!(page.contains("503 Service Unavailable") && page.contains("The server failed. Check its logs."), "{page}");
    assert!(page.contains("Host name not found") && page.contains("Check it for typing errors."), "{page}");
    assert!(
        page.contains("data-label=\"Failed attempts\">3</td><td class=\"number\" data-label=\"Share\">75.0 %</td>")
    );
    assert!(page.contains("Failures by cause <span"), "a chart: {page}");
    let count = |text: &str| text.matches("name=\"delivery_id\"").count();
    let listed = get(&world, &cookie, &link(&page, "status_code=503")).await.text;
    assert_eq!(count(&listed), 3, "{listed}");
    assert_eq!(count(&get(&world, &cookie, &link(&page, "outcome=dns_failed")).await.text), 1);
    // A row of the table of figures leads to the deliveries of its hour.
    let hour = link(&page, "deliveries?from=2");
    assert!(hour.starts_with("deliveries?"), "relative to the address of the page: {hour}");
    let hour = format!("/dashboard/{}/{hour}", tenant.id);
    assert_eq!(count(&get(&world, &cookie, &hour).await.text), 5);

    // The webhook with the lowest success rate comes first.
    assert!(page.contains("lowest success rate first") && page.contains("&lt;i&gt;two</a>"), "{page}");
    let (first, second) = (format!("/webhooks/{id}\">one</a>"), "&lt;i&gt;two</a>");
    assert!(page.find(&first).unwrap() < page.rfind(second).unwrap(), "{page}");

    let own = get(&world, &cookie, &format!("{health}?endpoint_id={id}&range=30d")).await.text;
    assert!(own.contains("data-label=\"Failed attempts\">2</td>") && !own.contains("data-label=\"Webhooks\""), "{own}");
    assert!(!own.contains("lowest success rate first") && own.contains("data-day="), "{own}");
    assert_eq!(count(&get(&world, &cookie, &link(&own, "status_code=503")).await.text), 2);
    let minutes = get(&world, &cookie, &format!("{health}?range=1h")).await.text;
    assert!(
        minutes.contains("Causes are counted by the hour") && minutes.contains("Responses of endpoints"),
        "{minutes}"
    );

    let detail = get(&world, &cookie, &format!("/dashboard/{}/webhooks/{id}", tenant.id)).await.text;
    assert!(detail.contains("503 Service Unavailable: 2 failed attempts (66.6 %), last <time"), "{detail}");
    assert!(detail.contains("Host name not found: 1 failed attempt (33.3 %)"), "{detail}");
    let quiet = webhook(&world, &tenant, "quiet").await;
    let quiet = format!("/dashboard/{}/webhooks/{}", tenant.id, quiet["id"].as_str().unwrap());
    assert!(!get(&world, &cookie, &quiet).await.text.contains("Why attempts failed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_customers_of_a_product_with_a_promise_see_how_it_is_kept() {
    let world = crate::world("dash_promise").await;
    for (profile, promised) in [("standard", false), ("migma", false), ("migomail", true)] {
        let tenant = world.tenant(profile).await;
        let endpoint = world.endpoint(&tenant).await;
        recorded(&world, &tenant, &endpoint, DeliveryStatus::Delivered).await;
        let cookie = sign_in(&world, &tenant.key).await;
        let health = get(&world, &cookie, &format!("/dashboard/{}/health", tenant.id)).await.text;
        for text in
            ["Late first attempts", "First attempt within 5\u{a0}s", "First attempt within 30\u{a0}s", ">Within 5 s<"]
        {
            assert_eq!(health.contains(text), promised, "{profile}: {text}: {health}");
        }
        assert!(health.contains("Success and retries") && health.contains("Throughput"), "{health}");
        let webhook = format!("/dashboard/{}/webhooks/{}", tenant.id, endpoint["id"].as_str().unwrap());
        let webhook = get(&world, &cookie, &webhook).await.text;
        assert_eq!(webhook.contains("First attempt within"), promised, "{profile}: {webhook}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_days_of_traffic_in_every_hour_are_a_light_page() {
    let world = crate::world("dash_weight").await;
    let tenant = world.tenant("migomail").await;
    let endpoint = world.endpoint(&tenant).await;
    let mut reports = Vec::new();
    for hour in 0..7 * 24 {
        for code in [400, 404, 500, 502, 503] {
            reports.push(failed(&tenant, &endpoint, hour * HOUR, Some(code), Outcome::HttpStatus));
        }
        reports.push(failed(&tenant, &endpoint, hour * HOUR, Some(200), Outcome::Success));
    }
    write(&world, reports).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let page = get(&world, &cookie, &format!("/dashboard/{}/health?range=7d", tenant.id)).await.text;
    assert!(page.contains("other causes") && page.contains("data-label=\"Failed attempts\">168</td>"), "{page}");
    // A list of 1,000 webhooks to choose from adds 70 KB.
    assert!(page.len() < 230_000, "{} bytes", page.len());
}
