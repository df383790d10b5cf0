//! Divides a queue of members into bundles.

use std::collections::VecDeque;

use postrider_model::limits::{BUNDLE_BYTES_MAX, BUNDLE_MEMBERS_MAX};
use postrider_wire::bundle::Member;

/// Takes the members of the next bundle with their tokens: at most 32 members and 32 KiB, but at least one member.
///
/// If the payload of a member is the same buffer as the previous member's payload, only the member's head counts. Otherwise a
/// large event would be copied once for each of its endpoints.
pub(super) fn next_bundle<T>(waiting: &mut VecDeque<(Member, T)>) -> Option<(Vec<Member>, Vec<T>)> {
    let mut members: Vec<Member> = Vec::with_capacity(waiting.len().min(BUNDLE_MEMBERS_MAX));
    let mut tokens = Vec::with_capacity(members.capacity());
    let mut bytes = 0;
    while let Some((member, _)) = waiting.front() {
        let before = members.last();
        bytes += bytes_after(before, member);
        let shares = before.is_some_and(|before| shares_payload(before, member));
        let is_full = members.len() == BUNDLE_MEMBERS_MAX || (bytes > BUNDLE_BYTES_MAX && !shares);
        if !members.is_empty() && is_full {
            break;
        }
        let Some((member, token)) = waiting.pop_front() else { break };
        members.push(member);
        tokens.push(token);
    }
    (!members.is_empty()).then_some((members, tokens))
}

/// The number of encoded bytes of consecutive members. A payload that neighbours share counts once.
pub(super) fn bytes_of(members: &[Member]) -> usize {
    let before = std::iter::once(None).chain(members.iter().map(Some));
    before.zip(members).map(|(before, member)| bytes_after(before, member)).sum()
}

fn bytes_after(before: Option<&Member>, member: &Member) -> usize {
    let shares = before.is_some_and(|before| shares_payload(before, member));
    member.encoded_bytes() - if shares { member.payload.len() } else { 0 }
}

/// Whether both payloads are the same buffer, which the encoding writes only once.
fn shares_payload(before: &Member, member: &Member) -> bool {
    !member.payload.is_empty()
        && before.payload.as_ptr() == member.payload.as_ptr()
        && before.payload.len() == member.payload.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postrider_wire::bundle;

    use super::*;

    fn waiting(sizes: &[usize]) -> VecDeque<(Member, ())> {
        sizes.iter().map(|size| (Member { head: Bytes::new(), payload: vec![0; *size].into() }, ())).collect()
    }

    fn split(sizes: &[usize]) -> Vec<usize> {
        let mut waiting = waiting(sizes);
        std::iter::from_fn(|| next_bundle(&mut waiting)).map(|(members, _)| members.len()).collect()
    }

    #[test]
    fn a_bundle_holds_at_most_32_members_and_32_kib() {
        assert_eq!(split(&[10; 70]), [32, 32, 6]);
        assert_eq!(split(&[10_000; 7]), [3, 3, 1]);
        assert_eq!(split(&[10, 40_000, 10, 10]), [1, 1, 2]);
        assert_eq!(split(&[40_000, 40_000]), [1, 1]);
    }

    #[test]
    fn a_shared_body_counts_once() {
        let body = Bytes::from(vec![0; 30_000]);
        let mut waiting = waiting(&[0; 20]);
        waiting.iter_mut().for_each(|(member, _)| member.payload = body.clone());
        assert_eq!(next_bundle(&mut waiting).map(|(members, _)| members.len()), Some(20));
    }

    #[test]
    fn a_large_body_for_many_endpoints_is_copied_once_per_full_bundle() {
        const BODY: usize = 256 * 1024;
        let bodies = [Bytes::from(vec![0; BODY]), Bytes::from(vec![1; BODY])];
        let members: Vec<_> = bodies
            .iter()
            .flat_map(|body| (0..100).map(|_| Member { head: Bytes::from_static(b"{}"), payload: body.clone() }))
            .collect();
        assert!((2 * BODY..2 * BODY + 200 * 16).contains(&bytes_of(&members)));
        let mut waiting: VecDeque<_> = members.into_iter().map(|member| (member, ())).collect();
        let bundles: Vec<_> = std::iter::from_fn(|| next_bundle(&mut waiting)).map(|(members, _)| members).collect();
        let sizes: Vec<_> = bundles.iter().map(Vec::len).collect();
        assert_eq!(sizes, [32, 32, 32, 4, 32, 32, 32, 4]);
        let encoded: usize = bundles.iter().map(|members| bundle::encode(members).len()).sum();
        assert!(encoded < 9 * BODY, "{encoded}");
    }
}
