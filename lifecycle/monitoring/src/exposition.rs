//! The newest window of each monitor in Prometheus's text format. The values move when a window has been
//! looked at, in event time; what happens in between is told by the endpoints' own counters.

use std::fmt::Write;

use rondo_table::checks::Severity;

use crate::quality::Finding;
use crate::window::WindowReport;

/// The numbers of the newest windows, each with its monitor's name; nothing where there are none.
pub fn exposition(newest: &[(String, WindowReport)]) -> String {
    let mut text = String::new();
    if newest.is_empty() {
        return text;
    }
    gauge(&mut text, "rondo_monitor_window_end_seconds", "The end of the newest window, in event time.");
    for (name, report) in newest {
        let end = report.window.end.millis() as f64 / 1000.0;
        let _ = writeln!(text, "rondo_monitor_window_end_seconds{{monitor=\"{}\"}} {end}", escaped(name));
    }
    gauge(&mut text, "rondo_monitor_window_rows", "Predictions in the newest window.");
    for (name, report) in newest {
        let _ = writeln!(text, "rondo_monitor_window_rows{{monitor=\"{}\"}} {}", escaped(name), report.rows);
    }
    gauge(&mut text, "rondo_monitor_columns_drifted", "Columns of the newest window that have drifted.");
    for (name, report) in newest {
        let drifted = report.drift.iter().filter(|drift| drift.drifted).count();
        let _ = writeln!(text, "rondo_monitor_columns_drifted{{monitor=\"{}\"}} {drifted}", escaped(name));
    }
    gauge(&mut text, "rondo_monitor_checks_failed", "Checks that the newest window's inputs do not pass.");
    for (name, report) in newest {
        let Some(quality) = &report.quality else { continue };
        let counts = [
            (Severity::Error, quality.failed),
            (Severity::Warning, quality.warnings),
            (Severity::Info, quality.notes),
        ];
        for (severity, count) in counts {
            let (name, severity) = (escaped(name), severity.text());
            let _ = writeln!(
                text,
                "rondo_monitor_checks_failed{{monitor=\"{name}\",severity=\"{severity}\"}} {count}"
            );
        }
    }
    each(&mut text, newest, "rondo_monitor_check_passed", "Whether a check holds.", |finding| {
        Some(f64::from(u8::from(finding.result.passed)))
    });
    let help = "The share of values that do not pass a check.";
    each(&mut text, newest, "rondo_monitor_check_unexpected_ratio", help, |finding| {
        (finding.result.rows > 0).then_some(finding.result.unexpected_percent / 100.0)
    });
    text
}

/// One line a rule and slice.
fn each(
    text: &mut String,
    newest: &[(String, WindowReport)],
    metric: &str,
    help: &str,
    value: fn(&Finding) -> Option<f64>,
) {
    gauge(text, metric, help);
    for (name, report) in newest {
        for finding in report.quality.iter().flat_map(|quality| &quality.rules) {
            let Some(value) = value(finding) else { continue };
            let slice = finding.result.slice.as_deref().unwrap_or_default();
            let _ = writeln!(
                text,
                "{metric}{{monitor=\"{}\",check=\"{}\",slice=\"{}\",severity=\"{}\"}} {value}",
                escaped(name),
                escaped(&finding.alert),
                escaped(slice),
                finding.result.severity.text()
            );
        }
    }
}

fn gauge(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
