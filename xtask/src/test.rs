//! `cargo xtask test`: everything that CI checks.

use std::io::IsTerminal as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use postrider_testkit::engines::{Install, ensure, missing_tools};
use postrider_testkit::paths::on_path;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::child::{self, Guarded};
use crate::test_engines::{Release, TestEngines};
use crate::{InstallArgs, deny, faults, report};

/// The tests that kill, starve or flood something: the fast ones in the targets `it`, and the slow ones in `faults`.
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
    "long_outages::",
];

/// The targets and modules whose tests depend on the release of the engines: the tests of the broker and store crates, and the scenarios
/// that kill or starve engines.
const ENGINES_TARGETS: &[&str] = &["store", "engines"];
const ENGINES_MODULES: &[&str] = &[
    // shared/broker
    "consuming::",
    "delays::",
    "hints::",
    "producer_messages::",
    "publishing::",
    "rpc::",
    "topology::",
    // tests
    "blocked::",
    "crash::",
    "disk::",
    "ladder::",
    "restarts::",
];

/// What to check.
#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Only the fault tests, including the slow ones; prints a table of their results and writes it to docs/faults.md.
    #[arg(long)]
    faults: bool,
    /// Only tests whose name contains this; formatting, lints and documentation are not checked then.
    filter: Option<String>,
    /// The engines to test with. Without a filter, `debian13` runs only the tests that depend on the release of the engines.
    #[arg(long, value_enum, default_value_t)]
    engines: Release,
    #[command(flatten)]
    install: InstallArgs,
}

/// Runs every check, also after one failed; false when any did.
pub(crate) async fn run(args: TestArgs) -> Result<bool> {
    let started = Instant::now();
    // Before ten minutes of compiling: a missing package ends the run at once.
    let install = Install::from(args.install);
    ensure(missing_tools, install, report::step)?;
    let engines = TestEngines::start(args.engines, install).await?;
    let everything = args.filter.is_none() && !args.faults && args.engines == Release::Installed;
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
        if !deny::check(install).await? {
            failed.push("cargo-deny");
        }
        optional("cargo-machete", &["machete"], &mut failed).await?;
    }

    // The scenarios run the real binary. All targets in one call: cargo compiles dependencies with more features for tests than for
    // binaries alone, and would otherwise compile them twice.
    report::step("cargo build --workspace --all-targets");
    if !child::run(child::cargo(&["build", "--workspace", "--all-targets"]), "cargo build").await? {
        failed.push("cargo build");
    } else if !cargo_test(&args, &engines).await? {
        failed.push("cargo test");
    }
    engines.stop();

    let seconds = started.elapsed().as_secs();
    let spent = format!("{} min {} s", seconds / 60, seconds % 60);
    if failed.is_empty() {
        report::line(format!("everything passed in {spent}"));
    } else {
        report::line(format!("FAILED: {} ({spent})", failed.join(", ")));
    }
    Ok(failed.is_empty())
}

/// A check by a tool that may not be installed.
async fn optional(tool: &'static str, arguments: &[&str], failed: &mut Vec<&str>) -> Result<()> {
    if on_path(tool).is_none() {
        report::line(format!("» not run: {tool} is not installed"));
        return Ok(());
    }
    report::step(&format!("cargo {}", arguments.join(" ")));
    if !child::run(child::cargo(arguments), tool).await? {
        failed.push(tool);
    }
    Ok(())
}

/// A call of `cargo test`: its targets and the names of its tests.
#[derive(Debug, PartialEq, Eq)]
struct Call<'a> {
    targets: Vec<&'a str>,
    names: Vec<&'a str>,
}

/// The calls of `cargo test` for these arguments, in order. Always of the whole workspace: for fewer packages cargo would compile their
/// dependencies again with fewer features.
fn calls(args: &TestArgs) -> Vec<Call<'_>> {
    let names = |modules: &[&'static str]| args.filter.as_deref().map_or(modules.to_vec(), |filter| vec![filter]);
    if args.faults {
        let targets = vec!["--workspace", "--test", "it", "--test", "faults"];
        return vec![Call { targets, names: names(FAULTS) }];
    }
    let whole = vec!["--workspace"];
    if args.engines == Release::Installed || args.filter.is_some() {
        return vec![Call { targets: whole, names: names(&[]) }];
    }
    let targets = whole.iter().copied().chain(ENGINES_TARGETS.iter().flat_map(|target| ["--test", target])).collect();
    let modules = whole.iter().copied().chain(["--test", "it"]).collect();
    vec![Call { targets, names: Vec::new() }, Call { targets: modules, names: names(ENGINES_MODULES) }]
}

/// Runs `cargo test`, passes its output through and adds up its results.
async fn cargo_test(args: &TestArgs, engines: &TestEngines) -> Result<bool> {
    let table = if args.faults { Some(faults::begin()?) } else { None };
    let mut variables = engines.variables.clone();
    variables.extend(table.as_ref().map(|path| (faults::VARIABLE.to_owned(), path.to_string_lossy().into_owned())));
    let mut sum = Sum::default();
    let mut success = true;
    for call in calls(args) {
        success &= call.run(&variables, &mut sum).await?;
    }
    report::line(format!("{} passed, {} failed", sum.passed, sum.failed));
    let passed = success && sum.failed == 0;
    let nothing_lost = match table {
        // The table in the documentation is for the installed engines.
        Some(table) => faults::end(&table, passed && args.filter.is_none() && args.engines == Release::Installed)?,
        None => true,
    };
    Ok(passed && nothing_lost)
}

impl Call<'_> {
    /// Runs it; false when it failed.
    async fn run(self, variables: &[(String, String)], sum: &mut Sum) -> Result<bool> {
        let mut arguments = vec!["test", "--no-fail-fast"];
        arguments.extend(self.targets);
        // Passing tests print figures: lateness, duplicates, time to recover.
        arguments.extend(["--", "--show-output"]);
        if std::io::stdout().is_terminal() {
            arguments.extend(["--color", "always"]);
        }
        arguments.extend(self.names);
        report::step(&format!("cargo {}", arguments.join(" ")));
        let mut command = child::cargo(&arguments);
        command.stdout(Stdio::piped()).env("POSTRIDER_BIN", child::built("debug", "postrider")?);
        command.envs(variables.iter().cloned());
        let mut tests = Guarded::spawn(command, "cargo test", Duration::from_secs(20))?;
        let mut lines = BufReader::new(tests.stdout().context("stdout is piped")?).lines();
        while let Some(line) = lines.next_line().await? {
            sum.add(&line);
            report::line(line);
        }
        Ok(tests.wait().await?.success())
    }
}

/// The results of all test programs together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
}

impl Sum {
    /// Adds the results in a line of a test program's output, if it has any.
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

    #[test]
    fn debian13_runs_the_tests_of_engines_and_a_filter_runs_its_matches() {
        let args = |filter: Option<&str>, engines| TestArgs {
            faults: false,
            filter: filter.map(String::from),
            engines,
            install: InstallArgs { no_install: true },
        };
        let targets = |args: &TestArgs| -> Vec<String> {
            let text = |call: &Call<'_>| format!("{} -- {}", call.targets.join(" "), call.names.join(" "));
            calls(args).iter().map(text).collect()
        };
        assert_eq!(targets(&args(None, Release::Installed)), ["--workspace -- "]);
        let narrow = targets(&args(None, Release::Debian13));
        assert_eq!(narrow[0], "--workspace --test store --test engines -- ");
        assert!(narrow[1].starts_with("--workspace --test it -- ") && narrow[1].contains("crash:: disk:: ladder::"));
        assert_eq!(targets(&args(Some("ladder::"), Release::Debian13)), ["--workspace -- ladder::"]);
        let faults = targets(&TestArgs { faults: true, ..args(None, Release::Debian13) });
        assert!(faults[0].contains("--test faults -- crash::") && faults.len() == 1, "{faults:?}");
    }

    #[test]
    fn every_module_of_the_engine_tests_exists() {
        let folders = ["shared/broker/tests/it", "tests/it"].map(|folder| child::checkout().join(folder));
        for module in ENGINES_MODULES {
            let file = format!("{}.rs", module.trim_end_matches("::"));
            assert!(folders.iter().any(|folder| folder.join(&file).is_file()), "{module}");
        }
    }
}
