//! Portal links: a link opens once, only by a form, in a tab or in a frame. Its session has its own scopes and its own end.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;

use crate::harness::{OPERATOR, Tenant, World};
use crate::pages::{Page, get, post, send, sign_in};

pub(crate) const PORTAL: &str = "/dashboard/portal";
const APP: &str = "https://app.example.com";

/// Creates a link and returns its token.
pub(crate) async fn link(world: &World, tenant: &Tenant, body: serde_json::Value) -> String {
    let made = world.post(OPERATOR, &format!("/v1/tenants/{}/portal-links", tenant.id), body).await.ok(201);
    made["url"].as_str().unwrap().split_once("link=").unwrap().1.to_owned()
}

/// Opens a link in a tab.
pub(crate) async fn open(world: &World, cookie: &str, link: &str) -> Page {
    post(world, cookie, PORTAL, &[("link", link)]).await
}

/// Sends a request as a browser does for a frame of another site.
pub(crate) async fn framed(world: &World, method: &str, cookie: &str, path: &str, body: &str) -> Page {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("cookie", cookie)
        .header("sec-fetch-dest", "iframe")
        .header("content-type", "application/x-www-form-urlencoded");
    send(world, request.body(Body::from(body.to_owned())).unwrap()).await
}

pub(crate) fn cookie_of(page: &Page) -> String {
    page.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opens_once_and_a_look_at_it_opens_nothing() {
    let world = crate::world("portal_once").await;
    let tenant = world.tenant("standard").await;
    let link = link(&world, &tenant, json!({"landing": "/deliveries?status=failed"})).await;
    for _ in 0..3 {
        let looked = get(&world, "", &format!("{PORTAL}?link={link}")).await;
        assert_eq!(looked.status, StatusCode::OK);
        assert!(looked.text.contains(&link) && looked.header("set-cookie").is_empty(), "{}", looked.text);
    }
    let opened = open(&world, "", &link).await;
    assert_eq!(opened.status, StatusCode::SEE_OTHER);
    assert_eq!(opened.header("location"), format!("/dashboard/{}/deliveries?status=failed", tenant.id));
    let set = opened.header("set-cookie");
    assert!(set.contains("SameSite=Lax") && set.contains("Max-Age=28800") && !set.contains(&link), "{set}");
    let mine = cookie_of(&opened);
    assert_eq!(get(&world, &mine, opened.header("location")).await.status, StatusCode::OK);

    let stranger = open(&world, "", &link).await;
    assert_eq!(stranger.status, StatusCode::GONE);
    assert!(stranger.text.contains("no longer works") && stranger.header("set-cookie").is_empty());
    assert_eq!(
        open(&world, &mine, &link).await.header("location"),
        opened.header("location"),
        "a reload of the visitor"
    );
    assert_eq!(open(&world, "", "unknown").await.status, StatusCode::GONE);
    let foreign = Request::post(PORTAL).header("sec-fetch-site", "cross-site").body(Body::from("link=x")).unwrap();
    assert_eq!(send(&world, foreign).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portal_session_has_the_scopes_of_its_link_and_sees_its_tenant_only() {
    let world = crate::world("portal_scopes").await;
    let (tenant, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let reader = link(&world, &tenant, json!({"scopes": ["read"], "user": "Jane"})).await;
    let reader = cookie_of(&open(&world, "", &reader).await);
    let new = format!("/dashboard/{}/webhooks/new", tenant.id);
    assert_eq!(get(&world, &reader, &new).await.status, StatusCode::FORBIDDEN);
    for path in [format!("/dashboard/{}/webhooks", other.id), "/dashboard/operator/tenants".to_owned()] {
        let refused = get(&world, &reader, &path).await;
        assert!(matches!(refused.status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN), "{path}: {}", refused.status);
    }

    let editor = link(&world, &tenant, json!({"user": "Jane"})).await;
    let editor = cookie_of(&open(&world, &reader, &editor).await);
    assert_ne!(editor, reader, "a session with other rights is another session");
    let csrf = get(&world, &editor, &new).await.csrf();
    let form = [
        ("csrf", csrf.as_str()),
        ("once", "x"),
        ("name", "billing"),
        ("active", "yes"),
        ("url", "https://example.com/hook"),
        ("event_types", "*"),
    ];
    assert_eq!(post(&world, &editor, &new, &form).await.status, StatusCode::CREATED);
    assert_eq!(post(&world, &reader, &new, &form).await.status, StatusCode::FORBIDDEN, "a token of another session");
    let log = world.get(&tenant.key, "/v1/audit-log?action=endpoint.created").await.ok(200);
    let actor = &log["data"][0]["actor"];
    assert_eq!(
        (&actor["type"], &actor["name"], &actor["via"]),
        (&json!("portal"), &json!("Jane"), &json!("dashboard"))
    );
    let by = format!("/v1/audit-log?actor={}", actor["id"].as_str().unwrap());
    assert_eq!(world.get(&tenant.key, &by).await.ok(200)["data"].as_array().unwrap().len(), 2, "opened and created");
    assert!(
        get(&world, &editor, &format!("/dashboard/{}/audit-log", tenant.id))
            .await
            .text
            .contains("Jane (<span translate=\"no\">dashboard</span>)")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn portal_sessions_end_on_request_with_their_key_and_with_their_tenant() {
    let world = crate::world("portal_end").await;
    let tenant = world.tenant("standard").await;
    let webhooks = format!("/dashboard/{}/webhooks", tenant.id);
    let session = async || cookie_of(&open(&world, "", &link(&world, &tenant, json!({})).await).await);
    let is_open = async |cookie: &str| get(&world, cookie, &webhooks).await.status == StatusCode::OK;

    let (of_link, of_key) = (session().await, sign_in(&world, &tenant.key).await);
    let waiting = link(&world, &tenant, json!({})).await;
    let sessions = format!("/v1/tenants/{}/portal-sessions", tenant.id);
    world.call(OPERATOR, "DELETE", &sessions, None).await.ok(204);
    assert!(!is_open(&of_link).await && is_open(&of_key).await, "sessions of links alone");
    assert_eq!(open(&world, "", &waiting).await.status, StatusCode::GONE);

    let keys = format!("/v1/tenants/{}/keys", tenant.id);
    let key = json!({"name": "backend", "scopes": ["read", "manage"]});
    let key = world.post(OPERATOR, &keys, key).await.ok(201);
    let links = format!("/v1/tenants/{}/portal-links", tenant.id);
    let made = world.post(key["key"].as_str().unwrap(), &links, json!({})).await.ok(201);
    let made = made["url"].as_str().unwrap().split_once("link=").unwrap().1;
    let of_its_key = cookie_of(&open(&world, "", made).await);
    assert!(is_open(&of_its_key).await);
    let path = format!("{keys}/{}", key["id"].as_str().unwrap());
    world.call(OPERATOR, "DELETE", &path, None).await.ok(204);
    assert!(!is_open(&of_its_key).await);

    let last = session().await;
    assert!(is_open(&last).await);
    world.call(OPERATOR, "DELETE", &format!("/v1/tenants/{}", tenant.id), None).await.ok(204);
    assert_eq!(get(&world, &last, &webhooks).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_asks_a_visitor_with_a_key_and_ends_the_session_that_it_replaces() {
    let world = crate::world_with("portal_replace", &[APP]).await;
    let tenant = world.tenant("standard").await;
    let is_open =
        async |cookie: &str| get(&world, cookie, "/dashboard/operator/tenants").await.status == StatusCode::OK;
    let submits_itself = async |cookie: &str, link: &str| {
        get(&world, cookie, &format!("{PORTAL}?link={link}")).await.text.contains("data-submit")
    };
    let first = link(&world, &tenant, json!({})).await;
    let operator = sign_in(&world, OPERATOR).await;
    assert!(submits_itself("", &first).await && submits_itself("postrider_session=ended", &first).await);
    let asked = get(&world, &operator, &format!("{PORTAL}?link={first}")).await.text;
    assert!(asked.contains("You are signed in with an API key") && !asked.contains("data-submit"), "{asked}");
    assert!(is_open(&operator).await, "the question ends nothing");
    let opened = open(&world, &operator, &first).await;
    assert_eq!(opened.status, StatusCode::SEE_OTHER);
    assert!(!is_open(&operator).await, "the replaced session has ended");

    // A second link with the same rights continues the session of the first without a question. A link with other rights replaces
    // the session.
    let mine = cookie_of(&opened);
    let second = link(&world, &tenant, json!({})).await;
    assert!(submits_itself(&mine, &second).await);
    assert_eq!(cookie_of(&open(&world, &mine, &second).await), mine);
    let reader = link(&world, &tenant, json!({"scopes": ["read"]})).await;
    let reader = cookie_of(&open(&world, &mine, &reader).await);
    let webhooks = format!("/dashboard/{}/webhooks", tenant.id);
    assert_eq!(get(&world, &reader, &webhooks).await.status, StatusCode::OK);
    assert_eq!(get(&world, &mine, &webhooks).await.status, StatusCode::SEE_OTHER);

    // A frame has a separate cookie, also in a browser that does not tell the server that the page is in a frame.
    let operator = sign_in(&world, OPERATOR).await;
    for frame in [true, false] {
        let embedded = link(&world, &tenant, json!({"embed": true})).await;
        let opened = if frame {
            framed(&world, "POST", &operator, PORTAL, &format!("link={embedded}")).await
        } else {
            open(&world, &operator, &embedded).await
        };
        assert!(opened.header("set-cookie").contains("Partitioned"), "{frame}");
        assert!(is_open(&operator).await, "the tab's session stays: {frame}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_has_its_own_session_and_no_sign_in() {
    let world = crate::world_with("portal_frame", &[APP, "https://*.example.org"]).await;
    let tenant = world.tenant("standard").await;
    let webhooks = format!("/dashboard/{}/webhooks", tenant.id);
    let embedded = link(&world, &tenant, json!({"embed": true})).await;
    let shown = framed(&world, "GET", "", &format!("{PORTAL}?link={embedded}"), "").await;
    assert!(!shown.text.contains("Postrider</span>"), "no logo: {}", shown.text);
    let policy = shown.header("content-security-policy").to_owned();
    assert!(policy.ends_with(&format!("frame-ancestors {APP} https://*.example.org")), "{policy}");
    assert!(!shown.headers.contains_key("x-frame-options"));
    let opened = framed(&world, "POST", "", PORTAL, &format!("link={embedded}")).await;
    let set = opened.header("set-cookie");
    assert!(set.contains("SameSite=None; Partitioned; Secure"), "{set}");
    let frame = cookie_of(&opened);

    let page = framed(&world, "GET", &frame, &webhooks, "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text.contains("Sign out") && !page.text.contains("Postrider</span>"), "{}", page.text);
    let missing = framed(&world, "GET", &frame, &format!("/dashboard/{}/nothing", tenant.id), "").await;
    assert!(missing.status == StatusCode::NOT_FOUND && !missing.text.contains("Postrider</span>"), "{}", missing.text);
    let csrf = framed(&world, "GET", &frame, &format!("{webhooks}/new"), "").await.csrf();
    let refused = framed(&world, "POST", &frame, &format!("{webhooks}/new"), &format!("csrf={csrf}x&name=a")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);

    // A second page of the product continues the session, so that the token in the forms of the first page remains valid.
    let second = link(&world, &tenant, json!({"embed": true})).await;
    let again = framed(&world, "POST", &frame, PORTAL, &format!("link={second}")).await;
    assert_eq!(cookie_of(&again), frame);

    let tab = sign_in(&world, &tenant.key).await;
    let ended = framed(&world, "GET", &tab, &webhooks, "").await;
    assert_eq!(ended.status, StatusCode::UNAUTHORIZED, "the session of a tab is none in a frame");
    assert!(ended.text.contains("Reload the page") && !ended.text.contains("API key"), "{}", ended.text);
    let ended = framed(&world, "POST", "", &format!("{webhooks}/new"), "csrf=x&name=a").await;
    assert!(ended.status == StatusCode::UNAUTHORIZED && ended.text.contains("Reload the page"), "{}", ended.text);

    let tab_only = link(&world, &tenant, json!({})).await;
    let refused = framed(&world, "POST", "", PORTAL, &format!("link={tab_only}")).await;
    assert!(refused.status == StatusCode::CONFLICT && refused.text.contains("embed"), "{}", refused.text);
    assert_eq!(open(&world, "", &tab_only).await.status, StatusCode::SEE_OTHER, "the refusal does not use it up");

    let closed = crate::world("portal_no_frame").await;
    let page = get(&closed, "", "/dashboard/sign-in").await;
    assert!(page.header("content-security-policy").ends_with("frame-ancestors 'none'"));
    assert_eq!(page.header("x-frame-options"), "DENY");
}
