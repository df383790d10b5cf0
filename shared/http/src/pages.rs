//! The pages for operators' tools: `/healthz`, `/readyz` and `/metrics`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use postrider_telemetry::health::{Health, Report};
use postrider_telemetry::metrics::Metrics;
use serde_json::{Map, Value, json};

/// `GET /healthz`, `GET /readyz` and `GET /metrics`.
pub fn management(health: Health, metrics: Metrics) -> Router {
    let scrape = move || {
        std::future::ready(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()))
    };
    Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(move || std::future::ready(readiness(health.report()))))
        .route("/metrics", get(scrape))
}

fn readiness(report: Report) -> Response {
    let check = |(name, failure): (String, Option<String>)| match failure {
        None => (name, json!({"ok": true})),
        Some(reason) => (name, json!({"ok": false, "reason": reason})),
    };
    let checks: Map<String, Value> = report.checks.into_iter().map(check).collect();
    let (code, status) = match report.ready {
        true => (StatusCode::OK, "ready"),
        false if report.draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    (code, Json(json!({"status": status, "checks": checks}))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn readyz_names_every_check_and_why_it_fails() {
        let health = Health::new();
        health.check("database").ok();
        health.check("broker").failing("blocked: disk alarm");
        let response = readiness(health.report());
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), 1 << 16).await.unwrap()).unwrap();
        let checks = json!({"database": {"ok": true}, "broker": {"ok": false, "reason": "blocked: disk alarm"}});
        assert_eq!(body, json!({"status": "not ready", "checks": checks}));
        health.check("broker").ok();
        assert_eq!(readiness(health.report()).status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn readyz_says_that_the_process_drains() {
        let health = Health::new();
        health.drain();
        let body = to_bytes(readiness(health.report()).into_body(), 1 << 16).await.unwrap();
        assert!(body.starts_with(br#"{"checks":{},"status":"draining"#), "{body:?}");
    }
}
