//! The health of webhooks: attempts as figures and charts.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_operations::stats::{Figures, Interval, IntervalLength, LatencyMs, Stats};

use crate::Dashboard;
use crate::components::Column::{Number, Text};
use crate::components::chart::{Chart, Kind, Series};
use crate::components::figures::{RANGES, Range, latency, tiles};
use crate::components::filter::choice_filter;
use crate::components::form::options;
use crate::components::webhook::WebhookOptions;
use crate::components::{Column, empty, head, time};
use crate::failure::Failure;
use crate::format::{count, duration, percent};
use crate::page::Page;

/// The columns of the table of figures.
const COLUMNS: [Column; 14] = [
    Text("From"),
    Number("Attempts"),
    Number("Succeeded"),
    Number("Median"),
    Number("95 %"),
    Number("99 %"),
    Number("2xx"),
    Number("3xx"),
    Number("4xx"),
    Number("5xx"),
    Number("No response"),
    Number("Within 5 s"),
    Number("Within 30 s"),
    Number("Retries"),
];

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route("/dashboard/{tenant}/health", get(show))
}

/// `GET …/health`
async fn show(page: Page) -> Result<Markup, Failure> {
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

/// The intervals of a range; those without attempts are `None`.
struct Timeline<'a> {
    times: Vec<Timestamp>,
    figures: Vec<Option<&'a Figures>>,
    /// The unit of counts.
    per_interval: &'static str,
}

impl<'a> Timeline<'a> {
    fn of(found: &'a Stats) -> Self {
        let known: HashMap<Timestamp, &Figures> =
            found.data.iter().map(|interval| (interval.at, &interval.figures)).collect();
        let starts = (found.from.0.0..found.to.0.0).step_by(found.by.millis().try_into().unwrap_or(usize::MAX));
        let times: Vec<Timestamp> = starts.map(|start| Timestamp(UnixMillis(start))).collect();
        let figures = times.iter().map(|time| known.get(time).copied()).collect();
        let per_interval = match found.by {
            IntervalLength::Minute => "attempts a minute",
            IntervalLength::Hour => "attempts an hour",
            IntervalLength::Day => "attempts a day",
        };
        Self { times, figures, per_interval }
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

    /// A chart of stacked counts.
    fn bars(&self, id: &'static str, title: &'static str, series: Vec<Series>) -> Chart<'_> {
        let (times, unit) = (&self.times, self.per_interval);
        Chart { id, title, unit, kind: Kind::Bars, times, series, show: number, axis_min: 1.0 }
    }
}

fn charts(found: &Stats) -> Markup {
    let line = Timeline::of(found);
    let classes = |figures: &Figures| figures.status_classes.none + figures.status_classes.other;
    let attempts = vec![
        line.counts("succeeded", "c-good", |figures| figures.successes),
        line.counts("failed", "c-bad", |figures| figures.failures),
    ];
    let responses = vec![
        line.counts("2xx", "c-good", |figures| figures.status_classes.ok),
        line.counts("3xx", "c-one", |figures| figures.status_classes.redirected),
        line.counts("4xx", "c-two", |figures| figures.status_classes.refused),
        line.counts("5xx", "c-bad", |figures| figures.status_classes.broken),
        line.counts("no response", "c-three", classes),
    ];
    let charts = [
        line.bars("attempts", "Attempts", attempts),
        latency_chart(&line),
        line.bars("responses", "Responses of endpoints", responses),
        late_chart(&line),
        retry_chart(&line),
    ];
    html! { div.charts { @for chart in &charts { (chart.draw()) } } }
}

fn latency_chart<'a>(line: &'a Timeline<'_>) -> Chart<'a> {
    Chart {
        id: "latency",
        title: "Response time of endpoints",
        unit: "time",
        kind: Kind::Lines,
        times: &line.times,
        show: duration,
        axis_min: 1.0,
        series: vec![
            line.latency("median", "c-one", |ms| ms.p50),
            line.latency("95 %", "c-two", |ms| ms.p95),
            line.latency("99 %", "c-three", |ms| ms.p99),
        ],
    }
}

fn late_chart<'a>(line: &'a Timeline<'_>) -> Chart<'a> {
    Chart {
        id: "promise",
        title: "Late first attempts",
        unit: "share of first attempts, %",
        kind: Kind::Lines,
        times: &line.times,
        show: small_percent,
        axis_min: 1.0,
        series: vec![
            line.percent("after 5 s", "c-one", |figures| figures.promise.within_5s.map(|share| 1.0 - share)),
            line.percent("after 30 s", "c-two", |figures| figures.promise.within_30s.map(|share| 1.0 - share)),
        ],
    }
}

fn retry_chart<'a>(line: &'a Timeline<'_>) -> Chart<'a> {
    Chart {
        id: "retries",
        title: "Retries",
        unit: "share of attempts, %",
        kind: Kind::Lines,
        times: &line.times,
        show: small_percent,
        axis_min: 10.0,
        series: vec![line.percent("retries", "c-two", |figures| figures.retry_rate)],
    }
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
    html! {
        details { summary { "Show as a table" }
            div.table-scroll tabindex="0" role="region" aria-label="Figures by time" {
                table.plain {
                    caption.unseen { "Figures by " (interval_name(found.by)) }
                    (head(&COLUMNS))
                    tbody { @for interval in found.data.iter().rev() { (figures_row(interval)) } }
                }
            }
        }
    }
}

fn interval_name(length: IntervalLength) -> &'static str {
    match length {
        IntervalLength::Minute => "minute",
        IntervalLength::Hour => "hour",
        IntervalLength::Day => "day",
    }
}

fn figures_row(interval: &Interval) -> Markup {
    let figures = &interval.figures;
    let classes = &figures.status_classes;
    let values = [
        count(figures.attempts),
        percent(figures.success_rate),
        latency(figures, |ms| ms.p50),
        latency(figures, |ms| ms.p95),
        latency(figures, |ms| ms.p99),
        count(classes.ok),
        count(classes.redirected),
        count(classes.refused),
        count(classes.broken),
        count(classes.none + classes.other),
        percent(figures.promise.within_5s),
        percent(figures.promise.within_30s),
        count(figures.retries),
    ];
    html! { tr { th scope="row" { (time(interval.at)) } @for value in values { td.number { (value) } } } }
}
