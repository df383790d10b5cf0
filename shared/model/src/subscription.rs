//! Subscriptions: the events that an endpoint receives. A subscription is compiled when configuration is loaded, and matched
//! with each event.
//!
//! A filter matches if any of its values matches (OR). A subscription matches if all of its filters match (AND). A filter does
//! not match an event that lacks its attribute.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::event::{Attributes, EventType, is_attribute_name, is_event_type};
use crate::json::pointer_token;
use crate::limits::{ATTRIBUTE_VALUE_BYTES_MAX, EVENT_TYPES_MAX, FILTER_VALUES_MAX, FILTERS_MAX};
use crate::text::serialize_as_text;

/// A pattern of event types: exactly one type, all types below a dot at any depth (`email.*`), or all types (`*`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TypePattern {
    /// `*`
    All,
    /// `email.*`, stored as `email.` with the dot.
    Below(Box<str>),
    /// One type.
    Exact(Box<str>),
}

/// An error: the text is not a pattern of event types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an event type, a type followed by '.*' such as 'email.*', or '*' alone")]
pub struct InvalidTypePattern;

impl TypePattern {
    /// Whether the pattern matches this type.
    pub fn matches(&self, event_type: &EventType) -> bool {
        match self {
            Self::All => true,
            Self::Below(prefix) => event_type.as_str().starts_with(prefix.as_ref()),
            Self::Exact(exact) => event_type.as_str() == exact.as_ref(),
        }
    }
}

impl FromStr for TypePattern {
    type Err = InvalidTypePattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_suffix(".*") {
            _ if text == "*" => Ok(Self::All),
            Some(stem) if is_event_type(stem) => Ok(Self::Below(format!("{stem}.").into())),
            None if is_event_type(text) => Ok(Self::Exact(text.into())),
            _ => Err(InvalidTypePattern),
        }
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Below(prefix) => write!(f, "{prefix}*"),
            Self::Exact(exact) => f.write_str(exact),
        }
    }
}

serialize_as_text!(TypePattern);

/// How a filter's values are compared with an event's attribute. The profile defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// Byte for byte.
    Exact,
    /// A domain name, ignoring case. `*.example.com` matches every name below `example.com`, but not `example.com` itself.
    Domain,
    /// An IPv4 or IPv6 address or a CIDR block.
    Ip,
}

impl MatchKind {
    /// Converts an attribute's value to the form of [`FilterValues::whole`]. A filter without wildcards matches the value if
    /// its whole values contain the result. Returns `None` if no filter of this kind can match the value.
    pub fn comparable(self, actual: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Exact => Some(Cow::Borrowed(actual)),
            Self::Domain => Some(Cow::Owned(lower(actual).into())),
            Self::Ip => Some(Cow::Owned(actual.parse::<IpAddr>().ok()?.to_canonical().to_string())),
        }
    }
}

/// The values of one filter, compiled for matching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterValues {
    /// Values for [`MatchKind::Exact`], sorted.
    Exact(Box<[Box<str>]>),
    /// Values for [`MatchKind::Domain`].
    Domain {
        /// Full names in lower case, sorted.
        names: Box<[Box<str>]>,
        /// The part after each `*`, with its dot: `.example.com`.
        suffixes: Box<[Box<str>]>,
    },
    /// Values for [`MatchKind::Ip`].
    Ip(Box<[IpNet]>),
}

/// A mistake in a subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct InvalidSubscription {
    /// JSON pointer to the wrong value in the endpoint, such as `/filters/dedicated_ip/0`.
    pub pointer: String,
    /// What is wrong, and what is allowed.
    pub detail: String,
}

fn lower(text: &str) -> Box<str> {
    text.trim_end_matches('.').to_ascii_lowercase().into()
}

fn borrowed(values: &[Box<str>]) -> Vec<Cow<'_, str>> {
    values.iter().map(|value| Cow::Borrowed(value.as_ref())).collect()
}

fn is_domain(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

fn parse_ip_net(text: &str) -> Option<IpNet> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net.trunc(),
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?.to_canonical()),
    };
    Some(net)
}

impl FilterValues {
    /// Compiles values for `kind`.
    ///
    /// # Errors
    /// The index of the first malformed value, and the values that are allowed.
    pub fn compile(kind: MatchKind, values: &[String]) -> Result<Self, (usize, &'static str)> {
        let long = values.iter().position(|v| v.is_empty() || v.len() > ATTRIBUTE_VALUE_BYTES_MAX);
        if let Some(index) = long {
            return Err((index, "a value has 1 to 512 bytes"));
        }
        match kind {
            MatchKind::Exact => {
                let mut sorted: Vec<Box<str>> = values.iter().map(|v| v.as_str().into()).collect();
                sorted.sort_unstable();
                sorted.dedup();
                Ok(Self::Exact(sorted.into()))
            }
            MatchKind::Domain => {
                let (mut names, mut suffixes) = (Vec::new(), Vec::new());
                for (index, value) in values.iter().enumerate() {
                    let value = lower(value);
                    match value.strip_prefix("*.") {
                        Some(below) if is_domain(below) => suffixes.push(format!(".{below}").into()),
                        None if is_domain(&value) => names.push(value),
                        _ => return Err((index, "expected a domain such as mail.example.com or *.example.com")),
                    }
                }
                names.sort_unstable();
                names.dedup();
                Ok(Self::Domain { names: names.into(), suffixes: suffixes.into() })
            }
            MatchKind::Ip => {
                let parse = |(index, value): (usize, &String)| {
                    parse_ip_net(value).ok_or((index, "expected an IPv4 or IPv6 address or a CIDR block"))
                };
                values.iter().enumerate().map(parse).collect::<Result<_, _>>().map(Self::Ip)
            }
        }
    }

    /// The values in the form of [`MatchKind::comparable`]; `None` for a filter with a wildcard or a CIDR block.
    pub fn whole(&self) -> Option<(MatchKind, Vec<Cow<'_, str>>)> {
        match self {
            Self::Exact(values) => Some((MatchKind::Exact, borrowed(values))),
            Self::Domain { names, suffixes } => suffixes.is_empty().then(|| (MatchKind::Domain, borrowed(names))),
            Self::Ip(nets) => {
                let address =
                    |net: &IpNet| (net.prefix_len() == net.max_prefix_len()).then(|| net.addr().to_string().into());
                Some((MatchKind::Ip, nets.iter().map(address).collect::<Option<_>>()?))
            }
        }
    }

    /// Whether any of the filter's values matches this value of the attribute.
    pub fn matches(&self, actual: &str) -> bool {
        match self {
            Self::Exact(values) => values.binary_search_by(|value| value.as_ref().cmp(actual)).is_ok(),
            Self::Domain { names, suffixes } => {
                let actual = lower(actual);
                names.binary_search(&actual).is_ok()
                    || suffixes.iter().any(|s| actual.len() > s.len() && actual.ends_with(s.as_ref()))
            }
            Self::Ip(nets) => match actual.parse::<IpAddr>() {
                Ok(ip) => nets.iter().any(|net| net.contains(&ip.to_canonical())),
                Err(_) => false,
            },
        }
    }
}

/// The event types and filters of an endpoint, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// At least one of these patterns must match the event's type.
    pub event_types: Box<[TypePattern]>,
    /// All of these filters must match the event's attributes. Sorted by attribute.
    pub filters: Box<[(Box<str>, FilterValues)]>,
}

impl Subscription {
    /// Compiles a customer's event types and filters, and sorts the filters by attribute. `kind_of` returns how an attribute is
    /// matched, or `None` if the profile does not have the attribute.
    ///
    /// # Errors
    /// The first mistake: a JSON pointer, and the values that are allowed.
    pub fn compile<'a, V: AsRef<[String]> + 'a>(
        event_types: &[String],
        filters: impl IntoIterator<Item = (&'a String, &'a V), IntoIter: ExactSizeIterator>,
        kind_of: impl Fn(&str) -> Option<MatchKind>,
    ) -> Result<Self, InvalidSubscription> {
        let invalid = |pointer: String, detail: String| InvalidSubscription { pointer, detail };
        if event_types.is_empty() || event_types.len() > EVENT_TYPES_MAX {
            let detail = format!("1 to {EVENT_TYPES_MAX} event types, got {}", event_types.len());
            return Err(invalid("/event_types".into(), detail));
        }
        let parse = |(index, text): (usize, &String)| {
            text.parse::<TypePattern>().map_err(|error| invalid(format!("/event_types/{index}"), error.to_string()))
        };
        let event_types = event_types.iter().enumerate().map(parse).collect::<Result<Box<[_]>, _>>()?;

        let filters = filters.into_iter();
        if filters.len() > FILTERS_MAX {
            return Err(invalid("/filters".into(), format!("at most {FILTERS_MAX} filters, got {}", filters.len())));
        }
        let mut compiled = Vec::with_capacity(filters.len());
        for (attribute, values) in filters {
            let pointer = format!("/filters/{}", pointer_token(attribute));
            let kind = Some(attribute).filter(|name| is_attribute_name(name)).and_then(|name| kind_of(name));
            let Some(kind) = kind else {
                return Err(invalid(pointer, "the tenant's profile has no such filter".into()));
            };
            let values = values.as_ref();
            if values.is_empty() || values.len() > FILTER_VALUES_MAX {
                return Err(invalid(pointer, format!("1 to {FILTER_VALUES_MAX} values, got {}", values.len())));
            }
            let values = FilterValues::compile(kind, values)
                .map_err(|(index, detail)| invalid(format!("{pointer}/{index}"), detail.into()))?;
            compiled.push((attribute.as_str().into(), values));
        }
        Ok(Self { event_types, filters: compiled.into() })
    }

    /// Whether the subscription matches an event.
    pub fn matches(&self, event_type: &EventType, attributes: &Attributes) -> bool {
        self.event_types.iter().any(|pattern| pattern.matches(event_type)) && self.filters_match(attributes)
    }

    /// Whether every filter matches the attributes. For callers that have already matched the event type with an index.
    pub fn filters_match(&self, attributes: &Attributes) -> bool {
        self.filters.iter().all(|(name, values)| attributes.get(name).is_some_and(|actual| values.matches(actual)))
    }
}
