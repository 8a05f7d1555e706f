//! How alike two columns are, whatever their names: by which a renamed column is found.
//!
//! Told from profiles alone. It is a guess for people, said as one; nothing is decided by it.

use rondo_core::signature::ColumnType;

use crate::profile::Profile;
use crate::profile::summary::ColumnSummary;

/// From 0 (nothing in common) to 1 (as if it were the same column).
///
/// The product of how alike the shares of missing values, of different values and the values themselves are:
/// of numbers and moments their quantiles by the width of both, of texts the shares of the commonest values.
pub fn likeness(a: &ColumnSummary, b: &ColumnSummary) -> f64 {
    let numeric = |column: ColumnType| matches!(column, ColumnType::Integer | ColumnType::Number);
    let comparable = a.column_type == b.column_type || (numeric(a.column_type) && numeric(b.column_type));
    if !comparable || a.count == 0 || b.count == 0 || a.column_type == ColumnType::Other {
        return 0.0;
    }
    let missing = 1.0 - (a.null_share - b.null_share).abs();
    missing * distinct(a, b) * values(a, b)
}

/// The smaller share of different values by the greater.
fn distinct(a: &ColumnSummary, b: &ColumnSummary) -> f64 {
    let share = |column: &ColumnSummary| {
        column.distinct.map(|distinct| distinct.count as f64 / column.count.max(1) as f64)
    };
    match (share(a), share(b)) {
        // The same few values in more rows are a smaller share.
        (Some(x), Some(y)) => {
            let counts = a.distinct.zip(b.distinct).map(|(a, b)| ratio(a.count as f64, b.count as f64));
            ratio(x, y).max(counts.unwrap_or(0.0))
        }
        _ => 1.0,
    }
}

fn ratio(a: f64, b: f64) -> f64 {
    if a == b { 1.0 } else { a.min(b) / a.max(b).max(f64::MIN_POSITIVE) }
}

fn values(a: &ColumnSummary, b: &ColumnSummary) -> f64 {
    if let (Some(a), Some(b)) = (&a.numbers, &b.numbers) {
        let points = |n: &crate::profile::summary::NumberSummary| {
            let [p5, p25, p50, p75, p95] = n.quantiles;
            [n.min, p5, p25, p50, p75, p95, n.max]
        };
        return apart(&points(a), &points(b));
    }
    if let (Some((first, last)), Some((begin, end))) = (a.moments, b.moments) {
        return apart(&[first.0 as f64, last.0 as f64], &[begin.0 as f64, end.0 as f64]);
    }
    let shares = |column: &ColumnSummary, value: &str| {
        let known = column.top.iter().find(|(known, _)| known == value);
        known.map_or(0.0, |(_, count)| *count as f64 / column.count.max(1) as f64)
    };
    let covered = |column: &ColumnSummary| {
        column.top.iter().map(|(_, count)| *count as f64).sum::<f64>() / column.count.max(1) as f64
    };
    if covered(a) < 0.5 || covered(b) < 0.5 {
        // Too many different values to compare them: their lengths say something.
        return match (a.lengths, b.lengths) {
            (Some((min, mean, max)), Some((least, middle, most))) => {
                apart(&[min as f64, mean, max as f64], &[least as f64, middle, most as f64])
            }
            _ => 0.0,
        };
    }
    let mut all: Vec<&str> = a.top.iter().chain(&b.top).map(|(value, _)| value.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    1.0 - all.iter().map(|value| (shares(a, value) - shares(b, value)).abs()).sum::<f64>() / 2.0
}

/// How near points are to each other, by the width of all of them.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    let all = || a.iter().chain(b).copied();
    let width = all().fold(f64::MIN, f64::max) - all().fold(f64::MAX, f64::min);
    if width <= 0.0 || !width.is_finite() {
        return if a == b { 1.0 } else { 0.0 };
    }
    let distance: f64 = a.iter().zip(b).map(|(a, b)| (a - b).abs() / width).sum();
    (1.0 - distance / a.len().max(1) as f64).max(0.0)
}

/// Of columns that have gone and columns that have come, those that are likely the same under another name:
/// the old name, the new one and how alike they are (at least `least`), each column once, the likeliest first.
pub fn renamed(
    before: &Profile,
    after: &Profile,
    gone: &[&str],
    come: &[&str],
    least: f64,
) -> Vec<(String, String, f64)> {
    let summary = |profile: &Profile, names: &[&str]| -> Vec<ColumnSummary> {
        names.iter().filter_map(|name| profile.column(name)).map(|column| column.summary()).collect()
    };
    let (old, new) = (summary(before, gone), summary(after, come));
    let mut pairs: Vec<(String, String, f64)> = old
        .iter()
        .flat_map(|a| new.iter().map(|b| (a.name.clone(), b.name.clone(), likeness(a, b))))
        .filter(|(_, _, likeness)| *likeness >= least)
        .collect();
    pairs.sort_by(|a, b| b.2.total_cmp(&a.2).then_with(|| (&a.0, &a.1).cmp(&(&b.0, &b.1))));
    let mut taken: Vec<(String, String, f64)> = Vec::new();
    for pair in pairs {
        if !taken.iter().any(|(from, to, _)| *from == pair.0 || *to == pair.1) {
            taken.push(pair);
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> Profile {
        let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Profile::of_path(file.path()).unwrap()
    }

    fn table(names: [&str; 3], shift: i32) -> Profile {
        let mut text = format!("{}\n", names.join(","));
        for row in 0..200 {
            text.push_str(&format!(
                "{},{},{}\n",
                row % 50 + shift,
                ["a", "b", "b"][row as usize % 3],
                row * row
            ));
        }
        profile(&text)
    }

    #[test]
    fn a_column_is_found_under_its_new_name() {
        let (before, after) = (table(["x", "kind", "sq"], 0), table(["delay", "sort", "square"], 1));
        let found = renamed(&before, &after, &["x", "kind", "sq"], &["square", "delay", "sort"], 0.9);
        let mut names: Vec<(&str, &str)> = found.iter().map(|(a, b, _)| (a.as_str(), b.as_str())).collect();
        names.sort_unstable();
        assert_eq!(names, [("kind", "sort"), ("sq", "square"), ("x", "delay")]);
        assert!(found.iter().all(|(_, _, likeness)| *likeness > 0.95 && *likeness <= 1.0), "{found:?}");
    }

    #[test]
    fn another_column_is_not_taken_for_it() {
        let (before, after) = (table(["x", "kind", "sq"], 0), table(["x", "kind", "sq"], 400));
        assert!(renamed(&before, &after, &["x"], &["sq"], 0.9).is_empty());
        assert!(renamed(&before, &after, &["kind"], &["x"], 0.9).is_empty());
        assert!(renamed(&before, &after, &["x"], &["x"], 0.9).is_empty(), "its values are others");
    }
}
