//! Decodes messages into rows. A message that cannot be decoded becomes a dead letter, which contains the reason.

use bytes::Bytes;
use postrider_broker::topology::{CUT_HEADER, is_producers_key};
use postrider_broker::{Queue, RawHeaders, RawMessage};
use postrider_model::ids::TenantId;
use postrider_model::limits::{DEAD_LETTER_KEPT_BYTES, DEAD_LETTER_WHOLE_BYTES_MAX};
use postrider_model::time::UnixMillis;
use postrider_store::record::{DeadLetter, RecordBatch};
use postrider_wire::bundle::{self, DecodeError, Member};
use postrider_wire::messages::{AcceptedEvent, Decision, NumbersReport, OutcomeReport};

/// Maximum number of characters that are stored of a reason in a producer's header.
const CLAIM_CHARS_MAX: usize = 200;

/// Adds the members of a message to `rows`. Returns the time of the oldest member, or `None` if no member has a time.
pub(crate) fn decode(queue: Queue, message: &RawMessage, rows: &mut RecordBatch) -> Option<UnixMillis> {
    decode_parts(queue, &message.body, &message.headers, rows)
}

fn decode_parts(queue: Queue, body: &Bytes, headers: &RawHeaders, rows: &mut RecordBatch) -> Option<UnixMillis> {
    if queue == Queue::DeadLetters {
        rows.dead_letters.push(dead_letter(body.clone(), headers));
        return None;
    }
    match bundle::decode(body) {
        Ok(members) => members.into_iter().filter_map(|member| decode_member(queue, member, rows)).min(),
        Err(error) => {
            rows.dead_letters.push(unreadable(queue, body.clone(), &error.to_string()));
            None
        }
    }
}

fn decode_member(queue: Queue, member: Member, rows: &mut RecordBatch) -> Option<UnixMillis> {
    let read = match queue {
        Queue::EventLog => decode_logged(&member, rows),
        Queue::Decisions => member.head::<Decision>().map(|decision| {
            let at = decision.decided_at;
            rows.decisions.push(decision);
            at
        }),
        Queue::Outcomes => member.head::<OutcomeReport>().map(|outcome| {
            let at = outcome.at;
            rows.outcomes.push((outcome, member.payload.clone()));
            at
        }),
        // The recorder does not consume other queues.
        _ => Err(DecodeError::NotABundle),
    };
    match read {
        Ok(at) => Some(at),
        Err(error) => {
            let body = bundle::encode(std::slice::from_ref(&member)).into();
            rows.dead_letters.push(unreadable(queue, body, &error.to_string()));
            None
        }
    }
}

/// Decodes a member of the event log: an event, or ingest's report about its sequence numbers.
fn decode_logged(member: &Member, rows: &mut RecordBatch) -> Result<UnixMillis, DecodeError> {
    match member.head::<AcceptedEvent>() {
        Ok(event) => {
            let at = event.accepted_at;
            rows.events.push((event, member.payload.clone()));
            Ok(at)
        }
        Err(no_event) => {
            let report = member.head::<NumbersReport>().map_err(|_| no_event)?;
            let at = report.reported_at;
            rows.numbers.push(report);
            Ok(at)
        }
    }
}

/// Creates the dead letter for a message that this recorder could not read.
pub(crate) fn unreadable(queue: Queue, body: Bytes, reason: &str) -> DeadLetter {
    let reason = reason.replace('\0', "\\0");
    DeadLetter {
        received_at: UnixMillis::now(),
        source: queue.name().into(),
        reason,
        body,
        whole_bytes: None,
        producer: None,
        headers: Vec::new(),
        routing_key: String::new(),
        content_type: Some(bundle::CONTENT_TYPE.into()),
        message_id: None,
    }
}

/// Decodes a message from the queue of dead letters.
///
/// The publisher is identified only by data that the broker verifies: the routing key and `user_id`. Headers are trusted only
/// if our own user published the message.
fn dead_letter(body: Bytes, headers: &RawHeaders) -> DeadLetter {
    let original = &headers.original;
    let from_intake = is_producers_key(&original.routing_key);
    let source = match headers {
        _ if from_intake => Queue::Intake.name(),
        RawHeaders { by_our_user: true, source: Some(queue), .. }
        | RawHeaders { by_our_user: true, first_death_queue: Some(queue), .. } => queue.as_str(),
        _ => "unknown",
    };
    let is_producers = from_intake || source == Queue::Intake.name() || !headers.by_our_user;
    let (body, whole_bytes) = if is_producers { kept(body, headers) } else { (body, None) };
    DeadLetter {
        received_at: UnixMillis::now(),
        source: clean(source),
        reason: clean(&reason(headers)),
        body,
        whole_bytes,
        producer: is_producers.then(|| tenant(&original.routing_key)),
        headers: original.headers.iter().map(|(name, value)| (clean(name), clean(value))).collect(),
        routing_key: original.routing_key.clone(),
        content_type: original.content_type.clone(),
        message_id: original.message_id.clone(),
    }
}

/// Returns the reason why a message became a dead letter, as stated by one of our services or by the broker. A reason that a
/// producer may have written is marked as unverified.
fn reason(headers: &RawHeaders) -> String {
    match (&headers.reason, &headers.first_death_reason) {
        (Some(reason), _) if headers.by_our_user => reason.clone(),
        (None, Some(by_broker)) if headers.by_our_user => format!("put aside by the broker: {by_broker}"),
        (Some(claimed), _) => {
            let claimed: String = claimed.chars().take(CLAIM_CHARS_MAX).collect();
            format!("put aside by the broker (unverified header x-reason: {claimed:?})")
        }
        (None, Some(claimed)) => {
            let claimed: String = claimed.chars().take(CLAIM_CHARS_MAX).collect();
            format!("put aside by the broker (unverified header x-first-death-reason: {claimed:?})")
        }
        (None, None) => "put aside without a reason".into(),
    }
}

/// Returns the part of a producer's message to store, and the full length of the message in bytes if it was cut.
fn kept(body: Bytes, headers: &RawHeaders) -> (Bytes, Option<u64>) {
    if body.len() > DEAD_LETTER_WHOLE_BYTES_MAX {
        // Copies the part, because a slice of `Bytes` would prevent the whole body from being freed.
        return (Bytes::copy_from_slice(&body[..DEAD_LETTER_KEPT_BYTES]), Some(body.len() as u64));
    }
    let cut = headers.original.header(CUT_HEADER).filter(|_| headers.by_our_user);
    (body, cut.and_then(|bytes| bytes.parse().ok()))
}

/// Returns the tenant in a routing key as text. The text is empty if the key contains no tenant.
fn tenant(routing_key: &str) -> String {
    let name = routing_key.split('.').next().and_then(|name| name.parse::<TenantId>().ok());
    name.map(|tenant| tenant.to_string()).unwrap_or_default()
}

/// Escapes NUL, which PostgreSQL text cannot contain.
fn clean(text: &str) -> String {
    text.replace('\0', "\\0")
}

#[cfg(test)]
mod tests {
    use postrider_broker::ProducerMessage;

    use super::*;

    fn decoded(queue: Queue, body: &[u8]) -> RecordBatch {
        let mut rows = RecordBatch::default();
        decode_parts(queue, &Bytes::copy_from_slice(body), &RawHeaders::default(), &mut rows);
        rows
    }

    #[test]
    fn a_message_that_is_not_a_bundle_becomes_a_dead_letter_with_its_bytes() {
        let rows = decoded(Queue::Outcomes, b"nonsense");
        assert_eq!(rows.len(), 1);
        let letter = &rows.dead_letters[0];
        assert_eq!(letter.source, "postrider.outcomes");
        assert_eq!(letter.reason, "not a bundle");
        assert_eq!(&letter.body[..], b"nonsense");
    }

    #[test]
    fn an_unreadable_member_does_not_affect_the_others() {
        let good = r#"{"event":"e1","event_day":20000,"tenant":"ten_operator","event_type":"a","accepted_at":1,
            "decided_at":2,"config_version":3,"matched":[],"expires_at":4}"#;
        let of = |head: &str| Member { head: Bytes::copy_from_slice(head.as_bytes()), payload: Bytes::new() };
        let rows = decoded(Queue::Decisions, &bundle::encode(&[of(good), of("{}"), of(good)]));
        assert_eq!((rows.decisions.len(), rows.dead_letters.len()), (2, 1));
        assert!(rows.dead_letters[0].reason.contains("missing field"), "{}", rows.dead_letters[0].reason);
        assert_eq!(bundle::decode(&rows.dead_letters[0].body).unwrap(), [of("{}")]);
    }

    fn by(headers: RawHeaders) -> DeadLetter {
        dead_letter(Bytes::new(), &headers)
    }

    fn says(source: &str, reason: &str) -> RawHeaders {
        RawHeaders { reason: Some(reason.into()), source: Some(source.into()), ..RawHeaders::default() }
    }

    fn keyed(routing_key: &str) -> ProducerMessage {
        ProducerMessage { routing_key: routing_key.into(), ..ProducerMessage::default() }
    }

    #[test]
    fn a_dead_letter_of_our_user_names_its_source_and_reason() {
        let service = by(RawHeaders { by_our_user: true, ..says("postrider.fanout", "panic: \0") });
        assert_eq!((service.source.as_str(), service.reason.as_str()), ("postrider.fanout", "panic: \\0"));
        assert_eq!(service.producer, None);
        let broker = by(RawHeaders {
            by_our_user: true,
            first_death_reason: Some("delivery_limit".into()),
            first_death_queue: Some("postrider.lane.live".into()),
            ..RawHeaders::default()
        });
        assert_eq!(broker.source, "postrider.lane.live");
        assert_eq!(broker.reason, "put aside by the broker: delivery_limit");
    }

    #[test]
    fn headers_of_a_producer_change_neither_source_nor_reason() {
        let forged = || RawHeaders {
            first_death_queue: Some("postrider.lane.live".into()),
            first_death_reason: Some("rejected".into()),
            ..says("postrider.fanout", "panic: index out of bounds")
        };
        let letter = by(RawHeaders { original: keyed("ten_operator.a.b"), ..forged() });
        assert_eq!((letter.source.as_str(), letter.producer.as_deref()), ("postrider.intake", Some("ten_operator")));
        assert!(letter.reason.contains("unverified"), "{}", letter.reason);
        // A message with a tenant's routing key always counts as a producer's message, even if our user published it.
        let ours = by(RawHeaders { original: keyed("ten_operator.a.b"), by_our_user: true, ..forged() });
        assert_eq!((ours.source.as_str(), ours.reason.as_str()), ("postrider.intake", "panic: index out of bounds"));
        // If the routing key contains no tenant and our user did not publish the message, the source is unknown.
        let unknown = by(RawHeaders { original: keyed("live"), ..forged() });
        assert_eq!((unknown.source.as_str(), unknown.producer.as_deref()), ("unknown", Some("")));
        assert_eq!(Queue::requeue_target(&unknown.source, &unknown.routing_key), None);
        assert_eq!(by(RawHeaders::default()).source, "unknown");
    }

    #[test]
    fn a_large_message_of_a_producer_is_cut() {
        let body = |bytes: usize| Bytes::from(vec![b'x'; bytes]);
        let producers = RawHeaders { original: keyed("ten_operator.a"), ..RawHeaders::default() };
        let large = dead_letter(body(DEAD_LETTER_WHOLE_BYTES_MAX + 1), &producers);
        assert_eq!((large.body.len(), large.whole_bytes), (DEAD_LETTER_KEPT_BYTES, Some(256 * 1024 + 1)));
        let whole = dead_letter(body(DEAD_LETTER_WHOLE_BYTES_MAX), &producers);
        assert_eq!((whole.body.len(), whole.whole_bytes), (DEAD_LETTER_WHOLE_BYTES_MAX, None));
        // The header that marks a cut message is trusted if ingest wrote it, but not if a producer wrote it.
        let cut = ProducerMessage { headers: vec![(CUT_HEADER.into(), "9437184".into())], ..keyed("ten_operator.a") };
        let by_ingest = RawHeaders { by_our_user: true, original: cut.clone(), ..RawHeaders::default() };
        assert_eq!(dead_letter(body(9), &by_ingest).whole_bytes, Some(9_437_184));
        assert_eq!(dead_letter(body(9), &RawHeaders { original: cut, ..RawHeaders::default() }).whole_bytes, None);
        // A message of a service is never cut. It is never larger than an accepted event.
        let service = RawHeaders { by_our_user: true, ..says("postrider.fanout", "panic") };
        assert_eq!(dead_letter(body(DEAD_LETTER_WHOLE_BYTES_MAX + 1), &service).whole_bytes, None);
    }
}
