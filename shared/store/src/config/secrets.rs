//! The part of an endpoint that is sealed at rest.

use std::borrow::Cow;

use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::MasterKeys;
use crate::error::StoreError;

/// The signing secrets of an endpoint, opened. At most one is previous, at most one is next.
#[derive(Debug, Clone)]
pub struct EndpointSecrets {
    /// Signs now.
    pub current: SecretString,
    /// Signs beside the current one until this time, for schemes that can carry two signatures.
    pub previous: Option<(SecretString, UnixMillis)>,
    /// Replaces the current one from this time on.
    pub next: Option<(SecretString, UnixMillis)>,
}

/// What an endpoint keeps secret beside its signing secrets, opened.
#[derive(Debug, Clone, Default)]
pub struct EndpointPrivate {
    /// Headers of its own, in the customer's order.
    pub headers: Vec<(String, SecretString)>,
    /// The value for its [`token_header`](super::EndpointDocument::token_header).
    pub token: Option<SecretString>,
    /// Credentials of the channel `pushover`.
    pub pushover: Option<PushoverCredentials>,
}

/// What Pushover wants to know.
#[derive(Debug, Clone)]
pub struct PushoverCredentials {
    /// Whom to notify.
    pub user_key: SecretString,
    /// On whose behalf.
    pub api_token: SecretString,
}

/// How a new signing secret replaces the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// At once; the old one signs beside it until then.
    Overlap {
        /// The end of the overlap.
        until: UnixMillis,
    },
    /// From then on (a time that has passed: at once); the old one never signs again after that.
    CutOver {
        /// The moment.
        at: UnixMillis,
    },
}

impl EndpointSecrets {
    /// The secrets after a rotation that begins at `now`. A next secret whose time has come counts as current.
    pub(crate) fn rotated(self, secret: SecretString, rotation: Rotation, now: UnixMillis) -> Self {
        let (current, previous) = match self.next {
            // Whoever cut over to it gave the old one up.
            Some((next, from)) if from <= now => (next, None),
            _ => (self.current, self.previous.filter(|(_, until)| *until > now)),
        };
        match rotation {
            Rotation::Overlap { until } => Self { current: secret, previous: Some((current, until)), next: None },
            Rotation::CutOver { at } if at <= now => Self { current: secret, previous: None, next: None },
            Rotation::CutOver { at } => Self { current, previous, next: Some((secret, at)) },
        }
    }
}

/// A sealed column of the table `endpoints`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    Current,
    Previous,
    Next,
    Private,
}

impl Column {
    /// Every sealed column.
    pub(super) const ALL: [Self; 4] = [Self::Current, Self::Previous, Self::Next, Self::Private];

    /// The column's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Current => "secret_current",
            Self::Previous => "secret_previous",
            Self::Next => "secret_next",
            Self::Private => "private",
        }
    }

    /// What a sealed value is bound to: row and column.
    fn context(self, id: EndpointId) -> String {
        format!("endpoints.{}/{id}", self.name())
    }

    /// The same value, sealed by the first key; `None` when it is already.
    pub(super) fn seal_again(
        self,
        keys: &MasterKeys,
        id: EndpointId,
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if keys.seals_as(sealed) {
            return Ok(None);
        }
        let context = self.context(id);
        Ok(Some(keys.seal(&context, &keys.open(&context, sealed)?)?))
    }
}

pub(crate) fn seal(
    keys: &MasterKeys,
    id: EndpointId,
    column: Column,
    secret: &SecretString,
) -> Result<Vec<u8>, StoreError> {
    Ok(keys.seal(&column.context(id), secret.expose_secret().as_bytes())?)
}

pub(crate) fn open(
    keys: &MasterKeys,
    id: EndpointId,
    column: Column,
    sealed: &[u8],
) -> Result<SecretString, StoreError> {
    let plain = keys.open(&column.context(id), sealed)?;
    let text = std::str::from_utf8(&plain).map_err(|_| unreadable("sealed text is not UTF-8"))?;
    Ok(SecretString::from(text))
}

/// The sealed form of [`EndpointPrivate`]: borrowed when written, zeroised with its buffer.
#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pushover: Option<(Cow<'a, str>, Cow<'a, str>)>,
}

pub(crate) fn seal_private(
    keys: &MasterKeys,
    id: EndpointId,
    private: &EndpointPrivate,
) -> Result<Vec<u8>, StoreError> {
    let plain = Plain {
        headers: private
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.expose_secret().into()))
            .collect(),
        token: private.token.as_ref().map(|token| token.expose_secret().into()),
        pushover: (private.pushover.as_ref())
            .map(|both| (both.user_key.expose_secret().into(), both.api_token.expose_secret().into())),
    };
    let json = serde_json::to_vec(&plain).map_err(|error| unreadable(&error.to_string()))?;
    Ok(keys.seal(&Column::Private.context(id), &Zeroizing::new(json))?)
}

pub(crate) fn open_private(keys: &MasterKeys, id: EndpointId, sealed: &[u8]) -> Result<EndpointPrivate, StoreError> {
    let json = keys.open(&Column::Private.context(id), sealed)?;
    // Serde's message may quote the text: keep only where it failed.
    let plain: Plain<'_> = serde_json::from_slice(&json)
        .map_err(|error| unreadable(&format!("sealed JSON, line {} column {}", error.line(), error.column())))?;
    let secret = |text: Cow<'_, str>| SecretString::from(text.into_owned());
    Ok(EndpointPrivate {
        headers: plain.headers.into_iter().map(|(name, value)| (name.into_owned(), secret(value))).collect(),
        token: plain.token.map(secret),
        pushover: plain
            .pushover
            .map(|(user, token)| PushoverCredentials { user_key: secret(user), api_token: secret(token) }),
    })
}

fn unreadable(detail: &str) -> StoreError {
    StoreError::Unreadable { what: "sealed column of endpoints", detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(timed: &Option<(SecretString, UnixMillis)>) -> Option<(&str, i64)> {
        timed.as_ref().map(|(secret, at)| (secret.expose_secret(), at.0))
    }

    fn check(secrets: &EndpointSecrets, current: &str, previous: Option<(&str, i64)>, next: Option<(&str, i64)>) {
        assert_eq!(secrets.current.expose_secret(), current);
        assert_eq!(text(&secrets.previous), previous);
        assert_eq!(text(&secrets.next), next);
    }

    #[test]
    fn rotations_overlap_cut_over_and_follow_each_other() {
        let now = UnixMillis(1_000);
        let start = || EndpointSecrets { current: "a".into(), previous: None, next: None };
        let overlap = start().rotated("b".into(), Rotation::Overlap { until: UnixMillis(2_000) }, now);
        check(&overlap, "b", Some(("a", 2_000)), None);
        check(&start().rotated("b".into(), Rotation::CutOver { at: now }, now), "b", None, None);
        let planned = start().rotated("b".into(), Rotation::CutOver { at: UnixMillis(3_000) }, now);
        check(&planned, "a", None, Some(("b", 3_000)));
        // Before its time another next replaces it; after, it is the one that the overlap keeps.
        let again = planned.clone().rotated("c".into(), Rotation::CutOver { at: UnixMillis(4_000) }, now);
        check(&again, "a", None, Some(("c", 4_000)));
        let later = planned.rotated("c".into(), Rotation::Overlap { until: UnixMillis(9_000) }, UnixMillis(3_000));
        check(&later, "c", Some(("b", 9_000)), None);
    }

    #[test]
    fn the_sealed_part_reads_back_whatever_characters_it_has() {
        let keys = MasterKeys::parse(&MasterKeys::generate_text("k")).unwrap();
        let id = EndpointId::generate();
        let private = EndpointPrivate {
            headers: vec![("X-A".into(), "q\"uo\u{0}te".into()), ("X-A".into(), "é".into())],
            token: Some("t\\".into()),
            pushover: Some(PushoverCredentials { user_key: "u".into(), api_token: "p".into() }),
        };
        let opened = open_private(&keys, id, &seal_private(&keys, id, &private).unwrap()).unwrap();
        assert_eq!(opened.headers[0].1.expose_secret(), "q\"uo\u{0}te");
        assert_eq!(opened.headers[1].0, "X-A");
        assert_eq!(opened.token.unwrap().expose_secret(), "t\\");
        assert_eq!(opened.pushover.unwrap().api_token.expose_secret(), "p");
        assert!(!format!("{private:?}").contains("uo"), "debugging shows no secret");
    }
}
