//! Reports of checks as one page that needs nothing else: what fails first, with its rows; light and dark.

use std::fmt::Write;

use rondo_data::check::FileReport;
use rondo_table::checks::{FailingRows, RuleResult, Severity};

use crate::report::chart::escape;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6575;--line:#dfe3ea;--ground:#fff;--raised:#f6f7f9;\
--bad:#b3261e;--warn:#8a5a00;--good:#1b6e3c}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa4b5;--line:#323a48;--ground:#151922;\
--raised:#1d232e;--bad:#ff8a80;--warn:#f0b95a;--good:#7fd39b}}\
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\
main{max-width:72rem;margin:0 auto;padding:2rem 1.25rem 4rem}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2.5rem 0 .5rem}p{margin:.25rem 0;color:var(--soft)}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}\
th{font-weight:600;text-align:left;color:var(--soft)}\
th,td{padding:.4rem .7rem .4rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
td.v{font-family:ui-monospace,monospace;font-size:.85rem;overflow-wrap:anywhere}\
.bad{color:var(--bad)}.warn{color:var(--warn)}.good{color:var(--good)}.mark{font-weight:600;white-space:nowrap}\
details{margin:.35rem 0}summary{cursor:pointer;color:var(--soft)}\
.rows td{white-space:nowrap;max-width:24rem;overflow:hidden;text-overflow:ellipsis}.gone{color:var(--soft)}";

/// The page.
pub fn page(title: &str, verdict: &str, reports: &[FileReport]) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    let _ =
        write!(out, "<title>Checks of {}</title><style>{STYLE}</style></head><body><main>", escape(title));
    let passed = reports.iter().all(FileReport::passed);
    let class = if passed { "good" } else { "bad" };
    let _ =
        write!(out, "<h1>Checks of {}</h1><p class=\"{class} mark\">{}</p>", escape(title), escape(verdict));
    for report in reports {
        let _ = write!(out, "<h2>{}</h2>", escape(&report.file));
        let source =
            if report.report.from_profile { ", from the stored profile: no row was read" } else { "" };
        let _ = write!(out, "<p>{} rows{source}</p>", report.report.rows);
        rules(&mut out, &report.report.rules);
        if let Some(failing) = &report.failing {
            rows(&mut out, failing);
        }
    }
    out.push_str("</main></body></html>\n");
    out
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
        let expected = format!("{}{slice}", rule.expected);
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
                let _ = write!(out, "row {}: {}<br>", sample.row, escape(&sample.value.to_string()));
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
        "<h2>The first {}</h2><div class=\"scroll\"><table class=\"rows\"><thead><tr>",
        if failing.len() > super::PAGE_ROWS {
            format!("{} of {} gathered rows that fail", super::PAGE_ROWS, failing.len())
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
    for row in failing.first(super::PAGE_ROWS).texts() {
        out.push_str("<tr>");
        for cell in row {
            let _ = match cell {
                Some(text) => write!(out, "<td>{}</td>", escape(&text)),
                None => write!(out, "<td class=\"gone\">–</td>"),
            };
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
}
