//! The health of webhooks: attempts as figures and charts, failures by cause, and the webhooks with the lowest success rates.

mod charts;
mod table;
mod worst;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use postrider_operations::failures::Failures;
use postrider_operations::stats::{Stats, StatsQuery};

use self::charts::charts;
use self::table::figures_table;
use self::worst::worst_webhooks;
use crate::Dashboard;
use crate::components::{
    RANGES, Range, WebhookOptions, cause_table, choice_filter, empty, failures_query, options, tiles, time,
};
use crate::failure::Answer;
use crate::language::{t, text, tm};
use crate::page::Page;

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route("/dashboard/{tenant}/health", get(show))
}

/// `GET …/health`
async fn show(page: Page) -> Answer {
    let query = &page.visitor.query;
    let (range, endpoint) = (Range::named(query.get("range")), query.get("endpoint_id"));
    // The three sections are read at the same time, because each scans the hours of all webhooks.
    let asked = range.query();
    let (found, failures, worst) = tokio::try_join!(
        stats(&page, endpoint, &asked),
        failures(&page, endpoint, failures_query(asked)),
        worst_webhooks(&page, endpoint, &range, &asked)
    )?;
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
                (charts(&found, (!range.is_by_minute()).then_some(&failures), page.profile.promise))
                (figures_table(&page, &found, endpoint))
            }
            (causes(&page, &failures, &range, endpoint))
            @if older_failures { p.hint { (t!("The causes of older failures were not recorded.")) } }
            (worst)
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

async fn stats(page: &Page, endpoint: &str, query: &StatsQuery) -> Answer<Stats> {
    Ok(match endpoint {
        "" => page.operations.tenant_stats(page.caller, query).await?,
        endpoint => page.operations.endpoint_stats(page.caller, endpoint, query).await?,
    })
}

async fn failures(page: &Page, endpoint: &str, query: StatsQuery) -> Answer<Failures> {
    Ok(match endpoint {
        "" => page.operations.tenant_failures(page.caller, &query).await?,
        endpoint => page.operations.endpoint_failures(page.caller, endpoint, &query).await?,
    })
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
