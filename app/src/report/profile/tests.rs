//! What the page promises.

use std::fmt::Write as _;

use rondo_table::profile::Profile;

use super::*;

fn profile(csv: &str) -> Profile {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, csv).unwrap();
    Profile::of_path(&path).unwrap()
}

fn page(profile: &Profile) -> String {
    render(&Page { title: "t.csv", origin: "from <there>", profile })
}

/// Rows of every kind of column.
fn mixed() -> Profile {
    let mut csv = String::from("n,twice,word,at,ok,<b>&\n");
    for row in 0..300 {
        let word = ["ant", "bee", "", "cow"][row % 4];
        let _ = writeln!(
            csv,
            "{row},{},{word},2013-01-{:02}T{:02}:00:00,{},\"<script>{row}\"",
            row * 2 + row % 3,
            row % 28 + 1,
            row % 24,
            row % 2 == 0
        );
    }
    profile(&csv)
}

#[test]
fn every_part_is_there_and_nothing_is_loaded() {
    let html = page(&mixed());
    for id in ["alerts", "columns", "correlations", "details", "c0", "c5", "r5"] {
        assert_eq!(html.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
    for part in
        ["high correlation", "<svg class=\"matrix\"", "Monday", "<th scope=\"col\">25 %</th>", ">cow<"]
    {
        assert!(html.contains(part), "{part}");
    }
    let body = html.split("<main>").nth(1).unwrap();
    assert!(!body.contains("<script") && !body.contains("http://") && !body.contains("https://"));
    assert!(!html.contains("src=") && !html.contains("@import") && !html.contains("url("));
    // Each link leads somewhere.
    for link in html.split("href=\"#").skip(1) {
        let id = link.split('"').next().unwrap();
        assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
    }
    for tag in ["table", "section", "article", "div", "svg", "tr", "td", "th", "figure", "dl"] {
        let open = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(open, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn the_structure_is_this() {
    let html = page(&profile("a,b\n1,x\n2,y\n2,x\n4,x\n"));
    let body = html.split("<main>").nth(1).unwrap();
    let mut outline = String::new();
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or((piece, ""));
        let name = tag.split(' ').next().unwrap();
        if ["h1", "h2", "h3", "th", "dt", "dd"].contains(&name) && !text.is_empty() {
            let _ = writeln!(outline, "{name} {text}");
        }
    }
    insta::assert_snapshot!(outline);
}

#[test]
fn a_page_stays_under_a_megabyte_with_five_hundred_columns_and_more() {
    for columns in [60_usize, 500, 5000] {
        let names: Vec<String> =
            (0..columns).map(|at| format!("a rather long name of a column {at:05}")).collect();
        let mut csv = names.join(",");
        csv.push('\n');
        let mut state = 88_172_645_463_325_252_u64;
        for row in 0..80 {
            for at in 0..columns {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let value = state >> 40;
                let end = if at + 1 == columns { '\n' } else { ',' };
                let _ = match at % 3 {
                    0 => write!(csv, "{value}.{row}{end}"),
                    1 => write!(csv, "some text {}{end}", value % 30),
                    _ => write!(csv, "{}{end}", value % 100),
                };
            }
        }
        let html = page(&profile(&csv));
        assert!(html.len() < 1_000_000, "{columns}: {}", html.len());
        let rows = html.matches("<tr id=\"r").count();
        assert!(rows == columns || columns > 500 && html.contains("more would not fit"), "{columns}: {rows}");
        assert_eq!(html.contains("id=\"details\""), columns < 500, "{columns}");
    }
}
