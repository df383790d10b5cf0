//! Retries or cancels all deliveries that match the filter of the list, in steps.
//!
//! `GET` counts the deliveries and asks. Each `POST` changes up to [`STEP`] deliveries and shows how far it is, with a form for
//! the next step, which a script sends. A visitor who leaves the page stops it: what was changed until then stays changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::delivery::DeliveryStatus;
use postrider_model::time::UnixMillis;
use postrider_operations::Error;
use postrider_operations::deliveries::{DeliveryFilter, DeliveryPhase, MatchingCounts, SeveralAction};
use tokio::time::Instant;

use crate::Dashboard;
use crate::components::{Confirmation, is_filtered, time};
use crate::deliveries::read_filter;
use crate::failure::Answer;
use crate::fields::{Fields, NOTICE, RESULT, Sent};
use crate::format::count;
use crate::language::{english, t, tm};
use crate::page::{Managed, Page};

/// The number of deliveries that a step changes at most. A step consists of several calls of the operation.
const STEP: u64 = 200;
/// A step ends after this time, even if it has changed fewer deliveries: most that match may be left out.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);
/// The field with the time of the question. Deliveries that were created later are not changed.
const UNTIL: &str = "until";
/// The field with the query of the list.
const BACK: &str = "back";
/// The fields that later steps show: the number of deliveries counted at first, changed so far, and not changed so far.
const TOTAL: &str = "total";
const DONE: &str = "done";
const LEFT: &str = "left";

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/matching-deliveries/retry", get(ask_retry).post(retry))
        .route("/dashboard/{tenant}/matching-deliveries/cancel", get(ask_cancel).post(cancel))
}

/// The links to the questions, for a filtered list.
pub(crate) fn links(page: &Page) -> Markup {
    let query = &page.visitor.query;
    let to = |action| page.to(format!("{}?{}", at(action), query.without(&["cursor", "order", NOTICE, RESULT])));
    html! { @if is_filtered(query) {
        @if may_be_retried(query) { a.button href=(to(SeveralAction::Retry)) { (t!("Retry all that match…")) } }
        @if may_be_pending(query) { a.button.danger href=(to(SeveralAction::Cancel)) { (t!("Cancel all that match…")) } }
    } }
}

/// Whether the filter of the list can have pending deliveries, which are the ones that can be cancelled.
fn may_be_pending(list: &Fields) -> bool {
    let status = list.get("status");
    status.parse().map_or(true, |status: DeliveryStatus| status == DeliveryStatus::Pending)
}

/// Whether the filter of the list can have deliveries that can be retried. Those of paused webhooks cannot.
fn may_be_retried(list: &Fields) -> bool {
    list.get("status").parse().ok() != Some(DeliveryPhase::Paused)
}

fn at(action: SeveralAction) -> &'static str {
    match action {
        SeveralAction::Retry => "/matching-deliveries/retry",
        SeveralAction::Cancel => "/matching-deliveries/cancel",
    }
}

async fn ask_retry(Managed(page): Managed<Page>) -> Answer<Response> {
    ask(&page, SeveralAction::Retry).await
}

async fn ask_cancel(Managed(page): Managed<Page>) -> Answer<Response> {
    ask(&page, SeveralAction::Cancel).await
}

async fn retry(Managed(page): Managed<Page>, Sent(fields): Sent) -> Answer {
    step(&page, SeveralAction::Retry, &fields).await
}

async fn cancel(Managed(page): Managed<Page>, Sent(fields): Sent) -> Answer {
    step(&page, SeveralAction::Cancel, &fields).await
}

/// The filter of the list, for deliveries that were created before `until`.
fn filter_of(list: &Fields, until: UnixMillis) -> Result<DeliveryFilter, Error> {
    let mut filter = read_filter(list, until)?;
    filter.to = Some(filter.to.map_or(until, |to| to.min(until)));
    Ok(filter)
}

/// `GET …/matching-deliveries/…?<filter>`: counts and asks. A form that an ended session interrupted is asked again with its filter.
async fn ask(page: &Page, action: SeveralAction) -> Answer<Response> {
    let restored = page.visitor.restored();
    let list = restored.map_or_else(|| page.visitor.query.clone(), |form| Fields::read(form.get(BACK).as_bytes()));
    // Without a filter this would be the whole history. A browser gets here on a reload after the result of a step has expired.
    if !is_filtered(&list) {
        return Ok(Redirect::to(&page.to("/deliveries")).into_response());
    }
    let until = UnixMillis::now();
    let back = list_address(page, &list);
    if action == SeveralAction::Cancel && !may_be_pending(&list) {
        return Ok(nothing(page, action, &back).into_response());
    }
    let counts = page.operations.count_matching(page.caller, action, &filter_of(&list, until)?).await?;
    let MatchingCounts { pending, ended, more, .. } = counts;
    let number = pending + ended;
    if number == 0 && !more {
        return Ok(nothing(page, action, &back).into_response());
    }
    let (title, button) = match action {
        SeveralAction::Retry if more => (t!("Retry all deliveries that match?"), t!("Retry deliveries")),
        SeveralAction::Cancel if more => (t!("Cancel all deliveries that match?"), t!("Cancel deliveries")),
        SeveralAction::Retry => {
            (t!(number, "Retry {count} delivery?", "Retry {count} deliveries?"), t!("Retry deliveries"))
        }
        SeveralAction::Cancel => {
            (t!(number, "Cancel {count} delivery?", "Cancel {count} deliveries?"), t!("Cancel deliveries"))
        }
    };
    let consequences = html! {
        p { (tm!("All that match the filter and were created before {time}.", time = time(until.into()))) }
        (consequences(action, counts))
        @if more { p.warning { (t!("More may match: this is the number among the newest deliveries that were counted. The following ones are included.")) } }
        p.hint { (t!("They are handled in steps of {count}. You can stop after each one; what was done until then stays done.", count = STEP)) }
    };
    let address = page.to(at(action));
    let confirmation = Confirmation { title: &title, consequences, action: &address, button: &button, back: &back };
    let hidden = hidden(&list, until, &Progress { total: if more { 0 } else { number }, done: 0, left: 0 }, None);
    Ok(page.show(&title, confirmation.ask(&page.visitor.tokens, &hidden)).into_response())
}

fn consequences(action: SeveralAction, counts: MatchingCounts) -> Markup {
    let MatchingCounts { pending, ended, delivered, .. } = counts;
    match action {
        SeveralAction::Cancel => html! { p {
            (t!("Pending deliveries are not attempted again. Finished deliveries do not change.")) " "
            (t!("The {webhooks} do not receive these events unless you send them again."))
        } },
        SeveralAction::Retry => html! { ul {
            @if pending > 0 { li { (t!(
                pending,
                "{count} pending delivery is attempted now.",
                "{count} pending deliveries are attempted now."
            )) } }
            @if ended > 0 { li {
                (t!(
                    ended,
                    "{count} finished delivery is sent again, as a new delivery.",
                    "{count} finished deliveries are sent again, as new deliveries.",
                ))
                @if delivered > 0 { " " strong { (t!("They had been delivered: the {webhooks} receive these events again.")) } }
            } }
            li { (t!("An event that was sent to the {webhook} again since is left out.")) }
            @if delivered == 0 { li { (t!("Delivered ones are left out.")) } }
        } },
    }
}

fn nothing(page: &Page, action: SeveralAction, back: &str) -> Markup {
    let why = match action {
        SeveralAction::Retry => t!("No delivery that matches can be retried: delivered ones and tests are left out."),
        SeveralAction::Cancel => t!("No delivery that matches is pending. Only pending deliveries can be cancelled."),
    };
    let title = t!("Nothing to change");
    page.show(&title, html! { h1 { (title) } p { (why) } p { a.button href=(back) { (t!("Back to the list")) } } })
}

/// How far the steps are, in numbers of deliveries.
struct Progress {
    /// All; 0 if it is not known.
    total: u64,
    /// Changed.
    done: u64,
    /// Not changed, with a reason.
    left: u64,
}

/// The fields of the form for the next step.
fn hidden(list: &Fields, until: UnixMillis, progress: &Progress, cursor: Option<&str>) -> Markup {
    html! {
        input type="hidden" name=(BACK) value=(list.without(&["cursor", "order", NOTICE, RESULT]));
        input type="hidden" name=(UNTIL) value=(until.to_rfc3339_millis());
        input type="hidden" name=(TOTAL) value=(progress.total);
        input type="hidden" name=(DONE) value=(progress.done);
        input type="hidden" name=(LEFT) value=(progress.left);
        @if let Some(cursor) = cursor { input type="hidden" name="cursor" value=(cursor); }
    }
}

/// The address of the list with the filter.
fn list_address(page: &Page, list: &Fields) -> String {
    page.to(format!("/deliveries?{}", list.without(&["cursor", NOTICE, RESULT])))
}

/// `POST …/matching-deliveries/…`: changes the next deliveries.
async fn step(page: &Page, action: SeveralAction, fields: &Fields) -> Answer {
    let list = Fields::read(fields.get(BACK).as_bytes());
    if !is_filtered(&list) {
        return Err(Error::invalid(BACK, "the filter is missing; start from a filtered list of deliveries").into());
    }
    let until = fields.get(UNTIL).parse().map_err(|error| Error::invalid(UNTIL, format!("{error}")))?;
    let filter = filter_of(&list, until)?;
    let mut cursor = fields.optional("cursor");
    let number = |name| fields.get(name).parse::<u64>().unwrap_or_default();
    let mut progress = Progress { total: number(TOTAL), done: number(DONE), left: number(LEFT) };
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    let (mut seen, ends) = (0, Instant::now() + STEP_TIME_MAX);
    loop {
        let changed = match page.operations.change_matching(page.caller, action, &filter, cursor.as_deref()).await {
            // The changes are used up for now. What this step has changed is shown; the next step continues.
            Err(Error::TooMany { .. }) if seen > 0 || cursor != fields.optional("cursor") => break,
            changed => changed?,
        };
        let not = changed.refused.len() as u64;
        changed.refused.into_iter().for_each(|one| *refused.entry(one.detail).or_default() += 1);
        (progress.done, progress.left, cursor) =
            (progress.done + changed.changed, progress.left + not, changed.next_cursor);
        seen += changed.changed + not;
        if cursor.is_none() || seen >= STEP || Instant::now() >= ends {
            break;
        }
    }
    Ok(result(page, action, &Step { list, until, progress, cursor, refused }))
}

/// What a step has done.
struct Step {
    list: Fields,
    until: UnixMillis,
    progress: Progress,
    /// The cursor of the next step, if there is one.
    cursor: Option<String>,
    /// The number of deliveries that this step did not change, by reason.
    refused: BTreeMap<String, u64>,
}

fn result(page: &Page, action: SeveralAction, step: &Step) -> Markup {
    let Progress { total, done, left } = step.progress;
    let title = match action {
        SeveralAction::Retry => t!(done, "{count} delivery retried", "{count} deliveries retried"),
        SeveralAction::Cancel => t!(done, "{count} delivery cancelled", "{count} deliveries cancelled"),
    };
    let back = list_address(page, &step.list);
    let content = html! {
        h1 { (title) }
        @if step.cursor.is_some() && total > 0 {
            div.progress {
                label for="progress" { (t!("{done} of {total}", done = count(done + left), total = count(total))) }
                progress #progress value=(done + left) max=(total) {}
            }
        }
        @if left > 0 { p { (t!(left, "{count} delivery was not changed.", "{count} deliveries were not changed.")) } }
        @for (reason, number) in &step.refused {
            section.panel { p.long {
                strong { (t!(*number, "{count} of this step:", "{count} of this step:")) } " " (english(reason)) "."
            } }
        }
        @if let Some(cursor) = &step.cursor {
            p { (t!("More may match. The next step follows by itself while this page is open.")) }
            form.buttons method="post" action=(page.to(at(action))) data-submit="1000" {
                (page.visitor.tokens)
                (hidden(&step.list, step.until, &step.progress, Some(cursor)))
                button.primary type="submit" { (t!("Continue")) }
                a.button href=(back) { (t!("Stop here")) }
            }
        } @else { p { a.button.primary href=(back) { (t!("Back to the list")) } } }
    };
    page.show(&title, content)
}
