//! Conditions as Great Expectations 1.x keeps them in JSON, written in the words of ours.

use serde_json::Value;

use super::read::DEEP;

/// The text of a condition that is kept as JSON.
pub(super) fn text(value: &Value, depth: usize) -> Result<String, String> {
    if depth > DEEP {
        return Err("the condition is too deep".into());
    }
    let column = || {
        let column = value.get("column");
        let name = column.and_then(|column| column.as_str().or_else(|| column.get("name")?.as_str()));
        name.map(|name| format!("`{}`", escaped(name, '`'))).ok_or("the condition lacks a column")
    };
    let literal = |value: &Value| match value {
        Value::String(text) => Ok(format!("'{}'", escaped(text, '\''))),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!("{value} cannot be compared in a condition")),
    };
    match value.get("type").and_then(Value::as_str) {
        Some("nullity") => {
            let null = value.get("is_null").and_then(Value::as_bool).unwrap_or(true);
            Ok(format!("{} is {}null", column()?, if null { "" } else { "not " }))
        }
        Some("comparison") => {
            let operator = value.get("operator").and_then(Value::as_str).unwrap_or_default();
            let parameter = value.get("parameter").unwrap_or(&Value::Null);
            match (operator, parameter) {
                ("IN" | "NOT_IN", Value::Array(list)) => {
                    let list: Vec<String> = list.iter().map(literal).collect::<Result<_, _>>()?;
                    let word = if operator == "IN" { "in" } else { "not in" };
                    Ok(format!("{} {word} [{}]", column()?, list.join(", ")))
                }
                ("==" | "!=" | "<" | "<=" | ">" | ">=", parameter) => {
                    Ok(format!("{} {operator} {}", column()?, literal(parameter)?))
                }
                _ => Err(format!("`{operator}` is no comparison of a condition")),
            }
        }
        Some(word @ ("and" | "or")) => {
            let parts = value.get("conditions").and_then(Value::as_array).ok_or("the condition is empty")?;
            let parts: Vec<String> = parts
                .iter()
                .map(|part| Ok(format!("({})", text(part, depth + 1)?)))
                .collect::<Result<_, String>>()?;
            Ok(parts.join(&format!(" {word} ")))
        }
        Some("pass_through") => value
            .get("pass_through_filter")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| "the condition is empty".to_owned()),
        _ => Err("the condition is of no known kind".into()),
    }
}

fn escaped(text: &str, quote: char) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter == quote || letter == '\\' {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Condition;

    #[test]
    fn conditions_of_great_expectations_are_read_from_json() {
        let condition = Condition::of_json(&json!({
            "type": "and",
            "conditions": [
                {"type": "comparison", "column": {"name": "a"}, "operator": ">=", "parameter": 5},
                {"type": "or", "conditions": [
                    {"type": "comparison", "column": {"name": "it's"}, "operator": "IN", "parameter": ["x", "o'y"]},
                    {"type": "nullity", "column": {"name": "b"}, "is_null": false},
                ]},
            ],
        }));
        let text = "(`a` >= 5) and ((`it's` in ['x', 'o\\'y']) or (`b` is not null))";
        assert_eq!(condition.unwrap().to_string(), text);
    }
}
