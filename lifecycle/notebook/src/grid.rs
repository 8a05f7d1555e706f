//! The runs of a sweep: every combination of the values that are given, each with a file name of its own.

use std::collections::BTreeMap;

use serde_json::Value;

/// A sweep of more runs is most likely a slip.
pub const MOST: usize = 10_000;
/// The longest name of a file that tells its values, in bytes.
const LONGEST: usize = 120;

/// Splits the values of a parameter at its commas: not at those within quotes or brackets. `1..5` stands for
/// the whole numbers from one to five.
pub fn split(text: &str) -> Vec<String> {
    if let Some((from, to)) = text.split_once("..")
        && let (Ok(from), Ok(to)) = (from.trim().parse::<i64>(), to.trim().parse::<i64>())
        && from <= to
        && to.saturating_sub(from) < MOST as i64
    {
        return (from..=to).map(|number| number.to_string()).collect();
    }
    let mut parts = vec![String::new()];
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open && !escaped => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{' | '(') => depth += 1,
            (None, ']' | '}' | ')') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

/// Every combination, the last name varying fastest; `None` where there are more than [`MOST`].
pub fn product(axes: &[(String, Vec<Value>)]) -> Option<Vec<BTreeMap<String, Value>>> {
    let count = axes.iter().try_fold(1_usize, |count, (_, values)| count.checked_mul(values.len()))?;
    if count > MOST {
        return None;
    }
    let mut runs = vec![BTreeMap::new()];
    for (name, values) in axes {
        runs = runs
            .iter()
            .flat_map(|run: &BTreeMap<String, Value>| {
                values.iter().map(move |value| {
                    let mut run = run.clone();
                    run.insert(name.clone(), value.clone());
                    run
                })
            })
            .collect();
    }
    Some(runs)
}

/// Reads a grid: a map of names to lists is every combination of them, a list of maps is the runs themselves.
///
/// # Errors
/// A text that says what it should have been.
pub fn read(grid: &Value) -> Result<Vec<BTreeMap<String, Value>>, String> {
    let runs = match grid {
        Value::Object(axes) => {
            let axes: Vec<(String, Vec<Value>)> = axes
                .iter()
                .map(|(name, values)| {
                    let values = values.as_array().cloned().unwrap_or_else(|| vec![values.clone()]);
                    (name.clone(), values)
                })
                .collect();
            product(&axes).ok_or_else(|| format!("it makes more than {MOST} runs"))?
        }
        Value::Array(runs) => runs
            .iter()
            .enumerate()
            .map(|(index, run)| match run {
                Value::Object(run) => Ok(run.clone().into_iter().collect()),
                _ => Err(format!("run {} is no map of names to values", index + 1)),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err("expected a map of names to lists of values, or a list of maps".to_owned()),
    };
    if runs.is_empty() { Err("it makes no run".to_owned()) } else { Ok(runs) }
}

/// The names of those parameters that differ among runs, sorted.
pub fn varied(runs: &[BTreeMap<String, Value>]) -> Vec<String> {
    let mut names: Vec<&String> = runs.iter().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let first = runs.first();
    let differs =
        |name: &&&String| runs.iter().any(|run| run.get(**name) != first.and_then(|run| run.get(**name)));
    names.iter().filter(differs).map(|name| (*name).clone()).collect()
}

/// A file name for each run, without its extension: the notebook's stem and the values that vary.
pub fn names(stem: &str, runs: &[BTreeMap<String, Value>]) -> Vec<String> {
    let varied = varied(runs);
    let width = runs.len().to_string().len();
    let told: Vec<String> = runs
        .iter()
        .map(|run| {
            let values = varied.iter().filter_map(|name| Some((name, run.get(name)?)));
            let parts: String = values.map(|(name, value)| format!("-{name}={}", plain(value))).collect();
            format!("{stem}{parts}")
        })
        .collect();
    let mut sorted: Vec<&String> = told.iter().collect();
    sorted.sort();
    sorted.dedup();
    if sorted.len() == runs.len() && told.iter().all(|name| name.len() <= LONGEST) {
        return told;
    }
    (1..=runs.len()).map(|number| format!("{stem}-{number:0width$}")).collect()
}

/// A value as part of a file's name.
fn plain(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    text.chars().filter(|c| *c != '"').map(|c| if fits(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_split_at_bare_commas_and_ranges_are_counted() {
        assert_eq!(split("1,2,3"), ["1", "2", "3"]);
        assert_eq!(split("\"a,b\",'c,d',[1,2],{\"a\": 1, \"b\": 2}").len(), 4);
        assert_eq!(split("2..4"), ["2", "3", "4"]);
        assert_eq!(split("../a,b"), ["../a", "b"]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn every_combination_is_a_run_with_a_name() {
        let runs = read(&json!({"a": [1, 2], "b": ["x/y", "z"], "c": 3})).unwrap();
        assert_eq!(runs.len(), 4);
        assert_eq!(
            runs[1],
            BTreeMap::from([("a".into(), json!(1)), ("b".into(), json!("z")), ("c".into(), json!(3))])
        );
        assert_eq!(varied(&runs), ["a", "b"]);
        assert_eq!(names("train", &runs)[0], "train-a=1-b=x_y");
        let same = read(&json!([{"p": "x/y"}, {"p": "x y"}])).unwrap();
        assert_eq!(names("n", &same), ["n-1", "n-2"]);
        assert!(read(&json!({"a": []})).is_err() && read(&json!(3)).is_err());
        let many: Vec<i32> = (0..200).collect();
        assert!(read(&json!({"a": many, "b": many})).unwrap_err().contains("more than"));
    }

    proptest! {
        #[test]
        fn any_text_is_split_without_losing_any_of_it(text in "[a,\"'\\[\\](){}\\\\.0-9é]{0,30}") {
            prop_assume!(!text.contains(".."));
            prop_assert_eq!(split(&text).join(","), text);
        }
    }
}
