//! The charts of the figures.

use std::borrow::Cow;
use std::collections::HashMap;

use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_operations::failures::{FailedInterval, Failures};
use postrider_operations::stats::{Figures, IntervalLength, LatencyMs, Stats};
use postrider_profiles::Promise;

use crate::components::{Axis, Chart, Kind, Series};
use crate::format::{count, decimal, duration, with_mark};
use crate::language::{key, t, text};
use crate::texts::cause_name;

/// The colours of the most frequent causes. All other causes share one more colour.
const CAUSE_COLOURS: [&str; 4] = ["c-bad", "c-two", "c-three", "c-one"];

/// The charts of a range. Without `failures`, which are not counted by minute, the responses have a chart.
pub(super) fn charts(found: &Stats, failures: Option<&Failures>, promise: Promise) -> Markup {
    let line = Timeline::of(found);
    let unit = match found.by {
        IntervalLength::Minute => key!("attempts a minute"),
        IntervalLength::Hour => key!("attempts an hour"),
        IntervalLength::Day => key!("attempts a day"),
    };
    let counts = Axis { kind: Kind::Bars, unit, show: number, min: 1.0 };
    let time = Axis { kind: Kind::Lines, unit: key!("time"), show: duration, min: 1.0 };
    let share = |unit, min| Axis { kind: Kind::Lines, unit, show: share_text, min };
    html! { div.charts {
        (line.chart("attempts", key!("Attempts"), counts, vec![
            line.counts(key!("succeeded"), "c-good", |figures| figures.successes),
            line.counts(key!("failed"), "c-bad", |figures| figures.failures),
        ]))
        (line.chart("success", key!("Success and retries"), share(key!("share of attempts, %"), 100.0), vec![
            line.percent(key!("succeeded"), "c-good", |figures| figures.success_rate),
            line.percent(key!("retries"), "c-two", |figures| figures.retry_rate),
        ]))
        (line.chart("latency", key!("Response time of {endpoints}"), time, vec![
            line.latency(key!("median"), "c-one", |ms| ms.p50),
            line.latency("95 %", "c-two", |ms| ms.p95),
            line.latency("99 %", "c-three", |ms| ms.p99),
        ]))
        @match failures {
            Some(failures) => (line.chart("causes", key!("Failures by cause"), counts, line.causes(failures))),
            None => (line.chart("responses", key!("Responses of {endpoints}"), counts, line.responses())),
        }
        @if promise.is_made() {
            @let share = share(key!("share of first attempts, %"), 1.0);
            (line.chart("promise", key!("Late first attempts"), share, line.late(promise)))
        }
    } }
}

/// All intervals of a range, with their figures. The figures of an interval without attempts are `None`.
struct Timeline<'a> {
    by: IntervalLength,
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
        Self { by: found.by, times, figures }
    }

    fn series(&self, name: &'static str, class: &'static str, value: impl Fn(&Figures) -> Option<f64>) -> Series {
        let values = self.figures.iter().map(|figures| figures.and_then(&value)).collect();
        Series { name: text(name), class, values }
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

    /// The responses by class of their status code.
    fn responses(&self) -> Vec<Series> {
        vec![
            self.counts("2xx", "c-good", |figures| figures.status_classes.ok),
            self.counts("3xx", "c-one", |figures| figures.status_classes.redirected),
            self.counts("4xx", "c-two", |figures| figures.status_classes.refused),
            self.counts("5xx", "c-bad", |figures| figures.status_classes.broken),
            self.counts(key!("no response"), "c-three", no_response),
        ]
    }

    /// The first attempts that were later than the product promises.
    fn late(&self, promise: Promise) -> Vec<Series> {
        let within_5s = |figures: &Figures| figures.promise.within_5s.map(|share| 1.0 - share);
        let within_30s = |figures: &Figures| figures.promise.within_30s.map(|share| 1.0 - share);
        let mut series = Vec::new();
        series.extend(promise.within_5s.then(|| self.percent(key!("after 5 s"), "c-one", within_5s)));
        series.extend(promise.within_30s.then(|| self.percent(key!("after 30 s"), "c-two", within_30s)));
        series
    }

    /// The failures with the most frequent causes, and those with other causes together.
    fn causes(&self, failures: &Failures) -> Vec<Series> {
        let known: HashMap<Timestamp, &FailedInterval> =
            failures.data.iter().map(|interval| (interval.at, interval)).collect();
        let values = |value: &dyn Fn(&FailedInterval) -> u64| -> Vec<Option<f64>> {
            self.times.iter().map(|at| known.get(at).map(|interval| value(interval) as f64)).collect()
        };
        let top = failures.causes.iter().zip(CAUSE_COLOURS);
        let mut series: Vec<Series> = top
            .clone()
            .map(|(cause, class)| Series {
                name: Cow::Owned(cause_name(cause.outcome, cause.status_code)),
                class,
                values: values(&|interval| interval.attempts_with(cause)),
            })
            .collect();
        if failures.causes.len() > CAUSE_COLOURS.len() {
            let shown =
                |interval: &FailedInterval| top.clone().map(|(cause, _)| interval.attempts_with(cause)).sum::<u64>();
            let values = values(&|interval| interval.attempts - shown(interval));
            series.push(Series { name: t!("other causes"), class: "c-rest", values });
        }
        series
    }

    fn chart(&self, id: &'static str, title: &'static str, axis: Axis, series: Vec<Series>) -> Markup {
        Chart { id, title, axis, by: self.by, times: &self.times, series }.draw()
    }
}

/// Counts attempts without a response, and attempts whose status code is outside 200 to 599.
pub(super) fn no_response(figures: &Figures) -> u64 {
    figures.status_classes.none + figures.status_classes.other
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { count(value as u64) } else { decimal(value, 1) }
}

/// A share in percent. A share of 10 % or more is rounded down, so that only a share of 1 is shown as 100 %.
fn share_text(percent: f64) -> String {
    let whole = (percent - percent.round()).abs() < 0.001;
    match percent {
        percent if whole => format!("{percent:.0} %"),
        percent if percent < 10.0 => {
            format!("{} %", with_mark(format!("{percent:.2}").trim_end_matches('0').trim_end_matches('.')))
        }
        percent => format!("{} %", decimal((percent * 10.0 + 1e-6).floor() / 10.0, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_below_all_is_never_shown_as_all() {
        let check = |percent: f64, text: &str| assert_eq!(share_text(percent), text);
        check(100.0, "100 %");
        check(99.96, "99.9 %");
        check(99.9, "99.9 %");
        check(50.0, "50 %");
        check(0.25, "0.25 %");
        check(0.5, "0.5 %");
        check(0.0, "0 %");
    }
}
