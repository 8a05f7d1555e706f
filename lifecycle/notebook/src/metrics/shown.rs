//! Values as kernels show them, where they are more than literals: NumPy's scalars, tensors and the maps of
//! Python's library, numbers that are none (`nan`, `inf`), and pandas' series.
//!
//! What of a map cannot be read is left out of it, so that one picture among the numbers costs no number. Nothing
//! is evaluated.

use rondo_project::notebook::language::Language;
use rondo_project::notebook::literal;
use serde_json::{Map, Value};

/// Deeper than any map of numbers; keeps hostile nesting from the stack's end.
const DEEPEST: usize = 8;

/// Types whose values are shown as a call with the value first, whatever module they are of; besides those of
/// numbers with their sizes (`np.float64(0.5)`).
const SCALARS: [&str; 9] =
    ["bool_", "str_", "longdouble", "longlong", "intc", "tensor", "array", "Array", "Decimal"];
/// Types that are shown as a call with a map, or a list of pairs, at its end.
const MAPS: [&str; 5] = ["Counter", "OrderedDict", "defaultdict", "mappingproxy", "dict"];

/// Reads a value; a number that is none becomes the text that [`super::value`] makes of it.
pub(super) fn read(text: &str) -> Option<Value> {
    at_depth(text, 0)
}

fn at_depth(text: &str, depth: usize) -> Option<Value> {
    let text = text.trim();
    if depth > DEEPEST {
        return None;
    }
    if let Some(value) = literal::read(text, Language::Python) {
        return Some(value);
    }
    match text {
        "true" | "np.True_" => return Some(Value::Bool(true)),
        "false" | "np.False_" => return Some(Value::Bool(false)),
        "null" => return Some(Value::Null),
        _ => {}
    }
    if let Some(number) = not_finite(text) {
        return Some(rondo_core::number::json(number));
    }
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(entries) => Some(Value::Object(map(entries, depth))),
        None => call(text, depth),
    }
}

/// The number that is none which a text says, in the words of Python, JavaScript, R and Julia.
pub(super) fn not_finite(text: &str) -> Option<f64> {
    match text.strip_prefix(['+', '-']).unwrap_or(text) {
        "nan" | "NaN" => Some(f64::NAN),
        "inf" | "Inf" | "Infinity" if text.starts_with('-') => Some(f64::NEG_INFINITY),
        "inf" | "Inf" | "Infinity" => Some(f64::INFINITY),
        _ => None,
    }
}

/// The entries of a map that can be read.
fn map(entries: &str, depth: usize) -> Map<String, Value> {
    let entry = |entry: &&str| {
        let key = parts(entry, ':').into_iter().next()?;
        let value = entry.get(key.len() + 1..)?;
        Some((name(key)?, at_depth(value, depth + 1)?))
    };
    parts(entries, ',').iter().filter_map(entry).collect()
}

fn name(key: &str) -> Option<String> {
    match read(key)? {
        Value::String(name) => Some(name),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `np.float64(0.5)`, `tensor(0.5, device='cuda:0')`, `Counter({'a': 3})`.
fn call(text: &str, depth: usize) -> Option<Value> {
    let (called, given) = text.split_once('(')?;
    let given = given.strip_suffix(')')?;
    let called = called.rsplit('.').next().unwrap_or(called);
    let size = |word: &str| called.strip_prefix(word).is_some_and(|size| size.parse::<u16>().is_ok());
    if SCALARS.contains(&called) || ["float", "int", "uint"].into_iter().any(size) {
        let value = at_depth(parts(given, ',').first()?, depth + 1)?;
        return match (called, &value) {
            ("Decimal", Value::String(digits)) => super::number(digits),
            _ => Some(value),
        };
    }
    if !MAPS.contains(&called) {
        return None;
    }
    let last = *parts(given, ',').last()?;
    match last.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(pairs) => {
            let pair = |pair: &&str| {
                let inner = pair.trim().strip_prefix('(')?.strip_suffix(')')?;
                let key = parts(inner, ',').into_iter().next()?;
                Some((name(key)?, at_depth(inner.get(key.len() + 1..)?, depth + 1)?))
            };
            Some(Value::Object(parts(pairs, ',').iter().filter_map(pair).collect()))
        }
        None => at_depth(last, depth + 1).filter(Value::is_object),
    }
}

/// A text's parts between separators that stand in no brackets and no quotes.
fn parts(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    let (mut quote, mut escaped) = (None, false);
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) => quote = Some(open).filter(|open| *open != c),
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{' | '<') => depth += 1,
            (None, ')' | ']' | '}' | '>') => depth = depth.saturating_sub(1),
            (None, c) if c == separator && depth == 0 => {
                parts.extend(text.get(start..index));
                start = index + c.len_utf8();
            }
            (None, _) => {}
        }
    }
    parts.extend(text.get(start..).filter(|rest| !rest.trim().is_empty()));
    parts
}

/// The numbers of a series of pandas, by their labels: lines of label and value above one that says the type.
pub(super) fn series(text: &str) -> Option<Map<String, Value>> {
    let (rows, last) = text.trim_end().rsplit_once('\n')?;
    let kind = last.rsplit(", ").next()?.trim();
    let begins = |word: &str| last.trim_start().starts_with(word);
    if !kind.starts_with("dtype: ") || !["dtype: ", "Name: ", "Length: ", "Freq: "].iter().any(|w| begins(w))
    {
        return None;
    }
    // What labels are called stands above them, alone in its line.
    let row = |line: &str| {
        let (label, value) = line.trim_end().rsplit_once("  ")?;
        Some((label.trim().to_owned(), super::number(value.trim())?))
    };
    Some(rows.lines().filter_map(row).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_of_libraries_are_read_also_within_maps() {
        for (text, expected) in [
            ("{'acc': np.float64(0.5), 'k': 3}", json!({"acc": 0.5, "k": 3})),
            (
                "{'k': np.int64(3), 'ok': np.True_, 'b': np.bool_(False)}",
                json!({"k": 3, "ok": true, "b": false}),
            ),
            ("{'acc': 0.5, 'nan': nan, 'x': -inf}", json!({"acc": 0.5, "nan": "NaN", "x": "-Infinity"})),
            ("{\"a\": NaN, \"b\": null, \"c\": true}", json!({"a": "NaN", "b": null, "c": true})),
            (
                "{'a': {'b': np.float32(1.5)}, 'p': <Figure size 1x1>, 'f': f(1, {2})}",
                json!({"a": {"b": 1.5}}),
            ),
            ("{'a, b': tensor(0.5000, device='cuda:0'), 'it\\'s': 1}", json!({"a, b": 0.5, "it's": 1})),
            ("{'d': Decimal('0.25'), 's': np.str_('x')}", json!({"d": 0.25, "s": "x"})),
            ("{'m': array([1, 2]), 1: 2}", json!({"m": [1, 2], "1": 2})),
            ("defaultdict(float, {'a': np.float64(nan)})", json!({"a": "NaN"})),
            ("OrderedDict([('a', 0.5), ('b', np.int8(2))])", json!({"a": 0.5, "b": 2})),
            ("Counter({'a': 3})", json!({"a": 3})),
            ("np.float64(0.5)", json!(0.5)),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        for text in ["f(1)", "{'a': 1", "<Figure size 640x480>", "x", "", "np.float64(f(1))", "Decimal('x')"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn series_of_numbers_are_read_and_other_tables_are_not() {
        let object = |value: Value| value.as_object().cloned();
        let plain = "acc    0.5\nk      3.0\nbad    NaN\ndtype: float64";
        assert_eq!(series(plain), object(json!({"acc": 0.5, "k": 3.0, "bad": "NaN"})));
        let named = "metric\nlog loss   -1.0\nk           2.0\nName: 0, dtype: float64";
        assert_eq!(series(named), object(json!({"log loss": -1.0, "k": 2.0})));
        let mixed = "acc              0.5\nname    random 100\ndtype: object";
        assert_eq!(series(mixed), object(json!({"acc": 0.5})));
        for text in
            ["   acc    k\n0  0.5  3.0", "dtype: float64", "a    1\nb    2", "x    1\ny, dtype: int64"]
        {
            assert_eq!(series(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "[\\[\\](){}<>'\"\\\\0-9einpx.,:=+_ a-zä\\n-]{0,60}") {
            read(&text);
            series(&text);
        }
    }
}
