//! The heat map of drift: one row a column of the data, one cell a window, as a table.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::DriftCell;
use super::chart::{escape, month};

/// Shades below the threshold and from it on. The upper ones double: once, twice, four times, eight times
/// the threshold.
const BELOW: usize = 4;
const ABOVE: usize = 4;

/// The name under which the scores themselves are compared.
const PREDICTION: &str = "prediction";

/// The table with its key, or a sentence where no window was compared.
pub fn heat(drift: &[DriftCell]) -> String {
    let mut windows: Vec<&str> = drift.iter().map(|cell| cell.window.as_str()).collect();
    windows.sort_unstable();
    windows.dedup();
    if windows.is_empty() {
        return "<p class=\"quiet\">no window has been compared yet</p>".to_owned();
    }
    let mut html = format!(
        "{}<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"drift by window and column\">\
         <table class=\"heat\" style=\"--n:{}\">",
        key(),
        windows.len()
    );
    head(&mut html, &windows);
    html.push_str("<tbody>");
    for (column, cells) in rows(drift) {
        let over = cells.values().filter(|cell| cell.drifted).count();
        let class = if column == PREDICTION { " class=\"all\"" } else { "" };
        let _ = write!(html, "<tr{class}><th scope=\"row\" title=\"{0}\">{0}</th>", escape(column));
        for window in &windows {
            match cells.get(window) {
                Some(cell) => {
                    let _ = write!(html, "<td class=\"h{}\" title=\"{}\"></td>", level(cell), title(cell));
                }
                None => html.push_str("<td class=\"none\"></td>"),
            }
        }
        let _ = write!(html, "<td class=\"count\">{over}</td></tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

/// The rows: the predictions first, then the columns by how often they have drifted.
fn rows(drift: &[DriftCell]) -> Vec<(&str, BTreeMap<&str, &DriftCell>)> {
    let mut rows: Vec<(&str, BTreeMap<&str, &DriftCell>)> = Vec::new();
    for cell in drift {
        match rows.iter_mut().find(|(column, _)| *column == cell.column) {
            Some((_, cells)) => drop(cells.insert(&cell.window, cell)),
            None => rows.push((&cell.column, BTreeMap::from([(cell.window.as_str(), cell)]))),
        }
    }
    rows.sort_by_key(|(column, cells)| {
        let over = cells.values().filter(|cell| cell.drifted).count();
        (*column != PREDICTION, std::cmp::Reverse(over))
    });
    rows
}

fn head(html: &mut String, windows: &[&str]) {
    html.push_str("<thead><tr><th rowspan=\"2\">column</th>");
    let mut rest = windows;
    let mut last_year = None;
    while let Some(first) = rest.first() {
        let group = first.get(..7).unwrap_or(first);
        let many = rest.iter().take_while(|window| window.get(..7).unwrap_or(window) == group).count();
        let (name, year) = month(first);
        // A year needs the room of four windows.
        let year = year.filter(|year| many > 3 && last_year != Some(*year));
        last_year = year.or(last_year);
        let text = year.map_or_else(|| name.to_owned(), |year| format!("{name} {year}"));
        let _ =
            write!(html, "<th class=\"month\" scope=\"colgroup\" colspan=\"{many}\">{}</th>", escape(&text));
        rest = rest.get(many..).unwrap_or_default();
    }
    html.push_str(
        "<th class=\"count\" rowspan=\"2\" title=\"windows over the threshold\">over</th></tr><tr>",
    );
    for window in windows {
        let day = window.get(8..10).unwrap_or(window);
        let _ = write!(
            html,
            "<th class=\"day\" scope=\"col\" title=\"from {0}\">{1}</th>",
            escape(window),
            escape(day)
        );
    }
    html.push_str("</tr></thead>");
}

fn key() -> String {
    let mut html = String::from("<p class=\"key-heat\"><span>like the reference</span>");
    for level in 0..BELOW {
        let _ = write!(html, "<i class=\"h{level}\"></i>");
    }
    html.push_str("<span>threshold</span>");
    for (level, text) in (BELOW..BELOW + ABOVE).zip(["1–2 ×", "2–4 ×", "4–8 ×", "8 × and more"]) {
        let _ = write!(html, "<span><i class=\"h{level}\"></i>{text}</span>");
    }
    html.push_str("</p>");
    html
}

fn ratio(cell: &DriftCell) -> f64 {
    if cell.threshold > 0.0 { cell.statistic / cell.threshold } else { 0.0 }
}

fn level(cell: &DriftCell) -> usize {
    let ratio = ratio(cell);
    if cell.drifted {
        // A number that is not one becomes zero here.
        BELOW + (ratio.max(1.0).log2() as usize).min(ABOVE - 1)
    } else {
        ((ratio.max(0.0) * BELOW as f64) as usize).min(BELOW - 1)
    }
}

fn title(cell: &DriftCell) -> String {
    escape(&format!(
        "{} from {}: {:.2} × its threshold; {}",
        cell.column,
        cell.window,
        ratio(cell),
        cell.detail
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(window: &str, column: &str, statistic: f64) -> DriftCell {
        DriftCell {
            window: window.to_owned(),
            column: column.to_owned(),
            statistic,
            threshold: 0.1,
            drifted: statistic >= 0.1,
            detail: "mean 1 → <2".to_owned(),
        }
    }

    #[test]
    fn a_level_says_how_far_over_the_threshold() {
        let levels: Vec<usize> = [0.0, 0.06, 0.0999, 0.1, 0.3, 0.5, 1e9, f64::NAN]
            .map(|statistic| level(&cell("2013-04-01", "temp", statistic)))
            .into_iter()
            .collect();
        assert_eq!(levels, [0, 2, 3, 4, 5, 6, 7, 0]);
    }

    #[test]
    fn predictions_come_first_then_what_drifted_most() {
        let drift = [
            cell("2013-04-01", "calm", 0.0),
            cell("2013-04-01", "wild", 0.5),
            cell("2013-04-01", "prediction", 0.0),
        ];
        let order: Vec<&str> = rows(&drift).into_iter().map(|(column, _)| column).collect();
        assert_eq!(order, ["prediction", "wild", "calm"]);
    }

    #[test]
    fn months_stand_over_their_windows_and_a_missing_cell_is_left_out() {
        let drift =
            [cell("2013-04-01", "a", 0.2), cell("2013-04-08", "b", 0.2), cell("2013-05-06", "a", 0.0)];
        let html = heat(&drift);
        assert!(html.contains("colspan=\"2\">Apr<") && html.contains("colspan=\"1\">May<"), "{html}");
        assert_eq!(html.matches("class=\"none\"").count(), 3);
        assert!(html.contains("2.00 × its threshold; mean 1 → &lt;2"));
    }

    #[test]
    fn no_window_is_said() {
        assert!(heat(&[]).contains("no window"));
    }
}
