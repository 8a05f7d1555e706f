//! A datasheet as Markdown, to be filled in and read back, and as a page.

use std::fmt::Write;

use super::chart::escape;
use super::html::page;
use super::tables::code_spans;
use crate::platform::datasheet::{BLANK, Sheet};

/// As Markdown. Facts are quotes, so that answers are told apart from them when the file is read back.
pub fn markdown(sheet: &Sheet) -> String {
    let mut text = format!(
        "# Datasheet: {}\n\nVersion {} of {}. {} of {} questions have an answer or a fact; {} are blank.\n\
         Facts (lines with `>`) are made anew each time; what stands below them is kept when this file is named \
         as `datasheet:` of the dataset.\n",
        sheet.dataset,
        sheet.version.digest.short(),
        sheet.version.added.day(),
        sheet.filled,
        sheet.questions,
        sheet.blank.len()
    );
    if let Some(description) = &sheet.description {
        let _ = write!(text, "\n{description}\n");
    }
    for part in &sheet.parts {
        let _ = write!(text, "\n## {}\n\n{}\n", capital(part.name), part.about);
        for field in &part.fields {
            let _ = write!(text, "\n### {} `{}`\n\n", field.question, field.id);
            for fact in &field.facts {
                let _ = writeln!(text, "> {}  ", fact.replace('\n', " "));
            }
            match &field.answer {
                Some(answer) => {
                    let gap = if field.facts.is_empty() { "" } else { "\n" };
                    let _ = writeln!(text, "{gap}{answer}");
                }
                None if field.is_blank() => {
                    let _ = writeln!(text, "{BLANK}");
                }
                None => {}
            }
        }
    }
    text
}

/// As a page.
pub fn html(sheet: &Sheet) -> String {
    let rows = sheet.version.rows.map_or_else(String::new, |rows| format!(" · {rows} rows"));
    let mut body = format!(
        "<header><p class=\"eyebrow\">datasheet</p><h1>{}</h1><p class=\"lede\">{}</p>\
         <p class=\"quiet\">version <code>{}</code> of {}{rows}</p><nav aria-label=\"parts\">",
        escape(&sheet.dataset),
        escape(sheet.description.as_deref().unwrap_or_default()),
        sheet.version.digest.short(),
        sheet.version.added.day()
    );
    for part in &sheet.parts {
        let _ = write!(body, "<a href=\"#{0}\">{1}</a>", part.name, capital(part.name));
    }
    let _ = write!(
        body,
        "</nav></header><section class=\"cards\"><div class=\"card\"><h3>filled</h3><p class=\"big\">{}</p>\
         <p class=\"quiet\">of {} questions</p></div><div class=\"card\"><h3>blank</h3><p class=\"big\">{}</p>\
         <p class=\"quiet\">for people to answer</p></div></section>",
        sheet.filled,
        sheet.questions,
        sheet.blank.len()
    );
    for part in &sheet.parts {
        let _ = write!(
            body,
            "<section id=\"{}\"><h2>{}</h2><p class=\"note\">{}</p>",
            part.name,
            capital(part.name),
            escape(part.about)
        );
        for field in &part.fields {
            let _ = write!(
                body,
                "<h3>{}</h3><p class=\"quiet\"><code>{}</code></p>",
                escape(field.question),
                escape(&field.id)
            );
            if let Some(answer) = &field.answer {
                for paragraph in answer.split("\n\n") {
                    let _ = write!(body, "<p>{}</p>", code_spans(paragraph));
                }
            }
            if !field.facts.is_empty() {
                body.push_str("<ul>");
                for fact in &field.facts {
                    let _ = write!(body, "<li>{}</li>", code_spans(fact));
                }
                body.push_str("</ul>");
            }
            if field.is_blank() {
                body.push_str("<p><span class=\"state failed\">blank</span></p>");
            }
        }
        body.push_str("</section>");
    }
    page(&format!("{}: datasheet", sheet.dataset), &body)
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
