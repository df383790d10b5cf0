//! Whether this process exports traces.

use std::sync::atomic::{AtomicBool, Ordering};

/// The target of spans on the path of every event: `info_span!(target: SPANS, "process …")`. These spans exist only while
/// traces are exported, and never appear in logs.
pub const SPANS: &str = "postrider::spans";

static EXPORTING: AtomicBool = AtomicBool::new(false);

/// Whether traces are exported. Values that only spans need are created only if this is true.
pub fn is_exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

pub(crate) fn set_exporting(exporting: bool) {
    EXPORTING.store(exporting, Ordering::Relaxed);
}
