//! An endpoint's secrets during rotations, and which of them sign at a given time. No IO.
//!
//! A product's header has one signature, so one secret signs it. `webhook-signature` may have several signatures: the first is
//! that of the current secret, and previous secrets add their signatures while rotations overlap. Each previous secret signs
//! until its own end, even if other rotations follow.

use postrider_model::time::UnixMillis;
use secrecy::SecretString;

/// An earlier secret that still signs `webhook-signature`.
#[derive(Debug, Clone)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: SecretString,
    /// The time from which the secret does not sign.
    pub valid_until: UnixMillis,
}

/// A secret that will replace the current one.
#[derive(Debug, Clone)]
pub struct NextSecret {
    /// The secret.
    pub secret: SecretString,
    /// The time from which the secret is the current secret.
    pub effective_at: UnixMillis,
    /// The time from which the replaced secret does not sign `webhook-signature`. Not before `effective_at`.
    pub overlap_until: UnixMillis,
}

/// The decrypted secrets of one endpoint. They are redacted in debug output and wiped when dropped.
#[derive(Debug, Clone)]
pub struct SigningSecrets {
    /// The current secret, until `next` takes effect.
    pub current: SecretString,
    /// Earlier secrets that still sign, newest first.
    pub previous: Vec<PreviousSecret>,
    /// The secret that will replace `current`, if planned.
    pub next: Option<NextSecret>,
}

/// The secrets that sign at a given time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSecrets {
    /// The secret that signs each signature header.
    pub primary: SecretSlot,
    /// The secrets that also sign `webhook-signature`, in this order.
    pub also: Vec<SecretSlot>,
}

/// A position in [`SigningSecrets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretSlot {
    /// `current`
    Current,
    /// `previous`, at this index
    Previous(usize),
    /// `next`
    Next,
}

impl SigningSecrets {
    /// Creates the secrets of an endpoint without a rotation.
    pub fn single(current: SecretString) -> Self {
        Self { current, previous: Vec::new(), next: None }
    }

    /// Returns the secrets that sign at a given time.
    pub fn active(&self, at: UnixMillis) -> ActiveSecrets {
        let previous = self.previous.iter().map(|previous| previous.valid_until);
        let next = self.next.as_ref().map(|next| (next.effective_at, next.overlap_until));
        active(previous, next, at)
    }
}

/// The decision of [`SigningSecrets::active`], made from the times alone.
pub(crate) fn active(
    previous: impl Iterator<Item = UnixMillis>,
    next: Option<(UnixMillis, UnixMillis)>,
    at: UnixMillis,
) -> ActiveSecrets {
    let overlapping = previous.enumerate().filter(|(_, valid_until)| at < *valid_until);
    let overlapping = overlapping.map(|(index, _)| SecretSlot::Previous(index));
    match next {
        Some((effective_at, overlap_until)) if at >= effective_at => {
            let current = (at < overlap_until).then_some(SecretSlot::Current);
            ActiveSecrets { primary: SecretSlot::Next, also: current.into_iter().chain(overlapping).collect() }
        }
        _ => ActiveSecrets { primary: SecretSlot::Current, also: overlapping.collect() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(previous: &[i64], next: Option<(i64, i64)>, at: i64, primary: SecretSlot, also: &[SecretSlot]) {
        let next = next.map(|(effective, overlap)| (UnixMillis(effective), UnixMillis(overlap)));
        let got = active(previous.iter().copied().map(UnixMillis), next, UnixMillis(at));
        assert_eq!(got, ActiveSecrets { primary, also: also.to_vec() }, "previous {previous:?} next {next:?} at {at}");
    }

    #[test]
    fn each_time_of_a_rotation_has_its_signers() {
        use SecretSlot::{Current, Next, Previous};
        check(&[], None, 0, Current, &[]);
        // After an immediate rotation, the old secret also signs until the overlap ends.
        check(&[100], None, 99, Current, &[Previous(0)]);
        check(&[100], None, 100, Current, &[]);
        // Before a planned rotation nothing changes; then both secrets sign; after the overlap only the new secret signs.
        check(&[], Some((50, 100)), 49, Current, &[]);
        check(&[], Some((50, 100)), 50, Next, &[Current]);
        check(&[], Some((50, 100)), 99, Next, &[Current]);
        check(&[], Some((50, 100)), 100, Next, &[]);
        // A rotation without overlap.
        check(&[], Some((50, 50)), 50, Next, &[]);
    }

    #[test]
    fn a_secret_signs_until_its_end_however_many_rotations_follow() {
        use SecretSlot::{Current, Next, Previous};
        check(&[300, 200, 250], None, 199, Current, &[Previous(0), Previous(1), Previous(2)]);
        check(&[300, 200, 250], None, 200, Current, &[Previous(0), Previous(2)]);
        check(&[300, 200, 250], None, 299, Current, &[Previous(0)]);
        // A rotation without overlap ends the current secret, but not the overlap of an earlier rotation.
        check(&[200], Some((50, 50)), 49, Current, &[Previous(0)]);
        check(&[200], Some((50, 50)), 50, Next, &[Previous(0)]);
        check(&[200], Some((50, 100)), 50, Next, &[Current, Previous(0)]);
        check(&[200], Some((50, 50)), 200, Next, &[]);
    }
}
