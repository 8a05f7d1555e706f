//! Faults of the project file: what is wrong, where, what was expected, and what to do about it.
//!
//! All faults of a file are found in one go and shown in the order of their places, each with the line it
//! is about. The text has no colour; whoever prints it may add some.

use std::fmt::Write as _;
use std::sync::Arc;

use rondo_core::Objection;
use serde::{Serialize, Serializer};

use crate::place::{Lines, Place, char_width, width};
use crate::yaml::{self, Node};

/// Something wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file it is in, where that is not the project file.
    #[serde(rename = "file", skip_serializing_if = "Option::is_none", serialize_with = "file_name")]
    pub within: Option<Arc<Source>>,
    /// Where it is in the tree, such as `steps.train.inputs[0]`; empty for the file as a whole.
    pub path: String,
    /// Where it is in the text.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What was expected instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Other places that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
}

/// A file with faults beside the project file: that of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Its name.
    pub file: String,
    /// Its text.
    pub text: String,
}

fn file_name<S: Serializer>(within: &Option<Arc<Source>>, serializer: S) -> Result<S::Ok, S::Error> {
    within.as_ref().map(|source| &source.file).serialize(serializer)
}

/// Another place that belongs to a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Where.
    pub place: Place,
    /// What it has to do with it.
    pub label: String,
}

impl Fault {
    /// A fault at a place.
    pub fn new(path: impl Into<String>, place: Place, message: impl Into<String>) -> Self {
        Self {
            within: None,
            path: path.into(),
            place,
            message: message.into(),
            expected: None,
            hint: None,
            related: Vec::new(),
        }
    }

    /// With what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With `did you mean` the nearest of the known words, where one is near.
    #[must_use]
    pub fn did_you_mean<'a>(self, typed: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match rondo_core::suggest::nearest(typed, known) {
            Some(word) => self.hint(format!("did you mean `{word}`?")),
            None => self,
        }
    }

    /// With another place.
    #[must_use]
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push(Related { place, label: label.into() });
        self
    }
}

/// Puts faults in the order of their files and places, each once.
pub fn sort(faults: &mut Vec<Fault>) {
    faults.sort_by(|a, b| (&a.within, a.place, &a.message).cmp(&(&b.within, b.place, &b.message)));
    faults.dedup();
}

/// What cannot be put to use of a file that has no faults by itself, each where the file says it, in its order;
/// and what is about nothing in the file.
pub fn locate(source: &str, objections: Vec<Objection>) -> (Vec<Fault>, Vec<Objection>) {
    let Some(root) = yaml::parse(source).root else { return (Vec::new(), objections) };
    let (mut faults, mut others) = (Vec::new(), Vec::new());
    for objection in objections {
        match said_at(&root, &objection.path) {
            Some(place) => {
                let Objection { path, message, hint } = objection;
                faults.push(Fault { hint, ..Fault::new(path, place, message) });
            }
            None => others.push(objection),
        }
    }
    sort(&mut faults);
    (faults, others)
}

/// Where a file says what a path leads to, or the last on the way there that it says; nothing where it does not
/// have the named thing itself. A mapping of many lines stands at its key, and what a package does for a step
/// where it is used.
fn said_at(root: &Node, path: &str) -> Option<Place> {
    let (mut node, mut place) = (root, None);
    for (depth, part) in path.split('.').enumerate() {
        let (key, index) = part.split_once('[').map_or((part, None), |(key, rest)| (key, Some(rest)));
        let Some(entry) = node.entry(key).or_else(|| node.entry("uses").filter(|_| depth > 1)) else {
            return place.filter(|_| depth > 1);
        };
        let item =
            index.and_then(|rest| entry.value.list()?.get(rest.trim_end_matches(']').parse::<usize>().ok()?));
        node = item.unwrap_or(&entry.value);
        let spans = !node.is_scalar() && node.place.line != node.place.end_line;
        place = Some(if spans { entry.place } else { node.place });
    }
    place
}

/// The faults as text for people: one block a fault, blank lines between them.
pub fn render(file: &str, source: &str, faults: &[Fault]) -> String {
    let lines = Lines::new(source);
    let shown = |fault: &Fault| match &fault.within {
        Some(source) => block(&source.file, &Lines::new(&source.text), fault),
        None => block(file, &lines, fault),
    };
    let blocks: Vec<String> = faults.iter().map(shown).collect();
    blocks.join("\n")
}

/// The faults as one JSON value: `{"file": …, "faults": […]}`.
pub fn json(file: &str, faults: &[Fault]) -> serde_json::Value {
    serde_json::json!({ "file": file, "faults": faults })
}

fn block(file: &str, lines: &Lines<'_>, fault: &Fault) -> String {
    let shown = fault.related.iter().map(|related| related.place.line).chain([fault.place.line]);
    let gutter = shown.max().unwrap_or(1).to_string().len();
    let blank = " ".repeat(gutter);
    let mut text = format!("error: {}\n", fault.message);
    let _ = writeln!(text, "{blank}--> {file}:{}:{}", fault.place.line, fault.place.column);
    let _ = writeln!(text, "{blank} |");
    let mut marks = vec![(fault.place, '^', "")];
    marks.extend(fault.related.iter().map(|related| (related.place, '-', related.label.as_str())));
    marks.sort_by_key(|(place, ..)| place.line);
    let mut above = None;
    for (place, mark, label) in marks {
        if above.is_some_and(|above| place.line > above + 1) {
            let _ = writeln!(text, "{blank} ⋮");
        }
        let repeated = above == Some(place.line);
        above = Some(place.line);
        if repeated {
            marks_below(&mut text, lines, place, mark, label, gutter);
        } else {
            snippet(&mut text, lines, place, mark, label, gutter);
        }
    }
    for (word, what) in [("expected", &fault.expected), ("hint", &fault.hint)] {
        if let Some(what) = what {
            let _ = writeln!(text, "{blank} {word}: {what}");
        }
    }
    text
}

/// One source line and a line below it that marks a part of it.
fn snippet(text: &mut String, lines: &Lines<'_>, place: Place, mark: char, label: &str, gutter: usize) {
    let line = visible(lines.line(place.line));
    let _ = writeln!(text, "{:>gutter$} | {line}", place.line);
    marks_below(text, lines, place, mark, label, gutter);
}

fn marks_below(text: &mut String, lines: &Lines<'_>, place: Place, mark: char, label: &str, gutter: usize) {
    let line = lines.line(place.line);
    let before: String = line.chars().take(place.column.saturating_sub(1)).collect();
    let to = if place.end_line > place.line { usize::MAX } else { place.end_column };
    let marked: String =
        line.chars().skip(place.column.saturating_sub(1)).take(to.saturating_sub(place.column)).collect();
    let marked = width(&visible(marked.trim_end())).max(1);
    let pad = " ".repeat(width(&visible(&before)));
    let marks: String = std::iter::repeat_n(mark, marked).collect();
    let _ = writeln!(
        text,
        "{} | {pad}{marks}{}{label}",
        " ".repeat(gutter),
        if label.is_empty() { "" } else { " " }
    );
}

/// A source line as it can be shown: a tab as four blanks, other control characters as a dot.
fn visible(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            '\t' => shown.push_str("    "),
            c if c.is_control() || (char_width(c) == 0 && matches!(c, '\u{200b}'..='\u{200f}')) => {
                shown.push('·')
            }
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_under_wide_text() {
        let source = "名前: x\n\tb: 3\n";
        let lines = Lines::new(source);
        let faults = [
            Fault::new("名前", lines.place(8, 9), "wrong `x`").expected("a number").hint("write 3"),
            Fault::new("b", lines.place(10, 11), "a tab"),
        ];
        insta::assert_snapshot!(render("rondo.yaml", source, &faults), @r"
        error: wrong `x`
         --> rondo.yaml:1:5
          |
        1 | 名前: x
          |       ^
          expected: a number
          hint: write 3

        error: a tab
         --> rondo.yaml:2:1
          |
        2 |     b: 3
          | ^
        ");
    }

    #[test]
    fn what_cannot_be_put_to_use_stands_where_the_file_says_it() {
        let source = "project: p\nenvironments:\n  e: { host: [sh, quarto] }\nsteps:\n  a:\n    run: quarto\n    \
                      environment: e\n  b:\n    uses: r\n    with:\n      parameters:\n        x: 1\n        y: 2\n  \
                      c:\n    run: |\n      one\n      two\n";
        let objection = |path: &str| Objection {
            path: path.to_owned(),
            message: "no such program".to_owned(),
            hint: (path == "steps.a.run").then(|| "install it".to_owned()),
        };
        let paths = [
            "environments.e.host[1]",
            "steps.a.run",
            "steps.b.run",
            "steps.b.with.parameters.y",
            "steps.b.with.parameters.z",
            "steps.c.run",
            "steps.d.run",
            "environments.r-package.python",
        ];
        insta::assert_snapshot!(render("rondo.yaml", source, &locate(source, paths.map(objection).into()).0));
    }

    #[test]
    fn faults_have_a_json_form() {
        let fault = Fault::new("steps.a", Lines::new("a: b").place(3, 4), "wrong");
        assert_eq!(
            json("rondo.yaml", &[fault]),
            serde_json::json!({"file": "rondo.yaml", "faults": [{
                "path": "steps.a", "message": "wrong",
                "place": {"line": 1, "column": 4, "end_line": 1, "end_column": 5, "start": 3, "end": 4}
            }]})
        );
    }
}
