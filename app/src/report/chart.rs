//! Small pictures as inline SVG: a line chart and a heat map. Pure functions from numbers to text.

use std::fmt::Write;

/// One line of a chart.
pub struct Series<'a> {
    /// Its name in the legend.
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
    /// What it says.
    pub text: String,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 34.0;

/// A line chart with a mark for each promotion and, where there is one, the objective's line.
pub fn lines(
    title: &str,
    labels: &[String],
    series: &[Series<'_>],
    marks: &[Mark],
    limit: Option<(f64, &str)>,
) -> String {
    let values = series.iter().flat_map(|series| series.values.iter().flatten().copied());
    let (low, high) = values
        .chain(limit.map(|(value, _)| value))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if !low.is_finite() || labels.is_empty() {
        return format!("<p class=\"quiet\">{}: nothing measured</p>", escape(title));
    }
    let pad = ((high - low) * 0.12).max(1e-3);
    let (low, high) = (low - pad, high + pad);
    let step = (WIDTH - LEFT - RIGHT) / (labels.len().max(2) - 1) as f64;
    let x = |at: f64| LEFT + step * at;
    let y = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low);
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    );
    for tick in 0..=4 {
        let value = low + (high - low) * f64::from(tick) / 4.0;
        let at = y(value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.3}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (index, label) in labels.iter().enumerate() {
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x(index as f64),
            HEIGHT - 12.0,
            escape(label)
        );
    }
    if let Some((value, name)) = limit {
        let at = y(value);
        let _ = write!(
            svg,
            "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"><title>{}</title></line>",
            WIDTH - RIGHT,
            escape(name)
        );
    }
    for mark in marks {
        let at = x(mark.at);
        let _ = write!(
            svg,
            "<g class=\"mark\"><line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{}</text></g>",
            HEIGHT - BOTTOM,
            at + 3.0,
            TOP - 4.0,
            escape(&mark.text)
        );
    }
    for one in series {
        let mut path = String::new();
        let mut pen = 'M';
        for (index, value) in one.values.iter().enumerate() {
            match value {
                Some(value) => {
                    let _ = write!(path, "{pen}{:.1} {:.1} ", x(index as f64), y(*value));
                    pen = 'L';
                }
                None => pen = 'M',
            }
        }
        let _ = write!(svg, "<path class=\"line {}\" d=\"{path}\"/>", one.class);
        for (index, value) in one.values.iter().enumerate() {
            if let (Some(value), Some(label)) = (value, labels.get(index)) {
                let _ = write!(
                    svg,
                    "<circle class=\"dot {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{} {}: {value:.4}</title></circle>",
                    one.class,
                    x(index as f64),
                    y(*value),
                    escape(one.name),
                    escape(label)
                );
            }
        }
    }
    svg.push_str("</svg>");
    svg
}

/// A heat map: rows of cells with a value from 0 (nothing) to 1 or more (over the threshold), each with
/// what it says.
pub fn heat(columns: &[String], rows: &[(String, Vec<Option<(f64, String)>>)]) -> String {
    let mut html = String::from("<div class=\"scroll\"><table class=\"heat\"><thead><tr><th></th>");
    for column in columns {
        let _ = write!(html, "<th scope=\"col\"><span>{}</span></th>", escape(column));
    }
    html.push_str("</tr></thead><tbody>");
    for (name, cells) in rows {
        let _ = write!(html, "<tr><th scope=\"row\">{}</th>", escape(name));
        for cell in cells {
            match cell {
                Some((value, detail)) => {
                    let level = (value.clamp(0.0, 2.0) / 2.0 * 10.0).round() as i64;
                    let over = if *value >= 1.0 { " over" } else { "" };
                    let mark = if *value >= 1.0 { "●" } else { "" };
                    let _ =
                        write!(html, "<td class=\"h{level}{over}\" title=\"{}\">{mark}</td>", escape(detail));
                }
                None => html.push_str("<td></td>"),
            }
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
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

    #[test]
    fn a_gap_breaks_the_line_and_text_is_escaped() {
        let labels: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        let series = [Series { name: "x<y", class: "s", values: vec![Some(1.0), None, Some(2.0)] }];
        let svg = lines("t\"", &labels, &series, &[], None);
        assert_eq!(svg.matches('M').count(), 2);
        assert!(svg.contains("x&lt;y a: 1.0000") && svg.contains("aria-label=\"t&quot;\""));
    }

    #[test]
    fn nothing_measured_is_said() {
        assert!(lines("auc", &[], &[], &[], None).contains("nothing measured"));
    }
}
