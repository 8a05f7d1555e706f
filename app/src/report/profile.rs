//! A profile as one page that needs nothing else, and that stays under a megabyte whatever the table: it
//! holds no rows, and the more columns there are the less is said of each.
//!
//! The page runs no script. What is drawn is also said in words or in a table beside it.

mod column;
pub mod files;
mod heat;

use std::fmt::Write;

use rondo_core::signature::ColumnType;
use rondo_data::profile::share;
use rondo_table::profile::Profile;
use rondo_table::profile::alerts::{Alert, Gravity};
use rondo_table::profile::summary::ColumnSummary;

use super::chart::escape;
use super::html;
use super::tables::count;

pub(super) const STYLE: &str = include_str!("profile/style.css");

/// No page is larger.
const MOST_BYTES: usize = 1_000_000;
/// No more alerts are listed.
const MOST_ALERTS: usize = 200;

/// How much is said of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// A section with all there is.
    Full,
    /// A section with what matters most.
    Short,
    /// A line in the table.
    Line,
}

/// What is shown, and of what.
pub struct Page<'a> {
    /// What was profiled, for people.
    pub title: &'a str,
    /// Where it comes from: a version, a path.
    pub origin: &'a str,
    /// The profile.
    pub profile: &'a Profile,
}

/// The page.
pub fn render(page: &Page<'_>) -> String {
    let summary = page.profile.summary();
    let alerts = page.profile.alerts();
    for detail in [Detail::Full, Detail::Short, Detail::Line] {
        let html = with(page, &summary, &alerts, detail, summary.len());
        if html.len() < MOST_BYTES {
            return html;
        }
    }
    // Half as many columns until they fit; that there are more is said.
    let mut columns = summary.len() / 2;
    loop {
        let html = with(page, &summary, &alerts, Detail::Line, columns);
        if html.len() < MOST_BYTES || columns == 0 {
            return html;
        }
        columns /= 2;
    }
}

fn with(
    page: &Page<'_>,
    summary: &[ColumnSummary],
    alerts: &[Alert],
    detail: Detail,
    columns: usize,
) -> String {
    let shown = summary.get(..columns).unwrap_or(summary);
    let mut body = header(page, summary, detail);
    body.push_str(&cards(page.profile, summary, alerts));
    body.push_str(&alert_list(alerts, shown, detail));
    body.push_str(&overview(summary.len(), shown, detail));
    body.push_str(&heat::section(page.profile, shown, detail != Detail::Line));
    if detail != Detail::Line {
        body.push_str("<section id=\"details\"><h2>Column by column</h2>");
        for (at, one) in shown.iter().enumerate() {
            body.push_str(&column::section(at, one, detail == Detail::Full));
        }
        body.push_str("</section>");
    }
    html::styled(&format!("{} · profile", page.title), STYLE, &body)
}

fn header(page: &Page<'_>, summary: &[ColumnSummary], detail: Detail) -> String {
    let mut kinds: Vec<(ColumnType, usize)> = Vec::new();
    for column in summary {
        match kinds.iter_mut().find(|(kind, _)| *kind == column.column_type) {
            Some((_, many)) => *many += 1,
            None => kinds.push((column.column_type, 1)),
        }
    }
    kinds.sort_by_key(|(_, many)| std::cmp::Reverse(*many));
    let kinds: Vec<String> = kinds.iter().map(|(kind, many)| format!("{many} {}", kind.text())).collect();
    let mut html = format!(
        "<header><p class=\"eyebrow\">data profile</p><h1>{}</h1><p class=\"lede\">{} rows, {} columns: {}.</p>\
         <p class=\"quiet\">{}</p><nav aria-label=\"sections\"><a href=\"#alerts\">Alerts</a>\
         <a href=\"#columns\">Columns</a><a href=\"#correlations\">Correlations</a>",
        escape(page.title),
        count(page.profile.rows),
        summary.len(),
        escape(&kinds.join(", ")),
        escape(page.origin),
    );
    if detail != Detail::Line {
        html.push_str("<a href=\"#details\">Column by column</a>");
    }
    html.push_str("</nav></header>");
    html
}

fn cards(profile: &Profile, summary: &[ColumnSummary], alerts: &[Alert]) -> String {
    let cells = profile.rows.saturating_mul(summary.len() as u64);
    let missing = summary.iter().fold(0_u64, |sum, column| sum.saturating_add(column.nulls));
    let missing_share = if cells == 0 { 0.0 } else { missing as f64 / cells as f64 };
    let mut html = String::from("<section class=\"cards\" aria-label=\"in short\">");
    let mut card = |title: &str, big: &str, small: &str| {
        let _ = write!(
            html,
            "<div class=\"card\"><h3>{title}</h3><p class=\"big\">{}</p><p class=\"quiet\">{}</p></div>",
            escape(big),
            escape(small)
        );
    };
    card("rows", &count(profile.rows), "");
    card("columns", &count(summary.len() as u64), "");
    let words = if missing == 0 { "none".to_owned() } else { share(missing_share) };
    card("missing values", &words, &format!("{} of {} cells", count(missing), count(cells)));
    match profile.repeats.as_ref().map(rondo_table::profile::RowSample::duplicates) {
        Some(found) => {
            let how = if found.exact { "counted" } else { "estimated from a sample of rows" };
            let about = if found.exact || found.rows == 0 { "" } else { "~" };
            let small =
                if found.rows == 0 { how.to_owned() } else { format!("{}, {how}", share(found.share)) };
            card("repeated rows", &format!("{about}{}", count(found.rows)), &small);
        }
        None => card("repeated rows", "–", "not known of this profile"),
    }
    let grave = alerts.iter().filter(|alert| alert.gravity == Gravity::High).count();
    card("alerts", &count(alerts.len() as u64), &format!("{grave} of high gravity"));
    html.push_str("</section>");
    html
}

fn alert_list(alerts: &[Alert], shown: &[ColumnSummary], detail: Detail) -> String {
    let mut html = String::from("<section id=\"alerts\"><h2>Alerts</h2>");
    if alerts.is_empty() {
        html.push_str("<p class=\"quiet\">nothing is odd</p></section>");
        return html;
    }
    html.push_str(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"alerts\"><table class=\"alerts\"><thead><tr>\
         <th scope=\"col\">gravity</th><th scope=\"col\">alert</th><th scope=\"col\">column</th>\
         <th scope=\"col\">what it is</th></tr></thead><tbody>",
    );
    for alert in alerts.iter().take(MOST_ALERTS) {
        let columns: Vec<String> = alert.columns.iter().map(|name| link(name, shown, detail)).collect();
        let of = if columns.is_empty() { "the table".to_owned() } else { columns.join(", ") };
        let _ = write!(
            html,
            "<tr><td><span class=\"g {0}\">{0}</span></td><td>{1}</td><td>{of}</td><td>{2}</td></tr>",
            gravity(alert.gravity),
            alert.kind.name(),
            super::tables::code_spans(&alert.message),
        );
    }
    html.push_str("</tbody></table></div>");
    if alerts.len() > MOST_ALERTS {
        let _ =
            write!(html, "<p class=\"note\">and {} more, of lower gravity</p>", alerts.len() - MOST_ALERTS);
    }
    html.push_str("</section>");
    html
}

const fn gravity(gravity: Gravity) -> &'static str {
    match gravity {
        Gravity::High => "high",
        Gravity::Medium => "medium",
        Gravity::Low => "low",
    }
}

/// A column's name that leads to what is said of it.
fn link(name: &str, shown: &[ColumnSummary], detail: Detail) -> String {
    match shown.iter().position(|column| column.name == name) {
        Some(at) => {
            let place = if detail == Detail::Line { "r" } else { "c" };
            format!("<a href=\"#{place}{at}\">{}</a>", short(name))
        }
        None => short(name),
    }
}

/// A name as HTML, cut where it is very long.
fn short(name: &str) -> String {
    const MOST: usize = 60;
    if name.chars().count() <= MOST {
        return escape(name);
    }
    let cut: String = name.chars().take(MOST - 1).chain(['…']).collect();
    escape(&cut)
}

fn overview(all: usize, shown: &[ColumnSummary], detail: Detail) -> String {
    let mut html = String::from(
        "<section id=\"columns\"><h2>Columns</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"columns\"><table class=\"cols\"><thead><tr><th scope=\"col\">column</th><th scope=\"col\">type</th>\
         <th scope=\"col\" class=\"n\">missing</th><th scope=\"col\" class=\"n\">distinct</th>\
         <th scope=\"col\" class=\"n\">least</th><th scope=\"col\" class=\"n\">median</th>\
         <th scope=\"col\" class=\"n\">greatest</th><th scope=\"col\">distribution</th></tr></thead><tbody>",
    );
    for (at, one) in shown.iter().enumerate() {
        let name = if detail == Detail::Line {
            short(&one.name)
        } else {
            format!("<a href=\"#c{at}\">{}</a>", short(&one.name))
        };
        let missing = if one.nulls == 0 { String::new() } else { share(one.null_share) };
        let _ = write!(
            html,
            "<tr id=\"r{at}\"><th scope=\"row\">{name}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>{}<td>{}</td></tr>",
            one.column_type.text(),
            escape(&missing),
            column::distinct(one),
            column::middle(one),
            column::spark(one),
        );
    }
    html.push_str("</tbody></table></div>");
    if shown.len() < all {
        let _ = write!(
            html,
            "<p class=\"note\">The first {} of {all} columns: more would not fit on a page. <code>--json</code> has all.</p>",
            shown.len()
        );
    } else if detail == Detail::Line {
        html.push_str(
            "<p class=\"note\">There are so many columns that each has a line; \
             <code>--json</code> has all that is known of them.</p>",
        );
    }
    html.push_str("</section>");
    html
}

#[cfg(test)]
mod tests;
