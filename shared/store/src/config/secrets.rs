//! The secrets of an endpoint, which are sealed in the database.

use std::borrow::Cow;

use postrider_model::ids::EndpointId;
use postrider_model::limits::SECRETS_IN_FORCE_MAX;
use postrider_model::time::UnixMillis;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::MasterKeys;
use crate::error::StoreError;

/// The signing secrets of an endpoint, opened: at most [`SECRETS_IN_FORCE_MAX`], including at most one planned secret.
#[derive(Debug, Clone)]
pub struct EndpointSecrets {
    /// The secret that signs at present.
    pub current: SecretString,
    /// Previous secrets, newest first. Each previous secret also signs until its time, in schemes that allow several signatures.
    pub previous: Vec<(SecretString, UnixMillis)>,
    /// The planned secret, which replaces the current one at the given time.
    pub next: Option<(SecretString, UnixMillis)>,
}

/// The other secrets of an endpoint, opened.
#[derive(Debug, Clone, Default)]
pub struct EndpointPrivate {
    /// The endpoint's own headers, in the customer's order.
    pub headers: Vec<(String, SecretString)>,
    /// The value of the header that [`token_header`](super::EndpointDocument::token_header) names.
    pub token: Option<SecretString>,
    /// Credentials of the channel `pushover`.
    pub pushover: Option<PushoverCredentials>,
    /// The secret of a chat channel: the webhook URL of Slack, Discord or Microsoft Teams, or the token of a Telegram bot.
    pub chat: Option<SecretString>,
}

/// Credentials for Pushover.
#[derive(Debug, Clone)]
pub struct PushoverCredentials {
    /// The key of the user or group to notify.
    pub user_key: SecretString,
    /// The API token of the application.
    pub api_token: SecretString,
}

/// How a new signing secret replaces the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The new secret signs immediately. The old secret also signs until a given time.
    Overlap {
        /// The end of the overlap.
        until: UnixMillis,
    },
    /// The new secret replaces the old one at a given time, or immediately if that time has passed. The old secret then stops
    /// signing.
    CutOver {
        /// The time at which the new secret replaces the old one.
        at: UnixMillis,
    },
}

/// A signing secret that replaces the current one.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// The secret.
    pub secret: SecretString,
    /// The public key that verifies its signatures, for Ed25519.
    pub public_key: Option<String>,
    /// How it replaces the current secret.
    pub rotation: Rotation,
    /// Whether all previous secrets stop signing now and a planned secret is dropped.
    pub end_others: bool,
}

impl EndpointSecrets {
    /// Applies a rotation at `now`. A next secret whose time has passed counts as the current one.
    ///
    /// # Errors
    /// [`StoreError::Conflict`]: another secret is planned, or [`SECRETS_IN_FORCE_MAX`] is exceeded. The error's text says when
    /// that ends.
    pub(crate) fn rotated(self, new: &NewSecret, now: UnixMillis) -> Result<Self, StoreError> {
        let mut previous = self.previous;
        previous.retain(|(_, until)| *until > now && !new.end_others);
        let current = match self.next {
            // The next secret has replaced the current one.
            Some((next, from)) if from <= now => next,
            Some((_, from)) if !new.end_others => return Err(StoreError::Conflict(planned(from))),
            _ => self.current,
        };
        let secret = new.secret.clone();
        let rotated = match new.rotation {
            Rotation::Overlap { until } => {
                if until > now {
                    previous.insert(0, (current, until));
                }
                Self { current: secret, previous, next: None }
            }
            Rotation::CutOver { at } if at <= now => Self { current: secret, previous, next: None },
            Rotation::CutOver { at } => Self { current, previous, next: Some((secret, at)) },
        };
        if 1 + rotated.previous.len() + usize::from(rotated.next.is_some()) > SECRETS_IN_FORCE_MAX {
            return Err(StoreError::Conflict(too_many(&rotated.previous)));
        }
        Ok(rotated)
    }
}

fn planned(from: UnixMillis) -> String {
    format!(
        "another secret is planned for {}; rotate after that, or send `end_others` to drop it",
        from.to_rfc3339_millis()
    )
}

fn too_many(previous: &[(SecretString, UnixMillis)]) -> String {
    let first = previous.iter().map(|(_, until)| *until).min();
    let first = first.map(|until| format!("; the next of them ends {}", until.to_rfc3339_millis())).unwrap_or_default();
    format!(
        "an endpoint has at most {SECRETS_IN_FORCE_MAX} secrets in force{first}; `end_others` ends the previous ones now"
    )
}

/// A sealed column of the table `endpoints`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    Current,
    Previous,
    /// All previous secrets except the newest, as a list.
    Earlier,
    Next,
    Private,
}

impl Column {
    /// Every sealed column.
    pub(super) const ALL: [Self; 5] = [Self::Current, Self::Previous, Self::Earlier, Self::Next, Self::Private];

    /// The column's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Current => "secret_current",
            Self::Previous => "secret_previous",
            Self::Earlier => "secrets_earlier",
            Self::Next => "secret_next",
            Self::Private => "private",
        }
    }

    /// The row and column to which a sealed value is bound.
    fn context(self, id: EndpointId) -> String {
        format!("endpoints.{}/{id}", self.name())
    }

    /// Reseals a value with the first key; `None` if the first key has sealed it already.
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

/// Seals several secrets as one value. An empty list becomes `None`.
pub(crate) fn seal_list<'a>(
    keys: &MasterKeys,
    id: EndpointId,
    column: Column,
    secrets: impl Iterator<Item = &'a SecretString>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let texts: Vec<&str> = secrets.map(|secret| secret.expose_secret()).collect();
    if texts.is_empty() {
        return Ok(None);
    }
    let json = serde_json::to_vec(&texts).map_err(|error| unreadable(&error.to_string()))?;
    Ok(Some(keys.seal(&column.context(id), &Zeroizing::new(json))?))
}

/// Opens a value that [`seal_list`] sealed. `None` becomes an empty list.
pub(crate) fn open_list(
    keys: &MasterKeys,
    id: EndpointId,
    column: Column,
    sealed: Option<&[u8]>,
) -> Result<Vec<SecretString>, StoreError> {
    let Some(sealed) = sealed else { return Ok(Vec::new()) };
    let json = keys.open(&column.context(id), sealed)?;
    let texts: Vec<Cow<'_, str>> = serde_json::from_slice(&json)
        .map_err(|error| unreadable(&format!("sealed JSON, line {} column {}", error.line(), error.column())))?;
    Ok(texts.into_iter().map(|text| SecretString::from(text.into_owned())).collect())
}

/// The content of the sealed [`EndpointPrivate`]. Borrows the secrets from a buffer that is zeroised.
#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pushover: Option<(Cow<'a, str>, Cow<'a, str>)>,
    #[serde(borrow, default)]
    chat: Option<Cow<'a, str>>,
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
        chat: private.chat.as_ref().map(|secret| secret.expose_secret().into()),
    };
    let json = serde_json::to_vec(&plain).map_err(|error| unreadable(&error.to_string()))?;
    Ok(keys.seal(&Column::Private.context(id), &Zeroizing::new(json))?)
}

pub(crate) fn open_private(keys: &MasterKeys, id: EndpointId, sealed: &[u8]) -> Result<EndpointPrivate, StoreError> {
    let json = keys.open(&Column::Private.context(id), sealed)?;
    // Keeps only the position of a syntax error, because Serde's message may quote the secret.
    let plain: Plain<'_> = serde_json::from_slice(&json)
        .map_err(|error| unreadable(&format!("sealed JSON, line {} column {}", error.line(), error.column())))?;
    let secret = |text: Cow<'_, str>| SecretString::from(text.into_owned());
    Ok(EndpointPrivate {
        headers: plain.headers.into_iter().map(|(name, value)| (name.into_owned(), secret(value))).collect(),
        token: plain.token.map(secret),
        pushover: plain
            .pushover
            .map(|(user, token)| PushoverCredentials { user_key: secret(user), api_token: secret(token) }),
        chat: plain.chat.map(secret),
    })
}

fn unreadable(detail: &str) -> StoreError {
    StoreError::Unreadable { what: "sealed column of endpoints", detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);

    fn new(secret: &str, rotation: Rotation) -> NewSecret {
        NewSecret { secret: secret.into(), public_key: None, rotation, end_others: false }
    }

    fn overlap(until: i64) -> Rotation {
        Rotation::Overlap { until: UnixMillis(until) }
    }

    fn cut_over(at: i64) -> Rotation {
        Rotation::CutOver { at: UnixMillis(at) }
    }

    #[track_caller]
    fn check(secrets: &EndpointSecrets, current: &str, previous: &[(&str, i64)], next: Option<(&str, i64)>) {
        let text = |(secret, at): &(SecretString, UnixMillis)| (secret.expose_secret().to_owned(), at.0);
        let owned = |(secret, at): &(&str, i64)| ((*secret).to_owned(), *at);
        assert_eq!(secrets.current.expose_secret(), current);
        assert_eq!(
            secrets.previous.iter().map(text).collect::<Vec<_>>(),
            previous.iter().map(owned).collect::<Vec<_>>()
        );
        assert_eq!(secrets.next.as_ref().map(text), next.as_ref().map(owned));
    }

    fn start() -> EndpointSecrets {
        EndpointSecrets { current: "a".into(), previous: Vec::new(), next: None }
    }

    #[test]
    fn rotations_overlap_and_cut_over() {
        check(&start().rotated(&new("b", overlap(2_000)), NOW).unwrap(), "b", &[("a", 2_000)], None);
        check(&start().rotated(&new("b", overlap(1_000)), NOW).unwrap(), "b", &[], None);
        check(&start().rotated(&new("b", cut_over(1_000)), NOW).unwrap(), "b", &[], None);
        let planned = start().rotated(&new("b", cut_over(3_000)), NOW).unwrap();
        check(&planned, "a", &[], Some(("b", 3_000)));
        // After its start time, the next secret is the one that overlaps with the new secret.
        let later = planned.rotated(&new("c", overlap(9_000)), UnixMillis(3_000)).unwrap();
        check(&later, "c", &[("b", 9_000)], None);
    }

    #[test]
    fn a_rotation_keeps_promised_overlaps_and_planned_secrets() {
        let second = start().rotated(&new("b", overlap(5_000)), NOW).unwrap();
        let third = second.rotated(&new("c", overlap(4_000)), UnixMillis(1_001)).unwrap();
        check(&third, "c", &[("b", 4_000), ("a", 5_000)], None);
        // A rotation removes expired secrets. A cut-over ends only the current secret.
        let fourth = third.clone().rotated(&new("d", cut_over(4_000)), UnixMillis(4_000)).unwrap();
        check(&fourth, "d", &[("a", 5_000)], None);
        let planned = third.rotated(&new("d", cut_over(9_000)), UnixMillis(1_002)).unwrap();
        check(&planned, "c", &[("b", 4_000), ("a", 5_000)], Some(("d", 9_000)));
        let refused = planned.clone().rotated(&new("e", overlap(9_000)), UnixMillis(1_003)).unwrap_err();
        assert!(refused.to_string().starts_with("another secret is planned for 1970-01-01T00:00:09.000Z"), "{refused}");
        let all = NewSecret { end_others: true, ..new("e", overlap(8_000)) };
        check(&planned.rotated(&all, UnixMillis(1_003)).unwrap(), "e", &[("c", 8_000)], None);
    }

    #[test]
    fn there_are_at_most_five_secrets_in_force() {
        let mut secrets = start();
        for n in 1..SECRETS_IN_FORCE_MAX {
            let until = overlap(5_000 + i64::try_from(n).unwrap());
            secrets = secrets.rotated(&new(&n.to_string(), until), NOW).unwrap();
        }
        for rotation in [overlap(9_000), cut_over(9_000)] {
            let refused = secrets.clone().rotated(&new("x", rotation), NOW).unwrap_err().to_string();
            assert!(refused.contains("at most 5") && refused.contains("ends 1970-01-01T00:00:05.001Z"), "{refused}");
        }
        check(
            &secrets.clone().rotated(&new("x", cut_over(1_000)), NOW).unwrap(),
            "x",
            &[("3", 5_004), ("2", 5_003), ("1", 5_002), ("a", 5_001)],
            None,
        );
        assert!(secrets.rotated(&new("x", overlap(9_000)), UnixMillis(5_001)).is_ok());
    }

    #[test]
    fn a_list_of_secrets_reads_back() {
        let keys = MasterKeys::parse(&MasterKeys::generate_text("k")).unwrap();
        let id = EndpointId::generate();
        let secrets: [SecretString; 2] = ["q\"uote".into(), "é".into()];
        let sealed = seal_list(&keys, id, Column::Earlier, secrets.iter()).unwrap().unwrap();
        let opened = open_list(&keys, id, Column::Earlier, Some(&sealed)).unwrap();
        assert_eq!(opened.iter().map(|s| s.expose_secret()).collect::<Vec<_>>(), ["q\"uote", "é"]);
        assert!(open_list(&keys, id, Column::Previous, Some(&sealed)).is_err());
        assert!(seal_list(&keys, id, Column::Earlier, [].iter()).unwrap().is_none());
    }

    #[test]
    fn the_sealed_part_reads_back_whatever_characters_it_has() {
        let keys = MasterKeys::parse(&MasterKeys::generate_text("k")).unwrap();
        let id = EndpointId::generate();
        let private = EndpointPrivate {
            headers: vec![("X-A".into(), "q\"uo\u{0}te".into()), ("X-A".into(), "é".into())],
            token: Some("t\\".into()),
            pushover: Some(PushoverCredentials { user_key: "u".into(), api_token: "p".into() }),
            chat: Some("https://hooks.example/\"".into()),
        };
        let opened = open_private(&keys, id, &seal_private(&keys, id, &private).unwrap()).unwrap();
        assert_eq!(opened.headers[0].1.expose_secret(), "q\"uo\u{0}te");
        assert_eq!(opened.headers[1].0, "X-A");
        assert_eq!(opened.token.unwrap().expose_secret(), "t\\");
        assert_eq!(opened.pushover.unwrap().api_token.expose_secret(), "p");
        assert_eq!(opened.chat.unwrap().expose_secret(), "https://hooks.example/\"");
        assert!(!format!("{private:?}").contains("uo"), "debugging shows no secret");
    }
}
