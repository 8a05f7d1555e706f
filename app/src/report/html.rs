//! The report as one self-contained page.

use std::fmt::Write;

use super::chart::{Chart, Mark, Series, escape, month};
use super::heat::heat;
use super::tables::{code_spans, count, datasets, number, retraining, versions};
use super::{LoopReport, MetricPair, Month, Overall, quality};

const STYLE: &str = include_str!("style.css");

/// A round with a returning arrow, so that no browser asks for an icon.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
    %3Cpath d='M13 8a5 5 0 1 1-2-4' fill='none' stroke='%231f6f5c' stroke-width='2.4'/%3E\
    %3Cpath d='M9.6 5.4h4V1.4z' fill='%231f6f5c'/%3E%3C/svg%3E";

/// Nothing is loaded from anywhere, and no script runs: the browser holds the page to it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// A page of the house: its title (as text) around its body (as HTML).
pub fn page(title: &str, body: &str) -> String {
    styled(title, "", body)
}

/// The same, with a style sheet of its own behind that of the house.
pub fn styled(title: &str, style: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"{ICON}\">\
         <title>{}</title><style>{STYLE}{style}</style></head><body><main>{body}</main></body></html>\n",
        escape(title)
    )
}

/// The page.
pub fn render(report: &LoopReport) -> String {
    let mut body = header(report);
    body.push_str(&headline(report));
    body.push_str(&performance(report));
    let _ = write!(
        body,
        "<section id=\"drift\"><h2>Drift</h2><p class=\"note\">Each window of traffic against the training \
         data of the version that answered. Point at a cell, or open the drift alerts below, to read \
         what moved.</p>{}</section>",
        heat(&report.drift)
    );
    body.push_str(&quality::section(&report.checks));
    body.push_str(&retraining(report));
    body.push_str(&versions(report));
    let _ = write!(
        body,
        "<section id=\"lineage\"><h2>Lineage</h2><p class=\"note\">What the version that serves now was made \
         of, from data and code down to the endpoint.</p>{}</section>",
        report.lineage.svg()
    );
    body.push_str(&datasets(report));
    page(&format!("{} · loop report", report.project), &body)
}

fn header(report: &LoopReport) -> String {
    let canvas = |question: &str| {
        report.canvas.iter().find(|(known, _)| known == question).map(|(_, answer)| answer.as_str())
    };
    let span = match (report.months.first(), report.months.last()) {
        (Some(first), Some(last)) if first.month != last.month => {
            format!(" · {} to {}", year_month(&first.month), year_month(&last.month))
        }
        (Some(only), _) => format!(" · {}", year_month(&only.month)),
        _ => String::new(),
    };
    let serves = report
        .versions
        .iter()
        .find(|version| version.aliases.iter().any(|alias| alias == "champion"))
        .map_or_else(String::new, |version| format!(" · version {} serves", version.version));
    let mut html =
        format!("<header><p class=\"eyebrow\">loop report</p><h1>{}</h1>", escape(&report.project));
    if let Some(value) = canvas("value") {
        let _ = write!(html, "<p class=\"lede\">{}</p>", escape(value));
    }
    let _ = write!(
        html,
        "<p class=\"quiet\">model <code>{}</code> behind endpoint <code>{}</code>{}{}</p>",
        escape(&report.model),
        escape(&report.deployment),
        escape(&span),
        escape(&serves),
    );
    html.push_str(
        "<nav aria-label=\"sections\"><a href=\"#performance\">Performance</a><a href=\"#drift\">Drift</a>\
         <a href=\"#retraining\">Retraining</a><a href=\"#versions\">Versions</a>\
         <a href=\"#lineage\">Lineage</a><a href=\"#data\">Data</a></nav>",
    );
    html.push_str(&problem(report));
    html.push_str("</header>");
    html
}

/// The objectives in sight, the rest of the canvas behind a click.
fn problem(report: &LoopReport) -> String {
    if report.canvas.is_empty() && report.objectives.is_empty() {
        return String::new();
    }
    let mut html = String::from("<details class=\"canvas\"><summary>The business problem");
    if !report.objectives.is_empty() {
        html.push_str(" and its objectives:");
    }
    for objective in &report.objectives {
        let _ = write!(html, " <code class=\"chip\">{}</code>", escape(objective));
    }
    html.push_str("</summary><dl>");
    for (question, answer) in &report.canvas {
        let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(question), code_spans(answer));
    }
    html.push_str("</dl></details>");
    html
}

fn headline(report: &LoopReport) -> String {
    let mut html = String::from("<section class=\"cards\" aria-label=\"headline\">");
    for overall in &report.overall {
        html.push_str(&metric_card(overall));
    }
    let promoted = report.attempts.iter().filter(|attempt| attempt.state == "promoted").count();
    let traffic = &report.traffic;
    card(
        &mut html,
        "promotions",
        &count(promoted as u64),
        &format!(
            "<p class=\"quiet\">{} to retrain, {}</p>",
            plural(report.attempts.len(), "attempt"),
            plural(report.alerts.len(), "alert")
        ),
    );
    let sent = if traffic.requests > 0 {
        let class = if traffic.failed == 0 { "good" } else { "bad" };
        format!(
            "<p class=\"{class}\">{} failed</p><p class=\"quiet\">of {} requests",
            count(traffic.failed),
            count(traffic.requests)
        )
    } else {
        "<p class=\"quiet\">in the log".to_owned()
    };
    let latency = traffic.latency_p99_ms.map_or_else(String::new, |p99| format!(", p99 {p99:.1} ms"));
    card(&mut html, "predictions", &count(traffic.predictions), &format!("{sent}{latency}</p>"));
    html.push_str("</section>");
    html
}

fn metric_card(overall: &Overall) -> String {
    let difference = overall.served - overall.first;
    let shown = format!("{:.4}", difference.abs());
    let months = plural(overall.better.1, "month");
    // What reads as nothing is called the same.
    let small = if shown == "0.0000" {
        format!("<p class=\"quiet\">the same as the first model left alone, over {months}</p>")
    } else {
        let better = (difference > 0.0) == overall.higher_is_better;
        let (class, word) = if better { ("good", "better") } else { ("bad", "worse") };
        let sign = if difference > 0.0 { '+' } else { '−' };
        format!(
            "<p class=\"{class}\">{sign}{shown} {word}</p><p class=\"quiet\">first model left alone {:.4}; \
             better in {} of {months}</p>",
            overall.first, overall.better.0
        )
    };
    let mut html = String::new();
    let title = format!("mean {}", metric_name(&overall.name));
    card(&mut html, &title, &format!("{:.4}", overall.served), &small);
    html
}

/// One card: title and number as text, what stands below as HTML.
fn card(html: &mut String, title: &str, big: &str, small: &str) {
    let _ = write!(
        html,
        "<div class=\"card\"><h3>{}</h3><p class=\"big\">{}</p>{small}</div>",
        escape(title),
        escape(big)
    );
}

fn performance(report: &LoopReport) -> String {
    let mut html = String::from(
        "<section id=\"performance\"><h2>Performance by month</h2><p class=\"note\">Each row is scored by the \
         prediction that was given when it was served; beside it, the first model on the same rows, had it \
         been left alone.</p><p class=\"legend\"><span><i class=\"key served\"></i>the loop</span>\
         <span><i class=\"key first\"></i>the first model left alone</span>\
         <span><i class=\"key promotion\"></i>a new champion</span>",
    );
    let labels: Vec<String> = report.months.iter().map(|month| month.month.clone()).collect();
    let names: Vec<&str> =
        report.months.first().map_or_else(Vec::new, |m| m.metrics.iter().map(|p| p.name.as_str()).collect());
    if names.iter().any(|name| limit(report, name).is_some()) {
        html.push_str("<span><i class=\"key limit\"></i>the objective</span>");
    }
    html.push_str("</p>");
    let marks = promotions(report, &labels);
    for name in &names {
        let of = |pick: fn(&MetricPair) -> Option<f64>| -> Vec<Option<f64>> {
            report.months.iter().map(|month| find(month, name).and_then(pick)).collect()
        };
        let series = [
            Series { name: "first model", class: "first", values: of(|pair| pair.first) },
            Series { name: "the loop", class: "served", values: of(|pair| pair.served) },
        ];
        let title = metric_name(name);
        let chart = Chart {
            title: &title,
            labels: &labels,
            series: &series,
            marks: &marks,
            limit: limit(report, name),
        };
        let better = report
            .overall
            .iter()
            .find(|overall| overall.name == **name)
            .map(|overall| if overall.higher_is_better { "higher is better" } else { "lower is better" });
        let _ = write!(
            html,
            "<figure><figcaption>{} <span class=\"quiet\">{}</span></figcaption>{}</figure>",
            escape(&title),
            better.unwrap_or_default(),
            chart.html()
        );
    }
    html.push_str(&month_table(report, &names));
    html.push_str("</section>");
    html
}

fn month_table(report: &LoopReport, names: &[&str]) -> String {
    let mut html = String::from(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"performance by month\"><table \
         class=\"months\"><thead><tr><th rowspan=\"2\">month</th><th rowspan=\"2\" class=\"n\">rows</th>\
         <th rowspan=\"2\" class=\"n\">labelled</th><th rowspan=\"2\" class=\"n\">positive</th>\
         <th rowspan=\"2\">versions</th>",
    );
    for name in names {
        let _ = write!(html, "<th colspan=\"2\" scope=\"colgroup\">{}</th>", escape(&metric_name(name)));
    }
    html.push_str("</tr><tr>");
    for _ in names {
        html.push_str("<th class=\"n\">loop</th><th class=\"n\">first model</th>");
    }
    html.push_str("</tr></thead><tbody>");
    for month in &report.months {
        let versions: Vec<String> = month
            .versions
            .iter()
            .map(|(version, rows)| format!("<span title=\"{} rows\">v{version}</span>", count(*rows)))
            .collect();
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td>{}</td>",
            escape(&month.month),
            count(month.rows),
            count(month.labelled),
            month.positive_rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.1} %", rate * 100.0)),
            versions.join(" → "),
        );
        for name in names {
            let pair = find(month, name);
            let (served, first) = (pair.and_then(|pair| pair.served), pair.and_then(|pair| pair.first));
            let (served, first) = (number(served), number(first));
            // What reads the same is no better.
            let [a, b] = match ahead(report, name, pair) {
                _ if served == first => ["n", "n"],
                Some(true) => ["n ahead", "n"],
                Some(false) => ["n", "n ahead"],
                None => ["n", "n"],
            };
            let _ = write!(html, "<td class=\"{a}\">{served}</td><td class=\"{b}\">{first}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

/// Whether the loop was better than the first model.
fn ahead(report: &LoopReport, name: &str, pair: Option<&MetricPair>) -> Option<bool> {
    let higher = report.overall.iter().find(|overall| overall.name == name)?.higher_is_better;
    let pair = pair?;
    Some((pair.served? > pair.first?) == higher)
}

fn find<'a>(month: &'a Month, name: &str) -> Option<&'a MetricPair> {
    month.metrics.iter().find(|pair| pair.name == name)
}

/// The objective on a whole metric, such as `roc_auc ≥ 0.7`, as a value with its words.
fn limit(report: &LoopReport, name: &str) -> Option<(f64, String)> {
    report.objectives.iter().find_map(|objective| {
        let mut words = objective.split_whitespace();
        let (metric, sign, value) = (words.next()?, words.next()?, words.next()?);
        let whole = metric == name && matches!(sign, "≥" | "≤") && words.next().is_none();
        let value: f64 = value.parse().ok()?;
        (whole && value.is_finite()).then(|| (value, format!("objective {sign} {value}")))
    })
}

/// A mark for each version that became the champion after the first.
fn promotions(report: &LoopReport, months: &[String]) -> Vec<Mark> {
    let first = report.months.first().and_then(|month| month.versions.first());
    let mut last = first.map_or_else(String::new, |(version, _)| version.to_string());
    let mut marks = Vec::new();
    for attempt in report.attempts.iter().filter(|attempt| attempt.state == "promoted") {
        let version: String = attempt
            .outcome
            .split("version ")
            .nth(1)
            .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect())
            .unwrap_or_default();
        let Some(at) = place(&attempt.at.day(), months) else { continue };
        if version == last {
            continue;
        }
        let title = format!("{}: {}", attempt.at.day(), attempt.outcome);
        marks.push(Mark { at, text: format!("v{version}"), title });
        last = version;
    }
    marks.sort_by(|a, b| a.at.total_cmp(&b.at));
    marks
}

/// Where a day lies among the months: the whole part is the month, the fraction the day in it. A month's
/// value is drawn at its label, so that the middle of the month is the label.
fn place(day: &str, months: &[String]) -> Option<f64> {
    let month = day.get(..7)?;
    let index = months.iter().position(|known| known == month)?;
    let date: f64 = day.get(8..10)?.parse().ok()?;
    Some(index as f64 + (date - 16.0) / 31.0)
}

fn year_month(label: &str) -> String {
    let (name, year) = month(label);
    year.map_or_else(|| name.to_owned(), |year| format!("{name} {year}"))
}

/// How a metric is called in sentences.
pub fn metric_name(name: &str) -> String {
    match name {
        "roc_auc" => "ROC AUC".to_owned(),
        "pr_auc" => "PR AUC".to_owned(),
        "brier" => "Brier score".to_owned(),
        "rmse" | "mae" => name.to_uppercase(),
        other => other.replace('_', " "),
    }
}

fn plural(many: usize, noun: &str) -> String {
    let ending = if many == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(many as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Attempt, Traffic, lineage};
    use rondo_core::Timestamp;

    fn report() -> LoopReport {
        let pair = |served, first| vec![MetricPair { name: "roc_auc".to_owned(), served, first }];
        let month = |month: &str, metrics| Month {
            month: month.to_owned(),
            rows: 1200,
            labelled: 1000,
            positive_rate: Some(0.25),
            versions: vec![(1, 1200)],
            metrics,
        };
        let attempt = |day: &str, version: u32| Attempt {
            at: day.parse::<Timestamp>().unwrap(),
            cause: "delay.objective.0: objective `roc_auc ≥ 0.7` is missed".to_owned(),
            state: "promoted".to_owned(),
            outcome: format!("version {version} is champion now"),
        };
        LoopReport {
            project: "a <b>".to_owned(),
            canvas: vec![("value".to_owned(), "<script>alert(1)</script>".to_owned())],
            objectives: vec!["roc_auc ≥ 0.6 for each carrier".to_owned(), "roc_auc ≥ 0.7".to_owned()],
            model: "delay".to_owned(),
            deployment: "delay".to_owned(),
            months: vec![
                month("2013-04", pair(Some(0.7), Some(0.7))),
                month("2013-05", pair(Some(0.8), Some(0.6))),
            ],
            overall: vec![Overall {
                name: "roc_auc".to_owned(),
                higher_is_better: true,
                served: 0.75,
                first: 0.65,
                better: (1, 2),
            }],
            drift: Vec::new(),
            checks: Vec::new(),
            alerts: Vec::new(),
            attempts: vec![attempt("2013-04-20", 2), attempt("2013-05-08", 2), attempt("2013-05-20", 3)],
            versions: Vec::new(),
            datasets: Vec::new(),
            traffic: Traffic { predictions: 2400, requests: 2400, ..Traffic::default() },
            lineage: lineage::Graph::default(),
        }
    }

    #[test]
    fn the_page_holds_no_script_and_nothing_from_elsewhere() {
        let html = render(&report());
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
        assert!(html.contains("<title>a &lt;b&gt; · loop report</title>"));
        // The name of the SVG standard in the icon is no address that is asked.
        let html = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!html.contains("http://") && !html.contains("https://"));
    }

    #[test]
    fn the_objective_on_the_whole_metric_is_drawn_and_a_sliced_one_is_not() {
        assert_eq!(limit(&report(), "roc_auc"), Some((0.7, "objective ≥ 0.7".to_owned())));
        assert_eq!(limit(&report(), "log_loss"), None);
    }

    #[test]
    fn only_a_new_champion_has_a_mark() {
        let months = ["2013-04", "2013-05"].map(String::from);
        let texts: Vec<String> = promotions(&report(), &months).into_iter().map(|mark| mark.text).collect();
        assert_eq!(texts, ["v2", "v3"]);
    }

    #[test]
    fn the_better_of_two_numbers_stands_out_and_equal_ones_do_not() {
        let html = month_table(&report(), &["roc_auc"]);
        assert!(html.contains("<td class=\"n\">0.7000</td><td class=\"n\">0.7000</td>"));
        assert!(html.contains("<td class=\"n ahead\">0.8000</td><td class=\"n\">0.6000</td>"));
    }
}
