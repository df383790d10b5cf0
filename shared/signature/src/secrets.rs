//! An endpoint's secrets over a rotation, and which of them sign at a moment. Pure.
//!
//! A header that carries one value can be signed by one secret only: it cuts over at a moment. `webhook-signature` carries
//! several: while a rotation overlaps, old and new both sign, the one in force first.

use postrider_model::time::UnixMillis;
use secrecy::SecretString;

/// The secret before the current one, which still signs `webhook-signature`.
#[derive(Debug, Clone)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: SecretString,
    /// From this moment on it signs no more.
    pub valid_until: UnixMillis,
}

/// The secret after the current one.
#[derive(Debug, Clone)]
pub struct NextSecret {
    /// The secret.
    pub secret: SecretString,
    /// From this moment on it is the one in force.
    pub effective_at: UnixMillis,
    /// From this moment on the one before it signs `webhook-signature` no more. Not before `effective_at`.
    pub overlap_until: UnixMillis,
}

/// The secrets of one endpoint, decrypted. Printed redacted, wiped when dropped.
#[derive(Debug, Clone)]
pub struct SigningSecrets {
    /// The one in force, until `next` is.
    pub current: SecretString,
    /// The one before, while a rotation overlaps.
    pub previous: Option<PreviousSecret>,
    /// One that takes over later.
    pub next: Option<NextSecret>,
}

/// Which of an endpoint's secrets sign: places in [`SigningSecrets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// The one that signs everything.
    pub primary: Slot,
    /// One that signs `webhook-signature`, too.
    pub also: Option<Slot>,
}

/// A place in [`SigningSecrets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// `current`
    Current,
    /// `previous`
    Previous,
    /// `next`
    Next,
}

impl SigningSecrets {
    /// One secret, no rotation.
    pub fn single(current: SecretString) -> Self {
        Self { current, previous: None, next: None }
    }

    /// Which secrets sign at a moment.
    pub fn in_force(&self, at: UnixMillis) -> InForce {
        let previous = self.previous.as_ref().map(|previous| previous.valid_until);
        let next = self.next.as_ref().map(|next| (next.effective_at, next.overlap_until));
        in_force(previous, next, at)
    }
}

/// The decision of [`SigningSecrets::in_force`], on times alone.
pub(crate) fn in_force(
    previous: Option<UnixMillis>,
    next: Option<(UnixMillis, UnixMillis)>,
    at: UnixMillis,
) -> InForce {
    match next {
        Some((effective_at, overlap_until)) if at >= effective_at => {
            InForce { primary: Slot::Next, also: (at < overlap_until).then_some(Slot::Current) }
        }
        _ => {
            let overlaps = previous.is_some_and(|valid_until| at < valid_until);
            InForce { primary: Slot::Current, also: overlaps.then_some(Slot::Previous) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(previous: Option<i64>, next: Option<(i64, i64)>, at: i64, primary: Slot, also: Option<Slot>) {
        let next = next.map(|(effective, overlap)| (UnixMillis(effective), UnixMillis(overlap)));
        let got = in_force(previous.map(UnixMillis), next, UnixMillis(at));
        assert_eq!(got, InForce { primary, also }, "previous {previous:?} next {next:?} at {at}");
    }

    #[test]
    fn each_moment_of_a_rotation_has_its_signers() {
        use Slot::{Current, Next, Previous};
        check(None, None, 0, Current, None);
        // Rotated at once: the old one signs along until the overlap ends.
        check(Some(100), None, 99, Current, Some(Previous));
        check(Some(100), None, 100, Current, None);
        // Rotated for later: nothing changes until then, then both, then the new one alone.
        check(None, Some((50, 100)), 49, Current, None);
        check(None, Some((50, 100)), 50, Next, Some(Current));
        check(None, Some((50, 100)), 99, Next, Some(Current));
        check(None, Some((50, 100)), 100, Next, None);
        // A cut-over without overlap.
        check(None, Some((50, 50)), 50, Next, None);
        // A second rotation while the first overlaps: the current one's own previous ends with the cut-over.
        check(Some(200), Some((50, 100)), 49, Current, Some(Previous));
        check(Some(200), Some((50, 100)), 50, Next, Some(Current));
    }
}
