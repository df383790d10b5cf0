//! The health of webhooks: attempts as figures and charts, failures by cause, and the webhooks with the lowest success rates.

mod charts;
mod kept;
mod table;
mod worst;

use std::sync::Arc;

use axum::routing::get;
use axum::{Extension, Router};
use maud::{Markup, html};
use postrider_operations::failures::Failures;

use self::charts::charts;
use self::kept::{Found, KeptFigures};
use self::table::figures_table;
use self::worst::worst_webhooks;
use crate::Dashboard;
use crate::components::{RANGES, Range, WebhookOptions, cause_table, choice_filter, empty, options, tiles, time};
use crate::failure::Answer;
use crate::language::{t, text, tm};
use crate::page::Page;

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route("/dashboard/{tenant}/health", get(show)).layer(Extension(KeptFigures::default()))
}

/// `GET …/health`
async fn show(Extension(kept): Extension<KeptFigures>, page: Page) -> Answer {
    let query = &page.visitor.query;
    let (range, endpoint) = (Range::named(query.get("range")), query.get("endpoint_id"));
    let read = kept.read(&page, endpoint, &range).await?;
    let Found { stats: found, failures, worst, read_at } = &*read;
    let worst = worst_webhooks(&page, worst, &range).await?;
    let is_kept = endpoint.is_empty() && range.is_long();
    let choices = if page.visitor.live {
        html! {}
    } else {
        choices(&page, endpoint, &range).await?
    };
    let every = if range.is_by_minute() { "10000" } else { "60000" };
    let older_failures = !range.is_by_minute() && failures.attempts < found.total.failures;
    let content = html! {
        h1 { (t!("Health")) }
        (choices)
        section #health aria-label=(t!("Figures")) data-live data-every=(every) {
            (tiles(&found.total, page.profile.promise))
            @if found.total.attempts == 0 { (no_attempts(&page)) } @else {
                (charts(found, (!range.is_by_minute()).then_some(failures), page.profile.promise))
                (figures_table(&page, found, endpoint))
            }
            (causes(&page, failures, &range, endpoint))
            @if older_failures { p.hint { (t!("The causes of older failures were not recorded.")) } }
            (worst)
            @if is_kept { p.hint { (tm!("Read {time}; renewed every 5 minutes.", time = time((*read_at).into()))) } }
        }
    };
    Ok(page.show(&t!("Health"), content))
}

/// The form that chooses a webhook and a range of time.
async fn choices(page: &Page, endpoint: &str, range: &Range) -> Answer {
    let webhooks = WebhookOptions::load(page, endpoint).await?;
    Ok(html! { form.filter-bar method="get" action=(page.visitor.path) role="search" aria-label=(t!("Health")) {
        (choice_filter("q-endpoint", "endpoint_id", &t!("{Webhook}"), webhooks.show(endpoint, &t!("All {webhooks}"))))
        (choice_filter("q-range", "range", &t!("Time"), options(range.name, RANGES.map(|range| (range.name, text(range.label))))))
        div.buttons { button type="submit" { (t!("Show")) } }
    } })
}

fn no_attempts(page: &Page) -> Markup {
    let next = html! { p {
        (tm!(
            "Choose a longer time, or {link} (tests are in the history, but not in these figures).",
            link = html! { a href=(page.to("/webhooks")) { (t!("send a test")) } }
        ))
    } };
    empty(&t!("No attempts in this time"), next)
}

/// The section with the causes of failures. It is left out if no attempt failed.
fn causes(page: &Page, failures: &Failures, range: &Range, endpoint: &str) -> Markup {
    html! { @if !failures.causes.is_empty() {
        h2 #failures { (t!("Failures by cause")) }
        @if range.is_by_minute() {
            p { (tm!("Causes are counted by the hour: these are the failures since {time}.", time = time(failures.from))) }
        }
        (cause_table(page, failures, endpoint))
    } }
}
