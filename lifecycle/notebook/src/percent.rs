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
//! comments or, in Python, as one triple-quoted text, magics as comments ([`magics`]), cells of another language
//! (`language="bash"`) as comments, and the comment header that jupytext writes, of which only the kernel's name is
//! kept. Scripts are read, never written.

mod magics;

use serde_json::Value;

use crate::document::{Cell, Notebook};
use rondo_project::notebook::language::Language;

enum Kind {
    Code,
    Markdown,
    Raw,
}

/// What a marker says of its cell.
struct Options {
    kind: Kind,
    tags: Vec<String>,
    /// The magic of a cell whose code is of another language: `%%bash`.
    magic: Option<String>,
}

/// Reads a script. Any text is one: without a `# %%` line it is a notebook of one cell.
pub fn parse(text: &str, language: Language) -> Notebook {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.lines().collect();
    let (header, body) = header(&lines);
    let mut notebook = Notebook::new(kernel(header).unwrap_or(language.kernel()), language.name());
    let by_jupytext = header.iter().any(|line| line.contains("jupytext:"));
    let mut options = None;
    let mut block: Vec<&str> = Vec::new();
    let mut finish = |options: Option<Options>, block: &[&str]| {
        notebook.cells.extend(cell(options, block, language, by_jupytext));
    };
    for line in body {
        match marker(line) {
            Some(next) => {
                finish(options.replace(Options::read(next, language)), &block);
                block.clear();
            }
            None => block.push(line),
        }
    }
    finish(options, &block);
    notebook.complete_ids();
    notebook
}

/// What follows `# %%`, where the line is a marker. `# %%time` is a magic.
fn marker(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#')?.trim_start().strip_prefix("%%")?;
    (rest.is_empty() || rest.starts_with([' ', '\t', '%'])).then(|| rest.trim_start_matches('%').trim())
}

/// Splits off the comment header between `# ---` lines.
fn header<'a, 'b>(lines: &'b [&'a str]) -> (&'b [&'a str], &'b [&'a str]) {
    let start = lines.iter().position(|line| !line.trim().is_empty() && !line.starts_with("#!")).unwrap_or(0);
    let is_rule = |line: &&str| line.trim_end() == "# ---";
    if !lines.get(start).is_some_and(is_rule) {
        return (&[], lines);
    }
    let Some(length) = lines.iter().skip(start + 1).position(is_rule) else {
        return (&[], lines);
    };
    let inside = lines.get(start + 1..start + 1 + length).unwrap_or_default();
    (inside, lines.get(start + length + 2..).unwrap_or_default())
}

/// The kernel's name that stands in a header.
fn kernel<'a>(header: &[&'a str]) -> Option<&'a str> {
    header
        .iter()
        .skip_while(|line| !line.contains("kernelspec:"))
        .find_map(|line| line.trim_start_matches('#').trim().strip_prefix("name:"))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

impl Options {
    /// Reads what follows `# %%` in a script of a language.
    fn read(text: &str, language: Language) -> Self {
        let kind = if text.contains("[markdown]") || text.contains("[md]") {
            Kind::Markdown
        } else if text.contains("[raw]") {
            Kind::Raw
        } else {
            Kind::Code
        };
        let tags = text
            .find("tags=")
            .and_then(|at| text.get(at + "tags=".len()..))
            .and_then(|list| list.find(']').and_then(|end| list.get(..=end)))
            .and_then(|list| serde_json::from_str::<Vec<Value>>(list).ok())
            .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default();
        let quoted = |key: &str| {
            let (_, value) = text.split_once(&format!("{key}=\""))?;
            value.split_once('"').map(|(value, _)| value)
        };
        let other = quoted("language").filter(|name| Language::named(name) != Some(language));
        let magic = other.map(|name| format!("%%{name} {}", quoted("magic_args").unwrap_or_default()));
        Self { kind, tags, magic: magic.map(|magic| magic.trim_end().to_owned()) }
    }
}

/// The cell of a block of lines; none before the first marker where nothing stands there.
fn cell(options: Option<Options>, block: &[&str], language: Language, by_jupytext: bool) -> Option<Cell> {
    let first = block.iter().position(|line| !line.trim().is_empty());
    let last = block.iter().rposition(|line| !line.trim().is_empty());
    let lines = match (first, last) {
        (Some(first), Some(last)) => block.get(first..=last).unwrap_or_default(),
        _ if options.is_none() => return None,
        _ => &[],
    };
    let options = options.unwrap_or(Options { kind: Kind::Code, tags: Vec::new(), magic: None });
    let tags: Vec<&str> = options.tags.iter().map(String::as_str).collect();
    Some(match (options.kind, options.magic) {
        (Kind::Code, Some(magic)) => {
            let code = lines.iter().map(|line| magics::bare(line));
            Cell::code(&std::iter::once(magic).chain(code).collect::<Vec<_>>().join("\n"), &tags)
        }
        (Kind::Code, None) => {
            Cell::code(&magics::uncommented(lines, language, by_jupytext).join("\n"), &tags)
        }
        (Kind::Markdown, _) => Cell::markdown(&prose(lines), &tags),
        (Kind::Raw, _) => Cell::raw(&prose(lines)),
    })
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
                ("code", "%%time\nprint(depth)".to_owned()),
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

    #[test]
    fn cells_of_another_language_are_magics() {
        let script = "# %% language=\"bash\" magic_args=\"--out x\"\n# ls -l\n# # words\n\n\
            # %% language=\"python\"\n# words\n";
        let sources: Vec<String> = parse(script, Language::Python).cells.iter().map(Cell::source).collect();
        assert_eq!(sources, ["%%bash --out x\nls -l\n# words", "# words"]);
    }

    #[test]
    fn commands_without_a_sign_are_read_where_the_header_is_jupytexts() {
        let header = "# ---\n# jupyter:\n#   jupytext:\n#     formats: ipynb,py:percent\n# ---\n";
        let script = "# %%\n# %load_ext x\n# ls\n";
        let source = |script: &str| parse(script, Language::Python).cells[0].source();
        assert_eq!(source(script), "%load_ext x\n# ls");
        assert_eq!(source(&format!("{header}{script}")), "%load_ext x\nls");
    }

    proptest! {
        #[test]
        fn any_text_is_a_script(text in "(# ?%%( \\[m| tags=\\[\"a\"\\]?)?|# ---|#|\"\"\"|name:|é|\n| ){0,40}") {
            parse(&text, Language::Python);
        }
    }
}
