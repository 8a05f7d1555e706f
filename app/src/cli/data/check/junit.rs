//! Reports of checks as JUnit XML, which every CI service shows: a suite a file, a case a rule.

use std::fmt::Write;

use rondo_data::check::FileReport;
use rondo_table::checks::Severity;

/// The document. What is true of one time alone, such as the window that was checked, is a property: a CI service
/// tells tests by their names, which stay the same.
pub fn document(reports: &[FileReport], properties: &[(&str, String)]) -> String {
    let failing = |report: &FileReport| {
        report.report.failures().filter(|rule| rule.severity == Severity::Error).count()
    };
    let tests: usize = reports.iter().map(|report| report.report.rules.len()).sum();
    let failures: usize = reports.iter().map(failing).sum();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"rondo data check\" tests=\"{tests}\" failures=\"{failures}\">");
    for report in reports {
        let (name, count) = (escape(&report.file), report.report.rules.len());
        let _ = writeln!(
            out,
            "  <testsuite name=\"{name}\" tests=\"{count}\" failures=\"{}\" errors=\"0\" skipped=\"0\">",
            failing(report)
        );
        if !properties.is_empty() {
            out.push_str("    <properties>\n");
            for (name, value) in properties {
                let (name, value) = (escape(name), escape(value));
                let _ = writeln!(out, "      <property name=\"{name}\" value=\"{value}\"/>");
            }
            out.push_str("    </properties>\n");
        }
        for rule in &report.report.rules {
            let title = match (&rule.name, &rule.slice) {
                (Some(name), Some(slice)) => escape(&format!("{name} [{slice}]")),
                (Some(name), None) => escape(name),
                (None, _) => escape(&rule.rule),
            };
            let _ = write!(out, "    <testcase classname=\"{name}\" name=\"{title}\"");
            if rule.passed {
                out.push_str("/>\n");
                continue;
            }
            out.push_str(">\n");
            let mut text = rule.message();
            for sample in &rule.sample {
                let _ = write!(text, "\nrow {}: {}", sample.row, sample.text());
            }
            // A warning is no failure of the build, but is to be read.
            if rule.severity == Severity::Error {
                let _ = writeln!(
                    out,
                    "      <failure type=\"{}\" message=\"{}\">{}</failure>",
                    escape(&rule.check),
                    escape(&rule.message()),
                    escape(&text)
                );
            } else {
                let _ = writeln!(
                    out,
                    "      <system-out>{}: {}</system-out>",
                    rule.severity.text(),
                    escape(&text)
                );
            }
            out.push_str("    </testcase>\n");
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// A text for XML, without the characters that XML cannot hold.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' => out.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                out.push('\u{fffd}')
            }
            letter => out.push(letter),
        }
    }
    out
}
