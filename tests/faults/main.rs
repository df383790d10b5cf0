//! Faults that take minutes. `cargo xtask test --faults` runs them with the fast ones of `it`; plain `cargo test` does not.

#![expect(clippy::print_stdout, reason = "what a fault did is to be read")]

#[expect(dead_code, unused_imports, reason = "only the scenarios of `it` use these")]
#[path = "../it/harness/mod.rs"]
mod harness;

mod long_outages;
mod ordering;
