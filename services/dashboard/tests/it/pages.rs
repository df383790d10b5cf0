//! Sessions, forms, headers and the separation of tenants. Tests with a browser are in `tests/it/dashboard` of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

use crate::harness::{OPERATOR, Tenant, World};

pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The token of the page's forms.
    pub(crate) fn csrf(&self) -> String {
        let rest = self.text.split_once("name=\"csrf\" value=\"").expect("a form").1;
        rest.split('"').next().expect("a token").to_owned()
    }
}

pub(crate) async fn send(world: &World, request: Request<Body>) -> Page {
    let response = world.router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Page { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
}

pub(crate) async fn get(world: &World, cookie: &str, path: &str) -> Page {
    send(world, Request::get(path).header("cookie", cookie).body(Body::empty()).unwrap()).await
}

/// Sends a form and follows the redirect to its result, as a browser does.
pub(crate) async fn post(world: &World, cookie: &str, path: &str, form: &[(&str, &str)]) -> Page {
    let page = send_form(world, cookie, path, form).await;
    let to = page.header("location").to_owned();
    if to.contains("?result=") { get(world, cookie, &to).await } else { page }
}

pub(crate) async fn send_form(world: &World, cookie: &str, path: &str, form: &[(&str, &str)]) -> Page {
    let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request =
        Request::post(path).header("cookie", cookie).header("content-type", "application/x-www-form-urlencoded");
    send(world, request.body(Body::from(body)).unwrap()).await
}

/// Signs in and returns the cookie.
pub(crate) async fn sign_in(world: &World, key: &str) -> String {
    let page = post(world, "", "/dashboard/sign-in", &[("key", key)]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    page.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_sign_out_and_with_its_key() {
    let world = crate::world("dash_session").await;
    let tenant = world.tenant("standard").await;
    let webhooks = format!("/dashboard/{}/webhooks", tenant.id);

    let page = get(&world, "", &webhooks).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert!(page.header("location").starts_with("/dashboard/sign-in?next=%2Fdashboard%2Ften_"), "{:?}", page.headers);
    let page = post(&world, "", "/dashboard/sign-in", &[("key", &tenant.key), ("next", &webhooks)]).await;
    assert_eq!(page.header("location"), webhooks);
    let cookie = page.header("set-cookie");
    assert!(cookie.contains("; HttpOnly; SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
    assert!(!cookie.contains(&tenant.key), "the cookie does not contain the key");

    let cookie = sign_in(&world, &tenant.key).await;
    let page = get(&world, &cookie, &webhooks).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text.contains(&tenant.key));
    let page = post(&world, &cookie, "/dashboard/sign-out", &[("csrf", &page.csrf())]).await;
    assert!(page.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(get(&world, &cookie, &webhooks).await.status, StatusCode::SEE_OTHER);

    // The sessions of a deleted key have ended.
    let cookie = sign_in(&world, &tenant.key).await;
    let keys = world.get(OPERATOR, &format!("/v1/tenants/{}/keys", tenant.id)).await.ok(200);
    let id = keys["data"][0]["id"].as_str().unwrap();
    world.call(OPERATOR, "DELETE", &format!("/v1/tenants/{}/keys/{id}", tenant.id), None).await.ok(204);
    assert_eq!(get(&world, &cookie, &webhooks).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_and_publish_only_keys_are_refused_and_lock_out_no_one_else() {
    let world = crate::world("dash_wrong").await;
    let tenant = world.tenant("standard").await;
    let publisher = world.key(&tenant.id, &["publish"]).await;
    let page = post(&world, "", "/dashboard/sign-in", &[("key", &publisher)]).await;
    assert_eq!((page.status, page.headers.contains_key("set-cookie")), (StatusCode::FORBIDDEN, false));
    for _ in 0..50 {
        let page = post(&world, "", "/dashboard/sign-in", &[("key", "prk_guess")]).await;
        assert!(!page.headers.contains_key("set-cookie") && !page.text.contains("prk_guess"));
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    }
    sign_in(&world, &tenant.key).await;
    let request = Request::post("/dashboard/sign-in").header("sec-fetch-site", "cross-site");
    let page = send(&world, request.body(Body::from(format!("key={}", tenant.key))).unwrap()).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "another site cannot sign a visitor in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_without_the_token_of_its_session_changes_nothing() {
    let world = crate::world("dash_csrf").await;
    let tenant = world.tenant("standard").await;
    let made = world.endpoint(&tenant).await;
    let id = made["id"].as_str().unwrap();
    let (mine, other) = (sign_in(&world, &tenant.key).await, sign_in(&world, OPERATOR).await);
    let webhooks = format!("/dashboard/{}/webhooks", tenant.id);
    let foreign = get(&world, &other, &webhooks).await.csrf();
    let delete = format!("{webhooks}/{id}/delete");
    for form in [&[][..], &[("csrf", "")], &[("csrf", "x")], &[("csrf", foreign.as_str())]] {
        assert_eq!(post(&world, &mine, &delete, form).await.status, StatusCode::FORBIDDEN, "{form:?}");
    }
    world.get(&tenant.key, &format!("/v1/endpoints/{id}")).await.ok(200);
    let own = get(&world, &mine, &webhooks).await.csrf();
    assert_eq!(post(&world, &mine, &delete, &[("csrf", &own)]).await.status, StatusCode::SEE_OTHER);
    world.get(&tenant.key, &format!("/v1/endpoints/{id}")).await.problem(404, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_response_forbids_foreign_content_and_assets_are_cacheable() {
    let world = crate::world("dash_headers").await;
    assert_eq!(get(&world, "", "/").await.header("location"), "/dashboard");
    for path in ["/dashboard", "/dashboard/sign-in", "/dashboard/nowhere/at/all", "/dashboard/assets/nothing.css"] {
        let page = get(&world, "", path).await;
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"));
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("referrer-policy"), "same-origin");
        assert_eq!(page.header("cache-control"), "no-store");
    }
    let page = get(&world, "", "/dashboard/sign-in").await;
    assert!(!page.text.contains(" style=") && !page.text.contains(" onclick=") && !page.text.contains("http://"));
    let assets: Vec<&str> = page.text.split('"').filter(|text| text.starts_with("/dashboard/assets/")).collect();
    assert!(assets.len() >= 3, "{assets:?}");
    for asset in assets {
        let file = get(&world, "", asset).await;
        assert_eq!(file.status, StatusCode::OK, "{asset}");
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable");
    }
}

/// Every route in the source files of the dashboard.
pub(crate) fn routes() -> BTreeSet<String> {
    handlers().into_keys().collect()
}

/// The handlers of every route in the source files of the dashboard, as text: `get(show).post(save))`.
pub(crate) fn handlers() -> BTreeMap<String, String> {
    fn walk(folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let routes = text.split(".route(\"").skip(1).filter_map(|rest| rest.split_once('"'));
                let named = |(route, rest): (&str, &str)| {
                    (route.to_owned(), rest.lines().next().unwrap_or_default().to_owned())
                };
                found.extend(routes.map(named));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// Routes that show no tenant's data.
const OPEN: [&str; 8] = [
    "/",
    "/dashboard",
    "/dashboard/assets/{file}",
    "/dashboard/assets/brand/{file}",
    "/dashboard/sign-in",
    "/dashboard/sign-out",
    "/dashboard/{tenant}",
    "/dashboard/{tenant}/{*path}",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_or_form_reaches_another_tenant_or_the_operator_pages() {
    let world = crate::world("dash_foreign").await;
    let (mine, theirs) = (world.tenant("standard").await, world.tenant("migma").await);
    let made = world
        .post(
            &theirs.key,
            "/v1/endpoints",
            json!({"name": "their secret name", "url": "https://example.com/hook", "event_types": ["*"]}),
        )
        .await
        .ok(201);
    let replay = world.post(&theirs.key, "/v1/replays", json!({"only_failed": true})).await.ok(202);
    let erasure = world.post(&theirs.key, "/v1/erasures", json!({"value": "their value"})).await.ok(202);
    let cookie = sign_in(&world, &mine.key).await;
    let csrf = get(&world, &cookie, &format!("/dashboard/{}/webhooks", mine.id)).await.csrf();
    let routes = routes();
    assert!(routes.len() > 25, "{routes:?}");
    for route in routes.iter().filter(|route| !OPEN.contains(&route.as_str())) {
        let id = match route {
            route if route.contains("/webhooks/") => made["id"].as_str().unwrap(),
            route if route.contains("/replays/") => replay["id"].as_str().unwrap(),
            route if route.contains("/erasures/") => erasure["id"].as_str().unwrap(),
            route if route.contains("/tenants/") => theirs.id.as_str(),
            route if route.contains("/deliveries/") => "dlv_00000000000000000000000000000001",
            _ => "1",
        };
        // Requests the other tenant's object under the address of its own tenant, and under the address of the visitor's tenant.
        for tenant in [&theirs, &mine] {
            let path = route.replace("{tenant}", &tenant.id).replace("{id}", id).replace("{key}", "key_1");
            let list = !route.contains("{id}") && route.contains("{tenant}") && tenant.id == mine.id;
            for page in [
                get(&world, &cookie, &path).await,
                post(&world, &cookie, &path, &[("csrf", &csrf), ("status", "inactive")]).await,
            ] {
                let refused = matches!(page.status.as_u16(), 403..=405);
                assert!(refused || list, "{path}: {}\n{}", page.status, page.text);
                assert!(!page.text.contains("their secret name"), "{path}");
            }
        }
    }
    let untouched = world.get(&theirs.key, &format!("/v1/endpoints/{}", made["id"].as_str().unwrap())).await.ok(200);
    assert_eq!((&untouched["status"], &untouched["version"]), (&json!("active"), &made["version"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_with_the_scope_read_cannot_change_anything() {
    let world = crate::world("dash_reader").await;
    let tenant = world.tenant("standard").await;
    let made = world.endpoint(&tenant).await;
    let id = made["id"].as_str().unwrap();
    let reader = Tenant { id: tenant.id.clone(), key: world.key(&tenant.id, &["read"]).await };
    let cookie = sign_in(&world, &reader.key).await;
    let webhooks = format!("/dashboard/{}/webhooks", tenant.id);
    let page = get(&world, &cookie, &webhooks).await;
    assert!(page.text.contains("hook") && !page.text.contains("role=\"switch\"") && !page.text.contains("/delete"));
    for path in
        ["new".to_owned(), format!("{id}/edit"), format!("{id}/delete"), format!("{id}/test"), format!("{id}/rotate")]
    {
        assert_eq!(get(&world, &cookie, &format!("{webhooks}/{path}")).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let csrf = page.csrf();
    for path in ["edit", "delete", "status", "test", "rotate"] {
        let form = [
            ("csrf", csrf.as_str()),
            ("status", "inactive"),
            ("name", "n"),
            ("url", "https://example.com/"),
            ("event_types", "*"),
        ];
        let page = post(&world, &cookie, &format!("{webhooks}/{id}/{path}"), &form).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}: {}", page.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_form_shows_each_error_at_its_field_and_keeps_the_input() {
    let world = crate::world("dash_mistakes").await;
    let tenant = world.tenant("mumara").await;
    let cookie = sign_in(&world, &tenant.key).await;
    let webhooks = format!("/dashboard/{}/webhooks", tenant.id);
    let csrf = get(&world, &cookie, &webhooks).await.csrf();
    let new = format!("{webhooks}/new");
    let form = [
        ("csrf", csrf.as_str()),
        ("name", "typed <b>name"),
        ("url", "ftp://example.com/"),
        ("event_types", "Bounced"),
        ("timeout_seconds", "soon"),
        ("filter_typed.dedicated_ip", "999.1.1.1"),
        ("payload_filter", "{"),
    ];
    let page = post(&world, &cookie, &new, &form).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("f-payload_filter-error") && page.text.contains("typed &lt;b&gt;name"), "{}", page.text);
    let corrected: Vec<_> = form.iter().copied().filter(|(name, _)| *name != "payload_filter").collect();
    let page = post(&world, &cookie, &new, &corrected).await;
    assert!(page.text.contains("f-timeout_seconds-error"), "{}", page.text);
    let corrected: Vec<_> = corrected.into_iter().filter(|(name, _)| *name != "timeout_seconds").collect();
    let page = post(&world, &cookie, &new, &corrected).await;
    assert!(page.text.contains("f-url-error") && page.text.contains("f-filters-error"), "{}", page.text);
    assert_eq!(world.get(&tenant.key, "/v1/endpoints").await.ok(200)["usage"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_keeps_hidden_fields_and_never_overwrites_a_newer_version() {
    let world = crate::world("dash_edit").await;
    let tenant = world.tenant("standard").await;
    let body = json!({"name": "n", "url": "https://example.com/", "event_types": ["a.*", "b.c"], "filters": {"bridge": ["b1"]},
        "headers": {"x-own": "value of its own"}, "metadata": {"a": 1}, "retry_schedule_seconds": [60, 3600],
        "payload_filter": {"field": "data.a", "op": "gt", "value": 5}, "rate_per_second": 0.5, "description": "two\nlines"});
    let made = world.post(&tenant.key, "/v1/endpoints", body).await.ok(201);
    let cookie = sign_in(&world, &tenant.key).await;
    let path = format!("/dashboard/{}/webhooks/{}/edit", tenant.id, made["id"].as_str().unwrap());
    let page = get(&world, &cookie, &path).await;
    assert!(!page.text.contains("value of its own"));
    let (csrf, version) = (page.csrf(), made["version"].to_string());
    let form = [
        ("csrf", csrf.as_str()),
        ("version", &version),
        ("name", "renamed"),
        ("active", "yes"),
        ("url", "https://example.com/"),
        ("other_types", "a.*\r\nb.c"),
        ("filter.bridge", "b1"),
        ("headers", "x-own: ********"),
        ("retry_schedule_seconds", "1m, 1h"),
        ("payload_filter", r#"{"field": "data.a", "op": "gt", "value": 5}"#),
        ("rate_per_second", "0.5"),
        ("description", "two\r\nlines"),
    ];
    let saved = post(&world, &cookie, &path, &form).await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.text);
    let mut now = world.get(&tenant.key, &format!("/v1/endpoints/{}", made["id"].as_str().unwrap())).await.ok(200);
    let mut expected = made.clone();
    expected["name"] = "renamed".into();
    for volatile in ["version", "updated_at", "secret"] {
        now.as_object_mut().unwrap().remove(volatile);
        expected.as_object_mut().unwrap().remove(volatile);
    }
    assert_eq!(now, expected);
    let mut later = form.to_vec();
    later.push(("once", "another page's"));
    let again = post(&world, &cookie, &path, &later).await;
    assert_eq!(again.status, StatusCode::PRECONDITION_FAILED);
    assert!(again.text.contains("This changed since you opened it"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalog_shows_what_an_endpoint_receives_and_can_be_downloaded() {
    let world = crate::world("dash_catalog").await;
    let tenant = world.tenant("mumara").await;
    let cookie = sign_in(&world, &tenant.key).await;
    let at = |path: &str| format!("/dashboard/{}{path}", tenant.id);

    let page = get(&world, &cookie, &at("/event-types?q=opened")).await;
    assert!(page.text.contains("/event-types/Newsletter%20Opened"), "{}", page.text);
    assert!(!page.text.contains("Newsletter%20Bounced"));
    let page = get(&world, &cookie, &at("/event-types/Newsletter%20Opened")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("&quot;opened&quot;"), "the name in the body: {}", page.text);
    assert_eq!(get(&world, &cookie, &at("/event-types/no.such")).await.status, StatusCode::NOT_FOUND);

    for (file, version) in [("openapi", "3.1.0"), ("asyncapi", "3.0.0")] {
        let page = get(&world, &cookie, &at(&format!("/catalog/{file}.json"))).await;
        assert!(page.header("content-disposition").starts_with("attachment"));
        let document: serde_json::Value = serde_json::from_str(&page.text).unwrap();
        assert_eq!(document[file], version);
    }
}
