//! Drift: what has moved between two profiles, by how much, and whether it matters.
//!
//! The size of an effect comes first: a column has drifted when a statistic is at least its threshold
//! *and* its p-value, adjusted for the number of tests (Benjamini-Hochberg), is below α. So neither a
//! large sample with a shift too small to matter nor a small one with noise alone raises an alarm. The
//! definitions are NannyML's where it has one (bins from the reference alone, so that a stored profile is
//! enough); a missing value is a value: a change of the null share is drift. Keys, constants and moments,
//! which always move, are left out with a note.
//!
//! Columns are looked at one by one: two columns that changed only together are not seen.

mod categories;
mod numbers;
pub mod statistics;

use rondo_core::signature::ColumnType;
use serde::{Deserialize, Serialize};

use crate::profile::{ColumnProfile, Profile};

/// What counts as drift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftOptions {
    /// With fewer values than this on either side a column is not judged.
    pub min_rows: u64,
    /// The false discovery rate.
    pub alpha: f64,
    /// Least Jensen-Shannon distance (0 to 1).
    pub jensen_shannon: f64,
    /// Least Wasserstein distance, in standard deviations of the reference.
    pub wasserstein: f64,
    /// Least change of any category's share.
    pub l_infinity: f64,
    /// Least share of categories that the reference does not have.
    pub new_categories: f64,
    /// Least change of the share of missing values.
    pub null_share: f64,
    /// The table has drifted when at least this share of the judged columns has.
    pub dataset_share: f64,
    /// Columns that are not looked at.
    pub ignore: Vec<String>,
}

impl Default for DriftOptions {
    fn default() -> Self {
        Self {
            min_rows: 100,
            alpha: 0.05,
            jensen_shannon: 0.1,
            wasserstein: 0.1,
            l_infinity: 0.08,
            new_categories: 0.01,
            null_share: 0.05,
            dataset_share: 0.5,
            ignore: Vec::new(),
        }
    }
}

/// How two columns were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Distance of the two distributions over the reference's bins or over all categories, base 2.
    JensenShannon,
    /// Area between the distribution functions, in standard deviations of the reference.
    Wasserstein,
    /// Population stability index over the tenths of the reference; for information.
    PopulationStability,
    /// Greatest distance of the distribution functions; for information.
    KolmogorovSmirnov,
    /// Greatest change of a category's share.
    LInfinity,
    /// The share of categories that the reference does not have.
    NewCategories,
    /// The change of the share of missing values.
    NullShare,
}

impl Method {
    /// The name, as in JSON.
    pub const fn text(self) -> &'static str {
        match self {
            Self::JensenShannon => "jensen_shannon",
            Self::Wasserstein => "wasserstein",
            Self::PopulationStability => "population_stability",
            Self::KolmogorovSmirnov => "kolmogorov_smirnov",
            Self::LInfinity => "l_infinity",
            Self::NewCategories => "new_categories",
            Self::NullShare => "null_share",
        }
    }
}

/// One comparison of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// The column.
    pub column: String,
    /// How it was compared.
    pub method: Method,
    /// The size of the effect.
    pub statistic: f64,
    /// What it was compared with; absent for what is shown for information only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub threshold: Option<f64>,
    /// The chance of an effect of this size when nothing has moved.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p_value: Option<f64>,
    /// The same, adjusted for the number of tests.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub adjusted_p: Option<f64>,
    /// Whether it is drift: large enough, and no accident.
    pub drifted: bool,
    /// What moved, in words: `mean 12.1 → 15.3`.
    pub detail: String,
}

/// A column's comparisons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// The column.
    pub column: String,
    /// Its type in the reference.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Whether any comparison says so.
    pub drifted: bool,
    /// Every comparison made.
    pub comparisons: Vec<Drift>,
    /// Why its distribution was not compared.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

impl ColumnDrift {
    /// The comparison to name first: the one that is furthest above its threshold.
    pub fn main(&self) -> Option<&Drift> {
        let excess =
            |drift: &Drift| drift.threshold.map_or(0.0, |threshold| drift.statistic / threshold.max(1e-12));
        self.comparisons
            .iter()
            .filter(|drift| drift.threshold.is_some())
            .max_by(|a, b| a.drifted.cmp(&b.drifted).then(excess(a).total_cmp(&excess(b))))
    }
}

/// What has moved between two tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// Rows of the reference.
    pub reference_rows: u64,
    /// Rows of the current table.
    pub current_rows: u64,
    /// Each column of the reference.
    pub columns: Vec<ColumnDrift>,
    /// Columns of the reference that the current table lacks.
    pub missing: Vec<String>,
    /// Columns of the current table that the reference lacks.
    pub unexpected: Vec<String>,
    /// How many columns were judged.
    pub judged: usize,
    /// The share of them that drifted; 0 when none was judged.
    pub share: f64,
    /// Whether the table as a whole has drifted.
    pub drifted: bool,
}

impl DriftReport {
    /// The columns that drifted.
    pub fn drifted_columns(&self) -> impl Iterator<Item = &ColumnDrift> {
        self.columns.iter().filter(|column| column.drifted)
    }

    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&ColumnDrift> {
        self.columns.iter().find(|column| column.column == name)
    }
}

/// A comparison before it is judged.
struct Finding {
    method: Method,
    statistic: f64,
    threshold: Option<f64>,
    p_value: Option<f64>,
    detail: String,
}

/// The findings on a column, and why its distribution was left out if it was.
type Findings = (Vec<Finding>, Option<String>);

/// Compares two profiles column by column.
pub fn compare(reference: &Profile, current: &Profile, options: &DriftOptions) -> DriftReport {
    let mut columns = Vec::new();
    let mut missing = Vec::new();
    let (known, there) = (reference.by_name(), current.by_name());
    for column in reference.columns.iter().filter(|column| !options.ignore.contains(&column.name)) {
        match there.get(column.name.as_str()) {
            Some(now) => columns.push((column, compare_column(column, now, options))),
            None => missing.push(column.name.clone()),
        }
    }
    let columns = judge(columns, options);
    let judged = columns.iter().filter(|column| !column.comparisons.is_empty()).count();
    let drifted = columns.iter().filter(|column| column.drifted).count();
    let share = if judged == 0 { 0.0 } else { drifted as f64 / judged as f64 };
    DriftReport {
        reference_rows: reference.rows,
        current_rows: current.rows,
        columns,
        missing,
        unexpected: current
            .columns
            .iter()
            .filter(|column| {
                !known.contains_key(column.name.as_str()) && !options.ignore.contains(&column.name)
            })
            .map(|column| column.name.clone())
            .collect(),
        judged,
        share,
        drifted: judged > 0 && share >= options.dataset_share,
    }
}

fn compare_column(reference: &ColumnProfile, current: &ColumnProfile, options: &DriftOptions) -> Findings {
    let rows = |column: &ColumnProfile| column.count + column.nulls;
    if rows(reference) < options.min_rows || rows(current) < options.min_rows {
        let fewest = rows(reference).min(rows(current));
        return (Vec::new(), Some(format!("not judged: {fewest} rows, {} needed", options.min_rows)));
    }
    let mut findings = vec![null_share(reference, current, options)];
    match distribution(reference, current, options) {
        Ok(more) => {
            findings.extend(more);
            (findings, None)
        }
        Err(note) => (findings, Some(note)),
    }
}

fn distribution(
    reference: &ColumnProfile,
    current: &ColumnProfile,
    options: &DriftOptions,
) -> Result<Vec<Finding>, String> {
    if reference.column_type == ColumnType::Timestamp {
        return Err("not compared: moments always move on".into());
    }
    if reference.is_id_like() || current.is_id_like() {
        return Err("not compared: it looks like a key".into());
    }
    let fewest = reference.count.min(current.count);
    if fewest < options.min_rows {
        return Err(format!("not compared: {fewest} values, {} needed", options.min_rows));
    }
    match (&reference.numeric, &current.numeric, &reference.category, &current.category) {
        (Some(before), Some(now), _, _) => {
            if before.moments.count < options.min_rows || now.moments.count < options.min_rows {
                return Err("not compared: too few finite values".into());
            }
            Ok(numbers::compare(reference, before, now, options))
        }
        (_, _, Some(before), Some(now)) => categories::compare(before, now, options)
            .ok_or_else(|| "not compared: too many different values".to_owned()),
        (None, None, None, None) => Err("not compared: its type is only carried".into()),
        _ => Err(format!(
            "not compared: it was {} and is {}",
            reference.column_type.text(),
            current.column_type.text()
        )),
    }
}

fn null_share(reference: &ColumnProfile, current: &ColumnProfile, options: &DriftOptions) -> Finding {
    let (before, now) = (reference.null_share(), current.null_share());
    Finding {
        method: Method::NullShare,
        statistic: (now - before).abs(),
        threshold: Some(options.null_share),
        p_value: Some(statistics::two_proportions_p(
            reference.nulls,
            reference.count + reference.nulls,
            current.nulls,
            current.count + current.nulls,
        )),
        detail: format!("missing {} → {}", categories::percent(before), categories::percent(now)),
    }
}

/// Judges all findings together: the adjusted p-values depend on how many there are.
fn judge(columns: Vec<(&ColumnProfile, Findings)>, options: &DriftOptions) -> Vec<ColumnDrift> {
    let deciding = |finding: &Finding| finding.threshold.and(finding.p_value);
    let p_values: Vec<f64> =
        columns.iter().flat_map(|(_, (findings, _))| findings.iter().filter_map(deciding)).collect();
    let mut adjusted = statistics::benjamini_hochberg(&p_values).into_iter();
    columns
        .into_iter()
        .map(|(column, (findings, note))| {
            let comparisons: Vec<Drift> = findings
                .into_iter()
                .map(|finding| {
                    let adjusted_p = deciding(&finding).and_then(|_| adjusted.next());
                    let large = finding.threshold.is_some_and(|threshold| finding.statistic >= threshold);
                    Drift {
                        column: column.name.clone(),
                        method: finding.method,
                        statistic: finding.statistic,
                        threshold: finding.threshold,
                        p_value: finding.p_value,
                        adjusted_p,
                        drifted: large && adjusted_p.is_some_and(|p| p < options.alpha),
                        detail: finding.detail,
                    }
                })
                .collect();
            ColumnDrift {
                column: column.name.clone(),
                column_type: column.column_type,
                drifted: comparisons.iter().any(|drift| drift.drifted),
                comparisons,
                note,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
