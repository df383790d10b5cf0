//! The pages about a failing webhook and its recovery, and changes of several deliveries at once.

use axum::http::StatusCode;
use postrider_model::delivery::DeliveryStatus;
use serde_json::{Value, json};

use crate::harness::{Tenant, World};
use crate::pages::{Page, get, post, send_form, sign_in};
use crate::recorded::recorded;

/// A tenant with a webhook that has five deliveries with a failed attempt: one has failed, four wait for a retry.
async fn failing(world: &World) -> (Tenant, Value) {
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    recorded(world, &tenant, &endpoint, DeliveryStatus::Failed).await;
    for _ in 0..4 {
        recorded(world, &tenant, &endpoint, DeliveryStatus::Pending).await;
    }
    (tenant, endpoint)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_webhook_says_since_when_and_why_and_is_recovered_in_two_clicks() {
    let world = crate::world("dash_failing").await;
    let (tenant, endpoint) = failing(&world).await;
    let healthy = json!({"name": "healthy one", "url": "https://example.com/", "event_types": ["*"]});
    world.post(&tenant.key, "/v1/endpoints", healthy).await.ok(201);
    let cookie = sign_in(&world, &tenant.key).await;
    let webhooks = format!("/dashboard/{}/webhooks", tenant.id);
    let at = format!("{webhooks}/{}", endpoint["id"].as_str().unwrap());

    let list = get(&world, &cookie, &webhooks).await.text;
    assert!(list.contains("badge bad\">failing") && list.contains("Failing since <time"), "{list}");
    assert!(list.contains("It answers 503 Service Unavailable: the server failed."), "{list}");
    assert!(list.find(">hook</a>") < list.find("healthy one</a>"), "trouble comes first");
    let newest = get(&world, &cookie, &format!("{webhooks}?sort=newest")).await.text;
    assert!(newest.find(">hook</a>") > newest.find("healthy one</a>"));

    // The number of deliveries is a link to exactly these deliveries.
    assert!(list.contains("5 deliveries with failures"), "{list}");
    let failed = list.split("href=\"").find(|link| link.contains("failed_attempts=true")).unwrap();
    let failed = failed.split('"').next().unwrap().replace("&amp;", "&");
    let rows = get(&world, &cookie, &failed).await.text;
    assert_eq!(rows.matches("name=\"delivery_id\"").count(), 5);

    let detail = get(&world, &cookie, &at).await.text;
    assert!(detail.contains("5 failed attempts in a row") && detail.contains("tile-value is-bad"), "{detail}");
    assert!(detail.contains(&format!("{at}/recover\">Recover</a>")), "one click");
    let plan = get(&world, &cookie, &format!("{at}/recover")).await;
    assert!(plan.text.contains("1 event failed") && plan.text.contains("4 events wait for a retry"), "{}", plan.text);
    let since = plan.text.split("name=\"since\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let started = post(&world, &cookie, &format!("{at}/recover"), &[("csrf", &plan.csrf()), ("since", &since)]).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text);
    let progress = get(&world, &cookie, started.header("location")).await.text;
    assert!(progress.contains("recovery of hook") && progress.contains("The recovery has started"), "{progress}");
    // The number of new deliveries is a link to them. Waiting deliveries that were attempted at once are counted separately.
    assert!(progress.contains("/deliveries?replay_id=rpl_"), "{progress}");
    assert!(progress.contains("Waiting deliveries attempted at once"), "{progress}");

    let reader = world.key(&tenant.id, &["read"]).await;
    let reader = sign_in(&world, &reader).await;
    let seen = get(&world, &reader, &at).await.text;
    assert!(seen.contains("Failing since") && !seen.contains("/recover\""), "{seen}");
    assert_eq!(get(&world, &reader, &format!("{at}/recover")).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_webhook_is_switched_on_and_recovered_with_one_button() {
    let world = crate::world("dash_disabled").await;
    let (tenant, endpoint) = failing(&world).await;
    let id = endpoint["id"].as_str().unwrap();
    world.store.config().stop_endpoint(id.parse().unwrap(), "it answered 410").await.unwrap();
    let cookie = sign_in(&world, &tenant.key).await;
    let at = format!("/dashboard/{}/webhooks/{id}", tenant.id);
    let detail = get(&world, &cookie, &at).await.text;
    assert!(detail.contains("switched this webhook off") && detail.contains("it answered 410"), "{detail}");
    let plan = get(&world, &cookie, &format!("{at}/recover")).await;
    assert!(plan.text.contains("Switch on and deliver 5 events"), "{}", plan.text);
    let status = async || {
        world.get(&tenant.key, &format!("/v1/endpoints/{id}")).await.ok(200)["status"].as_str().unwrap().to_owned()
    };
    let csrf = plan.csrf();
    let wrong =
        post(&world, &cookie, &format!("{at}/recover"), &[("csrf", &csrf), ("since", "2999-01-01T00:00")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(status().await, "disabled", "a refused recovery does not switch the webhook on");
    let started = post(&world, &cookie, &format!("{at}/recover"), &[("csrf", &csrf)]).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text);
    let now = world.get(&tenant.key, &format!("/v1/endpoints/{id}")).await.ok(200);
    assert_eq!(now["status"], json!("active"));
    assert!(now["health"]["last_recovery_at"].is_string(), "{now:#}");
    assert!(now["health"]["last_off"]["until"].is_string(), "{now:#}");

    // The recovery has not finished, so a recovery from an earlier time cannot start.
    world.store.config().stop_endpoint(id.parse().unwrap(), "it answered 410").await.unwrap();
    let form = [("csrf", csrf.as_str()), ("since", "2020-01-01T00:00")];
    let refused = post(&world, &cookie, &format!("{at}/recover"), &form).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text.contains("The webhook was switched on. The recovery did not start."), "{}", refused.text);
    assert!(refused.text.contains("has not finished"), "{}", refused.text);
    assert_eq!(status().await, "active");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_deliveries_are_retried_or_cancelled_and_refusals_are_told() {
    let world = crate::world("dash_several").await;
    let (tenant, _) = failing(&world).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let (list, several) =
        (format!("/dashboard/{}/deliveries", tenant.id), format!("/dashboard/{}/several-deliveries", tenant.id));
    let page = get(&world, &cookie, &format!("{list}?status=retrying")).await;
    let ids: Vec<&str> =
        page.text.split("name=\"delivery_id\" value=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(ids.len(), 4, "{}", page.text);
    assert!(page.text.contains("badge warn\">retrying"), "{}", page.text);
    let csrf = page.csrf();
    let form = |action: &'static str, confirmed: &'static str, chosen: &[&'static str]| {
        let mut form =
            vec![("csrf", csrf.clone()), ("action", action.to_owned()), ("back", "status=retrying".to_owned())];
        form.extend(chosen.iter().map(|id| ("delivery_id", (*id).to_owned())));
        if !confirmed.is_empty() {
            form.push(("confirmed", confirmed.to_owned()));
        }
        form
    };
    let ids: Vec<&'static str> = ids.into_iter().map(|id| &*id.to_owned().leak()).collect();
    let send = async |form: Vec<(&str, String)>| {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        post(&world, &cookie, &several, &form).await
    };
    for (action, chosen) in [("retry", &[][..]), ("", &ids[..])] {
        assert!(send(form(action, "", chosen)).await.text.contains("Nothing selected"), "{action}");
    }
    let untouched = world.get(&tenant.key, "/v1/deliveries?phase=retrying").await.ok(200);
    assert_eq!(untouched["data"].as_array().unwrap().len(), 4, "a form without a known action changes nothing");

    let asked = send(form("cancel", "", &ids[..2])).await;
    assert!(asked.text.contains("Cancel 2 deliveries?"), "{}", asked.text);
    let done = send(form("cancel", "yes", &ids[..2])).await;
    assert!(
        done.text.contains("2 deliveries cancelled") && done.text.contains("deliveries?status=retrying"),
        "{}",
        done.text
    );
    let cancelled = world.get(&tenant.key, "/v1/deliveries?status=cancelled").await.ok(200);
    assert_eq!(cancelled["data"].as_array().unwrap().len(), 2);

    // A delivery that has ended cannot be cancelled, and a delivery that does not exist cannot be retried.
    let done = send(form("cancel", "yes", &ids[1..3])).await.text;
    assert!(done.contains("1 delivery cancelled") && done.contains("1 delivery not cancelled:"), "{done}");
    assert!(done.contains("the delivery is cancelled; only a pending one can be cancelled"), "{done}");
    let done = send(form("retry", "", &[ids[3], "dlv_00000000000000000000000000000001"])).await.text;
    assert!(done.contains("1 delivery retried") && done.contains("no such delivery"), "{done}");

    // An empty list has the form, too, because a refresh can add rows whose checkboxes belong to the form.
    let empty = get(&world, &cookie, &format!("{list}?status=discarded")).await.text;
    assert!(empty.contains("No deliveries match") && empty.contains("id=\"several\""), "{empty}");

    let reader = world.key(&tenant.id, &["read"]).await;
    let reader = sign_in(&world, &reader).await;
    let seen = get(&world, &reader, &list).await.text;
    assert!(!seen.contains("name=\"delivery_id\"") && !seen.contains("id=\"several\""), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_deliveries_that_match_a_filter_are_counted_then_cancelled_or_retried_in_steps() {
    let world = crate::world("dash_matching").await;
    let (tenant, endpoint) = failing(&world).await;
    recorded(&world, &tenant, &endpoint, DeliveryStatus::Delivered).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let own = format!("/dashboard/{}", tenant.id);
    let whole = get(&world, &cookie, &format!("{own}/deliveries")).await.text;
    assert!(!whole.contains("matching-deliveries"), "only a filtered list offers all that match: {whole}");
    let ended = get(&world, &cookie, &format!("{own}/deliveries?status=failed")).await.text;
    assert!(ended.contains("matching-deliveries/retry?") && !ended.contains("matching-deliveries/cancel?"), "{ended}");
    let list = get(&world, &cookie, &format!("{own}/deliveries?status_code=5xx&range=day")).await.text;
    let link = |action: &str| {
        let link = list.split("href=\"").find(|link| link.contains(&format!("matching-deliveries/{action}?"))).unwrap();
        link.split('"').next().unwrap().replace("&amp;", "&")
    };
    let statuses = async || {
        let listed = world.get(&tenant.key, "/v1/deliveries?limit=200").await.ok(200);
        let of = |status: &str| listed["data"].as_array().unwrap().iter().filter(|one| one["status"] == status).count();
        [of("pending"), of("failed"), of("cancelled"), of("delivered")]
    };
    assert_eq!(statuses().await, [4, 1, 0, 1]);

    // The fields of the form on a page.
    let fields = |page: &Page| -> Vec<(String, String)> {
        let names = ["csrf", "once", "back", "until", "total", "done", "left", "cursor"];
        let value = |name: &str| {
            let found = page.text.split_once("matching-deliveries/").unwrap().1;
            let found = found.split_once(&format!("name=\"{name}\" value=\""))?.1;
            Some((name.to_owned(), found.split('"').next().unwrap().replace("&amp;", "&")))
        };
        names.into_iter().filter_map(value).collect()
    };
    let send = async |action: &str, form: &[(String, String)]| {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        post(&world, &cookie, &format!("{own}/matching-deliveries/{action}"), &form).await
    };

    let asked = get(&world, &cookie, &link("retry")).await;
    assert!(asked.text.contains("Retry 5 deliveries?"), "{}", asked.text);
    assert!(asked.text.contains("4 pending deliveries are attempted now."), "{}", asked.text);
    assert!(asked.text.contains("1 finished delivery is sent again, as a new delivery."), "{}", asked.text);
    assert_eq!(statuses().await, [4, 1, 0, 1], "the question changes nothing");
    let done = send("retry", &fields(&asked)).await;
    assert!(done.text.contains("5 deliveries retried") && done.text.contains("Back to the list"), "{}", done.text);
    assert_eq!(statuses().await, [5, 1, 0, 1], "the failed one is sent again as a new delivery");

    // The failed delivery was sent again, so it is left out.
    let again = get(&world, &cookie, &format!("{own}/matching-deliveries/retry?status=failed")).await;
    let done = send("retry", &fields(&again)).await.text;
    assert!(done.contains("0 deliveries retried") && done.contains("1 delivery was not changed."), "{done}");
    assert!(done.contains("this event was sent to the endpoint again later"), "{done}");

    let asked = get(&world, &cookie, &link("cancel")).await;
    assert!(asked.text.contains("Cancel 4 deliveries?"), "the new delivery has no status code: {}", asked.text);
    let done = send("cancel", &fields(&asked)).await;
    assert!(done.text.contains("4 deliveries cancelled"), "{}", done.text);
    assert_eq!(statuses().await, [1, 1, 4, 1]);
    let none = get(&world, &cookie, &link("cancel")).await.text;
    assert!(none.contains("Only pending deliveries can be cancelled."), "{none}");

    let reader = sign_in(&world, &world.key(&tenant.id, &["read"]).await).await;
    let seen = get(&world, &reader, &format!("{own}/deliveries?status=pending")).await.text;
    assert!(!seen.contains("matching-deliveries"), "{seen}");
    assert_eq!(get(&world, &reader, &link("retry")).await.status, StatusCode::FORBIDDEN);
}

/// Signs in again with the form in the sign-in page's hidden field, and returns the cookie and the page that shows the form.
async fn sign_in_with_form(world: &World, tenant: &Tenant, asked: &Page, next: &str) -> (String, Page) {
    let carried = asked.text.split_once("name=\"form\" value=\"").expect("a carried form").1;
    let carried = carried.split('"').next().unwrap().replace("&amp;", "&");
    let fields = [("key", tenant.key.as_str()), ("next", next), ("form", &carried)];
    let signed_in = send_form(world, "", "/dashboard/sign-in", &fields).await;
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let page = get(world, &cookie, signed_in.header("location")).await;
    (cookie, page)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_deliveries_are_sent_again_only_after_a_question() {
    let world = crate::world("dash_again").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    let (_, delivered) = recorded(&world, &tenant, &endpoint, DeliveryStatus::Delivered).await;
    let (_, failed) = recorded(&world, &tenant, &endpoint, DeliveryStatus::Failed).await;
    let (_, pending) = recorded(&world, &tenant, &endpoint, DeliveryStatus::Pending).await;
    let ids = [delivered.to_string(), failed.to_string(), pending.to_string()];
    let several = format!("/dashboard/{}/several-deliveries", tenant.id);
    let all = async || world.get(&tenant.key, "/v1/deliveries").await.ok(200)["data"].as_array().unwrap().len();
    let form = |csrf: &str, more: &[(&'static str, &'static str)]| {
        let mut form = vec![("csrf", csrf.to_owned()), ("action", "retry".to_owned())];
        form.extend(ids.iter().map(|id| ("delivery_id", id.clone())));
        form.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        form
    };
    let send = async |cookie: &str, form: Vec<(&str, String)>| {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        post(&world, cookie, &several, &form).await
    };
    let cookie = sign_in(&world, &tenant.key).await;
    let csrf = get(&world, &cookie, &format!("/dashboard/{}/deliveries", tenant.id)).await.csrf();
    let asked = send(&cookie, form(&csrf, &[])).await.text;
    assert!(asked.contains("Retry 3 deliveries?") && asked.contains("1 pending delivery is attempted now"), "{asked}");
    assert!(
        asked.contains("2 finished deliveries are sent again") && asked.contains("1 of them was delivered"),
        "{asked}"
    );
    assert_eq!(all().await, 3, "the question sends nothing");

    // After the end of the session and another sign-in, the page asks about the same chosen deliveries.
    world.store.sessions().close_session(cookie.split_once('=').unwrap().1).await.unwrap();
    let ended = send(&cookie, form(&csrf, &[("confirmed", "yes"), ("back", "status=failed")])).await;
    assert_eq!(ended.status, StatusCode::UNAUTHORIZED);
    let (cookie, shown) = sign_in_with_form(&world, &tenant, &ended, &several).await;
    assert!(
        shown.text.contains("Retry 3 deliveries?") && shown.text.contains("Your session had ended"),
        "{}",
        shown.text
    );
    assert!(shown.text.contains("deliveries?status=failed"), "the way back: {}", shown.text);
    assert_eq!(all().await, 3, "the sign-in sends nothing");
    let done = send(&cookie, form(&shown.csrf(), &[("confirmed", "yes")])).await.text;
    assert!(done.contains("3 deliveries retried"), "{done}");
    assert_eq!(all().await, 5, "two new deliveries");
}
