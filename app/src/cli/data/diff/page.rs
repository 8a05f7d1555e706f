//! A comparison as one self-contained page.

use std::fmt::Write;

use rondo_data::diff::{Compared, SchemaChange};
use rondo_data::place::size;
use rondo_table::drift::{ColumnDrift, DriftReport};
use rondo_table::profile::{ColumnProfile, Profile};
use rondo_table::rowdiff::{CellDiff, RowDiff};
use serde_json::{Map, Value};

use super::{Told, text};
use crate::report::chart::escape;
use crate::report::html::styled;
use crate::report::tables::{self, code_spans};

/// Bars of a histogram.
const BARS: usize = 24;
/// Categories that are shown.
const TOP: usize = 6;

/// What this page has beside the style of the house.
const STYLE: &str = ".bars{display:block;width:11rem;height:2.6rem}.bars .was{fill:var(--quiet);opacity:.45}\
.bars .is{fill:var(--served);opacity:.75}.sample{font:.84em/1.5 ui-monospace,Menlo,Consolas,monospace;white-space:nowrap}\
.meter{display:inline-block;width:5rem;height:.55rem;border-radius:3px;background:var(--grid);margin-right:.5rem;overflow:hidden}\
.meter i{display:block;height:100%;background:var(--quiet)}.meter.over i{background:var(--first)}\
.come{color:var(--good)}.gone{color:var(--bad)}";

/// The page.
pub(super) fn render(told: &Told) -> String {
    let [from, to] = &told.sides;
    let name = if told.title.is_empty() { "two tables" } else { &told.title };
    let mut body = format!(
        "<header><p class=\"eyebrow\">data diff</p><h1>{}</h1>\
         <p class=\"lede\"><code>{}</code> → <code>{}</code></p></header>",
        escape(name),
        escape(from),
        escape(to)
    );
    body.push_str(&cards(told));
    body.push_str(&schema(&told.schema));
    if let Some(rows) = &told.row_diff {
        body.push_str(&changes(rows));
    }
    if let Some(drift) = &told.drift {
        body.push_str(&drifted(drift, told.compared, told.profiles.as_deref()));
    }
    if let Some(versions) = &told.versions {
        body.push_str(&files(versions));
    }
    styled(&format!("{name}: what has changed"), STYLE, &body)
}

fn cards(told: &Told) -> String {
    let mut html = "<section class=\"cards\" aria-label=\"headline\">".to_owned();
    let mut card = |title: &str, big: &str, below: &str| {
        let _ = write!(
            html,
            "<div class=\"card\"><h3>{title}</h3><p class=\"big\">{big}</p><p class=\"quiet\">{below}</p></div>"
        );
    };
    if let [Some(before), Some(after)] = told.rows {
        let change = i128::from(after) - i128::from(before);
        card("rows", &tables::count(after), &format!("{} before ({change:+})", tables::count(before)));
    }
    card("schema", &told.schema.len().to_string(), "changes of columns");
    if let Some(drift) = &told.drift {
        let count = drift.drifted_columns().count();
        card("drift", &count.to_string(), &format!("of {} judged columns", drift.judged));
    }
    if let Some(rows) = &told.row_diff {
        card("changed rows", &tables::count(rows.changed), &format!("{} the same", tables::count(rows.same)));
        card("added rows", &tables::count(rows.added), "only after");
        card("removed rows", &tables::count(rows.removed), "only before");
    }
    html.push_str("</section>");
    html
}

fn schema(changes: &[SchemaChange]) -> String {
    let mut html = "<section><h2>Schema</h2>".to_owned();
    if changes.is_empty() {
        html.push_str("<p class=\"quiet\">unchanged</p></section>");
        return html;
    }
    html.push_str("<ul>");
    for line in text::schema_lines(changes).lines().skip(1) {
        let line = line.trim();
        let class = if line.starts_with('+') {
            "come"
        } else if line.starts_with('-') {
            "gone"
        } else {
            ""
        };
        let _ = write!(html, "<li class=\"{class}\">{}</li>", escape(line));
    }
    html.push_str("</ul></section>");
    html
}

fn changes(rows: &RowDiff) -> String {
    let by = match rows.key.is_empty() {
        true => "Whole rows were compared, each as often as it stands there.".to_owned(),
        false => format!("Rows are told apart by <code>{}</code>.", escape(&rows.key.join(", "))),
    };
    let mut html = format!("<section><h2>Rows</h2><p class=\"note\">{by}");
    let [before, after] = rows.repeated_keys;
    if before + after > 0 {
        let _ = write!(html, " The key is not unique: {before} rows before and {after} after repeat one.");
    }
    html.push_str("</p>");
    if !rows.cells.is_empty() {
        html.push_str(
            "<h3>Changed cells</h3><div class=\"scroll\"><table><thead><tr><th>column</th>\
             <th>cells</th><th class=\"n\">filled</th><th class=\"n\">emptied</th>\
             <th class=\"n\">largest</th><th>such as</th></tr></thead><tbody>",
        );
        let most = rows.cells.iter().map(|cells| cells.changed).max().unwrap_or(1).max(1);
        rows.cells.iter().for_each(|cells| cell_row(&mut html, cells, most));
        html.push_str("</tbody></table></div>");
    }
    for (title, class, total, samples) in [
        ("Added", "come", rows.added, &rows.added_rows),
        ("Removed", "gone", rows.removed, &rows.removed_rows),
    ] {
        if !samples.is_empty() {
            let _ = write!(
                html,
                "<h3 class=\"{class}\">{title}: {} of {}</h3>{}",
                samples.len(),
                tables::count(total),
                table(samples)
            );
        }
    }
    html.push_str("</section>");
    html
}

fn cell_row(html: &mut String, cells: &CellDiff, most: u64) {
    let samples: Vec<String> = cells
        .samples
        .iter()
        .take(3)
        .map(|sample| {
            let key = text::in_line(&sample.key);
            let change = format!("{} → {}", text::value(&sample.from), text::value(&sample.to));
            format!("<span class=\"quiet\">{}</span> {}", escape(&key), escape(&change))
        })
        .collect();
    let _ = write!(
        html,
        "<tr><th>{}</th><td class=\"day\">{}{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td class=\"sample\">{}</td></tr>",
        escape(&cells.column),
        meter(cells.changed as f64 / most as f64, true),
        tables::count(cells.changed),
        tables::count(cells.filled),
        tables::count(cells.emptied),
        cells.largest.map_or_else(String::new, short),
        samples.join("<br>")
    );
}

fn table(rows: &[Map<String, Value>]) -> String {
    let names: Vec<&String> = rows.first().map(|row| row.keys().collect()).unwrap_or_default();
    let mut html = "<div class=\"scroll\"><table><thead><tr>".to_owned();
    for name in &names {
        let _ = write!(html, "<th>{}</th>", escape(name));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for name in &names {
            let cell = row.get(*name).map(text::value).unwrap_or_default();
            let _ = write!(html, "<td>{}</td>", escape(&cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

fn drifted(report: &DriftReport, compared: Compared, profiles: Option<&[Profile; 2]>) -> String {
    let what = match compared {
        Compared::Wholes => "All rows before (grey) against all rows after.",
        Compared::NewFiles => "All rows before against the rows of the new files; the pictures show wholes.",
    };
    let mut html = format!(
        "<section><h2>Distributions</h2><p class=\"note\">{what} The bar is the effect's size by its \
         threshold; a column has drifted where it is over and no accident.</p><div class=\"scroll\"><table>\
         <thead><tr><th>column</th><th>before and after</th><th>by</th><th>effect</th><th class=\"n\">p</th>\
         <th>what moved</th></tr></thead><tbody>"
    );
    for column in &report.columns {
        let picture = profiles
            .and_then(|[before, after]| Some((before.column(&column.column)?, after.column(&column.column)?)))
            .map_or_else(String::new, |(before, after)| picture(before, after));
        drift_row(&mut html, column, &picture);
    }
    html.push_str("</tbody></table></div></section>");
    html
}

fn drift_row(html: &mut String, column: &ColumnDrift, picture: &str) {
    let name = escape(&column.column);
    let Some(drift) = column.main() else {
        let note = column.note.as_deref().map(escape).unwrap_or_default();
        let _ = write!(
            html,
            "<tr><th>{name}</th><td>{picture}</td><td colspan=\"4\" class=\"quiet\">{note}</td></tr>"
        );
        return;
    };
    let times = drift.threshold.map_or(0.0, |threshold| drift.statistic / threshold.max(1e-12));
    let p = drift.adjusted_p.or(drift.p_value);
    let p =
        p.map_or_else(String::new, |p| if p < 0.001 { "&lt;0.001".to_owned() } else { format!("{p:.3}") });
    let state = if column.drifted { "<br><span class=\"state failed\">drifted</span>" } else { "" };
    let _ = write!(
        html,
        "<tr><th>{name}{state}</th><td>{picture}</td><td>{}</td><td class=\"day\">{}{:.3} <span class=\"quiet\">of \
         {}</span></td><td class=\"n\">{p}</td><td>{}</td></tr>",
        drift.method.text().replace('_', " "),
        meter(times / 2.0, column.drifted),
        drift.statistic,
        drift.threshold.map_or_else(|| "–".to_owned(), |threshold| threshold.to_string()),
        code_spans(&drift.detail)
    );
}

fn meter(share: f64, over: bool) -> String {
    let class = if over { "meter over" } else { "meter" };
    format!(
        "<span class=\"{class}\"><i style=\"width:{:.0}%\"></i></span>",
        (share * 100.0).clamp(0.0, 100.0)
    )
}

/// Both distributions over the same bins or categories.
fn picture(before: &ColumnProfile, after: &ColumnProfile) -> String {
    let shares = |counts: Vec<f64>, total: u64| -> Vec<f64> {
        counts.iter().map(|count| count / total.max(1) as f64).collect()
    };
    let (was, is, labels) = match (&before.numeric, &after.numeric, &before.category, &after.category) {
        (Some(a), Some(b), _, _) if a.moments.count > 0 && b.moments.count > 0 => {
            let (least, most) = (a.moments.min.min(b.moments.min), a.moments.max.max(b.moments.max));
            if !(most - least).is_finite() || most <= least {
                return String::new();
            }
            let step = (most - least) / BARS as f64;
            let mut edges: Vec<f64> = (0..BARS).map(|bar| least + step * bar as f64).collect();
            edges.push(most);
            (shares(a.bin(&edges), before.count), shares(b.bin(&edges), after.count), Vec::new())
        }
        (_, _, Some(a), Some(b)) => {
            let (old, new) = (a.top(50), b.top(50));
            let count = |top: &[(&str, u64)], value: &str| {
                top.iter().find(|(known, _)| *known == value).map_or(0.0, |(_, count)| *count as f64)
            };
            let mut names: Vec<&str> = old.iter().chain(&new).map(|(value, _)| *value).collect();
            names.sort_unstable();
            names.dedup();
            names.sort_by(|x, y| {
                (count(&old, y) + count(&new, y)).total_cmp(&(count(&old, x) + count(&new, x)))
            });
            names.truncate(TOP);
            let of = |top: &[(&str, u64)]| names.iter().map(|name| count(top, name)).collect::<Vec<_>>();
            let labels = names.iter().map(|name| (*name).to_owned()).collect();
            (shares(of(&old), before.count), shares(of(&new), after.count), labels)
        }
        _ => return String::new(),
    };
    bars(&was, &is, &labels)
}

fn bars(was: &[f64], is: &[f64], labels: &[String]) -> String {
    let most = was.iter().chain(is).copied().fold(0.0, f64::max);
    if most <= 0.0 || was.is_empty() {
        return String::new();
    }
    let width = 176.0 / was.len() as f64;
    let mut svg =
        "<svg class=\"bars\" viewBox=\"0 0 176 42\" preserveAspectRatio=\"none\" role=\"img\">".to_owned();
    let titles: Vec<String> = labels
        .iter()
        .zip(was.iter().zip(is))
        .map(|(label, (a, b))| format!("{label}: {:.1} % → {:.1} %", a * 100.0, b * 100.0))
        .collect();
    let _ = write!(svg, "<title>{}</title>", escape(&titles.join("\n")));
    for (place, (a, b)) in was.iter().zip(is).enumerate() {
        let x = width * place as f64;
        for (class, share, from, part) in [("was", a, 0.04, 0.46), ("is", b, 0.5, 0.46)] {
            let height = share / most * 40.0;
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{height:.2}\"/>",
                x + width * from,
                42.0 - height,
                width * part
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

fn files(versions: &super::Versions) -> String {
    let [before, after] = versions.size;
    let mut html =
        format!("<section><h2>Files</h2><p class=\"note\">{} → {}</p><pre>", size(before), size(after));
    html.push_str(&escape(
        text::files_lines(&versions.dataset, versions.files, &versions.changes).trim_end(),
    ));
    html.push_str("</pre></section>");
    html
}

fn short(value: f64) -> String {
    let text = if value.abs() >= 1e6 || (value != 0.0 && value.abs() < 1e-3) {
        return format!("{value:.2e}");
    } else {
        format!("{value:.3}")
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_pictures_are_small_and_safe() {
        assert_eq!(short(0.5), "0.5");
        let svg = bars(&[0.5, 0.5], &[1.0, 0.0], &["<a>".to_owned(), "b".to_owned()]);
        assert!(svg.contains("&lt;a&gt;: 50.0 % → 100.0 %") && svg.matches("<rect").count() == 4);
        assert_eq!(bars(&[], &[], &[]), "");
    }
}
