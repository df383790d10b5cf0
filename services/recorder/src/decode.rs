//! From messages to rows. Whatever cannot be read becomes a row of the dead letters, with the reason.

use bytes::Bytes;
use postrider_broker::{Queue, RawHeaders, RawMessage};
use postrider_model::time::UnixMillis;
use postrider_store::record::{DeadLetter, RecordBatch};
use postrider_wire::bundle::{self, DecodeError, Member};
use postrider_wire::messages::{AcceptedEvent, Decision, NumbersReport, OutcomeReport};

/// Adds what a message says to `rows`. Returns when the oldest of it happened.
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
        // Not consumed here.
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

/// An event, or what ingest says of the numbers of those before.
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

/// The row of a message that this recorder could not read.
pub(crate) fn unreadable(queue: Queue, body: Bytes, reason: &str) -> DeadLetter {
    let reason = reason.replace('\0', "\\0");
    DeadLetter {
        received_at: UnixMillis::now(),
        source: queue.name().into(),
        reason,
        body,
        headers: Vec::new(),
        routing_key: String::new(),
        content_type: Some(bundle::CONTENT_TYPE.into()),
        message_id: None,
    }
}

/// The row of a message that somebody put aside: a service, which said why, or the broker.
fn dead_letter(body: Bytes, headers: &RawHeaders) -> DeadLetter {
    let reason = match (&headers.reason, &headers.first_death_reason) {
        (Some(reason), _) => reason.clone(),
        (None, Some(by_broker)) => format!("put aside by the broker: {by_broker}"),
        (None, None) => "put aside without a reason".into(),
    };
    let source = headers.source.clone().or_else(|| headers.first_death_queue.clone());
    let original = &headers.original;
    DeadLetter {
        received_at: UnixMillis::now(),
        source: clean(&source.unwrap_or_else(|| "unknown".into())),
        reason: clean(&reason),
        body,
        headers: original.headers.iter().map(|(name, value)| (clean(name), clean(value))).collect(),
        routing_key: original.routing_key.clone(),
        content_type: original.content_type.clone(),
        message_id: original.message_id.clone(),
    }
}

/// PostgreSQL's text has no NUL.
fn clean(text: &str) -> String {
    text.replace('\0', "\\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(queue: Queue, body: &[u8]) -> RecordBatch {
        let mut rows = RecordBatch::default();
        decode_parts(queue, &Bytes::copy_from_slice(body), &RawHeaders::default(), &mut rows);
        rows
    }

    #[test]
    fn a_message_that_is_no_bundle_is_a_dead_letter_with_its_bytes() {
        let rows = decoded(Queue::Outcomes, b"nonsense");
        assert_eq!(rows.len(), 1);
        let letter = &rows.dead_letters[0];
        assert_eq!(letter.source, "postrider.outcomes");
        assert_eq!(letter.reason, "not a bundle");
        assert_eq!(&letter.body[..], b"nonsense");
    }

    #[test]
    fn one_unreadable_member_leaves_its_neighbours_alone() {
        let good = r#"{"event":"e1","event_day":20000,"tenant":"ten_operator","event_type":"a","accepted_at":1,
            "decided_at":2,"config_version":3,"matched":[],"expires_at":4}"#;
        let of = |head: &str| Member { head: Bytes::copy_from_slice(head.as_bytes()), payload: Bytes::new() };
        let rows = decoded(Queue::Decisions, &bundle::encode(&[of(good), of("{}"), of(good)]));
        assert_eq!((rows.decisions.len(), rows.dead_letters.len()), (2, 1));
        assert!(rows.dead_letters[0].reason.contains("missing field"), "{}", rows.dead_letters[0].reason);
        assert_eq!(bundle::decode(&rows.dead_letters[0].body).unwrap(), [of("{}")]);
    }

    #[test]
    fn a_dead_letter_says_who_put_it_aside_and_why() {
        let by = |headers: RawHeaders| dead_letter(Bytes::new(), &headers);
        let service = by(RawHeaders {
            reason: Some("panic: \0".into()),
            source: Some("postrider.fanout".into()),
            ..RawHeaders::default()
        });
        assert_eq!((service.source.as_str(), service.reason.as_str()), ("postrider.fanout", "panic: \\0"));
        let broker = by(RawHeaders {
            first_death_reason: Some("delivery_limit".into()),
            first_death_queue: Some("postrider.lane.live".into()),
            ..RawHeaders::default()
        });
        assert_eq!(broker.source, "postrider.lane.live");
        assert_eq!(broker.reason, "put aside by the broker: delivery_limit");
        assert_eq!(by(RawHeaders::default()).source, "unknown");
    }
}
