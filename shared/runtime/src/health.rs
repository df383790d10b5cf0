//! Is the process alive, and is it ready for work?
//!
//! Live means only that the process answers: it never depends on the broker or the database, since restarting a service
//! does not mend either. Ready is the sum of named checks, each a flag that its owner sets when it changes; answering a
//! probe asks nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

/// Every check of the process. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    checks: parking_lot::RwLock<Vec<Arc<State>>>,
    draining: AtomicBool,
}

#[derive(Debug)]
struct State {
    name: String,
    ok: AtomicBool,
    reason: parking_lot::Mutex<String>,
}

/// One named check; it fails until its owner first says otherwise. Clones share their state.
#[derive(Debug, Clone)]
pub struct Check {
    state: Arc<State>,
}

impl Health {
    /// No checks yet: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check that fails with the reason "starting" until [`Check::ok`]. A name that is there already gets its check again.
    pub fn check(&self, name: &str) -> Check {
        let mut checks = self.shared.checks.write();
        if let Some(state) = checks.iter().find(|state| state.name == name) {
            return Check { state: Arc::clone(state) };
        }
        let state = Arc::new(State {
            name: name.to_owned(),
            ok: AtomicBool::new(false),
            reason: parking_lot::Mutex::new("starting".to_owned()),
        });
        checks.push(Arc::clone(&state));
        Check { state }
    }

    /// From now on not ready, so that a load balancer looks elsewhere while work in hand is finished.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Whether every check passes and the process is not draining.
    pub fn is_ready(&self) -> bool {
        !self.shared.draining.load(Ordering::Relaxed)
            && self.shared.checks.read().iter().all(|state| state.ok.load(Ordering::Relaxed))
    }

    /// `GET /healthz` and `GET /readyz`.
    pub fn router(&self) -> Router {
        let health = self.clone();
        Router::new()
            .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
            .route("/readyz", get(move || std::future::ready(health.report())))
    }

    fn report(&self) -> Response {
        let ready = self.is_ready();
        let checks: serde_json::Map<String, serde_json::Value> = self
            .shared
            .checks
            .read()
            .iter()
            .map(|state| {
                let value = if state.ok.load(Ordering::Relaxed) {
                    json!({"ok": true})
                } else {
                    json!({"ok": false, "reason": *state.reason.lock()})
                };
                (state.name.clone(), value)
            })
            .collect();
        let draining = self.shared.draining.load(Ordering::Relaxed);
        let status = if ready {
            "ready"
        } else if draining {
            "draining"
        } else {
            "not ready"
        };
        let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (code, Json(json!({"status": status, "checks": checks}))).into_response()
    }
}

impl Check {
    /// It passes from now on.
    pub fn ok(&self) {
        self.state.ok.store(true, Ordering::Relaxed);
    }

    /// It fails from now on; the reason is shown to whoever can reach `/readyz`, so it names no secret.
    pub fn failing(&self, reason: impl Into<String>) {
        *self.state.reason.lock() = reason.into();
        self.state.ok.store(false, Ordering::Relaxed);
    }

    /// Whether it passes.
    pub fn is_ok(&self) -> bool {
        self.state.ok.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn body(response: Response) -> serde_json::Value {
        serde_json::from_slice(&to_bytes(response.into_body(), 1 << 16).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn ready_when_every_check_passes() {
        let health = Health::new();
        assert!(health.is_ready());
        let (broker, database) = (health.check("broker"), health.check("database"));
        database.ok();
        let report = health.report();
        assert_eq!(report.status(), StatusCode::SERVICE_UNAVAILABLE);
        let json = body(report).await;
        assert_eq!(json["checks"]["broker"], json!({"ok": false, "reason": "starting"}));
        assert_eq!(json["checks"]["database"], json!({"ok": true}));

        broker.ok();
        assert_eq!(health.report().status(), StatusCode::OK);
        health.check("broker").failing("blocked: disk alarm");
        assert!(!broker.is_ok());
        assert_eq!(body(health.report()).await["checks"]["broker"]["reason"], "blocked: disk alarm");
    }

    #[tokio::test]
    async fn draining_is_not_ready() {
        let health = Health::new();
        health.drain();
        let report = health.report();
        assert_eq!(report.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body(report).await["status"], "draining");
    }
}
