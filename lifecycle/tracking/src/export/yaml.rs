//! A `meta.yaml` as text: fields one a line, every text quoted, so that no reader takes it for something else.

use std::fmt::Write as _;

/// A value of a field.
pub(super) enum Value<'a> {
    /// Nothing.
    Null,
    /// A whole number.
    Int(i64),
    /// Text.
    Text(&'a str),
    /// Keys and texts.
    Map(&'a [(String, String)]),
    /// A list that is empty.
    Nothing,
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

/// The text of these fields.
pub(super) fn document(fields: &[(&str, Value<'_>)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        // Writing to a text does not fail.
        let _ = match value {
            Value::Null => writeln!(text, "{name}: null"),
            Value::Int(number) => writeln!(text, "{name}: {number}"),
            Value::Text(value) => writeln!(text, "{name}: {}", quoted(value)),
            Value::Map([]) => writeln!(text, "{name}: {{}}"),
            Value::Map(pairs) => {
                let _ = writeln!(text, "{name}:");
                pairs
                    .iter()
                    .try_for_each(|(key, value)| writeln!(text, "  {}: {}", quoted(key), quoted(value)))
            }
            Value::Nothing => writeln!(text, "{name}: []"),
        };
    }
    text
}

/// A text in double quotes. JSON's escapes are YAML's; what YAML's readers refuse or fold is escaped too.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rondo_project::yaml;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(text in any::<String>(), number in any::<i64>()) {
            let pairs = vec![("k".to_owned(), text.clone())];
            let document = document(&[
                ("text", Value::Text(&text)),
                ("number", Value::Int(number)),
                ("nothing", Value::Null),
                ("map", Value::Map(&pairs)),
            ]);
            let parsed = yaml::parse(&document);
            prop_assert!(parsed.faults.is_empty(), "{document}");
            let root = parsed.root.unwrap();
            prop_assert_eq!(root.get("text").unwrap().text(), Some(text.as_str()));
            prop_assert_eq!(root.get("number").unwrap().int(), Some(number));
            prop_assert!(root.get("nothing").unwrap().is_null());
            prop_assert_eq!(root.get("map").unwrap().get("k").unwrap().text(), Some(text.as_str()));
        }
    }
}
