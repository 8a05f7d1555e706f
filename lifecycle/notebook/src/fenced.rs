//! Documents whose code stands between fences, read as notebooks: Quarto's `.qmd`, `.Rmd`, and `.md`.
//!
//! ````text
//! ---
//! jupyter: python3
//! ---
//! # A title
//!
//! ```{python}
//! #| tags: [parameters]
//! depth = 6
//! ```
//! ````
//!
//! A fence with its language in braces is a cell that runs; in `.md`, as jupytext writes it, also one without
//! braces, with its tags behind the language. Options of a cell (`#| tags:`, `#| echo: false`, `#| eval: false`) and
//! of the document (`execute:`) become tags. Documents are read, never written.

use rondo_project::notebook::language::Language;
use rondo_project::yaml;
use serde_json::Value;

use crate::document::{Cell, Notebook};

/// Reads a document. `bare` says that fences without braces run too.
pub fn parse(text: &str, bare: bool) -> Notebook {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.lines().collect();
    let (front, body) = front_matter(&lines);
    let front = yaml::parse(&front.join("\n")).root.map(|root| root.json()).unwrap_or(Value::Null);
    let execute = front.get("execute").unwrap_or(&Value::Null);
    let mut cells = Vec::new();
    let mut language = None;
    let mut prose: Vec<&str> = Vec::new();
    let mut rest = body;
    while let Some((line, after)) = rest.split_first() {
        rest = after;
        let Some(fence) = Fence::open(line) else {
            prose.push(line);
            continue;
        };
        let length = rest.iter().position(|line| fence.is_closed_by(line)).unwrap_or(rest.len());
        let code = rest.get(..length).unwrap_or_default();
        rest = rest.get(length + 1..).unwrap_or_default();
        match fence.language(bare).filter(|found| *language.get_or_insert(*found) == *found) {
            Some(found) => {
                finish(&mut cells, &mut prose);
                cells.push(cell(&fence, code, found, execute));
            }
            // Code that is shown and not run, or of a second language.
            None => {
                prose.push(line);
                prose.extend(code);
                prose.push(fence.mark);
            }
        }
    }
    finish(&mut cells, &mut prose);
    let language = language.unwrap_or(Language::Python);
    let kernel = kernel(&front).unwrap_or_else(|| language.kernel().to_owned());
    let mut notebook = Notebook::new(&kernel, language.name());
    notebook.cells = cells;
    notebook.complete_ids();
    notebook
}

/// Splits off the YAML between `---` lines at the head.
fn front_matter<'a, 'b>(lines: &'b [&'a str]) -> (&'b [&'a str], &'b [&'a str]) {
    let rule = |line: &&str| line.trim_end() == "---";
    if !lines.first().is_some_and(rule) {
        return (&[], lines);
    }
    let inside = lines.get(1..).unwrap_or_default();
    match inside.iter().position(rule) {
        Some(end) => (inside.get(..end).unwrap_or_default(), inside.get(end + 1..).unwrap_or_default()),
        None => (&[], lines),
    }
}

/// The kernel that the front matter names: `jupyter: python3`, or `kernelspec:` with its `name:`.
fn kernel(front: &Value) -> Option<String> {
    let jupyter = front.get("jupyter");
    let named = |value: Option<&Value>| {
        value.and_then(|value| value.pointer("/kernelspec/name")).and_then(Value::as_str).map(str::to_owned)
    };
    jupyter
        .and_then(Value::as_str)
        .map(str::to_owned)
        .or_else(|| named(jupyter))
        .or_else(|| named(Some(front)))
        .filter(|name| !name.is_empty())
}

/// The line that opens a block of code.
struct Fence<'a> {
    /// Its backticks or tildes.
    mark: &'a str,
    /// What follows them.
    info: &'a str,
}

impl<'a> Fence<'a> {
    fn open(line: &'a str) -> Option<Self> {
        let trimmed = line.trim_start();
        let sign = trimmed.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let end = trimmed.find(|c| c != sign).unwrap_or(trimmed.len());
        let (mark, info) = trimmed.split_at(end);
        (mark.len() >= 3 && line.len() - trimmed.len() < 4).then(|| Self { mark, info: info.trim() })
    }

    fn is_closed_by(&self, line: &str) -> bool {
        let line = line.trim();
        line.len() >= self.mark.len()
            && line.starts_with(self.mark)
            && line.trim_matches(['`', '~']).is_empty()
    }

    /// The language of a block that is to run.
    fn language(&self, bare: bool) -> Option<Language> {
        let inside = self.info.strip_prefix('{').and_then(|info| info.split('}').next());
        let info = match inside {
            // `{.python}` is shown and not run.
            Some(info) if !info.starts_with('.') => info,
            None if bare => self.info,
            Some(_) | None => return None,
        };
        Language::named(info.split([' ', ',']).next().unwrap_or_default())
    }

    /// An option that stands on the fence, as R Markdown writes it: `{r, eval = FALSE}`.
    fn flag(&self, key: &str) -> Option<bool> {
        let joined = self.info.split('=').map(str::trim).collect::<Vec<_>>().join("=");
        let mut options = joined.split([' ', ',', '{', '}']).filter_map(|option| option.split_once('='));
        let said = options.find(|(name, _)| *name == key).map(|(_, said)| Value::from(said));
        flag(said.as_ref())
    }
}

fn cell(fence: &Fence<'_>, code: &[&str], language: Language, document: &Value) -> Cell {
    let option = |line: &&&str| line.trim_start().starts_with(&format!("{}|", language.comment()));
    let options: Vec<&str> = code
        .iter()
        .take_while(option)
        .map(|line| line.trim_start().trim_start_matches(language.comment()).trim_start_matches('|'))
        // A space behind the bar belongs to the comment.
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let options = yaml::parse(&options.join("\n")).root.map(|root| root.json()).unwrap_or(Value::Null);
    let mut tags = tags(fence, &options);
    let says = |key: &str, wanted: bool| {
        let said = flag(options.get(key)).or_else(|| fence.flag(key)).or_else(|| flag(document.get(key)));
        said == Some(wanted)
    };
    let is_never_run = flag(document.get("enabled")) == Some(false);
    let meant = [
        ("skip", is_never_run || says("eval", false)),
        ("remove-cell", says("include", false)),
        ("remove-input", says("echo", false)),
        ("remove-output", says("output", false)),
        ("remove-stderr", says("warning", false)),
        ("raises-exception", says("error", true)),
    ];
    tags.extend(meant.into_iter().filter(|(_, is_meant)| *is_meant).map(|(tag, _)| tag.to_owned()));
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    Cell::code(code.join("\n").trim_matches('\n'), &tags)
}

/// A yes or no, as YAML or R writes it.
fn flag(value: Option<&Value>) -> Option<bool> {
    match value? {
        Value::Bool(is) => Some(*is),
        Value::String(text) => match text.as_str() {
            "true" | "TRUE" | "T" => Some(true),
            "false" | "FALSE" | "F" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// The tags of the options, and those that stand on the fence: `tags=["parameters"]`.
fn tags(fence: &Fence<'_>, options: &Value) -> Vec<String> {
    let mut tags: Vec<String> = match options.get("tags") {
        Some(Value::String(tag)) => vec![tag.clone()],
        Some(Value::Array(tags)) => tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let listed = fence.info.split_once("tags=").and_then(|(_, list)| {
        let list = list.get(..=list.find(']')?)?;
        serde_json::from_str::<Vec<String>>(list).ok()
    });
    tags.extend(listed.unwrap_or_default());
    tags
}

fn finish(cells: &mut Vec<Cell>, prose: &mut Vec<&str>) {
    let text = std::mem::take(prose).join("\n");
    let text = text.trim_matches('\n');
    if !text.trim().is_empty() {
        cells.push(Cell::markdown(text, &[]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DOCUMENT: &str = "\
---
title: Late flights
jupyter: mine
---

# A title

```{python}
#| tags: [parameters]
#| label: setup
depth = 6  # how deep
```

Some words, and code that is only shown:

```python
shown = 1
```

```{python}
#| echo: false
#| eval: false
print(depth)
```
";

    #[test]
    fn cells_options_and_the_kernel_are_read() {
        let notebook = parse(DOCUMENT, false);
        assert_eq!(notebook.kernel_name(), Some("mine"));
        let kinds: Vec<&str> = notebook.cells.iter().map(Cell::kind).collect();
        assert_eq!(kinds, ["markdown", "code", "markdown", "code"]);
        assert_eq!(notebook.cells[1].tags(), ["parameters"]);
        assert!(notebook.cells[1].source().ends_with("depth = 6  # how deep"));
        assert!(notebook.cells[2].source().contains("shown = 1"));
        assert_eq!(notebook.cells[3].tags(), ["skip", "remove-input"]);
        let parameters = crate::parameters::inspect(&notebook);
        assert_eq!(parameters[0].help.as_deref(), Some("how deep"));
    }

    #[test]
    fn plain_fences_run_in_markdown_and_tags_may_stand_on_the_fence() {
        let notebook = parse("```python tags=[\"parameters\"]\nx = 1\n```\n", true);
        assert_eq!((notebook.cells.len(), notebook.cells[0].tags()), (1, vec!["parameters"]));
        let r = parse("```{r, eval=FALSE}\nx <- 1\n```\n", false);
        assert_eq!((r.kernel_name(), r.cells[0].tags()), (Some("ir"), vec!["skip"]));
    }

    #[test]
    fn options_hold_for_the_document_and_a_cell_goes_before_it() {
        let tags = |front: &str, options: &str| {
            let text = format!("---\n{front}\n---\n\n```{{python}}\n{options}\nprint(1)\n```\n");
            parse(&text, false).cells[0].tags().join(" ")
        };
        assert_eq!(tags("execute: {eval: false, echo: false}", ""), "skip remove-input");
        assert_eq!(tags("execute: {eval: false, echo: false}", "#| eval: true\n#| echo: true"), "");
        assert_eq!(tags("execute:\n  enabled: false", "#| eval: true"), "skip");
        assert_eq!(tags("title: x", "#| include: false"), "remove-cell");
        assert_eq!(tags("title: x", "#| output: false\n#| warning: false"), "remove-output remove-stderr");
        assert_eq!(tags("execute: {error: true}", "#| output: asis"), "raises-exception");
        assert_eq!(tags("execute: 5", "#| eval: FALSE"), "skip");
        let rmd = parse("```{r setup, include = FALSE, echo=F, tags.eval=FALSE}\nx <- 1\n```\n", false);
        assert_eq!(rmd.cells[0].tags(), ["remove-cell", "remove-input"]);
    }

    proptest! {
        #[test]
        fn any_text_is_a_document(text in "(---\n|```|~~~|\\{python\\}|#\\| (tags: \\[a|eval: false)|title: |\n|é| ){0,40}") {
            parse(&text, false);
            parse(&text, true);
        }
    }
}
