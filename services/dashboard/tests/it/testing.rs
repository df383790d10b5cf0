//! The page that sends a test: the types that it offers, the sample with its edited data, and mistakes in the data.

use axum::http::StatusCode;
use postrider_broker::Queue;
use postrider_model::time::UnixMillis;
use postrider_wire::bundle::Member;
use postrider_wire::testing;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::harness::{Tenant, World};
use crate::pages::{Page, get, post, sign_in};

/// A simulated dispatcher. Its endpoint answers with the request's body.
fn answer(request: &Member) -> Option<Member> {
    Member::new(&testing::tested(request.head().ok()?, 200), request.payload.clone()).ok()
}

/// A webhook, its test page, and a simulated dispatcher.
struct Testing {
    world: World,
    tenant: Tenant,
    cookie: String,
    at: String,
    stop: CancellationToken,
}

impl Testing {
    async fn start(name: &str, profile: &str, event_types: &[&str]) -> Self {
        let world = crate::world(name).await;
        let tenant = world.tenant(profile).await;
        let endpoint = json!({"name": "hook", "url": "https://example.com/hook", "event_types": event_types});
        let made = world.post(&tenant.key, "/v1/endpoints", endpoint).await.ok(201);
        let cookie = sign_in(&world, &tenant.key).await;
        let at = format!("/dashboard/{}/webhooks/{}/test", tenant.id, made["id"].as_str().unwrap());
        let stop = CancellationToken::new();
        let (broker, stopped) = (world.broker.clone(), stop.clone());
        tokio::spawn(async move {
            broker.serve_rpc(Queue::RpcTest, 4, |request: Member| async move { answer(&request) }, stopped).await;
        });
        Self { world, tenant, cookie, at, stop }
    }

    async fn get(&self, query: &str) -> Page {
        get(&self.world, &self.cookie, &format!("{}{query}", self.at)).await
    }

    /// Sends the form with this type and data.
    async fn send(&self, event_type: &str, data: &str, preview: &str) -> Page {
        let csrf = self.get("").await.csrf();
        let once = UnixMillis::now().0.to_string();
        let form = [
            ("csrf", csrf.as_str()),
            ("once", &once),
            ("event_type", event_type),
            ("data", data),
            ("preview", preview),
        ];
        post(&self.world, &self.cookie, &self.at, &form).await
    }
}

impl Drop for Testing {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_test_page_offers_first_what_the_webhook_receives_with_its_sample() {
    let testing = Testing::start("test_offers", "magnetite", &["magnet.*"]).await;
    let page = testing.get("").await;
    let (received, others) = page.text.split_once("optgroup label=\"This webhook does not receive\"").unwrap();
    assert!(received.contains("optgroup label=\"This webhook receives\""), "{received}");
    assert!(received.contains("<option value=\"magnet.generated\" selected>"), "{received}");
    assert!(received.contains("<option value=\"magnet.viewed\">") && !received.contains("\"lead.created\""));
    assert!(others.contains("<option value=\"lead.created\">"), "{others}");
    let sample = others.split_once("<textarea").unwrap().1;
    assert!(sample.contains("contentLength"), "the data of the proposed type: {sample}");
    assert!(sample.contains("What your endpoint receives") && sample.contains("organization_id"), "{sample}");

    let page = testing.get("?event_type=lead.created").await;
    assert!(page.text.contains("<option value=\"lead.created\" selected>"), "{}", page.text);
    assert!(page.text.contains("<input type=\"hidden\" name=\"event_type\" value=\"lead.created\">"), "{}", page.text);
    let page = testing.get("?event_type=no.such").await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("no such event type"), "{}", page.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edited_data_is_previewed_sent_and_shown_again() {
    let testing = Testing::start("test_edited", "migma", &["*"]).await;
    let edited = r#"{ "email": "ann@example.com", "n": 1.50 }"#;
    let page = testing.send("subscriber.added", edited, "yes").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let (form, preview) = page.text.split_once("What your endpoint receives").unwrap();
    assert!(form.contains("&quot;email&quot;: &quot;ann@example.com&quot;"), "{form}");
    assert!(preview.contains("ann@example.com") && preview.contains("subscriber.added"), "{preview}");
    assert!(!page.text.contains("id=\"result\""), "nothing was sent");

    let page = testing.send("subscriber.added", edited, "").await;
    let (form, result) = page.text.split_once("id=\"result\"").unwrap();
    assert!(form.contains("ann@example.com"), "the text remains: {form}");
    assert!(result.contains("ann@example.com"), "the endpoint got it: {result}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_in_the_data_are_named_and_the_text_survives() {
    let testing = Testing::start("test_mistakes", "mumara", &["*"]).await;
    let page = testing.send("Delivered", "{\"email\": ", "").await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("not valid JSON: ") && page.text.contains("line 1"), "{}", page.text);
    assert!(page.text.contains("{&quot;email&quot;:</textarea>"), "{}", page.text);
    assert!(page.text.contains("id=\"problem\"") && page.text.contains("<title>Error: "), "{}", page.text);

    let page = testing.send("Delivered", "[1]", "").await;
    assert!(page.text.contains("expected a JSON object"), "{}", page.text);
    let page = testing.send("Delivered", r#"{"message_id": 7}"#, "").await;
    assert!(page.text.contains("email: is required") && page.text.contains("message_id: must be"), "{}", page.text);
    let large = format!("{{\"email\": \"{}\"}}", "x".repeat(17_000));
    let page = testing.send("Delivered", &large, "").await;
    assert!(
        page.text.contains("at most 16384 bytes") && page.text.contains(&"x".repeat(17_000)),
        "{}",
        page.text.len()
    );
    let usage = testing.world.get(&testing.tenant.key, "/v1/deliveries").await.ok(200);
    assert_eq!(usage["data"], json!([]), "nothing was sent");
}
