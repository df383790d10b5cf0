//! The built-in receiver: checks each delivery as a customer's server would, and prints a line about the delivery.
//!
//! `/<profile>` is the URL of a demo tenant's endpoint. The receiver has the secret of this endpoint and refuses an invalid
//! signature. All other paths are for endpoints that a developer adds. The receiver does not have their secrets, so it accepts
//! these deliveries without a check.

use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_signature::verify;

use super::demo::{Demo, DemoTenant};
use crate::report;

/// Binds the port and returns a future that serves the requests.
pub(super) async fn serve(port: u16, demo: &Demo) -> Result<impl Future<Output = Result<()>> + use<>> {
    let router = Router::new().fallback(receive).with_state(Arc::new(demo.clone()));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("the demo receiver cannot listen on port {port}"))?;
    Ok(async move { axum::serve(listener, router).await.context("the demo receiver") })
}

async fn receive(State(demo): State<Arc<Demo>>, uri: Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let path = uri.path().trim_start_matches('/');
    let (status, text, answer) = match demo.tenants.iter().find(|tenant| tenant.profile == path) {
        None => (StatusCode::OK, "received, not checked".to_owned(), String::new()),
        Some(tenant) => match check(tenant, &headers, &body) {
            Ok(signatures) => (StatusCode::OK, format!("✓ verified ({signatures})"), String::new()),
            Err(error) => {
                let advice = advice(tenant);
                (StatusCode::UNAUTHORIZED, format!("✗ NOT verified: {error:#}. {advice}"), advice)
            }
        },
    };
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
    report::line(format!(
        "{} {text}  {path}  {}  attempt {}  {}",
        time_of_day(),
        header("webhook-id"),
        header("postrider-attempt"),
        String::from_utf8_lossy(&body)
    ));
    (status, answer)
}

/// Returns the advice for a delivery whose signature does not match the secret of the demo endpoint.
fn advice(tenant: &DemoTenant) -> String {
    format!(
        "This URL accepts only deliveries that are signed with the secret of the demo endpoint {}. An endpoint that you added has \
         another secret: give it the URL {}, which accepts every delivery without a check",
        tenant.endpoint,
        own_url(&tenant.url)
    )
}

/// Returns the receiver's URL for endpoints that a developer adds. It is derived from the URL of a demo endpoint.
pub(super) fn own_url(demo_url: &str) -> String {
    demo_url.rsplit_once('/').map_or(demo_url, |(base, _)| base).to_owned() + "/mine"
}

/// Checks `webhook-signature` and the signature header of the product. Returns the names of both headers.
fn check(tenant: &DemoTenant, headers: &HeaderMap, body: &[u8]) -> Result<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (secret, now) = (tenant.secret.as_str(), UnixMillis::now());
    verify::standard(secret, header, body, now)?;
    let profiles = Profiles::builtin();
    let scheme = profiles.get(&tenant.profile).and_then(|profile| profile.signature.as_ref());
    let Some(scheme) = scheme else { return Ok("webhook-signature".to_owned()) };
    verify::scheme(scheme, secret, header, body, now)?;
    Ok(format!("{}, webhook-signature", scheme.header))
}

/// Returns the current time of day in UTC, to the millisecond.
fn time_of_day() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = now.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}.{:03}Z", seconds / 3600, seconds / 60 % 60, seconds % 60, now.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_added_endpoint_is_accepted_at_its_url_and_told_that_url_elsewhere() {
        let tenant = DemoTenant {
            profile: "standard".into(),
            tenant: "ten_1".into(),
            key: "key".into(),
            endpoint: "ep_1".into(),
            url: "http://127.0.0.1:27680/standard".into(),
            secret: "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=".into(),
        };
        let demo = Arc::new(Demo { tenants: vec![tenant] });
        let answer = async |path: &str| {
            receive(State(Arc::clone(&demo)), path.parse().unwrap(), HeaderMap::new(), Bytes::from("{}")).await
        };
        assert_eq!(answer("/mine").await, (StatusCode::OK, String::new()));
        let (status, advice) = answer("/standard").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(advice.contains("demo endpoint ep_1") && advice.contains("http://127.0.0.1:27680/mine"), "{advice}");
    }
}
