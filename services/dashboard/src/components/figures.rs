//! Tiles with the figures of a range of time.

use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_operations::stats::{Figures, IntervalLength, LatencyMs, Quality, StatsQuery};
use postrider_profiles::Promise;

use crate::format::{count, decimal, duration, percent};
use crate::language::{Text, key, t, text};

/// A range of time that ends now.
pub(crate) struct Range {
    /// The value of the parameter `range`.
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    hours: i64,
    by: IntervalLength,
}

/// The last day.
pub(crate) const DAY: Range = Range { name: "24h", label: key!("Last 24 hours"), hours: 24, by: IntervalLength::Hour };
/// The ranges from which a visitor can choose.
pub(crate) const RANGES: [Range; 4] = [
    Range { name: "1h", label: key!("Last hour"), hours: 1, by: IntervalLength::Minute },
    DAY,
    Range { name: "7d", label: key!("Last 7 days"), hours: 7 * 24, by: IntervalLength::Hour },
    Range { name: "30d", label: key!("Last 30 days"), hours: 30 * 24, by: IntervalLength::Day },
];

impl Range {
    /// The range with this name; the last day if there is no such range.
    pub(crate) fn named(name: &str) -> Self {
        RANGES.into_iter().find(|range| range.name == name).unwrap_or(DAY)
    }

    /// The query for the figures of the range.
    pub(crate) fn query(&self) -> StatsQuery {
        let from = UnixMillis(UnixMillis::now().0 - self.hours * 3_600_000);
        StatsQuery { by: self.by, from: Some(from), to: None }
    }

    /// Whether the figures of the range are by minute. Failures by cause are then of the whole hours around the range.
    pub(crate) fn is_by_minute(&self) -> bool {
        self.by == IntervalLength::Minute
    }
}

/// A figure with its name.
pub(crate) struct Tile {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// The CSS class of the figure's colour; empty for the default colour. The colour only repeats what the figure says.
    pub(crate) class: &'static str,
    /// What the figure counts.
    pub(crate) note: Markup,
}

/// Tiles side by side.
pub(crate) fn tile_list(tiles: impl IntoIterator<Item = Tile>) -> Markup {
    html! { dl.tiles { @for tile in tiles { div {
        dt { (text(tile.name)) }
        dd { span class={ "tile-value " (tile.class) } { (tile.value) } span.faint { (tile.note) } }
    } } } }
}

/// A tile with the share of attempts that succeeded.
pub(crate) fn success_tile(total: &Figures) -> Tile {
    let note = html! {
        (t!("{good} of {all} attempts", good = count(total.successes), all = count(total.attempts)))
    };
    Tile { name: key!("Succeeded"), value: percent(total.success_rate), class: quality_class(total), note }
}

/// The query for failures by cause in the range of another query. There are no failures by minute.
pub(crate) fn failures_query(query: StatsQuery) -> StatsQuery {
    let by = if query.by == IntervalLength::Minute { IntervalLength::Hour } else { query.by };
    StatsQuery { by, ..query }
}

/// The tiles with the figures of a range. The shares of first attempts in time are for customers of products that promise them.
pub(crate) fn tiles(total: &Figures, promise: Promise) -> Markup {
    let tile = |name, value, note: Text| Tile { name, value, class: "", note: html! { (note) } };
    let first_attempts =
        t!("of {number} first attempts, successful or not", number = count(total.promise.first_attempts));
    let median = t!("95\u{a0}% within {duration}", duration = latency(total, |ms| ms.p95));
    let within_5s =
        || tile(key!("First attempt within 5\u{a0}s"), percent(total.promise.within_5s), first_attempts.clone());
    let within_30s =
        || tile(key!("First attempt within 30\u{a0}s"), percent(total.promise.within_30s), first_attempts.clone());
    let mut tiles = vec![success_tile(total)];
    tiles.extend(promise.within_5s.then(within_5s));
    tiles.extend(promise.within_30s.then(within_30s));
    tiles.push(tile(key!("Median response time"), latency(total, |ms| ms.p50), median));
    tiles.push(tile(
        key!("Retries"),
        percent(total.retry_rate),
        t!("{number} attempts", number = count(total.retries)),
    ));
    tiles.push(tile(key!("Throughput"), throughput(total.attempts_per_second), t!("attempts, on average")));
    tile_list(tiles)
}

/// A rate of attempts, per second, minute or hour.
fn throughput(per_second: f64) -> String {
    match per_second {
        rate if rate >= 1.0 => format!("{}/s", decimal(rate, 1)),
        rate if rate * 60.0 >= 1.0 => format!("{}/min", decimal(rate * 60.0, 1)),
        rate => format!("{}/h", decimal(rate * 3_600.0, 1)),
    }
}

/// The CSS class of the colour for figures of this quality.
fn quality_class(total: &Figures) -> &'static str {
    match total.quality() {
        Some(Quality::Good) => "is-good",
        Some(Quality::Poor) => "is-poor",
        Some(Quality::Bad) => "is-bad",
        None => "",
    }
}

/// A response time, or a dash if there were no attempts.
pub(crate) fn latency(figures: &Figures, pick: fn(&LatencyMs) -> f64) -> String {
    figures.latency_ms.as_ref().map_or("–".to_owned(), |ms| duration(pick(ms)))
}
