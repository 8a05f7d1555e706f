//! Which part each row of a table goes to: for training and testing, for folds, for balanced classes.
//!
//! The choice depends on the rows' order, the seed and the named column, and on nothing else: the same table
//! gives the same parts on every machine. A number of a few bytes is held for each row, never the row.

use std::collections::BTreeMap;

use crate::columns;
use crate::error::{Result, TableError};
use crate::read::Source;

/// How rows are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// At random.
    Random,
    /// At random within each value of a column.
    Stratified,
    /// Whole groups of a column at random.
    Grouped,
    /// Whole groups, so that each value of a column keeps its share as well as it goes.
    StratifiedGrouped,
    /// By the time in a column, the latest last.
    Time,
}

impl Method {
    /// The method of that word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "random" => Some(Self::Random),
            "stratified" => Some(Self::Stratified),
            "grouped" => Some(Self::Grouped),
            "stratified_grouped" => Some(Self::StratifiedGrouped),
            "time" => Some(Self::Time),
            _ => None,
        }
    }
}

/// The part of each row, where the parts have these shares of the rows, in the order of time. The shares are
/// taken to add up to one.
///
/// # Errors
/// When the table cannot be read, lacks the column, the method needs one and none is named, or a row has no
/// time.
pub fn parts<'a>(
    path: impl Into<Source<'a>>,
    method: Method,
    column: Option<&str>,
    shares: &[f64],
    seed: u64,
) -> Result<Vec<u8>> {
    parts_by(path, method, column, None, shares, seed)
}

/// The same, with the column of the groups beside that of the labels: for [`Method::StratifiedGrouped`].
///
/// # Errors
/// As [`parts`].
pub fn parts_by<'a>(
    path: impl Into<Source<'a>>,
    method: Method,
    column: Option<&str>,
    group: Option<&str>,
    shares: &[f64],
    seed: u64,
) -> Result<Vec<u8>> {
    let path = path.into();
    match method {
        Method::StratifiedGrouped => {
            let labels = columns::strings(path, named(method, column)?)?;
            let groups = columns::strings(path, named(Method::Grouped, group)?)?;
            Ok(crate::strata::parts(&labels, &groups, shares, seed))
        }
        Method::Random => {
            let rows = rows(path)?;
            let mut parts = vec![0; rows];
            assign(&mut parts, &shuffled((0..rows).collect(), seed), &bounds(rows, shares));
            Ok(parts)
        }
        Method::Stratified => {
            let values = columns::strings(path, named(method, column)?)?;
            let mut parts = vec![0; values.len()];
            for (_, members) in members(&values) {
                let count = members.len();
                assign(&mut parts, &shuffled(members, seed), &bounds(count, shares));
            }
            Ok(parts)
        }
        Method::Grouped => {
            let values = columns::strings(path, named(method, column)?)?;
            let mut parts = vec![0; values.len()];
            let groups: Vec<(Option<String>, Vec<usize>)> = members(&values).into_iter().collect();
            let mut taken = vec![0.0; shares.len()];
            #[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
            let total = values.len().max(1) as f64;
            for index in shuffled((0..groups.len()).collect(), seed) {
                let Some((_, rows)) = groups.get(index) else { continue };
                // The part that is furthest below its share gets the next group.
                let want = |part: &usize| {
                    shares.get(*part).copied().unwrap_or(0.0) - taken.get(*part).copied().unwrap_or(0.0)
                };
                let part =
                    (0..shares.len()).max_by(|a, b| want(a).total_cmp(&want(b)).then(b.cmp(a))).unwrap_or(0);
                #[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
                if let Some(taken) = taken.get_mut(part) {
                    *taken += rows.len() as f64 / total;
                }
                rows.iter().for_each(|row| set(&mut parts, *row, part));
            }
            Ok(parts)
        }
        Method::Time => {
            let times = times(path, named(method, column)?)?;
            let mut order: Vec<usize> = (0..times.len()).collect();
            order.sort_by_key(|row| times.get(*row).copied());
            let mut bounds = bounds(times.len(), shares);
            for bound in &mut bounds {
                // Rows of one moment stay together, in the later part.
                let at = |index: usize| order.get(index).and_then(|row| times.get(*row));
                while *bound > 0 && *bound < order.len() && at(*bound - 1) == at(*bound) {
                    *bound -= 1;
                }
            }
            let mut parts = vec![0; times.len()];
            assign(&mut parts, &order, &bounds);
            Ok(parts)
        }
    }
}

/// The fold of each row, of `folds` folds of equal size. By time there is a block more than folds: fold `k`
/// trains on the blocks up to `k` and tests on the next.
///
/// # Errors
/// As [`parts`].
pub fn folds<'a>(
    path: impl Into<Source<'a>>,
    method: Method,
    column: Option<&str>,
    folds: u8,
    seed: u64,
) -> Result<Vec<u8>> {
    folds_by(path, method, column, None, folds, seed)
}

/// The same, with the column of the groups beside that of the labels: for [`Method::StratifiedGrouped`].
///
/// # Errors
/// As [`parts`].
pub fn folds_by<'a>(
    path: impl Into<Source<'a>>,
    method: Method,
    column: Option<&str>,
    group: Option<&str>,
    folds: u8,
    seed: u64,
) -> Result<Vec<u8>> {
    let blocks = if method == Method::Time { folds.saturating_add(1) } else { folds };
    let shares = vec![1.0 / f64::from(blocks); usize::from(blocks)];
    parts_by(path, method, column, group, &shares, seed)
}

/// Whether a row of a block trains or tests in a fold; nothing where it does neither.
pub fn tests_in(method: Method, block: u8, fold: u8) -> Option<bool> {
    match method {
        Method::Time => (block <= fold.saturating_add(1)).then_some(block == fold.saturating_add(1)),
        Method::Random | Method::Stratified | Method::Grouped | Method::StratifiedGrouped => {
            Some(block == fold)
        }
    }
}

/// The rows of each value of a column, by value.
pub fn members(values: &[Option<String>]) -> BTreeMap<Option<String>, Vec<usize>> {
    let mut members: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
    for (row, value) in values.iter().enumerate() {
        match members.get_mut(value) {
            Some(rows) => rows.push(row),
            None => {
                members.insert(value.clone(), vec![row]);
            }
        }
    }
    members
}

/// The same numbers in an order that only the seed decides.
pub fn shuffled(mut items: Vec<usize>, seed: u64) -> Vec<usize> {
    items.sort_by_cached_key(|item| (mixed(seed, *item as u64), *item));
    items
}

/// A number from two others that looks like chance (the finaliser of SplitMix64, Steele et al. 2014).
pub fn mixed(seed: u64, item: u64) -> u64 {
    let step = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    step(
        step(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_add(item.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
    )
}

fn rows(source: Source<'_>) -> Result<usize> {
    let rows = source.open()?.rows();
    usize::try_from(rows)
        .map_err(|_| TableError::io(source.path, std::io::Error::other("it has too many rows")))
}

fn named(method: Method, column: Option<&str>) -> Result<&str> {
    column.ok_or_else(|| {
        let what = match method {
            Method::Stratified | Method::StratifiedGrouped => {
                "split by strata without the `column` of the label"
            }
            Method::Grouped => "split by groups without the `column` of the group",
            Method::Time | Method::Random => "split by time without the `column` of the time",
        };
        TableError::Batch { what, reason: "no column is named".to_owned() }
    })
}

/// Moments; a column of numbers is taken as it is.
fn times(path: Source<'_>, column: &str) -> Result<Vec<i64>> {
    let times = columns::moments(path, column)?;
    let missing = times.iter().position(Option::is_none);
    match missing {
        None => Ok(times.into_iter().flatten().collect()),
        Some(row) => Err(TableError::Batch {
            what: "split by time",
            reason: format!("column `{column}` has no time in row {}", row + 1),
        }),
    }
}

/// Where each part begins in an order of so many rows; the first begins at 0 and is left out.
fn bounds(rows: usize, shares: &[f64]) -> Vec<usize> {
    #[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
    let total = rows as f64;
    let mut sum = 0.0;
    shares
        .iter()
        .take(shares.len().saturating_sub(1))
        .map(|share| {
            sum += share;
            ((total * sum).round() as usize).min(rows)
        })
        .collect()
}

fn assign(parts: &mut [u8], order: &[usize], bounds: &[usize]) {
    for (index, row) in order.iter().enumerate() {
        set(parts, *row, bounds.iter().filter(|bound| index >= **bound).count());
    }
}

fn set(parts: &mut [u8], row: usize, part: usize) {
    if let Some(slot) = parts.get_mut(row) {
        *slot = u8::try_from(part).unwrap_or(u8::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn table(rows: usize) -> tempfile::NamedTempFile {
        let mut text = String::from("id,label,team,day\n");
        for id in 0..rows {
            text.push_str(&format!(
                "{id},{},t{},2024-01-{:02}\n",
                u8::from(id % 5 == 0),
                id % 7,
                id % 28 + 1
            ));
        }
        let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    /// What seed 7 gave when this was written: a change here changes everybody's splits.
    const PINNED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1];

    fn count(parts: &[u8], part: u8) -> usize {
        parts.iter().filter(|known| **known == part).count()
    }

    #[test]
    fn the_choice_is_pinned_for_ever() {
        let table = table(12);
        let of = |seed| parts(table.path(), Method::Random, None, &[0.75, 0.25], seed).unwrap();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        assert_eq!(count(&of(7), 1), 3);
        assert_eq!(of(7), PINNED);
    }

    #[test]
    fn strata_groups_and_time_keep_what_they_promise() {
        let table = table(100);
        let of = |method, column| parts(table.path(), method, Some(column), &[0.6, 0.2, 0.2], 1).unwrap();
        let strata = of(Method::Stratified, "label");
        let positives: Vec<u8> = strata.iter().copied().step_by(5).collect();
        assert_eq!([count(&positives, 0), count(&positives, 1), count(&positives, 2)], [12, 4, 4]);
        let grouped = of(Method::Grouped, "team");
        for team in 0..7 {
            let parts: BTreeSet<u8> = grouped.iter().copied().skip(team).step_by(7).collect();
            assert_eq!(parts.len(), 1);
        }
        assert_eq!(grouped.iter().collect::<BTreeSet<_>>().len(), 3);
        let time = of(Method::Time, "day");
        let day = |row: usize| row % 28;
        for (a, b) in [(0, 1), (1, 2)] {
            let last = (0..100).filter(|row| time[*row] == a).map(day).max().unwrap();
            let first = (0..100).filter(|row| time[*row] == b).map(day).min().unwrap();
            assert!(last < first, "{last} {first}");
        }
    }

    #[test]
    fn folds_by_time_train_on_the_past_alone() {
        assert_eq!(
            [0, 1, 2, 3].map(|block| tests_in(Method::Time, block, 1)),
            [Some(false), Some(false), Some(true), None]
        );
        assert_eq!(
            [0, 1, 2].map(|block| tests_in(Method::Random, block, 1)),
            [Some(false), Some(true), Some(false)]
        );
        let table = table(40);
        let blocks = folds(table.path(), Method::Time, Some("day"), 3, 0).unwrap();
        assert_eq!(blocks.iter().collect::<BTreeSet<_>>().len(), 4);
        assert!(parts(table.path(), Method::Grouped, None, &[1.0], 0).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn shares_are_met_to_a_row(rows in 1_usize..200, share in 0.0..1.0_f64, seed in any::<u64>()) {
            let table = table(rows);
            let parts = parts(table.path(), Method::Random, None, &[1.0 - share, share], seed).unwrap();
            prop_assert_eq!(parts.len(), rows);
            #[allow(clippy::cast_precision_loss)]
            let wanted = rows as f64 * share;
            #[allow(clippy::cast_precision_loss)]
            let got = count(&parts, 1) as f64;
            prop_assert!((got - wanted).abs() <= 0.5 + 1e-9, "{} {}", got, wanted);
        }
    }
}
