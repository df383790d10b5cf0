//! `cargo xtask test`: runs all checks of CI.

use std::time::Instant;

use anyhow::Result;
use postrider_testkit::engines::{Install, ensure, missing_tools};
use postrider_testkit::paths::on_path;

use crate::child;
use crate::test_engines::{Release, TestEngines};
use crate::{InstallArgs, deny, faults, report};

/// The tests that kill, starve or flood a service or an engine. The fast tests are in the targets `it`, and the slow tests are
/// in `faults`.
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
    "ordering::the_order",
    "long_outages::",
];

/// The targets and modules whose tests depend on the release of the engines. They are the tests of the broker and store crates,
/// and the scenarios that kill or starve engines.
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

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Run only the fault tests, including the slow tests. Print a table of their results and write it to docs/faults.md.
    #[arg(long)]
    faults: bool,
    /// Run only tests whose name contains this text. Formatting, lints and documentation are not checked.
    filter: Option<String>,
    /// Engines to test with. Without a filter, `debian13` runs only the tests that depend on the release of the engines.
    #[arg(long, value_enum, default_value_t)]
    engines: Release,
    #[command(flatten)]
    install: InstallArgs,
}

/// Runs all checks, even if a check fails. Returns `false` if any check failed.
pub(crate) async fn run(args: TestArgs) -> Result<bool> {
    let started = Instant::now();
    // If a package is missing, the run ends here, before ten minutes of compiling.
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

    // The scenarios run the real binary. All targets are built in one call: cargo compiles dependencies with more features for
    // tests than for binaries alone, so separate calls would compile the dependencies twice.
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

/// Runs a check by a tool that may not be installed.
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

/// Returns the calls of `cargo test` for these arguments, in order. They cover the whole workspace. With fewer packages, cargo
/// would compile the dependencies again with fewer features.
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

/// Runs `cargo test`. Returns `false` if a test failed.
async fn cargo_test(args: &TestArgs, engines: &TestEngines) -> Result<bool> {
    let table = if args.faults { Some(faults::begin()?) } else { None };
    let mut passed = true;
    for call in calls(args) {
        // `--show-output` is set because passing tests print measurements: delays, duplicates, time to recover.
        let arguments =
            [&["test", "--no-fail-fast"], &call.targets[..], &["--", "--show-output"], &call.names].concat();
        report::step(&format!("cargo {}", arguments.join(" ")));
        let mut command = child::cargo(&arguments);
        command.env("POSTRIDER_BIN", child::built("debug", "postrider")?);
        command.envs(engines.variables.iter().cloned()).envs(table.iter().map(|path| (faults::VARIABLE, path)));
        passed &= child::run(command, "cargo test").await?;
    }
    if let Some(table) = table {
        // The table in the documentation contains results for the installed engines only.
        faults::end(&table, passed && args.filter.is_none() && args.engines == Release::Installed)?;
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

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
