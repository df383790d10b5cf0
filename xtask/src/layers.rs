//! Who may import whom, as the workspace really is. Holds the picture in ARCHITECTURE.md, and the bans of deny.toml on
//! machines without cargo-deny.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::child::checkout;

/// From the ground up; a crate may depend on those of lower layers only. Services share one, so they never depend on
/// each other.
const LAYERS: &[&[&str]] = &[
    &["postrider-backoff", "postrider-model", "postrider-settings"],
    &["postrider-profiles", "postrider-schema", "postrider-wire"],
    &["postrider-signature"],
    &["postrider-broker", "postrider-store", "postrider-egress", "postrider-telemetry"],
    &["postrider-http", "postrider-access", "postrider-ledger"],
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

/// Crates that are never shipped.
const TOOLS: &[&str] = &["postrider-testkit", "postrider-fuzz", "postrider-tests", "postrider-bench", "xtask"];

/// Crates of other people and the one of ours that uses each outside of tests, if any.
const OWNERS: &[(&str, Option<&str>)] = &[
    ("lapin", Some("postrider-broker")),
    ("tokio-postgres", Some("postrider-store")),
    ("deadpool-postgres", Some("postrider-store")),
    ("refinery", Some("postrider-store")),
    ("hickory-resolver", Some("postrider-egress")),
    ("httparse", Some("postrider-egress")),
    ("reqwest", None),
    ("jsonschema", Some("postrider-schema")),
];

struct Graph {
    /// Package -> the packages that it depends on, with the kinds (`normal`, `dev`, `build`).
    edges: BTreeMap<String, Vec<(String, BTreeSet<String>)>>,
}

impl Graph {
    fn load() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let host = Command::new("rustc").arg("-vV").output().unwrap();
        let host = String::from_utf8(host.stdout).unwrap();
        let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host])
            .current_dir(checkout())
            .output()
            .unwrap();
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let names: BTreeMap<String, String> =
            metadata["packages"].as_array().unwrap().iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let mut edges: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array().unwrap() {
            let list = edges.entry(names[&text(&node["id"])].clone()).or_default();
            for dependency in node["deps"].as_array().unwrap() {
                let kinds = dependency["dep_kinds"].as_array().unwrap();
                let kinds = kinds.iter().map(|kind| kind["kind"].as_str().unwrap_or("normal").to_owned()).collect();
                list.push((names[&text(&dependency["pkg"])].clone(), kinds));
            }
        }
        Self { edges }
    }

    fn has(&self, name: &str) -> bool {
        self.edges.contains_key(name)
    }

    /// Packages that depend on it directly, by any kind of dependency.
    fn dependents(&self, name: &str) -> BTreeSet<&str> {
        self.dependents_by(name, |_| true)
    }

    fn dependents_by(&self, name: &str, counts: impl Fn(&BTreeSet<String>) -> bool) -> BTreeSet<&str> {
        let uses = |list: &Vec<(String, BTreeSet<String>)>| list.iter().any(|(to, kinds)| to == name && counts(kinds));
        self.edges.iter().filter(|(_, list)| uses(list)).map(|(from, _)| from.as_str()).collect()
    }
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

#[test]
fn every_crate_depends_on_lower_layers_only() {
    let graph = Graph::load();
    for (from, list) in &graph.edges {
        let Some(own) = layer(from) else {
            assert!(!from.starts_with("postrider") || TOOLS.contains(&from.as_str()), "{from} has no layer here");
            continue;
        };
        for (to, kinds) in list.iter().filter(|(_, kinds)| kinds.contains("normal") || kinds.contains("build")) {
            assert!(!TOOLS.contains(&to.as_str()), "{from} ships {to} ({kinds:?})");
            if let Some(other) = layer(to) {
                assert!(other < own, "{from} depends on {to}, which is not of a lower layer");
            }
        }
    }
}

#[test]
fn the_broker_the_database_and_the_way_out_are_known_to_one_crate_each() {
    let graph = Graph::load();
    for (library, owner) in OWNERS {
        let shipped: BTreeSet<&str> = graph
            .dependents_by(library, |kinds| kinds.contains("normal") || kinds.contains("build"))
            .into_iter()
            .filter(|name| layer(name).is_some())
            .collect();
        assert_eq!(shipped, owner.iter().copied().collect(), "who uses {library} outside of tests");
    }
}

#[test]
fn the_bans_of_deny_toml_hold() {
    let graph = Graph::load();
    let text = std::fs::read_to_string(checkout().join("deny.toml")).unwrap();
    let deny: toml::Table = text.parse().unwrap();
    let bans = deny["bans"]["deny"].as_array().unwrap();
    assert!(bans.len() >= OWNERS.len());
    for ban in bans {
        let library = ban["crate"].as_str().unwrap();
        let Some(wrappers) = ban.get("wrappers").and_then(|wrappers| wrappers.as_array()) else {
            assert!(!graph.has(library), "{library} is banned, but {:?} use it", graph.dependents(library));
            continue;
        };
        let allowed: BTreeSet<&str> = wrappers.iter().map(|name| name.as_str().unwrap()).collect();
        let others: Vec<_> = graph.dependents(library).into_iter().filter(|name| !allowed.contains(name)).collect();
        assert!(others.is_empty(), "{others:?} use {library} without being named in deny.toml");
    }
}
