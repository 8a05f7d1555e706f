//! How columns go together: the matrix as squares, and the strongest pairs as a table.

use std::fmt::Write;

use rondo_table::profile::Profile;
use rondo_table::profile::summary::ColumnSummary;

use crate::report::chart::escape;

/// Pairs that are listed.
const PAIRS: usize = 15;
/// A pair below this is not listed.
const WEAK: f64 = 0.1;
const CELL: f64 = 22.0;
const NAME: f64 = 130.0;
/// The names above lean over, the last one beyond the squares.
const LEAN: f64 = 75.0;

/// The section; without the drawing where there is no room for it.
pub fn section(profile: &Profile, shown: &[ColumnSummary], drawn: bool) -> String {
    let mut html = String::from("<section id=\"correlations\"><h2>Correlations</h2>");
    let Some(correlations) = profile.correlations.as_ref().filter(|known| known.columns.len() > 1) else {
        html.push_str(
            "<p class=\"quiet\">none: there are fewer than two number columns, or they were not asked for</p></section>",
        );
        return html;
    };
    html.push_str(
        "<p class=\"note\">Pearson's coefficient of each pair of number and truth columns, over the rows in which \
         both have a value. What is not linear is not seen.",
    );
    if correlations.left_out > 0 {
        let _ = write!(
            html,
            " The first {} such columns of {} are correlated.",
            correlations.columns.len(),
            correlations.columns.len() as u64 + correlations.left_out
        );
    }
    html.push_str("</p><div class=\"two\">");
    let strongest = correlations.strongest(WEAK);
    if drawn {
        html.push_str(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"matrix of correlations\">",
        );
        html.push_str(&matrix(&correlations.columns, &|a, b| correlations.coefficient(a, b)));
        html.push_str(KEY);
        html.push_str("</div>");
    }
    if strongest.is_empty() {
        html.push_str("<p class=\"quiet\">no two columns go together by more than 0.1</p></div></section>");
        return html;
    }
    html.push_str(
        "<div><table class=\"top\"><thead><tr><th scope=\"col\">strongest pairs</th><th scope=\"col\" class=\"n\">r</th></tr></thead><tbody>",
    );
    let link = |name: &str| match shown.iter().position(|column| column.name == name).filter(|_| drawn) {
        Some(at) => format!("<a href=\"#c{at}\">{}</a>", super::short(name)),
        None => super::short(name),
    };
    for pair in strongest.iter().take(PAIRS) {
        let _ = write!(
            html,
            "<tr><td><span class=\"bar {}\" style=\"--w:{:.1}%\">{} · {}</span></td><td class=\"n\">{}</td></tr>",
            if pair.r < 0.0 { "minus" } else { "" },
            pair.r.abs() * 100.0,
            link(&pair.a),
            link(&pair.b),
            signed(pair.r),
        );
    }
    html.push_str("</tbody></table></div></div></section>");
    html
}

fn signed(r: f64) -> String {
    format!("{r:.2}").replace('-', "−")
}

const KEY: &str = "<p class=\"key-heat\"><span>−1</span><i class=\"m4\"></i><i class=\"m3\"></i><i class=\"m2\"></i>\
     <i class=\"m1\"></i><i class=\"z0\"></i><i class=\"p1\"></i><i class=\"p2\"></i><i class=\"p3\"></i><i class=\"p4\"></i><span>+1</span></p>";

fn matrix(columns: &[String], r: &dyn Fn(usize, usize) -> Option<f64>) -> String {
    let size = CELL * columns.len() as f64;
    let mut svg = format!(
        "<svg class=\"matrix\" viewBox=\"0 0 {0} {1}\" style=\"max-width:{0}px\" role=\"img\" \
         aria-label=\"matrix of correlations; the strongest pairs are in the table beside it\">",
        size + NAME + LEAN,
        size + NAME
    );
    for (i, a) in columns.iter().enumerate() {
        let at = NAME + CELL * i as f64;
        let name: String = a.chars().take(18).collect();
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{2}</text><text transform=\"translate({3} {4})rotate(-60)\">{2}</text>",
            NAME - 6.0,
            at + CELL * 0.7,
            escape(&name),
            at + CELL * 0.7,
            NAME - 6.0,
        );
        for (j, b) in columns.iter().enumerate() {
            let value = r(i, j);
            let _ = write!(
                svg,
                "<rect class=\"{}\" x=\"{}\" y=\"{at}\" width=\"21\" height=\"21\">",
                level(value),
                NAME + CELL * j as f64,
            );
            // Half of them tell: the other half is the same.
            if j > i {
                let words = value.map_or_else(|| "none".to_owned(), signed);
                let _ = write!(svg, "<title>{} · {}: {words}</title>", super::short(a), super::short(b));
            }
            svg.push_str("</rect>");
        }
    }
    svg.push_str("</svg>");
    svg
}

fn level(r: Option<f64>) -> &'static str {
    let Some(r) = r else { return "no" };
    let strength = match r.abs() {
        size if size < 0.1 => 0,
        size if size < 0.3 => 1,
        size if size < 0.5 => 2,
        size if size < 0.8 => 3,
        _ => 4,
    };
    let levels = if r < 0.0 { ["z0", "m1", "m2", "m3", "m4"] } else { ["z0", "p1", "p2", "p3", "p4"] };
    levels.get(strength).copied().unwrap_or("z0")
}
