//! A notebook as one HTML file that needs nothing else and asks nobody for anything.
//!
//! Parameters, Markdown, marked code, tables, pictures and errors with their colours are shown, light or dark
//! as the reader's system is. Tables of data frames are written anew ([`table`]); other HTML that a cell made
//! is shown in a frame of its own that can neither run scripts nor reach the page or the network, so that a
//! notebook of somebody else is safe to look at. LaTeX is drawn as MathML ([`math`]). Interactive plots show their picture or text,
//! widgets the outputs that they hold.

mod environments;
mod math;
mod table;
mod text;

use std::fmt::Write as _;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};
use rondo_project::notebook::language::Language;
use serde_json::Value;

use crate::document::{Cell, Notebook, joined};
use crate::parameters;
use crate::views::Views;
use text::{code, colored, escaped};

const STYLE: &str = include_str!("html/page.css");

/// The page. `title` stands in its head.
pub fn export(notebook: &Notebook, title: &str) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escaped(title)
    );
    head(&mut page, notebook);
    let language = parameters::language(notebook);
    let views = Views::of(notebook);
    for cell in notebook.cells.iter().filter(|cell| !hides(cell, "cell")) {
        match cell.kind() {
            "markdown" if is_banner(cell) => page.push_str(&banner(cell)),
            "markdown" => {
                let _ = writeln!(page, "<section class=\"prose\">{}</section>", markdown(&cell.source()));
            }
            "code" => code_cell(&mut page, cell, language, &views),
            _ => pre(&mut page, "raw", &escaped(&cell.source())),
        }
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// The parameters of the run and how it went, where the notebook has been run.
fn head(page: &mut String, notebook: &Notebook) {
    let Some(record) = notebook.metadata().and_then(|metadata| metadata.get("papermill")) else { return };
    let mut facts = Vec::new();
    if let Some(start) = record.get("start_time").and_then(Value::as_str) {
        facts.push(start.get(..19).unwrap_or(start).replace('T', " "));
    }
    if let Some(seconds) = record.get("duration").and_then(Value::as_f64) {
        facts.push(format!("{seconds:.1} s"));
    }
    if record.get("exception") == Some(&Value::Bool(true)) {
        facts.push("failed".to_owned());
    }
    let given = record.get("parameters").and_then(Value::as_object);
    let given: Vec<(&String, &Value)> = given.into_iter().flatten().collect();
    if facts.is_empty() && given.is_empty() {
        return;
    }
    page.push_str("<header>");
    if !given.is_empty() {
        let row = |(name, value): &(&String, &Value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escaped(name), escaped(&value))
        };
        let rows: String = given.iter().map(row).collect();
        let _ = write!(page, "<table class=\"given\"><caption>Parameters</caption>{rows}</table>");
    }
    let _ = writeln!(page, "<p>{}</p></header>", escaped(&facts.join(" · ")));
}

/// Whether a cell's metadata or tags take a part of it away: `cell`, `input`, `output` or `stderr`.
fn hides(cell: &Cell, part: &str) -> bool {
    let tagged =
        ["remove", "hide"].iter().flat_map(|verb| [format!("{verb}-{part}"), format!("{verb}_{part}")]);
    let jupyter = cell.metadata().and_then(|metadata| metadata.get("jupyter"));
    let hidden = |key: &str| jupyter.and_then(|jupyter| jupyter.get(key)) == Some(&Value::Bool(true));
    tagged.into_iter().any(|tag| cell.has_tag(&tag))
        || (part == "input" && hidden("source_hidden"))
        || (part == "output" && hidden("outputs_hidden"))
}

/// The marks of a failed run hold HTML of ours, which is not read from the file.
fn is_banner(cell: &Cell) -> bool {
    cell.has_tag("papermill-error-cell-tag")
}

fn banner(cell: &Cell) -> String {
    if cell.source().contains("id=\"papermill-error-cell\"") {
        "<p class=\"banner\" id=\"failed\">The run stopped at this cell:</p>\n".to_owned()
    } else {
        "<p class=\"banner\">This run <a href=\"#failed\">stopped with an error</a>.</p>\n".to_owned()
    }
}

fn code_cell(page: &mut String, cell: &Cell, language: Option<Language>, views: &Views<'_>) {
    let count = cell.execution_count().map_or_else(|| " ".to_owned(), |count| count.to_string());
    page.push_str("<section class=\"cell\">\n");
    if !hides(cell, "input") && !cell.source().is_empty() {
        let class = if cell.has_tag(parameters::INJECTED) { "code injected" } else { "code" };
        let _ = writeln!(page, "<div class=\"count\">In [{count}]</div>");
        // A cell with a magic of its own is in another language.
        let language = language.filter(|_| !cell.source().starts_with("%%"));
        pre(page, class, &code(&cell.source(), language));
    }
    if !hides(cell, "output") {
        let shown = cell.outputs().iter().flat_map(|output| views.shown(output));
        for value in shown.filter(|output| !is_stderr(output) || !hides(cell, "stderr")) {
            output(page, value);
        }
    }
    page.push_str("</section>\n");
}

fn is_stderr(output: &Value) -> bool {
    output.get("name").is_some_and(|name| name == "stderr")
}

fn output(page: &mut String, output: &Value) {
    let field = |key: &str| output.get(key).map(joined).unwrap_or_default();
    match output.get("output_type").and_then(Value::as_str) {
        Some("stream") => {
            let class = if field("name") == "stderr" { "stderr" } else { "stdout" };
            pre(page, class, &colored(&field("text")));
        }
        Some("error") => {
            let lines = output.get("traceback").and_then(Value::as_array).into_iter().flatten();
            let lines: Vec<&str> = lines.filter_map(Value::as_str).collect();
            let whole = if lines.is_empty() {
                format!("{}: {}", field("ename"), field("evalue"))
            } else {
                lines.join("\n")
            };
            pre(page, "error", &colored(&whole));
        }
        Some(_) | None => data(page, output.get("data").unwrap_or(&Value::Null)),
    }
}

/// The richest of an output's forms that is safe to show.
fn data(page: &mut String, data: &Value) {
    let field = |media: &str| data.get(media).map(joined).filter(|text| !text.is_empty());
    for media in ["image/png", "image/jpeg", "image/gif", "image/webp"] {
        if let Some(picture) = field(media).map(|text| text.split_whitespace().collect::<String>())
            && picture.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='))
        {
            let alt = field("text/plain").unwrap_or_else(|| "output".to_owned());
            let alt = escaped(alt.lines().next().unwrap_or_default());
            let _ = writeln!(page, "<img alt=\"{alt}\" src=\"data:{media};base64,{picture}\">");
            return;
        }
    }
    if let Some(picture) = field("image/svg+xml") {
        let _ = writeln!(page, "<img alt=\"output\" src=\"data:image/svg+xml,{}\">", percent(&picture));
    } else if let Some(html) = field("text/html") {
        match table::simple(&html) {
            Some(simple) => {
                let _ = writeln!(page, "<div class=\"html\">{simple}</div>");
            }
            None => frame(page, &html),
        }
    } else if let Some(source) = field("text/markdown") {
        let _ = writeln!(page, "<div class=\"prose\">{}</div>", markdown(&source));
    } else if let Some(latex) = field("text/latex") {
        match math::output(&latex) {
            Some(drawn) => {
                let _ = writeln!(page, "<div class=\"math\">{drawn}</div>");
            }
            // Formulas among words are found as in Markdown.
            None if latex.contains('$') => {
                let _ = writeln!(page, "<div class=\"prose\">{}</div>", markdown(&latex));
            }
            None => pre(page, "stdout", &colored(&latex)),
        }
    } else if let Some(value) = data.get("application/json").filter(|value| !value.is_null()) {
        pre(page, "stdout", &escaped(&format!("{value:#}")));
    } else if let Some(whole) = field("text/plain") {
        pre(page, "stdout", &colored(&whole));
    }
}

fn frame(page: &mut String, html: &str) {
    let height = (html.matches("<tr").count() * 26 + 60).clamp(80, 600);
    let style = "<style>:root{color-scheme:light dark}body{font:14px system-ui,sans-serif}</style>";
    let frame = escaped(&format!("{style}{html}"));
    let _ = writeln!(page, "<iframe sandbox=\"\" style=\"height:{height}px\" srcdoc=\"{frame}\"></iframe>");
}

/// `html` is escaped already.
fn pre(page: &mut String, class: &str, html: &str) {
    let _ = writeln!(page, "<pre class=\"{class}\">{html}</pre>");
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

/// Markdown as it may stand on the page: HTML in it is shown as text, pictures from elsewhere are named, and
/// links lead to addresses alone.
fn markdown(source: &str) -> String {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_MATH;
    let mut lost_link = false;
    let source = environments::marked(source, options);
    let events = Parser::new_ext(&source, options).map(move |event| match event {
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        Event::InlineMath(latex) => Event::InlineHtml(math::formula(&latex, false).into()),
        Event::DisplayMath(latex) => Event::InlineHtml(math::formula(&latex, true).into()),
        Event::Start(Tag::Image { dest_url, link_type, title, id }) if is_picture(&dest_url) => {
            Event::Start(Tag::Image { dest_url, link_type, title, id })
        }
        Event::Start(Tag::Image { link_type, title, id, .. }) => {
            // What is not in the notebook is not on the page; its words are.
            Event::Start(Tag::Image { dest_url: CowStr::from(""), link_type, title, id })
        }
        Event::Start(Tag::Link { dest_url, .. }) if !is_address(&dest_url) => {
            lost_link = true;
            Event::Start(Tag::Emphasis)
        }
        Event::End(TagEnd::Link) if lost_link => {
            lost_link = false;
            Event::End(TagEnd::Emphasis)
        }
        other => other,
    });
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, events);
    html
}

fn is_address(url: &str) -> bool {
    ["https://", "http://", "mailto:", "#"].iter().any(|start| url.starts_with(start))
}

fn is_picture(url: &str) -> bool {
    ["data:image/png;base64,", "data:image/jpeg;base64,", "data:image/gif;base64,"]
        .iter()
        .any(|start| url.starts_with(start))
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
            page.contains("<h1>Title</h1>") && page.contains("<li>two</li>") && page.contains("x &lt; 1"),
            "{page}"
        );
        assert!(!page.contains("<script"));
        assert!(page.contains("sandbox=\"\"") && page.contains("default-src 'none'"));
        assert!(page.contains("src=\"data:image/png;base64,aGk=\""));
        assert!(page.contains("&lt;plain&gt;") && page.contains("%3Csvg"));
        assert!(page.contains("<pre class=\"error\"><span class=\"c1\">red</span></pre>"));
    }

    #[test]
    fn links_lead_to_addresses_alone_and_pictures_come_from_the_notebook() {
        let html = markdown(
            "[a](javascript:x) [b](https://e.org) ![c](https://e.org/c.png)\n\n|x|y|\n|-|-|\n|1|2|\n",
        );
        assert!(!html.contains("javascript") && html.contains("<em>a</em>"), "{html}");
        assert!(html.contains("href=\"https://e.org\"") && html.contains("alt=\"c\""), "{html}");
        assert!(!html.contains("c.png") && html.contains("<td>1</td>"), "{html}");
    }

    #[test]
    fn hidden_code_is_not_on_the_page_and_parameters_are() {
        let mut notebook = Notebook::new("python3", "python");
        let mut cell = Cell::code("secret_sauce()", &[]);
        cell.metadata_mut().insert("jupyter".to_owned(), json!({"source_hidden": true}));
        notebook.cells = vec![cell, Cell::code("gone()", &["remove-cell"]), Cell::code("stays()", &[])];
        let record = json!({"parameters": {"depth": 6}, "duration": 1.25, "exception": true});
        notebook.metadata_mut().insert("papermill".to_owned(), record);
        let page = export(&notebook, "n");
        assert!(!page.contains("secret_sauce") && !page.contains("gone()") && page.contains("stays()"));
        assert!(page.contains("<th scope=\"row\">depth</th><td>6</td>") && page.contains("1.2 s · failed"));
    }

    #[test]
    fn what_quartos_options_hide_is_not_on_the_page() {
        let text = "---\nexecute: {echo: false}\n---\n```{python}\n#| include: false\nwhole()\n```\n\
            ```{python}\n#| output: false\n#| echo: true\nsource()\n```\n\
            ```{python}\n#| warning: false\nresult()\n```\n";
        let mut notebook = crate::fenced::parse(text, false);
        for cell in &mut notebook.cells {
            let said = |name: &str| json!({"output_type": "stream", "name": name, "text": format!("{name} of {}", cell.source())});
            cell.set_outputs(vec![said("stdout"), said("stderr")]);
        }
        let page = export(&notebook, "n");
        assert!(!page.contains("whole()"), "{page}");
        assert!(page.contains("source()") && !page.contains("stdout of #| output"), "{page}");
        assert!(page.contains("stdout of #| warning") && !page.contains("stderr of #| warning"), "{page}");
        assert_eq!(page.matches("In [").count(), 1);
    }

    #[test]
    fn mathematics_is_drawn_and_json_is_laid_out() {
        let page = page(vec![
            json!({"output_type": "display_data", "data": {"text/latex": "$z$", "text/plain": "<Latex>"}}),
            json!({"output_type": "display_data", "data": {"text/latex": "half $\\frac{1}{2}$ of it"}}),
            json!({"output_type": "display_data", "data": {
                "application/json": {"a": [1, "<b>"]}, "text/plain": "<IPython.core.display.JSON object>"
            }}),
        ]);
        assert_eq!(page.matches("<math").count(), 2, "{page}");
        assert!(page.contains("<p>half <math") && !page.contains("Latex&gt;"), "{page}");
        assert!(
            page.contains("&quot;a&quot;: [\n    1,\n    &quot;&lt;b&gt;&quot;") && !page.contains("IPython")
        );
        let html = markdown("So $x^2 < 3$, and\n\n$$\\nosuch y$$\n\nand it costs $5 or $6.");
        assert!(
            html.contains("<mo>&lt;</mo>") && html.contains("$$\\nosuch y$$") && html.contains("costs $5 or"),
            "{html}"
        );
        let html =
            markdown("By\n\n\\begin{align}\na_1 &= b_2 \\\\\n&\\quad + c_3\n\\end{align}\n\nand so on.");
        assert!(html.contains("<math") && !html.contains("begin") && !html.contains("<em>"), "{html}");
    }

    proptest! {
        #[test]
        fn no_text_ever_opens_a_tag(source in "(?s)([<>\"'&#`$\\\\\\- \n]|script|text\\{|\\\\begin\\{align\\}|\\\\end\\{align\\}|é){0,60}") {
            let mut notebook = Notebook::new("python3", "python");
            notebook.cells = vec![Cell::markdown(&source, &[]), Cell::code(&source, &[]), Cell::raw(&source)];
            prop_assert!(!export(&notebook, &source).contains("<script"));
        }
    }
}
