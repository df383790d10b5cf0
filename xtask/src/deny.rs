//! Runs cargo-deny, which checks the rules in `deny.toml`: licences, sources, and permitted dependencies.
//!
//! Owns: finding cargo-deny, or compiling it once into the ignored folder of the checkout. Does not check advisories, because
//! their database needs the network (SECURITY.md).

use std::path::PathBuf;

use anyhow::Result;
use postrider_testkit::engines::Install;
use postrider_testkit::paths::default_folder;

use crate::{child, report};

/// The version of cargo-deny to compile. It must build with the toolchain in rust-toolchain.toml.
const VERSION: &str = "0.20.2";

/// Runs the check. Returns `false` if it finds a violation of `deny.toml` or cargo-deny cannot be compiled.
pub(crate) async fn check(install: Install) -> Result<bool> {
    let mut path: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let has = |folder: &PathBuf| folder.join("cargo-deny").is_file();
    if !path.iter().any(has) {
        let root = default_folder().join(format!("tools/cargo-deny-{VERSION}"));
        let own = root.join("bin");
        if !has(&own) {
            if install == Install::Tell {
                report::line(format!(
                    "» not run: cargo-deny is not installed (cargo install --locked cargo-deny@{VERSION})"
                ));
                return Ok(true);
            }
            report::step(&format!("compiling cargo-deny {VERSION} into {} (once)", root.display()));
            // Without optimization, cargo-deny compiles in a fraction of the time, and the check still takes only seconds.
            let mut install = child::cargo(&["install", "--quiet", "--locked", "--debug"]);
            install.arg(format!("cargo-deny@{VERSION}")).arg("--root").arg(&root);
            if !child::run(install, "cargo install").await? {
                return Ok(false);
            }
        }
        path.insert(0, own);
    }
    let arguments = ["deny", "check", "bans", "licenses", "sources"];
    report::step(&format!("cargo {}", arguments.join(" ")));
    let mut deny = child::cargo(&arguments);
    deny.env("PATH", std::env::join_paths(path)?);
    child::run(deny, "cargo-deny").await
}
