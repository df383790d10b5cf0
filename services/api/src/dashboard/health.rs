//! Health: what attempts came to, as figures and charts.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::time::UnixMillis;

use super::Dashboard;
use super::chart::{Chart, Kind, Series};
use super::failure::Failure;
use super::layout::Section;
use super::page::Page;
use super::parts::{empty, time};
use super::webhooks::Offered;
use super::words::{count, duration, percent};
use crate::request::Params;
use crate::stats::{self, Figures, Interval, Stats};
use crate::time::shown;

/// The ranges that a page offers: name in the address, its label, length, and what it is counted by.
const RANGES: [(&str, &str, i64, &str); 4] = [
    ("1h", "Last hour", 3_600_000, "minute"),
    ("24h", "Last 24 hours", 86_400_000, "hour"),
    ("7d", "Last 7 days", 604_800_000, "hour"),
    ("30d", "Last 30 days", 2_592_000_000, "day"),
];

pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route("/dashboard/{tenant}/health", get(show))
}

fn known(name: &str) -> (&'static str, &'static str, i64, &'static str) {
    RANGES.into_iter().find(|range| range.0 == name).unwrap_or(RANGES[1])
}

/// The API's parameters for a range up to now.
pub(super) fn range(name: &str) -> Params {
    let (_, _, length, by) = known(name);
    let from = UnixMillis(UnixMillis::now().0 - length).to_rfc3339_millis();
    Params::of([("by".to_owned(), by.to_owned()), ("from".to_owned(), from)])
}

/// `GET …/health`
async fn show(State(dashboard): State<Arc<Dashboard>>, page: Page) -> Result<Markup, Failure> {
    let api = &dashboard.api;
    let chosen = known(page.query.get("range")).0;
    let endpoint = page.query.get("endpoint_id").to_owned();
    let (state, params) = (State(Arc::clone(api)), range(chosen));
    let found = if endpoint.is_empty() {
        stats::of_tenant(state, page.caller, params).await?.0
    } else {
        stats::of_endpoint(state, page.caller, params, Path(endpoint.clone())).await?.0
    };
    let offered = Offered::load(api, &page, &endpoint).await?;
    Ok(page.show(Section::Health, "Health", html! {
        h1 { "Health" }
        form.filter-bar method="get" action=(page.path()) role="search" aria-label="Health" {
            div { label for="q-endpoint" { "Webhook" } select #q-endpoint name="endpoint_id" {
                (offered.options(&endpoint, "All webhooks"))
            } }
            div { label for="q-range" { "Time" } select #q-range name="range" {
                @for (value, label, ..) in RANGES { option value=(value) selected[value == chosen] { (label) } }
            } }
            div.buttons { button type="submit" { "Show" } }
        }
        section #health aria-label="Figures" data-live data-every="10000" {
            (tiles(&found.total))
            @if found.total.attempts == 0 { (empty("No attempts in this time", html! { p { "Choose a longer time, or " a href=(page.to("/webhooks")) { "send a test" } " (tests are not counted here, but are in the history)." } })) }
            @else { (charts(&found)) (figures_table(&found)) }
        }
    }))
}

/// The figures of a time as tiles.
pub(super) fn tiles(total: &Figures) -> Markup {
    let latency = |pick: fn(&stats::LatencyMs) -> f64| {
        total.latency_ms.as_ref().map_or("–".to_owned(), |ms| duration(pick(ms)))
    };
    let tiles = [
        (
            "Succeeded",
            percent(total.success_rate),
            format!("{} of {} attempts", count(total.successes), count(total.attempts)),
        ),
        (
            "First attempt within 5 s",
            percent(total.promise.within_5s),
            format!("of {}, whatever its result", count(total.promise.first_attempts)),
        ),
        (
            "First attempt within 30 s",
            percent(total.promise.within_30s),
            format!("of {}, whatever its result", count(total.promise.first_attempts)),
        ),
        ("Median answer", latency(|ms| ms.p50), format!("95\u{a0}% within {}", latency(|ms| ms.p95))),
        ("Retries", percent(total.retry_rate), format!("{} attempts", count(total.retries))),
    ];
    html! { dl.tiles { @for (name, value, note) in tiles { div {
        dt { (name) } dd { span.tile-value { (value) } span.faint { (note) } }
    } } } }
}

/// Every interval of the range, those without attempts as `None`.
fn filled(found: &Stats) -> (Vec<String>, Vec<Option<&Figures>>) {
    let at = |text: &str| text.parse::<UnixMillis>().ok().map(|at| at.0);
    let (Some(from), Some(to)) = (at(&found.from), at(&found.to)) else { return (Vec::new(), Vec::new()) };
    let known: HashMap<&str, &Figures> = found.data.iter().map(|one| (one.at.as_str(), &one.figures)).collect();
    let times: Vec<String> = (0..)
        .map(|index| from + index * found.interval_ms)
        .take_while(|start| *start < to)
        .map(|start| shown(UnixMillis(start)))
        .collect();
    let all = times.iter().map(|time| known.get(time.as_str()).copied()).collect();
    (times, all)
}

fn charts(found: &Stats) -> Markup {
    let (times, all) = filled(found);
    let of = |value: &dyn Fn(&Figures) -> Option<f64>| -> Vec<Option<f64>> {
        all.iter().map(|figures| figures.and_then(value)).collect()
    };
    let whole = |value: fn(&Figures) -> u64| of(&|figures| Some(value(figures) as f64));
    let latency = |pick: fn(&stats::LatencyMs) -> f64| of(&|figures| figures.latency_ms.as_ref().map(pick));
    let number = |value: f64| if value.fract() == 0.0 { count(value as u64) } else { format!("{value:.1}") };
    let per = match found.by.as_str() {
        "minute" => "attempts a minute",
        "hour" => "attempts an hour",
        _ => "attempts a day",
    };
    let share = |value: fn(&Figures) -> Option<f64>| of(&|figures| value(figures).map(|share| share * 100.0));
    let charts = [
        Chart {
            id: "attempts",
            title: "Attempts",
            unit: per,
            kind: Kind::Bars,
            times: &times,
            show: number,
            least_max: 1.0,
            series: vec![
                Series { name: "succeeded", class: "c-good", values: whole(|f| f.successes) },
                Series { name: "failed", class: "c-bad", values: whole(|f| f.failures) },
            ],
        },
        Chart {
            id: "latency",
            title: "How long endpoints took to answer",
            unit: "time",
            kind: Kind::Lines,
            times: &times,
            show: duration,
            least_max: 1.0,
            series: vec![
                Series { name: "half of them", class: "c-one", values: latency(|ms| ms.p50) },
                Series { name: "95 %", class: "c-two", values: latency(|ms| ms.p95) },
                Series { name: "99 %", class: "c-three", values: latency(|ms| ms.p99) },
            ],
        },
        Chart {
            id: "answers",
            title: "What endpoints answered",
            unit: per,
            kind: Kind::Bars,
            times: &times,
            show: number,
            least_max: 1.0,
            series: vec![
                Series { name: "2xx", class: "c-good", values: whole(|f| f.status_classes.ok) },
                Series { name: "3xx", class: "c-one", values: whole(|f| f.status_classes.redirected) },
                Series { name: "4xx", class: "c-two", values: whole(|f| f.status_classes.refused) },
                Series { name: "5xx", class: "c-bad", values: whole(|f| f.status_classes.broken) },
                Series {
                    name: "no answer",
                    class: "c-three",
                    values: whole(|f| f.status_classes.none + f.status_classes.other),
                },
            ],
        },
        Chart {
            id: "promise",
            title: "Late first attempts",
            unit: "share of first attempts, %",
            kind: Kind::Lines,
            times: &times,
            show: small_percent,
            least_max: 1.0,
            series: vec![
                Series { name: "after 5 s", class: "c-one", values: share(|f| f.promise.within_5s.map(|s| 1.0 - s)) },
                Series { name: "after 30 s", class: "c-two", values: share(|f| f.promise.within_30s.map(|s| 1.0 - s)) },
            ],
        },
        Chart {
            id: "retries",
            title: "Retries",
            unit: "share of attempts, %",
            kind: Kind::Lines,
            times: &times,
            show: small_percent,
            least_max: 10.0,
            series: vec![Series { name: "retries", class: "c-two", values: share(|f| f.retry_rate) }],
        },
    ];
    html! { div.charts { @for chart in &charts { (chart.draw()) } } }
}

fn small_percent(value: f64) -> String {
    if value < 10.0 && value.fract() > 0.001 {
        format!("{} %", format!("{value:.2}").trim_end_matches('0').trim_end_matches('.'))
    } else {
        format!("{value:.0} %")
    }
}

/// The same figures for those who read rather than look.
fn figures_table(found: &Stats) -> Markup {
    html! {
        details { summary { "The same as a table" }
            div.table-scroll tabindex="0" role="region" aria-label="Figures by time" {
                table.plain {
                    caption.unseen { "Figures by " (found.by) }
                    thead { tr {
                        th scope="col" { "From" } th.number scope="col" { "Attempts" } th.number scope="col" { "Succeeded" } th.number scope="col" { "Median" } th.number scope="col" { "95 %" } th.number scope="col" { "99 %" }
                        th.number scope="col" { "2xx" } th.number scope="col" { "3xx" } th.number scope="col" { "4xx" } th.number scope="col" { "5xx" } th.number scope="col" { "No answer" }
                        th.number scope="col" { "Within 5 s" } th.number scope="col" { "Within 30 s" } th.number scope="col" { "Retries" }
                    } }
                    tbody { @for interval in found.data.iter().rev() { (figures_row(interval)) } }
                }
            }
        }
    }
}

fn figures_row(interval: &Interval) -> Markup {
    let f = &interval.figures;
    let ms =
        |pick: fn(&stats::LatencyMs) -> f64| f.latency_ms.as_ref().map_or("–".to_owned(), |ms| duration(pick(ms)));
    html! { tr {
        th scope="row" { (time(&interval.at)) }
        td.number { (count(f.attempts)) } td.number { (percent(f.success_rate)) }
        td.number { (ms(|ms| ms.p50)) } td.number { (ms(|ms| ms.p95)) } td.number { (ms(|ms| ms.p99)) }
        td.number { (count(f.status_classes.ok)) } td.number { (count(f.status_classes.redirected)) } td.number { (count(f.status_classes.refused)) }
        td.number { (count(f.status_classes.broken)) } td.number { (count(f.status_classes.none + f.status_classes.other)) }
        td.number { (percent(f.promise.within_5s)) } td.number { (percent(f.promise.within_30s)) } td.number { (count(f.retries)) }
    } }
}
