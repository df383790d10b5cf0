//! Charts as SVG: axes with units, a title, and the values at each point in time under the pointer, a finger or the arrow keys. The
//! style sheet has a class for each colour. The classes differ in lightness and in dashes too, so that charts are readable without
//! colours.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use maud::{Markup, html};
use postrider_model::stats::IntervalLength;
use postrider_model::timestamp::Timestamp;

use crate::language::{t, text};

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;
/// A chart that spans more than this time has dates instead of times of day on its axis.
const DAYS_FROM: Duration = Duration::from_secs(2 * 86_400);
/// Half of the width of the longest label of the time axis, such as "12:00 PM".
const LABEL_HALF: f64 = 28.0;
/// A chart with more points in time than this has lines without dots.
const DOTS_MAX: usize = 60;

/// The values of one line, or of the bars of one colour.
pub(crate) struct Series {
    pub(crate) name: Cow<'static, str>,
    /// The CSS class of the colour: `c-good`, `c-bad`, ….
    pub(crate) class: &'static str,
    /// A value for each point in time; `None` where there is no value.
    pub(crate) values: Vec<Option<f64>>,
}

/// How series are drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Stacked bars.
    Bars,
    /// Lines, with gaps where there are no values.
    Lines,
}

/// The vertical axis of a chart.
#[derive(Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) kind: Kind,
    pub(crate) unit: &'static str,
    /// Formats a value.
    pub(crate) show: fn(f64) -> String,
    /// The end of the axis is at least this value.
    pub(crate) min: f64,
}

/// A chart over time.
pub(crate) struct Chart<'a> {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) axis: Axis,
    /// The length of an interval.
    pub(crate) by: IntervalLength,
    /// The start of each interval.
    pub(crate) times: &'a [Timestamp],
    pub(crate) series: Vec<Series>,
}

impl Chart<'_> {
    fn highest(&self) -> f64 {
        let at = |index: usize| -> f64 {
            let values = self.series.iter().filter_map(|series| series.values.get(index).copied().flatten());
            if self.axis.kind == Kind::Bars { values.sum() } else { values.fold(0.0, f64::max) }
        };
        (0..self.times.len()).map(at).fold(self.axis.min, f64::max)
    }

    /// An interval and its values, such as "2026-11-30 14:00 UTC: succeeded: 8 · failed: 1".
    fn values_at(&self, index: usize, at: Timestamp) -> String {
        let at = at.0.to_rfc3339_seconds();
        let mut text = match self.by {
            IntervalLength::Day => format!("{} UTC: ", at.get(..10).unwrap_or_default()),
            _ => format!("{} UTC: ", at.get(..16).unwrap_or_default().replace('T', " ")),
        };
        let mut is_first = true;
        for series in &self.series {
            let value = series.values.get(index).copied().flatten();
            // Zeros of bars say nothing, and a chart of many causes has many.
            if self.axis.kind == Kind::Bars && value.is_none_or(|value| value == 0.0) {
                continue;
            }
            let value = value.map_or_else(|| "–".to_owned(), self.axis.show);
            let _ = write!(text, "{}{}: {value}", if is_first { "" } else { " · " }, series.name);
            is_first = false;
        }
        if is_first {
            text.push_str(&t!("none"));
        }
        text
    }

    /// Whether the axis shows dates instead of times of day.
    fn spans_days(&self) -> bool {
        self.times.first().zip(self.times.last()).is_some_and(|(first, last)| first.0.until(last.0) > DAYS_FROM)
    }

    /// The chart as a `figure` element.
    pub(crate) fn draw(&self) -> Markup {
        let points = self.times.len().max(1) as f64;
        let (step, top) = nice(self.highest());
        let slot = (WIDTH - LEFT - RIGHT) / points;
        let plot = HEIGHT - TOP - BOTTOM;
        let x = |index: usize| LEFT + slot * index as f64;
        let y = |value: f64| TOP + plot * (1.0 - (value / top).min(1.0));
        let by_date = self.spans_days();
        let every = (self.times.len().div_ceil(6)).max(1);
        let ticks = (0..=((top / step).round() as usize)).map(|tick| tick as f64 * step);
        html! {
            figure.chart {
                figcaption #{ (self.id) "-title" } { (text(self.title)) " " span.faint { "(" (text(self.axis.unit)) ")" } }
                ul.legend aria-hidden="true" { @for series in &self.series {
                    li { span class={ "swatch " (series.class) } {} (series.name) }
                } }
                div.chart-scroll tabindex="0" role="region" aria-labelledby={ (self.id) "-title" } {
                    svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(t!(
                        "{title}, {unit}; the left and right arrow keys read the values",
                        title = text(self.title),
                        unit = text(self.axis.unit)
                    )) {
                        @for tick in ticks {
                            line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(y(tick))) y2=(px(y(tick))) {}
                            text.tick x=(LEFT - 6.0) y=(px(y(tick) + 4.0)) text-anchor="end" { ((self.axis.show)(tick)) }
                        }
                        @for (index, at) in self.times.iter().enumerate().step_by(every) {
                            @let text = at.to_string();
                            text.tick x=(px((x(index) + slot / 2.0).min(WIDTH - LABEL_HALF))) y=(HEIGHT - 10.0) text-anchor="middle"
                                data-clock=[(!by_date).then_some(&text)] data-day=[by_date.then_some(&text)] {
                                (if by_date { text.get(..10) } else { text.get(11..16) }.unwrap_or_default())
                            }
                        }
                        @match self.axis.kind {
                            Kind::Bars => { (self.bars(&x, &y, slot)) }
                            Kind::Lines => { (self.lines(&x, &y, slot)) }
                        }
                        g.hits data-start=[self.times.first().map(|first| first.0.0)] data-step=(self.by.millis()) {
                            @for (index, at) in self.times.iter().enumerate() {
                                path d={ "M" (px(x(index))) " " (TOP) "v" (plot) "h" (px(slot)) "V" (TOP) } {
                                    title { (self.values_at(index, *at)) }
                                }
                            }
                        }
                    }
                }
                p.chart-value aria-live="polite" data-chart-value { (t!("Point at the chart or tap it to read its values.")) }
            }
        }
    }

    fn bars(&self, x: &dyn Fn(usize) -> f64, y: &dyn Fn(f64) -> f64, slot: f64) -> Markup {
        let gap = (slot * 0.15).min(3.0);
        let mut below = vec![0.0; self.times.len()];
        // One path for all bars of a colour takes a third of the bytes of a rectangle for each.
        let mut path = |series: &Series| {
            let mut path = String::new();
            for (index, below) in below.iter_mut().enumerate() {
                let Some(value) = series.values.get(index).copied().flatten().filter(|value| *value > 0.0) else {
                    continue;
                };
                let from = std::mem::replace(below, *below + value);
                let (left, bottom, width) = (px(x(index) + gap / 2.0), px(y(from)), px(slot - gap));
                let _ = write!(path, "M{left} {bottom}v-{}h{width}V{bottom}z", px((y(from) - y(*below)).max(1.0)));
            }
            path
        };
        html! { @for series in &self.series { path class=(series.class) d=(path(series)) {} } }
    }

    fn lines(&self, x: &dyn Fn(usize) -> f64, y: &dyn Fn(f64) -> f64, slot: f64) -> Markup {
        let path = |series: &Series| {
            let (mut path, mut pen_down) = (String::new(), false);
            for (index, value) in series.values.iter().enumerate() {
                let Some(value) = value else {
                    pen_down = false;
                    continue;
                };
                let (centre, height) = (x(index) + slot / 2.0, px(y(*value)));
                // A value between two gaps is a line as long as its interval.
                if alone(&series.values, index) {
                    let _ = write!(path, "M{} {height}h{}", px(x(index)), px(slot));
                } else {
                    let _ = write!(path, "{}{} {height}", if pen_down { 'L' } else { 'M' }, px(centre));
                }
                pen_down = true;
            }
            path
        };
        html! { @for series in &self.series { g class={ "line " (series.class) } {
            path d=(path(series)) {}
            @for (index, value) in series.values.iter().enumerate() {
                @let alone = alone(&series.values, index);
                @if let Some(value) = value.filter(|_| alone || series.values.len() <= DOTS_MAX) {
                    circle cx=(px(x(index) + slot / 2.0)) cy=(px(y(value))) r=(if alone { "3.5" } else { "2" }) {}
                }
            }
        } } }
    }
}

/// Whether the points before and after `index` both have no value.
fn alone(values: &[Option<f64>], index: usize) -> bool {
    let known = |index: Option<usize>| index.and_then(|index| values.get(index)).is_some_and(Option::is_some);
    !known(index.checked_sub(1)) && !known(index.checked_add(1))
}

/// A length with at most one decimal place.
fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// The step between the marks of an axis (1, 2 or 5 times a power of ten), and the end of the axis: the first multiple of the
/// step that is at least `highest`.
fn nice(highest: f64) -> (f64, f64) {
    let rough = (highest / 4.0).max(f64::MIN_POSITIVE);
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * magnitude).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(magnitude);
    (step, (highest / step).ceil().max(1.0) * step)
}

/// A small chart of the successes and failures in each of the last hours.
pub(crate) fn spark(hours: &[(u64, u64)]) -> Markup {
    let highest = hours.iter().map(|(good, bad)| good + bad).max().unwrap_or_default();
    let (good, bad) = hours.iter().fold((0, 0), |(good, bad), hour| (good + hour.0, bad + hour.1));
    let height = |count: u64| 24.0 * count as f64 / highest.max(1) as f64;
    let summary = t!("Last 24 hours: {good} attempts succeeded, {bad} failed", good = good, bad = bad);
    html! { @if highest == 0 { span.faint { (t!("no traffic")) } } @else {
        svg.spark viewBox={ "0 0 " (hours.len() * 5) " 24" } role="img"
            aria-label=(summary) {
            title { (summary) }
            @for (index, (good, bad)) in hours.iter().enumerate() {
                rect.c-good x=(index * 5) width="4" y=(px(24.0 - height(*good))) height=(px(height(*good))) {}
                rect.c-bad x=(index * 5) width="4" y=(px(24.0 - height(good + bad))) height=(px(height(*bad))) {}
            }
        }
    } }
}

#[cfg(test)]
mod tests {
    use postrider_model::time::UnixMillis;

    use super::*;

    fn chart(times: &[Timestamp], kind: Kind, by: IntervalLength, values: Vec<Option<f64>>) -> String {
        let axis = Axis { kind, unit: "attempts", show: |value| value.to_string(), min: 1.0 };
        let series = vec![Series { name: "failed".into(), class: "c-bad", values }];
        Chart { id: "c", title: "C", axis, by, times, series }.draw().0
    }

    /// The start of each of the first days of 2026.
    fn days(number: i64) -> Vec<Timestamp> {
        (0..number).map(|day| Timestamp(UnixMillis(1_767_225_600_000 + day * IntervalLength::Day.millis()))).collect()
    }

    #[test]
    fn the_last_label_is_inside_the_chart() {
        let drawn = chart(&days(31), Kind::Bars, IntervalLength::Day, vec![Some(1.0); 31]);
        let (before, _) = drawn.split_once(">2026-01-31</text>").expect("a label of the last day");
        let x: f64 = before.rsplit_once("class=\"tick\" x=\"").unwrap().1.split('"').next().unwrap().parse().unwrap();
        assert!(x + LABEL_HALF <= WIDTH, "{x}");
    }

    #[test]
    fn a_single_value_is_as_wide_as_its_interval() {
        let mut values = vec![None; 24];
        values[3] = Some(1.0);
        let line = chart(&days(24), Kind::Lines, IntervalLength::Day, values.clone());
        assert!(line.contains("d=\"M112.2 ") && line.contains("h16.1\"") && line.contains("r=\"3.5\""), "{line}");
        let bars = chart(&days(24), Kind::Bars, IntervalLength::Day, values);
        assert!(bars.contains("<path class=\"c-bad\" d=\"M113.5 170v-158h13.7V170z\">"), "{bars}");
        assert!(bars.contains("<title>2026-01-04 UTC: failed: 1</title>"), "{bars}");
    }

    #[test]
    fn axes_have_round_steps_up_to_the_highest_value() {
        for (highest, step, top) in [(10.0, 5.0, 10.0), (7.0, 2.0, 8.0), (1_234.0, 500.0, 1_500.0), (0.03, 0.01, 0.03)]
        {
            let (found_step, found_top) = nice(highest);
            assert!(
                (found_step - step).abs() < 1e-9 && (found_top - top).abs() < 1e-9,
                "{highest}: {found_step} {found_top}"
            );
        }
        assert!(nice(0.0).1 > 0.0);
    }
}
