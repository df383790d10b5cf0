//! Alerts and dashboards alone: promtool accepts them, and each alert fires when it should and has a documentation page.

use std::collections::BTreeSet;

use postrider_testkit::debian::PROMTOOL;
use tokio::process::Command;

use super::{checkout, run, text, tool};

#[tokio::test]
async fn alerts_are_accepted_by_promtool_and_fire_when_they_should() {
    let folder = checkout().join("deploy/prometheus");
    for arguments in
        [["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"], ["test", "rules", "alerts.test.yml"]]
    {
        run(tool(PROMTOOL).await.args(arguments).current_dir(&folder)).await;
    }
}

#[test]
fn every_alert_has_a_test_and_a_page_to_read() {
    let (alerts, tests) = (text("deploy/prometheus/alerts.yml"), text("deploy/prometheus/alerts.test.yml"));
    let page = text("docs/operations/alerts.md");
    let names: BTreeSet<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 20, "{names:?}");
    for name in &names {
        assert!(page.contains(&format!("\n## {name}\n")), "docs/operations/alerts.md has no section {name}");
        let link = format!("docs/operations/alerts.md#{}\n", name.to_lowercase());
        assert!(alerts.contains(&link), "{name} has no runbook_url to its section");
        assert!(
            tests.contains(&format!("\"{name}\"")) || tests.contains(&format!("alertname: {name}\n")),
            "{name} has no test"
        );
    }
    let sections: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections, names, "sections and alerts");
}

#[tokio::test]
async fn dashboards_match_their_generator() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("dashboards")).expect("made");
    let script = folder.path().join("dashboards.py");
    std::fs::copy(checkout().join("deploy/grafana/dashboards.py"), &script).expect("copied");
    run(Command::new("python3").arg(&script)).await;
    for board in ["overview", "profile", "dispatcher", "broker"] {
        let written = std::fs::read_to_string(folder.path().join(format!("dashboards/{board}.json"))).expect("written");
        let kept = text(&format!("deploy/grafana/dashboards/{board}.json"));
        assert!(written == kept, "{board}.json: run python3 deploy/grafana/dashboards.py");
    }
}
