//! A sweep as one page that needs nothing else: parallel coordinates, how the best grew, and the table.
//!
//! All of it is drawn here; the page runs no script. Point at a line to read its trial.

use std::fmt::Write;

use rondo_core::sweep::TrialState;
use rondo_pipeline::sweep::trial::brief;
use serde_json::Value;

use super::{Axis, Line, View, figure};
use crate::report::chart::{Chart, Series, escape};
use crate::report::html;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 340.0;
/// Above the axes stand their names, beside them the values at their ends.
const TOP: f64 = 34.0;
const BOTTOM: f64 = 306.0;
const SIDE: f64 = 70.0;
/// How many colours there are for good and bad.
const SHADES: usize = 5;

/// The page.
pub fn render(view: &View) -> String {
    let title = format!("{} · sweep", view.step);
    let goal = format!("{} {}", view.goal, view.metric);
    let mut body = format!(
        "<header><p class=\"eyebrow\">sweep</p><h1>{}</h1><p class=\"lede\">{} by {}: {}.</p>\
         <p class=\"quiet\">run <code>{}</code>, {}{}</p></header>",
        escape(&view.step),
        escape(&goal),
        escape(&view.strategy),
        escape(&view.counted()),
        view.run,
        view.state.status().to_lowercase(),
        escape(&notes(view)),
    );
    let _ = write!(
        body,
        "<section><h2>Parallel coordinates</h2><p class=\"note\">A line is a trial: where it crosses an axis \
         is what it tried, and the last axis is what came of it. The warmer its \
         colour the better, and the best is green; dashed lines were stopped or failed. Point at a line to read it.</p><figure class=\"sweep\">{}</figure></section>",
        parallel(view)
    );
    let _ = write!(
        body,
        "<section><h2>History</h2><p class=\"note\">What each trial came to, and the best so far.</p>\
         <figure class=\"sweep\">{}</figure></section>",
        history(view)
    );
    body.push_str(&table(view));
    html::page(&title, &body)
}

fn notes(view: &View) -> String {
    let notes = [view.pruning.as_ref(), view.early.as_ref()];
    notes.into_iter().flatten().map(|note| format!(" · {note}")).collect()
}

/// The axes side by side with a line for each trial.
fn parallel(view: &View) -> String {
    let gaps = view.dimensions.len().saturating_sub(1).max(1) as f64;
    let x = |at: usize| SIDE + (WIDTH - 2.0 * SIDE) * at as f64 / gaps;
    let y = |part: f64| BOTTOM - (BOTTOM - TOP) * part.clamp(0.0, 1.0);
    let mut svg = format!(
        "<svg class=\"chart parallel\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"parallel coordinates of {} trials\">",
        view.trials.len()
    );
    // The best is drawn last, on top of all.
    let mut lines: Vec<&Line> = view.trials.iter().collect();
    lines.sort_by_key(|line| (Some(line.number) == view.best, line.state.is_good(), shade(view, line)));
    for line in lines {
        let points = line.positions.iter().enumerate();
        let points: Vec<String> =
            points.filter_map(|(at, part)| Some(format!("{:.1},{:.1}", x(at), y((*part)?)))).collect();
        if points.len() < 2 {
            continue;
        }
        let _ = write!(
            svg,
            "<polyline class=\"{}\" points=\"{}\"><title>{}</title></polyline>",
            class(view, line),
            points.join(" "),
            escape(&told(view, line))
        );
    }
    for (at, axis) in view.dimensions.iter().enumerate() {
        draw(&mut svg, axis, x(at), at + 1 == view.dimensions.len());
    }
    svg.push_str("</svg>");
    svg
}

/// An axis with its name and the values along it.
fn draw(svg: &mut String, axis: &Axis, x: f64, last: bool) {
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
         <text class=\"name\" x=\"{x:.1}\" y=\"16\" text-anchor=\"middle\">{}</text>",
        escape(&axis.name)
    );
    let (at, anchor) = if last { (x + 8.0, "start") } else { (x - 8.0, "end") };
    for (part, text) in marks(axis) {
        let y = BOTTOM - (BOTTOM - TOP) * part + 4.0;
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{at:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escape(&text)
        );
    }
    if axis.scale == "log" {
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">logarithmic</text>",
            BOTTOM + 22.0
        );
    }
}

/// What is written along an axis: all choices as long as there is room, the ends and the middle of numbers.
fn marks(axis: &Axis) -> Vec<(f64, String)> {
    if let Some(values) = &axis.values {
        let every = values.len().div_ceil(14).max(1);
        let mark = |value: &Value| Some((axis.place(value)?, brief(value).chars().take(14).collect()));
        return values.iter().step_by(every).filter_map(mark).collect();
    }
    let Some([low, high]) = axis.range else { return Vec::new() };
    if low == high {
        return vec![(0.5, brief(&Value::from(low)))];
    }
    let middle = if axis.scale == "log" { (0.5 * (low.ln() + high.ln())).exp() } else { 0.5 * (low + high) };
    let middle = if axis.kind == "int" { middle.round() } else { middle };
    let mark = |number: f64| Some((axis.place(&Value::from(number))?, brief(&Value::from(number))));
    [low, middle, high].into_iter().filter_map(mark).collect()
}

/// From 0 for the worst to the last shade for the best; nothing without a value.
fn shade(view: &View, line: &Line) -> Option<usize> {
    let part = line.positions.last().copied().flatten()?;
    let part = if view.goal == "minimize" { 1.0 - part } else { part };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 0 and the last shade
    Some(((part * SHADES as f64) as usize).min(SHADES - 1))
}

fn class(view: &View, line: &Line) -> String {
    let shade = shade(view, line).map_or_else(String::new, |shade| format!(" s{shade}"));
    let best = if view.best == Some(line.number) { " best" } else { "" };
    format!("trial {}{shade}{best}", line.state.text())
}

/// A trial in words.
fn told(view: &View, line: &Line) -> String {
    let value = line.value.map(|value| format!(", {} {}", view.metric, figure(value))).unwrap_or_default();
    let tried = view.dimensions.iter().filter_map(|axis| {
        let value = line.values.get(&axis.name).filter(|_| axis.kind != "metric")?;
        Some(format!("\n{} = {}", axis.name, brief(value)))
    });
    let cause = line.cause.as_ref().map(|cause| format!("\n{cause}")).unwrap_or_default();
    format!("trial {}: {}{value}{}{cause}", line.number, line.state.text(), tried.collect::<String>())
}

fn history(view: &View) -> String {
    let labels: Vec<String> = view.trials.iter().map(|line| line.number.to_string()).collect();
    let of = |state: fn(TrialState) -> bool| {
        let value = move |line: &Line| line.value.filter(|_| state(line.state));
        view.trials.iter().map(value).collect::<Vec<_>>()
    };
    let series = [
        Series { name: "best", class: "served", values: view.trials.iter().map(|line| line.best).collect() },
        Series { name: "trial", class: "first dots", values: of(TrialState::is_good) },
        Series { name: "pruned", class: "stopped dots", values: of(|state| state == TrialState::Pruned) },
    ];
    let title = format!("{} by trial", view.metric);
    Chart { title: &title, labels: &labels, series: &series, marks: &[], limit: None }.html()
}

fn table(view: &View) -> String {
    let mut html = String::from(
        "<section><h2>Trials</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"trials\">\
         <table><thead><tr><th>trial</th><th>state</th>",
    );
    let tried = || view.dimensions.iter().filter(|axis| axis.kind != "metric");
    let _ = write!(html, "<th class=\"n\">{}</th>", escape(&view.metric));
    for axis in tried() {
        let _ = write!(html, "<th class=\"n\">{}</th>", escape(&axis.name));
    }
    html.push_str("<th class=\"n\">seconds</th><th>run</th><th></th></tr></thead><tbody>");
    for line in &view.trials {
        let state = if view.best == Some(line.number) { "best" } else { line.state.text() };
        let class = match line.state {
            TrialState::Failed => " failed",
            _ if view.best == Some(line.number) => " champion",
            TrialState::Running
            | TrialState::Finished
            | TrialState::Cached
            | TrialState::Pruned
            | TrialState::Killed => "",
        };
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td><span class=\"state{class}\">{state}</span></td><td class=\"n\">{}</td>",
            line.number,
            line.value.map_or_else(|| "–".to_owned(), figure),
        );
        for axis in tried() {
            let value = line.values.get(&axis.name).map_or_else(|| "–".to_owned(), brief);
            let _ = write!(html, "<td class=\"n\">{}</td>", escape(&value));
        }
        let _ = write!(
            html,
            "<td class=\"n\">{:.1}</td><td><code>{}</code></td><td>{}</td></tr>",
            line.seconds,
            line.run.map_or_else(|| "–".to_owned(), |run| run.short()),
            escape(line.cause.as_deref().unwrap_or_default()),
        );
    }
    html.push_str("</tbody></table></div></section>");
    html
}

#[cfg(test)]
mod tests {
    use rondo_core::RunId;
    use rondo_core::run::RunState;
    use rondo_core::sweep::Sweep;

    use super::super::tests::example;
    use super::*;

    fn view(sweep: &Sweep) -> View {
        View::new(RunId::random(), "train", RunState::Finished, sweep)
    }

    #[test]
    fn every_trial_that_has_a_value_is_a_line_and_text_is_escaped() {
        let html = render(&view(&example()));
        assert_eq!(html.matches("<polyline").count(), 5);
        assert_eq!(html.matches("class=\"axis\"").count(), 4);
        assert!(html.contains("trial cached s4 best") && html.contains("trial pruned s0"));
        assert!(html.contains("a&lt;b") && !html.contains("a<b"));
        assert!(!html.contains("<script") && !html.contains("NaN"));
        assert!(html.contains("state champion") && html.contains("it exited with code 3"));
    }

    #[test]
    fn an_empty_sweep_is_a_page_too() {
        let html = render(&view(&Sweep { metric: "auc".into(), ..Sweep::default() }));
        assert!(html.contains("nothing measured yet") && !html.contains("NaN"));
    }
}
