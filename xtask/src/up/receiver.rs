//! The built-in receiver: verifies each delivery as a customer's server would, and prints a line about it.

use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use postrider_testkit::verify;

use super::demo::{Demo, DemoTenant};
use crate::report;

/// Binds the port and returns the serving.
pub(super) async fn serve(port: u16, demo: &Demo) -> Result<impl Future<Output = Result<()>> + use<>> {
    let router = Router::new().route("/{profile}", post(receive)).with_state(Arc::new(demo.clone()));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("the demo receiver cannot listen on port {port}"))?;
    Ok(async move { axum::serve(listener, router).await.context("the demo receiver") })
}

async fn receive(
    State(demo): State<Arc<Demo>>,
    Path(profile): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Some(tenant) = demo.tenants.iter().find(|tenant| tenant.profile == profile) else {
        return StatusCode::NOT_FOUND;
    };
    let (status, text) = match check(tenant, &headers, &body) {
        Ok(signatures) => (StatusCode::OK, format!("✓ verified ({signatures})")),
        Err(error) => (StatusCode::UNAUTHORIZED, format!("✗ NOT verified: {error:#}")),
    };
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
    report::line(format!(
        "{} {text}  {profile}  {}  attempt {}  {}",
        time_of_day(),
        header("webhook-id"),
        header("postrider-attempt"),
        String::from_utf8_lossy(&body)
    ));
    status
}

/// The product's own rule, and Standard Webhooks', whose headers every delivery carries.
fn check(tenant: &DemoTenant, headers: &HeaderMap, body: &[u8]) -> Result<String> {
    verify::product(&tenant.profile, &tenant.secret, headers, body)?;
    verify::standard(&tenant.secret, headers, body)?;
    let own = verify::product_header(&tenant.profile).map(|name| format!("{name}, "));
    Ok(own.unwrap_or_default() + "webhook-signature")
}

/// UTC, to the millisecond.
fn time_of_day() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = now.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}.{:03}Z", seconds / 3600, seconds / 60 % 60, seconds % 60, now.subsec_millis())
}
