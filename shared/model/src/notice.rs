//! Notices: events that tell about the state of an endpoint, and go to one other endpoint of the tenant only.
//!
//! A notice is an event of the origin [`Notice`](crate::event::Origin::Notice). Its attribute [`ADDRESSEE`] names the endpoint
//! that gets it; subscriptions do not matter. No producer can write this attribute, because the names of attributes begin with a
//! letter.

use serde::{Deserialize, Serialize};

use crate::event::Attributes;
use crate::ids::EndpointId;
use crate::text::names;

/// The attribute that names the endpoint that gets a notice.
pub const ADDRESSEE: &str = "_notify";

/// The state of an endpoint that a notice tells about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NoticeState {
    /// Its last attempts failed: 5 in a row.
    Failing,
    /// It was disabled because of its failures or its answer.
    Disabled,
    /// It was paused, by a person or because of its failures.
    Paused,
    /// An attempt succeeded after it was failing.
    Recovered,
}
names!(NoticeState { Failing => "failing", Disabled => "disabled", Paused => "paused", Recovered => "recovered" });

impl NoticeState {
    /// Every state, in the order of the dashboard.
    pub const ALL: [Self; 4] = [Self::Failing, Self::Disabled, Self::Paused, Self::Recovered];

    /// The type of the notice's event.
    pub fn event_type(self) -> &'static str {
        match self {
            Self::Failing => "endpoint.failing",
            Self::Disabled => "endpoint.disabled",
            Self::Paused => "endpoint.paused",
            Self::Recovered => "endpoint.recovered",
        }
    }
}

fn every_state() -> Vec<NoticeState> {
    NoticeState::ALL.to_vec()
}

/// The endpoint that gets notices about the state of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// The endpoint that gets the notices: another endpoint of the tenant, of any channel.
    pub endpoint: EndpointId,
    /// The states that cause a notice, without repeats. All of them if absent.
    #[serde(default = "every_state")]
    pub on: Vec<NoticeState>,
}

/// The endpoints to which an event may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every endpoint whose subscription matches.
    Subscribers,
    /// This endpoint only.
    Only(EndpointId),
    /// No endpoint, because the addressee cannot be read.
    Nobody,
}

impl Audience {
    /// The audience of an event with these attributes.
    pub fn of(attributes: &Attributes) -> Self {
        match attributes.get(ADDRESSEE) {
            None => Self::Subscribers,
            Some(endpoint) => endpoint.parse().map_or(Self::Nobody, Self::Only),
        }
    }

    /// Whether the endpoint belongs to the audience; of subscribers, whether it may belong to it.
    pub fn includes(self, endpoint: EndpointId) -> bool {
        match self {
            Self::Subscribers => true,
            Self::Only(addressee) => addressee == endpoint,
            Self::Nobody => false,
        }
    }
}

/// The attributes of a notice to this endpoint.
pub fn addressed_to(endpoint: EndpointId) -> Attributes {
    Attributes([(ADDRESSEE.into(), endpoint.to_string().into())].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_with_an_addressee_goes_to_that_endpoint_only() {
        let (one, other) = (EndpointId::generate(), EndpointId::generate());
        let audience = Audience::of(&addressed_to(one));
        assert!(audience.includes(one) && !audience.includes(other));
        let broken = Audience::of(&Attributes([(ADDRESSEE.into(), "ep_?".into())].into()));
        assert!(!broken.includes(one));
        assert!(Audience::of(&Attributes::default()).includes(one));
    }

    #[test]
    fn no_producer_can_write_the_addressee() {
        assert!(addressed_to(EndpointId::generate()).check().is_err());
    }

    #[test]
    fn all_states_are_told_unless_some_are_named() {
        let endpoint = EndpointId::generate();
        let read =
            |on: &str| serde_json::from_str::<Notify>(&format!(r#"{{"endpoint":"{endpoint}"{on}}}"#)).unwrap().on;
        assert_eq!(read(""), NoticeState::ALL);
        assert_eq!(read(r#","on":["paused"]"#), [NoticeState::Paused]);
    }
}
