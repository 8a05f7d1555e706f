//! A suite proposed for a table, from its profile: what is so, loosened, with the reason beside each rule.
//!
//! The same profile gives the same text. Bounds are wider than what was seen, so that the next part of the
//! same kind passes; of columns that look like keys only that they are there and differ is proposed, never
//! which values they have; a set of values is proposed only where few values occur often. It proposes and
//! does not know: what it cannot see (that a delay may not be below the flight's length) is for people.

use rondo_core::signature::ColumnType;
use serde_json::Value;

use crate::moment::Moment;
use crate::profile::{ColumnProfile, Profile};

/// With more different values a column is no list of categories.
const CATEGORIES: u64 = 30;
/// Each of the categories has been seen so often on average, or they may be accidents.
const SEEN: u64 = 20;
/// With fewer rows nothing is said about shares and bounds.
const ROWS: u64 = 30;

/// A rule with what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The rule, as one line of YAML in the compact form.
    pub rule: String,
    /// What was seen.
    pub reason: String,
}

/// The rules for a table.
pub fn propose(profile: &Profile) -> Vec<Proposal> {
    let mut all = Vec::new();
    let mut add = |rule: String, reason: String| all.push(Proposal { rule, reason });
    let names: Vec<String> = profile.columns.iter().map(|column| text(&column.name)).collect();
    add(format!("{{ columns: [{}] }}", names.join(", ")), format!("{} columns", names.len()));
    if profile.rows > 0 {
        let least = rounded_down(profile.rows as f64 / 2.0) as u64;
        add(format!("{{ rows: {{ min: {} }} }}", least.max(1)), format!("{} rows seen", profile.rows));
    }
    for column in &profile.columns {
        for (rule, reason) in of_column(column, profile.rows) {
            add(format!("{{ column: {}, {rule} }}", text(&column.name)), reason);
        }
    }
    all
}

/// The whole as YAML: a list with a comment above each group of a column.
pub fn yaml(proposals: &[Proposal], indent: &str) -> String {
    let widest = proposals.iter().map(|one| one.rule.chars().count()).filter(|width| *width <= 78).max();
    let widest = widest.unwrap_or(0);
    let mut out = String::new();
    for one in proposals {
        let width = one.rule.chars().count();
        let pad = " ".repeat(widest.saturating_sub(width));
        out.push_str(&format!("{indent}- {}{pad}  # {}\n", one.rule, one.reason));
    }
    out
}

fn of_column(column: &ColumnProfile, rows: u64) -> Vec<(String, String)> {
    let mut found = vec![(
        format!("type: {}", column.column_type.text()),
        format!("{} of {rows} rows have a value", column.count),
    )];
    if rows < ROWS || column.count == 0 {
        return found;
    }
    found.push(nulls(column, rows));
    let distinct = column.distinct();
    if column.is_id_like() {
        if let Some(distinct) = distinct.filter(|distinct| distinct.exact && distinct.count == column.count) {
            found.push(("unique: true".into(), format!("all {} values differ", distinct.count)));
        }
        if column.column_type == ColumnType::String {
            found.extend(lengths(column));
        }
        return found;
    }
    match column.column_type {
        ColumnType::String => match categories(column) {
            Some(rule) => found.push(rule),
            None => found.extend(lengths(column)),
        },
        ColumnType::Integer | ColumnType::Number => found.extend(range(column)),
        ColumnType::Timestamp => found.extend(first_moment(column)),
        ColumnType::Boolean | ColumnType::Other => {}
    }
    found
}

/// As many missing as were seen, half as many again, and at least one in a thousand more.
fn nulls(column: &ColumnProfile, rows: u64) -> (String, String) {
    if column.nulls == 0 {
        return ("not_null: true".into(), "none missing".into());
    }
    let share = column.nulls as f64 / rows as f64;
    let allowed = (share * 1.5).max(share + 0.001).min(1.0);
    let mostly = ((1.0 - allowed) * 1000.0).floor() / 1000.0;
    let seen = format!("{} missing ({:.2} %)", column.nulls, share * 100.0);
    (format!("not_null: {{ mostly: {mostly} }}"), seen)
}

fn categories(column: &ColumnProfile) -> Option<(String, String)> {
    let category = column.category.as_ref()?;
    let counts = category.counts().filter(|counts| {
        let many = counts.len() as u64;
        many > 0 && many <= CATEGORIES && column.count / many >= SEEN
    })?;
    let words: Vec<String> = counts.keys().map(|value| text(value)).collect();
    if words.iter().any(|word| word.len() > 60) {
        return None;
    }
    // A new value now and then is a warning, not a stop.
    let rule = format!("in_set: {{ values: [{}], mostly: 0.99 }}", words.join(", "));
    let (value, count) = category.top(1).first().map(|(value, count)| ((*value).to_owned(), *count))?;
    let reason = format!("{} values, the commonest `{}` {count} times", words.len(), line(&value));
    Some((rule, reason))
}

fn lengths(column: &ColumnProfile) -> Option<(String, String)> {
    let lengths = column.category.as_ref()?.lengths;
    let reason = format!("lengths from {} to {}", lengths.min, lengths.max);
    if lengths.min == lengths.max {
        return Some((format!("length: {}", lengths.min), reason));
    }
    let max = lengths.max.saturating_mul(2).max(lengths.max.saturating_add(10));
    Some((format!("length: {{ min: {}, max: {max} }}", lengths.min.min(1)), reason))
}

/// The range that was seen, wider by half of it on each side; what was never below 0 stays so.
fn range(column: &ColumnProfile) -> Vec<(String, String)> {
    let Some(numeric) = column.numeric.as_ref().filter(|numeric| numeric.moments.count > 0) else {
        return Vec::new();
    };
    let moments = &numeric.moments;
    let (min, max) = (moments.min, moments.max);
    let reason = format!("from {} to {}, mean {}", short(min), short(max), short(moments.mean));
    if min == max {
        return vec![(
            format!("between: [{}, {}]", exact(min), exact(max)),
            format!("always {}", short(min)),
        )];
    }
    let span = max / 2.0 - min / 2.0;
    if !span.is_finite() {
        return Vec::new();
    }
    let low = if min >= 0.0 { 0.0 } else { rounded_down(min - span) };
    let high = if max <= 0.0 { 0.0 } else { rounded_up(max + span) };
    let share = low == 0.0 && max <= 1.0 && column.column_type == ColumnType::Number;
    let high = if share { 1.0 } else { high };
    if !(low.is_finite() && high.is_finite()) {
        return Vec::new();
    }
    let mut found = vec![(format!("between: [{}, {}]", exact(low), exact(high)), reason)];
    let std = moments.std();
    if std > 0.0 && moments.count >= 100 {
        let (low, high) = (rounded_down(moments.mean - std), rounded_up(moments.mean + std));
        let low = if min >= 0.0 { low.max(0.0) } else { low };
        let high = if max <= 0.0 { high.min(0.0) } else { high };
        if low.is_finite() && high.is_finite() {
            found.push((
                format!("mean: {{ min: {}, max: {} }}, severity: warning", exact(low), exact(high)),
                format!("mean {}, standard deviation {}", short(moments.mean), short(std)),
            ));
        }
    }
    found
}

fn first_moment(column: &ColumnProfile) -> Option<(String, String)> {
    let moments = column.numeric.as_ref().filter(|numeric| numeric.moments.count > 0)?.moments;
    let (first, last) = (Moment::of_scale(moments.min), Moment::of_scale(moments.max));
    // Later parts go on; only the first year is a bound.
    let year = first.rfc3339().get(..4)?.to_owned();
    let rule = format!("between: {{ min: \"{year}-01-01\" }}");
    Some((rule, format!("from {first} to {last}")))
}

/// Towards minus infinity, at the second significant digit.
fn rounded_down(value: f64) -> f64 {
    rounded(value, f64::floor)
}

fn rounded_up(value: f64) -> f64 {
    rounded(value, f64::ceil)
}

fn rounded(value: f64, how: impl Fn(f64) -> f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let step = 10_f64.powi((value.abs().log10().floor() as i32 - 1).clamp(-300, 300));
    how(value / step) * step
}

/// A number that YAML reads back as the same within what is proposed.
fn exact(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-5..1e15).contains(&size) {
        return format!("{value:e}");
    }
    let digits = (2.0 - size.max(1e-5).log10().floor()).clamp(0.0, 8.0) as usize;
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".into() } else { text.into() }
}

fn short(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        return format!("{value:.3e}");
    }
    let digits = (4.0 - size.max(1e-4).log10().floor()).clamp(0.0, 8.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A text of the data on one line of a comment.
fn line(value: &str) -> String {
    value.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(40).collect()
}

/// A text in YAML: bare where nothing else can be meant.
fn text(value: &str) -> String {
    let bare =
        value.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.'))
            && value.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && !matches!(
                value.to_ascii_lowercase().as_str(),
                "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n" | "nan" | "inf"
            );
    if bare { value.to_owned() } else { Value::from(value).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{Suite, evaluate_path};

    fn of(csv: &str) -> (String, std::path::PathBuf, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, csv).unwrap();
        let proposals = propose(&Profile::of_path(&path).unwrap());
        (yaml(&proposals, ""), path, dir)
    }

    #[test]
    fn a_suite_is_proposed_that_the_table_passes_and_that_leaves_room() {
        let mut csv = String::from("id,carrier,delay,share,at,note,yes\n");
        for n in 0..400 {
            let carrier = ["AA", "B6", "it's: 1"][n % 3];
            let delay = if n % 40 == 0 { "NA".into() } else { (n as i64 % 90 - 20).to_string() };
            csv.push_str(&format!(
                "user_{n:05},{carrier},{delay},{},2013-01-{:02},{},{}\n",
                n as f64 / 400.0,
                n % 28 + 1,
                "x".repeat(n % 37 + 1),
                n % 2 == 0
            ));
        }
        let (text, path, _dir) = of(&csv);
        for wanted in [
            "- { columns: [id, carrier, delay, share, at, note, \"yes\"] }",
            "- { rows: { min: 200 } }",
            "- { column: id, unique: true }",
            "- { column: id, length: 10 }",
            "- { column: carrier, in_set: { values: [AA, B6, \"it's: 1\"], mostly: 0.99 } }",
            "- { column: delay, not_null: { mostly: 0.962 } }",
            "- { column: delay, between: [-65, 120] }",
            "- { column: share, between: [0, 1] }",
            "- { column: at, between: { min: \"2013-01-01\" } }",
            "# 10 missing (2.50 %)",
        ] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
        assert!(!text.contains("in_set: { values: [user"), "{text}");
        assert_eq!(of(&csv).0, text, "the same table gives the same text");
        // Its rules, without the YAML around them, hold.
        let profile = Profile::of_path(&path).unwrap();
        assert!(propose(&profile).len() > 12);
    }

    #[test]
    fn of_few_rows_little_is_said() {
        let (text, _, _dir) = of("a,b\n1,x\n2,y\n");
        assert!(!text.contains("between") && !text.contains("in_set"), "{text}");
        let (text, _, _dir) = of("a,b\n");
        assert!(text.starts_with("- { columns: [a, b] }"), "{text}");
    }

    #[test]
    fn the_mean_of_what_was_never_negative_is_not_expected_to_be() {
        let skewed = |sign: &str| -> String {
            let rows = (0..200).map(|row| format!("{sign}{}\n", if row % 50 == 0 { 823.5 } else { 0.15 }));
            std::iter::once("fare\n".to_owned()).chain(rows).collect()
        };
        let (above, ..) = of(&skewed(""));
        assert!(above.contains("mean: { min: 0, max:"), "{above}");
        let (below, ..) = of(&skewed("-"));
        assert!(below.contains(", max: 0 }, severity"), "{below}");
    }

    #[test]
    fn a_profile_answers_what_it_knows_exactly() {
        use crate::checks::{evaluate_profile, undecided};
        let (_, path, _dir) = of("a,b\n1,x\n2,y\n,z\n4,z\n");
        let profile = Profile::of_path(&path).unwrap();
        let suite = |rules: Value| Suite::parse(&rules).unwrap();
        let known = serde_json::json!([
            {"rows": 4}, {"column": "a", "not_null": {"mostly": 0.7}}, {"column": "a", "between": [1, 4]},
            {"column": "a", "mean": {"min": 2, "max": 3}}, {"column": "a", "median": 2}, {"column": "b", "length": 1},
            {"column": "b", "in_set": ["x", "y", "z"]}, {"column": "b", "type": "string"}, {"columns": ["a", "b"]},
            {"column": "a", "std": {"max": 2}}, {"column": "b", "distinct_count": 3}, {"column": "b", "distinct_in_set": ["x", "y", "z"]},
            {"column": "a", "sum": 7}, {"column": "a", "not_null_share": 0.75},
        ]);
        let told = evaluate_profile(&suite(known.clone()), &profile).unwrap();
        assert!(told.passed && told.from_profile);
        let read = evaluate_path(&suite(known), &path).unwrap();
        for (told, read) in told.rules.iter().zip(&read.rules) {
            assert_eq!(
                (told.passed, told.unexpected_count, &told.observed, told.rows),
                (read.passed, read.unexpected_count, &read.observed, read.rows),
                "{}",
                read.rule
            );
        }
        // What does not hold, or needs rows, sends all to the data.
        for rule in [
            serde_json::json!({"column": "a", "between": [2, 4]}),
            serde_json::json!({"column": "b", "matches": "x"}),
            serde_json::json!({"column": "a", "not_null": true, "where": "b == 'x'"}),
        ] {
            assert!(evaluate_profile(&suite(serde_json::json!([rule])), &profile).is_none());
        }
        let three = suite(serde_json::json!([{"rows": 4}, {"column": "b", "matches": "x"}]));
        assert_eq!(undecided(&three, &profile).len(), 1);
    }
}
