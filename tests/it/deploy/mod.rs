//! Deployment files, checked without a cluster: the Kubernetes overlays, the compose file, the image's root, dashboards and alerts.
//! Programs come from Debian packages; nothing is installed.

mod image;
mod kubernetes;
mod monitoring;
mod scrape;
mod stack;
mod survive;
mod upgrade;

use std::path::PathBuf;
use std::process::Stdio;

use postrider_testkit::debian::{self, Tool};
use tokio::process::Command;

fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is in a workspace").to_path_buf()
}

/// A file of the checkout.
fn text(path: &str) -> String {
    std::fs::read_to_string(checkout().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A program from a Debian package.
async fn tool(tool: Tool) -> Command {
    let program = tokio::task::spawn_blocking(move || debian::tool(tool)).await.expect("no panic");
    Command::new(program.unwrap_or_else(|error| panic!("{error:#}")))
}

/// Runs a command, expects success, and returns what it printed.
async fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("it runs");
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}: {}\n{said}\n{failed}", command.as_std(), output.status);
    said.into_owned()
}
