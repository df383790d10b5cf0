//! The OpenAPI document.

use crate::harness::World;

#[test]
fn the_document_is_the_one_that_clients_hold_on_to() {
    let document = serde_json::to_value(postrider_api::openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    insta::assert_json_snapshot!("openapi", document);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_served_without_a_key() {
    let world = World::new("api_openapi").await;
    let request = axum::http::Request::get("/openapi.json").body(axum::body::Body::empty()).unwrap();
    let served = world.send(request).await.ok(200);
    assert_eq!(served, serde_json::to_value(postrider_api::openapi()).unwrap());
}
