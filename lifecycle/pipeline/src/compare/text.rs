//! Texts: JSON, CSV, logs, sources. First it is asked what is known to make texts differ, then where.

use std::sync::LazyLock;

use regex::Regex;
use rondo_table::difference::Spread;
use serde_json::Value;

use super::{Finding, Kind, Marks, notebook};

/// How much of a line is shown.
const SHOWN: usize = 60;

#[expect(clippy::unwrap_used, reason = "a test uses each of them")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

/// Days, times of day, moments, and seconds or milliseconds since the epoch in this age.
static MOMENTS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?|\b\d{1,2}:\d{2}:\d{2}(\.\d+)?\b|\b1[5-9]\d{8}(\.\d+|\d{3}|\d{6}|\d{9})?\b|\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? +(\d+ +)?(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*( +\d+)+",
    )
});

static IDENTIFIERS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b|\b[0-9a-f]{32}\b|\b0x[0-9a-f]{6,16}\b",
    )
});

/// Fractions; whole numbers are no matter of rounding.
static FRACTIONS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"[-+]?\d+\.\d*([eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+"));

/// Two texts that differ.
pub(super) fn compare(old: &str, new: &str, marks: &Marks) -> Vec<Finding> {
    let (json_a, json_b) = (json(old), json(new));
    if let (Some(a), Some(b)) = (&json_a, &json_b)
        && notebook::is_one(a)
        && notebook::is_one(b)
    {
        return notebook::compare(a, b, marks);
    }
    vec![known(old, new, json_a.as_ref().zip(json_b.as_ref()), marks).unwrap_or_else(|| first(old, new))]
}

fn json(text: &str) -> Option<Value> {
    let start = text.trim_start().chars().next()?;
    if matches!(start, '{' | '[') { serde_json::from_str(text).ok() } else { None }
}

/// A difference with a known cause.
fn known(old: &str, new: &str, json: Option<(&Value, &Value)>, marks: &Marks) -> Option<Finding> {
    let (a, b) = marks.without(old, new);
    if a == b {
        return Some(Finding::new(
            Kind::Place,
            format!("it names the folder or the run that it was made in{}", at(old, new)),
        ));
    }
    if let Some((a, b)) = json {
        if a == b {
            return Some(Finding::new(
                Kind::Formatting,
                "its values are the same; blanks or the order of keys differ",
            ));
        }
        if sorted(a) == sorted(b) {
            return Some(Finding::new(Kind::Order, "its lists hold the same elements in another order"));
        }
    }
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    if lines(old) == lines(new) {
        let text = format!("its lines are the same in another order{}", at(old, new));
        return Some(Finding::new(Kind::Order, text));
    }
    let (times_a, times_b) = (MOMENTS.replace_all(&a, "\u{2}"), MOMENTS.replace_all(&b, "\u{2}"));
    if times_a == times_b {
        return Some(Finding::new(
            Kind::Clock,
            format!("it holds the time at which it was made{}", at(old, new)),
        ));
    }
    let ids_a = IDENTIFIERS.replace_all(&times_a, "\u{3}");
    if ids_a == IDENTIFIERS.replace_all(&times_b, "\u{3}") {
        let text = format!("it holds identifiers that are drawn at random{}", at(old, new));
        return Some(Finding::new(Kind::Identifiers, text));
    }
    numbers(old, new)
}

/// A value with the elements of its lists in one order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_cached_key(|item| rondo_core::canonical::to_string(item).unwrap_or_default());
            Value::Array(items)
        }
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, item)| (key.clone(), sorted(item))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Texts that are the same but for their fractions.
fn numbers(old: &str, new: &str) -> Option<Finding> {
    let (mut a, mut b) = (FRACTIONS.find_iter(old), FRACTIONS.find_iter(new));
    let (mut end_a, mut end_b) = (0, 0);
    let mut spread = Spread::default();
    let mut line = None;
    loop {
        let (x, y) = (a.next(), b.next());
        let before = |text: &'_ str, from: usize, to: Option<usize>| -> Option<String> {
            text.get(from..to.unwrap_or(text.len())).map(str::to_owned)
        };
        if before(old, end_a, x.map(|x| x.start()))? != before(new, end_b, y.map(|y| y.start()))? {
            return None;
        }
        let (Some(x), Some(y)) = (x, y) else { break };
        (end_a, end_b) = (x.end(), y.end());
        if x.as_str() != y.as_str() {
            spread.add(x.as_str().parse().ok()?, y.as_str().parse().ok()?);
            line = line.or_else(|| Some(old.get(..x.start())?.matches('\n').count() + 1));
        }
    }
    if spread.count == 0 {
        let text = format!("its numbers are the same, and are written otherwise{}", at(old, new));
        return Some(Finding::new(Kind::Formatting, text));
    }
    Some(Finding::numbers(spread, &format!(", first in line {}", line.unwrap_or(1))))
}

/// Where two texts differ first, in a subordinate clause.
fn at(old: &str, new: &str) -> String {
    let line = old.lines().zip(new.lines()).position(|(a, b)| a != b);
    line.map_or_else(String::new, |line| format!(", first in line {}", line + 1))
}

/// Where two texts differ first.
pub(super) fn first(old: &str, new: &str) -> Finding {
    let line = old.lines().zip(new.lines()).position(|(a, b)| a != b);
    let text = match line {
        Some(line) => {
            let (a, b) = (old.lines().nth(line).unwrap_or(""), new.lines().nth(line).unwrap_or(""));
            let (a, b) = around(a, b);
            format!("line {} was `{a}` and is `{b}`", line + 1)
        }
        None => match (old.lines().count(), new.lines().count()) {
            (was, is) if was != is => {
                format!("it had {was} lines and has {is}; the first {} are the same", was.min(is))
            }
            _ => "only the ends of its lines differ".to_owned(),
        },
    };
    Finding::new(Kind::Text, text)
}

/// The parts of two lines around where they differ first.
fn around(a: &str, b: &str) -> (String, String) {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(SHOWN / 3);
    let part = |line: &str| {
        let rest: Vec<char> = line.chars().skip(from).collect();
        let shown: String = rest.iter().take(SHOWN).collect();
        let (before, after) = (if from > 0 { "…" } else { "" }, if rest.len() > SHOWN { "…" } else { "" });
        format!("{before}{shown}{after}")
    };
    (part(a), part(b))
}
