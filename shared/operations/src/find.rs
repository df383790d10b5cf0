//! Searches by one text: an id, a status code, an outcome, a status, an event type, a value of a payload, or a part of a webhook's
//! name or URL.
//!
//! The text is first parsed to a `Meaning`, without IO. The search then costs at most one look-up by an id, the read of the
//! tenant's catalog and one pass over the tenant's endpoints. It does not search payloads: the result is the list of events that
//! does.

use postrider_model::attempt::Outcome;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::filters::StatusCodes;
use postrider_model::ids::{DeliveryId, EndpointId, EventId, ReplayId};
use postrider_model::payload_filter::PayloadSearch;
use postrider_model::scope::Scope;
use postrider_model::subscription::TypePattern;
use postrider_store::config::FoundEndpoint;

use crate::{Caller, Error, Operations};

/// Maximum number of bytes of a search text.
pub const SEARCH_BYTES_MAX: usize = 2_048;
/// Maximum number of endpoints that a search returns.
const ENDPOINTS_MAX: u32 = 50;

/// One result of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A delivery.
    Delivery(DeliveryId),
    /// An event.
    Event(EventId),
    /// A replay.
    Replay(ReplayId),
    /// An endpoint.
    Endpoint(FoundEndpoint),
    /// Deliveries whose last attempt got one of these status codes.
    StatusCodes(StatusCodes),
    /// Deliveries whose last attempt had this outcome.
    Outcome(Outcome),
    /// Deliveries with this status.
    Status(DeliveryStatus),
    /// Events of these types.
    Types(TypePattern),
    /// Events with this value in their payload.
    Payload(PayloadSearch),
}

/// What a search text can mean.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning<'a> {
    Nothing,
    Delivery(DeliveryId),
    Event(EventId),
    Replay(ReplayId),
    Endpoint(EndpointId),
    /// A list of deliveries or events with this filter, which needs no look-up.
    List(Found),
    /// A part of a name or URL, an event type, a value of a payload, or the id that a producer gave to its event.
    Text(&'a str),
}

impl<'a> Meaning<'a> {
    fn of(text: &'a str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::Nothing;
        }
        if let Ok(id) = text.parse() {
            return Self::Delivery(id);
        }
        if let Ok(id) = text.parse() {
            return Self::Endpoint(id);
        }
        if let Ok(id) = text.parse() {
            return Self::Replay(id);
        }
        if text.starts_with("evt_")
            && let Ok(id) = text.parse()
        {
            return Self::Event(id);
        }
        let list = if payload(text).is_some() { None } else { list(text) };
        list.map_or(Self::Text(text), Self::List)
    }
}

/// Reads a text such as `email=jo@example.com` as a field of a payload and its value, and an e-mail address as a value of any
/// field.
fn payload(text: &str) -> Option<PayloadSearch> {
    let separator = text.find(['=', ':']);
    match separator.map(|at| (&text[..at], &text[at + 1..])) {
        // A URL, such as `https://example.com/?a=b`, is not a field and a value.
        Some((_, value)) if value.starts_with("//") => None,
        Some((field, _)) if field == "*" || is_field(field) => text.parse().ok(),
        Some(_) => None,
        None if is_address(text) => anywhere(text),
        None => None,
    }
}

/// The search for a value in any field of `data`.
pub fn anywhere(value: &str) -> Option<PayloadSearch> {
    format!("*={value}").parse().ok()
}

/// Whether a text can be a field. Other fields can be searched in the list of events.
fn is_field(text: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "_-.$@\\".contains(c);
    !text.is_empty() && text.chars().all(is_part)
}

/// Whether a text looks like an e-mail address.
fn is_address(text: &str) -> bool {
    let parts = text.split_once('@');
    parts.is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !text.contains([' ', '/', ',']))
}

/// Returns the list for a text that is a status code, an outcome, a status, or a pattern of event types.
fn list(text: &str) -> Option<Found> {
    if let Ok(codes) = text.parse() {
        return Some(Found::StatusCodes(codes));
    }
    if text.contains('*') {
        return text.parse().ok().map(Found::Types);
    }
    let name = text.to_lowercase().replace([' ', '-'], "_");
    let outcome = match name.as_str() {
        "dns" => Ok(Outcome::DnsFailed),
        "tls" | "certificate" => Ok(Outcome::TlsFailed),
        "connection" | "connect" | "refused" => Ok(Outcome::ConnectFailed),
        "timed_out" => Ok(Outcome::Timeout),
        "blocked" => Ok(Outcome::AddressBlocked),
        name => name.parse(),
    };
    outcome.map(Found::Outcome).ok().or_else(|| name.parse().map(Found::Status).ok())
}

/// Returns the event types of a catalog that a text names: the type with this name or, if there is none, the types below this
/// name. Upper and lower case are equal.
fn types(text: &str, catalog: impl Iterator<Item = String>) -> Option<TypePattern> {
    let stem = text.trim_end_matches('.');
    let mut below = None;
    for name in catalog {
        if name.eq_ignore_ascii_case(text) {
            return name.parse().ok();
        }
        if let Some((start, rest)) = name.split_at_checked(stem.len())
            && rest.starts_with('.')
            && start.eq_ignore_ascii_case(stem)
        {
            below = format!("{start}.*").parse().ok();
        }
    }
    below
}

impl Operations {
    /// Searches the caller's tenant for what a text means. The result may be empty or have several entries. Requires the scope
    /// `read`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a text longer than [`SEARCH_BYTES_MAX`]; [`Error::TooMany`] while the tenant's other searches run.
    pub async fn find(&self, caller: Caller, text: &str) -> Result<Vec<Found>, Error> {
        let tenant = caller.tenant(Scope::Read)?;
        if text.len() > SEARCH_BYTES_MAX {
            return Err(Error::invalid("q", format!("at most {SEARCH_BYTES_MAX} bytes, got {}", text.len())));
        }
        let _slot = self.heavy.search(Some(tenant)).await?;
        let history = self.store.history();
        let one = match Meaning::of(text) {
            Meaning::Nothing => None,
            Meaning::Delivery(id) => history.get_delivery(Some(tenant), id).await?.map(|_| Found::Delivery(id)),
            Meaning::Event(id) => history.get_event(tenant, &id).await?.map(|_| Found::Event(id)),
            Meaning::Replay(id) => self.store.get_replay(Some(tenant), id).await?.map(|_| Found::Replay(id)),
            Meaning::Endpoint(id) => self.store.config().get_endpoint(Some(tenant), id).await?.map(|endpoint| {
                Found::Endpoint(FoundEndpoint { id, name: endpoint.document.name, url: endpoint.document.url })
            }),
            Meaning::List(found) => Some(found),
            Meaning::Text(text) => return self.find_text(caller, text).await,
        };
        Ok(one.into_iter().collect())
    }

    async fn find_text(&self, caller: Caller, text: &str) -> Result<Vec<Found>, Error> {
        let tenant = caller.tenant(Scope::Read)?;
        let mut found = Vec::new();
        if let Ok(id) = text.parse()
            && self.store.history().get_event(tenant, &id).await?.is_some()
        {
            found.push(Found::Event(id));
        }
        let catalog = self.catalog(caller).await?;
        let named = types(text, catalog.into_iter().map(|info| info.name));
        let endpoints = self.store.config().find_endpoints(tenant, text, ENDPOINTS_MAX).await?;
        if let Some(search) = payload(text) {
            // A webhook may be called "CRM: opens".
            let is_name = !endpoints.is_empty() && text.find(['=', ':']).is_some_and(|at| text[at..].starts_with(':'));
            found.extend(named.map(Found::Types));
            found.extend(endpoints.into_iter().map(Found::Endpoint));
            found.extend(Some(search).filter(|_| !is_name).map(Found::Payload));
            return Ok(found);
        }
        // A profile with an open catalog accepts any event type. A text with a dot is probably an event type.
        let open = || if text.contains('.') { text.parse().ok() } else { None };
        let pattern = if endpoints.is_empty() { named.or_else(open) } else { named };
        found.extend(pattern.map(Found::Types));
        found.extend(endpoints.into_iter().map(Found::Endpoint));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_means_an_id_a_list_or_a_part_of_a_name() {
        let check = |text: &str, expected: Meaning<'_>| assert_eq!(Meaning::of(text), expected, "{text}");
        let hex = "0194f6c0a1b27c3d8e9f001122334455";
        check("", Meaning::Nothing);
        check("  ", Meaning::Nothing);
        check(&format!(" dlv_{hex} "), Meaning::Delivery(format!("dlv_{hex}").parse().unwrap()));
        check(&format!("ep_{hex}"), Meaning::Endpoint(format!("ep_{hex}").parse().unwrap()));
        check(&format!("rpl_{hex}"), Meaning::Replay(format!("rpl_{hex}").parse().unwrap()));
        check("evt_order-17", Meaning::Event("evt_order-17".parse().unwrap()));
        check("404", Meaning::List(Found::StatusCodes(StatusCodes::Exact(404))));
        check("5xx", Meaning::List(Found::StatusCodes(StatusCodes::Class(5))));
        check("timeout", Meaning::List(Found::Outcome(Outcome::Timeout)));
        check("TLS failed", Meaning::List(Found::Outcome(Outcome::TlsFailed)));
        check("dns", Meaning::List(Found::Outcome(Outcome::DnsFailed)));
        check("Failed", Meaning::List(Found::Status(DeliveryStatus::Failed)));
        check("lead.*", Meaning::List(Found::Types("lead.*".parse().unwrap())));
        for text in ["lead.created", "4711", "ep_1", "CRM", "https://example.com/hook", "a*b", "evt_ä", "lead=a.*"] {
            check(text, Meaning::Text(text));
        }
    }

    #[test]
    fn a_field_with_a_value_and_an_address_search_payloads() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(payload(text).map(|search| search.to_string()).as_deref(), expected, "{text}");
        };
        for text in
            ["email=jo@example.com", "data.amount:5", "to=Jo Doe", "metadata.run=r7", "url=https://a.b/?c=d", "*=B2"]
        {
            check(text, Some(text));
        }
        check("jo@example.com", Some("*=jo@example.com"));
        for text in
            ["CRM", "https://example.com/?a=b", "example.com/hook?a=b", "a, b: c", "=x", "email=", "@home", "jo@x"]
        {
            check(text, None);
        }
    }

    #[test]
    fn a_type_is_found_by_its_name_or_as_the_types_below_it() {
        let catalog = || ["email.bounced", "email.opened", "Bounced", "lead"].map(str::to_owned).into_iter();
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(types(text, catalog()).map(|pattern| pattern.to_string()).as_deref(), expected, "{text}");
        };
        check("email.bounced", Some("email.bounced"));
        check("bounced", Some("Bounced"));
        check("email", Some("email.*"));
        check("email.", Some("email.*"));
        check("lead", Some("lead"));
        check("ema", None);
        check("lead.created", None);
    }
}
