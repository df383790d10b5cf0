//! The dashboard in a browser, as customers of the five products and the operator use it. This file starts the deployment; the
//! browser runs the JavaScript next to it.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use postrider_testkit::browser;
use postrider_testkit::ports::free_port;
use postrider_testkit::rollups::replace_rollups;
use reqwest::Method;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::{Deployment, Message, OPERATOR_KEY, Producer, Tenant};

/// Timeout of one scenario.
const PATIENCE: Duration = Duration::from_secs(240);
const PRODUCTS: [&str; 5] = ["migma", "migomail", "metigan", "magnetite", "mumara"];

/// Runs a scenario of `scenarios/` with the addresses of the deployment.
async fn visit(name: &str, deployment: &Deployment, world: &serde_json::Value) {
    let tools = tokio::task::spawn_blocking(|| browser::tools(&here())).await.unwrap().expect("a browser");
    let started = Instant::now();
    let mut command = Command::new("node");
    command
        .arg(here().join("scenarios").join(format!("{name}.mjs")))
        .env("DASHBOARD_BASE", &deployment.operator().base)
        .env("DASHBOARD_OPERATOR", OPERATOR_KEY)
        .env("DASHBOARD_WORLD", world.to_string())
        .env("DASHBOARD_MODULES", &tools.modules)
        .env("DASHBOARD_BROWSER", &tools.browser)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}{name} in {:.0?}", started.elapsed());
}

fn here() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("it/dashboard")
}

/// A tenant of each profile: profile -> id and key.
async fn tenants(deployment: &Deployment, profiles: &[&str]) -> serde_json::Value {
    let mut tenants = json!({});
    for profile in profiles {
        let tenant = deployment.tenant(profile).await;
        tenants[*profile] = json!({"id": tenant.id, "key": tenant.key});
    }
    tenants
}

/// Guarantee (In a browser): What each product's customers do, from sign-in to a replayed range, without an error or a violation
/// of the policy or of WCAG 2.2 AA.
#[tokio::test]
async fn a_customer_of_each_product_uses_the_dashboard_in_a_browser() {
    let deployment = Deployment::start("dashboard_products").await;
    let world = tenants(&deployment, &PRODUCTS).await;
    visit("products", &deployment, &world).await;
}

/// Guarantee (In a browser): Foreign text is shown as text.
#[tokio::test]
async fn markup_in_names_events_headers_and_answers_is_shown_as_text() {
    let deployment = Deployment::start("dashboard_markup").await;
    let world = tenants(&deployment, &["standard"]).await;
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    let tenant = world["standard"]["id"].as_str().expect("an id");
    producer.publish(Message::new(format!("{tenant}.<b>"), "<script>pwned=1</script>".to_owned())).await;
    visit("markup", &deployment, &world).await;
}

/// Guarantee (In a browser): The operator's pages; every page without scripts.
#[tokio::test]
async fn the_operators_pages_work_without_scripts() {
    let deployment = Deployment::start("dashboard_operator").await;
    let world = tenants(&deployment, &["standard"]).await;
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    let tenant = world["standard"]["id"].as_str().expect("an id");
    producer.publish(Message::new(format!("{tenant}.a.b"), "no JSON".to_owned())).await;
    visit("operator", &deployment, &world).await;
}

#[tokio::test]
async fn forms_act_once_and_survive_the_end_of_a_session() {
    let deployment = Deployment::start("dashboard_forms").await;
    let world = tenants(&deployment, &["standard"]).await;
    visit("forms", &deployment, &world).await;
}

/// Guarantee (In a browser): A product shows the dashboard in its own page, on another site; no other site can.
#[tokio::test]
async fn a_product_embeds_the_dashboard_in_its_own_page() {
    let (product, stranger) =
        (format!("http://localhost:{}", free_port()), format!("http://localhost:{}", free_port()));
    let settings = [("POSTRIDER_DASHBOARD_FRAME_ANCESTORS", product.as_str())];
    let deployment = Deployment::start_with("dashboard_embedded", &settings).await;
    let tenant = tenants(&deployment, &["standard"]).await;
    visit("embedded", &deployment, &json!({"tenant": tenant, "product": product, "stranger": stranger})).await;
}

/// Guarantee (In a browser): A customer finds a failed delivery by a status code, reads why it failed and when it is retried, and
/// copies its request.
#[tokio::test]
async fn a_customer_finds_and_understands_a_failed_delivery() {
    let deployment = Deployment::start("dashboard_find").await;
    let world = tenants(&deployment, &["standard"]).await;
    visit("find", &deployment, &world).await;
}

#[tokio::test]
async fn a_customer_cancels_all_deliveries_that_match_in_steps() {
    let deployment = Deployment::start("dashboard_matching").await;
    let world = tenants(&deployment, &["standard"]).await;
    visit("matching", &deployment, &world).await;
}

/// Guarantee (In a browser): After an outage a customer sees since when and why a webhook failed, and recovers it in two clicks.
#[tokio::test]
async fn a_customer_finds_out_why_a_webhook_failed_and_recovers_it_in_two_clicks() {
    let deployment = Deployment::start("dashboard_recover").await;
    let world = tenants(&deployment, &["standard"]).await;
    visit("recover", &deployment, &world).await;
}

/// Guarantee (In a browser): A customer pauses a webhook, sees what waits and why, skips it, and resumes the webhook.
#[tokio::test]
async fn a_customer_pauses_a_webhook_skips_what_waits_and_resumes_it() {
    let deployment = Deployment::start("dashboard_pause").await;
    let world = tenants(&deployment, &["standard"]).await;
    visit("pause", &deployment, &world).await;
}

/// Guarantee (In a browser): Each product's customer, in a frame of the product's page, finds out why their webhook failed and recovers
/// everything that it missed in at most five clicks.
#[tokio::test]
async fn a_customer_of_each_product_recovers_an_outage_in_a_frame() {
    let origin = format!("http://localhost:{}", free_port());
    let settings = [("POSTRIDER_DASHBOARD_FRAME_ANCESTORS", origin.as_str())];
    let deployment = Deployment::start_with("dashboard_walk", &settings).await;
    let tenants = tenants(&deployment, &PRODUCTS).await;
    visit("walk", &deployment, &json!({"tenants": tenants, "origin": origin})).await;
}

/// Guarantee (In a browser): The operator finds an endpoint that is down and messages that were refused by name, with their causes, and
/// puts both right.
#[tokio::test]
async fn an_operator_gets_through_a_bad_night() {
    let deployment = Deployment::start("dashboard_night").await;
    let tenant = deployment.tenant("standard").await;
    let change = json!({"name": "Northwind", "enforce_catalog": true});
    deployment.operator().patch(&format!("/v1/tenants/{}", tenant.id), &change).await;
    tenant.in_force.wait().await;
    let sent = json!({"description": "A parcel was sent", "sample": {}});
    let (status, _) = tenant.send(Method::PUT, "/v1/event-types/parcel.sent", Some(sent.to_string()), &[]).await;
    assert_eq!(status, 201);
    tenant.in_force.wait().await;
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    let letters = 5;
    for n in 0..letters {
        let event = json!({"tenant": tenant.id, "id": format!("inv-{n}"), "type": "invoice.printed", "data": {"n": n}});
        producer.publish(Message::new(format!("{}.invoice.printed", tenant.id), event.to_string())).await;
    }
    producer.publish(Message::new(format!("{}.invoice.printed", tenant.id), "no JSON")).await;
    let world = json!({"tenant": {"id": tenant.id, "key": tenant.key}, "letters": letters});
    visit("night", &deployment, &world).await;
}

/// Guarantee (In a browser): A customer needs only the keyboard, and always sees where the focus is.
#[tokio::test]
async fn a_customer_needs_only_the_keyboard() {
    let deployment = Deployment::start("dashboard_keyboard").await;
    let world = tenants(&deployment, &["standard"]).await;
    visit("keyboard", &deployment, &world).await;
}

/// Guarantee (In a browser): Going back, a second tab and a lost network do no harm to a form.
#[tokio::test]
async fn back_two_tabs_and_a_lost_network_do_no_harm() {
    let deployment = Deployment::start("dashboard_harm").await;
    let world = tenants(&deployment, &["standard"]).await;
    visit("harm", &deployment, &world).await;
}

#[tokio::test]
async fn every_page_with_content_is_accessible_plain_and_branded() {
    let deployment = Deployment::start("dashboard_pictures").await;
    let (plain, branded) = (deployment.tenant("standard").await, deployment.tenant("standard").await);
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    let bad = [r#"{"tenant":"#, r#"{"type":"order.paid","data":{}}"#, "no JSON"];
    for body in bad {
        producer.publish(Message::new(format!("{}.order.paid", plain.id), body)).await;
    }
    for (tenant, name) in [(&plain, "Acme Trading"), (&branded, "Meadow Mail customer 7")] {
        deployment.operator().patch(&format!("/v1/tenants/{}", tenant.id), &json!({"name": name})).await;
    }
    let of = |tenant: &Tenant| json!({"id": tenant.id, "key": tenant.key});
    let world = json!({"plain": of(&plain), "branded": of(&branded), "letters": bad.len()});
    tokio::select! {
        () = visit("pictures", &deployment, &world) => {}
        () = past(&deployment.scope().database_url) => {}
    }
}

/// Gives the webhooks of the scenario counts of the last day as soon as there are some, so that charts show more than one hour. Never
/// returns.
async fn past(database: &str) {
    let (client, connection) = tokio_postgres::connect(database, tokio_postgres::NoTls).await.expect("the database");
    tokio::spawn(connection);
    // A wave over the day; the order desk has failed for the last hours.
    let hours = "SELECT e.id, e.document->>'name' AS name, date_trunc('hour', now()) - h * interval '1 hour' AS hour,
             (60 + 45 * sin((h + 4) / 3.8) + h * 7 % 11)::int AS n, h
         FROM endpoints e, generate_series(1, 23) h WHERE e.document->>'name' <> 'Staging'";
    let failed = "CASE WHEN name = 'Order desk' AND h < 3 THEN n WHEN h % 5 = 2 THEN 3 + n / 12 ELSE h * 3 % 4 END";
    let counts = format!(
        "INSERT INTO endpoint_hours (endpoint, hour, successes, failures, retries, duration_us, first_attempts, first_within_5s,
             first_within_30s, answers_2xx, answers_5xx, latency)
         SELECT id, hour, n - f, f, f / 2, n * 90000, n - f / 2, n - f / 2, n - f / 2, n - f, f,
             array_fill(0, ARRAY[10]) || ARRAY[n / 8, n / 3, n / 4, n / 6, n / 12, n / 20, n / 40, 1] || array_fill(0, ARRAY[10])
         FROM (SELECT *, {failed} AS f FROM ({hours}) hours) counted ON CONFLICT DO NOTHING"
    );
    let causes = format!(
        "INSERT INTO endpoint_failures (endpoint, hour, outcome, status_code, attempts, first_at, last_at)
         SELECT id, hour, CASE WHEN h % 5 = 2 THEN 2 ELSE 1 END, CASE WHEN h % 5 = 2 THEN 0 ELSE 503 END, f, hour, hour
         FROM (SELECT *, {failed} AS f FROM ({hours}) hours) counted WHERE f > 0 ON CONFLICT DO NOTHING"
    );
    loop {
        let mut added = 0;
        for statement in [&counts, &causes] {
            added += client.execute(statement, &[]).await.expect("counts of the last day");
        }
        if added > 0 {
            client.batch_execute(&replace_rollups()).await.expect("counts by tenant");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Guarantee (In a browser): An operator signs in with a certified OpenID Connect provider; a form of an ended session comes back.
#[tokio::test]
async fn an_operator_signs_in_with_a_real_provider() {
    let issuer = format!("http://127.0.0.1:{}", free_port());
    let secret = "secret-of-the-client-of-the-tests";
    let settings = [
        ("POSTRIDER_OIDC_ISSUER", issuer.as_str()),
        ("POSTRIDER_OIDC_CLIENT_ID", "postrider"),
        ("POSTRIDER_OIDC_CLIENT_SECRET", secret),
        ("POSTRIDER_OIDC_OPERATOR_EMAILS", "jane@example.com"),
        ("POSTRIDER_OIDC_LABEL", "the test provider"),
    ];
    let deployment = Deployment::start_with("dashboard_oidc", &settings).await;
    let tenant = tenants(&deployment, &["standard"]).await;
    let world = json!({"tenant": tenant["standard"], "issuer": issuer, "secret": secret});
    visit("oidc", &deployment, &world).await;
}
