//! What a valid endpoint is: the tenant's profile, its limits, and the address guard have a say.

use std::time::Duration;

use postrider_egress::AddressGuard;
use postrider_http::problem::FieldError;
use postrider_model::event::EventType;
use postrider_model::limits::{
    ATTEMPT_TIMEOUT_MAX, ATTEMPT_TIMEOUT_MIN, DELIVERY_LIFETIME, ENDPOINT_HEADER_VALUE_BYTES_MAX, ENDPOINT_HEADERS_MAX,
    METADATA_BYTES_MAX,
};
use postrider_model::payload_filter::PayloadFilter;
use postrider_model::pushover::Sound;
use postrider_model::retry::{InvalidSchedule, RetrySchedule};
use postrider_model::subscription::{Subscription, TypePattern};
use postrider_profiles::{Profile, is_header_name, is_header_value, is_reserved_header};
use postrider_store::config::{Channel, EndpointDocument, EndpointDraft, SignatureKey, TenantLimits};
use secrecy::{ExposeSecret, SecretString};

use super::model::{EditEndpoint, MASK};
use crate::event_types::model::names;
use crate::request::escape;
use crate::tenants::{check_description, check_name};

/// Characters of Pushover's keys and tokens.
const PUSHOVER_KEY_CHARS: usize = 30;
/// Lowest rate an endpoint may ask for: one attempt in 100 s.
const RATE_MIN: f64 = 0.01;
/// Highest rate an endpoint may ask for, unless its tenant's limit is lower.
const RATE_MAX: f64 = 100_000.0;

/// What endpoints of one tenant are checked against.
pub(crate) struct Rules<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) limits: &'a TenantLimits,
    pub(crate) guard: &'a AddressGuard,
    /// The types that the tenant says something about.
    pub(crate) event_types: &'a [EventType],
}

#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldError::new(pointer, detail));
    }
}

impl Rules<'_> {
    /// Everything that is wrong with an endpoint.
    pub(crate) fn check(&self, draft: &EndpointDraft) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let document = &draft.document;
        self.texts(document, &mut errors);
        self.channel(draft, &mut errors);
        self.subscription(document, &mut errors);
        self.headers(&draft.private.headers, &mut errors);
        self.pace(document, &mut errors);
        if document.signature_key == SignatureKey::Ed25519 && !self.profile.only_standard_signature() {
            let detail = "the tenant's profile has a signature beside webhook-signature; allowed is hmac";
            errors.add("/signature_key", detail);
        }
        if let Some(Err(invalid)) = document.payload_filter.as_ref().map(PayloadFilter::read) {
            errors.add(invalid.pointer, invalid.detail);
        }
        if let Some(name) = &document.token_header {
            self.token_header(name, &draft.private.headers, &mut errors);
        }
        errors.0
    }

    fn texts(&self, document: &EndpointDocument, errors: &mut Errors) {
        if let Err(detail) = check_name(&document.name) {
            errors.add("/name", detail);
        }
        if let Some(Err(detail)) = document.description.as_deref().map(check_description) {
            errors.add("/description", detail);
        }
        if let Some(metadata) = &document.metadata {
            if metadata.to_string().len() > METADATA_BYTES_MAX {
                errors.add("/metadata", format!("at most {METADATA_BYTES_MAX} bytes"));
            } else if holds_nul(metadata) {
                errors.add("/metadata", "no character U+0000");
            }
        }
    }

    fn channel(&self, draft: &EndpointDraft, errors: &mut Errors) {
        let document = &draft.document;
        if !self.profile.channels.contains(&document.channel) {
            let allowed: Vec<&str> = self.profile.channels.iter().map(|channel| channel.as_str()).collect();
            let detail = format!("the tenant's profile does not have it; allowed: {}", allowed.join(", "));
            return errors.add("/channel", detail);
        }
        match document.channel {
            Channel::Web => self.web(draft, errors),
            Channel::Pushover => pushover(draft, errors),
        }
    }

    fn web(&self, draft: &EndpointDraft, errors: &mut Errors) {
        if draft.private.pushover.is_some() {
            errors.add("/pushover", "the channel is web");
        }
        match draft.document.url.as_deref() {
            None => errors.add("/url", "the channel web needs a URL"),
            Some(url) => {
                if let Err(refused) = self.guard.check_url(url, self.profile.url_rule) {
                    errors.add("/url", refused.to_string());
                } else if url.contains('#') {
                    errors.add("/url", "the part from # on is never sent; leave it out");
                }
            }
        }
    }

    /// Puts the URL as it is sent in place of the URL as it was written, such as `/b` for `/a/../b`.
    pub(crate) fn as_sent(&self, document: &mut EndpointDocument) {
        let sent = document.url.as_deref().and_then(|url| self.guard.check_url(url, self.profile.url_rule).ok());
        if let Some(sent) = sent {
            document.url = Some(sent.into());
        }
    }

    fn subscription(&self, document: &EndpointDocument, errors: &mut Errors) {
        for (attribute, values) in &document.filters {
            for (index, value) in values.iter().enumerate() {
                if value.chars().any(char::is_control) {
                    errors.add(format!("/filters/{}/{index}", escape(attribute)), "no control characters");
                }
            }
        }
        let kind_of = |name: &str| self.profile.attribute_kind(name);
        match Subscription::compile(&document.event_types, &document.filters, kind_of) {
            Ok(subscription) => self.known_types(&subscription, errors),
            Err(invalid) => {
                let filters: Vec<&str> = self.profile.attributes.keys().map(String::as_str).collect();
                let unknown = invalid.detail.ends_with("no such filter");
                let allowed = if unknown { format!("; there are: {}", filters.join(", ")) } else { String::new() };
                errors.add(invalid.pointer, invalid.detail + &allowed);
            }
        }
    }

    /// A type named exactly must be one that the product has or the tenant made, or it would be waited for in vain.
    fn known_types(&self, subscription: &Subscription, errors: &mut Errors) {
        if self.profile.open_catalog {
            return;
        }
        for (index, pattern) in subscription.event_types.iter().enumerate() {
            if let TypePattern::Exact(name) = pattern
                && self.profile.event_type(name).is_none()
                && !self.event_types.iter().any(|own| own.as_str() == &**name)
            {
                errors.add(
                    format!("/event_types/{index}"),
                    format!("no such event type; there are: {}", names(self.profile, self.event_types)),
                );
            }
        }
    }

    fn headers(&self, headers: &[(String, SecretString)], errors: &mut Errors) {
        if headers.len() > ENDPOINT_HEADERS_MAX {
            errors.add("/headers", format!("at most {ENDPOINT_HEADERS_MAX} headers, got {}", headers.len()));
        }
        for (index, (name, value)) in headers.iter().enumerate() {
            let pointer = || format!("/headers/{}", escape(name));
            let value = value.expose_secret();
            if !is_header_name(name) {
                errors.add(pointer(), "not a header name");
            } else if is_reserved_header(name) || self.is_profiles_own(name) {
                errors.add(pointer(), "a header that Postrider sets itself");
            } else if headers[..index].iter().any(|(before, _)| before.eq_ignore_ascii_case(name)) {
                errors.add(pointer(), "given twice (case does not count)");
            }
            if value == MASK {
                errors.add(pointer(), "stands for a value that is not shown; give the value itself");
            } else if !is_header_value(value) || value.len() > ENDPOINT_HEADER_VALUE_BYTES_MAX {
                errors.add(
                    pointer(),
                    format!("a value has at most {ENDPOINT_HEADER_VALUE_BYTES_MAX} bytes of visible ASCII"),
                );
            }
        }
    }

    fn is_profiles_own(&self, name: &str) -> bool {
        let signature = self.profile.signature.as_ref().map(|scheme| scheme.header.as_str());
        let mut own = self.profile.headers.iter().map(|header| header.name.as_str()).chain(signature);
        own.any(|header| header.eq_ignore_ascii_case(name))
    }

    fn pace(&self, document: &EndpointDocument, errors: &mut Errors) {
        match document.retry_schedule_seconds.clone().map(RetrySchedule::from_seconds) {
            Some(Err(invalid)) => {
                let pointer = match invalid {
                    InvalidSchedule::TooMany(_) => "/retry_schedule_seconds".to_owned(),
                    InvalidSchedule::Delay { index, .. } => format!("/retry_schedule_seconds/{index}"),
                };
                errors.add(pointer, invalid.to_string());
            }
            Some(Ok(schedule)) if schedule.total() >= DELIVERY_LIFETIME => {
                let (total, lifetime) = (schedule.total().as_secs(), DELIVERY_LIFETIME.as_secs());
                let detail = format!(
                    "the delays add up to {total} s; a delivery is discarded {lifetime} s after it was made, so the last \
                     attempts would never be made"
                );
                errors.add("/retry_schedule_seconds", detail);
            }
            Some(Ok(_)) | None => {}
        }
        if let Some(seconds) = document.timeout_seconds {
            let (shortest, longest) = (ATTEMPT_TIMEOUT_MIN.as_secs(), self.timeout_max().as_secs());
            if !(shortest..=longest).contains(&seconds.into()) {
                errors.add("/timeout_seconds", format!("{shortest} to {longest} s"));
            }
        }
        if let Some(rate) = document.rate_per_second {
            let highest = self.limits.rate_per_second_max.unwrap_or(RATE_MAX).min(RATE_MAX);
            if !(rate >= RATE_MIN.min(highest) && rate <= highest) {
                errors.add("/rate_per_second", format!("{RATE_MIN} to {highest}"));
            }
        }
    }

    fn timeout_max(&self) -> Duration {
        let limit = self.limits.timeout_seconds_max.map(|seconds| Duration::from_secs(seconds.into()));
        limit.unwrap_or(ATTEMPT_TIMEOUT_MAX).min(ATTEMPT_TIMEOUT_MAX)
    }

    fn token_header(&self, name: &str, own: &[(String, SecretString)], errors: &mut Errors) {
        if !self.profile.sends_token() {
            errors.add("/token_header", "the tenant's profile signs, it sends no token");
        } else if own.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            errors.add("/token_header", "one of the endpoint's own headers");
        } else if !is_header_name(name) || is_reserved_header(name) {
            errors.add("/token_header", "not a header name, or one that Postrider sets itself");
        }
    }
}

/// An endpoint of the channel Pushover has credentials and a sound, and nothing that only a URL's receiver could read.
fn pushover(draft: &EndpointDraft, errors: &mut Errors) {
    let document = &draft.document;
    let Some(credentials) = &draft.private.pushover else {
        return errors.add("/pushover", "the channel pushover needs user_key, api_token and sound");
    };
    let keys = [("/pushover/user_key", &credentials.user_key), ("/pushover/api_token", &credentials.api_token)];
    for (pointer, key) in keys {
        let key = key.expose_secret();
        if key.len() != PUSHOVER_KEY_CHARS || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            errors.add(pointer, format!("{PUSHOVER_KEY_CHARS} letters and digits, as Pushover shows it"));
        }
    }
    if document.sound.as_deref().and_then(Sound::named).is_none() {
        let sounds: Vec<&str> = Sound::all().map(|sound| sound.name).collect();
        errors.add("/pushover/sound", format!("no such sound; there are: {}", sounds.join(", ")));
    }
    let only_web = [
        ("/url", document.url.is_some()),
        ("/headers", !draft.private.headers.is_empty()),
        ("/token_header", document.token_header.is_some()),
        ("/ascii_json", document.ascii_json),
        ("/signature_key", document.signature_key != SignatureKey::Hmac),
    ];
    for (pointer, _) in only_web.into_iter().filter(|(_, given)| *given) {
        errors.add(pointer, "means nothing to Pushover; leave it out");
    }
}

/// Whether a string anywhere in it has the one character that the database's JSON refuses.
fn holds_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(holds_nul),
        serde_json::Value::Object(members) => {
            members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value))
        }
        _ => false,
    }
}

/// Header values that an edit keeps and that its new URL would send to another origin (RFC 6454) than they were given for.
pub(crate) fn kept_for_another_origin(
    request: &EditEndpoint,
    before: Option<&str>,
    draft: &EndpointDraft,
) -> Option<FieldError> {
    let origin = |url: &str| url::Url::parse(url).ok().map(|url| url.origin());
    let (old, new) = (before.and_then(origin)?, draft.document.url.as_deref().and_then(origin)?);
    let keeps = match &request.headers {
        None => !draft.private.headers.is_empty(),
        Some(given) => given.values().any(|value| value == MASK),
    };
    let detail = "the URL has another scheme, host or port: give the header values again, they are not sent there as they were kept";
    (old != new && keeps).then(|| FieldError::new("/headers", detail))
}

/// Keeps the errors of the members that an edit touches: what was valid when it was saved must not block an edit beside it.
pub(crate) fn of_touched(errors: Vec<FieldError>, touched: &[&str]) -> Vec<FieldError> {
    let of = |error: &FieldError| error.pointer.split('/').nth(1).is_some_and(|member| touched.contains(&member));
    errors.into_iter().filter(of).collect()
}

#[cfg(test)]
mod tests {
    use postrider_profiles::Profiles;

    use super::*;
    use crate::endpoints::model::CreateEndpoint;

    #[track_caller]
    fn check_in(profile: &str, member: &str, value: serde_json::Value, expected: Option<&str>) {
        let profiles = Profiles::builtin();
        let profile = profiles.get(profile).unwrap();
        let limits = TenantLimits { rate_per_second_max: Some(50.0), ..TenantLimits::default() };
        let guard = AddressGuard::default();
        let mut json = serde_json::json!({"name": "n", "url": "https://example.com/", "event_types": ["*"]});
        json[member] = value.clone();
        let draft = serde_json::from_value::<CreateEndpoint>(json).unwrap().into_draft();
        let errors = Rules { profile, limits: &limits, guard: &guard, event_types: &[] }.check(&draft);
        let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, expected.into_iter().collect::<Vec<_>>(), "{member}: {value}: {errors:?}");
    }

    #[track_caller]
    fn good(member: &str, value: serde_json::Value) {
        check_in("magnetite", member, value, None);
    }

    #[track_caller]
    fn bad(member: &str, value: serde_json::Value, pointer: &str) {
        check_in("magnetite", member, value, Some(pointer));
    }

    #[test]
    fn each_mistake_has_its_pointer() {
        use serde_json::json;
        bad("name", json!(" "), "/name");
        bad("name", json!("x".repeat(201)), "/name");
        bad("description", json!("a\u{0}"), "/description");
        good("description", json!("two\nlines"));
        bad("metadata", json!({"a": ["\u{0}"]}), "/metadata");
        bad("metadata", json!({"a": "x".repeat(17_000)}), "/metadata");
        bad("channel", json!("pushover"), "/channel");
        bad("url", json!(null), "/url");
        for url in ["http://example.com/", "https://127.0.0.1/", "https://u:p@example.com/", "ftp://example.com/", "x"]
        {
            bad("url", json!(url), "/url");
        }
        bad("event_types", json!([]), "/event_types");
        bad("event_types", json!(["lead.created", "email*"]), "/event_types/1");
        bad("event_types", json!(["lead.created", "no.such"]), "/event_types/1");
        good("event_types", json!(["lead.*", "magnet.viewed"]));
        check_in("standard", "event_types", json!(["any.thing"]), None);
        bad("filters", json!({"colour": ["red"]}), "/filters/colour");
        bad("filters", json!({"bridge": []}), "/filters/bridge");
        bad("filters", json!({"bridge": ["ok", "\u{0}"]}), "/filters/bridge/1");
        bad("filters", json!({"dedicated_ip": ["10.0.0.0/8", "300.1.1.1"]}), "/filters/dedicated_ip/1");
        good("payload_filter", json!({"field": "data.amount", "op": "gt", "value": 5}));
        bad("payload_filter", json!({"all": []}), "/payload_filter/all");
        bad("signature_key", json!("ed25519"), "/signature_key");
        check_in("standard", "signature_key", json!("ed25519"), None);
        bad("token_header", json!("X-Token"), "/token_header");
        check_in("mumara", "token_header", json!("Authorization"), None);
        check_in("mumara", "token_header", json!("webhook-id"), Some("/token_header"));
        check_in("mumara", "url", json!("http://example.com/"), None);
        bad("pushover", json!({"sound": "Siren"}), "/pushover");
    }

    #[test]
    fn a_url_is_stored_as_it_is_sent() {
        let profiles = Profiles::builtin();
        let (limits, guard) = (TenantLimits::default(), AddressGuard::default());
        let rules =
            Rules { profile: profiles.get("standard").unwrap(), limits: &limits, guard: &guard, event_types: &[] };
        let check = |written: &str, sent: &str| {
            let mut document = EndpointDocument { url: Some(written.into()), ..EndpointDocument::default() };
            rules.as_sent(&mut document);
            assert_eq!(document.url.as_deref(), Some(sent), "{written}");
        };
        check("https://example.com", "https://example.com/");
        check("https://EXAMPLE.com/a/../b?q={x}", "https://example.com/b?q={x}");
        check("https://example.com/%2e%2e/é", "https://example.com/%C3%A9");
        check("https://0x8080808/", "https://8.8.8.8/");
        check("https://bücher.example/", "https://xn--bcher-kva.example/");
        // What signs in the query stays as it was written.
        check("https://example.com/h?sig=a%2Fb%3d&x=%20", "https://example.com/h?sig=a%2Fb%3d&x=%20");
        bad("url", serde_json::json!("https://example.com/hook#part"), "/url");
    }

    #[test]
    fn a_pushover_endpoint_has_keys_a_sound_and_no_url() {
        use serde_json::json;
        let key = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG";
        let check = |edit: fn(&mut serde_json::Value), expected: &[&str]| {
            let mut json = json!({"name": "n", "channel": "pushover", "event_types": ["*"],
                "pushover": {"user_key": key, "api_token": key, "sound": "Cash Register"}});
            edit(&mut json);
            let profiles = Profiles::builtin();
            let (limits, guard) = (TenantLimits::default(), AddressGuard::default());
            let rules =
                Rules { profile: profiles.get("mumara").unwrap(), limits: &limits, guard: &guard, event_types: &[] };
            let errors = rules.check(&serde_json::from_value::<CreateEndpoint>(json).unwrap().into_draft());
            let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!(pointers, expected, "{errors:?}");
        };
        check(|_| {}, &[]);
        check(|e| e["pushover"] = json!(null), &["/pushover"]);
        check(|e| e["pushover"] = json!({}), &["/pushover/user_key", "/pushover/api_token", "/pushover/sound"]);
        check(|e| e["pushover"]["user_key"] = json!("short"), &["/pushover/user_key"]);
        check(|e| e["pushover"]["api_token"] = json!(MASK), &["/pushover/api_token"]);
        check(|e| e["pushover"]["sound"] = json!("cashregister"), &["/pushover/sound"]);
        check(|e| e["url"] = json!("https://example.com/"), &["/url"]);
        check(|e| e["headers"] = json!({"X-A": "b"}), &["/headers"]);
    }

    #[test]
    fn headers_that_postrider_sets_are_refused_and_so_are_broken_values() {
        use serde_json::json;
        good("headers", json!({"Authorization": "Bearer x", "X-Team": ""}));
        for name in
            ["Content-Type", "webhook-id", "Postrider-Attempt", "Host", "x-magnetite-signature", "X-Magnetite-Event"]
        {
            bad("headers", json!({name: "x"}), &format!("/headers/{name}"));
        }
        bad("headers", json!({"a b": "x"}), "/headers/a b");
        bad("headers", json!({"X-A": "x\r\nX-B: y"}), "/headers/X-A");
        bad("headers", json!({"X-A": "x".repeat(2_049)}), "/headers/X-A");
        bad("headers", json!({"X-A": MASK}), "/headers/X-A");
        bad("headers", json!({"X-A": "1", "x-a": "2"}), "/headers/x-a");
        let many: serde_json::Map<_, _> = (0..21).map(|n| (format!("X-{n}"), json!("v"))).collect();
        bad("headers", many.into(), "/headers");
    }

    #[test]
    fn pace_stays_within_the_limits() {
        use serde_json::json;
        good("retry_schedule_seconds", json!([]));
        bad("retry_schedule_seconds", json!([1, 0]), "/retry_schedule_seconds/1");
        bad("retry_schedule_seconds", json!(vec![1; 21]), "/retry_schedule_seconds");
        good("retry_schedule_seconds", json!(vec![86_400; 6]));
        bad("retry_schedule_seconds", json!(vec![86_400; 7]), "/retry_schedule_seconds");
        good("timeout_seconds", json!(60));
        bad("timeout_seconds", json!(0), "/timeout_seconds");
        bad("timeout_seconds", json!(61), "/timeout_seconds");
        good("rate_per_second", json!(50));
        bad("rate_per_second", json!(50.1), "/rate_per_second");
        bad("rate_per_second", json!(0), "/rate_per_second");
        bad("rate_per_second", json!(-1), "/rate_per_second");
    }
}
