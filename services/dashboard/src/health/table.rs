//! The figures of the charts as a table.

use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_operations::stats::{Figures, Interval, IntervalLength, Stats};
use postrider_profiles::Promise;

use super::charts::no_response;
use crate::components::latency;
use crate::format::{count, percent};
use crate::language::{key, t, text};
use crate::page::Page;

/// The name of a column, and the function that formats its value for an interval.
type FiguresColumn = (&'static str, fn(&Figures) -> String);

/// The columns, except the first column, which has the start of the interval, and those of the promise.
const COLUMNS: [FiguresColumn; 12] = [
    (key!("Attempts"), |figures| count(figures.attempts)),
    (key!("Failed"), |figures| count(figures.failures)),
    (key!("Succeeded"), |figures| percent(figures.success_rate)),
    (key!("Median"), |figures| latency(figures, |ms| ms.p50)),
    ("95 %", |figures| latency(figures, |ms| ms.p95)),
    ("99 %", |figures| latency(figures, |ms| ms.p99)),
    ("2xx", |figures| count(figures.status_classes.ok)),
    ("3xx", |figures| count(figures.status_classes.redirected)),
    ("4xx", |figures| count(figures.status_classes.refused)),
    ("5xx", |figures| count(figures.status_classes.broken)),
    (key!("No response"), |figures| count(no_response(figures))),
    (key!("Retries"), |figures| count(figures.retries)),
];

/// The columns of what the product promises.
fn promise_columns(promise: Promise) -> impl Iterator<Item = FiguresColumn> {
    let within_5s: FiguresColumn = (key!("Within 5 s"), |figures| percent(figures.promise.within_5s));
    let within_30s: FiguresColumn = (key!("Within 30 s"), |figures| percent(figures.promise.within_30s));
    promise.within_5s.then_some(within_5s).into_iter().chain(promise.within_30s.then_some(within_30s))
}

/// The figures, newest first. Each row leads to the deliveries that were created in its interval. `endpoint` is the id of the webhook
/// that the visitor chose; empty for all webhooks.
pub(super) fn figures_table(page: &Page, found: &Stats, endpoint: &str) -> Markup {
    let (caption, hint) = match found.by {
        IntervalLength::Minute => {
            (t!("Figures by minute"), t!("The time of a row leads to the deliveries that were created in that minute."))
        }
        IntervalLength::Hour => {
            (t!("Figures by hour"), t!("The time of a row leads to the deliveries that were created in that hour."))
        }
        IntervalLength::Day => {
            (t!("Figures by day"), t!("The time of a row leads to the deliveries that were created in that day."))
        }
    };
    let columns: Vec<FiguresColumn> = COLUMNS.into_iter().chain(promise_columns(page.profile.promise)).collect();
    html! {
        details { summary { (t!("Show as a table")) }
            p.hint { (hint) }
            div.table-scroll tabindex="0" role="region" aria-label=(t!("Figures by time")) {
                table.plain.figures {
                    caption.unseen { (caption) }
                    thead { tr { th scope="col" { (t!("From")) } @for (name, _) in &columns { th.number scope="col" { (text(name)) } } } }
                    tbody { @for interval in found.data.iter().rev() { tr {
                        th scope="row" { (start(found.by, interval, endpoint)) }
                        @for (_, value) in &columns { td { (value(&interval.figures)) } }
                    } } }
                }
            }
        }
    }
}

/// The start of an interval, as a link to the deliveries that were created in it. A day is in UTC, because its figures are.
fn start(by: IntervalLength, interval: &Interval, endpoint: &str) -> Markup {
    let (from, to) = (interval.at.0, UnixMillis(interval.at.0.0 + by.millis()));
    let (from, to) = (from.to_rfc3339_seconds(), to.to_rfc3339_seconds());
    let webhook = if endpoint.is_empty() { String::new() } else { format!("endpoint_id={endpoint}&") };
    let is_day = by == IntervalLength::Day;
    let text = if is_day { from.get(..10) } else { from.get(..16) }.unwrap_or_default().replace('T', " ");
    // The address is relative to that of this page, because a table of a week has many rows.
    html! { a href={ "deliveries?" (webhook) "from=" (from) "&to=" (to) } {
        time datetime=(from) data-day=[is_day.then_some(&from)] { (text) " UTC" }
    } }
}
