//! The checks of what was sent with predictions, over all windows: one line a rule.

use std::collections::HashMap;
use std::fmt::Write;

use rondo_core::Timestamp;
use rondo_monitoring::quality::Finding;
use rondo_monitoring::window::WindowReport;
use rondo_table::checks::Severity;
use serde::Serialize;

use super::chart::escape;
use super::tables::{code_spans, count};

/// One rule over all windows. Of a rule with slices a window breaks it when one slice does.
#[derive(Debug, Clone, Serialize)]
pub struct CheckLine {
    /// The last part of its alert's name.
    pub name: String,
    /// The rule in words.
    pub rule: String,
    /// What a failure means.
    pub severity: Severity,
    /// Windows that were asked.
    pub windows: u64,
    /// Of which broke it.
    pub broken: u64,
    /// Whether the newest of them did.
    pub stands: bool,
    /// The last window that broke it, and what was found there.
    pub last: Option<(Timestamp, String)>,
    /// The newest window that was asked.
    #[serde(skip)]
    newest: Timestamp,
}

impl CheckLine {
    fn new(finding: &Finding) -> Self {
        Self {
            name: finding.alert.clone(),
            rule: words(finding),
            severity: finding.result.severity,
            windows: 0,
            broken: 0,
            stands: false,
            last: None,
            newest: Timestamp(i64::MIN),
        }
    }

    fn see(&mut self, start: Timestamp, finding: &Finding) {
        if self.newest != start {
            self.newest = start;
            // The newest words: a rule may have been changed under the same name.
            self.rule = words(finding);
            self.severity = finding.result.severity;
            self.windows += 1;
            self.stands = false;
        }
        if !finding.result.passed && !self.stands {
            self.stands = true;
            self.broken += 1;
            self.last = Some((start, finding.result.message()));
        }
    }
}

fn words(finding: &Finding) -> String {
    let result = &finding.result;
    if result.columns.is_empty() {
        result.expected.clone()
    } else {
        format!("{}: {}", result.columns.join(", "), result.expected)
    }
}

/// The rules of all windows, in the order in which they were first asked.
pub fn lines(windows: &[WindowReport]) -> Vec<CheckLine> {
    let mut lines: Vec<CheckLine> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for window in windows {
        for finding in window.quality.iter().flat_map(|quality| &quality.rules) {
            let at = *places.entry(&finding.alert).or_insert_with(|| {
                lines.push(CheckLine::new(finding));
                lines.len() - 1
            });
            if let Some(line) = lines.get_mut(at) {
                line.see(window.window.start, finding);
            }
        }
    }
    // A rule that is not asked any more does not stand. A window with too few rows is not asked for most.
    let judged = windows.iter().filter(|window| window.judged).map(|window| window.window.start).max();
    for line in lines.iter_mut().filter(|line| judged.is_some_and(|judged| line.newest < judged)) {
        line.stands = false;
    }
    lines
}

/// The section of the page; nothing where nothing is checked.
pub fn section(lines: &[CheckLine]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<section id=\"checks\"><h2>Checks of the inputs</h2><p class=\"note\">What was sent with the \
         predictions of each window, against the monitor's checks.</p><div class=\"scroll\" tabindex=\"0\" \
         role=\"region\" aria-label=\"checks of the inputs\"><table class=\"wordy\"><thead><tr><th>check</th>\
         <th>newest window</th><th class=\"n\">windows</th><th class=\"n\">broken</th><th>last broken</th>\
         </tr></thead><tbody>",
    );
    for line in lines {
        let state = match (line.stands, line.severity) {
            (false, _) => "passed",
            (true, Severity::Error) => "failed",
            (true, Severity::Warning) => "warning",
            (true, Severity::Info) => "info",
        };
        let last = line
            .last
            .as_ref()
            .map_or_else(|| "never".to_owned(), |(at, found)| format!("{}: {}", at.day(), code_spans(found)));
        let _ = write!(
            html,
            "<tr><th scope=\"row\"><code>{}</code></th><td><span class=\"state {state}\">{state}</span></td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{last}</td></tr>",
            escape(&line.rule),
            count(line.windows),
            count(line.broken),
        );
    }
    html.push_str("</tbody></table></div></section>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_is_not_asked_any_more_does_not_stand() {
        let window = |day: i64, judged: bool, rules: &[(&str, &str)]| -> WindowReport {
            let rules: Vec<_> = rules
                .iter()
                .map(|(alert, expected)| {
                    serde_json::json!({
                        "alert": alert, "rule": "", "check": "between", "columns": ["a"], "passed": false,
                        "expected": expected, "severity": "error", "rows": 1, "unexpected_count": 1,
                        "unexpected_percent": 100.0,
                    })
                })
                .collect();
            let time = |day: i64| Timestamp(0) + rondo_core::Span::days(day);
            serde_json::from_value(serde_json::json!({
                "window": { "start": time(day), "end": time(day + 1) }, "model": "m", "rows": 1,
                "judged": judged, "versions": {}, "reference": null, "mean_score": null, "drift": [],
                "quality": { "passed": false, "failed": 1, "warnings": 0, "notes": 0, "rules": rules },
                "latency_p99_ms": null, "evaluation": null, "verdicts": [],
            }))
            .unwrap()
        };
        let windows = [
            window(0, true, &[("gone", "1"), ("kept", "1")]),
            window(1, true, &[("kept", "2")]),
            window(2, false, &[("rows", "1")]),
        ];
        let found = lines(&windows);
        let found: Vec<_> =
            found.iter().map(|line| (line.name.as_str(), line.rule.as_str(), line.stands)).collect();
        assert_eq!(found, [("gone", "a: 1", false), ("kept", "a: 2", true), ("rows", "a: 1", true)]);
    }

    #[test]
    fn nothing_of_the_data_is_taken_for_markup() {
        let line = CheckLine {
            name: "a.in_set".to_owned(),
            rule: "a: in_set <b>".to_owned(),
            severity: Severity::Error,
            windows: 3,
            broken: 1,
            stands: false,
            last: Some((Timestamp(0), "found <script>".to_owned())),
            newest: Timestamp(0),
        };
        let html = section(&[line.clone(), CheckLine { stands: true, last: None, ..line }]);
        assert!(
            html.contains("1970-01-01: found &lt;script&gt;") && html.contains("in_set &lt;b&gt;"),
            "{html}"
        );
        assert!(html.contains("state passed") && html.contains("state failed") && html.contains(">never<"));
        assert_eq!(section(&[]), "");
    }
}
