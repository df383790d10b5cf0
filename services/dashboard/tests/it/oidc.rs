//! Sign-in of operators with an identity provider: the way there and back, refusals, the session, and the audit log. The tests of
//! `postrider-oidc` have the tokens that are refused.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use postrider_dashboard::Dashboard;
use postrider_oidc::{OperatorRule, Provider, ProviderConfig};
use postrider_profiles::Profiles;
use serde_json::json;

use crate::harness::{OPERATOR, World};
use crate::pages::{Page, get, post, send, send_form, sign_in};
use crate::stand_in::{CLIENT, SECRET, Sign, StandIn};

const BEGIN: &str = "/dashboard/sign-in/oidc";
const CALLBACK: &str = "/dashboard/sign-in/oidc/callback";
const ORIGIN: &str = "https://hooks.example.com";
const TENANTS: &str = "/dashboard/operator/tenants";

fn provider(issuer: &str, emails: &str, claim: &str) -> Arc<Provider> {
    let config = ProviderConfig {
        issuer: issuer.to_owned(),
        client_id: CLIENT.to_owned(),
        client_secret: Some(SECRET.into()),
        scopes: "openid email profile".to_owned(),
        redirect_url: format!("{ORIGIN}{CALLBACK}").parse().unwrap(),
        ca_file: None,
        rule: OperatorRule { emails: emails.parse().unwrap(), claim: claim.parse().ok() },
        label: "Example".to_owned(),
    };
    Arc::new(Provider::new(config).unwrap())
}

/// Starts a provider, and the dashboard with the operator Jane. `later` are the routes of the same dashboard with another rule.
async fn world(name: &str, rule: &str) -> (World, StandIn, Router) {
    let stand_in = StandIn::start("ES256").await;
    let (now, then) = (provider(stand_in.issuer(), rule, "groups=operators"), provider(stand_in.issuer(), "@x.y", ""));
    let mut later = Router::new();
    let routes = |api: postrider_api::Service, store: postrider_store::Store, tasks: &_| {
        let dashboard = |oidc| Dashboard {
            operations: Arc::clone(&api.operations),
            store: store.clone(),
            served_by_https: false,
            frame_ancestors: Vec::new(),
            oidc: Some(oidc),
        };
        later = postrider_dashboard::router(dashboard(then), tasks);
        api.routes.clone().merge(postrider_dashboard::router(dashboard(now), tasks))
    };
    let world = World::with_profiles(name, Profiles::builtin(), routes).await;
    (world, stand_in, later)
}

/// The cookies that an answer sets, as a browser sends them. A deleted cookie is left out.
fn cookies(page: &Page) -> String {
    let set = page.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let kept = set.filter(|cookie| !cookie.contains("Max-Age=0")).map(|cookie| cookie.split(';').next().unwrap());
    kept.collect::<Vec<_>>().join("; ")
}

/// Begins a sign-in and visits the provider. Returns the browser's cookie and the path to which the provider redirects it.
async fn visit(world: &World, stand_in: &StandIn, next: &str) -> (String, String) {
    let begun = get(world, "", &format!("{BEGIN}?next={next}")).await;
    assert_eq!(begun.status, StatusCode::SEE_OTHER, "{}", begun.text);
    let back = stand_in.visit(begun.header("location")).await;
    (cookies(&begun), back.strip_prefix(ORIGIN).expect("the redirect URL").to_owned())
}

/// Signs in and returns the last answer.
async fn complete(world: &World, stand_in: &StandIn) -> Page {
    let (cookie, back) = visit(world, stand_in, TENANTS).await;
    get(world, &cookie, &back).await
}

#[track_caller]
fn assert_refused(page: &Page, status: StatusCode, words: &str) {
    assert_eq!(page.status, status, "{}", page.text);
    assert!(page.text.contains(words), "{words:?} is not in {}", page.text);
    assert!(page.text.contains("name=\"key\"") && page.text.contains("Sign in with Example"), "{}", page.text);
    assert_eq!(cookies(page), "", "no session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_signs_in_and_the_audit_log_names_them() {
    let (world, stand_in, _) = world("oidc_in", "jane@example.com").await;
    let shown = get(&world, "", &format!("/dashboard/sign-in?next={TENANTS}")).await.text;
    assert!(
        shown.contains("Sign in with Example") && shown.contains("?next=%2Fdashboard%2Foperator%2Ftenants"),
        "{shown}"
    );

    let begun = get(&world, "", &format!("{BEGIN}?next={TENANTS}")).await;
    let set = begun.header("set-cookie");
    assert!(set.contains("; HttpOnly; SameSite=Lax; Path=/dashboard/sign-in; Max-Age=600"), "{set}");
    let asked = begun.header("location");
    assert!(asked.contains("code_challenge_method=S256") && asked.contains("scope=openid+email+profile"), "{asked}");
    let back = stand_in.visit(asked).await;
    let entered = get(&world, &cookies(&begun), back.strip_prefix(ORIGIN).unwrap()).await;
    assert_eq!((entered.status, entered.header("location")), (StatusCode::SEE_OTHER, TENANTS), "{}", entered.text);
    let session = cookies(&entered);
    assert!(session.starts_with("postrider_session=") && !session.contains("sign_in"), "{session}");
    assert_eq!(get(&world, &session, TENANTS).await.status, StatusCode::OK);

    let new = [("name", "Acme"), ("profile", "standard"), ("once", "x")];
    let csrf = get(&world, &session, "/dashboard/operator/tenants").await.csrf();
    let form: Vec<(&str, &str)> = new.into_iter().chain([("csrf", csrf.as_str())]).collect();
    let made = send_form(&world, &session, TENANTS, &form).await;
    assert!(made.status.is_redirection(), "{} {}", made.status, made.text);
    let log = world.get(OPERATOR, "/v1/audit-log").await.ok(200);
    let by = |action: &str| {
        let entries = log["data"].as_array().unwrap();
        entries.iter().find(|entry| entry["action"] == action).unwrap()["actor"].clone()
    };
    let actor = by("tenant.created");
    assert_eq!((&actor["type"], &actor["name"]), (&json!("operator"), &json!("jane@example.com")));
    assert_eq!((&actor["via"], actor == by("session.opened")), (&json!("dashboard"), true));
    let filter = format!("/v1/audit-log?actor={}", actor["id"].as_str().unwrap());
    assert!(world.get(OPERATOR, &filter).await.ok(200)["data"].as_array().unwrap().len() >= 2);
    let log = get(&world, &session, "/dashboard/operator/audit-log").await.text;
    assert!(log.contains("jane@example.com (<span translate=\"no\">dashboard</span>)"), "{log}");

    // A second sign-in in the same browser replaces the session.
    let again = get(&world, &session, BEGIN).await;
    let back = stand_in.visit(again.header("location")).await;
    let both = format!("{session}; {}", cookies(&again));
    let entered = get(&world, &both, back.strip_prefix(ORIGIN).unwrap()).await;
    assert_eq!(get(&world, &session, TENANTS).await.status, StatusCode::SEE_OTHER, "the replaced session");
    let session = cookies(&entered);
    let csrf = get(&world, &session, TENANTS).await.csrf();

    let out = post(&world, &session, "/dashboard/sign-out", &[("csrf", &csrf)]).await;
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(get(&world, &session, TENANTS).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_does_not_see_which_operator_changed_something() {
    let (world, stand_in, _) = world("oidc_tenant", "jane@example.com").await;
    let tenant = world.tenant("standard").await;
    let session = cookies(&complete(&world, &stand_in).await);
    let new = format!("/dashboard/{}/webhooks/new", tenant.id);
    let csrf = get(&world, &session, &new).await.csrf();
    let form = [
        ("csrf", csrf.as_str()),
        ("once", "x"),
        ("name", "billing"),
        ("active", "yes"),
        ("url", "https://example.com/hook"),
        ("event_types", "*"),
    ];
    assert_eq!(post(&world, &session, &new, &form).await.status, StatusCode::CREATED);
    let actor = |log: serde_json::Value| log["data"][0]["actor"].clone();
    let path = "/v1/audit-log?action=endpoint.created";
    assert_eq!(actor(world.get(&tenant.key, path).await.ok(200)), json!({"type": "operator", "via": "dashboard"}));
    assert_eq!(actor(world.get(OPERATOR, path).await.ok(200))["name"], "jane@example.com");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_is_refused_ends_the_persons_other_sessions() {
    let (world, stand_in, _) = world("oidc_left", "@ops.example.org").await;
    stand_in.script(|script| script.claims = json!({"email": "joe@ops.example.org"}));
    let session = cookies(&complete(&world, &stand_in).await);
    assert_eq!(get(&world, &session, TENANTS).await.status, StatusCode::OK);
    stand_in.script(|script| script.claims = json!({"email": "joe@example.com"}));
    assert_eq!(complete(&world, &stand_in).await.status, StatusCode::FORBIDDEN);
    assert_eq!(get(&world, &session, TENANTS).await.status, StatusCode::SEE_OTHER, "signed out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_is_not_an_operator_is_refused_and_told_why() {
    let (world, stand_in, _) = world("oidc_not", "jane@example.com,@ops.example.org").await;
    let try_with = async |claims: serde_json::Value| {
        stand_in.script(|script| script.claims = claims);
        complete(&world, &stand_in).await
    };
    let stranger = try_with(json!({"email": "joe@example.com"})).await;
    assert_refused(&stranger, StatusCode::FORBIDDEN, "joe@example.com, but this account is not an operator here");
    let unverified = try_with(json!({"email_verified": false, "preferred_username": "jane"})).await;
    assert_refused(&unverified, StatusCode::FORBIDDEN, "has not verified an e-mail address");
    assert_eq!(try_with(json!({"email": "any@ops.example.org"})).await.status, StatusCode::SEE_OTHER);
    let by_group = json!({"email": "joe@example.com", "groups": ["staff", "operators"]});
    assert_eq!(try_with(by_group).await.status, StatusCode::SEE_OTHER);
    let markup = try_with(json!({"email": "<b>@example.com"})).await;
    assert!(markup.text.contains("&lt;b&gt;@example.com") && !markup.text.contains("<b>@"), "{}", markup.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_browser_that_began_a_sign_in_completes_it_and_only_once() {
    let (world, stand_in, _) = world("oidc_state", "jane@example.com").await;
    let (cookie, back) = visit(&world, &stand_in, TENANTS).await;
    let (other, _) = visit(&world, &stand_in, TENANTS).await;
    let words = "was started in another browser";
    for (cookie, back) in [("", back.as_str()), (&other, &back), (&cookie, &back.replace("state=", "state=x"))] {
        assert_refused(&get(&world, cookie, back).await, StatusCode::BAD_REQUEST, words);
    }
    assert_eq!(stand_in.requests("/token"), 0, "a code without its browser is not sent to the provider");
    let without_state = get(&world, &cookie, &format!("{CALLBACK}?code=x")).await;
    assert_refused(&without_state, StatusCode::BAD_REQUEST, words);

    let entered = get(&world, &cookie, &back).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER);
    let cleared = entered.headers.get_all("set-cookie").iter().any(|set| {
        let set = set.to_str().unwrap();
        set.starts_with("postrider_sign_in=;") && set.contains("Max-Age=0") && set.contains("Path=/dashboard/sign-in")
    });
    assert!(cleared, "{:?}", entered.headers);
    // The browser's history: it still has its session, and the cookie of the sign-in is gone.
    let again = get(&world, &cookies(&entered), &back).await;
    assert_eq!((again.status, again.header("location")), (StatusCode::SEE_OTHER, "/dashboard"));
    // A copy of the cookie does not help, because the code was used.
    assert_refused(&get(&world, &cookie, &back).await, StatusCode::UNAUTHORIZED, "did not confirm the sign-in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sign_in_says_what_to_do() {
    let (world, stand_in, _) = world("oidc_failed", "jane@example.com").await;
    let refuse = |error| stand_in.script(|script| script.refuse = error);
    refuse(Some("access_denied"));
    assert_refused(&complete(&world, &stand_in).await, StatusCode::FORBIDDEN, "or you cancelled it");
    refuse(Some("server_error"));
    assert_refused(&complete(&world, &stand_in).await, StatusCode::BAD_GATEWAY, "reported an error");
    refuse(None);
    stand_in.script(|script| script.sign = Sign::Not);
    assert_refused(&complete(&world, &stand_in).await, StatusCode::UNAUTHORIZED, "did not confirm the sign-in");
    stand_in.script(|script| (script.sign, script.secret) = (Sign::Key, "another"));
    assert_refused(&complete(&world, &stand_in).await, StatusCode::BAD_GATEWAY, "not set up for each other");
    // Refused sign-ins are counted; a task writes the entry.
    while world.get(OPERATOR, "/v1/audit-log?action=session.refused").await.ok(200)["data"][0].is_null() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_is_removed_from_the_rule_is_signed_out() {
    let (world, stand_in, later) = world("oidc_removed", "jane@example.com").await;
    let session = cookies(&complete(&world, &stand_in).await);
    assert_eq!(get(&world, &session, TENANTS).await.status, StatusCode::OK);
    let request = || Request::get(TENANTS).header("cookie", &session).body(Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(later, request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert!(response.headers()["location"].to_str().unwrap().starts_with("/dashboard/sign-in?next="));
    // A session ends also without a provider.
    let without = crate::world("oidc_without").await;
    assert_eq!(get(&without, "", BEGIN).await.status, StatusCode::NOT_FOUND);
    assert!(!get(&without, "", "/dashboard/sign-in").await.text.contains("Sign in with"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_of_an_ended_session_comes_back_after_the_sign_in() {
    let (world, stand_in, _) = world("oidc_form", "jane@example.com").await;
    let tenant = world.tenant("standard").await;
    let new = format!("/dashboard/{}/webhooks/new", tenant.id);
    let ended =
        send_form(&world, "", &new, &[("name", "half & done"), ("secret", "whsec_x"), ("event_types", "*")]).await;
    assert_eq!(ended.status, StatusCode::UNAUTHORIZED);
    let form = ended.text.split_once("name=\"form\" value=\"").unwrap().1.split('"').next().unwrap();
    let form = form.replace("&amp;", "&");
    assert!(ended.text.contains(&format!("action=\"{BEGIN}\"")), "{}", ended.text);

    let begun = send_form(&world, "", BEGIN, &[("next", &new), ("form", &form)]).await;
    assert_eq!(begun.status, StatusCode::OK, "not a redirect, which `form-action` would forbid");
    let to = begun.header("refresh").strip_prefix("0;url=").unwrap();
    assert!(begun.text.contains("Continue to Example") && to.starts_with(stand_in.issuer()), "{}", begun.text);
    let back = stand_in.visit(to).await;
    let entered = get(&world, &cookies(&begun), back.strip_prefix(ORIGIN).unwrap()).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER, "{}", entered.text);
    let shown = get(&world, &cookies(&entered), entered.header("location")).await;
    assert!(shown.text.contains("half &amp; done") && !shown.text.contains("whsec_x"), "{}", shown.text);

    let foreign = Request::post(BEGIN).header("sec-fetch-site", "cross-site").body(Body::from("next=/dashboard"));
    assert_eq!(send(&world, foreign.unwrap()).await.status, StatusCode::FORBIDDEN);
    let long = "x".repeat(3_500);
    let ended = send_form(&world, "", &new, &[("name", &long)]).await;
    assert!(ended.text.contains("too long to be kept this way"), "{}", ended.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_works_while_the_provider_is_away() {
    let away = provider("http://127.0.0.1:9", "jane@example.com", "");
    let routes = |api: postrider_api::Service, store, tasks: &_| {
        let frame_ancestors = Vec::new();
        let (operations, oidc) = (api.operations, Some(away));
        let pages = Dashboard { operations, store, served_by_https: true, frame_ancestors, oidc };
        api.routes.merge(postrider_dashboard::router(pages, tasks))
    };
    let world = World::with_profiles("oidc_away", Profiles::builtin(), routes).await;
    let refused = get(&world, "", BEGIN).await;
    assert_refused(&refused, StatusCode::SERVICE_UNAVAILABLE, "does not answer now");
    let session = sign_in(&world, OPERATOR).await;
    assert_eq!(get(&world, &session, TENANTS).await.status, StatusCode::OK);
}
