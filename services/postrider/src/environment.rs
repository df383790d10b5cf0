//! Reads settings from the environment and the flags. Errors contain the name of the variable.
//!
//! A variable that is set but blank counts as unset. A `POSTRIDER_…` variable is an error if no service uses it. Such a name is
//! nearly always misspelt, and a setting that is silently ignored is worse than a process that does not start. Processes of a
//! deployment may share an environment. Therefore each process accepts the variables of all services, of the project's tools,
//! of Compose and of Kubernetes (service links).

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command as Clap, CommandFactory, FromArgMatches};
use postrider_settings::redacted_url;

use crate::cli::{Cli, Command};

/// Exit code of clap for an invalid command line.
const USAGE: u8 = 2;
const PREFIX: &str = "POSTRIDER_";

/// Variables of Compose, of the tests and of the development tools. The environment of a service may contain them.
const TOOLS: [&str; 13] = [
    "POSTRIDER_AMQP_API",
    "POSTRIDER_BENCH_KEY",
    "POSTRIDER_BIN",
    "POSTRIDER_BIND",
    "POSTRIDER_CHROMIUM",
    "POSTRIDER_DEV",
    "POSTRIDER_ENGINE",
    "POSTRIDER_FAULTS_FILE",
    "POSTRIDER_HTTP_PORT",
    "POSTRIDER_IMAGE",
    "POSTRIDER_POSTGRES_BIN",
    "POSTRIDER_RABBITMQ_SERVER",
    "POSTRIDER_TEST",
];
/// Prefixes of variables of the tests and tools.
const TOOL_PREFIXES: [&str; 4] = ["POSTRIDER_BENCH_", "POSTRIDER_DEV_", "POSTRIDER_TEST_", "POSTRIDER_XTASK_"];

/// A command with its settings.
pub(crate) struct Parsed {
    pub(crate) command: Command,
    /// The name and the value of each setting, for the log. Secrets are omitted.
    pub(crate) summary: Vec<(String, String)>,
}

/// Reads the command line and the environment. Prints errors to standard error.
pub(crate) fn parse() -> Result<Parsed, ExitCode> {
    let command = without_blanks(Cli::command());
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let parsed = check_text(&variables).and_then(|()| match command.clone().try_get_matches() {
        Ok(matches) => parsed(&matches).map_err(|error| vec![error.to_string()]),
        Err(error) => match explain(&error, &Cli::command()) {
            Some(lines) => Err(lines),
            // clap prints the help, the version, or the error about an invalid flag.
            None => error.exit(),
        },
    });
    let checked = parsed.and_then(|parsed| match parsed.command {
        // These commands accept unknown variables.
        Command::Openapi | Command::Healthcheck(_) => Ok(parsed),
        _ => check_names(&variables, &settings(&Cli::command())).map(|()| parsed),
    });
    checked.map_err(|lines| {
        lines.iter().for_each(|line| say(line));
        ExitCode::from(USAGE)
    })
}

fn parsed(matches: &ArgMatches) -> Result<Parsed, clap::Error> {
    let summary = matches.subcommand().map(|(name, matches)| summary(name, matches)).unwrap_or_default();
    Ok(Parsed { command: Cli::from_arg_matches(matches)?.command, summary })
}

/// Returns the settings of a subcommand: the names of their variables, and their values without secrets.
fn summary(subcommand: &str, matches: &ArgMatches) -> Vec<(String, String)> {
    let command = Cli::command();
    let arguments = command.find_subcommand(subcommand).into_iter().flat_map(Clap::get_arguments);
    let setting = |arg: &Arg| {
        let mut values = matches.get_raw(arg.get_id().as_str())?;
        let value = values.next().and_then(|value| value.to_str()).unwrap_or_default();
        Some((variable(arg)?.to_owned(), redacted(arg, value)))
    };
    arguments.filter_map(setting).collect()
}

/// Returns the value of a setting without its secret part.
fn redacted(arg: &Arg, value: &str) -> String {
    if value.is_empty() {
        "-".to_owned()
    } else if value.contains("://") {
        redacted_url(value)
    } else if arg.is_hide_env_values_set() {
        format!("{} secret values", value.split(',').filter(|part| !part.trim().is_empty()).count())
    } else {
        value.to_owned()
    }
}

#[expect(clippy::print_stderr, reason = "the process has no logs yet")]
fn say(line: &str) {
    eprintln!("postrider: {line}");
}

/// Makes clap ignore the variable of a setting if it is blank.
fn without_blanks(command: Clap) -> Clap {
    let blank = |arg: &Arg| {
        arg.get_env()
            .and_then(std::env::var_os)
            .is_some_and(|value| value.to_str().is_some_and(|text| text.trim().is_empty()))
    };
    command.mut_subcommands(|subcommand| {
        subcommand.mut_args(|arg| if blank(&arg) { arg.env(Resettable::Reset) } else { arg })
    })
}

/// Returns all arguments of all subcommands.
fn arguments(command: &Clap) -> impl Iterator<Item = &Arg> {
    command.get_subcommands().flat_map(Clap::get_arguments)
}

/// Returns the variables of all services, sorted by name.
fn settings(command: &Clap) -> Vec<String> {
    let mut names: Vec<String> =
        arguments(command).filter_map(|arg| arg.get_env()?.to_str().map(str::to_owned)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Returns an error if the value of a `POSTRIDER_…` variable is not UTF-8 text.
fn check_text(variables: &[(OsString, OsString)]) -> Result<(), Vec<String>> {
    let wrong: Vec<String> = ours(variables)
        .filter(|(_, value)| value.to_str().is_none())
        .map(|(name, _)| format!("{name}: the value is not UTF-8 text"))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Returns the variables whose names begin with `PREFIX`.
fn ours(variables: &[(OsString, OsString)]) -> impl Iterator<Item = (&str, &OsString)> {
    variables.iter().filter_map(|(name, value)| {
        let name = name.to_str()?;
        name.starts_with(PREFIX).then_some((name, value))
    })
}

/// Returns an error if there are variables that no service uses. A blank variable counts as unset.
fn check_names(variables: &[(OsString, OsString)], known: &[String]) -> Result<(), Vec<String>> {
    let wrong: Vec<String> = ours(variables)
        .filter(|(_, value)| value.to_str().is_none_or(|text| !text.trim().is_empty()))
        .filter(|(name, value)| {
            let known = known.iter().any(|known| known == name);
            let tool = TOOLS.contains(name) || TOOL_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            !known && !tool && !is_service_link(name, value.to_str().unwrap_or_default())
        })
        .map(|(name, _)| {
            let nearest = known.iter().min_by_key(|known| strsim::osa_distance(known, name));
            let hint = nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
            format!("{name}: there is no such setting{hint}")
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Whether Kubernetes created the variable, for a Service whose name begins with `postrider`: `…_SERVICE_HOST`,
/// `…_SERVICE_PORT`, `…_SERVICE_PORT_<NAME>`, `…_PORT` with a URL, or `…_PORT_<NUMBER>_<PROTOCOL>`, with or without a suffix.
fn is_service_link(name: &str, value: &str) -> bool {
    let url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let numbered = || {
        let (_, rest) =
            name.rsplit_once("_PORT_").filter(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))?;
        rest.split('_').nth(1).map(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
    };
    // In `…_PORT_80_TCP_PORT` and `…_PORT_80_TCP_PROTO`, the number is before the last `_PORT`.
    let suffixes = ["_ADDR", "_PROTO", "_PORT"];
    let appended = suffixes.iter().any(|suffix| {
        name.strip_suffix(suffix).is_some_and(|name| ["_TCP", "_UDP", "_SCTP"].iter().any(|end| name.ends_with(end)))
    });
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && url)
        || numbered().unwrap_or(false)
        || appended
}

/// Rewrites an error of clap about a setting, so that the error contains the name of the variable. Returns `None` if the error
/// is about something else.
fn explain(error: &clap::Error, command: &Clap) -> Option<Vec<String>> {
    let find = |shown: &str| {
        let long = shown.strip_prefix("--")?.split([' ', '=']).next()?;
        arguments(command).find(|arg| arg.get_long() == Some(long) && arg.get_env().is_some())
    };
    match (error.kind(), error.get(ContextKind::InvalidArg)?) {
        (ErrorKind::ValueValidation, ContextValue::String(shown)) => {
            let arg = find(shown)?;
            let why = std::error::Error::source(error).map(ToString::to_string)?;
            Some(vec![format!("{}: {why} (or the flag --{})", variable(arg)?, arg.get_long()?)])
        }
        (ErrorKind::MissingRequiredArgument, ContextValue::Strings(missing)) => missing
            .iter()
            .map(|shown| {
                let arg = find(shown)?;
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                Some(format!("{}: is required and not set: {help}", variable(arg)?))
            })
            .collect(),
        _ => None,
    }
}

fn variable(arg: &Arg) -> Option<&str> {
    arg.get_env()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(variables: &[(&str, &str)]) -> Result<(), Vec<String>> {
        let variables: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        check_names(&variables, &settings(&Cli::command()))
    }

    #[test]
    fn a_misspelt_variable_is_refused_with_the_nearest_name() {
        let wrong = names(&[("POSTRIDER_RETENTION_DYAS", "30"), ("POSTRIDER_LISTEN", "x"), ("PATH", "/bin")]);
        assert_eq!(
            wrong.unwrap_err(),
            ["POSTRIDER_RETENTION_DYAS: there is no such setting; did you mean POSTRIDER_RETENTION_DAYS?"]
        );
        assert_eq!(names(&[("POSTRIDER_RETENTION_DYAS", " ")]), Ok(()), "blank is unset");
    }

    #[test]
    fn the_logged_summary_names_every_setting_and_no_secret() {
        let line = [
            "postrider",
            "all",
            "--amqp-url=amqp://guest:s3cret@broker/vhost",
            "--database-url=postgres://postrider:s3cret@db/postrider",
            "--operator-keys=opk_s3cret_1,opk_s3cret_2",
            "--master-keys=k1:s3cret",
            "--egress-proxy=http://u:s3cret@proxy:3128",
            "--egress-allow-http",
        ];
        let summary = parsed(&Cli::command().get_matches_from(line)).unwrap().summary;
        let text = format!("{summary:?}");
        assert!(!text.contains("s3cret"), "{text}");
        let value = |name: &str| summary.iter().find(|(variable, _)| variable == name).unwrap().1.as_str();
        assert_eq!(value("POSTRIDER_AMQP_URL"), "amqp://broker/vhost");
        assert_eq!(value("POSTRIDER_EGRESS_PROXY"), "http://proxy:3128");
        assert_eq!(value("POSTRIDER_OPERATOR_KEYS"), "2 secret values");
        assert_eq!(value("POSTRIDER_PROFILES_DIR"), "-");
        assert_eq!(value("POSTRIDER_EGRESS_ALLOW_HTTP"), "true");
        assert_eq!(value("POSTRIDER_DRAIN_TIMEOUT"), "70s");
        let command = Cli::command();
        let settings = command.find_subcommand("all").unwrap().get_arguments().filter_map(variable);
        assert_eq!(summary.len(), settings.count());
    }

    #[test]
    fn variables_of_all_services_tools_and_kubernetes_are_known() {
        names(&[
            ("POSTRIDER_MAPPINGS_DIR", "x"),
            ("POSTRIDER_MASTER_KEYS", "x"),
            ("POSTRIDER_TEST_AMQP_URL", "x"),
            ("POSTRIDER_BIN", "x"),
            ("POSTRIDER_PORT", "tcp://10.0.0.7:8080"),
            ("POSTRIDER_SERVICE_HOST", "10.0.0.7"),
            ("POSTRIDER_API_SERVICE_HOST", "10.0.0.7"),
            ("POSTRIDER_API_SERVICE_PORT", "8080"),
            ("POSTRIDER_API_SERVICE_PORT_HTTP", "8080"),
            ("POSTRIDER_API_PORT", "tcp://10.0.0.7:8080"),
            ("POSTRIDER_API_PORT_8080_TCP", "tcp://10.0.0.7:8080"),
            ("POSTRIDER_API_PORT_8080_TCP_ADDR", "10.0.0.7"),
            ("POSTRIDER_API_PORT_8080_TCP_PORT", "8080"),
            ("POSTRIDER_API_PORT_8080_TCP_PROTO", "tcp"),
        ])
        .unwrap();
        assert!(names(&[("POSTRIDER_API_PORT", "8080")]).is_err(), "not what Kubernetes writes");
    }

    #[test]
    fn every_variable_of_the_deployment_files_is_known() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for file in ["docker-compose.yml", "deploy/compose/example.env", "k8s/base/api.yaml", "k8s/base/ingest.yaml"] {
            let text = std::fs::read_to_string(root.join(file)).unwrap();
            let name = |at: usize| text[at..].split(|c: char| !(c.is_ascii_uppercase() || c == '_')).next().unwrap();
            let found: Vec<&str> = text.match_indices(PREFIX).map(|(at, _)| name(at)).collect();
            assert!(!found.is_empty(), "{file}");
            for name in found {
                names(&[(name, "x")]).unwrap_or_else(|error| panic!("{file}: {error:?}"));
            }
        }
    }
}
