//! Every overlay builds; each object is valid, and every container is restricted and has limits.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use postrider_testkit::debian::{DOCKER_COMPOSE, KUSTOMIZE};
use postrider_testkit::python;
use tokio::process::Command;

use super::{checkout, run, text, tool};

/// Builds an overlay into a file of `folder`.
async fn build(overlay: &Path, folder: &Path) -> PathBuf {
    let built = run(tool(KUSTOMIZE).await.arg("build").arg(overlay)).await;
    let name = overlay.file_name().expect("a name").to_string_lossy();
    let file = folder.join(format!("{name}.yaml"));
    std::fs::write(&file, built).expect("written");
    file
}

/// The output of the check for built files.
async fn check(files: &[PathBuf]) -> Output {
    let python = tokio::task::spawn_blocking(|| python::with(&python::KUBERNETES_VALIDATE)).await.expect("no panic");
    let mut command = Command::from(python.unwrap_or_else(|error| panic!("{error:#}")));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/deploy/check.py");
    command
        .arg(script)
        .arg(checkout().join("k8s/schemas"))
        .arg(checkout().join("deploy/prometheus/alerts.yml"))
        .args(files);
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.expect("python3 runs")
}

#[tokio::test]
async fn every_overlay_builds_is_valid_and_runs_restricted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = Vec::new();
    for overlay in std::fs::read_dir(checkout().join("k8s/overlays")).expect("overlays").flatten() {
        files.push(build(&overlay.path(), folder.path()).await);
    }
    assert_eq!(files.len(), 4, "{files:?}");
    let output = check(&files).await;
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{failed}");
}

/// Only with the component `sign-in` has the API a way out, and the settings of a provider.
#[tokio::test]
async fn the_api_reaches_an_identity_provider_only_where_it_is_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    for (overlay, wanted) in [("production", false), ("production-sign-in", true)] {
        let built = build(&checkout().join("k8s/overlays").join(overlay), folder.path()).await;
        let built = std::fs::read_to_string(built).expect("built");
        assert_eq!(built.contains("name: postrider-identity-provider"), wanted, "{overlay}");
        let references = |part: &str| built.matches(part).count();
        let whole = references("- secretRef:\n            name: postrider-oidc\n");
        assert_eq!(whole, usize::from(wanted), "{overlay}: the API alone has the whole secret");
        let public_url = references("key: POSTRIDER_PUBLIC_URL\n              name: postrider-oidc\n");
        assert_eq!(public_url, usize::from(wanted), "{overlay}: the recorder has the public URL");
        assert_eq!(references("name: postrider-oidc"), whole + public_url, "{overlay}: nobody else has a part of it");
    }
    let read = async |files: &[&str]| {
        let secrets = run(Command::new("sh").arg(checkout().join("deploy/compose/make-env.sh"))).await;
        let env = folder.path().join("env");
        std::fs::write(&env, secrets).expect("written");
        let mut compose = tool(DOCKER_COMPOSE).await;
        compose.args(files.iter().flat_map(|file| ["--file", *file])).arg("--env-file").arg(&env);
        let read = run(compose.args(["config", "--format", "json"]).current_dir(checkout())).await;
        let document: serde_json::Value = serde_json::from_str(&read).expect("JSON");
        let networks = document["services"]["api"]["networks"].as_object().expect("networks");
        networks.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(read(&["docker-compose.yml"]).await, ["inner"]);
    assert_eq!(read(&["docker-compose.yml", "deploy/compose/sign-in.yml"]).await, ["inner", "outer"]);
}

#[tokio::test]
async fn the_check_of_the_overlays_finds_mistakes() {
    let folder = tempfile::tempdir().expect("a folder");
    let built = build(&checkout().join("k8s/overlays/production"), folder.path()).await;
    let good = std::fs::read_to_string(&built).expect("built");
    let faults = [
        ("maxUnavailable: 0", "maxUnavialable: 0", "maxUnavialable"),
        ("walStorage:", "walStorge:", "walStorge"),
        ("minReplicaCount: 2", "minReplicaCount: two", "minReplicaCount"),
        ("additionalConfig:", "aditionalConfig:", "aditionalConfig"),
        ("honorLabels: true", "honourLabels: true", "honourLabels"),
        ("postrider/postrider:0.1.0", "postrider/postrider:latest", "has no version"),
        ("runAsNonRoot: true", "runAsNonRoot: false", "may run as root"),
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "can write to its root"),
        ("terminationGracePeriodSeconds: 75", "terminationGracePeriodSeconds: 70", "is killed before it has drained"),
        ("path: /healthz", "path: /readyz", "is restarted when its engines are away"),
        ("name: postrider-keys", "name: postrider-key", "which does not exist"),
        ("path: /v1/publish\n", "path: /v1/publishing\n", "does not route by path"),
        ("severity: page", "severity: pager", "differs from the groups of alerts.yml"),
        ("max_connections: \"400\"", "max_connections: \"250\"", "connections to PostgreSQL are possible"),
        (
            "policyTypes:\n  - Ingress\n  - Egress",
            "policyTypes:\n  - Ingress",
            "traffic without a policy is not denied",
        ),
    ];
    let mut files = Vec::new();
    for (number, (from, to, _)) in faults.iter().enumerate() {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from} is not in the overlay");
        let file = folder.path().join(format!("fault-{number}.yaml"));
        std::fs::write(&file, bad).expect("written");
        files.push(file);
    }
    let said = String::from_utf8_lossy(&check(&files).await.stdout).into_owned();
    for (number, (_, to, expected)) in faults.iter().enumerate() {
        let name = format!("fault-{number}:");
        let found = said.lines().any(|line| line.starts_with(&name) && line.contains(expected));
        assert!(found, "{to}: not found, but\n{said}");
    }
}

#[tokio::test]
async fn the_documented_simulation_of_the_autoscaler_is_reproducible() {
    let python = tokio::task::spawn_blocking(|| python::with(&python::KUBERNETES_VALIDATE)).await.expect("no panic");
    let mut command = Command::from(python.unwrap_or_else(|error| panic!("{error:#}")));
    let said =
        run(command.arg(checkout().join("deploy/simulation/autoscaling.py")).env("PYTHONDONTWRITEBYTECODE", "1")).await;
    let kept = text("deploy/simulation/burst.txt");
    assert!(said == kept, "run python3 autoscaling.py > burst.txt in deploy/simulation, and look at docs/scaling.md");
}

#[tokio::test]
async fn every_crate_of_the_binary_has_a_licence_that_is_allowed() {
    let mut sbom = Command::new("python3");
    let said = run(sbom.arg(checkout().join("deploy/release/sbom.py"))).await;
    let document: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let components = document["components"].as_array().expect("components");
    assert!(components.iter().any(|component| component["name"] == "tokio"), "{} components", components.len());
    assert!(components.iter().all(|component| component["name"] != "insta"), "what only tests use is not shipped");
}
