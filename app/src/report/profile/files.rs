//! A folder of pictures or texts as one page that needs nothing else. Pictures are named and not shown.

use std::collections::BTreeMap;
use std::fmt::Write;

use rondo_data::profile::files::{FolderProfile, Spread};
use rondo_data::profile::number;
use rondo_data::profile::pictures::{Groups, PictureProfile};
use rondo_data::profile::texts::TextProfile;

use super::column::histogram;
use crate::report::chart::escape;
use crate::report::html;
use crate::report::tables::{count, size};

/// Labels that are listed.
const LABELS: usize = 100;

/// The page.
pub fn render(title: &str, origin: &str, folder: &FolderProfile) -> String {
    let (what, all, looked_at, others) = match folder {
        FolderProfile::Pictures(p) => ("pictures", p.pictures, p.looked_at, p.other_files),
        FolderProfile::Texts(t) => ("texts", t.files, t.looked_at, t.other_files),
    };
    let looked = if looked_at == all {
        "all of them looked at".to_owned()
    } else {
        format!("a sample of {} looked at", count(looked_at))
    };
    let mut body = format!(
        "<header><p class=\"eyebrow\">data profile</p><h1>{}</h1><p class=\"lede\">{} {what}, {looked}.</p>\
         <p class=\"quiet\">{}; {} other files left out</p></header>",
        escape(title),
        count(all),
        escape(origin),
        count(others)
    );
    match folder {
        FolderProfile::Pictures(profile) => pictures(&mut body, profile),
        FolderProfile::Texts(profile) => texts(&mut body, profile),
    }
    html::styled(&format!("{title} · profile"), super::STYLE, &body)
}

fn cards(html: &mut String, cards: &[(&str, String, &str)]) {
    html.push_str("<section class=\"cards\" aria-label=\"in short\">");
    for (title, big, small) in cards {
        let _ = write!(
            html,
            "<div class=\"card\"><h3>{title}</h3><p class=\"big\">{}</p><p class=\"quiet\">{}</p></div>",
            escape(big),
            escape(small)
        );
    }
    html.push_str("</section>");
}

fn counts(html: &mut String, head: &str, counts: &BTreeMap<String, u64>) {
    let mut rows: Vec<(&String, u64)> = counts.iter().map(|(name, count)| (name, *count)).collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    pairs(html, head, &rows);
    if rows.len() > LABELS {
        let _ = write!(html, "<p class=\"note\">and {} more</p>", rows.len() - LABELS);
    }
}

fn pairs(html: &mut String, head: &str, rows: &[(&String, u64)]) {
    let greatest = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1) as f64;
    let _ = write!(
        html,
        "<table class=\"top\"><thead><tr><th scope=\"col\">{head}</th><th scope=\"col\" class=\"n\">files</th></tr></thead><tbody>"
    );
    for (name, many) in rows.iter().take(LABELS) {
        let _ = write!(
            html,
            "<tr><td><span class=\"bar\" style=\"--w:{:.1}%\">{}</span></td><td class=\"n\">{}</td></tr>",
            *many as f64 / greatest * 100.0,
            super::short(name),
            count(*many)
        );
    }
    html.push_str("</tbody></table>");
}

fn spreads(html: &mut String, rows: &[(&str, &Spread)]) {
    html.push_str(
        "<table class=\"q\"><thead><tr><th></th><th scope=\"col\">least</th><th scope=\"col\">median</th>\
         <th scope=\"col\">mean</th><th scope=\"col\">greatest</th></tr></thead><tbody>",
    );
    for (name, spread) in rows {
        let _ = write!(html, "<tr><th scope=\"row\">{name}</th>");
        for value in [spread.min, spread.median, spread.mean, spread.max] {
            let _ = write!(html, "<td>{}</td>", number(value));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
}

/// A list of names behind a heading, where there are any.
fn names(html: &mut String, title: &str, all: u64, rows: &[(String, String)]) {
    if all == 0 {
        return;
    }
    let _ = write!(html, "<section><h2>{title}: {}</h2><table><tbody>", count(all));
    for (name, reason) in rows {
        let _ = write!(html, "<tr><td><code>{}</code></td><td>{}</td></tr>", escape(name), escape(reason));
    }
    html.push_str("</tbody></table>");
    if all > rows.len() as u64 {
        let _ = write!(html, "<p class=\"note\">and {} more</p>", count(all - rows.len() as u64));
    }
    html.push_str("</section>");
}

fn groups(html: &mut String, title: &str, groups: &Groups) {
    let rows: Vec<(String, String)> =
        groups.examples.iter().map(|group| (group.join("  "), String::new())).collect();
    names(html, title, groups.count, &rows);
}

fn pictures(html: &mut String, profile: &PictureProfile) {
    cards(
        html,
        &[
            ("pictures", count(profile.pictures), ""),
            ("bytes", size(profile.bytes), "of those looked at"),
            ("broken", count(profile.broken_count), "named below"),
            ("the same bytes twice", count(profile.same.files), "files more than needed"),
            ("look alike", count(profile.alike.files), "by a perceptual hash"),
        ],
    );
    html.push_str("<section><h2>Sizes and colours</h2><div class=\"two\"><div>");
    counts(html, "format", &profile.formats);
    counts(html, "mode", &profile.modes);
    let sizes: Vec<(&String, u64)> = profile.sizes.iter().map(|(size, count)| (size, *count)).collect();
    pairs(html, &format!("size ({} different)", profile.different_sizes), &sizes);
    html.push_str("</div><div><p class=\"quiet cap\">lightness of pictures, from black to white</p>");
    html.push_str(&histogram(&profile.lightness_histogram, "0", "1"));
    let rows = [("width", &profile.width), ("height", &profile.height), ("lightness", &profile.lightness)];
    spreads(html, &rows);
    html.push_str(
        "<p class=\"quiet cap\">over all pixels, 0 to 1</p><table class=\"q\"><thead><tr><th></th><th scope=\"col\">red</th>\
         <th scope=\"col\">green</th><th scope=\"col\">blue</th></tr></thead><tbody>",
    );
    for (name, values) in [("mean", profile.channel_means), ("deviation", profile.channel_stds)] {
        let [r, g, b] = values;
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{name}</th><td>{r:.4}</td><td>{g:.4}</td><td>{b:.4}</td></tr>"
        );
    }
    html.push_str("</tbody></table></div></div></section>");
    labels(html, &profile.labels);
    names(html, "Broken", profile.broken_count, &profile.broken);
    groups(html, "Groups with the same bytes", &profile.same);
    groups(html, "Groups that look alike", &profile.alike);
    let outliers: Vec<(String, String)> = profile
        .outliers
        .iter()
        .map(|(name, light)| (name.clone(), format!("lightness {light:.2}")))
        .collect();
    names(html, "Far darker or lighter than the others", profile.outlier_count, &outliers);
}

fn labels(html: &mut String, labels: &BTreeMap<String, u64>) {
    if !labels.is_empty() {
        html.push_str("<section><h2>Labels</h2><p class=\"note\">The folders that files lie in.</p>");
        counts(html, "label", labels);
        html.push_str("</section>");
    }
}

fn texts(html: &mut String, profile: &TextProfile) {
    cards(
        html,
        &[
            ("texts", count(profile.files), ""),
            ("bytes", size(profile.bytes), "of those read"),
            ("without a word", count(profile.empty), ""),
            ("repeated", count(profile.same), "files with the bytes of another"),
            ("broken", count(profile.broken_count), "named below"),
        ],
    );
    html.push_str("<section><h2>Lengths and encodings</h2><div class=\"two\"><div>");
    counts(html, "encoding", &profile.encodings);
    html.push_str("</div><div>");
    spreads(
        html,
        &[("characters", &profile.characters), ("words", &profile.words), ("lines", &profile.lines)],
    );
    html.push_str("</div></div></section>");
    labels(html, &profile.labels);
    names(html, "Broken", profile.broken_count, &profile.broken);
    let empty: Vec<(String, String)> =
        profile.empty_names.iter().map(|name| (name.clone(), String::new())).collect();
    names(html, "Without a word", profile.empty, &empty);
}
