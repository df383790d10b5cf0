//! The image's root, built by the Dockerfile's script: no shell, no writable path, an unprivileged user. Also the manifests of its
//! layer of dependencies.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use postrider_testkit::engines::Scope;
use postrider_testkit::ports::free_port;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::{checkout, run, text};
use crate::harness::{OPERATOR_KEY, binary};

const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `postrider` in that root like a container: in a mount namespace with a read-only root and as the image's user (only if the
/// test runs as root, because other users cannot switch).
fn contained(root: &Path, argument: &str) -> Command {
    let is_root = Uid::effective().is_root();
    let user = if is_root { "--userspec=65532:65532" } else { "--userspec=0:0" };
    let script =
        "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && exec chroot $2 \"$1\" /postrider \"$3\"";
    let mut command = Command::new("unshare");
    command.args(if is_root { &["--mount"][..] } else { &["--map-root-user", "--mount"] });
    command.args(["sh", "-c", script, "sh"]).arg(root).args([user, argument]).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[test]
fn the_dockerfile_pins_its_images_and_ends_without_a_shell() {
    let file = text("deploy/docker/Dockerfile");
    let stages: Vec<_> = file.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(stages, ["${RUST_IMAGE} AS skeleton", "${RUST_IMAGE} AS build", "scratch"]);
    let pinned = file.lines().find_map(|line| line.strip_prefix("ARG RUST_IMAGE=")).expect("an image");
    assert!(pinned.rsplit_once(':').is_some_and(|(_, tag)| tag.starts_with(|c: char| c.is_ascii_digit())), "{pinned}");
    let last = file.rsplit_once("FROM scratch").expect("a last stage").1;
    assert!(!last.contains("RUN") && last.contains("USER 65532:65532"), "{last}");
    assert!(
        last.contains("CMD [\"/postrider\", \"healthcheck\"]") && last.contains("ENTRYPOINT [\"/postrider\"]"),
        "{last}"
    );
}

#[tokio::test]
async fn the_skeleton_has_every_package_and_target_of_the_image() {
    let folder = tempfile::tempdir().expect("a folder");
    run(Command::new("sh").arg("deploy/docker/skeleton.sh").arg(folder.path()).current_dir(checkout())).await;
    let packages = async |at: &Path| -> Vec<(String, Vec<String>)> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut metadata = Command::new(cargo);
        metadata.args(["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"]).current_dir(at);
        let metadata: Value = serde_json::from_str(&run(&mut metadata).await).expect("JSON");
        let mut packages: Vec<_> = metadata["packages"]
            .as_array()
            .expect("packages")
            .iter()
            .map(|package| {
                let targets = package["targets"].as_array().expect("targets").iter();
                // Examples and tests that cargo discovers are not part of the image.
                let built =
                    targets.filter(|target| ["lib", "bin"].contains(&target["kind"][0].as_str().unwrap_or_default()));
                (package["name"].to_string(), built.map(|target| target["name"].to_string()).collect())
            })
            .collect();
        packages.sort();
        packages
    };
    assert_eq!(packages(folder.path()).await, packages(&checkout()).await);
    let lines =
        std::fs::read_to_string(folder.path().join("services/postrider/src/main.rs")).expect("a main").lines().count();
    assert_eq!(lines, 1, "no code");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_images_root_is_read_only_has_no_shell_and_serves() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    let mut layout = Command::new("sh");
    run(layout.arg("deploy/docker/rootfs.sh").arg(binary()).arg(&root).current_dir(checkout())).await;
    for shell in ["bin", "usr", "sbin"] {
        assert!(!root.join(shell).exists(), "/{shell} is in the image");
    }
    // A container runtime mounts these two files.
    std::fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").expect("written");
    std::fs::write(root.join("etc/resolv.conf"), "").expect("written");
    // The test's folder is private to its owner; an image's root is readable by all users.
    run(Command::new("chmod").arg("-R").arg("a+rX").arg(folder.path())).await;
    let version = run(&mut contained(&root, "--version")).await;
    assert!(version.starts_with("postrider "), "{version}");

    let scope = Scope::new("image").await;
    let address = format!("127.0.0.1:{}", free_port());
    // The engines are reached by name, as from a container, so the C library in the root must resolve names.
    let by_name = |url: &str| url.replace("127.0.0.1", "localhost");
    let serving = |argument: &str| {
        let mut command = contained(&root, argument);
        command
            .env("POSTRIDER_LISTEN", &address)
            .env("POSTRIDER_AMQP_URL", by_name(&scope.amqp_url))
            .env("POSTRIDER_DATABASE_URL", by_name(&scope.database_url))
            .env("POSTRIDER_OPERATOR_KEYS", OPERATOR_KEY)
            .env("POSTRIDER_MASTER_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        command
    };
    run(&mut serving("migrate")).await;
    let log = std::fs::File::create(folder.path().join("log")).expect("a log");
    let mut all = serving("all").stdout(Stdio::null()).stderr(log).spawn().expect("it runs");
    let said = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let started = Instant::now();
    while !serving("healthcheck").stderr(Stdio::null()).status().await.expect("it runs").success() {
        assert!(started.elapsed() < PATIENCE, "not healthy:\n{}", said());
        sleep(Duration::from_millis(100)).await;
    }
    let pid = i32::try_from(all.id().expect("running")).expect("a pid");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).and_then(|line| line.split_whitespace().next());
    if Uid::effective().is_root() {
        assert_eq!(uid, Some("65532"), "the user that serves");
    }
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("a signal");
    let ended = timeout(PATIENCE, all.wait()).await.expect("drained").expect("a child");
    assert!(ended.success(), "{ended}:\n{}", said());
}
