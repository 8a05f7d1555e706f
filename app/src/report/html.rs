//! The report as one self-contained page.

use std::fmt::Write;

use super::chart::{Mark, Series, escape, heat, lines};
use super::{LoopReport, Month};

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn render(report: &LoopReport) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{name} · loop report</title><style>{STYLE}</style></head><body><main>\
         <header><h1>{name}</h1><p class=\"quiet\">the loop of model <code>{model}</code> behind endpoint \
         <code>{deployment}</code></p></header>",
        name = escape(&report.project),
        model = escape(&report.model),
        deployment = escape(&report.deployment),
    );
    page.push_str(&headline(report));
    page.push_str(&problem(report));
    page.push_str(&performance(report));
    page.push_str(&drift(report));
    page.push_str(&retraining(report));
    page.push_str(&versions(report));
    let _ = write!(
        page,
        "<section><h2>Where the version that serves now comes from</h2>{}</section>",
        report.lineage.svg()
    );
    page.push_str("</main></body></html>\n");
    page
}

fn headline(report: &LoopReport) -> String {
    let mut html = String::from("<section class=\"cards\">");
    let mut card = |title: &str, big: &str, small: &str| {
        let _ = write!(
            html,
            "<div class=\"card\"><h3>{}</h3><p class=\"big\">{}</p><p class=\"quiet\">{}</p></div>",
            escape(title),
            escape(big),
            escape(small)
        );
    };
    for overall in &report.overall {
        let difference = overall.served - overall.first;
        card(
            &format!("mean {}", overall.name),
            &format!("{:.4}", overall.served),
            &format!(
                "first model {:.4} ({}{:.4}), better in {} of {} months",
                overall.first,
                if difference >= 0.0 { "+" } else { "−" },
                difference.abs(),
                overall.better.0,
                overall.better.1
            ),
        );
    }
    let promoted = report.attempts.iter().filter(|attempt| attempt.state == "promoted").count();
    card(
        "promotions",
        &promoted.to_string(),
        &format!("{} alerts, {} attempts to retrain", report.alerts.len(), report.attempts.len()),
    );
    let traffic = &report.traffic;
    let latency = traffic
        .latency_p99_ms
        .map_or_else(String::new, |p99| format!(", p99 {p99:.2} ms a request inside the server"));
    card(
        "predictions",
        &traffic.predictions.to_string(),
        &format!("{} requests, {} failed{latency}", traffic.requests, traffic.failed),
    );
    html.push_str("</section>");
    html
}

fn problem(report: &LoopReport) -> String {
    let mut html = String::from("<section><h2>The business problem</h2><dl>");
    for (question, answer) in &report.canvas {
        let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(question), escape(answer));
    }
    html.push_str("<dt>objectives</dt><dd><ul>");
    for objective in &report.objectives {
        let _ = write!(html, "<li><code>{}</code></li>", escape(objective));
    }
    html.push_str("</ul></dd></dl></section>");
    html
}

fn performance(report: &LoopReport) -> String {
    let mut html = String::from(
        "<section><h2>Performance by month</h2><p>Each row is scored by the prediction that was given when \
         it was served. Beside it, the first model on the same rows, had it been left alone. Dashed lines \
         are promotions.</p><p class=\"legend\"><span class=\"key served\"></span>the loop \
         <span class=\"key first\"></span>the first model left alone</p>",
    );
    let labels: Vec<String> = report.months.iter().map(|month| month.month.clone()).collect();
    let marks: Vec<Mark> = report
        .attempts
        .iter()
        .filter(|attempt| attempt.state == "promoted")
        .filter_map(|attempt| place(&attempt.at.day(), &labels))
        .enumerate()
        .map(|(index, at)| Mark { at, text: format!("v{}", promoted_version(report, index)) })
        .collect();
    let names: Vec<&str> =
        report.months.first().map_or_else(Vec::new, |m| m.metrics.iter().map(|p| p.name.as_str()).collect());
    for name in &names {
        let of = |pick: fn(&super::MetricPair) -> Option<f64>| -> Vec<Option<f64>> {
            report.months.iter().map(|month| find(month, name).and_then(pick)).collect()
        };
        let series = [
            Series { name: "first model", class: "first", values: of(|pair| pair.first) },
            Series { name: "loop", class: "served", values: of(|pair| pair.served) },
        ];
        let _ = write!(html, "<h3>{}</h3>{}", escape(name), lines(name, &labels, &series, &marks, None));
    }
    html.push_str("<div class=\"scroll\"><table><thead><tr><th>month</th><th>rows</th><th>labelled</th><th>positive</th><th>versions</th>");
    for name in &names {
        let _ = write!(html, "<th>{}</th><th>first model</th>", escape(name));
    }
    html.push_str("</tr></thead><tbody>");
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    for month in &report.months {
        let versions: Vec<String> =
            month.versions.iter().map(|(version, rows)| format!("v{version} ({rows})")).collect();
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
            escape(&month.month),
            month.rows,
            month.labelled,
            month.positive_rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.1} %", rate * 100.0)),
            escape(&versions.join(", ")),
        );
        for pair in &month.metrics {
            let _ = write!(html, "<td>{}</td><td>{}</td>", number(pair.served), number(pair.first));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div></section>");
    html
}

fn drift(report: &LoopReport) -> String {
    let mut windows: Vec<String> = Vec::new();
    let mut columns: Vec<String> = Vec::new();
    for cell in &report.drift {
        if !windows.contains(&cell.window) {
            windows.push(cell.window.clone());
        }
        if !columns.contains(&cell.column) {
            columns.push(cell.column.clone());
        }
    }
    let rows: Vec<(String, Vec<Option<(f64, String)>>)> = columns
        .iter()
        .map(|column| {
            let cells = windows
                .iter()
                .map(|window| {
                    report.drift.iter().find(|cell| &cell.window == window && &cell.column == column).map(
                        |cell| {
                            let ratio =
                                if cell.threshold > 0.0 { cell.statistic / cell.threshold } else { 0.0 };
                            let over = if cell.drifted { ratio.max(1.0) } else { ratio.min(0.99) };
                            (over, format!("{column}, window from {window}: {}", cell.detail))
                        },
                    )
                })
                .collect();
            (column.clone(), cells)
        })
        .collect();
    format!(
        "<section><h2>Drift against the training data of the version that answered</h2><p>Darker is \
         further from the reference; a dot marks what crossed its threshold.</p>{}</section>",
        heat(&windows, &rows)
    )
}

fn retraining(report: &LoopReport) -> String {
    let mut html = String::from(
        "<section><h2>Alerts and retraining</h2><h3>Attempts</h3><div class=\"scroll\"><table><thead><tr>\
         <th>event time</th><th>result</th><th>what came of it</th><th>cause</th></tr></thead><tbody>",
    );
    for attempt in &report.attempts {
        let _ = write!(
            html,
            "<tr><td>{}</td><td><span class=\"state {state}\">{state}</span></td><td>{}</td><td><code>{}</code></td></tr>",
            attempt.at.day(),
            escape(&attempt.outcome),
            escape(&attempt.cause),
            state = escape(&attempt.state),
        );
    }
    let _ = write!(
        html,
        "</tbody></table></div><details><summary>{} alerts</summary><div class=\"scroll\"><table><thead><tr>\
         <th>event time</th><th>alert</th><th>what moved</th></tr></thead><tbody>",
        report.alerts.len()
    );
    for alert in &report.alerts {
        let _ = write!(
            html,
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td></tr>",
            alert.at.day(),
            escape(&alert.name),
            escape(&alert.message)
        );
    }
    html.push_str("</tbody></table></div></details></section>");
    html
}

fn versions(report: &LoopReport) -> String {
    let mut html = String::from(
        "<section><h2>Versions</h2><div class=\"scroll\"><table><thead><tr><th>version</th><th>alias</th>\
         <th>trained until</th><th>at its gate</th><th>file</th><th>run</th></tr></thead><tbody>",
    );
    for version in &report.versions {
        let metrics: Vec<String> =
            version.metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td><code>{}</code></td><td><code>{}</code></td></tr>",
            version.version,
            escape(&version.aliases.join(", ")),
            version.trained_until.map_or_else(|| "–".to_owned(), |at| at.day()),
            escape(&metrics.join(", ")),
            escape(&version.file),
            escape(&version.run),
        );
    }
    html.push_str(
        "</tbody></table></div><h3>Dataset versions</h3><div class=\"scroll\"><table><thead><tr>\
         <th>dataset</th><th>version</th><th>files</th><th>rows</th><th>bytes</th></tr></thead><tbody>",
    );
    for version in &report.datasets {
        let _ = write!(
            html,
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&version.dataset),
            escape(&version.digest),
            version.files,
            version.rows.map_or_else(|| "–".to_owned(), |rows| rows.to_string()),
            version.size,
        );
    }
    html.push_str("</tbody></table></div></section>");
    html
}

fn find<'a>(month: &'a Month, name: &str) -> Option<&'a super::MetricPair> {
    month.metrics.iter().find(|pair| pair.name == name)
}

fn promoted_version(report: &LoopReport, index: usize) -> String {
    let outcome = report.attempts.iter().filter(|attempt| attempt.state == "promoted").nth(index);
    outcome
        .and_then(|attempt| attempt.outcome.split("version ").nth(1))
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect())
        .unwrap_or_default()
}

/// Where a day lies among the months: the whole part is the month, the fraction the day in it. A month's
/// value is drawn at its label, so that the middle of the month is the label.
fn place(day: &str, months: &[String]) -> Option<f64> {
    let month = day.get(..7)?;
    let index = months.iter().position(|known| known == month)?;
    let date: f64 = day.get(8..10)?.parse().ok()?;
    Some((index as f64 + (date - 16.0) / 31.0).clamp(0.0, months.len().saturating_sub(1) as f64))
}
