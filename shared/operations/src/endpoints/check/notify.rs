//! The endpoint that gets notices about the state of another one.

use postrider_model::ids::EndpointId;
use postrider_model::limits::NOTICE_CHAIN_MAX;
use postrider_model::notice::Notify;

use crate::error::Mistakes;

/// Requires at least one state, and none twice.
pub(super) fn check_states(notify: &Notify, mistakes: &mut Mistakes) {
    if notify.on.is_empty() {
        mistakes.add("/notify/on", "at least one of failing, disabled, paused, recovered; leave it out for all");
    }
    for (index, state) in notify.on.iter().enumerate() {
        if notify.on[..index].contains(state) {
            mistakes.add(format!("/notify/on/{index}"), "given twice");
        }
    }
}

/// Requires another endpoint that does not notify this one, directly or through others. `chain` has the target and the endpoints
/// that are notified one after the other from it; `own` is the id of an endpoint that exists already.
pub(in crate::endpoints) fn check_chain(own: Option<EndpointId>, chain: &[EndpointId], mistakes: &mut Mistakes) {
    let pointer = "/notify/endpoint";
    let Some(target) = chain.first() else {
        return mistakes.add(pointer, "no such endpoint of this tenant");
    };
    if own == Some(*target) {
        return mistakes.add(pointer, "an endpoint cannot notify itself; name another endpoint");
    }
    if own.is_some_and(|own| chain.contains(&own)) {
        let way: Vec<String> = chain.iter().map(EndpointId::to_string).collect();
        return mistakes.add(pointer, format!("a loop: that endpoint notifies this one ({})", way.join(" notifies ")));
    }
    if chain.len() > NOTICE_CHAIN_MAX as usize {
        mistakes.add(pointer, format!("at most {NOTICE_CHAIN_MAX} endpoints may notify one after the other"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_exists_and_does_not_notify_back() {
        let check = |own: Option<EndpointId>, chain: &[EndpointId], expected: Option<&str>| {
            let mut mistakes = Mistakes::default();
            check_chain(own, chain, &mut mistakes);
            let found = mistakes.finish().err().map(|error| format!("{error:?}"));
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()));
        };
        let [one, two, three] = [(); 3].map(|()| EndpointId::generate());
        check(Some(one), &[two, three], None);
        check(None, &[two], None);
        check(Some(one), &[], Some("no such endpoint"));
        check(Some(one), &[one], Some("itself"));
        check(Some(one), &[two, three, one], Some("a loop"));
        let long: Vec<EndpointId> = (0..=NOTICE_CHAIN_MAX).map(|_| EndpointId::generate()).collect();
        check(None, &long, Some("one after the other"));
        check(None, &long[1..], None);
    }
}
