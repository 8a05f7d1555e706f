//! Reports of checks as one page that needs nothing else: what fails first, with its rows; light and dark.

use std::fmt::Write;

use rondo_data::check::FileReport;
use rondo_table::checks::{FailingRows, RuleResult, Severity};

use super::shortened;
use crate::report::chart::escape;
use crate::report::html::styled;
use crate::report::tables::count;

/// What this page has beyond the style of all pages.
const STYLE: &str = "\
.warn{color:#8a5a00}.mark{font-weight:600;white-space:nowrap}\
td.v{font:.85rem/1.5 ui-monospace,monospace;overflow-wrap:anywhere}details{margin:.35rem 0}details summary{margin:0;color:var(--quiet)}\
.rows td{white-space:nowrap;max-width:24rem;overflow:hidden;text-overflow:ellipsis}.gone{color:var(--quiet)}\
@media(prefers-color-scheme:dark){.warn{color:#f0b95a}}";

/// The page.
pub fn page(title: &str, verdict: &str, reports: &[FileReport]) -> String {
    let passed = reports.iter().all(FileReport::passed);
    let class = if passed { "good" } else { "bad" };
    let mut body = format!(
        "<header><p class=\"eyebrow\">data checks</p><h1>{}</h1><p class=\"lede mark {class}\">{}</p></header>",
        escape(title),
        escape(verdict)
    );
    for report in reports {
        let source =
            if report.report.from_profile { ", from the stored profile: no row was read" } else { "" };
        let _ = write!(
            body,
            "<section><h2>{}</h2><p class=\"note\">{} rows{source}</p>",
            escape(&report.file),
            count(report.report.rows)
        );
        rules(&mut body, &report.report.rules);
        if let Some(failing) = &report.failing {
            rows(&mut body, failing);
        }
        body.push_str("</section>");
    }
    styled(&format!("Checks of {title}"), STYLE, &body)
}

fn rules(out: &mut String, rules: &[RuleResult]) {
    out.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>result</th><th>column</th><th>expected</th>\
         <th>found</th><th class=\"n\">unexpected</th><th class=\"n\">of</th></tr></thead><tbody>",
    );
    for rule in super::failures_first(rules) {
        let (class, word) = match (rule.passed, rule.severity) {
            (true, _) => ("good", "✓ passed"),
            (false, Severity::Error) => ("bad", "✕ failed"),
            (false, Severity::Warning) => ("warn", "! warning"),
            (false, Severity::Info) => ("warn", "i info"),
        };
        let slice = rule.slice.as_ref().map_or_else(String::new, |slice| format!(" [{slice}]"));
        let name = rule.name.as_ref().map_or_else(String::new, |name| format!("{name}: "));
        let expected = format!("{name}{}{slice}", rule.expected);
        let _ = write!(
            out,
            "<tr><td class=\"mark {class}\">{word}</td><td>{}</td><td>{}</td><td class=\"v\">{}",
            escape(&rule.columns.join(", ")),
            escape(&expected),
            escape(&rule.found()),
        );
        if !rule.passed && !rule.sample.is_empty() {
            out.push_str("<details open><summary>rows</summary>");
            for sample in &rule.sample {
                let _ = write!(out, "row {}: {}<br>", sample.row, escape(&shortened(&sample.text())));
            }
            out.push_str("</details>");
        }
        let count =
            if rule.unexpected_count == 0 { String::new() } else { rule.unexpected_count.to_string() };
        let of = if rule.rows == 0 { String::new() } else { rule.rows.to_string() };
        let _ = write!(out, "</td><td class=\"n\">{count}</td><td class=\"n\">{of}</td></tr>");
    }
    out.push_str("</tbody></table></div>");
}

fn rows(out: &mut String, failing: &FailingRows) {
    let _ = write!(
        out,
        "<h3>The first {}</h3><div class=\"scroll\"><table class=\"rows\"><thead><tr>",
        if failing.len() > super::files::PAGE_ROWS {
            format!("{} of {} gathered rows that fail", super::files::PAGE_ROWS, failing.len())
        } else {
            format!("{} rows that fail", failing.len())
        }
    );
    for (index, name) in failing.columns().iter().enumerate() {
        let name = match index {
            0 => "row",
            1 => "breaks",
            _ => name,
        };
        let _ = write!(out, "<th>{}</th>", escape(name));
    }
    out.push_str("</tr></thead><tbody>");
    for row in failing.first(super::files::PAGE_ROWS).texts() {
        out.push_str("<tr>");
        for cell in row {
            let _ = match cell {
                Some(text) => write!(out, "<td>{}</td>", escape(&shortened(&text))),
                None => write!(out, "<td class=\"gone\">–</td>"),
            };
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
}
