//! The headers of an attempt: as the request sends them, and as the history records them, with masked secrets.
//!
//! Each header name is spelled as in its source: the profile, Standard Webhooks, or the endpoint's own headers.

use std::borrow::Cow;

use http::header::HeaderValue;
use postrider_egress::Headers;
use postrider_model::attempt::SECRET_MASK;
use postrider_model::event::EventType;
use postrider_model::ids::EventId;
use postrider_model::time::UnixMillis;
use postrider_profiles::HeaderContext;
use postrider_signature::SignedAttempt;
use postrider_telemetry::trace_context::TRACEPARENT;
use postrider_wire::headers::HeaderList;
use postrider_wire::loop_guard::DELIVERY_HEADER;
use postrider_wire::messages::DeliveryTask;

use crate::endpoint::PreparedEndpoint;

/// Header with the delivery's id, which is equal in all attempts of the delivery. For a batch, the batch's id.
const DELIVERY: &str = DELIVERY_HEADER;
/// Header with the attempt's number, from 1.
const ATTEMPT: &str = "postrider-attempt";

/// Header with the number of events in a batch.
const BATCH_SIZE: &str = "postrider-batch-size";

/// What a request delivers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// One delivery.
    Delivery(&'a DeliveryTask),
    /// Several deliveries, or one delivery of a batched endpoint.
    Batch {
        /// The batch's id in the place of an event's id.
        id: &'a EventId,
        size: usize,
        /// The type of all events, if they have the same.
        event_type: Option<&'a EventType>,
        /// When the first event happened.
        occurred_at: UnixMillis,
    },
}

impl<'a> Subject<'a> {
    /// The batch `id` with these deliveries, of which there is at least one.
    pub(crate) fn batch(
        id: &'a EventId,
        first: &'a DeliveryTask,
        others: impl Iterator<Item = &'a DeliveryTask>,
    ) -> Self {
        let event_type = &first.delivery.event_type;
        let (mut size, mut is_same) = (1, true);
        for other in others {
            size += 1;
            is_same &= other.delivery.event_type == *event_type;
        }
        Self::Batch { id, size, event_type: is_same.then_some(event_type), occurred_at: first.occurred_at }
    }

    fn context(&self) -> HeaderContext<'a> {
        match *self {
            Self::Delivery(task) => {
                let delivery = &task.delivery;
                let event_type = Some(&delivery.event_type);
                HeaderContext { id: &delivery.event, event_type, occurred_at: task.occurred_at }
            }
            Self::Batch { id, event_type, occurred_at, .. } => HeaderContext { id, event_type, occurred_at },
        }
    }
}

/// Builds the headers of an attempt that is signed for the time `at`. The endpoint's own headers never replace a signature or a
/// header of Postrider.
pub(crate) fn request<'a>(
    endpoint: &'a PreparedEndpoint,
    subject: Subject<'_>,
    at: UnixMillis,
    body: &[u8],
    traceparent: Option<&str>,
) -> Headers<'a> {
    if endpoint.messenger.is_some() {
        // Services for people verify no signatures and need no ids.
        return endpoint.base_headers.clone();
    }
    // Most deliveries have at most 24 headers, so the list is allocated once.
    let mut headers = Headers::with_capacity(24);
    for (name, value) in endpoint.base_headers.iter() {
        insert(&mut headers, name, value.clone());
    }
    let context = subject.context();
    for (name, value) in endpoint.profile.headers(&context) {
        insert_text(&mut headers, name, value);
    }
    for (name, value) in endpoint.own_headers.iter() {
        insert(&mut headers, name, value.clone());
    }
    let signed = endpoint.signer.headers(&SignedAttempt {
        scheme: endpoint.profile.signature.as_ref(),
        standard_headers: endpoint.profile.standard_headers,
        event_id: context.id.as_str(),
        at,
        body,
    });
    let token = endpoint.profile.sends_token();
    for (index, (name, value)) in signed.into_iter().enumerate() {
        match &endpoint.token {
            // The first signature header is the header that the profile's product defines.
            Some(token_value) if token && index == 0 => insert(&mut headers, name, token_value.clone()),
            _ => insert_text(&mut headers, name, value),
        }
    }
    match subject {
        Subject::Delivery(task) => {
            insert_text(&mut headers, DELIVERY, task.delivery.id.to_string());
            insert(&mut headers, ATTEMPT, HeaderValue::from(task.number));
        }
        // The members of a batch have ids and attempt numbers of their own.
        Subject::Batch { id, size, .. } => {
            insert_text(&mut headers, DELIVERY, id.to_string());
            insert(&mut headers, BATCH_SIZE, HeaderValue::from(size));
        }
    }
    if let Some(traceparent) = traceparent.filter(|_| endpoint.profile.traceparent) {
        insert_text(&mut headers, TRACEPARENT, traceparent.to_owned());
    }
    headers
}

/// Inserts a header. Profiles and secrets are checked when they are loaded. A header that is invalid nevertheless is omitted.
fn insert_text<'a>(headers: &mut Headers<'a>, name: impl Into<Cow<'a, str>>, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        insert(headers, name, value);
    }
}

fn insert<'a>(headers: &mut Headers<'a>, name: impl Into<Cow<'a, str>>, value: HeaderValue) {
    let _ = headers.insert(name, value);
}

/// Returns the headers as the history records them: secret values are masked.
pub(crate) fn recorded(endpoint: &PreparedEndpoint, headers: &Headers<'_>) -> HeaderList {
    HeaderList::of(headers.iter().map(|(name, value)| {
        let masked = endpoint.masks(name);
        (name, if masked { SECRET_MASK.into() } else { String::from_utf8_lossy(value.as_bytes()) })
    }))
}

#[cfg(test)]
mod tests {
    use postrider_model::ids::BatchId;
    use postrider_profiles::Profiles;
    use postrider_signature::WEBHOOK_SIGNATURE;
    use postrider_store::endpoint::DispatchEndpoint;

    use super::*;
    use crate::testing;

    const BODY: &[u8] = b"{\"a\":1}";
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(
        profile: &str,
        edit: impl FnOnce(&mut DispatchEndpoint),
    ) -> (&'static PreparedEndpoint, DeliveryTask, Headers<'static>) {
        let mut endpoint = testing::endpoint(profile);
        edit(&mut endpoint);
        let endpoint = PreparedEndpoint::new(endpoint, &Profiles::builtin(), &testing::service_urls()).unwrap();
        let endpoint: &'static PreparedEndpoint = Box::leak(Box::new(endpoint));
        let task = DeliveryTask { number: 3, ..testing::task() };
        let headers = request(endpoint, Subject::Delivery(&task), testing::NOW, BODY, Some(TRACE));
        (endpoint, task, headers)
    }

    fn text<'a>(headers: &'a Headers<'_>, name: &str) -> Option<&'a str> {
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn every_delivery_carries_the_documented_headers() {
        let (_, task, headers) = headers("standard", |_| {});
        assert_eq!(text(&headers, "content-type"), Some("application/json"));
        assert!(text(&headers, "user-agent").unwrap().starts_with("Postrider/"));
        assert_eq!(text(&headers, "webhook-id"), Some(task.delivery.event.as_str()));
        assert_eq!(text(&headers, "webhook-timestamp"), Some("1800000000"));
        assert!(text(&headers, WEBHOOK_SIGNATURE).unwrap().starts_with("v1,"));
        assert_eq!(text(&headers, "postrider-delivery"), Some(task.delivery.id.to_string().as_str()));
        assert_eq!(text(&headers, "postrider-attempt"), Some("3"));
        assert_eq!(text(&headers, "traceparent"), Some(TRACE));
    }

    #[test]
    fn a_profiles_headers_are_sent_too() {
        let (_, _, headers) = headers("magnetite", |_| {});
        assert_eq!(text(&headers, "user-agent"), Some("Magnetite-Webhooks/1.0"));
        assert_eq!(text(&headers, "x-magnetite-event"), Some("lead.created"));
        assert_eq!(text(&headers, "x-magnetite-timestamp"), Some("1800000000000"));
        let signature = text(&headers, "x-magnetite-signature").unwrap();
        assert_eq!(signature.len(), "sha256=".len() + 64);
        assert!(headers.get("webhook-id").is_some());
    }

    #[test]
    fn own_headers_are_sent_and_masked_and_replace_no_signature() {
        let (endpoint, _, headers) = headers("magnetite", |endpoint| {
            endpoint.private.headers = vec![
                ("X-Team".into(), "hush".into()),
                ("X-Magnetite-Signature".into(), "forged".into()),
                ("webhook-id".into(), "forged".into()),
            ];
        });
        assert_eq!(text(&headers, "x-team"), Some("hush"));
        assert!(text(&headers, "x-magnetite-signature").unwrap().starts_with("sha256="));
        assert_ne!(text(&headers, "webhook-id"), Some("forged"));
        let recorded = recorded(endpoint, &headers).pairs();
        assert!(recorded.contains(&("X-Team".into(), "***".into())));
        assert!(recorded.contains(&("Content-Type".into(), "application/json".into())));
        assert!(recorded.iter().all(|(_, value)| value != "hush"));
    }

    #[test]
    fn header_names_keep_the_spelling_of_their_source() {
        let (_, _, headers) = headers("magnetite", |endpoint| {
            endpoint.private.headers = vec![
                ("X-Api-KEY".into(), "k".into()),
                ("SOAPAction".into(), "a".into()),
                ("WEBHOOK-ID".into(), "no".into()),
            ];
        });
        let names: Vec<&str> = headers.iter().map(|(name, _)| name).collect();
        for expected in [
            "Content-Type",
            "User-Agent",
            "X-Magnetite-Event",
            "X-Magnetite-Signature",
            "X-Api-KEY",
            "SOAPAction",
            "webhook-id",
            "webhook-signature",
            "postrider-delivery",
        ] {
            assert!(names.contains(&expected), "{expected} in {names:?}");
        }
    }

    #[test]
    fn a_batch_has_an_id_of_its_own_and_the_type_that_its_events_share() {
        let (endpoint, task, _) = headers("magnetite", |_| {});
        let id = BatchId::generate().as_event_id();
        let mut other = testing::task();
        let request = |other: &DeliveryTask| {
            let subject = Subject::batch(&id, &task, [&task, other].into_iter());
            request(endpoint, subject, testing::NOW, BODY, None)
        };
        let same = request(&other);
        assert_eq!(text(&same, "webhook-id"), Some(id.as_str()));
        assert_eq!(text(&same, "postrider-delivery"), Some(id.as_str()));
        assert_eq!((text(&same, "postrider-batch-size"), text(&same, "postrider-attempt")), (Some("3"), None));
        assert_eq!(text(&same, "x-magnetite-event"), Some("lead.created"));
        other.delivery.event_type = "lead.deleted".parse().unwrap();
        assert_eq!(text(&request(&other), "x-magnetite-event"), None);
    }

    #[test]
    fn every_attempt_is_signed_for_its_own_time() {
        let (endpoint, task, first) = headers("standard", |_| {});
        let later = UnixMillis(testing::NOW.0 + 60_000);
        let second = request(endpoint, Subject::Delivery(&task), later, BODY, None);
        assert_eq!(first.get("webhook-id"), second.get("webhook-id"));
        assert_ne!(first.get("webhook-timestamp"), second.get("webhook-timestamp"));
        assert_ne!(first.get(WEBHOOK_SIGNATURE), second.get(WEBHOOK_SIGNATURE));
        assert!(second.get("traceparent").is_none());
    }
}
