//! The same interfaces as CUE definitions, for those who write CUE: made from the JSON Schemas, so that the
//! two cannot disagree.
//!
//! Only what our own schemas use is translated. Rules between keys (`run` or `uses`, not both) are left to
//! the checker: a disjunction of whole steps would give CUE's users messages that help nobody.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{Package, schema};
use crate::builtins::Builtins;

/// The definition of a step that uses a package.
pub fn step(package: &Package, uses: &str) -> String {
    let mut text = format!("// {}\n", one_line(&package.summary));
    let _ = writeln!(text, "#{}: {}", definition(&package.name), value(&schema::step(package, uses), 0));
    text
}

/// The definition of a project file.
pub fn project(builtins: &Builtins) -> String {
    let mut root = crate::schema::object(&crate::shape::ROOT);
    let mut text =
        String::from("// A project file of Rondo, `rondo.yaml`: cue vet -d '#Project' FILE.cue rondo.yaml\n");
    for (section, name) in [("steps", "#Step"), ("apps", "#App")] {
        let place = format!("/properties/{section}/additionalProperties");
        let Some(entry) = root.pointer_mut(&place) else { continue };
        let mut schema = std::mem::replace(entry, Value::String(name.to_owned()));
        if let Some(entries) = schema.as_object_mut() {
            entries.remove("oneOf");
        }
        // One pattern: of a choice that fails CUE tells every word.
        let named = crate::schema::names(builtins, section == "apps").join("|");
        let uses = schema.pointer_mut("/properties/uses").and_then(Value::as_object_mut);
        if let Some(uses) = uses.filter(|_| !named.is_empty()) {
            uses.insert("pattern".into(), format!("^({named})$|{}", crate::schema::ELSEWHERE).into());
        }
        let mut body = value(&schema, 0);
        let blocks: String = builtins
            .packages
            .iter()
            .filter(|package| package.app == (section == "apps"))
            .map(|package| {
                format!(
                    "\tif uses == {} {{\n\t\twith?: #{}With\n\t}}\n",
                    quoted(&package.name),
                    definition(&package.name)
                )
            })
            .collect();
        // The conditions stand inside of the definition, where its closedness knows their fields.
        if let Some(at) = body.rfind('}').filter(|_| !blocks.is_empty()) {
            body.insert_str(at, &format!("\tif uses != _|_ {{\n{}\t}}\n", indented(&blocks)));
        }
        let _ = writeln!(text, "\n{name}: {body}");
    }
    let _ = writeln!(text, "\n#Project: {}", value(&root, 0));
    let _ =
        writeln!(text, "\n// An expectation of data.\n#Check: {}", value(&crate::schema::check(builtins), 0));
    for package in builtins.packages.iter() {
        let _ = writeln!(text, "\n// {}", one_line(&package.summary));
        let _ = writeln!(text, "#{}With: {}", definition(&package.name), value(&schema::with(package), 0));
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("\t{line}\n")).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A name as that of a definition: `cross-validate` becomes `CrossValidate`.
fn definition(name: &str) -> String {
    let parts = name.split(['-', '_']).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let mut letters = part.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        })
        .collect()
}

/// A schema as a CUE value; a text in a schema's place is a definition's name.
fn value(schema: &Value, depth: usize) -> String {
    let entries = match schema {
        Value::String(name) => return name.clone(),
        Value::Object(entries) => entries,
        _ => return "_".to_owned(),
    };
    if entries.contains_key("$ref") {
        // The one definition that schemas refer to.
        return "#Check".to_owned();
    }
    if let Some(only) = entries.get("const") {
        return literal(only);
    }
    if let Some(values) = entries.get("enum").and_then(Value::as_array) {
        return values.iter().map(literal).collect::<Vec<_>>().join(" | ");
    }
    if let Some(choices) = entries.get("anyOf").and_then(Value::as_array) {
        let choices: Vec<String> = choices.iter().map(|choice| value(choice, depth)).collect();
        // What is required of keys alone is no choice between values.
        if !choices.iter().any(|choice| choice == "_") {
            return choices.join(" | ");
        }
    }
    match entries.get("type") {
        Some(Value::String(word)) => of_type(word, entries, depth),
        Some(Value::Array(words)) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            words.iter().map(|word| of_type(word, entries, depth)).collect::<Vec<_>>().join(" | ")
        }
        _ => "_".to_owned(),
    }
}

fn of_type(word: &str, entries: &Map<String, Value>, depth: usize) -> String {
    let bound = |key: &str, sign: &str| {
        entries.get(key).filter(|value| value.is_number()).map(|number| format!(" & {sign}{number}"))
    };
    let bounds = || {
        format!(
            "{}{}",
            bound("minimum", ">=").unwrap_or_default(),
            bound("maximum", "<=").unwrap_or_default()
        )
    };
    match word {
        "string" => match (entries.get("pattern").and_then(Value::as_str), entries.get("minLength")) {
            (Some(pattern), _) => format!("=~{}", quoted(pattern)),
            (None, Some(_)) => "!=\"\"".to_owned(),
            (None, None) => "string".to_owned(),
        },
        "integer" => format!("int{}", bounds()),
        "number" => format!("number{}", bounds()),
        "boolean" => "bool".to_owned(),
        "array" => {
            let item = entries.get("items").map_or_else(|| "_".to_owned(), |item| value(item, depth));
            let least = entries.get("minItems").and_then(Value::as_u64).unwrap_or(0);
            let firsts = "_, ".repeat(usize::try_from(least.min(64)).unwrap_or(0));
            format!("[{firsts}...{}]", if item.contains('|') { format!("({item})") } else { item })
        }
        "object" => object(entries, depth),
        _ => "_".to_owned(),
    }
}

fn object(entries: &Map<String, Value>, depth: usize) -> String {
    let (tabs, end) = ("\t".repeat(depth + 1), "\t".repeat(depth));
    let required: Vec<&str> = entries
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let mut text = String::from("{\n");
    for (name, schema) in entries.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let mark = if required.contains(&name.as_str()) { "" } else { "?" };
        let doc = schema.get("description").and_then(Value::as_str).filter(|doc| !doc.is_empty());
        if let Some(doc) = doc {
            let _ = writeln!(text, "{tabs}// {}", one_line(doc));
        }
        let _ = writeln!(text, "{tabs}{}{mark}: {}", label(name), value(schema, depth + 1));
    }
    match (entries.get("additionalProperties"), entries.get("properties")) {
        (Some(Value::Bool(false)), _) => {}
        (Some(schema @ (Value::Object(_) | Value::String(_))), _) => {
            let pattern = entries.get("propertyNames").and_then(|names| names.get("pattern"));
            let names = pattern
                .and_then(Value::as_str)
                .map_or_else(|| "string".to_owned(), |pattern| format!("=~{}", quoted(pattern)));
            let _ = writeln!(text, "{tabs}[{names}]: {}", value(schema, depth + 1));
        }
        _ => text.push_str(&format!("{tabs}...\n")),
    }
    text.push_str(&end);
    text.push('}');
    text
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// A field's name. One in quotes could not be referred to.
fn label(name: &str) -> String {
    const WORDS: [&str; 9] = ["package", "import", "for", "in", "if", "let", "null", "true", "false"];
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic());
    if plain && !WORDS.contains(&name) { name.to_owned() } else { quoted(name) }
}

/// A text in CUE's quotes, which are JSON's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use crate::package::read;

    #[test]
    fn a_package_becomes_a_definition() {
        let package = read::builtin(
            "name: k-fold\nversion: 1\nsummary: Folds\ninputs: { rows: dataset }\noutputs: { folds: { type: folder, required: false } }\nparams:\n  folds: { type: int, min: 2, max: 100, default: 5, description: How many. }\n  by: { type: text, enum: [a, b], required: false }\nrun: { builtin: k-fold }\n",
        )
        .unwrap();
        insta::assert_snapshot!(super::step(&package, "k-fold"));
    }
}
