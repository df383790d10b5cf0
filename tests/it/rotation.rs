//! Rotating a secret or a key pair: both sign during the overlap, and secrets are shown once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postrider_model::time::UnixMillis;
use serde_json::json;

use crate::harness::{Deployment, Receiver, independent};

/// Guarantee (Secrets and tenants): Rotation: both secrets sign for the overlap; single values cut over at the chosen time;
/// Ed25519.
#[tokio::test]
async fn during_an_overlap_a_receiver_with_either_secret_verifies() {
    let deployment = Deployment::start("rotation").await;
    let tenant = deployment.tenant("magnetite").await;
    let receiver = Receiver::start().await;
    // A customer's own secret, without the prefix.
    let old = "my own secret, not made here";
    let endpoint =
        tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"], "secret": old})).await;
    let path = format!("/v1/endpoints/{}", endpoint.id());
    let rotated = tenant.post(&format!("{path}/rotate-secret"), &json!({"overlap_seconds": 3600})).await;
    let new = rotated["secret"].as_str().expect("the new secret, this once").to_owned();
    let shown = tenant.get(&path).await.to_string();
    assert!(!shown.contains(old) && !shown.contains(&new), "a secret is shown once");
    deployment.configuration_in_force().await;

    let metadata = json!({"organization_id": "o", "project_id": "p", "lead_id": "l"});
    tenant.publish(&json!({"type": "lead.created", "data": {}, "metadata": metadata})).await;
    let request = receiver.next().await;
    assert_eq!(request.header("webhook-signature").split(' ').count(), 2);
    independent::check_with_crate(&new, &request);
    independent::check_with_crate_bytes(old.as_bytes(), &request);
    // A header with a single value changes at once.
    let hex = independent::python_hmac_hex(&new, &request.body).await;
    assert_eq!(request.header("x-magnetite-signature"), format!("sha256={hex}"));
}

/// Guarantee: as `rotation::during_an_overlap_a_receiver_with_either_secret_verifies`.
#[tokio::test]
async fn an_ed25519_endpoints_deliveries_verify_with_its_public_keys() {
    let deployment = Deployment::start("ed25519").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    let endpoint = json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"], "signature_key": "ed25519"});
    let path = format!("/v1/endpoints/{}", tenant.endpoint(endpoint).await.id());
    let public_key = async || tenant.get(&path).await["public_key"].as_str().expect("a public key").to_owned();
    let old = public_key().await;
    let deliver = async || {
        tenant.publish(&json!({"type": "lead.created", "data": {"name": "Zoë"}})).await;
        receiver.next().await
    };
    assert_eq!(independent::verified_by_ed25519(&old, &deliver().await), [true]);

    tenant.post(&format!("{path}/rotate-secret"), &json!({"overlap_seconds": 3600})).await;
    deployment.configuration_in_force().await;
    let new = public_key().await;
    let request = deliver().await;
    assert_eq!(independent::verified_by_ed25519(&new, &request), [true, false]);
    assert_eq!(independent::verified_by_ed25519(&old, &request), [false, true]);

    // A cut-over ends only the current secret; earlier overlaps continue unless `end_others` is set.
    let cut_over = json!({"effective_at": "2020-01-01T00:00:00Z"});
    tenant.post(&format!("{path}/rotate-secret"), &cut_over).await;
    deployment.configuration_in_force().await;
    let request = deliver().await;
    assert_eq!(independent::verified_by_ed25519(&public_key().await, &request), [true, false]);
    assert_eq!(independent::verified_by_ed25519(&new, &request), [false, false]);
    assert_eq!(independent::verified_by_ed25519(&old, &request), [false, true]);
    let leaked = json!({"overlap_seconds": 0, "end_others": true});
    tenant.post(&format!("{path}/rotate-secret"), &leaked).await;
    deployment.configuration_in_force().await;
    let request = deliver().await;
    assert_eq!(independent::verified_by_ed25519(&public_key().await, &request), [true]);
    let forged = crate::harness::Received { body: b"{}".to_vec(), ..request };
    assert_eq!(independent::verified_by_ed25519(&public_key().await, &forged), [false]);
}

/// Guarantee: as `rotation::during_an_overlap_a_receiver_with_either_secret_verifies`.
#[tokio::test]
async fn a_signature_that_carries_one_value_cuts_over_at_the_chosen_time() {
    let deployment = Deployment::start("cut-over").await;
    let tenant = deployment.tenant("migma").await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
    let at = SystemTime::now() + Duration::from_secs(6);
    let millis = at.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let rotation = json!({"effective_at": UnixMillis(i64::try_from(millis).unwrap()).to_rfc3339_millis()});
    let rotated = tenant.post(&format!("/v1/endpoints/{}/rotate-secret", endpoint.id()), &rotation).await;
    deployment.configuration_in_force().await;
    let (old, new) = (endpoint.secret(), rotated["secret"].as_str().expect("the new secret"));
    let mut cut_over = false;
    while !cut_over {
        let due = SystemTime::now() >= at;
        tenant.publish(&json!({"type": "subscriber.added", "data": {}})).await;
        let request = receiver.next().await;
        let signature = request.header("x-migma-signature");
        cut_over = signature == independent::python_hmac_hex(new, &request.body).await;
        let expected = if cut_over { new } else { old };
        assert_eq!(signature, independent::python_hmac_hex(expected, &request.body).await);
        assert!(!cut_over || request.arrived_at >= at, "the new secret signed too early");
        assert!(cut_over || !due, "the old secret signed what was published after the cut-over");
    }
}
