//! The form's choice of the webhook that is told about another one.

use axum::http::StatusCode;
use serde_json::json;

use crate::pages::{get, post, sign_in};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_chooses_which_webhook_is_told_and_about_what() {
    let world = crate::world("dash_notify").await;
    let tenant = world.tenant("standard").await;
    let create = async |name: &str| {
        let body = json!({"name": name, "url": "https://example.com/", "event_types": ["*"]});
        world.post(&tenant.key, "/v1/endpoints", body).await.ok(201)
    };
    let (told, watched) = (create("on call").await, create("hook").await);
    let (told, id) = (told["id"].as_str().unwrap(), watched["id"].as_str().unwrap());
    let cookie = sign_in(&world, &tenant.key).await;
    let own = format!("/dashboard/{}/webhooks/{id}", tenant.id);
    let edit = format!("{own}/edit");
    let page = get(&world, &cookie, &edit).await;
    assert!(page.text.contains(&format!("<option value=\"{told}\"")), "{}", page.text);
    assert!(!page.text.contains(&format!("<option value=\"{id}\"")), "a webhook cannot tell itself");
    assert_eq!(page.text.matches("name=\"notify_on\"").count(), 4);

    let (csrf, version) = (page.csrf(), watched["version"].to_string());
    let mut form = vec![
        ("csrf", csrf.as_str()),
        ("version", &version),
        ("name", "hook"),
        ("active", "yes"),
        ("url", "https://example.com/"),
        ("event_types", "*"),
        ("notify", told),
    ];
    let refused = post(&world, &cookie, &edit, &form).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "no state is chosen");
    assert!(refused.text.contains("at least one of failing"), "{}", refused.text);
    form.extend([("notify_on", "failing"), ("notify_on", "recovered")]);
    let saved = post(&world, &cookie, &edit, &form).await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.text);
    let stored = world.get(&tenant.key, &format!("/v1/endpoints/{id}")).await.ok(200);
    assert_eq!(stored["notify"], json!({"endpoint": told, "on": ["failing", "recovered"]}));
    let page = get(&world, &cookie, &own).await;
    assert!(page.text.contains("when deliveries fail") && page.text.contains(">on call</a>"), "{}", page.text);
}
