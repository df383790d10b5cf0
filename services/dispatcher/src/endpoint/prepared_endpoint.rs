//! An endpoint that is prepared for attempts. Its configuration is parsed and checked, and its keys are loaded, once per
//! version.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use postrider_egress::Headers;
use postrider_model::batch::Batch;
use postrider_model::delivery::{BodyKind, EndpointStatus};
use postrider_model::endpoint::SignatureKey;
use postrider_model::event::EventType;
use postrider_model::limits::{ATTEMPT_TIMEOUT_MAX, ATTEMPT_TIMEOUT_MIN};
use postrider_model::ordering::OnExhausted;
use postrider_model::retry_schedule::{RetryPolicy, RetrySchedule};
use postrider_profiles::{Profile, Profiles};
use postrider_signature::{NextSecret, PreviousSecret, Signer, SigningSecrets};
use postrider_store::config::EndpointSecrets;
use postrider_store::endpoint::DispatchEndpoint;
use secrecy::ExposeSecret;

use super::Unusable;
use super::service::{Messenger, ServiceUrls, Target};
use crate::metrics::ProfileMetrics;

/// `User-Agent` for profiles that do not define one.
const OWN_USER_AGENT: &str = concat!("Postrider/", env!("CARGO_PKG_VERSION"));

/// The data of an endpoint that its attempts need.
#[derive(Debug)]
pub(crate) struct PreparedEndpoint {
    /// The configuration version of the endpoint's last edit.
    pub(crate) version: i64,
    /// Whether the endpoint receives deliveries.
    pub(crate) status: EndpointStatus,
    /// The URL of the endpoint's requests.
    pub(crate) target: Target,
    /// The profile of the endpoint's tenant.
    pub(crate) profile: Arc<Profile>,
    /// The format of the endpoint's bodies.
    pub(crate) body_kind: BodyKind,
    /// Set if a service for people receives the endpoint's deliveries.
    pub(crate) messenger: Option<Messenger>,
    /// Signs the endpoint's attempts.
    pub(crate) signer: Signer,
    /// The endpoint's own token, if it has one and the profile sends tokens. Without an own token, the signing secret is sent
    /// as the token.
    pub(crate) token: Option<HeaderValue>,
    /// `Content-Type` and `User-Agent`.
    pub(crate) base_headers: Headers<'static>,
    /// The endpoint's own headers.
    pub(crate) own_headers: Headers<'static>,
    /// Name of the header that contains the token, if the profile sends tokens.
    token_header: Option<String>,
    /// Deadline of an attempt.
    pub(crate) timeout: Duration,
    /// Maximum attempts per second, for all dispatchers together.
    pub(crate) rate_per_second: Option<f64>,
    /// What follows when a delivery of this endpoint fails for good, if the endpoint is ordered.
    pub(crate) on_exhausted: OnExhausted,
    /// When several deliveries are sent in one request, if the endpoint is batched.
    pub(crate) batch: Option<Batch>,
    /// Metrics of the endpoint's profile.
    pub(crate) counts: ProfileMetrics,
    schedule: Option<RetrySchedule>,
}

impl PreparedEndpoint {
    /// Prepares an endpoint.
    pub(crate) fn new(endpoint: DispatchEndpoint, profiles: &Profiles, urls: &ServiceUrls) -> Result<Self, Unusable> {
        let DispatchEndpoint { version, document, status, secrets, private, profile, limits, .. } = endpoint;
        let profile = profiles.get(&profile).cloned().ok_or(Unusable::Profile(profile))?;
        let (messenger, target) = Messenger::new(&document, &private, urls)?.unzip();
        let body_kind = document.body_kind();
        let ed25519 = document.signature_key == SignatureKey::Ed25519;
        if ed25519 && !profile.only_standard_signature() {
            return Err(Unusable::Unsupported("an ed25519 key with its tenant's profile"));
        }
        let target = match target {
            Some(target) => target,
            None => web_target(document.url.as_deref())?,
        };

        let mut base_headers = Headers::with_capacity(2);
        // E-mail has no HTTP headers.
        if messenger.as_ref().and_then(Messenger::recipients).is_none() {
            let user_agent = profile.user_agent.as_deref().unwrap_or(OWN_USER_AGENT);
            let json = HeaderValue::from_static("application/json");
            let content_type = messenger.as_ref().map_or(json, Messenger::content_type);
            insert(&mut base_headers, "Content-Type", content_type, "content type")?;
            insert(
                &mut base_headers,
                "User-Agent",
                value(user_agent, "profile's user agent")?,
                "profile's user agent",
            )?;
        }

        let mut own_headers = Headers::with_capacity(private.headers.len());
        for (name, secret) in &private.headers {
            let value = secret_value(secret.expose_secret(), "own headers")?;
            insert(&mut own_headers, name, value, "own headers")?;
        }
        let token_scheme = profile.signature.as_ref().filter(|_| profile.sends_token());
        let token_header = token_scheme.map(|scheme| document.token_header.as_ref().unwrap_or(&scheme.header).clone());
        let token = private.token.filter(|_| token_scheme.is_some());
        let token = token.map(|token| secret_value(token.expose_secret(), "token")).transpose()?;

        let secrets = signing_secrets(secrets);
        let signer = if ed25519 { Signer::ed25519(&secrets).ok() } else { Signer::new(&secrets).ok() };
        let signer = signer.ok_or(Unusable::Invalid("secret"))?;
        let schedule = document.retry_schedule_seconds.map(RetrySchedule::from_seconds).transpose();
        let mut schedule = schedule.map_err(|_| Unusable::Invalid("retry schedule"))?;
        if let Some(messenger) = &messenger {
            let wanted = schedule.unwrap_or_else(|| profile.retry_schedule.clone());
            schedule = Some(wanted.at_least(messenger.retry_delay_min()));
        }
        let timeout = document.timeout_seconds.map(u64::from).map_or(profile.timeout, Duration::from_secs);
        let longest = limits.timeout_seconds_max.map(u64::from).map_or(ATTEMPT_TIMEOUT_MAX, Duration::from_secs);
        let on_exhausted = document.ordering.as_ref().map(|ordering| ordering.on_exhausted).unwrap_or_default();
        let batch = document.batch.filter(|_| messenger.is_none());
        let rate = document.channel.rate_per_second(document.rate_per_second.or(profile.rate_per_second));
        Ok(Self {
            version,
            status,
            target,
            signer: signer.with_token_header(document.token_header),
            token,
            base_headers,
            own_headers,
            token_header,
            timeout: timeout.min(longest).clamp(ATTEMPT_TIMEOUT_MIN, ATTEMPT_TIMEOUT_MAX),
            rate_per_second: rate.map(|rate| limits.rate_per_second_max.map_or(rate, |most| rate.min(most))),
            on_exhausted,
            batch,
            counts: ProfileMetrics::new(&profile.name),
            schedule,
            profile,
            body_kind,
            messenger,
        })
    }

    /// Returns the rules for the endpoint's retries.
    pub(crate) fn retry_policy(&self) -> RetryPolicy<'_> {
        let policy = self.profile.retry_policy(self.schedule.as_ref());
        match &self.messenger {
            Some(messenger) => RetryPolicy { statuses: &messenger.statuses, ..policy },
            None => policy,
        }
    }

    /// Whether the value of this header is secret: the endpoint's own headers and its token are.
    pub(crate) fn masks(&self, name: &str) -> bool {
        self.own_headers.get(name).is_some()
            || self.token_header.as_ref().is_some_and(|token| token.eq_ignore_ascii_case(name))
    }

    /// Returns the payload to send for a body: the message of the endpoint's service, or the body itself.
    pub(crate) fn payload(&self, body: Bytes, event_type: &EventType) -> Bytes {
        match &self.messenger {
            Some(messenger) => messenger.payload(&body, event_type),
            None => body,
        }
    }
}

fn web_target(url: Option<&str>) -> Result<Target, Unusable> {
    url.and_then(|url| url.parse().ok()).map(Target::open).ok_or(Unusable::Invalid("URL"))
}

fn insert(headers: &mut Headers, name: &str, value: HeaderValue, what: &'static str) -> Result<(), Unusable> {
    headers.insert(name.to_owned(), value).map_err(|_| Unusable::Invalid(what))
}

fn value(text: &str, what: &'static str) -> Result<HeaderValue, Unusable> {
    HeaderValue::from_str(text).map_err(|_| Unusable::Invalid(what))
}

fn secret_value(text: &str, what: &'static str) -> Result<HeaderValue, Unusable> {
    let mut value = value(text, what)?;
    // Sensitive values are hidden in debug output, including that of the HTTP client.
    value.set_sensitive(true);
    Ok(value)
}

fn signing_secrets(secrets: EndpointSecrets) -> SigningSecrets {
    let EndpointSecrets { current, previous, next } = secrets;
    SigningSecrets {
        current,
        previous: previous.into_iter().map(|(secret, valid_until)| PreviousSecret { secret, valid_until }).collect(),
        // The two secrets do not overlap: the current secret stops signing when the next secret takes effect.
        next: next.map(|(secret, at)| NextSecret { secret, effective_at: at, overlap_until: at }),
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::attempt::StatusVerdict;
    use postrider_model::endpoint::Channel;
    use postrider_model::tenant_limits::TenantLimits;

    use super::*;
    use crate::attempt::headers::Subject;
    use crate::testing;

    fn check(edit: impl FnOnce(&mut DispatchEndpoint), expected: Unusable) {
        let mut endpoint = testing::endpoint("standard");
        edit(&mut endpoint);
        assert_eq!(
            PreparedEndpoint::new(endpoint, &Profiles::builtin(), &testing::service_urls()).unwrap_err(),
            expected
        );
    }

    #[test]
    fn an_unusable_endpoint_has_its_reason() {
        check(|e| e.profile = "gone".into(), Unusable::Profile("gone".into()));
        check(|e| e.document.url = Some("not a url".into()), Unusable::Invalid("URL"));
        check(|e| e.document.url = None, Unusable::Invalid("URL"));
        check(|e| e.document.channel = Channel::Pushover, Unusable::Invalid("Pushover credentials"));
        let no_such_sound = |e: &mut DispatchEndpoint| {
            *e = testing::pushover_endpoint();
            e.document.sound = Some("Trumpet".into());
        };
        check(no_such_sound, Unusable::Invalid("sound"));
        check(|e| e.document.signature_key = SignatureKey::Ed25519, Unusable::Invalid("secret"));
        let ed25519 = |e: &mut DispatchEndpoint| {
            e.profile = "magnetite".into();
            e.document.signature_key = SignatureKey::Ed25519;
        };
        check(ed25519, Unusable::Unsupported("an ed25519 key with its tenant's profile"));
        check(|e| e.private.headers = vec![("a b".into(), "x".into())], Unusable::Invalid("own headers"));
        check(|e| e.private.headers = vec![("a".into(), "x\n".into())], Unusable::Invalid("own headers"));
        check(|e| e.secrets.current = "whsec_!".into(), Unusable::Invalid("secret"));
    }

    #[test]
    fn an_endpoints_own_settings_count_within_its_tenants_limits() {
        let prepare = |edit: fn(&mut DispatchEndpoint)| {
            let mut endpoint = testing::endpoint("standard");
            edit(&mut endpoint);
            PreparedEndpoint::new(endpoint, &Profiles::builtin(), &testing::service_urls()).unwrap()
        };
        let plain = prepare(|_| {});
        assert_eq!(plain.timeout, plain.profile.timeout);
        assert_eq!(plain.rate_per_second, plain.profile.rate_per_second);
        assert_eq!(plain.retry_policy().schedule, &plain.profile.retry_schedule);
        let own = prepare(|e| {
            e.document.timeout_seconds = Some(3);
            e.document.rate_per_second = Some(50.0);
            e.document.retry_schedule_seconds = Some(vec![]);
        });
        assert_eq!((own.timeout.as_secs(), own.rate_per_second), (3, Some(50.0)));
        assert!(own.retry_policy().schedule.seconds().is_empty());
        let limited = prepare(|e| {
            e.document.timeout_seconds = Some(50);
            e.document.rate_per_second = Some(50.0);
            e.limits = TenantLimits {
                timeout_seconds_max: Some(20),
                rate_per_second_max: Some(5.0),
                ..TenantLimits::default()
            };
        });
        assert_eq!((limited.timeout.as_secs(), limited.rate_per_second), (20, Some(5.0)));
    }

    #[test]
    fn a_chat_endpoint_keeps_the_rate_of_its_service() {
        let rate = |channel, own| {
            let mut endpoint = testing::chat_endpoint(channel, "https://chat.example/services/secret");
            endpoint.document.rate_per_second = own;
            let endpoint = PreparedEndpoint::new(endpoint, &Profiles::builtin(), &testing::service_urls()).unwrap();
            endpoint.rate_per_second
        };
        assert_eq!((rate(Channel::Slack, None), rate(Channel::Slack, Some(50.0))), (Some(1.0), Some(1.0)));
        assert_eq!((rate(Channel::Slack, Some(0.1)), rate(Channel::Discord, None)), (Some(0.1), Some(0.5)));
    }

    #[test]
    fn a_pushover_endpoint_retries_after_5_s_and_never_a_refusal() {
        let mut endpoint = testing::pushover_endpoint();
        endpoint.document.retry_schedule_seconds = Some(vec![1, 5, 60]);
        let endpoint = PreparedEndpoint::new(endpoint, &Profiles::builtin(), &testing::service_urls()).unwrap();
        let policy = endpoint.retry_policy();
        assert_eq!(policy.schedule.seconds(), [5, 5, 60]);
        for (code, verdict) in [
            (200, StatusVerdict::Success),
            (302, StatusVerdict::Retry),
            (400, StatusVerdict::Fail),
            (429, StatusVerdict::Fail),
            (500, StatusVerdict::Retry),
        ] {
            assert_eq!(policy.statuses.verdict(code), verdict, "{code}");
        }
    }

    #[test]
    fn a_pushover_form_has_the_credentials_and_no_other_header() {
        let endpoint = testing::pushover_endpoint();
        let endpoint = PreparedEndpoint::new(endpoint, &Profiles::builtin(), &testing::service_urls()).unwrap();
        let event_type = "Bounced".parse().unwrap();
        let body = Bytes::from_static("{\"title\":\"a&b\",\"message\":\"ü\",\"timestamp\":7}".as_bytes());
        let form = endpoint.payload(body, &event_type);
        let expected = "token=app-token&user=user-key&title=a%26b&message=%C3%BC&sound=tugboat&timestamp=7";
        assert_eq!(std::str::from_utf8(&form).unwrap(), expected);
        let task = testing::task();
        let subject = Subject::Delivery(&task);
        let headers = crate::attempt::headers::request(&endpoint, subject, testing::NOW, &form, Some("00-1-2-01"));
        let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Content-Type", "User-Agent"]);
        assert_eq!(headers.get("content-type").unwrap(), "application/x-www-form-urlencoded");
    }

    #[test]
    fn no_secret_is_printed() {
        let printed =
            PreparedEndpoint::new(testing::pushover_endpoint(), &Profiles::builtin(), &testing::service_urls());
        let printed = format!("{:?}", printed.unwrap());
        assert!(!printed.contains("user-key") && !printed.contains("app-token"), "{printed}");
        let mut endpoint = testing::endpoint("standard");
        endpoint.secrets.current = "whsec_c2VjcmV0c2VjcmV0".into();
        endpoint.private.headers = vec![("x-team".into(), "hush".into())];
        let printed =
            format!("{:?}", PreparedEndpoint::new(endpoint, &Profiles::builtin(), &testing::service_urls()).unwrap());
        assert!(!printed.contains("hush") && !printed.contains("c2VjcmV0"), "{printed}");
    }
}
