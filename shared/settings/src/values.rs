//! Types into which settings are parsed.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

/// A value that may be absent. An empty text means that it is absent.
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

/// Comma-separated CIDRs. An address without a prefix length is a range of one address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cidrs(pub Vec<IpNet>);

impl FromStr for Cidrs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = |part: &str| {
            let address = || part.parse::<IpAddr>().map(IpNet::from);
            part.parse::<IpNet>()
                .or_else(|_| address())
                .map_err(|_| format!("`{}` is not a CIDR; expected such as 10.0.0.0/8,fd00::/8", cut(part)))
        };
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(one).collect::<Result<_, _>>().map(Self)
    }
}

/// Comma-separated hosts, each `host` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts(pub Vec<String>);

impl FromStr for Hosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = |part: &str| {
            let url = url::Url::parse(&format!("https://{part}/")).ok();
            let is_host = url.is_some_and(|url| {
                url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none()
            });
            if is_host && !part.contains(['/', '?', '#', '@']) {
                Ok(part.to_ascii_lowercase())
            } else {
                Err(format!("`{}` is not a host; expected such as chat.example.com,chat.example.com:8443", cut(part)))
            }
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

/// A secret that may be absent. An empty text means that it is absent.
#[derive(Debug, Clone, Default)]
pub struct OptionalSecret(pub Option<SecretString>);

impl FromStr for OptionalSecret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        Ok(Self((!text.is_empty()).then(|| SecretString::from(text))))
    }
}

/// Returns a URL without its user, password and query.
pub fn redacted_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(not a URL)".to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match path {
        Some(path) => format!("{scheme}://{host}/{path}"),
        None => format!("{scheme}://{host}"),
    }
}

/// Parses a secret that must not be empty.
///
/// # Errors
/// The text is empty.
pub fn secret(text: &str) -> Result<SecretString, String> {
    let text = text.trim();
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(SecretString::from(text)) }
}

/// Returns the beginning of a value, for an error message.
pub fn cut(value: &str) -> String {
    /// Maximum number of characters of a value that an error shows.
    const SHOWN_MAX: usize = 60;
    let mut shown: String = value.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if value.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Parses a whole number within a range.
pub fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| match text.trim().parse() {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(format!("`{}` is not a whole number from {} to {}", cut(text), range.start(), range.end())),
    }
}

/// Parses a duration within a range.
pub fn duration(
    range: RangeInclusive<Duration>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| match humantime::parse_duration(text.trim()) {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => {
            let (from, to) = (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
            Err(format!(
                "`{}` is not a duration from {from} to {to}; expected such as 500ms, 10s, 2m 30s or 1h",
                cut(text)
            ))
        }
    }
}

/// Parses the address and port of a server socket.
///
/// # Errors
/// The text is not an IP address with a port.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong =
        |_| format!("`{}` is not ADDRESS:PORT; expected such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080", cut(text));
    text.trim().parse().map_err(wrong)
}

/// Parses the address and port of a server socket. An empty text means that it is absent.
///
/// # Errors
/// The text is not an IP address with a port.
pub fn optional_address(text: &str) -> Result<Optional<SocketAddr>, String> {
    if text.trim().is_empty() { Ok(Optional(None)) } else { address(text).map(|address| Optional(Some(address))) }
}

/// Parses an absolute http or https URL.
///
/// # Errors
/// The text is not a URL, or its scheme is neither http nor https.
pub fn http_url(text: &str) -> Result<url::Url, String> {
    match url::Url::parse(text.trim()) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) && url.has_host() => Ok(url),
        _ => Err(format!("`{}` is not a URL; expected https://host[:port][/path]", cut(text))),
    }
}

/// Parses an absolute http or https URL. An empty text means that it is absent.
///
/// # Errors
/// The text is not a URL, or its scheme is neither http nor https.
pub fn optional_http_url(text: &str) -> Result<Optional<url::Url>, String> {
    if text.trim().is_empty() { Ok(Optional(None)) } else { http_url(text).map(|url| Optional(Some(url))) }
}

/// Parses `true`, `1`, `yes`, `on` and their opposites. An empty text means false.
///
/// # Errors
/// The text is none of these words.
pub fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "" | "false" | "0" | "no" | "off" => Ok(false),
        other => {
            Err(format!("`{}` is neither true nor false; expected true, 1, yes, on, false, 0, no or off", cut(other)))
        }
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
    fn an_invalid_value_is_shown_shortened_with_the_allowed_values() {
        assert_eq!(number(2..=500)("16"), Ok(16));
        assert_eq!(number(2..=500_u16)("99999").unwrap_err(), "`99999` is not a whole number from 2 to 500");
        let seconds = |from, to| Duration::from_secs(from)..=Duration::from_secs(to);
        assert_eq!(duration(seconds(1, 60))("2s"), Ok(Duration::from_secs(2)));
        for wrong in ["", "2", "0s", "2m", "99999999999999999999y"] {
            let error = duration(seconds(1, 60))(wrong).unwrap_err();
            assert!(error.contains("from 1s to 1m"), "{error}");
        }
        assert!(address("8080").unwrap_err().starts_with("`8080` is not ADDRESS:PORT"));
        for wrong in ["x", "ftp://h", "http://", "mailto:a@b"] {
            assert!(http_url(wrong).unwrap_err().contains("expected https://host"), "{wrong}");
        }
        assert!(address(&"9\n".repeat(100_000)).unwrap_err().len() < 400);
    }

    #[test]
    fn ranges_are_cidrs_or_addresses() {
        let cidrs: Cidrs = "10.0.0.0/8, ::1,192.168.1.7".parse().unwrap();
        let shown: Vec<String> = cidrs.0.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "::1/128", "192.168.1.7/32"]);
        assert!("10.0.0.0/33".parse::<Cidrs>().unwrap_err().contains("10.0.0.0/33"));
        let hosts: Hosts = "Chat.example.com:8443, 127.0.0.1:9".parse().unwrap();
        assert_eq!(hosts.0, ["chat.example.com:8443", "127.0.0.1:9"]);
        for wrong in ["https://a.example", "a.example/x", "u@a.example", "a b"] {
            assert!(wrong.parse::<Hosts>().unwrap_err().contains("is not a host"), "{wrong}");
        }
    }

    #[test]
    fn a_redacted_url_has_no_secret() {
        let shown = redacted_url;
        assert_eq!(shown("amqp://user:pa@ss@broker:5672/%2f?heartbeat=1"), "amqp://broker:5672/%2f");
        assert_eq!(shown("postgres://u:p@db/postrider?password=x"), "postgres://db/postrider");
        assert_eq!(shown("postgres://db"), "postgres://db");
        assert_eq!(shown("host=db password=x"), "(not a URL)");
    }
}
