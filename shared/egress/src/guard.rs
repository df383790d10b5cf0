//! The address guard decides which URLs may be endpoints, and to which addresses the client may connect.
//!
//! When a URL is saved, its form is checked; if its host is an address, the address is checked too. The addresses of a name may
//! change, so the resolver checks them when a delivery connects. The operator's allow-list opens address ranges for both
//! checks.

use std::net::IpAddr;

use ipnet::IpNet;
use postrider_model::endpoint::UrlRule;
use postrider_model::limits::URL_BYTES_MAX;
use url::{Host, Url};

use crate::ranges;

/// Names of this machine or of its network, and suffixes of such names.
const LOCAL_NAMES: &[&str] =
    &["localhost", "localdomain", "local", "internal", "ip6-localhost", "ip6-loopback", "home.arpa"];
/// The lowest allowed port, except for 80 and 443. Lower ports belong to system services, such as SSH and SMTP.
const FIRST_FREE_PORT: u16 = 1024;

/// Why a URL cannot be an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// The URL is too long.
    #[error("a URL has at most {URL_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// The text is not a URL.
    #[error("not a URL: {0}")]
    Unreadable(String),
    /// The scheme is neither http nor https.
    #[error("the scheme is `{0}`; allowed are https and http")]
    Scheme(String),
    /// The scheme is http, but only https is allowed.
    #[error("only https is allowed")]
    HttpsOnly,
    /// The URL has a user name or a password.
    #[error("a URL with a user name or password is not allowed; use a header instead")]
    UserInfo,
    /// The host cannot be a public endpoint.
    #[error("`{host}` cannot be used: {reason}")]
    Host {
        /// The host.
        host: String,
        /// The reason.
        reason: &'static str,
    },
    /// The port belongs to system services.
    #[error("port {0} is not allowed; allowed are 80, 443 and 1024 to 65535")]
    Port(u16),
}

/// Why deliveries do not go to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is {reason}")]
pub struct BlockedAddress {
    /// The kind of address, such as "a private address".
    pub reason: &'static str,
}

/// Decides about URLs and addresses without look-ups. By default, only public addresses are allowed.
#[derive(Debug, Clone, Default)]
pub struct AddressGuard {
    /// Address ranges that are allowed in addition to public addresses.
    pub allow: Vec<IpNet>,
    /// Whether http is allowed even if the profile requires https.
    pub allow_http: bool,
    /// Hosts that webhook URLs of every chat service may have, in addition to the service's own: `host` or `host:port`.
    pub chat_hosts: Vec<String>,
}

impl AddressGuard {
    /// Checks an endpoint's URL before it is saved, and parses it.
    ///
    /// # Errors
    /// The URL is refused. The error is a text for the author of the URL.
    pub fn check_url(&self, url: &str, rule: UrlRule) -> Result<Url, UrlRefused> {
        if url.len() > URL_BYTES_MAX {
            return Err(UrlRefused::TooLong(url.len()));
        }
        // The parser drops tabs and line ends, and reads a backslash as a slash. Such a URL is refused, because the saved URL
        // must equal the checked URL.
        if url.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(UrlRefused::Unreadable("spaces, control characters and backslashes must be escaped".into()));
        }
        let parsed = Url::parse(url).map_err(|error| match error {
            url::ParseError::RelativeUrlWithoutBase => UrlRefused::Unreadable("it must begin with https://".into()),
            other => UrlRefused::Unreadable(other.to_string()),
        })?;
        match parsed.scheme() {
            "https" => {}
            "http" if rule == UrlRule::HttpsOnly && !self.allow_http => return Err(UrlRefused::HttpsOnly),
            "http" => {}
            other => return Err(UrlRefused::Scheme(other.to_owned())),
        }
        if !parsed.username().is_empty() || parsed.password().is_some() || authority(url).contains('@') {
            return Err(UrlRefused::UserInfo);
        }
        if parsed.as_str().len() > URL_BYTES_MAX {
            return Err(UrlRefused::TooLong(parsed.as_str().len()));
        }
        self.check_target(&parsed)?;
        Ok(parsed)
    }

    /// Whether the operator allows the host of a parsed URL for webhook URLs of every chat service.
    pub fn is_chat_host(&self, url: &Url) -> bool {
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        self.chat_hosts.iter().any(|host| host.eq_ignore_ascii_case(authority))
    }

    /// Checks the host and port of a parsed URL. [`Egress::send`](crate::Egress::send) repeats this check before each request.
    pub(crate) fn check_target(&self, url: &Url) -> Result<(), UrlRefused> {
        let refused = |reason| UrlRefused::Host { host: url.host_str().unwrap_or_default().to_owned(), reason };
        match url.host() {
            Some(Host::Ipv4(address)) => {
                self.check_address(address.into()).map_err(|blocked| refused(blocked.reason))?
            }
            Some(Host::Ipv6(address)) => {
                self.check_address(address.into()).map_err(|blocked| refused(blocked.reason))?
            }
            Some(Host::Domain(name)) => self.check_name(name).map_err(refused)?,
            None => return Err(refused("a host is missing")),
        }
        match url.port_or_known_default() {
            Some(80 | 443) => Ok(()),
            Some(port) if port >= FIRST_FREE_PORT => Ok(()),
            port => Err(UrlRefused::Port(port.unwrap_or_default())),
        }
    }

    /// Checks an address before the client connects to it.
    ///
    /// # Errors
    /// The address is blocked. The error contains the kind of address.
    pub fn check_address(&self, address: IpAddr) -> Result<(), BlockedAddress> {
        let address = ranges::canonical(address);
        if self.allow.iter().any(|range| range.contains(&address)) {
            return Ok(());
        }
        match ranges::refusal(address) {
            Some(reason) => Err(BlockedAddress { reason }),
            None => Ok(()),
        }
    }

    /// Checks a host name. Names of the local network are refused, unless the operator allows address ranges. The name's
    /// addresses are checked in any case.
    fn check_name(&self, name: &str) -> Result<(), &'static str> {
        let labels_are_good = name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
        if name.ends_with('.') {
            return Err("a name must not end in a dot");
        }
        if name.len() > 253 || !labels_are_good {
            return Err("it is not a host name");
        }
        if self.allow.is_empty() {
            let is_local =
                |local: &&str| name.strip_suffix(*local).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            if LOCAL_NAMES.iter().any(is_local) {
                return Err("it is a name of the local network");
            }
            if !name.contains('.') {
                return Err("it is not a public name");
            }
        }
        Ok(())
    }
}

/// Returns the part of the URL between scheme and path unchanged, such as `user@host:port`.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
