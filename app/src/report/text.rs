//! The report on a terminal.

use std::fmt::Write;

use super::LoopReport;
use crate::cli::output::table;

/// The report as plain text.
pub fn render(report: &LoopReport) -> String {
    let mut text = format!("\n{} · the loop of `{}`\n\n", report.project, report.model);
    let names: Vec<String> =
        report.months.first().map_or_else(Vec::new, |m| m.metrics.iter().map(|p| p.name.clone()).collect());
    let mut head: Vec<String> = ["month", "labelled", "positive", "versions"].map(String::from).to_vec();
    for name in &names {
        head.push(name.clone());
        head.push("first model".to_owned());
    }
    let mut rows = vec![head];
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    for month in &report.months {
        let versions: Vec<String> = month.versions.iter().map(|(version, _)| format!("v{version}")).collect();
        let mut row = vec![
            month.month.clone(),
            month.labelled.to_string(),
            month.positive_rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.1} %", rate * 100.0)),
            versions.join(" "),
        ];
        for pair in &month.metrics {
            row.push(number(pair.served));
            row.push(number(pair.first));
        }
        rows.push(row);
    }
    text.push_str(&table(&rows));
    text.push('\n');
    for overall in &report.overall {
        let (better, of) = overall.better;
        let _ = writeln!(
            text,
            "mean {}: {:.4} by the loop, {:.4} by the first model left alone ({} in {better} of {of} months)",
            overall.name,
            overall.served,
            overall.first,
            if overall.higher_is_better { "higher" } else { "lower" },
        );
    }
    let _ = writeln!(
        text,
        "\n{} predictions, {} ground truths, {} requests of which {} failed",
        report.traffic.predictions, report.traffic.truths, report.traffic.requests, report.traffic.failed
    );
    let _ = writeln!(text, "{} alerts, {} attempts to retrain:", report.alerts.len(), report.attempts.len());
    for attempt in &report.attempts {
        let _ = writeln!(
            text,
            "  {}  {:<8} {} ({})",
            attempt.at.day(),
            attempt.state,
            attempt.outcome,
            attempt.cause
        );
    }
    text
}
