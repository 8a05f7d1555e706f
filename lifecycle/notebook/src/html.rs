//! A notebook as one HTML file that needs nothing else and asks nobody for anything.
//!
//! Code, text, tables and pictures are shown; colours of terminals are taken out. HTML that a cell made is
//! shown in a frame of its own that can neither run scripts nor reach the page or the network, so that a
//! notebook of somebody else is safe to look at. It is a view for reading, not a replacement for nbconvert:
//! Markdown has headings, lists, code and paragraphs, and interactive plots show their picture or text.

use std::fmt::Write as _;

use serde_json::Value;

use crate::document::{Cell, Notebook, joined};
use crate::outputs::plain;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
pre{margin:0;padding:.6rem .8rem;overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.45 ui-monospace,monospace}\
.code{border-left:3px solid #6b8afd;background:#8881;border-radius:4px}\
.injected{border-left-color:#e0a030}\
.count{color:#888;font:12px ui-monospace,monospace;margin:1.2rem 0 .2rem}\
.error{border-left:3px solid #d33}.stderr{background:#d331}\
img{max-width:100%}iframe{width:100%;border:0;background:#fff;resize:vertical}";

/// The page. `title` stands in its head.
pub fn export(notebook: &Notebook, title: &str) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        escaped(title)
    );
    for cell in &notebook.cells {
        match cell.kind() {
            "markdown" => page.push_str(&markdown(&cell.source())),
            "code" => code(&mut page, cell),
            _ => text(&mut page, "raw", &cell.source()),
        }
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn code(page: &mut String, cell: &Cell) {
    let count = cell.execution_count().map_or_else(|| " ".to_owned(), |count| count.to_string());
    let class = if cell.has_tag(crate::parameters::INJECTED) { "code injected" } else { "code" };
    // Writing to a text cannot fail.
    let _ = writeln!(page, "<div class=\"count\">In [{count}]</div>");
    text(page, class, &cell.source());
    for value in cell.outputs() {
        output(page, value);
    }
}

fn output(page: &mut String, output: &Value) {
    let field = |key: &str| output.get(key).map(joined).unwrap_or_default();
    match output.get("output_type").and_then(Value::as_str) {
        Some("stream") => {
            let class = if field("name") == "stderr" { "stderr" } else { "stdout" };
            text(page, class, &plain(&field("text")));
        }
        Some("error") => {
            let lines = output.get("traceback").and_then(Value::as_array).into_iter().flatten();
            let lines: Vec<String> = lines.filter_map(Value::as_str).map(plain).collect();
            let whole = if lines.is_empty() {
                format!("{}: {}", field("ename"), field("evalue"))
            } else {
                lines.join("\n")
            };
            text(page, "error", &whole);
        }
        Some(_) | None => data(page, output.get("data").unwrap_or(&Value::Null)),
    }
}

/// The richest of an output's forms that is safe to show.
fn data(page: &mut String, data: &Value) {
    let field = |media: &str| data.get(media).map(joined).filter(|text| !text.is_empty());
    for media in ["image/png", "image/jpeg"] {
        if let Some(picture) = field(media).map(|text| text.split_whitespace().collect::<String>())
            && picture.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='))
        {
            let _ = writeln!(page, "<img alt=\"output\" src=\"data:{media};base64,{picture}\">");
            return;
        }
    }
    if let Some(picture) = field("image/svg+xml") {
        let _ = writeln!(page, "<img alt=\"output\" src=\"data:image/svg+xml,{}\">", percent(&picture));
    } else if let Some(html) = field("text/html") {
        let height = (html.matches("<tr").count() * 26 + 60).clamp(80, 600);
        let frame = escaped(&format!("<style>body{{font:14px system-ui,sans-serif}}</style>{html}"));
        let _ =
            writeln!(page, "<iframe sandbox=\"\" style=\"height:{height}px\" srcdoc=\"{frame}\"></iframe>");
    } else if let Some(source) = field("text/markdown") {
        page.push_str(&markdown(&source));
    } else if let Some(whole) = field("text/plain") {
        text(page, "stdout", &plain(&whole));
    }
}

fn text(page: &mut String, class: &str, text: &str) {
    let _ = writeln!(page, "<pre class=\"{class}\">{}</pre>", escaped(text));
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A little Markdown: headings, fenced code, lists and paragraphs. HTML in it is shown as text.
fn markdown(source: &str) -> String {
    let mut out = String::new();
    let mut paragraph: Vec<&str> = Vec::new();
    let mut items: Vec<&str> = Vec::new();
    let mut fence: Option<Vec<&str>> = None;
    let flush = |out: &mut String, paragraph: &mut Vec<&str>, items: &mut Vec<&str>| {
        if !paragraph.is_empty() {
            let _ = writeln!(out, "<p>{}</p>", escaped(&paragraph.join("\n")));
        }
        if !items.is_empty() {
            let list: String = items.iter().map(|item| format!("<li>{}</li>", escaped(item))).collect();
            let _ = writeln!(out, "<ul>{list}</ul>");
        }
        paragraph.clear();
        items.clear();
    };
    for line in source.lines() {
        if line.trim_start().starts_with("```") {
            match fence.take() {
                Some(lines) => text(&mut out, "code", &lines.join("\n")),
                None => {
                    flush(&mut out, &mut paragraph, &mut items);
                    fence = Some(Vec::new());
                }
            }
        } else if let Some(lines) = &mut fence {
            lines.push(line);
        } else if let Some((level, heading)) = heading(line) {
            flush(&mut out, &mut paragraph, &mut items);
            let _ = writeln!(out, "<h{level}>{}</h{level}>", escaped(heading));
        } else if let Some(item) =
            line.trim_start().strip_prefix("- ").or_else(|| line.trim_start().strip_prefix("* "))
        {
            if !paragraph.is_empty() {
                flush(&mut out, &mut paragraph, &mut items);
            }
            items.push(item);
        } else if line.trim().is_empty() {
            flush(&mut out, &mut paragraph, &mut items);
        } else {
            if !items.is_empty() {
                flush(&mut out, &mut paragraph, &mut items);
            }
            paragraph.push(line);
        }
    }
    if let Some(lines) = fence {
        text(&mut out, "code", &lines.join("\n"));
    }
    flush(&mut out, &mut paragraph, &mut items);
    out
}

fn heading(line: &str) -> Option<(usize, &str)> {
    let level = line.chars().take_while(|c| *c == '#').count();
    let rest = line.get(level..)?;
    ((1..=6).contains(&level) && rest.starts_with(' ')).then(|| (level, rest.trim()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn page(outputs: Vec<Value>) -> String {
        let mut notebook = Notebook::new("python3", "python");
        let mut cell = Cell::code("print('<b>')", &[]);
        cell.set_outputs(outputs);
        notebook.cells =
            vec![Cell::markdown("# Title\n\n- one\n- two\n\n```\nx < 1\n```\n<script>", &[]), cell];
        export(&notebook, "a & b")
    }

    #[test]
    fn everything_is_escaped_and_nothing_comes_from_elsewhere() {
        let page = page(vec![
            json!({"output_type": "display_data", "data": {"text/html": "<script src='https://x/y.js'></script>\""}}),
            json!({"output_type": "display_data", "data": {"image/png": "aGk=\n"}}),
            json!({"output_type": "display_data", "data": {"image/png": "\"><script>", "text/plain": "<plain>"}}),
            json!({"output_type": "display_data", "data": {"image/svg+xml": "<svg onload='x'/>"}}),
            json!({"output_type": "error", "traceback": ["\u{1b}[31mred\u{1b}[0m"]}),
        ]);
        assert!(page.contains("<title>a &amp; b</title>"));
        assert!(
            page.contains("<h1>Title</h1>") && page.contains("<li>two</li>") && page.contains("x &lt; 1")
        );
        assert!(!page.contains("<script"));
        assert!(page.contains("sandbox=\"\"") && page.contains("default-src 'none'"));
        assert!(page.contains("src=\"data:image/png;base64,aGk=\""));
        assert!(page.contains("&lt;plain&gt;") && page.contains("%3Csvg"));
        assert!(page.contains("<pre class=\"error\">red</pre>"));
    }

    proptest! {
        #[test]
        fn no_text_ever_opens_a_tag(source in "(?s)([<>\"'&#`\\- \n]|script|é){0,60}") {
            let mut notebook = Notebook::new("python3", "python");
            notebook.cells = vec![Cell::markdown(&source, &[]), Cell::code(&source, &[]), Cell::raw(&source)];
            prop_assert!(!export(&notebook, &source).contains("<script"));
        }
    }
}
