//! Typed ids. Every id is written `<prefix>_<rest>`. The type of an argument shows which kind of id it is.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::text::serialize_as_text;
use crate::time::UnixMillis;

/// An error: the text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got:?}")]
pub struct InvalidId {
    /// The form of a valid id.
    pub expected: &'static str,
    /// The text, truncated to 80 characters.
    pub got: String,
}

fn invalid(expected: &'static str, got: &str) -> InvalidId {
    InvalidId { expected, got: got.chars().take(80).collect() }
}

/// Parses `<prefix><32 lowercase hex digits>` as a UUID.
fn parse_uuid(text: &str, prefix: &str) -> Option<Uuid> {
    text.strip_prefix(prefix)
        .filter(|rest| rest.len() == 32 && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
        .and_then(|rest| Uuid::try_parse(rest).ok())
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Generates an id. Ids are in the order of their times, so that inserts into an index change few pages.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let uuid = parse_uuid(text, concat!($prefix, "_"));
                uuid.map(Self).ok_or_else(|| invalid(concat!($prefix, "_ and 32 lowercase hex digits"), text))
            }
        }

        serialize_as_text!($name);
    };
}

uuid_id!(
    /// The public id of an API key (not the key itself).
    KeyId, "key"
);
uuid_id!(
    /// A link that opens a session of the dashboard without an API key.
    PortalLinkId, "plk"
);
uuid_id!(
    /// A saved view of a list of the dashboard.
    SavedViewId, "view"
);
uuid_id!(
    /// A person whom an identity provider signs in. Deterministic, see [`PersonId::derive`].
    PersonId, "per"
);
uuid_id!(
    /// Where a tenant receives events.
    EndpointId, "ep"
);
uuid_id!(
    /// One event for one endpoint. Deterministic, see [`DeliveryId::derive`].
    DeliveryId, "dlv"
);
uuid_id!(
    /// One replay, which delivers past events again.
    ReplayId, "rpl"
);
uuid_id!(
    /// One erasure, which erases a value from the history.
    ErasureId, "ers"
);
uuid_id!(
    /// One manual retry of a delivery, or one test call. The id is part of the generation that it creates.
    RetryId, "rty"
);
uuid_id!(
    /// One POST. A repeated outcome message has the same id, so that it adds no second row.
    SendId, "snd"
);

uuid_id!(
    /// One request that carries several events of a batched endpoint.
    BatchId, "bat"
);

impl BatchId {
    /// The id in the place of an event's id, as headers and signatures of a batch have it.
    pub fn as_event_id(self) -> EventId {
        EventId(self.to_string().into())
    }
}

/// The namespace of the ids of people.
const PEOPLE: Uuid = Uuid::from_u128(0x6f0c_2b1e_52f4_4a0e_9a53_0d7b_b1c4_8e21);

impl PersonId {
    /// Derives the id from the issuer and the subject, which together identify a person. Every process derives the same id.
    pub fn derive(issuer: &str, subject: &str) -> Self {
        let issuer = Uuid::new_v5(&PEOPLE, issuer.as_bytes());
        Self(Uuid::new_v5(&issuer, subject.as_bytes()))
    }
}

/// A customer account. `ten_operator` is the operator's own tenant (the nil UUID); others are `ten_` and 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub Uuid);

impl TenantId {
    /// The operator's own tenant, created by `postrider migrate`. It receives operational events.
    pub const OPERATOR: Self = Self(Uuid::nil());

    /// Generates an id.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::OPERATOR { f.write_str("ten_operator") } else { write!(f, "ten_{}", self.0.simple()) }
    }
}

impl FromStr for TenantId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "ten_operator" {
            return Ok(Self::OPERATOR);
        }
        let uuid = parse_uuid(text, "ten_").filter(|uuid| !uuid.is_nil());
        uuid.map(Self).ok_or_else(|| invalid("ten_operator, or ten_ and 32 lowercase hex digits", text))
    }
}

serialize_as_text!(TenantId);

/// An event's id: `[A-Za-z0-9_-]{1,64}`, unique in its tenant. The producer supplies it, or Postrider generates it (`evt_…`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Box<str>);

impl EventId {
    /// Generates an id. Ids are in the order of their times, so that inserts into an index change few pages.
    pub fn generate() -> Self {
        Self(format!("evt_{}", Uuid::now_v7().simple()).into())
    }

    /// Derives the id from an idempotency key: every request with this key gets the same id, in any process.
    pub fn from_idempotency_key(tenant: TenantId, key: &str) -> Self {
        Self(format!("evt_{}", Uuid::new_v5(&tenant.0, key.as_bytes()).simple()).into())
    }

    /// The time at which [`EventId::generate`] made the id; `None` for ids of another form. A producer may supply an id of this
    /// form too, so only the history shows whether an event was accepted with the id.
    pub fn generated_at(&self) -> Option<UnixMillis> {
        let uuid =
            self.0.strip_prefix("evt_").filter(|rest| rest.len() == 32).and_then(|rest| Uuid::try_parse(rest).ok())?;
        let (seconds, nanos) = uuid.get_timestamp().filter(|_| uuid.get_version_num() == 7)?.to_unix();
        Some(UnixMillis(i64::try_from(seconds).ok()?.checked_mul(1_000)?.checked_add(i64::from(nanos / 1_000_000))?))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EventId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal =
            (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if legal { Ok(Self(text.into())) } else { Err(invalid("1 to 64 of A-Z a-z 0-9 _ -", text)) }
    }
}

serialize_as_text!(EventId);

/// Why a delivery of an event to an endpoint exists, with the id of the retry, replay or test that caused it. Because of the
/// id, a repeat of that request or message creates no second delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Generation {
    /// The event itself: fan-out decided the delivery.
    #[default]
    First,
    /// A manual retry of a terminal delivery.
    Retry(RetryId),
    /// A replay of past events.
    Replay(ReplayId),
    /// A test call. Every test has its own id.
    Test(RetryId),
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Retry(id) => write!(f, "retry:{id}"),
            Self::Replay(id) => write!(f, "replay:{id}"),
            Self::Test(id) => write!(f, "test:{id}"),
        }
    }
}

impl FromStr for Generation {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "first" => Ok(Self::First),
            Some(("retry", id)) => id.parse().map(Self::Retry),
            Some(("replay", id)) => id.parse().map(Self::Replay),
            Some(("test", id)) => id.parse().map(Self::Test),
            _ => Err(invalid("first, retry:<id>, replay:<id> or test:<id>", text)),
        }
    }
}

serialize_as_text!(Generation);

impl DeliveryId {
    /// Derives the id of the delivery of this event to this endpoint in this generation: a UUID of version 5 in the namespace
    /// of the endpoint, over `<tenant>/<event>/<generation>`.
    pub fn derive(tenant: TenantId, event: &EventId, endpoint: EndpointId, generation: &Generation) -> Self {
        Self(Uuid::new_v5(&endpoint.0, format!("{tenant}/{event}/{generation}").as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_as_they_print_and_refuse_other_kinds() {
        let endpoint = EndpointId::generate();
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
        assert!(endpoint.to_string().parse::<DeliveryId>().is_err());
        assert!("ep_00".parse::<EndpointId>().is_err());
        assert!(endpoint.to_string().to_uppercase().parse::<EndpointId>().is_err());
        assert_eq!("ten_operator".parse(), Ok(TenantId::OPERATOR));
        assert!("ten_00000000000000000000000000000000".parse::<TenantId>().is_err());
        for generation in
            [Generation::First, Generation::Retry(RetryId::generate()), Generation::Replay(ReplayId::generate())]
        {
            assert_eq!(generation.to_string().parse(), Ok(generation));
        }
    }

    #[test]
    fn event_ids_accept_the_documented_alphabet_only() {
        for good in ["a", "evt_test_123", &"x".repeat(64)] {
            assert!(good.parse::<EventId>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "é", "a/b", "a\0", &"x".repeat(65)] {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_generated_id_tells_when_it_was_generated_and_others_do_not() {
        let before = UnixMillis::now();
        let generated = EventId::generate().generated_at().unwrap();
        assert!(before <= generated && generated <= UnixMillis::now(), "{before} {generated}");
        let keyed = EventId::from_idempotency_key(TenantId::OPERATOR, "order-1");
        assert_eq!(keyed.generated_at(), None);
        for other in ["e1", "evt_7", "evt_test_123", &"x".repeat(36)] {
            assert_eq!(other.parse::<EventId>().unwrap().generated_at(), None, "{other}");
        }
    }

    #[test]
    fn a_delivery_id_depends_on_every_part_and_on_nothing_else() {
        let (tenant, endpoint, event) = (TenantId::generate(), EndpointId::generate(), EventId::generate());
        let derive = |t, e: &EventId, p, g: &Generation| DeliveryId::derive(t, e, p, g);
        let id = derive(tenant, &event, endpoint, &Generation::First);
        assert_eq!(id, derive(tenant, &event, endpoint, &Generation::First));
        assert_ne!(id, derive(TenantId::generate(), &event, endpoint, &Generation::First));
        assert_ne!(id, derive(tenant, &EventId::generate(), endpoint, &Generation::First));
        assert_ne!(id, derive(tenant, &event, EndpointId::generate(), &Generation::First));
        assert_ne!(id, derive(tenant, &event, endpoint, &Generation::Retry(RetryId::generate())));
    }
}
