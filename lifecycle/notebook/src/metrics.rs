//! What a notebook gives beside its outputs: named values that its cells leave, numbers among them metrics.
//!
//! Two ways are understood. Scrapbook's `glue` leaves values under media types of its own. A cell tagged
//! `metrics` (or `outputs`) gives what it shows: JSON, a map or a series of pandas as its last value, a number as
//! the value of a last line that is a name, and printed lines `name = value`, which every language can write.
//! JSON has no numbers that are none: among values they are the texts that the tracking server takes for them.

mod shown;

use std::collections::BTreeMap;

use rondo_project::notebook::language::Language;
use rondo_project::notebook::literal;
use serde_json::Value;

use crate::document::{Cell, Notebook, joined};
use crate::outputs::plain;
use crate::parameters;

/// Cells with one of these tags give values.
pub const TAGS: [&str; 2] = ["metrics", "outputs"];
/// What scrapbook's media types begin with.
const SCRAP: &str = "application/scrapbook.scrap.";
/// The longest name of a value, in bytes.
const LONGEST_NAME: usize = 250;

/// Whether a cell is one that gives values.
pub fn is_tagged(cell: &Cell) -> bool {
    TAGS.iter().any(|tag| cell.has_tag(tag))
}

/// A value that `glue` left, by its name.
pub fn scrap(content: &Value) -> Option<(String, Value)> {
    let data = content.get("data")?.as_object()?;
    let (_, scrap) = data.iter().find(|(media, _)| media.starts_with(SCRAP) && media.ends_with("+json"))?;
    Some((scrap.get("name")?.as_str()?.to_owned(), scrap.get("data")?.clone()))
}

/// What all cells of an executed notebook give.
pub fn of(notebook: &Notebook) -> BTreeMap<String, Value> {
    let language = parameters::language(notebook);
    let mut values = BTreeMap::new();
    for cell in &notebook.cells {
        values.extend(cell.outputs().iter().filter_map(scrap));
        if is_tagged(cell) {
            values.extend(shown(cell, language));
        }
    }
    values
}

/// The values that a tagged cell shows.
pub fn shown(cell: &Cell, language: Option<Language>) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for output in cell.outputs() {
        match output.get("output_type").and_then(Value::as_str) {
            Some("stream") if output.get("name").is_none_or(|name| name == "stdout") => {
                let text = output.get("text").map(joined).unwrap_or_default();
                values.extend(plain(&text).lines().flat_map(line));
            }
            Some("execute_result" | "display_data") => {
                let data = output.get("data").unwrap_or(&Value::Null);
                values.extend(displayed(data, cell, language));
            }
            Some(_) | None => {}
        }
    }
    values.retain(|name, _| !name.is_empty() && name.len() <= LONGEST_NAME);
    values
}

fn displayed(data: &Value, cell: &Cell, language: Option<Language>) -> BTreeMap<String, Value> {
    if let Some(Value::Object(map)) = data.get("application/json") {
        return map.clone().into_iter().collect();
    }
    let text = plain(&data.get("text/plain").map(joined).unwrap_or_default());
    if let Some(series) = shown::series(&text) {
        return series.into_iter().collect();
    }
    // R counts what it prints: `[1] 0.7`.
    let text = text.trim().strip_prefix("[1] ").unwrap_or(text.trim());
    let literal = language.and_then(|language| literal::read(text, language));
    match literal.or_else(|| number(text)).or_else(|| shown::read(text)) {
        Some(Value::Object(map)) => map.into_iter().collect(),
        Some(value) => match last_name(&cell.source()) {
            Some(name) => BTreeMap::from([(name, value)]),
            None => BTreeMap::new(),
        },
        None => BTreeMap::new(),
    }
}

/// A number, also as NumPy shows it: `np.float64(0.7)`.
fn number(text: &str) -> Option<Value> {
    match text.parse() {
        Ok(number) => Some(rondo_core::number::json(number)),
        Err(_) => shown::read(text).filter(|value| figure(value).is_some()),
    }
}

/// The number that a value is. Kernels, too, write numbers that are none as texts where they send JSON.
fn figure(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => shown::not_finite(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Numbers by name as JSON.
pub fn json(numbers: &BTreeMap<String, f64>) -> Value {
    Value::Object(
        numbers.iter().map(|(name, number)| (name.clone(), rondo_core::number::json(*number))).collect(),
    )
}

/// Numbers by name, written and read as JSON that loses none of them.
pub(crate) mod figures {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    pub(crate) fn serialize<S: Serializer>(
        numbers: &BTreeMap<String, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::json(numbers).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, f64>, D::Error> {
        let values = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let number = |(name, value): (String, Value)| super::figure(&value).map(|number| (name, number));
        Ok(values.into_iter().filter_map(number).collect())
    }
}

/// What is to be said of a tagged cell that gave nothing: the tag promises a value, and without a word it would be
/// missed only where it is looked for.
pub fn lacking(cell: &Cell, shown: &BTreeMap<String, Value>) -> Option<&'static str> {
    let values = || shown.iter().map(|(name, value)| (name.clone(), value.clone()));
    let all: BTreeMap<String, Value> = values().chain(cell.outputs().iter().filter_map(scrap)).collect();
    if cell.has_tag("metrics") && numbers(&all).is_empty() {
        return Some(
            "is tagged `metrics` and gave no number that can be read: end it with a map of names to numbers, or print \
             lines `name = 0.5`",
        );
    }
    (is_tagged(cell) && all.is_empty()).then_some(
        "is tagged `outputs` and gave no value that can be read: end it with a map of names to values, or print lines \
         `name = 0.5`",
    )
}

/// The name that is all of a source's last line.
fn last_name(source: &str) -> Option<String> {
    let line = source.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let line = line.split('#').next().unwrap_or(line).trim();
    let fits = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    (!line.is_empty() && line.chars().all(fits) && !line.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| line.to_owned())
}

/// The values of a printed line: a JSON object, `name = value` or `name: value`.
fn line(line: &str) -> Vec<(String, Value)> {
    let line = line.trim();
    if line.starts_with('{') {
        // JSON's texts have escapes that Python's do not.
        return match serde_json::from_str(line).ok().or_else(|| shown::read(line)) {
            Some(Value::Object(map)) => map.into_iter().collect(),
            Some(_) | None => Vec::new(),
        };
    }
    let Some((name, value)) = line.split_once(['=', ':']) else { return Vec::new() };
    let (name, value) = (name.trim(), value.trim());
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' ');
    match number(value) {
        Some(number) if !name.is_empty() && name.chars().all(fits) => vec![(name.to_owned(), number)],
        _ => Vec::new(),
    }
}

/// The numbers among values; those within maps have dotted names.
pub fn numbers(values: &BTreeMap<String, Value>) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for (name, value) in values {
        collect(name, value, &mut found, 0);
    }
    found
}

fn collect(name: &str, value: &Value, found: &mut BTreeMap<String, f64>, depth: usize) {
    match value {
        Value::Object(map) if depth < 4 => {
            for (key, value) in map {
                collect(&format!("{name}.{key}"), value, found, depth + 1);
            }
        }
        value => found.extend(figure(value).map(|number| (name.to_owned(), number))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(source: &str, outputs: Vec<Value>, language: Language) -> Value {
        let mut cell = Cell::code(source, &["metrics"]);
        cell.set_outputs(outputs);
        Value::Object(shown(&cell, Some(language)).into_iter().collect())
    }

    fn result(text: &str) -> Value {
        json!({"output_type": "execute_result", "data": {"text/plain": text}})
    }

    #[test]
    fn maps_names_and_printed_lines_give_values() {
        assert_eq!(
            of("m", vec![result("{'auc': 0.7, 'n': 3}")], Language::Python),
            json!({"auc": 0.7, "n": 3})
        );
        assert_eq!(of("x = 1\nauc # area", vec![result("0.7")], Language::Python), json!({"auc": 0.7}));
        assert_eq!(of("auc", vec![result("np.float64(0.7)")], Language::Python), json!({"auc": 0.7}));
        assert_eq!(of("auc", vec![result("[1] 0.7")], Language::R), json!({"auc": 0.7}));
        let printed = json!({"output_type": "stream", "name": "stdout", "text":
            "auc=0.7\nlog loss: 2e-1\nwords: many\n{\"n\": 3, \"note\": \"x\"}\nhttp://a:80\n"});
        assert_eq!(
            of("echo", vec![printed], Language::Bash),
            json!({"auc": 0.7, "log loss": 0.2, "n": 3, "note": "x"})
        );
        let both =
            json!({"output_type": "display_data", "data": {"application/json": {"a": 1}, "text/plain": "x"}});
        assert_eq!(of("display", vec![both], Language::Python), json!({"a": 1}));
        let python = |text: &str| of("m", vec![result(text)], Language::Python);
        assert_eq!(python("{'acc': np.float64(0.5), 'k': 3}"), json!({"acc": 0.5, "k": 3}));
        assert_eq!(python("acc    0.5\nk      3.0\ndtype: float64"), json!({"acc": 0.5, "k": 3.0}));
        assert_eq!(python("nan"), json!({"m": "NaN"}));
        let printed = json!({"output_type": "stream", "text": "loss: nan\n{'a': np.int64(2)}\n"});
        assert_eq!(of("print(m)", vec![printed], Language::Python), json!({"loss": "NaN", "a": 2}));
    }

    #[test]
    fn numbers_that_are_none_are_numbers_also_when_written_down() {
        let values = BTreeMap::from([
            ("a".to_owned(), json!({"b": "NaN", "c": "nan"})),
            ("x".to_owned(), json!("-Infinity")),
            ("note".to_owned(), json!("rf")),
        ]);
        let found = numbers(&values);
        assert!(found["a.b"].is_nan() && found["a.c"].is_nan() && found.len() == 3);
        assert_eq!(found["x"], f64::NEG_INFINITY);
        assert_eq!(json(&found), json!({"a.b": "NaN", "a.c": "NaN", "x": "-Infinity"}));
    }

    #[test]
    fn a_tagged_cell_that_gives_nothing_is_told() {
        let told = |tag: &str, outputs: Vec<Value>| {
            let mut cell = Cell::code("m", &[tag]);
            cell.set_outputs(outputs);
            lacking(&cell, &shown(&cell, Some(Language::Python)))
        };
        assert!(told("metrics", Vec::new()).is_some_and(|told| told.contains("gave no number")));
        assert!(told("metrics", vec![result("{'name': 'rf'}")]).is_some());
        assert!(told("metrics", vec![result("<Figure size 640x480>")]).is_some());
        assert!(told("outputs", vec![result("{'name': 'rf'}")]).is_none());
        assert!(told("outputs", vec![result("f(x)")]).is_some_and(|told| told.contains("gave no value")));
        assert!(told("metrics", vec![result("0.5")]).is_none());
        let media = "application/scrapbook.scrap.json+json";
        let glued = json!({"output_type": "display_data", "data": {media: {"name": "auc", "data": 0.7}}});
        assert!(told("metrics", vec![glued]).is_none());
        assert!(told("other", Vec::new()).is_none());
    }

    #[test]
    fn scraps_are_read_whatever_their_encoder() {
        let content = |media: &str| json!({"data": {media: {"name": "auc", "data": 0.7, "version": 1}}});
        let expected = Some(("auc".to_owned(), json!(0.7)));
        assert_eq!(scrap(&content("application/scrapbook.scrap.json+json")), expected);
        assert_eq!(scrap(&content("application/scrapbook.scrap.text+json")), expected);
        assert_eq!(scrap(&content("application/json")), None);
    }

    #[test]
    fn numbers_within_maps_have_dotted_names() {
        let values = BTreeMap::from([
            ("a".to_owned(), json!({"b": 1, "c": {"d": 2.5}, "e": "x"})),
            ("n".to_owned(), json!(3)),
            ("flag".to_owned(), json!(true)),
        ]);
        let expected = [("a.b", 1.0), ("a.c.d", 2.5), ("n", 3.0)];
        assert_eq!(numbers(&values), expected.map(|(name, value)| (name.to_owned(), value)).into());
    }
}
