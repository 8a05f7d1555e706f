//! Scripts in the percent format, read as notebooks: `# %%` begins a cell.
//!
//! ```text
//! # %% [markdown]
//! # # A title
//! # %% tags=["parameters"]
//! depth = 6
//! ```
//!
//! Understood: code, `[markdown]` (or `[md]`) and `[raw]` cells, a title after `%%`, `tags=[…]`, Markdown as
//! comments or, in Python, as one triple-quoted text, and the comment header that jupytext writes, of which
//! only the kernel's name is kept. Scripts are read, never written.

use serde_json::Value;

use crate::document::{Cell, Notebook};
use rondo_project::notebook::language::Language;

enum Kind {
    Code,
    Markdown,
    Raw,
}

/// Reads a script. Any text is one: without a `# %%` line it is a notebook of one cell.
pub fn parse(text: &str, language: Language) -> Notebook {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.lines().collect();
    let (kernel, body) = header(&lines);
    let mut notebook = Notebook::new(kernel.unwrap_or(language.kernel()), language.name());
    let mut kind = Kind::Code;
    let mut tags = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    let mut marked = false;
    for line in body {
        match marker(line) {
            Some(options) => {
                finish(&mut notebook, &kind, &tags, &block, marked);
                block.clear();
                (kind, tags) = read_options(options);
                marked = true;
            }
            None => block.push(line),
        }
    }
    finish(&mut notebook, &kind, &tags, &block, marked);
    notebook.complete_ids();
    notebook
}

/// What follows `# %%`, where the line is a marker. `# %%time` is code that was commented out.
fn marker(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#')?.trim_start().strip_prefix("%%")?;
    (rest.is_empty() || rest.starts_with([' ', '\t', '%'])).then(|| rest.trim_start_matches('%').trim())
}

/// Splits off the comment header between `# ---` lines; the kernel's name that stands in it.
fn header<'a, 'b>(lines: &'b [&'a str]) -> (Option<&'a str>, &'b [&'a str]) {
    let start = lines.iter().position(|line| !line.trim().is_empty() && !line.starts_with("#!")).unwrap_or(0);
    let is_rule = |line: &&str| line.trim_end() == "# ---";
    if !lines.get(start).is_some_and(is_rule) {
        return (None, lines);
    }
    let Some(length) = lines.iter().skip(start + 1).position(is_rule) else {
        return (None, lines);
    };
    let inside = lines.get(start + 1..start + 1 + length).unwrap_or_default();
    let kernel = inside
        .iter()
        .skip_while(|line| !line.contains("kernelspec:"))
        .find_map(|line| line.trim_start_matches('#').trim().strip_prefix("name:"))
        .map(str::trim)
        .filter(|name| !name.is_empty());
    (kernel, lines.get(start + length + 2..).unwrap_or_default())
}

fn read_options(options: &str) -> (Kind, Vec<String>) {
    let kind = if options.contains("[markdown]") || options.contains("[md]") {
        Kind::Markdown
    } else if options.contains("[raw]") {
        Kind::Raw
    } else {
        Kind::Code
    };
    let tags = options
        .find("tags=")
        .and_then(|at| options.get(at + "tags=".len()..))
        .and_then(|list| list.find(']').and_then(|end| list.get(..=end)))
        .and_then(|list| serde_json::from_str::<Vec<Value>>(list).ok())
        .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    (kind, tags)
}

fn finish(notebook: &mut Notebook, kind: &Kind, tags: &[String], block: &[&str], marked: bool) {
    let first = block.iter().position(|line| !line.trim().is_empty());
    let last = block.iter().rposition(|line| !line.trim().is_empty());
    let lines = match (first, last) {
        (Some(first), Some(last)) => block.get(first..=last).unwrap_or_default(),
        // Nothing stands before the first marker: that is no cell.
        _ if !marked => return,
        _ => &[],
    };
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    notebook.cells.push(match kind {
        Kind::Code => Cell::code(&lines.join("\n"), &tags),
        Kind::Markdown => Cell::markdown(&prose(lines), &tags),
        Kind::Raw => Cell::raw(&prose(lines)),
    });
}

/// The text of a Markdown cell: a triple-quoted text, or comments without their `# `.
fn prose(lines: &[&str]) -> String {
    let whole = lines.join("\n");
    for quotes in ["\"\"\"", "'''"] {
        let inner = whole.trim().strip_prefix(quotes).and_then(|rest| rest.strip_suffix(quotes));
        if let Some(inner) = inner {
            return inner.trim_matches('\n').to_owned();
        }
    }
    let bare = |line: &&str| match line.strip_prefix('#') {
        Some(rest) => rest.strip_prefix(' ').unwrap_or(rest).to_owned(),
        None => (*line).to_owned(),
    };
    lines.iter().map(bare).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCRIPT: &str = "\
# ---
# jupyter:
#   kernelspec:
#     display_name: Mine
#     name: mine
# ---

# %% [markdown]
# # A title
#
# and words

# %% tags=[\"parameters\", \"x\"]
depth = 6  # how deep

# %% Training
# %%time
print(depth)
";

    #[test]
    fn cells_tags_titles_and_the_kernel_are_read() {
        let notebook = parse(SCRIPT, Language::Python);
        assert_eq!(notebook.kernel_name(), Some("mine"));
        let cells: Vec<(&str, String)> = notebook.cells.iter().map(|c| (c.kind(), c.source())).collect();
        assert_eq!(
            cells,
            [
                ("markdown", "# A title\n\nand words".to_owned()),
                ("code", "depth = 6  # how deep".to_owned()),
                ("code", "# %%time\nprint(depth)".to_owned()),
            ]
        );
        assert_eq!(notebook.cells[1].tags(), ["parameters", "x"]);
        assert!(notebook.cells.iter().all(|cell| cell.id().is_some()));
    }

    #[test]
    fn a_plain_script_is_one_cell() {
        let notebook = parse("#!/usr/bin/env python\nx = 1\n", Language::Python);
        assert_eq!(notebook.cells.len(), 1);
        assert_eq!(notebook.kernel_name(), Some("python3"));
    }

    #[test]
    fn markdown_may_be_a_quoted_text() {
        let notebook = parse("# %% [md]\n\"\"\"\nHello\n\"\"\"\n", Language::Python);
        assert_eq!(notebook.cells[0].source(), "Hello");
    }

    proptest! {
        #[test]
        fn any_text_is_a_script(text in "(# ?%%( \\[m| tags=\\[\"a\"\\]?)?|# ---|#|\"\"\"|name:|é|\n| ){0,40}") {
            parse(&text, Language::Python);
        }
    }
}
