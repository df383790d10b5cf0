//! Lines for the person at the terminal.

use std::fmt::Display;
use std::io::Write as _;

/// One line on stdout. A closed terminal is no reason to fail.
pub(crate) fn line(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// What happens next, while things are prepared.
pub(crate) fn step(text: &str) {
    line(format!("» {text}"));
}
