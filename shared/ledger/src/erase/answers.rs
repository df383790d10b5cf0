//! Finds attempts whose answer or request headers hold the value.

use postrider_model::erasure::{ErasureCondition, ErasureStage, TextMatch};
use postrider_store::erasures::{AnswerRow, AttemptHit, ClaimedErasure, ErasureStep, Examined, Hits, StepEnd};
use postrider_store::{Store, StoreError};

use super::off_thread;

pub(super) async fn search(
    store: &Store,
    claimed: &ClaimedErasure,
    condition: ErasureCondition,
) -> Result<ErasureStep, StoreError> {
    let read = store.erasure_answers(&claimed.erasure, claimed.position.clone()).await?;
    let answers = read.answers;
    let hits = off_thread(move || answers.iter().filter_map(|answer| hit(answer, condition.text())).collect()).await?;
    let next_stage = || StepEnd::Stage(ErasureStage::DeadLetters);
    Ok(ErasureStep {
        hits: Hits::Attempts(hits),
        examined: Examined { deliveries: read.deliveries, ..Examined::default() },
        reached_at: None,
        end: read.next.map_or_else(next_stage, |next| StepEnd::Continue(Some(next))),
    })
}

fn hit(answer: &AnswerRow, text: &TextMatch) -> Option<AttemptHit> {
    let in_request = text.is_in(answer.request_headers.as_bytes());
    let others = [answer.response_headers.as_deref(), answer.error.as_deref()];
    let in_answer =
        text.is_in(&answer.response_excerpt) || others.into_iter().flatten().any(|other| text.is_in(other.as_bytes()));
    let AnswerRow { delivery_id, delivery_day, send_id, .. } = *answer;
    (in_request || in_answer).then_some(AttemptHit { delivery: delivery_id, delivery_day, send_id, in_request })
}
