//! Tests of the settings of `postrider all`. The values are passed as flags, because the tests of a process share its
//! environment.

use clap::{CommandFactory, Parser};

use super::*;

/// A key of 32 bytes.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn parse(more: &[&str]) -> Result<AllArgs, String> {
    let master = format!("k1:{KEY}");
    let mut line = vec![
        "postrider",
        "all",
        "--amqp-url=amqp://guest:s3cret@broker/vhost",
        "--database-url=postgres://postrider:s3cret@db/postrider",
        "--operator-keys=opk_s3cret_s3cret_s3cret_s3cret_1,opk_s3cret_s3cret_s3cret_s3cret_2",
        "--master-keys",
        &master,
    ];
    line.extend(more);
    match Cli::try_parse_from(line).map_err(|error| error.to_string())?.command {
        Command::All(args) => Ok(*args),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(more: &[&str], words: &str) {
    let message = match parse(more) {
        Err(message) => message,
        Ok(command) => {
            Command::All(Box::new(command)).check().expect_err(&format!("{more:?} should be refused")).to_string()
        }
    };
    assert!(message.contains(words), "{more:?}: {message:?} lacks {words:?}");
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let command = parse(&[]).unwrap();
    Command::All(Box::new(command.clone())).check().unwrap();
    assert_eq!(command.service.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(command.recorder.retention_days, 30);
    assert!(command.egress.allow.0.is_empty() && !command.egress.allow_http);
    assert!(command.egress.proxy.0.is_none() && command.egress.ca_file.is_none());
    assert_eq!(command.egress.connect_timeout.as_secs(), 10);
    assert_eq!(command.service.http.drain_timeout.as_secs(), 70);
    assert!(command.service.profiles.directory.is_none());
}

#[test]
fn values_are_read() {
    let command = parse(&[
        "--listen=0.0.0.0:80",
        "--egress-allow=127.0.0.0/8,10.0.0.0/8",
        "--egress-allow-http",
        "--egress-proxy=http://u:s3cret@proxy:3128",
        "--drain-timeout=2m",
        "--retention-days=8",
    ])
    .unwrap();
    assert!(command.egress.allow_http);
    assert_eq!(command.egress.allow.0.len(), 2);
    assert_eq!(command.service.http.drain_timeout.as_secs(), 120);
    assert!(!parse(&["--egress-allow-http=false"]).unwrap().egress.allow_http);
    assert!(!parse(&["--egress-allow-http="]).unwrap().egress.allow_http);
}

#[test]
fn what_cannot_be_used_is_named() {
    refused(&["--listen=here"], "--listen");
    refused(&["--egress-allow=10.0.0.0/33"], "10.0.0.0/33");
    refused(&["--retention-days=7"], "`7` is not a whole number from 8 to 3650");
    refused(&["--egress-connect-timeout=0s"], "is not a duration from 1ms to 1m");
    refused(&["--egress-connect-timeout=soon"], "egress-connect-timeout");
    refused(&["--egress-proxy=socks5://proxy"], "POSTRIDER_EGRESS_PROXY");
    refused(&["--egress-ca-file=/does/not/exist.pem"], "POSTRIDER_EGRESS_CA_FILE");
    refused(&["--amqp-ca-file=/does/not/exist.pem"], "POSTRIDER_AMQP_CA_FILE");
    refused(&["--profiles-dir=/does/not/exist"], "POSTRIDER_PROFILES_DIR");
    refused(&["--mappings-dir=/does/not/exist"], "POSTRIDER_MAPPINGS_DIR");
}

#[test]
fn https_is_known_by_the_public_url() {
    assert!(!parse(&[]).unwrap().api.is_https());
    assert!(!parse(&["--public-url=http://hooks.example"]).unwrap().api.is_https());
    assert!(parse(&["--public-url=https://hooks.example/"]).unwrap().api.is_https());
    refused(&["--public-url=hooks.example"], "is not a URL; expected https://host");
}

#[test]
fn debug_output_shows_no_secret() {
    let text = format!("{:?}", parse(&["--egress-proxy=http://u:s3cret@proxy:3128"]).unwrap());
    assert!(!text.contains("s3cret") && !text.contains(KEY), "{text}");
}

#[test]
fn the_flags_agree_with_each_other() {
    Cli::command().debug_assert();
}

/// Reads a file of the repository. `path` is relative to the root of the repository.
fn file(path: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_documentation_names_every_setting_with_its_default() {
    let page = file("docs/configuration.md");
    let command = Cli::command();
    for argument in command.find_subcommand("all").unwrap().get_arguments() {
        let Some(variable) = argument.get_env().and_then(|name| name.to_str()) else { continue };
        let row = page.lines().find(|line| line.starts_with(&format!("| `{variable}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/configuration.md has no row for {variable}"));
        if let Some(default) = argument.get_default_values().first().and_then(|value| value.to_str())
            && !default.is_empty()
        {
            assert!(row.contains(&format!("| `{default}` |")), "{variable}: the default is {default}: {row}");
        }
        assert!(argument.get_help().is_some(), "{variable} has no help");
    }
}

#[test]
fn the_documentation_names_every_limit() {
    let page = file("docs/limits.md");
    let source = file("shared/model/src/limits.rs");
    let names = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let missing: Vec<&str> = names.filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/limits.md lacks {missing:?}");
}
