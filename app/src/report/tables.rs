//! The report's tables: what set off retraining and what came of it, the versions, the data; and how
//! numbers are written in them.

use std::fmt::Write;

use super::chart::escape;
use super::html::metric_name;
use super::{AlertLine, DatasetLine, LoopReport};

/// The attempts to retrain, and the alerts behind them by kind.
pub fn retraining(report: &LoopReport) -> String {
    let mut html = String::from("<section id=\"retraining\"><h2>Alerts and retraining</h2>");
    if report.attempts.is_empty() {
        html.push_str("<p class=\"quiet\">no alert has led to retraining yet</p>");
    } else {
        html.push_str(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"attempts to retrain\">\
             <table class=\"wordy\"><thead><tr><th>event time</th><th>result</th><th>what came of it</th>\
             <th>why</th></tr></thead><tbody>",
        );
    }
    for attempt in &report.attempts {
        let (name, message) = attempt.cause.split_once(": ").unwrap_or(("", &attempt.cause));
        let _ = write!(
            html,
            "<tr><td class=\"day\">{}</td><td><span class=\"state {state}\">{state}</span></td><td>{}</td>\
             <td>{} <code class=\"quiet\">{}</code></td></tr>",
            attempt.at.day(),
            code_spans(&attempt.outcome),
            code_spans(message),
            escape(name),
            state = escape(&attempt.state),
        );
    }
    if !report.attempts.is_empty() {
        html.push_str("</tbody></table></div>");
    }
    for (kind, alerts) in kinds(report) {
        alert_list(&mut html, &kind, &alerts);
    }
    html.push_str("</section>");
    html
}

/// The alerts by kind, the fewest first: `delay.drift.temp` is of kind `drift`.
fn kinds(report: &LoopReport) -> Vec<(String, Vec<&AlertLine>)> {
    let mut kinds: Vec<(String, Vec<&AlertLine>)> = Vec::new();
    for alert in &report.alerts {
        // The first part is the monitor.
        let kind = alert.name.split('.').nth(1).unwrap_or(&alert.name);
        match kinds.iter_mut().find(|(known, _)| known == kind) {
            Some((_, alerts)) => alerts.push(alert),
            None => kinds.push((kind.to_owned(), vec![alert])),
        }
    }
    kinds.sort_by_key(|(_, alerts)| alerts.len());
    kinds
}

fn alert_list(html: &mut String, kind: &str, alerts: &[&AlertLine]) {
    let noun = if alerts.len() == 1 { "alert" } else { "alerts" };
    let _ = write!(
        html,
        "<details><summary>{} {} {noun}</summary><div class=\"scroll\"><table class=\"wordy\"><thead><tr>\
         <th>event time</th><th>alert</th><th>what moved</th></tr></thead><tbody>",
        count(alerts.len() as u64),
        escape(kind)
    );
    for alert in alerts {
        let _ = write!(
            html,
            "<tr><td class=\"day\">{}</td><td><code>{}</code></td><td>{}</td></tr>",
            alert.at.day(),
            escape(&alert.name),
            code_spans(&alert.message)
        );
    }
    html.push_str("</tbody></table></div></details>");
}

/// The model's versions, the newest first.
pub fn versions(report: &LoopReport) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in report.versions.iter().flat_map(|version| &version.metrics) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mut html = String::from(
        "<section id=\"versions\"><h2>Versions</h2><p class=\"note\">With the numbers of each version's own \
         gate, on rows that it had not seen: different weeks, so not to be compared with one another.</p>\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"versions\"><table><thead><tr>\
         <th>version</th><th>trained until</th>",
    );
    for name in &names {
        let _ = write!(html, "<th class=\"n\">{}</th>", escape(&metric_name(name)));
    }
    html.push_str("<th>file</th><th>run</th></tr></thead><tbody>");
    for version in report.versions.iter().rev() {
        let _ = write!(html, "<tr><th scope=\"row\">v{}", version.version);
        for alias in &version.aliases {
            let _ = write!(html, " <span class=\"state {0}\">{0}</span>", escape(alias));
        }
        let _ = write!(
            html,
            "</th><td class=\"day\">{}</td>",
            version.trained_until.map_or_else(|| "–".to_owned(), |at| at.day())
        );
        for name in &names {
            let value = version.metrics.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
            let _ = write!(html, "<td class=\"n\">{}</td>", number(value));
        }
        let _ = write!(
            html,
            "<td><code>{}</code></td><td><code>{}</code></td></tr>",
            escape(&version.file),
            escape(&version.run)
        );
    }
    html.push_str("</tbody></table></div></section>");
    html
}

/// The newest version of each dataset, and the earlier ones behind a click.
pub fn datasets(report: &LoopReport) -> String {
    const HEAD: &str = "<thead><tr><th>dataset</th><th>version</th><th class=\"n\">files</th>\
                        <th class=\"n\">rows</th><th class=\"n\">size</th></tr></thead><tbody>";
    let newest: Vec<&DatasetLine> = report
        .datasets
        .iter()
        .enumerate()
        .filter(|(index, line)| {
            !report.datasets.iter().skip(index + 1).any(|later| later.dataset == line.dataset)
        })
        .map(|(_, line)| line)
        .collect();
    let mut html = format!(
        "<section id=\"data\"><h2>Data</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"datasets\"><table>{HEAD}"
    );
    for line in &newest {
        dataset_row(&mut html, line);
    }
    html.push_str("</tbody></table></div>");
    if newest.len() < report.datasets.len() {
        let _ = write!(
            html,
            "<details><summary>All {} dataset versions</summary><div class=\"scroll\"><table>{HEAD}",
            report.datasets.len()
        );
        for line in &report.datasets {
            dataset_row(&mut html, line);
        }
        html.push_str("</tbody></table></div></details>");
    }
    html.push_str("</section>");
    html
}

fn dataset_row(html: &mut String, line: &DatasetLine) {
    let _ = write!(
        html,
        "<tr><th scope=\"row\">{}</th><td><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\" title=\"{} bytes\">{}</td></tr>",
        escape(&line.dataset),
        escape(&line.digest),
        count(line.files),
        line.rows.map_or_else(|| "–".to_owned(), count),
        count(line.size),
        size(line.size),
    );
}

/// A metric's value, or a dash.
pub fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
}

/// A count with a comma after each three digits.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that suits them.
pub fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// Text as HTML, with what stands between backticks as code.
pub fn code_spans(text: &str) -> String {
    if text.matches('`').count() % 2 == 1 {
        return escape(text);
    }
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            let _ = write!(html, "<code>{}</code>", escape(part));
        } else {
            html.push_str(&escape(part));
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes_read_well() {
        assert_eq!(
            [0, 999, 1000, 253_988, 1_000_000].map(count),
            ["0", "999", "1,000", "253,988", "1,000,000"]
        );
        assert_eq!([12, 999, 1000, 31_055_588].map(size), ["12 B", "999 B", "1.0 kB", "31.1 MB"]);
    }

    #[test]
    fn backticks_become_code_and_an_odd_one_stays() {
        assert_eq!(code_spans("objective `a ≤ <5>` is"), "objective <code>a ≤ &lt;5&gt;</code> is");
        assert_eq!(code_spans("a ` b"), "a ` b");
    }
}
