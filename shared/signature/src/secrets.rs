//! An endpoint's secrets over a rotation, and which of them sign at a moment. Pure.
//!
//! A header that carries one value can be signed by one secret only: it cuts over at a moment. `webhook-signature` carries
//! several: while rotations overlap, the current secret and each previous one sign, the current one first. A previous secret
//! signs until its own end, however many rotations follow.

use postrider_model::time::UnixMillis;
use secrecy::SecretString;

/// A secret before the current one, which still signs `webhook-signature`.
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
    /// Those before, while their overlaps run: newest first.
    pub previous: Vec<PreviousSecret>,
    /// One that takes over later.
    pub next: Option<NextSecret>,
}

/// Which of an endpoint's secrets sign: places in [`SigningSecrets`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// The one that signs everything.
    pub primary: Slot,
    /// Those that sign `webhook-signature`, too.
    pub also: Vec<Slot>,
}

/// A place in [`SigningSecrets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// `current`
    Current,
    /// `previous`, at this index
    Previous(usize),
    /// `next`
    Next,
}

impl SigningSecrets {
    /// One secret, no rotation.
    pub fn single(current: SecretString) -> Self {
        Self { current, previous: Vec::new(), next: None }
    }

    /// Which secrets sign at a moment.
    pub fn in_force(&self, at: UnixMillis) -> InForce {
        let previous = self.previous.iter().map(|previous| previous.valid_until);
        let next = self.next.as_ref().map(|next| (next.effective_at, next.overlap_until));
        in_force(previous, next, at)
    }
}

/// The decision of [`SigningSecrets::in_force`], on times alone.
pub(crate) fn in_force(
    previous: impl Iterator<Item = UnixMillis>,
    next: Option<(UnixMillis, UnixMillis)>,
    at: UnixMillis,
) -> InForce {
    let overlapping = previous.enumerate().filter(|(_, valid_until)| at < *valid_until);
    let overlapping = overlapping.map(|(index, _)| Slot::Previous(index));
    match next {
        Some((effective_at, overlap_until)) if at >= effective_at => {
            let current = (at < overlap_until).then_some(Slot::Current);
            InForce { primary: Slot::Next, also: current.into_iter().chain(overlapping).collect() }
        }
        _ => InForce { primary: Slot::Current, also: overlapping.collect() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(previous: &[i64], next: Option<(i64, i64)>, at: i64, primary: Slot, also: &[Slot]) {
        let next = next.map(|(effective, overlap)| (UnixMillis(effective), UnixMillis(overlap)));
        let got = in_force(previous.iter().copied().map(UnixMillis), next, UnixMillis(at));
        assert_eq!(got, InForce { primary, also: also.to_vec() }, "previous {previous:?} next {next:?} at {at}");
    }

    #[test]
    fn each_moment_of_a_rotation_has_its_signers() {
        use Slot::{Current, Next, Previous};
        check(&[], None, 0, Current, &[]);
        // Rotated at once: the old one signs along until the overlap ends.
        check(&[100], None, 99, Current, &[Previous(0)]);
        check(&[100], None, 100, Current, &[]);
        // Rotated for later: nothing changes until then, then both, then the new one alone.
        check(&[], Some((50, 100)), 49, Current, &[]);
        check(&[], Some((50, 100)), 50, Next, &[Current]);
        check(&[], Some((50, 100)), 99, Next, &[Current]);
        check(&[], Some((50, 100)), 100, Next, &[]);
        // A cut-over without overlap.
        check(&[], Some((50, 50)), 50, Next, &[]);
    }

    #[test]
    fn every_secret_signs_until_its_own_end_however_many_rotations_follow() {
        use Slot::{Current, Next, Previous};
        check(&[300, 200, 250], None, 199, Current, &[Previous(0), Previous(1), Previous(2)]);
        check(&[300, 200, 250], None, 200, Current, &[Previous(0), Previous(2)]);
        check(&[300, 200, 250], None, 299, Current, &[Previous(0)]);
        // A cut-over ends the current one, and no overlap that was promised before.
        check(&[200], Some((50, 50)), 49, Current, &[Previous(0)]);
        check(&[200], Some((50, 50)), 50, Next, &[Previous(0)]);
        check(&[200], Some((50, 100)), 50, Next, &[Current, Previous(0)]);
        check(&[200], Some((50, 50)), 200, Next, &[]);
    }
}
