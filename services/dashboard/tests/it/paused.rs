//! The pages of a paused webhook.

use axum::http::StatusCode;
use serde_json::json;

use crate::pages::{get, post, send_form, sign_in};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_paused_skipped_and_resumed_by_its_buttons() {
    let world = crate::world("dash_paused").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    let id = endpoint["id"].as_str().unwrap();
    let status = async || world.get(&tenant.key, &format!("/v1/endpoints/{id}")).await.ok(200)["status"].clone();
    let cookie = sign_in(&world, &tenant.key).await;
    let at = format!("/dashboard/{}/webhooks/{id}", tenant.id);
    let active = get(&world, &cookie, &at).await;
    assert!(active.text.contains(">Pause</button>") && !active.text.contains(">Resume</button>"), "{}", active.text);
    let csrf = active.csrf();
    let form = |status| [("csrf", csrf.as_str()), ("status", status), ("back", "webhook")];
    let paused = post(&world, &cookie, &format!("{at}/status"), &form("paused")).await;
    assert_eq!((paused.status, status().await), (StatusCode::SEE_OTHER, json!("paused")));
    let detail = get(&world, &cookie, &at).await.text;
    assert!(detail.contains("Paused since") && detail.contains("Nothing waits yet."), "{detail}");
    assert!(detail.contains(">Resume</button>") && detail.contains("badge warn\">paused"), "{detail}");
    let list = get(&world, &cookie, &format!("/dashboard/{}/webhooks", tenant.id)).await.text;
    assert!(list.contains("trouble-line calm"), "a pause is no failure: {list}");
    let waiting = get(&world, &cookie, &format!("/dashboard/{}/deliveries?status=paused", tenant.id)).await.text;
    assert!(waiting.contains("Cancel all that match…") && !waiting.contains("Retry all that match…"), "{waiting}");

    // An edit of the webhook leaves it paused.
    let edit = get(&world, &cookie, &format!("{at}/edit")).await;
    let csrf_of_edit = edit.csrf();
    let fields =
        [("csrf", csrf_of_edit.as_str()), ("name", "Other"), ("url", "https://example.com/hook"), ("event_types", "*")];
    assert_eq!(post(&world, &cookie, &format!("{at}/edit"), &fields).await.status, StatusCode::SEE_OTHER);
    assert_eq!(status().await, json!("paused"));

    let skip = get(&world, &cookie, &format!("{at}/skip")).await;
    assert!(skip.text.contains("Skip what waits for Other?"), "{}", skip.text);
    let skipped = send_form(&world, &cookie, &format!("{at}/skip"), &[("csrf", skip.csrf().as_str())]).await;
    assert_eq!(skipped.status, StatusCode::SEE_OTHER);
    let logged = world.get(&tenant.key, "/v1/audit-log?action=endpoint.paused_skipped").await.ok(200);
    assert_eq!(logged["data"].as_array().unwrap().len(), 1);

    let resumed = post(&world, &cookie, &format!("{at}/status"), &form("active")).await;
    assert_eq!((resumed.status, status().await), (StatusCode::SEE_OTHER, json!("active")));
    assert!(resumed.header("location").contains("webhook-resumed"), "{}", resumed.header("location"));

    let reader = world.key(&tenant.id, &["read"]).await;
    let reader = sign_in(&world, &reader).await;
    assert!(!get(&world, &reader, &at).await.text.contains(">Pause</button>"));
    assert_eq!(get(&world, &reader, &format!("{at}/skip")).await.status, StatusCode::FORBIDDEN);
}
