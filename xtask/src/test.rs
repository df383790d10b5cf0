//! `cargo xtask test`: everything that CI checks.

use std::io::IsTerminal as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use postrider_testkit::engines::{Engines, Purpose};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::child::{self, Guarded};
use crate::{faults, report, start_engines};

/// The scenarios of `tests/` that kill, starve or flood something: those of `it` that every change has to survive, and those of
/// `faults` that take minutes.
const FAULTS: &[&str] = &[
    "crash::",
    "restarts::",
    "partitions::",
    "disk::",
    "ladder::",
    "poison::",
    "isolation::",
    "blocked::",
    "intake::killing",
    "replays::a_killed",
    "away::",
];

/// What to check.
#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Only the fault tests, those that take minutes, too; prints a table of what they did and keeps it in docs/faults.md.
    #[arg(long)]
    faults: bool,
    /// Only tests whose name contains this; formatting, lints and documentation are not checked then.
    filter: Option<String>,
    /// Only tell what would have to be installed.
    #[arg(long)]
    no_install: bool,
}

/// How tests find the engines and the binary.
pub(crate) fn variables(engines: &Engines) -> Vec<(&'static str, String)> {
    vec![
        ("POSTRIDER_TEST_AMQP_URL", engines.amqp_url.clone()),
        ("POSTRIDER_TEST_AMQP_API", engines.amqp_api_url.clone().unwrap_or_default()),
        ("POSTRIDER_TEST_DATABASE_URL", engines.database_url.clone()),
    ]
}

/// Runs every check, also after one failed; false when any did.
pub(crate) async fn run(args: TestArgs) -> Result<bool> {
    let begun = Instant::now();
    // First, so that a missing engine is not found out after ten minutes of compiling.
    let engines = start_engines(Purpose::Tests, args.no_install, false).await?;
    let everything = args.filter.is_none() && !args.faults;
    let mut failed: Vec<&str> = Vec::new();
    if everything {
        for (name, arguments, documentation) in [
            ("cargo fmt", &["fmt", "--all", "--check"][..], false),
            ("cargo clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], false),
            ("cargo doc", &["doc", "--workspace", "--no-deps", "--quiet", "--keep-going"], true),
        ] {
            report::step(&format!("cargo {}", arguments.join(" ")));
            let mut command = child::cargo(arguments);
            if documentation {
                command.env("RUSTDOCFLAGS", "-D warnings");
            }
            if !child::run(command, name).await? {
                failed.push(name);
            }
        }
        optional("cargo-deny", &["deny", "check", "bans", "licenses", "sources"], &mut failed).await?;
        optional("cargo-machete", &["machete"], &mut failed).await?;
    }

    // The scenarios run the real binary. All targets at once, or cargo would build the dependencies twice: tests ask for
    // more features of them than binaries do.
    report::step("cargo build --workspace --all-targets");
    if !child::run(child::cargo(&["build", "--workspace", "--all-targets"]), "cargo build").await? {
        failed.push("cargo build");
    } else if !cargo_test(&args, &engines).await? {
        failed.push("cargo test");
    }
    engines.stop();

    let seconds = begun.elapsed().as_secs();
    let spent = format!("{} min {} s", seconds / 60, seconds % 60);
    if failed.is_empty() {
        report::line(format!("everything passed in {spent}"));
    } else {
        report::line(format!("FAILED: {} ({spent})", failed.join(", ")));
    }
    Ok(failed.is_empty())
}

/// A check by a tool that not everybody has. `cargo test` holds the gist of deny.toml besides (xtask's `layers`).
async fn optional(tool: &'static str, arguments: &[&str], failed: &mut Vec<&str>) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()) {
        report::line(format!("» not run: {tool} is not installed"));
        return Ok(());
    }
    report::step(&format!("cargo {}", arguments.join(" ")));
    if !child::run(child::cargo(arguments), tool).await? {
        failed.push(tool);
    }
    Ok(())
}

/// `cargo test`, its output passed through and its results added up.
async fn cargo_test(args: &TestArgs, engines: &Engines) -> Result<bool> {
    let mut arguments = vec!["test", "--no-fail-fast"];
    if args.faults {
        arguments.extend(["--package", "postrider-tests", "--test", "it", "--test", "faults"]);
    } else {
        arguments.push("--workspace");
    }
    // What passing tests print are figures: lateness, duplicates, time to recover.
    arguments.extend(["--", "--show-output"]);
    if std::io::stdout().is_terminal() {
        arguments.extend(["--color", "always"]);
    }
    if args.faults && args.filter.is_none() {
        arguments.extend(FAULTS);
    }
    arguments.extend(args.filter.as_deref());
    report::step(&format!("cargo {}", arguments.join(" ")));
    let mut command = child::cargo(&arguments);
    command.stdout(Stdio::piped()).env("POSTRIDER_BIN", child::built("debug", "postrider")?);
    command.envs(variables(engines));
    let table = if args.faults { Some(faults::begin()?) } else { None };
    command.envs(table.as_ref().map(|path| (faults::VARIABLE, path)));
    let mut tests = Guarded::spawn(command, "cargo test", Duration::from_secs(20))?;
    let mut lines = BufReader::new(tests.stdout().context("stdout is piped")?).lines();
    let mut sum = Sum::default();
    while let Some(line) = lines.next_line().await? {
        sum.add(&line);
        report::line(line);
    }
    let success = tests.wait().await?.success();
    report::line(format!("{} passed, {} failed", sum.passed, sum.failed));
    let passed = success && sum.failed == 0;
    let nothing_lost = match table {
        Some(table) => faults::end(&table, passed && args.filter.is_none())?,
        None => true,
    };
    Ok(passed && nothing_lost)
}

/// The results of all test programs together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
}

impl Sum {
    /// Takes a line of a test program's output; most say nothing.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            match (words.next().and_then(|number| number.parse::<u64>().ok()), words.next()) {
                (Some(number), Some("passed")) => self.passed += number,
                (Some(number), Some("failed")) => self.failed += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_add_up() {
        let mut sum = Sum::default();
        sum.add("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.05s");
        sum.add("test engines::a_test ... ok");
        sum.add("test result: \u{1b}[31mFAILED\u{1b}[m. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(sum, Sum { passed: 5, failed: 1 });
    }
}
