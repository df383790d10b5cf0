//! Whether the process is alive and ready for work.
//!
//! Live means only that the process answers. It never depends on the broker or the database, because restarting a service
//! repairs neither of them. Ready means that every named check passes. Each check is a flag that its owner sets, so that a
//! probe makes no calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// One named check. It fails until [`Check::ok`]. Clones share their state.
#[derive(Debug, Clone)]
pub struct Check {
    state: Arc<State>,
}

impl Health {
    /// A process without checks. It is ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check that fails with the reason "starting" until [`Check::ok`]. Returns the existing check if there is one with
    /// this name.
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

    /// Marks the process as not ready, so that load balancers avoid it while it finishes its work.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Whether every check passes and the process is not draining.
    pub fn is_ready(&self) -> bool {
        !self.shared.draining.load(Ordering::Relaxed)
            && self.shared.checks.read().iter().all(|state| state.ok.load(Ordering::Relaxed))
    }

    /// Every check and whether it passes, for the page of checks.
    pub fn report(&self) -> Report {
        let checks = self.shared.checks.read();
        let checks = checks.iter().map(|state| (state.name.clone(), state.failure()));
        let draining = self.shared.draining.load(Ordering::Relaxed);
        Report { ready: self.is_ready(), draining, checks: checks.collect() }
    }
}

/// The readiness of a process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether every check passes and the process is not draining.
    pub ready: bool,
    /// Whether the process is finishing its work before it stops.
    pub draining: bool,
    /// Each check's name and, if it fails, the reason.
    pub checks: Vec<(String, Option<String>)>,
}

impl State {
    /// The reason, if the check fails.
    fn failure(&self) -> Option<String> {
        (!self.ok.load(Ordering::Relaxed)).then(|| self.reason.lock().clone())
    }
}

impl Check {
    /// Makes the check pass.
    pub fn ok(&self) {
        self.state.ok.store(true, Ordering::Relaxed);
    }

    /// Makes the check fail. `/readyz` shows the reason, so it must not contain a secret.
    pub fn failing(&self, reason: impl Into<String>) {
        *self.state.reason.lock() = reason.into();
        self.state.ok.store(false, Ordering::Relaxed);
    }

    /// Whether the check passes.
    pub fn is_ok(&self) -> bool {
        self.state.ok.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_check_passes() {
        let health = Health::new();
        assert!(health.is_ready());
        let (broker, database) = (health.check("broker"), health.check("database"));
        database.ok();
        let starting = ("broker".to_owned(), Some("starting".to_owned()));
        let report = Report { ready: false, draining: false, checks: vec![starting, ("database".to_owned(), None)] };
        assert_eq!(health.report(), report);

        broker.ok();
        assert!(health.report().ready);
        health.check("broker").failing("blocked: disk alarm");
        assert!(!broker.is_ok());
        assert_eq!(health.report().checks[0].1.as_deref(), Some("blocked: disk alarm"));
    }

    #[test]
    fn draining_is_not_ready() {
        let health = Health::new();
        health.drain();
        assert_eq!(health.report(), Report { ready: false, draining: true, checks: Vec::new() });
    }
}
