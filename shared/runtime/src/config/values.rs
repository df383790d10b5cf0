//! Types that settings are parsed into.

use std::net::IpAddr;
use std::ops::Deref;
use std::str::FromStr;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

/// A value that may be absent; an empty text is absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Optional<T>(pub Option<T>);

impl<T> Default for Optional<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Deref for Optional<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.0
    }
}

impl<T: FromStr> FromStr for Optional<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|value| Self(Some(value))) }
    }
}

/// Comma-separated CIDRs; a bare address is a range of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cidrs(pub Vec<IpNet>);

impl FromStr for Cidrs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = |part: &str| {
            let address = || part.parse::<IpAddr>().map(IpNet::from);
            part.parse::<IpNet>()
                .or_else(|_| address())
                .map_err(|_| format!("`{part}` is no CIDR; expected such as 10.0.0.0/8,fd00::/8"))
        };
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(one).collect::<Result<_, _>>().map(Self)
    }
}

/// Comma-separated secrets.
#[derive(Debug, Clone, Default)]
pub struct SecretList(pub Vec<SecretString>);

impl FromStr for SecretList {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        Ok(Self(parts.map(SecretString::from).collect()))
    }
}

/// A URL for people: its scheme, host, port and path; user, password and query are left out.
pub fn redacted_url(url: &SecretString) -> String {
    let url = url.expose_secret();
    let Some((scheme, rest)) = url.split_once("://") else { return "(not a URL)".to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match path {
        Some(path) => format!("{scheme}://{host}/{path}"),
        None => format!("{scheme}://{host}"),
    }
}

/// A secret that must not be empty.
pub(super) fn secret(text: &str) -> Result<SecretString, String> {
    let text = text.trim();
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(SecretString::from(text)) }
}

/// `true`, `1`, `yes`, `on` and their opposites; empty is false.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "" | "false" | "0" | "no" | "off" => Ok(false),
        other => Err(format!("`{other}` is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_unset() {
        assert_eq!(" ".parse::<Optional<u16>>(), Ok(Optional(None)));
        assert_eq!("7".parse::<Optional<u16>>(), Ok(Optional(Some(7))));
        assert!("x".parse::<Optional<u16>>().is_err());
        assert_eq!("".parse::<Cidrs>().unwrap().0.len(), 0);
        assert_eq!(" , a ,b,".parse::<SecretList>().unwrap().0.len(), 2);
        assert_eq!(switch(""), Ok(false));
        assert_eq!(switch("Yes"), Ok(true));
        assert!(switch("perhaps").is_err());
    }

    #[test]
    fn ranges_are_cidrs_or_addresses() {
        let cidrs: Cidrs = "10.0.0.0/8, ::1,192.168.1.7".parse().unwrap();
        let shown: Vec<String> = cidrs.0.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "::1/128", "192.168.1.7/32"]);
        assert!("10.0.0.0/33".parse::<Cidrs>().unwrap_err().contains("10.0.0.0/33"));
    }

    #[test]
    fn a_shown_url_has_no_secret() {
        let shown = |url: &str| redacted_url(&SecretString::from(url));
        assert_eq!(shown("amqp://user:pa@ss@broker:5672/%2f?heartbeat=1"), "amqp://broker:5672/%2f");
        assert_eq!(shown("postgres://u:p@db/postrider?password=x"), "postgres://db/postrider");
        assert_eq!(shown("postgres://db"), "postgres://db");
        assert_eq!(shown("host=db password=x"), "(not a URL)");
    }
}
