//! What is odd about a table, from its profile alone: by the names and limits that users of
//! ydata-profiling know, the gravest first.
//!
//! An alert is a pointer and no verdict: what a table must be is said by [`crate::checks`].

use rondo_core::signature::ColumnType;
use serde::{Deserialize, Serialize};

use super::{CategoryProfile, ColumnProfile, Distinct, NumericProfile, Profile, TextKind, commas};

/// A share of missing values, of zeros or of repeated rows below this is not worth a line.
const SHARE: f64 = 0.01;
/// From this share on values are nearly all missing.
const NEARLY_ALL: f64 = 0.95;
const SKEWNESS: f64 = 20.0;
/// A column of more different texts than these is no category.
const CATEGORIES: u64 = 50;
const IMBALANCE: f64 = 0.5;
const CORRELATION: f64 = 0.5;
/// From this on one column says what the other says.
const STRONG: f64 = 0.9;
/// No more pairs of columns are named.
const PAIRS: usize = 30;
/// From this share on texts that read as something else are that.
const READS_AS: f64 = 0.95;
/// Every whole number of so many digits has 64 bits.
const LONGEST_WHOLE: u64 = 18;

/// What kind of oddity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// The table has no rows.
    Empty,
    /// Rows repeat earlier ones.
    Duplicates,
    /// All rows have the same value.
    Constant,
    /// Rows lack a value.
    Missing,
    /// Values are infinite.
    Infinite,
    /// Two columns go together.
    HighCorrelation,
    /// One class is far more frequent than the others.
    Imbalance,
    /// A few values lie far on one side.
    Skewed,
    /// All values differ: a key, a row number.
    Unique,
    /// Texts that are neither a key nor a category.
    HighCardinality,
    /// Values that differ only in case or in white space.
    DirtyCategory,
    /// Dates that are kept as text.
    TypeDate,
    /// Numbers that are kept as text.
    TypeNumber,
    /// Numbers that are codes.
    Code,
    /// Many zeros.
    Zeros,
    /// Texts that are no categories are all equally long.
    ConstantLength,
    /// A type that is carried and not looked at.
    Unsupported,
}

impl AlertKind {
    /// The name, in the words of ydata-profiling.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Duplicates => "duplicates",
            Self::Constant => "constant",
            Self::Missing => "missing",
            Self::Infinite => "infinite",
            Self::HighCorrelation => "high correlation",
            Self::Imbalance => "imbalance",
            Self::Skewed => "skewed",
            Self::Unique => "unique",
            Self::HighCardinality => "high cardinality",
            Self::DirtyCategory => "dirty category",
            Self::TypeDate => "dates as text",
            Self::TypeNumber => "numbers as text",
            Self::Code => "code",
            Self::Zeros => "zeros",
            Self::ConstantLength => "constant length",
            Self::Unsupported => "unsupported",
        }
    }
}

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gravity {
    /// A model that learns from this column learns nothing, or something false.
    High,
    /// Worth a look.
    Medium,
    /// Good to know.
    Low,
}

/// One thing that is odd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// How grave.
    pub gravity: Gravity,
    /// What kind.
    pub kind: AlertKind,
    /// Of which columns; none of the table as a whole.
    pub columns: Vec<String>,
    /// In words, to be read behind the column's name.
    pub message: String,
}

impl Profile {
    /// What is odd, the gravest first, in the order of the columns.
    pub fn alerts(&self) -> Vec<Alert> {
        let mut alerts = Vec::new();
        if self.rows == 0 {
            alerts.push(table(Gravity::High, AlertKind::Empty, "the table has no rows".into()));
            return alerts;
        }
        if let Some(repeats) = &self.repeats {
            let found = repeats.duplicates();
            if found.rows > 0 && (found.exact || found.share >= SHARE) {
                let gravity = if found.share >= 0.1 { Gravity::High } else { Gravity::Medium };
                let about = if found.exact { "" } else { "about " };
                let message =
                    format!("{about}{} rows ({}) repeat an earlier one", found.rows, percent(found.share));
                alerts.push(table(gravity, AlertKind::Duplicates, message));
            }
        }
        for column in &self.columns {
            of_column(column, &mut alerts);
        }
        self.correlated(&mut alerts);
        alerts.sort_by_key(|alert| alert.gravity);
        alerts
    }

    fn correlated(&self, alerts: &mut Vec<Alert>) {
        let Some(correlations) = &self.correlations else { return };
        for pair in correlations.strongest(CORRELATION).into_iter().take(PAIRS) {
            let gravity = if pair.r.abs() >= STRONG { Gravity::Medium } else { Gravity::Low };
            let message = format!("go together: r = {:.2}", pair.r);
            let columns = vec![pair.a, pair.b];
            alerts.push(Alert { gravity, kind: AlertKind::HighCorrelation, columns, message });
        }
    }
}

fn table(gravity: Gravity, kind: AlertKind, message: String) -> Alert {
    Alert { gravity, kind, columns: Vec::new(), message }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 99.9 && percent < 100.0 {
        ">99.9 %".to_owned()
    } else if percent > 0.0 && percent < 0.1 {
        "<0.1 %".to_owned()
    } else {
        format!("{percent:.1} %")
    }
}

fn of_column(column: &ColumnProfile, alerts: &mut Vec<Alert>) {
    let mut alert = |gravity, kind, message: String| {
        alerts.push(Alert { gravity, kind, columns: vec![column.name.clone()], message });
    };
    if column.count == 0 {
        alert(Gravity::High, AlertKind::Missing, "has no value in any row".into());
        return;
    }
    if column.column_type == ColumnType::Other {
        alert(Gravity::Low, AlertKind::Unsupported, "is of a type that is carried and not looked at".into());
    }
    let missing = column.null_share();
    if missing >= SHARE {
        let gravity = match missing {
            share if share >= NEARLY_ALL => Gravity::High,
            share if share >= 0.2 => Gravity::Medium,
            _ => Gravity::Low,
        };
        alert(gravity, AlertKind::Missing, format!("{} of the values are missing", percent(missing)));
    }
    if column.is_constant() {
        alert(Gravity::High, AlertKind::Constant, "has the same value in every row".into());
        return;
    }
    let unique = |distinct: Distinct| distinct.exact && distinct.count == column.count && column.count > 1;
    let key = column.column_type != ColumnType::Number && column.column_type != ColumnType::Timestamp;
    if let Some(distinct) = column.distinct() {
        let texts = column.column_type == ColumnType::String;
        let kind = if unique(distinct) { AlertKind::Unique } else { AlertKind::HighCardinality };
        if column.is_id_like() {
            let message = match kind {
                AlertKind::Unique => "all values differ: it looks like a key".to_owned(),
                _ => format!("{} different values: it looks like a key", about(distinct)),
            };
            alert(Gravity::Medium, kind, message);
        } else if key && unique(distinct) {
            alert(Gravity::Low, AlertKind::Unique, "all values differ".into());
        } else if texts && distinct.count > CATEGORIES {
            let message = format!("{} different values", about(distinct));
            alert(Gravity::Low, AlertKind::HighCardinality, message);
        }
    }
    if let Some(numeric) = column.numeric.as_ref().filter(|_| column.column_type.is_numeric()) {
        of_numbers(column, numeric, &mut alert);
    }
    if let Some(category) = &column.category {
        of_texts(column, category, &mut alert);
    }
}

fn about(distinct: Distinct) -> String {
    format!("{}{}", if distinct.exact { "" } else { "about " }, distinct.count)
}

fn of_numbers(
    column: &ColumnProfile,
    numeric: &NumericProfile,
    alert: &mut impl FnMut(Gravity, AlertKind, String),
) {
    let share = |count: u64| count as f64 / column.count as f64;
    if numeric.infinite > 0 {
        let message = format!("{} of the values are infinite", percent(share(numeric.infinite)));
        alert(Gravity::Medium, AlertKind::Infinite, message);
    }
    let skewness = numeric.moments.skewness();
    if skewness.abs() > SKEWNESS {
        alert(Gravity::Medium, AlertKind::Skewed, format!("is highly skewed: {skewness:.1}"));
    }
    let zeros = share(numeric.zeros);
    if zeros > SHARE {
        let gravity = if zeros >= 0.9 { Gravity::Medium } else { Gravity::Low };
        alert(gravity, AlertKind::Zeros, format!("{} of the values are zero", percent(zeros)));
    }
}

fn of_texts(
    column: &ColumnProfile,
    category: &CategoryProfile,
    alert: &mut impl FnMut(Gravity, AlertKind, String),
) {
    if let Some(imbalance) = imbalance(category).filter(|imbalance| *imbalance > IMBALANCE) {
        let message = match category.top(1).first() {
            Some((_, count)) => {
                let share = *count as f64 / column.count as f64;
                format!("{} of the values are one class (imbalance {imbalance:.2})", percent(share))
            }
            None => format!("one class is far more frequent than the others ({imbalance:.2})"),
        };
        alert(Gravity::Medium, AlertKind::Imbalance, message);
    }
    if column.column_type != ColumnType::String {
        return;
    }
    if let Some(example) = category.counts().and_then(|counts| dirty(counts.keys())) {
        let message = format!("values differ only in case or white space: {example}");
        alert(Gravity::Medium, AlertKind::DirtyCategory, message);
    }
    // Of a few categories it says nothing.
    let many = category.distinct().count > CATEGORIES;
    if many && category.lengths.min == category.lengths.max {
        let message = format!("every text has {} characters", category.lengths.min);
        alert(Gravity::Low, AlertKind::ConstantLength, message);
    }
    if let Some(read) = commas::read(column) {
        // A profile does not know what it was read from.
        let message = format!("has numbers with a comma; of delimited text: {read}");
        alert(Gravity::Medium, AlertKind::TypeNumber, message);
    } else if let Some((kind, share)) = category.forms.as_ref().and_then(|forms| forms.main_kind())
        && share >= READS_AS
    {
        let zeros = category.forms.as_ref().map_or(0, |forms| forms.leading_zeros);
        let reads = |what: &str| format!("{} of the texts read as {what}", percent(share));
        match kind {
            TextKind::Date => alert(Gravity::Medium, AlertKind::TypeDate, reads("dates")),
            TextKind::Integer | TextKind::Decimal if zeros > 0 => {
                let share = zeros as f64 / column.count as f64;
                let message = format!("looks like a code: leading zeros in {} of the texts", percent(share));
                alert(Gravity::Low, AlertKind::Code, message);
            }
            TextKind::Integer if category.lengths.max > LONGEST_WHOLE => {
                let message = "looks like a code: more digits than a whole number holds".to_owned();
                alert(Gravity::Low, AlertKind::Code, message);
            }
            TextKind::Integer | TextKind::Decimal => {
                alert(Gravity::Medium, AlertKind::TypeNumber, reads("numbers"));
            }
            _ => {}
        }
    }
}

/// How far a category is from having all classes alike: 1 minus its entropy as a share of the greatest.
fn imbalance(category: &CategoryProfile) -> Option<f64> {
    let counts = category.counts()?;
    if counts.len() < 2 || counts.len() as u64 > CATEGORIES {
        return None;
    }
    let total = category.count as f64;
    let entropy: f64 = counts
        .values()
        .map(|count| *count as f64 / total)
        .map(|share| if share > 0.0 { -share * share.log2() } else { 0.0 })
        .sum();
    Some(1.0 - entropy / (counts.len() as f64).log2())
}

/// Two values that are the same but for case and white space.
fn dirty<'a>(values: impl Iterator<Item = &'a String>) -> Option<String> {
    let mut seen: std::collections::HashMap<String, &str> = std::collections::HashMap::new();
    for value in values {
        let plain: String = value.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ");
        if let Some(other) = seen.insert(plain, value) {
            return Some(format!("`{other}` and `{value}`"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray};

    use super::super::{ProfileOptions, Profiler};
    use super::*;
    use crate::read::columns_of;

    fn names(columns: Vec<(&str, ArrayRef)>) -> Vec<(String, &'static str, Gravity)> {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap();
        let mut profiler = Profiler::with(&columns_of(&batch.schema()), &ProfileOptions::FULL);
        profiler.update(&batch).unwrap();
        let alerts = profiler.finish().unwrap().alerts();
        alerts.into_iter().map(|a| (a.columns.join(" "), a.kind.name(), a.gravity)).collect()
    }

    fn texts(values: impl Iterator<Item = String>) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(values))
    }

    #[test]
    fn texts_of_digits_are_codes_where_zeros_lead_and_numbers_otherwise() {
        let kind = |of: &dyn Fn(u32) -> String| {
            let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..60).map(|row| of(row % 20))));
            let of_column = names(vec![("zip", texts)]).into_iter().filter(|(column, ..)| column == "zip");
            of_column.map(|(_, kind, _)| kind).collect::<Vec<_>>()
        };
        assert_eq!(kind(&|row| format!("{:05}", 990 + row)), ["code"]);
        assert_eq!(kind(&|row| format!("{}", 990 + row)), ["numbers as text"]);
        assert_eq!(kind(&|row| format!("922337203685477580{}", 90 + row)), ["code"]);
    }

    #[test]
    fn what_is_odd_is_named() {
        let numbers =
            |of: fn(u32) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values((0..1000).map(of))) };
        let found = names(vec![
            ("same", numbers(|_| 7.0)),
            ("x", numbers(|row| f64::from(row * 37 % 1000))),
            ("y", numbers(|row| f64::from(row * 37 % 1000) * -2.0 + f64::from(row % 3))),
            ("spike", numbers(|row| if row == 0 { 1e9 } else { f64::from(row % 7) + 1.0 })),
            ("nothing", numbers(|row| if row % 50 == 0 { 1.5 } else { 0.0 })),
            ("gone", Arc::new(Float64Array::from_iter((0..1000).map(|row| (row == 3).then_some(1.0))))),
            ("rare", Arc::new(BooleanArray::from_iter((0..1000).map(|row| Some(row % 40 == 0))))),
            ("key", texts((0..1000).map(|row| format!("k{row}")))),
            ("city", texts((0..1000).map(|row| format!("c{:02}", row % 100)))),
            ("day", texts((0..1000).map(|row| format!("2013-01-{:02}", row % 28 + 1)))),
            ("case", texts((0..1000).map(|row| ["Yes", "yes ", "no"][row % 3].to_owned()))),
        ]);
        let has = |column: &str, name: &str, gravity: Gravity| {
            assert!(
                found.contains(&(column.to_owned(), name_of(name), gravity)),
                "{column} {name}: {found:?}"
            );
        };
        has("same", "constant", Gravity::High);
        has("x y", "high correlation", Gravity::Medium);
        has("spike", "skewed", Gravity::Medium);
        has("nothing", "zeros", Gravity::Medium);
        has("gone", "missing", Gravity::High);
        has("rare", "imbalance", Gravity::Medium);
        has("key", "unique", Gravity::Medium);
        has("city", "high cardinality", Gravity::Low);
        has("day", "dates as text", Gravity::Medium);
        has("city", "constant length", Gravity::Low);
        has("case", "dirty category", Gravity::Medium);
        assert!(!found.iter().any(|(column, ..)| column == "x"), "{found:?}");
        assert!(found.is_sorted_by_key(|(_, _, gravity)| *gravity));
    }

    fn name_of(name: &str) -> &'static str {
        let kinds = [
            AlertKind::Constant,
            AlertKind::HighCorrelation,
            AlertKind::Skewed,
            AlertKind::Zeros,
            AlertKind::Missing,
            AlertKind::Imbalance,
            AlertKind::Unique,
            AlertKind::HighCardinality,
            AlertKind::TypeDate,
            AlertKind::ConstantLength,
            AlertKind::DirtyCategory,
        ];
        kinds.into_iter().map(AlertKind::name).find(|known| *known == name).unwrap()
    }

    #[test]
    fn repeated_rows_and_an_empty_table_are_told() {
        let repeated = names(vec![("x", Arc::new(Float64Array::from(vec![1.0, 2.0, 1.0, 3.0])))]);
        assert_eq!(repeated, [(String::new(), "duplicates", Gravity::High)]);
        let empty = names(vec![("x", Arc::new(Float64Array::from(Vec::<f64>::new())))]);
        assert_eq!(empty, [(String::new(), "empty", Gravity::High)]);
    }
}
