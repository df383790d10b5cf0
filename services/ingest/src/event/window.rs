//! The fields that state when the deliveries of an event may be attempted.

use std::borrow::Cow;
use std::time::Duration;

use postrider_model::delivery_window::{Expiry, StatedWindow};
use postrider_model::limits::EVENT_TTL_MAX;
use postrider_model::time::UnixMillis;

/// The fields as they were read, not checked.
#[derive(Debug, Default)]
pub(crate) struct RawWindow<'a> {
    pub(crate) deliver_at: Option<Cow<'a, str>>,
    pub(crate) expires_at: Option<Cow<'a, str>>,
    pub(crate) ttl_seconds: Option<i64>,
}

impl RawWindow<'_> {
    /// Checks the fields without the clock. Calls `wrong` with the pointer and the detail of each mistake.
    pub(crate) fn check(self, wrong: &mut impl FnMut(&str, String)) -> StatedWindow {
        let mut time = |pointer, text: Option<Cow<'_, str>>| {
            text.and_then(|text| text.parse::<UnixMillis>().map_err(|error| wrong(pointer, error.to_string())).ok())
        };
        let deliver_at = time("/deliver_at", self.deliver_at);
        let stated = self.expires_at.is_some();
        let expires_at = time("/expires_at", self.expires_at);
        if stated && self.ttl_seconds.is_some() {
            wrong("/ttl_seconds", "state the expiry once: expires_at or ttl_seconds".into());
        }
        let ttl = self.ttl_seconds.and_then(|seconds| {
            let ttl = u64::try_from(seconds).ok().map(Duration::from_secs);
            let allowed = ttl.filter(|ttl| !ttl.is_zero() && *ttl <= EVENT_TTL_MAX);
            if allowed.is_none() {
                wrong("/ttl_seconds", format!("1 to {} seconds, got {seconds}", EVENT_TTL_MAX.as_secs()));
            }
            allowed
        });
        StatedWindow { deliver_at, expiry: expires_at.map(Expiry::At).or(ttl.map(Expiry::After)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(window: RawWindow<'_>) -> (StatedWindow, Vec<String>) {
        let mut errors = Vec::new();
        let window = window.check(&mut |pointer, detail| errors.push(format!("{pointer}: {detail}")));
        (window, errors)
    }

    #[test]
    fn an_expiry_is_stated_once_and_within_its_limits() {
        let expires_at = || Some("2026-01-02T03:04:05Z".into());
        let ttl = |ttl_seconds| check(RawWindow { ttl_seconds: Some(ttl_seconds), ..RawWindow::default() });
        let (window, errors) = check(RawWindow { expires_at: expires_at(), ..RawWindow::default() });
        assert_eq!((window.expiry, errors.len()), (Some(Expiry::At(UnixMillis(1_767_323_045_000))), 0));
        assert_eq!(ttl(60).0.expiry, Some(Expiry::After(Duration::from_secs(60))));
        for seconds in [0, -1, 604_801] {
            assert_eq!(ttl(seconds).1, [format!("/ttl_seconds: 1 to 604800 seconds, got {seconds}")]);
        }
        let both = RawWindow { expires_at: expires_at(), ttl_seconds: Some(60), ..RawWindow::default() };
        assert_eq!(check(both).1, ["/ttl_seconds: state the expiry once: expires_at or ttl_seconds"]);
        let never = RawWindow { deliver_at: Some("soon".into()), ..RawWindow::default() };
        assert!(check(never).1[0].starts_with("/deliver_at: expected an RFC 3339 timestamp"));
    }
}
