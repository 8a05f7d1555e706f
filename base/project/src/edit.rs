//! Adding to the text of `rondo.yaml` without touching what people wrote: comments, order and layout stay.

use rondo_core::id::is_name;
use serde_json::Map;

use crate::error::Error;
use crate::place::Lines;
use crate::shape::ROOT;
use crate::yaml::{self, Entry, Node, Value};

const DATA: &str = "data";

/// The text with a dataset added at the end of `data:`, which is made where it is absent.
///
/// # Errors
/// When the text is no YAML, the name cannot be one or is taken, or `data:` is written in a way that
/// nothing can be added to.
pub fn add_dataset(source: &str, name: &str, from: &str) -> Result<String, Error> {
    add_dataset_with(source, name, from, &Map::new())
}

/// The same, with other keys beside `source`.
///
/// # Errors
/// As [`add_dataset`].
pub fn add_dataset_with(
    source: &str,
    name: &str,
    from: &str,
    beside: &Map<String, serde_json::Value>,
) -> Result<String, Error> {
    if !is_name(name) {
        return Err(Error::BadName { name: name.to_owned() });
    }
    let parsed = sound(source)?;
    let stuck = || Error::NotEditable { section: DATA.to_owned() };
    let root = parsed.root.as_ref();
    if root.is_some_and(|root| root.get(DATA).is_some_and(|data| data.get(name).is_some())) {
        return Err(Error::NameTaken { section: DATA.to_owned(), name: name.to_owned() });
    }
    let entry = Dataset { name, source: scalar(from), beside };
    let lines = Lines::new(source);
    let edited = match root {
        None => Some(insert(source, source.len(), &format!("{DATA}:\n{}", entry.block("  ")))),
        Some(root)
            if root.map().is_none()
                || source.get(root.place.start..).is_some_and(|text| text.starts_with('{')) =>
        {
            None
        }
        Some(root) => match root.entry(DATA) {
            None => Some(new_section(source, &lines, root, &entry)),
            Some(data) => existing_section(source, &lines, root, data, &entry),
        },
    }
    .ok_or_else(stuck)?;
    // The edit must have done what it was meant to do, and nothing else.
    let before = root.map_or_else(|| serde_json::json!({}), Node::json);
    let after = yaml::parse(&edited);
    let wanted = with_dataset(before, name, from, beside);
    match after.root.as_ref().map(Node::json) {
        Some(json) if after.faults.is_empty() && json == wanted => Ok(edited),
        _ => Err(stuck()),
    }
}

/// The tree of a text that is to be edited.
fn sound(source: &str) -> Result<yaml::Parsed, Error> {
    let parsed = yaml::parse(source);
    if parsed.faults.is_empty() {
        return Ok(parsed);
    }
    let file = crate::check::PROJECT_FILE.to_owned();
    Err(Error::Invalid { file, source_text: source.to_owned(), faults: parsed.faults })
}

/// The text without a dataset. What stands above it, a comment too, stays.
///
/// # Errors
/// When the text is no YAML, there is no such dataset, or it is written in a way that nothing can be taken
/// out of.
pub fn remove_dataset(source: &str, name: &str) -> Result<String, Error> {
    let parsed = sound(source)?;
    let stuck = || Error::NotEditable { section: format!("{DATA}.{name}") };
    let root = parsed.root.as_ref().ok_or_else(stuck)?;
    let data = root.entry(DATA).ok_or_else(stuck)?;
    let place = data.value.entry(name).ok_or_else(stuck)?.place;
    if place.line == data.place.line {
        return Err(stuck());
    }
    let lines = Lines::new(source);
    let depth = |line: usize| lines.line(line).chars().take_while(|letter| *letter == ' ').count() + 1;
    let mut last = place.line;
    for line in place.line + 1..=lines.count() {
        match lines.line(line).trim().is_empty() {
            true => {}
            false if depth(line) > place.column => last = line,
            false => break,
        }
    }
    let before = source.get(..lines.start(place.line)).ok_or_else(stuck)?;
    let after = source.get(lines.start(last + 1)..).unwrap_or_default();
    // Nothing else may have changed.
    let mut wanted = root.json();
    let others = wanted.get_mut(DATA).and_then(|data| data.as_object_mut()).ok_or_else(stuck)?;
    others.remove(name);
    let mut edited = format!("{before}{after}");
    // A section that holds nothing is none.
    if others.is_empty()
        && let Some(whole) = wanted.as_object_mut()
    {
        whole.remove(DATA);
        let above = source.get(..lines.start(data.place.line)).ok_or_else(stuck)?;
        let between = source.get(lines.start(data.place.line + 1)..lines.start(place.line));
        edited = format!("{above}{}{after}", between.ok_or_else(stuck)?);
    }
    let after = yaml::parse(&edited);
    match after.root.as_ref().map(Node::json) {
        Some(json) if after.faults.is_empty() && json == wanted => Ok(edited),
        _ => Err(stuck()),
    }
}

/// The text with `checks:` of a dataset, which has none yet; `list` writes its items at an indent.
///
/// # Errors
/// When the text is no YAML, there is no such dataset, it has checks already, or it is written in a way
/// that nothing can be added to.
pub fn add_checks(source: &str, name: &str, list: &dyn Fn(&str) -> String) -> Result<String, Error> {
    let parsed = sound(source)?;
    let stuck = || Error::NotEditable { section: format!("{DATA}.{name}") };
    let root = parsed.root.as_ref().ok_or_else(stuck)?;
    let entry = root.get(DATA).and_then(|data| data.entry(name)).ok_or_else(stuck)?;
    if entry.value.get("checks").is_some_and(|checks| checks.list().is_none_or(|list| !list.is_empty())) {
        return Err(Error::NameTaken { section: format!("{DATA}.{name}"), name: "checks".to_owned() });
    }
    let edited = with_checks(source, entry, list).ok_or_else(stuck)?;
    // Nothing else may have changed.
    let after = yaml::parse(&edited);
    let mut json =
        after.root.as_ref().filter(|_| after.faults.is_empty()).map(Node::json).ok_or_else(stuck)?;
    let dataset = json.get_mut(DATA).and_then(|data| data.get_mut(name)).and_then(|one| one.as_object_mut());
    let added = dataset.and_then(|dataset| dataset.remove("checks"));
    if added.and_then(|checks| checks.as_array().map(Vec::len)).is_none_or(|count| count == 0)
        || json != root.json()
    {
        return Err(stuck());
    }
    Ok(edited)
}

/// The text without `checks:` of a dataset.
///
/// # Errors
/// When the text is no YAML, there are no such checks, or they are not written as a block of their own.
pub fn without_checks(source: &str, name: &str) -> Result<String, Error> {
    let stuck = || Error::NotEditable { section: format!("{DATA}.{name}.checks") };
    let parsed = yaml::parse(source);
    let root = parsed.root.as_ref().filter(|_| parsed.faults.is_empty()).ok_or_else(stuck)?;
    let entry = root.get(DATA).and_then(|data| data.get(name)?.entry("checks")).ok_or_else(stuck)?;
    let (lines, place) = (Lines::new(source), entry.place);
    let indent = place.column.saturating_sub(1);
    let depth = |line: usize| lines.line(line).chars().take_while(|letter| *letter == ' ').count();
    let mut last = place.line;
    for line in place.line + 1..=lines.count() {
        let text = lines.line(line).trim();
        let inside = depth(line) > indent || depth(line) == indent && text.starts_with('-');
        match (text.is_empty(), inside) {
            (true, _) => {}
            (false, true) => last = line,
            (false, false) => break,
        }
    }
    let (before, after) = (source.get(..lines.start(place.line)), source.get(lines.start(last + 1)..));
    let edited = format!("{}{}", before.unwrap_or_default(), after.unwrap_or_default());
    // Nothing else may have changed.
    let mut wanted = root.json();
    let dataset =
        wanted.get_mut(DATA).and_then(|data| data.get_mut(name)).and_then(|one| one.as_object_mut());
    dataset.and_then(|dataset| dataset.remove("checks")).ok_or_else(stuck)?;
    let after = yaml::parse(&edited);
    match after.root.as_ref().map(Node::json) {
        Some(json) if after.faults.is_empty() && json == wanted => Ok(edited),
        _ => Err(stuck()),
    }
}

fn with_checks(source: &str, entry: &Entry, list: &dyn Fn(&str) -> String) -> Option<String> {
    let lines = Lines::new(source);
    let first = entry.value.map()?.first()?.place;
    // In brackets, or on the line of its name, there is no room for a list with comments.
    if first.line == entry.place.line {
        return None;
    }
    let indent: String = lines.line(first.line).chars().take(first.column.checked_sub(1)?).collect();
    if indent.is_empty() || !indent.chars().all(|letter| letter == ' ') {
        return None;
    }
    let inside =
        |line: usize| lines.line(line).starts_with(indent.as_str()) && !lines.line(line).trim().is_empty();
    let mut last = first.line;
    for line in first.line..=lines.count() {
        let blank = lines.line(line).trim().is_empty();
        if inside(line) {
            last = line;
        } else if !blank {
            break;
        }
    }
    let text = format!("{indent}checks:\n{}", list(&format!("{indent}  ")));
    Some(insert(source, lines.start(last + 1), &text))
}

struct Dataset<'a> {
    name: &'a str,
    source: String,
    beside: &'a Map<String, serde_json::Value>,
}

impl Dataset<'_> {
    fn block(&self, indent: &str) -> String {
        let beside = self.beside.iter().map(|(key, value)| format!("{indent}{indent}{key}: {value}\n"));
        let beside: String = beside.collect();
        format!("{indent}{}:\n{indent}{indent}source: {}\n{beside}", self.name, self.source)
    }

    fn flow(&self) -> String {
        // Inside brackets more characters mean something: always quoted there.
        let source = if self.source.starts_with('"') { self.source.clone() } else { quoted(&self.source) };
        let beside: String = self.beside.iter().map(|(key, value)| format!(", {key}: {value}")).collect();
        format!("{}: {{ source: {source}{beside} }}", self.name)
    }
}

fn with_dataset(
    mut project: serde_json::Value,
    name: &str,
    from: &str,
    beside: &Map<String, serde_json::Value>,
) -> serde_json::Value {
    if let Some(project) = project.as_object_mut() {
        let data = project.entry(DATA).or_insert_with(|| serde_json::json!({}));
        if data.is_null() {
            *data = serde_json::json!({});
        }
        if let Some(data) = data.as_object_mut() {
            let mut dataset = Map::new();
            dataset.insert("source".to_owned(), from.into());
            dataset.extend(beside.clone());
            data.insert(name.to_owned(), dataset.into());
        }
    }
    project
}

/// A text as a YAML scalar: plain where that reads back as the same text.
fn scalar(text: &str) -> String {
    let plain = yaml::parse(&format!("x: {text}\n"));
    let same = plain.faults.is_empty()
        && plain.root.as_ref().and_then(|root| root.get("x")).is_some_and(|node| node.text() == Some(text))
        && !text.contains('\n');
    if same { text.to_owned() } else { quoted(text) }
}

/// A text in double quotes: what JSON writes is YAML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Puts text in at a byte, on a line of its own.
fn insert(source: &str, at: usize, text: &str) -> String {
    let (before, after) = source.split_at_checked(at).unwrap_or((source, ""));
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    format!("{before}{gap}{text}{after}")
}

/// Where the next section begins, the comment lines right above it included.
fn before_section(lines: &Lines<'_>, section: &Entry) -> usize {
    let mut line = section.place.line;
    while line > 1 && lines.line(line - 1).starts_with('#') {
        line -= 1;
    }
    lines.start(line)
}

/// `data:` where there is none: before the first section that comes later in the lifecycle.
fn new_section(source: &str, lines: &Lines<'_>, root: &Node, entry: &Dataset<'_>) -> String {
    let rank = |name: &str| ROOT.keys.iter().position(|key| key.name == name);
    let later = root.map().unwrap_or_default().iter().find(|section| rank(&section.key) > rank(DATA));
    let text = format!("{DATA}:\n{}", entry.block("  "));
    match later {
        Some(section) => insert(source, before_section(lines, section), &format!("{text}\n")),
        None => {
            let gap = if source.trim_end().is_empty() { "" } else { "\n" };
            insert(source, source.len(), &format!("{gap}{text}"))
        }
    }
}

fn existing_section(
    source: &str,
    lines: &Lines<'_>,
    root: &Node,
    data: &Entry,
    entry: &Dataset<'_>,
) -> Option<String> {
    if data.value.is_null() {
        // `data:` alone, perhaps with a comment behind it.
        return Some(insert(source, lines.start(data.place.line + 1), &entry.block("  ")));
    }
    let Value::Map(datasets) = &data.value.value else { return None };
    let written = source.get(data.value.place.start..data.value.place.end)?;
    if let Some(inside) = written.strip_prefix('{') {
        let at = data.value.place.end.checked_sub(1)?;
        let inside = inside.strip_suffix('}')?;
        let text = match (datasets.is_empty(), inside.ends_with(' ')) {
            (true, false) => format!(" {} ", entry.flow()),
            (true, true) => format!("{} ", entry.flow()),
            (false, false) => format!(", {}", entry.flow()),
            (false, true) => {
                let at = at.checked_sub(inside.len() - inside.trim_end().len())?;
                let (before, after) = source.split_at_checked(at)?;
                return Some(format!("{before}, {}{after}", entry.flow()));
            }
        };
        let (before, after) = source.split_at_checked(at)?;
        return Some(format!("{before}{text}{after}"));
    }
    // A block: behind its last line, which is the last indented one before the next section.
    let first = datasets.first()?.place;
    let indent: String = lines.line(first.line).chars().take(first.column.checked_sub(1)?).collect();
    if indent.is_empty() || !indent.chars().all(|c| c == ' ') {
        return None;
    }
    let next = root.map().unwrap_or_default().iter().find(|section| section.place > data.place);
    let end = next.map_or(lines.count() + 1, |section| section.place.line);
    let last = (data.place.line..end)
        .rev()
        .find(|line| lines.line(*line).starts_with(' ') && !lines.line(*line).trim().is_empty())?;
    Some(insert(source, lines.start(last + 1), &entry.block(&indent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_added_below_their_dataset_and_nothing_else_moves() {
        let source = "project: p\n\ndata:\n  a:            # first\n    source: a.csv  # here\n\n  # the second\n  b:\n    source: b.csv\n\nsteps: {}\n";
        let list = |indent: &str| format!("{indent}- {{ rows: {{ min: 1 }} }}  # seen\n");
        let edited = add_checks(source, "a", &list).unwrap();
        let wanted =
            source.replace("# here\n", "# here\n    checks:\n      - { rows: { min: 1 } }  # seen\n");
        assert_eq!(edited, wanted);
        assert!(matches!(add_checks(&edited, "a", &list), Err(Error::NameTaken { .. })));
        assert_eq!(without_checks(&edited, "a").unwrap(), source);
        let first =
            "data:\n  a:\n    checks:  # mine\n    - { rows: { min: 1 } }\n\n    # kept\n    source: x\n";
        let wanted = "data:\n  a:\n\n    # kept\n    source: x\n";
        assert_eq!(without_checks(first, "a").unwrap(), wanted);
        for text in
            [source, "data: { a: { source: x, checks: [] } }\n", "data:\n  a: { source: x, checks: [] }\n"]
        {
            assert!(without_checks(text, "a").is_err(), "{text}");
        }
        assert!(add_checks(&edited, "b", &list).unwrap().contains("b.csv\n    checks:\n      - {"));
        for (text, name) in [
            ("data: { a: { source: x } }\n", "a"),
            (source, "c"),
            ("", "a"),
            ("data:\n  a: { source: x }\n", "a"),
        ] {
            assert!(add_checks(text, name, &list).is_err(), "{text}");
        }
    }

    #[test]
    fn entries_are_added_with_everything_else_kept() {
        let source = "project: p  # mine\n\ndata:\n    a:            # first\n        source: a.csv\n        checks:\n            - { rows: { min: 1 } }\n    # a note\n\n# the pipeline\nsteps: {}\n";
        assert_eq!(
            add_dataset(source, "b", "data/b 1.csv").unwrap(),
            "project: p  # mine\n\ndata:\n    a:            # first\n        source: a.csv\n        checks:\n            - { rows: { min: 1 } }\n    # a note\n    b:\n        source: data/b 1.csv\n\n# the pipeline\nsteps: {}\n"
        );
    }

    #[test]
    fn keys_beside_the_source_are_added_too() {
        let beside = serde_json::json!({ "query": "SELECT \"a\"\nFROM t", "read": { "skip": 2 } });
        let add =
            |source: &str| add_dataset_with(source, "a", "sqlite:a.db", beside.as_object().unwrap()).unwrap();
        assert_eq!(
            add("project: p\n"),
            "project: p\n\ndata:\n  a:\n    source: sqlite:a.db\n    query: \"SELECT \\\"a\\\"\\nFROM t\"\n    read: {\"skip\":2}\n"
        );
        assert!(add("data: {}\n").contains("query: \"SELECT"));
    }

    #[test]
    fn the_section_is_made_where_it_belongs() {
        assert_eq!(
            add_dataset("project: p\n\n# what we do\nsteps: {}\n", "a", "https://x.org/a.csv").unwrap(),
            "project: p\n\ndata:\n  a:\n    source: https://x.org/a.csv\n\n# what we do\nsteps: {}\n"
        );
        assert_eq!(
            add_dataset("project: p", "a", "a.csv").unwrap(),
            "project: p\n\ndata:\n  a:\n    source: a.csv\n"
        );
        assert_eq!(add_dataset("", "a", "a: b").unwrap(), "data:\n  a:\n    source: \"a: b\"\n");
        assert_eq!(
            add_dataset("data:   # none\nsteps: {}\n", "a", "7").unwrap(),
            "data:   # none\n  a:\n    source: \"7\"\nsteps: {}\n"
        );
    }

    #[test]
    fn sections_in_brackets_stay_in_brackets() {
        assert_eq!(add_dataset("data: {}\n", "a", "a.csv").unwrap(), "data: { a: { source: \"a.csv\" } }\n");
        assert_eq!(
            add_dataset("data: { a: { source: x } } # c\n", "b", "y,z").unwrap(),
            "data: { a: { source: x }, b: { source: \"y,z\" } } # c\n"
        );
        assert_eq!(
            add_dataset("data: {a: {source: x}}", "b", "y").unwrap(),
            "data: {a: {source: x}, b: { source: \"y\" }}"
        );
    }

    #[test]
    fn what_cannot_be_added_says_why() {
        let taken = add_dataset("data:\n  a: { source: x }\n", "a", "y").unwrap_err();
        assert_eq!(taken, Error::NameTaken { section: "data".into(), name: "a".into() });
        assert!(matches!(add_dataset("data: [a]\n", "b", "y"), Err(Error::NotEditable { .. })));
        assert!(matches!(add_dataset("{ project: p }\n", "b", "y"), Err(Error::NotEditable { .. })));
        assert!(matches!(add_dataset("a: [\n", "b", "y"), Err(Error::Invalid { .. })));
        assert!(matches!(add_dataset("a: 1\n", "b c", "y"), Err(Error::BadName { .. })));
    }

    proptest::proptest! {
        #[test]
        fn an_edit_adds_the_dataset_or_refuses(from in "[ -~é\\n]{1,20}", source in "(project: p\n)?(#c\n)?(data:(\n  [a-c]: \\{ source: x \\}\n)?\n?)?( *steps: \\{\\}\n)?") {
            if let Ok(edited) = add_dataset(&source, "new", &from) {
                let root = yaml::parse(&edited).root.unwrap();
                let found = root.get("data").and_then(|data| data.get("new")?.get("source")?.text());
                proptest::prop_assert_eq!(found, Some(from.as_str()));
            }
        }
    }

    #[test]
    fn a_dataset_is_taken_out_and_all_else_stays() {
        let source = "project: p\n# data\ndata:\n  a:\n    source: a.csv\n    checks:\n      - { rows: { min: 1 } }\n\n  # of b\n  b: { source: b.csv }\nsteps: {}\n";
        let without_a = "project: p\n# data\ndata:\n\n  # of b\n  b: { source: b.csv }\nsteps: {}\n";
        assert_eq!(remove_dataset(source, "a").unwrap(), without_a);
        let without_b = remove_dataset(source, "b").unwrap();
        assert!(without_b.ends_with("  # of b\nsteps: {}\n") && without_b.contains("a.csv"), "{without_b}");
        let none = remove_dataset(without_a, "b").unwrap();
        assert_eq!(none, "project: p\n# data\n\n  # of b\nsteps: {}\n");
        assert!(add_dataset(&none, "c", "c.csv").is_ok());
        for text in ["project: p\ndata: { a: { source: a.csv } }\n", "project: p\n", "a: [", ""] {
            assert!(remove_dataset(text, "a").is_err(), "{text}");
        }
    }
}
