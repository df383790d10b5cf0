//! Compares the dependencies of the crates with the table "Who may import whom" in ARCHITECTURE.md. cargo-deny cannot do that
//! with `deny.toml`, because it does not distinguish dependencies of tests from dependencies of shipped code.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::child::checkout;

/// The layers, from the lowest to the highest. A crate may depend only on crates of lower layers. All services are in one
/// layer, so no service depends on another service.
const LAYERS: &[&[&str]] = &[
    &["postrider-backoff", "postrider-model", "postrider-settings"],
    &["postrider-profiles", "postrider-schema", "postrider-wire"],
    &["postrider-signature"],
    &[
        "postrider-broker",
        "postrider-store",
        "postrider-egress",
        "postrider-mail",
        "postrider-oidc",
        "postrider-telemetry",
    ],
    &["postrider-http", "postrider-access", "postrider-ledger"],
    &["postrider-relay"],
    &["postrider-operations"],
    &[
        "postrider-ingest",
        "postrider-fanout",
        "postrider-dispatcher",
        "postrider-recorder",
        "postrider-api",
        "postrider-dashboard",
    ],
    &["postrider"],
];

/// Crates that are not shipped.
const TOOLS: &[&str] = &["postrider-testkit", "postrider-fuzz", "postrider-tests", "postrider-bench", "xtask"];

/// Libraries. Only the given crate, if there is one, may use the library outside of tests.
const OWNERS: &[(&str, Option<&str>)] = &[
    ("lapin", Some("postrider-broker")),
    ("tokio-postgres", Some("postrider-store")),
    ("deadpool-postgres", Some("postrider-store")),
    ("refinery", Some("postrider-store")),
    ("hickory-resolver", Some("postrider-egress")),
    ("httparse", Some("postrider-egress")),
    ("lettre", Some("postrider-mail")),
    ("reqwest", None),
    ("jsonschema", Some("postrider-schema")),
    ("jsonwebtoken", Some("postrider-oidc")),
];

/// Returns the dependencies of each crate in the workspace, without the dependencies of its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--format-version", "1", "--no-deps"];
    let output = Command::new(cargo).args(arguments).current_dir(checkout()).output().unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let shipped = |package: &Value| -> BTreeSet<String> {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|dependency| dependency["kind"] != "dev").map(name).collect()
    };
    metadata["packages"].as_array().unwrap().iter().map(|package| (name(package), shipped(package))).collect()
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

#[test]
fn every_crate_depends_on_lower_layers_only() {
    for (from, dependencies) in dependencies() {
        let Some(own) = layer(&from) else {
            assert!(TOOLS.contains(&from.as_str()), "{from} has no layer here");
            continue;
        };
        for to in &dependencies {
            assert!(!TOOLS.contains(&to.as_str()), "{from} ships {to}");
            if let Some(other) = layer(to) {
                assert!(other < own, "{from} depends on {to}, which is not of a lower layer");
            }
        }
    }
}

#[test]
fn outside_of_tests_each_of_these_libraries_is_used_by_one_crate() {
    let dependencies = dependencies();
    for (library, owner) in OWNERS {
        let shipped = dependencies.iter().filter(|(name, used)| layer(name).is_some() && used.contains(*library));
        let shipped: Vec<&str> = shipped.map(|(name, _)| name.as_str()).collect();
        assert_eq!(shipped, Vec::from_iter(*owner), "who uses {library} outside of tests");
    }
}
