//! Values as literals, language by language.

use serde_json::Value;

use super::super::language::Language;

/// A value as a literal.
pub fn write(value: &Value, language: Language) -> String {
    match language {
        Language::Python => python(value),
        Language::R => r(value),
        Language::Bash => bash(value),
        Language::Julia => julia(value),
        Language::Scala => scala(value),
        Language::Matlab => matlab(value),
        Language::CSharp => c_sharp(value),
        Language::FSharp => f_sharp(value),
        Language::PowerShell => power_shell(value),
    }
}

/// The number that a text names and JSON does not have: `nan`, `inf`, `-Infinity`, YAML's `.nan` and `-.inf`.
pub fn not_finite(text: &str) -> Option<f64> {
    let text = text.trim();
    let (sign, digits) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    match digits.strip_prefix('.').unwrap_or(digits).to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "infinity" => Some(sign * f64::INFINITY),
        _ => None,
    }
}

/// An infinity or what is no number, as an expression.
pub fn write_not_finite(number: f64, language: Language) -> String {
    let (nan, infinity, minus) = match language {
        Language::Python => ("float(\"nan\")", "float(\"inf\")", "float(\"-inf\")"),
        Language::R | Language::Julia | Language::Matlab => ("NaN", "Inf", "-Inf"),
        Language::Bash => ("nan", "inf", "-inf"),
        Language::Scala => ("Double.NaN", "Double.PositiveInfinity", "Double.NegativeInfinity"),
        Language::CSharp => ("double.NaN", "double.PositiveInfinity", "double.NegativeInfinity"),
        Language::FSharp => ("nan", "infinity", "-infinity"),
        Language::PowerShell => ("[double]::NaN", "[double]::PositiveInfinity", "[double]::NegativeInfinity"),
    };
    let word = match number {
        number if number.is_nan() => nan,
        number if number > 0.0 => infinity,
        _ => minus,
    };
    word.to_owned()
}

fn each(values: &[Value], write: fn(&Value) -> String) -> String {
    values.iter().map(write).collect::<Vec<_>>().join(", ")
}

/// The entries of a map, each as `pair` writes it.
fn pairs(
    map: &serde_json::Map<String, Value>,
    between: &str,
    pair: impl Fn(&str, &Value) -> String,
) -> String {
    map.iter().map(|(key, value)| pair(key, value)).collect::<Vec<_>>().join(between)
}

fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text, &[], long_escape),
        Value::Array(values) => format!("[{}]", each(values, python)),
        Value::Object(map) => {
            let pair =
                |key: &str, value: &Value| format!("{}: {}", quoted(key, &[], long_escape), python(value));
            format!("{{{}}}", pairs(map, ", ", pair))
        }
    }
}

fn r(value: &Value) -> String {
    // R's texts cannot hold NUL.
    let text = |text: &str| quoted(&text.replace('\0', ""), &[], long_escape);
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(true) => "TRUE".to_owned(),
        Value::Bool(false) => "FALSE".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(string) => text(string),
        Value::Array(values) => {
            let same = |is: fn(&Value) -> bool| !values.is_empty() && values.iter().all(is);
            let vector = same(Value::is_number) || same(Value::is_string) || same(Value::is_boolean);
            format!("{}({})", if vector { "c" } else { "list" }, each(values, r))
        }
        Value::Object(map) => {
            format!("list({})", pairs(map, ", ", |key, value| format!("{} = {}", text(key), r(value))))
        }
    }
}

fn bash(value: &Value) -> String {
    let single = |text: &str| format!("'{}'", text.replace('\0', "").replace('\'', "'\\''"));
    match value {
        Value::Null => "''".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => single(text),
        Value::Array(values) if values.iter().all(|value| !value.is_array() && !value.is_object()) => {
            format!("({})", values.iter().map(bash).collect::<Vec<_>>().join(" "))
        }
        // A shell has no nested values: JSON for `jq` to read.
        Value::Array(_) | Value::Object(_) => single(&value.to_string()),
    }
}

fn julia(value: &Value) -> String {
    let text = |text: &str| quoted(text, &['$'], long_escape);
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(string) => text(string),
        Value::Array(values) => format!("[{}]", each(values, julia)),
        Value::Object(map) => {
            format!("Dict({})", pairs(map, ", ", |key, value| format!("{} => {}", text(key), julia(value))))
        }
    }
}

fn scala(value: &Value) -> String {
    let text = |text: &str| quoted(text, &[], short_escape);
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => long(number, "L"),
        Value::String(string) => text(string),
        Value::Array(values) => format!("Seq({})", each(values, scala)),
        Value::Object(map) => {
            format!("Map({})", pairs(map, ", ", |key, value| format!("{} -> {}", text(key), scala(value))))
        }
    }
}

fn matlab(value: &Value) -> String {
    match value {
        Value::Null => "NaN".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => matlab_text(text, '"'),
        Value::Array(values) => format!("{{{}}}", each(values, matlab)),
        Value::Object(map) => {
            let keys = pairs(map, ", ", |key, _| matlab_text(key, '\''));
            format!("containers.Map({{{keys}}}, {{{}}})", pairs(map, ", ", |_, value| matlab(value)))
        }
    }
}

/// MATLAB has no escapes: quotes are doubled, and what ends a line is added as a character.
fn matlab_text(text: &str, quote: char) -> String {
    let double = format!("{quote}{quote}");
    let part = |part: &str| format!("{quote}{}{quote}", part.replace(quote, &double));
    let mut parts: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(char::is_control) {
        let (before, after) = rest.split_at(at);
        let mut chars = after.chars();
        let code = chars.next().map_or(0, u32::from);
        parts.extend([part(before), format!("char({code})")]);
        rest = chars.as_str();
    }
    parts.push(part(rest));
    match (parts.len(), quote) {
        (1, _) => parts.concat(),
        (_, '"') => parts.join(" + "),
        _ => format!("[{}]", parts.join(", ")),
    }
}

fn c_sharp(value: &Value) -> String {
    let text = |text: &str| quoted(text, &[], c_escape);
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => long(number, "L"),
        Value::String(string) => text(string),
        Value::Array(values) => {
            let same = |is: fn(&Value) -> bool| !values.is_empty() && values.iter().all(is);
            let one_type = same(Value::is_string) || same(Value::is_boolean) || same(Value::is_number);
            format!("new {}[] {{ {} }}", if one_type { "" } else { "object" }, each(values, c_sharp))
        }
        Value::Object(map) => {
            let pair = |key: &str, value: &Value| format!("{{ {}, {} }}", text(key), c_sharp(value));
            format!("new Dictionary<string, object> {{ {} }}", pairs(map, ", ", pair))
        }
    }
}

fn f_sharp(value: &Value) -> String {
    let text = |text: &str| quoted(text, &[], c_escape);
    let boxed = |value: &Value| format!("box ({})", f_sharp(value));
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => long(number, "L"),
        Value::String(string) => text(string),
        Value::Array(values) => {
            let same = |is: fn(&Value) -> bool| values.iter().all(is);
            let one_type = same(Value::is_string) || same(Value::is_boolean) || same(Value::is_i64);
            let write = |value| if one_type { f_sharp(value) } else { boxed(value) };
            format!("[ {} ]", values.iter().map(write).collect::<Vec<_>>().join("; "))
        }
        Value::Object(map) => {
            let pair = |key: &str, value: &Value| format!("({}, {})", text(key), boxed(value));
            format!("[ {} ] |> Map.ofList", pairs(map, "; ", pair))
        }
    }
}

fn power_shell(value: &Value) -> String {
    match value {
        Value::Null => "$Null".to_owned(),
        Value::Bool(true) => "$True".to_owned(),
        Value::Bool(false) => "$False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => power_shell_text(text),
        Value::Array(values) => format!("@({})", each(values, power_shell)),
        Value::Object(map) => {
            let pair =
                |key: &str, value: &Value| format!("{} = {}", power_shell_text(key), power_shell(value));
            format!("@{{ {} }}", pairs(map, "; ", pair))
        }
    }
}

/// Between single quotes PowerShell replaces nothing; it takes typographic quotes for quotes too.
fn power_shell_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        if matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
    out
}

/// A number; a whole one that needs more than 32 bits has the mark of a long one.
fn long(number: &serde_json::Number, mark: &str) -> String {
    match number.as_i64() {
        Some(whole) if i32::try_from(whole).is_err() => format!("{whole}{mark}"),
        Some(_) | None => number.to_string(),
    }
}

fn long_escape(code: u32) -> String {
    format!("\\U{code:08x}")
}

/// For characters below 65,536, as all control characters are.
fn short_escape(code: u32) -> String {
    format!("\\u{code:04x}")
}

fn c_escape(code: u32) -> String {
    format!("\\u{code:04x}")
}

/// A text between double quotes; control characters are escaped, `also` are further characters that need a
/// backslash.
fn quoted(text: &str, also: &[char], escape: fn(u32) -> String) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if also.contains(&c) => out.extend(['\\', c]),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => out.push_str(&escape(c.into())),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_literals_of_each_language() {
        let value = json!({"a": [1, 2.5, true, null, "x\"y\n$z"]});
        for (language, literal) in [
            (Language::Python, r#"{"a": [1, 2.5, True, None, "x\"y\n$z"]}"#),
            (Language::R, r#"list("a" = list(1, 2.5, TRUE, NULL, "x\"y\n$z"))"#),
            (Language::Julia, r#"Dict("a" => [1, 2.5, true, nothing, "x\"y\n\$z"])"#),
            (Language::Scala, r#"Map("a" -> Seq(1, 2.5, true, None, "x\"y\n$z"))"#),
            (Language::Matlab, r#"containers.Map({'a'}, {{1, 2.5, true, NaN, "x""y" + char(10) + "$z"}})"#),
            (
                Language::CSharp,
                r#"new Dictionary<string, object> { { "a", new object[] { 1, 2.5, true, null, "x\"y\n$z" } } }"#,
            ),
            (
                Language::FSharp,
                r#"[ ("a", box ([ box (1); box (2.5); box (true); box (None); box ("x\"y\n$z") ])) ] |> Map.ofList"#,
            ),
            (Language::PowerShell, "@{ 'a' = @(1, 2.5, $True, $Null, 'x\"y\n$z') }"),
        ] {
            assert_eq!(write(&value, language), literal);
        }
        assert_eq!(write(&json!([1, 2]), Language::R), "c(1, 2)");
        assert_eq!(write_not_finite(f64::NEG_INFINITY, Language::Python), "float(\"-inf\")");
        assert_eq!(write_not_finite(f64::NAN, Language::R), "NaN");
        assert_eq!(write(&json!([1, 2]), Language::CSharp), "new [] { 1, 2 }");
        assert_eq!(write(&json!(5_000_000_000_i64), Language::Scala), "5000000000L");
        assert_eq!(write(&json!("it's"), Language::Bash), r"'it'\''s'");
        assert_eq!(write(&json!(["a", 1]), Language::Bash), "('a' 1)");
        assert_eq!(write(&json!({"a": 1}), Language::Bash), r#"'{"a":1}'"#);
        assert_eq!(write(&json!("it’s"), Language::PowerShell), "'it’’s'");
    }

    #[test]
    fn numbers_that_json_does_not_have_are_read_as_people_write_them() {
        for text in ["inf", "Infinity", ".inf", ".Inf"] {
            assert_eq!(not_finite(text), Some(f64::INFINITY), "{text}");
            assert_eq!(not_finite(&format!("-{text}")), Some(f64::NEG_INFINITY), "{text}");
        }
        assert!(["nan", "NaN", ".nan"].iter().all(|text| not_finite(text).is_some_and(f64::is_nan)));
        assert!(["", "1", "info", "..nan", "- inf"].iter().all(|text| not_finite(text).is_none()));
    }
}
