//! The HTTP routes: `POST /v1/publish` and `POST /v1/publish/batch`.

pub(crate) mod bodies;
pub(crate) mod sender;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::stream::{FuturesOrdered, StreamExt};
use postrider_http::json;
use postrider_http::problem::{Problem, check_content_encoding};
use postrider_model::ids::TenantId;
use postrider_model::limits::{BATCH_BYTES_MAX, EVENT_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX};
use postrider_telemetry::spans;
use postrider_telemetry::trace_context::{TRACEPARENT, TraceContext};
use postrider_wire::http::{PublishBatch, PublishBatchItem, PublishBatchResult, PublishReceipt};
use serde::Serialize;
use serde_json::value::to_raw_value;
use tracing::{Instrument, Span};

use crate::Ingest;
use crate::accept::Accepted;
use crate::admission::Admission;
use crate::event::Event;
use crate::event::cloudevents::{self, unquoted};
use crate::event::json::{Source, check_batch_length, read_event, refuse_array};
use crate::http::sender::Sender;
use crate::metrics;
use crate::refused::Refused;

/// The route for one event.
pub(crate) const PUBLISH: &str = "/v1/publish";
/// The route for several events.
pub(crate) const PUBLISH_BATCH: &str = "/v1/publish/batch";

/// Returns the response for an accepted event.
fn receipt(accepted: &Accepted) -> PublishReceipt<'_> {
    PublishReceipt { id: accepted.id.as_str(), duplicate: accepted.duplicate, warnings: &accepted.warnings }
}

/// Returns the result for one event of a batch. Counts the result if it is a refusal with 429.
fn result(accepted: &Result<Accepted, Refused>) -> Result<PublishBatchItem<'_>, Problem> {
    Ok(match accepted {
        Ok(accepted) => PublishBatchItem::Accepted(receipt(accepted)),
        Err(refused) => {
            if matches!(refused, Refused::Limited { .. }) {
                metrics::limited();
            }
            let problem = Problem::from(refused.clone());
            PublishBatchItem::Refused { error: to_raw_value(&problem).map_err(|_| Problem::internal())? }
        }
    })
}

pub(crate) async fn publish(
    State(ingest): State<Arc<Ingest>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let span = spans::request("POST", PUBLISH, incoming(&headers));
    observed(span, publish_one(&ingest, &uri, &headers, body)).await
}

pub(crate) async fn publish_batch(
    State(ingest): State<Arc<Ingest>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let span = spans::request("POST", PUBLISH_BATCH, incoming(&headers));
    observed(span, publish_many(&ingest, &uri, &headers, body)).await
}

async fn publish_one(ingest: &Ingest, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let sender = open(ingest, uri, headers)?;
    // A request for one tenant is admitted before its body is read, so that a flood of requests is refused without reading the
    // bodies.
    let admitted = match sender.named() {
        Some(tenant) => Some(ingest.gate.admit_request(tenant, 1)?),
        None => None,
    };
    let key = idempotency_key(headers)?;
    let body = ingest.bodies.read(sender.payer(), headers, body, EVENT_BYTES_MAX).await?;
    let event = match cloudevents::over_http(headers)? {
        None => {
            refuse_array(&body, "several events go to POST /v1/publish/batch as {\"events\": [...]}")?;
            read_event(&sender, &body, Source::Http { key: key.as_deref() })?
        }
        Some(_) if key.is_some() => {
            let detail = "leave out the Idempotency-Key header: the id of a CloudEvent has the same effect";
            return Err(Problem::bad_request(detail));
        }
        Some(form) => form.read(&sender, &body)?,
    };
    let admission = match admitted {
        Some(admission) => admission,
        None => ingest.gate.admit_request(event.tenant, 1)?,
    };
    let accepted = ingest.accepter.accept(&admission, event, trace(headers)).await?;
    respond(&receipt(&accepted))
}

async fn publish_many(ingest: &Ingest, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let sender = open(ingest, uri, headers)?;
    if headers.contains_key("idempotency-key") {
        let detail = "a batch takes idempotency_key in each event, not the Idempotency-Key header";
        return Err(Problem::bad_request(detail));
    }
    let body = ingest.bodies.read(sender.payer(), headers, body, BATCH_BYTES_MAX).await?;
    refuse_array(&body, "send {\"events\": [...]}")?;
    let batch: PublishBatch<'_> = json::read_json(&body)?;
    check_batch_length(batch.events.len())?;
    let admitted = match sender.named() {
        Some(tenant) => Some(ingest.gate.admit_request(tenant, batch.events.len())?),
        None => None,
    };
    let events = batch.events.iter().map(|json| read_event(&sender, json.get().as_bytes(), Source::HttpBatch));
    let events: Vec<_> = events.collect();
    let admissions = match admitted {
        Some(admission) => HashMap::from([(admission.tenant.id, Ok(admission))]),
        None => admit_each(ingest, &events),
    };
    let trace = trace(headers);
    let accepting: FuturesOrdered<_> =
        events.into_iter().map(|event| accept_member(ingest, &admissions, event, trace)).collect();
    let results: Vec<Result<Accepted, Refused>> = accepting.collect().await;
    let results = results.iter().map(result).collect::<Result<_, _>>()?;
    respond(&PublishBatchResult { results })
}

/// Checks a request before its body is read, and returns its sender.
fn open<'a>(ingest: &'a Ingest, uri: &Uri, headers: &HeaderMap) -> Result<Sender<'a>, Problem> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let sender = Sender::of(&ingest.gate.directory, authorization, uri.query())?;
    check_content_encoding(headers)?;
    ingest.gate.check_open()?;
    Ok(sender)
}

/// Admits a batch whose events specify their own tenants. Each tenant is charged for its own events. If a tenant is refused,
/// the events of the other tenants are not affected.
fn admit_each(ingest: &Ingest, events: &[Result<Event<'_>, Refused>]) -> HashMap<TenantId, Result<Admission, Refused>> {
    let mut counts = BTreeMap::<TenantId, usize>::new();
    for event in events.iter().flatten() {
        *counts.entry(event.tenant).or_default() += 1;
    }
    counts.into_iter().map(|(tenant, count)| (tenant, ingest.gate.admit_request(tenant, count))).collect()
}

async fn accept_member(
    ingest: &Ingest,
    admissions: &HashMap<TenantId, Result<Admission, Refused>>,
    event: Result<Event<'_>, Refused>,
    trace: TraceContext,
) -> Result<Accepted, Refused> {
    let event = event?;
    // `admissions` contains a result for the tenant of every event.
    let admission = admissions.get(&event.tenant).ok_or(Refused::Internal)?;
    ingest.accepter.accept(admission.as_ref().map_err(Clone::clone)?, event, trace).await
}

/// Returns the idempotency key in the header, either plain or a quoted string (as in the IETF draft). `Q` and `"Q"` are the
/// same key.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().map(|text| match unquoted(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
    });
    match key {
        Some(key) if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key)),
        _ => Err(Problem::bad_request(format!(
            "Idempotency-Key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters"
        ))),
    }
}

/// Returns the `traceparent` of the request.
fn incoming(headers: &HeaderMap) -> Option<&str> {
    headers.get(TRACEPARENT).and_then(|value| value.to_str().ok())
}

/// Returns the trace to which the events of the request belong: the trace of the current span if spans are exported, otherwise
/// the producer's trace, otherwise a new trace.
fn trace(headers: &HeaderMap) -> TraceContext {
    TraceContext::onward(&Span::current(), incoming(headers))
}

/// Runs `answering` within `span`, records the status of the response in the span, and counts a 429.
async fn observed(span: Span, answering: impl Future<Output = Result<Response, Problem>>) -> Result<Response, Problem> {
    let answer = answering.instrument(span.clone()).await;
    let status = answer.as_ref().map_or_else(|problem| problem.status, |response| response.status().as_u16());
    spans::answered(&span, status);
    if status == StatusCode::TOO_MANY_REQUESTS.as_u16() {
        metrics::limited();
    }
    answer
}

fn respond(answer: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(answer).map_err(|_| Problem::internal())?;
    Ok((StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_double_quotes_is_the_key_between_them() {
        let check = |written: &'static str, expected: Option<&str>| {
            let headers: HeaderMap =
                [("idempotency-key".parse().unwrap(), written.parse().unwrap())].into_iter().collect();
            let key = idempotency_key(&headers).ok().flatten();
            assert_eq!(key.as_deref(), expected, "{written}");
        };
        check("Q", Some("Q"));
        check("\"Q\"", Some("Q"));
        check(r#""a\"b""#, Some("a\"b"));
        check("\"Q", Some("\"Q"));
        check("\"\"", None);
        check("", None);
    }
}
