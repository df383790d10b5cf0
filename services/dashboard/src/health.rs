//! The health of webhooks: attempts as figures and charts.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_operations::stats::{Figures, IntervalLength, LatencyMs, Stats};

use crate::Dashboard;
use crate::components::{
    Axis, Chart, Kind, RANGES, Range, Series, WebhookOptions, choice_filter, empty, latency, options, tiles, time,
};
use crate::failure::Answer;
use crate::format::{count, duration, percent};
use crate::page::Page;

/// The name of a column, and the function that formats its value for an interval.
type FiguresColumn = (&'static str, fn(&Figures) -> String);

/// The columns of the table of figures, except the first column, which has the start of the interval.
const COLUMNS: [FiguresColumn; 13] = [
    ("Attempts", |figures| count(figures.attempts)),
    ("Succeeded", |figures| percent(figures.success_rate)),
    ("Median", |figures| latency(figures, |ms| ms.p50)),
    ("95 %", |figures| latency(figures, |ms| ms.p95)),
    ("99 %", |figures| latency(figures, |ms| ms.p99)),
    ("2xx", |figures| count(figures.status_classes.ok)),
    ("3xx", |figures| count(figures.status_classes.redirected)),
    ("4xx", |figures| count(figures.status_classes.refused)),
    ("5xx", |figures| count(figures.status_classes.broken)),
    ("No response", |figures| count(no_response(figures))),
    ("Within 5 s", |figures| percent(figures.promise.within_5s)),
    ("Within 30 s", |figures| percent(figures.promise.within_30s)),
    ("Retries", |figures| count(figures.retries)),
];

/// Counts attempts without a response, and attempts whose status code is outside 200 to 599.
fn no_response(figures: &Figures) -> u64 {
    figures.status_classes.none + figures.status_classes.other
}

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route("/dashboard/{tenant}/health", get(show))
}

/// `GET …/health`
async fn show(page: Page) -> Answer {
    let query = &page.visitor.query;
    let (range, endpoint) = (Range::named(query.get("range")), query.get("endpoint_id"));
    let found = match endpoint {
        "" => page.operations.tenant_stats(page.caller, &range.query()).await?,
        endpoint => page.operations.endpoint_stats(page.caller, endpoint, &range.query()).await?,
    };
    let webhooks = WebhookOptions::load(&page, endpoint).await?;
    let content = html! {
        h1 { "Health" }
        form.filter-bar method="get" action=(page.visitor.path) role="search" aria-label="Health" {
            (choice_filter("q-endpoint", "endpoint_id", "Webhook", webhooks.show(endpoint, "All webhooks")))
            (choice_filter("q-range", "range", "Time", options(range.name, RANGES.map(|range| (range.name, range.label)))))
            div.buttons { button type="submit" { "Show" } }
        }
        section #health aria-label="Figures" data-live data-every="10000" {
            (tiles(&found.total))
            @if found.total.attempts == 0 { (no_attempts(&page)) } @else { (charts(&found)) (figures_table(&found)) }
        }
    };
    Ok(page.show("Health", content))
}

fn no_attempts(page: &Page) -> Markup {
    let next = html! { p {
        "Choose a longer time, or " a href=(page.to("/webhooks")) { "send a test" }
        " (tests are in the history, but not in these figures)."
    } };
    empty("No attempts in this time", next)
}

/// All intervals of a range, with their figures. The figures of an interval without attempts are `None`.
struct Timeline<'a> {
    times: Vec<Timestamp>,
    figures: Vec<Option<&'a Figures>>,
}

impl<'a> Timeline<'a> {
    fn of(found: &'a Stats) -> Self {
        let known: HashMap<Timestamp, &Figures> =
            found.data.iter().map(|interval| (interval.at, &interval.figures)).collect();
        let starts = (found.from.0.0..found.to.0.0).step_by(found.by.millis().try_into().unwrap_or(usize::MAX));
        let times: Vec<Timestamp> = starts.map(|start| Timestamp(UnixMillis(start))).collect();
        let figures = times.iter().map(|time| known.get(time).copied()).collect();
        Self { times, figures }
    }

    fn series(&self, name: &'static str, class: &'static str, value: impl Fn(&Figures) -> Option<f64>) -> Series {
        Series { name, class, values: self.figures.iter().map(|figures| figures.and_then(&value)).collect() }
    }

    fn counts(&self, name: &'static str, class: &'static str, value: fn(&Figures) -> u64) -> Series {
        self.series(name, class, |figures| Some(value(figures) as f64))
    }

    fn latency(&self, name: &'static str, class: &'static str, pick: fn(&LatencyMs) -> f64) -> Series {
        self.series(name, class, |figures| figures.latency_ms.as_ref().map(pick))
    }

    fn percent(&self, name: &'static str, class: &'static str, share: fn(&Figures) -> Option<f64>) -> Series {
        self.series(name, class, |figures| share(figures).map(|share| share * 100.0))
    }

    fn chart<const N: usize>(&self, id: &'static str, title: &'static str, axis: Axis, series: [Series; N]) -> Markup {
        Chart { id, title, axis, times: &self.times, series: series.into() }.draw()
    }
}

fn charts(found: &Stats) -> Markup {
    let line = Timeline::of(found);
    let unit = match found.by {
        IntervalLength::Minute => "attempts a minute",
        IntervalLength::Hour => "attempts an hour",
        IntervalLength::Day => "attempts a day",
    };
    let counts = Axis { kind: Kind::Bars, unit, show: number, min: 1.0 };
    let time = Axis { kind: Kind::Lines, unit: "time", show: duration, min: 1.0 };
    let share = |unit, min| Axis { kind: Kind::Lines, unit, show: small_percent, min };
    html! { div.charts {
        (line.chart("attempts", "Attempts", counts, [
            line.counts("succeeded", "c-good", |figures| figures.successes),
            line.counts("failed", "c-bad", |figures| figures.failures),
        ]))
        (line.chart("latency", "Response time of endpoints", time, [
            line.latency("median", "c-one", |ms| ms.p50),
            line.latency("95 %", "c-two", |ms| ms.p95),
            line.latency("99 %", "c-three", |ms| ms.p99),
        ]))
        (line.chart("responses", "Responses of endpoints", counts, [
            line.counts("2xx", "c-good", |figures| figures.status_classes.ok),
            line.counts("3xx", "c-one", |figures| figures.status_classes.redirected),
            line.counts("4xx", "c-two", |figures| figures.status_classes.refused),
            line.counts("5xx", "c-bad", |figures| figures.status_classes.broken),
            line.counts("no response", "c-three", no_response),
        ]))
        (line.chart("promise", "Late first attempts", share("share of first attempts, %", 1.0), [
            line.percent("after 5 s", "c-one", |figures| figures.promise.within_5s.map(|share| 1.0 - share)),
            line.percent("after 30 s", "c-two", |figures| figures.promise.within_30s.map(|share| 1.0 - share)),
        ]))
        (line.chart("retries", "Retries", share("share of attempts, %", 10.0), [
            line.percent("retries", "c-two", |figures| figures.retry_rate),
        ]))
    } }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { count(value as u64) } else { format!("{value:.1}") }
}

fn small_percent(value: f64) -> String {
    if value < 10.0 && value.fract() > 0.001 {
        format!("{} %", format!("{value:.2}").trim_end_matches('0').trim_end_matches('.'))
    } else {
        format!("{value:.0} %")
    }
}

/// The figures of the charts as a table.
fn figures_table(found: &Stats) -> Markup {
    let by = match found.by {
        IntervalLength::Minute => "minute",
        IntervalLength::Hour => "hour",
        IntervalLength::Day => "day",
    };
    html! {
        details { summary { "Show as a table" }
            div.table-scroll tabindex="0" role="region" aria-label="Figures by time" {
                table.plain {
                    caption.unseen { "Figures by " (by) }
                    thead { tr { th scope="col" { "From" } @for (name, _) in COLUMNS { th.number scope="col" { (name) } } } }
                    tbody { @for interval in found.data.iter().rev() { tr {
                        th scope="row" { (time(interval.at)) }
                        @for (_, value) in COLUMNS { td.number { (value(&interval.figures)) } }
                    } } }
                }
            }
        }
    }
}
