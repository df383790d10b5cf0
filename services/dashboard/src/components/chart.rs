//! Charts as SVG: axes with units, a title, and the values at each point in time on hover. The style sheet has a class for each
//! colour. The classes differ in lightness and in dashes too, so that charts are readable without colours.

use std::fmt::Write as _;
use std::time::Duration;

use maud::{Markup, html};
use postrider_model::timestamp::Timestamp;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;
/// A chart that spans more than this time has dates instead of times of day on its axis.
const DAYS_FROM: Duration = Duration::from_secs(2 * 86_400);

/// The values of one line, or of the bars of one colour.
pub(crate) struct Series {
    pub(crate) name: &'static str,
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

    fn values_at(&self, index: usize) -> String {
        let mut text = String::new();
        for series in &self.series {
            let value = series.values.get(index).copied().flatten().map_or_else(|| "–".to_owned(), self.axis.show);
            let _ = write!(text, "{}{}: {value}", if text.is_empty() { "" } else { " · " }, series.name);
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
                figcaption #{ (self.id) "-title" } { (self.title) " " span.faint { "(" (self.axis.unit) ")" } }
                ul.legend aria-hidden="true" { @for series in &self.series {
                    li { span class={ "swatch " (series.class) } {} (series.name) }
                } }
                div.chart-scroll tabindex="0" role="region" aria-labelledby={ (self.id) "-title" } {
                    svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ (self.title) ", " (self.axis.unit) "; the table below has the values" } {
                        @for tick in ticks {
                            line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(y(tick))) y2=(px(y(tick))) {}
                            text.tick x=(LEFT - 6.0) y=(px(y(tick) + 4.0)) text-anchor="end" { ((self.axis.show)(tick)) }
                        }
                        @for (index, at) in self.times.iter().enumerate().step_by(every) {
                            @let text = at.to_string();
                            text.tick x=(px(x(index) + slot / 2.0)) y=(HEIGHT - 10.0) text-anchor="middle"
                                data-clock=[(!by_date).then_some(&text)] data-day=[by_date.then_some(&text)] {
                                (if by_date { text.get(..10) } else { text.get(11..16) }.unwrap_or_default())
                            }
                        }
                        @match self.axis.kind {
                            Kind::Bars => { (self.bars(&x, &y, slot)) }
                            Kind::Lines => { (self.lines(&x, &y, slot)) }
                        }
                        @for (index, at) in self.times.iter().enumerate() {
                            @let (text, values) = (at.to_string(), self.values_at(index));
                            rect.hit x=(px(x(index))) y=(TOP) width=(px(slot)) height=(plot) data-at=(text) data-values=(values) {
                                title { (text.get(..16).unwrap_or_default().replace('T', " ")) " UTC — " (values) }
                            }
                        }
                    }
                }
                p.chart-value aria-hidden="true" data-chart-value { "Point at the chart to read its values." }
            }
        }
    }

    fn bars(&self, x: &dyn Fn(usize) -> f64, y: &dyn Fn(f64) -> f64, slot: f64) -> Markup {
        let gap = (slot * 0.15).min(3.0);
        let mut below = vec![0.0; self.times.len()];
        html! { @for series in &self.series { g class=(series.class) {
            @for (index, below) in below.iter_mut().enumerate() {
                @if let Some(value) = series.values.get(index).copied().flatten().filter(|value| *value > 0.0) {
                    @let from = std::mem::replace(below, *below + value);
                    @let to = *below;
                    rect x=(px(x(index) + gap / 2.0)) y=(px(y(to))) width=(px(slot - gap)) height=(px((y(from) - y(to)).max(1.0))) {}
                }
            }
        } } }
    }

    fn lines(&self, x: &dyn Fn(usize) -> f64, y: &dyn Fn(f64) -> f64, slot: f64) -> Markup {
        let path = |series: &Series| {
            let (mut path, mut pen_down) = (String::new(), false);
            for (index, value) in series.values.iter().enumerate() {
                let Some(value) = value else {
                    pen_down = false;
                    continue;
                };
                let _ = write!(
                    path,
                    "{}{} {} ",
                    if pen_down { 'L' } else { 'M' },
                    px(x(index) + slot / 2.0),
                    px(y(*value))
                );
                pen_down = true;
            }
            path
        };
        html! { @for series in &self.series { g class={ "line " (series.class) } {
            path d=(path(series)) {}
            // A value between two gaps has no line, so its dot is larger.
            @for (index, value) in series.values.iter().enumerate() { @if let Some(value) = value {
                circle cx=(px(x(index) + slot / 2.0)) cy=(px(y(*value))) r=(if alone(&series.values, index) { "3.5" } else { "2" }) {}
            } }
        } } }
    }
}

/// Whether the points before and after `index` both have no value.
fn alone(values: &[Option<f64>], index: usize) -> bool {
    let known = |index: Option<usize>| index.and_then(|index| values.get(index)).is_some_and(Option::is_some);
    !known(index.checked_sub(1)) && !known(index.checked_add(1))
}

fn px(value: f64) -> String {
    format!("{value:.1}")
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
    html! { @if highest == 0 { span.faint { "no traffic" } } @else {
        svg.spark viewBox={ "0 0 " (hours.len() * 5) " 24" } role="img"
            aria-label={ "Last 24 hours: " (good) " attempts succeeded, " (bad) " failed" } {
            title { "Last 24 hours: " (good) " attempts succeeded, " (bad) " failed" }
            @for (index, (good, bad)) in hours.iter().enumerate() {
                rect.c-good x=(index * 5) width="4" y=(px(24.0 - height(*good))) height=(px(height(*good))) {}
                rect.c-bad x=(index * 5) width="4" y=(px(24.0 - height(good + bad))) height=(px(height(*bad))) {}
            }
        }
    } }
}

#[cfg(test)]
mod tests {
    use super::*;

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
