//! docs/api-tour.md as a new user follows it: every command in order, in one shell, with the documented responses.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::{Deployment, OPERATOR_KEY, Receiver};

const PATIENCE: Duration = Duration::from_secs(120);

/// Commands and the documented response.
struct Step {
    commands: String,
    answer: Option<Value>,
}

/// The steps of the documentation.
fn steps() -> Vec<Step> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api-tour.md");
    let text = std::fs::read_to_string(path).expect("the documentation");
    let mut steps: Vec<Step> = Vec::new();
    for block in text.split("```").skip(1).step_by(2) {
        if let Some(commands) = block.strip_prefix("sh\n") {
            steps.push(Step { commands: commands.to_owned(), answer: None });
        } else {
            let answer = block.strip_prefix("json\n").unwrap_or_else(|| panic!("neither sh nor json: {block}"));
            let step = steps.last_mut().expect("an answer follows commands");
            assert!(step.answer.is_none(), "two answers to {}", step.commands);
            step.answer = Some(serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}")));
        }
    }
    steps
}

/// Whether a response is as documented: it may have more members, and `…` stands for anything.
fn fits(shown: &Value, answer: &Value) -> bool {
    match (shown, answer) {
        (Value::String(shown), answer) if shown == "…" => !answer.is_null(),
        (Value::String(shown), Value::String(answer)) => match shown.split_once('…') {
            Some((before, after)) => answer.starts_with(before) && answer.ends_with(after),
            None => shown == answer,
        },
        (Value::Object(shown), Value::Object(answer)) => {
            shown.iter().all(|(name, shown)| answer.get(name).is_some_and(|answer| fits(shown, answer)))
        }
        (Value::Array(shown), Value::Array(answer)) => {
            shown.len() == answer.len() && shown.iter().zip(answer).all(|(shown, answer)| fits(shown, answer))
        }
        _ => shown == answer,
    }
}

#[tokio::test]
async fn every_command_of_the_tour_works_and_is_answered_as_it_says() {
    let (deployment, receiver) = (Deployment::start("tour").await, Receiver::start().await);
    let (folder, steps) = (tempfile::tempdir().expect("a folder"), steps());
    // Each step has its own file for the last response. Exported variables stay set.
    let mut script = String::from("set -euo pipefail\n");
    for (at, step) in steps.iter().enumerate() {
        script.push_str(&format!("echo step {at}\n{}\n", step.commands));
        if step.answer.is_some() {
            script.push_str(&format!("cp answer.json {at}.json\n"));
        }
    }
    let run = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("POSTRIDER", &deployment.operator().base)
        .env("OPERATOR_KEY", OPERATOR_KEY)
        .env("HOOK", receiver.url("/hook"))
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, run).await.expect("it ends").expect("bash, curl and python3");
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{failed}");

    for (at, Step { commands, answer }) in steps.iter().enumerate() {
        let Some(shown) = answer else { continue };
        let text = std::fs::read_to_string(folder.path().join(format!("{at}.json"))).expect("an answer");
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {commands}: {text}"));
        assert!(fits(shown, &answer), "{commands}\nis answered\n{answer:#}\nand not\n{shown:#}");
    }
    assert!(steps.iter().filter(|step| step.answer.is_some()).count() >= 15);
    // The test call, the event, and its retry.
    receiver.take(3).await;
}
