//! Prints lines to the terminal.

use std::fmt::Display;
use std::io::Write as _;

/// Prints a line. Ignores the error if the terminal is closed.
pub(crate) fn line(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// Prints the next step of the preparation.
pub(crate) fn step(text: &str) {
    line(format!("» {text}"));
}
