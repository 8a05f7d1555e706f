//! Values in commands and in SQL, so that a blank or a quote in one breaks nothing.

use std::collections::BTreeMap;

use rondo_project::quote::Quote;
use rondo_project::substitute::{self, Piece, SubstituteError, Values};
use serde_json::Value;

/// Puts values into a command for the shell. A value is always part of one word: it is quoted as its place
/// needs it, between quotes of the command's own or outside of them. Values of plain characters stay as
/// they are.
///
/// # Errors
/// When an expression is malformed or has no value.
pub fn command(text: &str, values: &Values<'_>) -> Result<String, SubstituteError> {
    let mut result = String::with_capacity(text.len());
    let mut quote = Quote::None;
    for piece in substitute::pieces(text) {
        match piece {
            Piece::Text(text) => {
                quote = quote.after(&text);
                result.push_str(&text);
            }
            Piece::Expression(expression) => {
                let expression = Value::from(format!("${{{{ {} }}}}", expression?));
                let value = match substitute::value(&expression, values)? {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                result.push_str(&quote.quoted(&value));
            }
        }
    }
    Ok(result)
}

/// A command whose shell waits, when it is asked to stop, for the program that it runs: that one was asked too and
/// may want to save something. A shell that waits for nothing ends at once, by the same signal.
pub fn patient(command: &str) -> String {
    format!("trap 'trap - TERM; kill -TERM $$' TERM; {command}")
}

/// Puts values into a `with:` block. Those of its keys that are commands are filled as such.
///
/// # Errors
/// When an expression is malformed or has no value.
pub fn with(
    with: &BTreeMap<String, Value>,
    commands: &[&str],
    values: &Values<'_>,
) -> Result<BTreeMap<String, Value>, SubstituteError> {
    let filled = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) if commands.contains(&key.as_str()) => Value::from(command(text, values)?),
            value => substitute::value(value, values)?,
        };
        Ok((key.clone(), value))
    };
    with.iter().map(filled).collect()
}

/// Puts values into SQL. Texts come without quotes of their own and with theirs doubled: they stand between
/// the script's quotes. Lists are lists of SQL.
///
/// # Errors
/// When an expression is malformed or has no value.
pub fn sql(text: &str, values: &Values<'_>) -> Result<String, SubstituteError> {
    substitute::with(text, values, |value| match value {
        Value::String(text) => text.replace('\'', "''"),
        other => literal(&other),
    })
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(name, item)| format!("'{}': {}", name.replace('\'', "''"), literal(item)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;
    use rondo_core::ports::Builtin;
    use serde_json::json;

    use super::*;

    fn given<T>(value: Value, path: &str, then: impl FnOnce(&Values<'_>) -> T) -> T {
        let params = BTreeMap::from([("p".to_owned(), value)]);
        let inputs = BTreeMap::from([("i".to_owned(), PathBuf::from(path))]);
        then(&Values { params: &params, inputs: &inputs, outputs: &BTreeMap::new(), matrix: None })
    }

    #[test]
    fn commands_stay_as_they_are_where_values_are_plain() {
        let text = "run --p ${{ params.p }} < ${{ inputs.i }}";
        assert_eq!(given(json!(7), "/a/b.csv", |v| command(text, v)).unwrap(), "run --p 7 < /a/b.csv");
        let text = "run '${{ params.p }}' \"${{ inputs.i }}\" \\' ${{ params.p }}";
        let made = given(json!("a 'b'"), "/$x y", |v| command(text, v)).unwrap();
        assert_eq!(made, r#"run 'a '\''b'\''' "/\$x y" \' 'a '\''b'\'''"#);
        assert_eq!(
            given(json!([1, "x"]), "/", |v| command("f ${{ params.p }}", v)).unwrap(),
            r#"f '[1,"x"]'"#
        );
        assert_eq!(given(json!(""), "/", |v| command("f ${{ params.p }}", v)).unwrap(), "f ''");
        assert!(given(json!(1), "/", |v| command("${{ params.q }}", v)).is_err());
    }

    #[test]
    fn commands_of_a_package_are_filled_as_commands() {
        let block: BTreeMap<String, Value> = [
            ("run".to_owned(), json!("cat ${{ inputs.i }} ${{ params.p }}")),
            ("title".to_owned(), json!("of ${{ params.p }}")),
        ]
        .into();
        let filled = given(json!("a; rm -r x"), "/my rows.csv", |v| with(&block, &["run"], v)).unwrap();
        assert_eq!(filled["run"], json!("cat '/my rows.csv' 'a; rm -r x'"));
        assert_eq!(filled["title"], json!("of a; rm -r x"));
        assert_eq!(crate::builtins::CrossValidate.commands(), ["run"]);
        assert_eq!(crate::builtins::Container::default().commands(), ["command"]);
    }

    #[test]
    fn sql_gets_literals() {
        let text = "SELECT '${{ params.p }}' FROM '${{ inputs.i }}'";
        assert_eq!(given(json!("it's"), "/o'b", |v| sql(text, v)).unwrap(), "SELECT 'it''s' FROM '/o''b'");
        let text = "x IN ${{ params.p }}";
        assert_eq!(given(json!([1, "a'b", null]), "/", |v| sql(text, v)).unwrap(), "x IN [1, 'a''b', NULL]");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_shell_reads_back_exactly_the_value(value in "[ -~é]{0,20}", place in 0..3_usize) {
            let text = ["printf %s ${{ params.p }}", "printf %s '${{ params.p }}'", "printf %s \"${{ params.p }}\""][place];
            let made = given(json!(value), "/", |v| command(text, v)).unwrap();
            let said = std::process::Command::new("/bin/sh").args(["-c", &made]).output().unwrap();
            prop_assert_eq!(String::from_utf8(said.stdout).unwrap(), value);
        }
    }
}
