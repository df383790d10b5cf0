//! Forms: each form is processed once, its result can be shown again, and a page names the consequences before an action is done.

use axum::http::StatusCode;
use postrider_model::delivery::DeliveryStatus;
use serde_json::json;

use crate::harness::OPERATOR;
use crate::pages::{get, post, send_form, sign_in};
use crate::recorded::recorded;

/// The form of a minimal webhook.
fn webhook<'a>(csrf: &'a str, once: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("csrf", csrf),
        ("once", once),
        ("name", "billing"),
        ("active", "yes"),
        ("url", "https://example.com/hook"),
        ("event_types", "*"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_identical_forms_at_once_act_once_and_both_lead_to_the_secret() {
    let world = crate::world("form_once").await;
    let tenant = world.tenant("standard").await;
    let cookie = sign_in(&world, &tenant.key).await;
    let new = format!("/dashboard/{}/webhooks/new", tenant.id);
    let csrf = get(&world, &cookie, &new).await.csrf();
    let form = webhook(&csrf, "one page");
    let (one, two) = tokio::join!(send_form(&world, &cookie, &new, &form), send_form(&world, &cookie, &new, &form));
    assert_eq!((one.status, two.status), (StatusCode::SEE_OTHER, StatusCode::SEE_OTHER));
    let result = one.header("location");
    assert_eq!(result, two.header("location"));
    assert_eq!(send_form(&world, &cookie, &new, &form).await.header("location"), result, "and later");
    assert_eq!(world.get(&tenant.key, "/v1/endpoints").await.ok(200)["usage"], 1);

    let first = get(&world, &cookie, result).await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert!(first.text.contains("whsec_"), "{}", first.text);
    assert_eq!(get(&world, &cookie, result).await.text, first.text, "a reload shows the same secret");
    let other = sign_in(&world, &tenant.key).await;
    let elsewhere = get(&world, &other, result).await;
    assert!(elsewhere.status == StatusCode::OK && !elsewhere.text.contains("whsec_"), "another session sees the form");

    let again = webhook(&csrf, "another page");
    assert_ne!(send_form(&world, &cookie, &new, &again).await.header("location"), result);
    assert_eq!(world.get(&tenant.key, "/v1/endpoints").await.ok(200)["usage"], 2, "another page's form acts");
    post(&world, &cookie, "/dashboard/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!(get(&world, &cookie, result).await.status, StatusCode::SEE_OTHER, "signed out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_of_an_ended_session_is_shown_after_sign_in_without_secrets() {
    let world = crate::world("form_ended").await;
    let tenant = world.tenant("standard").await;
    let cookie = sign_in(&world, &tenant.key).await;
    let new = format!("/dashboard/{}/webhooks/new", tenant.id);
    let csrf = get(&world, &cookie, &new).await.csrf();
    world.store.sessions().close_session(cookie.split_once('=').unwrap().1).await.unwrap();
    let mut form = webhook(&csrf, "x");
    form.extend([
        ("secret", "my-own-secret-of-16-bytes"),
        ("headers", "X-Api-Key: hush"),
        ("description", "typed <b>"),
    ]);
    let asked = send_form(&world, &cookie, &new, &form).await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert!(asked.text.contains("Your session has ended"), "{}", asked.text);
    assert!(!asked.text.contains("my-own-secret") && !asked.text.contains("hush"));
    let carried = asked.text.split_once("name=\"form\" value=\"").unwrap().1.split('"').next().unwrap();
    let carried = carried.replace("&amp;", "&");

    let wrong =
        send_form(&world, "", "/dashboard/sign-in", &[("key", "prk_x"), ("next", &new), ("form", &carried)]).await;
    assert!(wrong.text.contains("name=\"form\""), "a wrong key keeps the form");
    let fields = [("key", tenant.key.as_str()), ("next", &new), ("form", &carried)];
    let signed_in = send_form(&world, "", "/dashboard/sign-in", &fields).await;
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let shown = get(&world, &cookie, signed_in.header("location")).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert!(shown.text.contains("value=\"billing\"") && shown.text.contains("typed &lt;b&gt;"), "{}", shown.text);
    assert!(shown.text.contains("Your session had ended"), "{}", shown.text);
    assert_eq!(world.get(&tenant.key, "/v1/endpoints").await.ok(200)["usage"], 0, "nothing was created");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_created_once_and_shown_again_on_reload() {
    let world = crate::world("form_key").await;
    let tenant = world.tenant("standard").await;
    let cookie = sign_in(&world, OPERATOR).await;
    let at = format!("/dashboard/operator/tenants/{}", tenant.id);
    let csrf = get(&world, &cookie, &at).await.csrf();
    let form = [("csrf", csrf.as_str()), ("once", "x"), ("name", "reload"), ("scopes", "read")];
    let made = send_form(&world, &cookie, &format!("{at}/keys"), &form).await;
    let page = get(&world, &cookie, made.header("location")).await;
    assert!(page.text.contains("prk_"), "{}", page.text);
    assert_eq!(get(&world, &cookie, made.header("location")).await.text, page.text);
    let keys = world.get(OPERATOR, &format!("/v1/tenants/{}/keys", tenant.id)).await.ok(200);
    assert_eq!(keys["data"].as_array().unwrap().len(), 2, "{keys:#}");

    let id = keys["data"].as_array().unwrap().iter().find(|key| key["name"] == "reload").unwrap()["id"].clone();
    let delete = format!("{at}/keys/{}/delete", id.as_str().unwrap());
    let asked = get(&world, &cookie, &delete).await;
    assert!(asked.text.contains("Delete the key reload?") && asked.text.contains(">read<"), "{}", asked.text);
    assert_eq!(
        world.get(OPERATOR, &format!("/v1/tenants/{}/keys", tenant.id)).await.ok(200),
        keys,
        "asking is no deed"
    );
    assert_eq!(post(&world, &cookie, &delete, &[("csrf", &csrf)]).await.status, StatusCode::SEE_OTHER);
    let left = world.get(OPERATOR, &format!("/v1/tenants/{}/keys", tenant.id)).await.ok(200);
    assert_eq!(left["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_starts_the_selection_shown_and_previews_a_changed_form_again() {
    let world = crate::world("form_replay").await;
    let tenant = world.tenant("standard").await;
    let (one, two) = (world.endpoint(&tenant).await, world.endpoint(&tenant).await);
    let (one_id, two_id) = (one["id"].as_str().unwrap(), two["id"].as_str().unwrap());
    recorded(&world, &tenant, &one, DeliveryStatus::Failed).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let new = format!("/dashboard/{}/replays/new", tenant.id);
    let counted = get(&world, &cookie, &format!("{new}?count=yes&endpoint_id={one_id}&mode=redeliver")).await;
    assert!(counted.text.contains("This replay creates 1 delivery"), "{}", counted.text);
    let start =
        counted.text.split_once("formaction=\"").expect("a button").1.split('"').next().unwrap().replace("&amp;", "&");
    let csrf = counted.text.split_once("name=\"csrf\" value=\"").unwrap().1.split('"').next().unwrap();

    let other = [("csrf", csrf), ("endpoint_id", two_id), ("mode", "redeliver")];
    let changed = post(&world, &cookie, &start, &other).await;
    assert!(
        changed.text.contains("new preview") && changed.text.contains("This replay creates 0 deliveries"),
        "{}",
        changed.text
    );
    let replays = async || world.get(&tenant.key, "/v1/replays").await.ok(200)["data"].as_array().unwrap().clone();
    assert!(replays().await.is_empty());

    let same = [("csrf", csrf), ("endpoint_id", one_id), ("mode", "redeliver")];
    for _ in 0..2 {
        assert_eq!(post(&world, &cookie, &start, &same).await.status, StatusCode::SEE_OTHER);
    }
    let replays = replays().await;
    assert_eq!((replays.len(), &replays[0]["endpoint_id"]), (1, &json!(one_id)));

    let preset = get(&world, &cookie, &format!("{new}?preset=1h&event_types=user.created&count=yes")).await;
    assert!(
        preset.header("location").contains("event_types=user.created") && preset.header("location").contains("from=")
    );
    let nothing = get(&world, &cookie, &format!("{new}?count=yes&mode=redeliver")).await;
    assert_eq!(nothing.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        nothing.text.contains("Choose at least a date range") && nothing.text.contains("<title>Error: "),
        "{}",
        nothing.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_names_the_losses_before_an_action() {
    let world = crate::world("form_ask").await;
    let tenant = world.tenant("standard").await;
    let made = world.endpoint(&tenant).await;
    let id = made["id"].as_str().unwrap();
    let cookie = sign_in(&world, &tenant.key).await;
    let base = format!("/dashboard/{}", tenant.id);
    let csrf = get(&world, &cookie, &format!("{base}/webhooks")).await.csrf();
    let status = format!("{base}/webhooks/{id}/status");
    let switch = async |to: &str, more: &[(&str, &str)]| {
        let form = [&[("csrf", csrf.as_str()), ("status", to)][..], more].concat();
        post(&world, &cookie, &status, &form).await
    };
    let now = async || world.get(&tenant.key, &format!("/v1/endpoints/{id}")).await.ok(200)["status"].clone();
    assert_eq!(switch("inactive", &[("once", "1")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(now().await, "inactive", "without a loss it happens at once");
    switch("active", &[("once", "2")]).await;

    let (event, delivery) = recorded(&world, &tenant, &made, DeliveryStatus::Pending).await;
    let asked = switch("inactive", &[("once", "3")]).await;
    assert!(asked.text.contains("Switch hook off?") && asked.text.contains("1 pending delivery"), "{}", asked.text);
    assert_eq!(now().await, "active");
    assert_eq!(switch("inactive", &[("once", "3"), ("confirmed", "yes")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(now().await, "inactive");

    for (path, named) in [
        (format!("/webhooks/{id}/delete"), "1 pending delivery"),
        (format!("/deliveries/{delivery}/cancel"), "user.created"),
        (format!("/events/{event}/expunge"), "Data and metadata are deleted"),
    ] {
        let asked = get(&world, &cookie, &format!("{base}{path}")).await;
        assert_eq!(asked.status, StatusCode::OK);
        assert!(asked.text.contains(named), "{path}: {}", asked.text);
    }
    let cancel = format!("{base}/deliveries/{delivery}/cancel");
    let notice = async |once: &str| post(&world, &cookie, &cancel, &[("csrf", &csrf), ("once", once)]).await;
    assert!(notice("1").await.header("location").contains("notice=cancelled&"));
    assert!(notice("2").await.header("location").contains("notice=already-finished&"), "the delivery's page says so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_is_shown_to_the_sender_of_its_form_only() {
    let world = crate::world("form_notice").await;
    let tenant = world.tenant("standard").await;
    let made = world.endpoint(&tenant).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let webhooks = format!("/dashboard/{}/webhooks", tenant.id);
    let csrf = get(&world, &cookie, &webhooks).await.csrf();
    let delete = format!("{webhooks}/{}/delete", made["id"].as_str().unwrap());
    let done = post(&world, &cookie, &delete, &[("csrf", &csrf)]).await;
    let done = get(&world, &cookie, done.header("location")).await;
    assert!(done.text.contains("The webhook was deleted"), "{}", done.text);
    let link = get(&world, &cookie, &format!("{webhooks}?notice=deleted")).await;
    assert!(!link.text.contains("The webhook was deleted"), "a link cannot claim it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_of_a_count_opens_exactly_the_counted_items() {
    let world = crate::world("form_counts").await;
    let tenant = world.tenant("standard").await;
    let made = world.endpoint(&tenant).await;
    let id = made["id"].as_str().unwrap();
    let (event, retrying) = recorded(&world, &tenant, &made, DeliveryStatus::Pending).await;
    let (_, good) = recorded(&world, &tenant, &made, DeliveryStatus::Delivered).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let base = format!("/dashboard/{}", tenant.id);
    let list = get(&world, &cookie, &format!("{base}/webhooks")).await;
    let failed = format!("{base}/deliveries?endpoint_id={id}&amp;failed_attempts=true&amp;test=false");
    assert!(list.text.contains(&failed), "{}", list.text);
    let page = get(&world, &cookie, &failed.replace("&amp;", "&")).await;
    let (retrying, good) = (retrying.to_string(), good.to_string());
    assert!(page.text.contains(&retrying) && !page.text.contains(&good), "a retried delivery counts as failed, too");

    let typed = get(&world, &cookie, &format!("{base}/deliveries?type=user.*")).await;
    assert!(typed.text.contains(&good), "{}", typed.text);
    let both = world.get(&tenant.key, "/v1/deliveries?status_code=7xx&type=a..b&limit=1").await;
    assert_eq!(both.body["errors"].as_array().map(Vec::len), Some(2), "{:#}", both.body);
    let replay = world.get(&tenant.key, "/v1/deliveries?replay_id=rpl_00000000000070000000000000000001").await.ok(200);
    assert!(replay["data"].as_array().unwrap().is_empty());

    // A deleted webhook keeps its name, also in the filter.
    world.call(&tenant.key, "DELETE", &format!("/v1/endpoints/{id}"), None).await.ok(204);
    let page = get(&world, &cookie, &format!("{base}/deliveries?endpoint_id={id}")).await;
    assert!(page.text.contains("selected>hook (deleted)"), "{}", page.text);
    assert!(page.text.contains(&format!("title=\"{id}\">hook (deleted)")), "{}", page.text);

    // `live.js` requests only the parts that refresh.
    let whole = get(&world, &cookie, &format!("{base}/events/{event}")).await;
    assert!(
        whole.text.contains("Why each webhook matched or not") && whole.text.contains("Fired (1)"),
        "{}",
        whole.text
    );
    let request = axum::http::Request::get(format!("{base}/events/{event}")).header("cookie", &cookie);
    let request = request.header("x-postrider-live", "yes").body(axum::body::Body::empty()).unwrap();
    let live = crate::pages::send(&world, request).await;
    assert!(
        live.text.contains("id=\"event-deliveries\"") && !live.text.contains("Why each webhook matched"),
        "{}",
        live.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_limit_the_form_is_replaced_by_the_reason() {
    let world = crate::world("form_limit").await;
    let tenant = world.tenant("standard").await;
    let limits = json!({"limits": {"endpoints": 1}});
    world.call(OPERATOR, "PATCH", &format!("/v1/tenants/{}", tenant.id), Some(&limits)).await.ok(200);
    world.endpoint(&tenant).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let page = get(&world, &cookie, &format!("/dashboard/{}/webhooks/new", tenant.id)).await;
    assert!(page.text.contains("1 of 1 webhooks are used") && !page.text.contains("Create webhook"), "{}", page.text);
}

/// Browsers send a GET to the address of a form when its result has expired, and after a sign-in.
#[test]
fn every_address_that_takes_a_form_is_a_page() {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut looked_at = 0;
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            for route in text.split(".route(").skip(1).map(|rest| rest.lines().next().unwrap_or_default()) {
                if route.contains("post(") && !route.contains("sign-out") {
                    looked_at += 1;
                    assert!(route.contains("get("), "{}: {route}", path.display());
                }
            }
        }
    }
    assert!(looked_at >= 15, "{looked_at}");
}
