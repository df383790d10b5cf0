//! The figures of a range of time as tiles.

use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_operations::stats::{Figures, IntervalLength, LatencyMs, StatsQuery};

use crate::format::{count, duration, percent};

/// A range that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    Hour,
    Day,
    Week,
    Month,
}

impl Range {
    pub(crate) const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    /// The range of this name; a day if there is none.
    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|range| range.name() == name).unwrap_or(Self::Day)
    }

    /// Its name in an address.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Hour => "Last hour",
            Self::Day => "Last 24 hours",
            Self::Week => "Last 7 days",
            Self::Month => "Last 30 days",
        }
    }

    /// The query for the figures of the range.
    pub(crate) fn query(self) -> StatsQuery {
        let (hours, by) = match self {
            Self::Hour => (1, IntervalLength::Minute),
            Self::Day => (24, IntervalLength::Hour),
            Self::Week => (7 * 24, IntervalLength::Hour),
            Self::Month => (30 * 24, IntervalLength::Day),
        };
        let from = UnixMillis(UnixMillis::now().0 - hours * 3_600_000);
        StatsQuery { by, from: Some(from), to: None }
    }
}

/// The figures of a range.
pub(crate) fn tiles(total: &Figures) -> Markup {
    let first_attempts = format!("of {} first attempts, successful or not", count(total.promise.first_attempts));
    let tiles = [
        (
            "Succeeded",
            percent(total.success_rate),
            format!("{} of {} attempts", count(total.successes), count(total.attempts)),
        ),
        ("First attempt within 5\u{a0}s", percent(total.promise.within_5s), first_attempts.clone()),
        ("First attempt within 30\u{a0}s", percent(total.promise.within_30s), first_attempts),
        (
            "Median response time",
            latency(total, |ms| ms.p50),
            format!("95\u{a0}% within {}", latency(total, |ms| ms.p95)),
        ),
        ("Retries", percent(total.retry_rate), format!("{} attempts", count(total.retries))),
    ];
    html! { dl.tiles { @for (name, value, note) in tiles { div {
        dt { (name) } dd { span.tile-value { (value) } span.faint { (note) } }
    } } } }
}

/// A response time, or a dash if there were no attempts.
pub(crate) fn latency(figures: &Figures, pick: fn(&LatencyMs) -> f64) -> String {
    figures.latency_ms.as_ref().map_or("–".to_owned(), |ms| duration(pick(ms)))
}
