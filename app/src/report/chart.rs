//! The line chart as inline SVG: pure functions from numbers to text, and text as HTML.
//!
//! A chart is drawn twice, for a wide page and for a narrow one, and the style sheet shows the one that
//! fits: scaled down, its letters could not be read.

use std::fmt::Write;

/// A line chart over months.
pub struct Chart<'a> {
    /// What it shows, for those who do not see it.
    pub title: &'a str,
    /// One label a place on the time axis, such as `2013-04`.
    pub labels: &'a [String],
    /// The lines.
    pub series: &'a [Series<'a>],
    /// The marks on the time axis, in order.
    pub marks: &'a [Mark],
    /// A value with its name that the lines are held against.
    pub limit: Option<(f64, String)>,
}

/// One line of a chart.
pub struct Series<'a> {
    /// Its name beside its end.
    pub name: &'a str,
    /// The CSS class that colours it.
    pub class: &'a str,
    /// One value a label; a gap where there is none.
    pub values: Vec<Option<f64>>,
}

/// A mark on the time axis.
pub struct Mark {
    /// Which label it stands at; a fraction lies between two.
    pub at: f64,
    /// What it says, in a few letters.
    pub text: String,
    /// What it says in full.
    pub title: String,
}

/// The measures of a drawing, in its own units.
struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    /// Whether the lines have their names beside their ends.
    named: bool,
}

const WIDE: Frame =
    Frame { class: "wide", width: 960.0, height: 300.0, left: 52.0, right: 150.0, named: true };
const SLIM: Frame =
    Frame { class: "slim", width: 360.0, height: 250.0, left: 44.0, right: 10.0, named: false };

/// Above the lines there is room for this many rows of marks.
const MARK_ROWS: usize = 3;
const MARK_ROW: f64 = 18.0;
const BOTTOM: f64 = 40.0;
/// Between two texts, one under the other.
const LINE: f64 = 16.0;
/// A letter of the axis, about.
const LETTER: f64 = 7.0;

/// Where values and places come to lie.
struct Scale {
    low: f64,
    high: f64,
    top: f64,
    bottom: f64,
    left: f64,
    step: f64,
}

impl Scale {
    fn x(&self, at: f64) -> f64 {
        self.left + self.step * (at + 0.5)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + (self.bottom - self.top) * (self.high - value) / (self.high - self.low)
    }
}

impl Chart<'_> {
    /// The chart for wide and narrow pages, or a sentence where nothing was measured.
    pub fn html(&self) -> String {
        let values = self.series.iter().flat_map(|series| series.values.iter().flatten().copied());
        let measured: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        if measured.is_empty() || self.labels.is_empty() {
            return format!("<p class=\"quiet\">{}: nothing measured yet</p>", escape(self.title));
        }
        let (low, high) = measured
            .into_iter()
            .chain(self.limit.iter().map(|(value, _)| *value))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let pad = ((high - low) * 0.1).max(high.abs() * 1e-3).max(1e-3);
        // Shares and probabilities get no tick below none or above all.
        let (least, most) = if low >= 0.0 && high <= 1.0 { (0.0, 1.0) } else { (f64::MIN, f64::MAX) };
        let ticks = ticks((low - pad).max(least), (high + pad).min(most));
        format!("{}{}", self.svg(&WIDE, &ticks), self.svg(&SLIM, &ticks))
    }

    fn svg(&self, frame: &Frame, ticks: &[f64]) -> String {
        let places = self.labels.len() as f64;
        let step = (frame.width - frame.left - frame.right) / places;
        let rows = rows(self.marks, step);
        let used = rows.iter().flatten().max().map_or(0, |row| row + 1);
        let scale = Scale {
            low: ticks.first().copied().unwrap_or(0.0),
            high: ticks.last().copied().unwrap_or(1.0),
            top: 14.0 + used as f64 * MARK_ROW,
            bottom: frame.height - BOTTOM,
            left: frame.left,
            step,
        };
        let mut svg = format!(
            "<svg class=\"chart {}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
            frame.class,
            frame.width,
            frame.height,
            escape(self.title)
        );
        grid(&mut svg, frame, &scale, ticks);
        self.axis(&mut svg, frame, &scale);
        if let Some((value, name)) = &self.limit {
            let at = scale.y(*value);
            let _ = write!(
                svg,
                "<line class=\"limit\" x1=\"{}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"><title>{}</title></line>",
                frame.left,
                frame.width - frame.right,
                escape(name)
            );
        }
        self.marks(&mut svg, &scale, &rows);
        for one in self.series {
            line(&mut svg, one, self.labels, &scale);
        }
        if frame.named {
            self.names(&mut svg, frame, &scale);
        }
        svg.push_str("</svg>");
        svg
    }

    fn axis(&self, svg: &mut String, frame: &Frame, scale: &Scale) {
        let widest = self.labels.iter().map(|label| month(label).0.chars().count()).max().unwrap_or(0);
        let every = ((widest as f64 * LETTER + 6.0) / scale.step).ceil().max(1.0) as usize;
        let mut year = None;
        for (index, label) in self.labels.iter().enumerate().step_by(every) {
            let (name, of) = month(label);
            let x = scale.x(index as f64);
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                frame.height - 22.0,
                escape(name)
            );
            if of.is_some() && of != year {
                year = of;
                let _ = write!(
                    svg,
                    "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                    frame.height - 7.0,
                    escape(of.unwrap_or_default())
                );
            }
        }
    }

    fn marks(&self, svg: &mut String, scale: &Scale, rows: &[Option<usize>]) {
        for (mark, row) in self.marks.iter().zip(rows) {
            let x = scale.x(mark.at);
            let top = row.map_or(scale.top, |row| 8.0 + (row + 1) as f64 * MARK_ROW);
            let _ = write!(
                svg,
                "<g class=\"mark\"><title>{}</title><line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{:.1}\"/>",
                escape(&mark.title),
                scale.bottom
            );
            if row.is_some() {
                let wide = pill(&mark.text);
                let _ = write!(
                    svg,
                    "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{wide:.1}\" height=\"15\" rx=\"7.5\"/>\
                     <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    x - wide / 2.0,
                    top - 15.0,
                    top - 3.5,
                    escape(&mark.text)
                );
            }
            svg.push_str("</g>");
        }
    }

    /// The names beside the ends of the lines, pushed apart where they would lie on one another.
    fn names(&self, svg: &mut String, frame: &Frame, scale: &Scale) {
        let mut names: Vec<(f64, &str, String)> = self
            .series
            .iter()
            .filter_map(|one| {
                let last = one.values.iter().rev().flatten().find(|value| value.is_finite())?;
                Some((scale.y(*last), one.class, format!("{} {last:.3}", one.name)))
            })
            .collect();
        names.extend(self.limit.iter().map(|(value, name)| (scale.y(*value), "limit", name.clone())));
        names.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut ys: Vec<f64> = names.iter().map(|(y, ..)| *y).collect();
        apart(&mut ys, LINE, scale.top, scale.bottom);
        for ((_, class, text), y) in names.iter().zip(ys) {
            let _ = write!(
                svg,
                "<text class=\"name {class}\" x=\"{}\" y=\"{:.1}\">{}</text>",
                frame.width - frame.right + 8.0,
                y + 4.0,
                escape(text)
            );
        }
    }
}

fn grid(svg: &mut String, frame: &Frame, scale: &Scale, ticks: &[f64]) {
    let width = ticks.first().zip(ticks.get(1)).map_or(1.0, |(a, b)| b - a);
    let digits = (-width.log10()).ceil().clamp(0.0, 6.0) as usize;
    // A step of 0.025 needs a digit more than one of 0.02.
    let exact = |digits: usize| {
        let scaled = width * 10_f64.powi(digits as i32);
        (scaled - scaled.round()).abs() < 1e-6
    };
    let digits = if exact(digits) { digits } else { digits + 1 };
    for value in ticks {
        let at = scale.y(*value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.digits$}</text>",
            frame.left,
            frame.width - frame.right,
            frame.left - 8.0,
            at + 4.0
        );
    }
}

fn line(svg: &mut String, one: &Series<'_>, labels: &[String], scale: &Scale) {
    let mut path = String::new();
    let mut pen = 'M';
    let values: Vec<Option<f64>> =
        one.values.iter().map(|value| value.filter(|value| value.is_finite())).collect();
    for (index, value) in values.iter().enumerate() {
        match value {
            Some(value) => {
                let _ = write!(path, "{pen}{:.1} {:.1} ", scale.x(index as f64), scale.y(*value));
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    let _ = write!(svg, "<path class=\"line {}\" d=\"{}\"/>", one.class, path.trim_end());
    for (index, value) in values.iter().enumerate() {
        if let (Some(value), Some(label)) = (value, labels.get(index)) {
            let _ = write!(
                svg,
                "<circle class=\"dot {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"><title>{} {}: {value:.4}</title></circle>",
                one.class,
                scale.x(index as f64),
                scale.y(*value),
                escape(one.name),
                escape(label)
            );
        }
    }
}

/// Round numbers that enclose the values, five to eight of them in most cases.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let raw = (high - low) / 6.0;
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= raw)
        .unwrap_or(10.0 * power);
    let first = (low / step).floor() as i64;
    let last = (high / step).ceil() as i64;
    // At most eight, since the step is at least a sixth of the range.
    (first..=last.min(first.saturating_add(8))).map(|count| count as f64 * step).collect()
}

/// In which row each mark's text stands, so that no two lie on one another; none where there is no room.
fn rows(marks: &[Mark], step: f64) -> Vec<Option<usize>> {
    let mut ends = [f64::NEG_INFINITY; MARK_ROWS];
    marks
        .iter()
        .map(|mark| {
            let half = pill(&mark.text) / 2.0;
            let x = mark.at * step;
            let row = ends.iter().position(|end| x - half >= end + 3.0)?;
            if let Some(end) = ends.get_mut(row) {
                *end = x + half;
            }
            Some(row)
        })
        .collect()
}

fn pill(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER + 10.0
}

/// Moves sorted places until each is at least `gap` below the one before, within the bounds where they fit.
fn apart(ys: &mut [f64], gap: f64, top: f64, bottom: f64) {
    let mut least = top;
    for y in ys.iter_mut() {
        *y = y.max(least);
        least = *y + gap;
    }
    let mut most = bottom;
    for y in ys.iter_mut().rev() {
        *y = y.min(most);
        most = *y - gap;
    }
}

/// A month's name and year; anything else as it is.
pub fn month(label: &str) -> (&str, Option<&str>) {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parsed = label.split_once('-').and_then(|(year, rest)| {
        let number: usize = rest.split('-').next()?.parse().ok()?;
        Some((*NAMES.get(number.checked_sub(1)?)?, year))
    });
    parsed.map_or((label, None), |(name, year)| (name, Some(year)))
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_gap_breaks_the_line_and_text_is_escaped() {
        let labels = labels(&["a", "b", "c"]);
        let series = [Series { name: "x<y", class: "s", values: vec![Some(1.0), None, Some(2.0)] }];
        let chart = Chart { title: "t\"", labels: &labels, series: &series, marks: &[], limit: None };
        let svg = chart.svg(&SLIM, &[1.0, 1.5, 2.0]);
        assert_eq!(svg.matches('M').count(), 2);
        assert!(svg.contains("x&lt;y a: 1.0000") && svg.contains("aria-label=\"t&quot;\""));
    }

    #[test]
    fn nothing_measured_is_said() {
        let chart = Chart { title: "auc", labels: &[], series: &[], marks: &[], limit: None };
        assert!(chart.html().contains("nothing measured"));
    }

    #[test]
    fn numbers_that_are_none_and_large_equal_ones_draw_no_nonsense() {
        let labels = labels(&["2013-04", "2013-05"]);
        for values in
            [vec![Some(1e18), Some(1e18)], vec![Some(f64::INFINITY), Some(0.5)], vec![Some(f64::NAN), None]]
        {
            let series = [Series { name: "s", class: "s", values }];
            let chart = Chart { title: "t", labels: &labels, series: &series, marks: &[], limit: None };
            let html = chart.html();
            assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
        }
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        for (low, high) in [(0.69, 0.79), (0.29, 0.55), (0.0, 1.0), (-3.0, 1200.0), (0.499, 0.501)] {
            let ticks = ticks(low, high);
            assert!(ticks[0] <= low && *ticks.last().unwrap() >= high, "{ticks:?}");
            assert!((3..=9).contains(&ticks.len()), "{ticks:?}");
        }
    }

    #[test]
    fn names_at_the_same_height_are_pushed_apart_within_the_frame() {
        let mut ys = [50.0, 51.0, 99.0];
        apart(&mut ys, 10.0, 0.0, 100.0);
        assert_eq!(ys, [50.0, 60.0, 99.0]);
        let mut ys = [98.0, 99.0, 99.0];
        apart(&mut ys, 10.0, 0.0, 100.0);
        assert_eq!(ys, [80.0, 90.0, 100.0]);
    }

    #[test]
    fn marks_close_to_one_another_stand_in_rows_and_the_fourth_loses_its_text() {
        let marks: Vec<Mark> = [0.0, 0.01, 0.02, 0.03, 3.0]
            .map(|at| Mark { at, text: "v1".to_owned(), title: String::new() })
            .into_iter()
            .collect();
        assert_eq!(rows(&marks, 80.0), [Some(0), Some(1), Some(2), None, Some(0)]);
    }

    #[test]
    fn a_month_is_named_and_anything_else_stays() {
        assert_eq!(month("2013-04"), ("Apr", Some("2013")));
        assert_eq!(month("2013-04-29"), ("Apr", Some("2013")));
        assert_eq!(month("2013-13"), ("2013-13", None));
        assert_eq!(month("week 3"), ("week 3", None));
    }
}
