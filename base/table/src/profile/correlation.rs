//! Pearson's correlation of every pair of number columns, in the same pass and mergeable.
//!
//! Of each pair the rows are counted in which both have a value (as pandas does), with the means, squares
//! and products around them: sums of a fixed number of rows around their own means, joined by the pairwise
//! formulas of Chan, Golub and LeVeque (1979). So nothing cancels, and the bytes do not depend on how the
//! rows came in batches. What is not linear is not seen here.

use arrow_array::Array;
use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::encode;
use super::wide::wide;

/// So many rows are summed around their own means.
const CHUNK: usize = 1024;
/// Numbers of a pair.
const FIELDS: usize = 6;

/// The correlations of a table's number and truth columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlations {
    /// The columns that were correlated, in the table's order.
    pub columns: Vec<String>,
    /// How many more there were than are correlated.
    pub left_out: u64,
    /// Of each pair, by rows of the upper triangle.
    pairs: Vec<Pair>,
}

/// What is known of two columns together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Pair {
    count: f64,
    mean_x: f64,
    mean_y: f64,
    m2_x: f64,
    m2_y: f64,
    product: f64,
}

impl Pair {
    fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if other.count == 0.0 {
            return;
        }
        let (dx, dy) = (other.mean_x - self.mean_x, other.mean_y - self.mean_y);
        let weight = self.count * other.count / count;
        let part = other.count / count;
        self.m2_x += other.m2_x + dx * dx * weight;
        self.m2_y += other.m2_y + dy * dy * weight;
        self.product += other.product + dx * dy * weight;
        self.mean_x += dx * part;
        self.mean_y += dy * part;
        self.count = count;
    }

    fn swapped(&self) -> Self {
        Self { mean_x: self.mean_y, mean_y: self.mean_x, m2_x: self.m2_y, m2_y: self.m2_x, ..*self }
    }

    fn coefficient(&self) -> Option<f64> {
        let scale = (self.m2_x * self.m2_y).sqrt();
        // A column that differs from its mean by rounding alone is constant.
        let still = |m2: f64, mean: f64| m2 <= self.count * (mean * f64::EPSILON * 4.0).powi(2);
        let flat = still(self.m2_x, self.mean_x) || still(self.m2_y, self.mean_y);
        let r = self.product / scale;
        (self.count >= 3.0 && !flat && r.is_finite()).then(|| r.clamp(-1.0, 1.0))
    }
}

/// Two columns and how they go together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correlated {
    /// The one.
    pub a: String,
    /// The other, later in the table.
    pub b: String,
    /// Pearson's coefficient.
    pub r: f64,
}

/// Where a pair stands among the pairs of so many columns; `i < j`.
const fn place(i: usize, j: usize, columns: usize) -> usize {
    i * (2 * columns - i - 1) / 2 + j - i - 1
}

impl Correlations {
    /// The coefficient of two columns by their place in `columns`; nothing where one of them is constant
    /// or fewer than three rows have both.
    pub fn coefficient(&self, a: usize, b: usize) -> Option<f64> {
        if a == b || a.max(b) >= self.columns.len() {
            return (a == b && a < self.columns.len()).then_some(1.0);
        }
        self.pairs.get(place(a.min(b), a.max(b), self.columns.len()))?.coefficient()
    }

    /// The pairs whose coefficient is at least so large either way, the strongest first.
    pub fn strongest(&self, least: f64) -> Vec<Correlated> {
        let mut found = Vec::new();
        for (i, a) in self.columns.iter().enumerate() {
            for (j, b) in self.columns.iter().enumerate().skip(i + 1) {
                if let Some(r) = self.coefficient(i, j).filter(|r| r.abs() >= least) {
                    found.push(Correlated { a: a.clone(), b: b.clone(), r });
                }
            }
        }
        found.sort_by(|x, y| y.r.abs().total_cmp(&x.r.abs()));
        found
    }

    /// Of both tables together; nothing where they did not correlate the same columns. A column that one
    /// lacks has no value there, unless columns were left out.
    pub(super) fn merge(&self, other: &Self) -> Option<Self> {
        let cut = self.left_out > 0 || other.left_out > 0;
        if cut && (self.columns != other.columns || self.left_out != other.left_out) {
            return None;
        }
        let mut merged = self.clone();
        merged.columns.extend(other.columns.iter().filter(|name| !self.columns.contains(name)).cloned());
        let columns = merged.columns.len();
        merged.pairs = vec![Pair::default(); columns * columns.saturating_sub(1) / 2];
        for part in [self, other] {
            let places: Vec<usize> = part
                .columns
                .iter()
                .filter_map(|name| merged.columns.iter().position(|known| known == name))
                .collect();
            for (i, a) in places.iter().enumerate() {
                for (j, b) in places.iter().enumerate().skip(i + 1) {
                    let pair = *part.pairs.get(place(i, j, part.columns.len()))?;
                    let pair = if a < b { pair } else { pair.swapped() };
                    merged.pairs.get_mut(place(*a.min(b), *a.max(b), columns))?.merge(&pair);
                }
            }
        }
        Some(merged)
    }
}

/// Takes rows as they come.
#[derive(Debug)]
pub(super) struct CorrelationBuilder {
    names: Vec<String>,
    left_out: u64,
    /// Of each column the rows that are not summed yet; NaN where there is no finite value.
    pending: Vec<Vec<f64>>,
    pairs: Vec<Pair>,
}

impl CorrelationBuilder {
    pub(super) fn new(names: Vec<String>, left_out: u64) -> Self {
        let columns = names.len();
        Self {
            names,
            left_out,
            pending: vec![Vec::with_capacity(CHUNK); columns],
            pairs: vec![Pair::default(); columns * columns.saturating_sub(1) / 2],
        }
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Takes the rows of a batch, its columns in the order of the names.
    pub(super) fn add(&mut self, arrays: &[&ArrayRef], rows: usize) {
        let mut first = 0;
        while first < rows {
            let room = CHUNK - self.pending.first().map_or(0, Vec::len);
            let end = rows.min(first + room);
            for (pending, array) in self.pending.iter_mut().zip(arrays) {
                take(array, first, end, pending);
            }
            if end - first == room {
                self.flush();
            }
            first = end;
        }
    }

    fn flush(&mut self) {
        let columns: Vec<Centred> = self.pending.iter_mut().map(|pending| Centred::of(pending)).collect();
        let mut pairs = self.pairs.iter_mut();
        for (at, x) in columns.iter().enumerate() {
            for (y, pair) in columns.iter().skip(at + 1).zip(&mut pairs) {
                pair.merge(&x.with(y));
            }
        }
        self.pending.iter_mut().for_each(Vec::clear);
    }

    pub(super) fn finish(mut self) -> Correlations {
        self.flush();
        Correlations { columns: self.names, left_out: self.left_out, pairs: self.pairs }
    }
}

/// A column's rows around their mean.
struct Centred<'a> {
    /// 0 where there is no value.
    values: &'a [f64],
    /// 1 where there is a value and 0 where not; nothing where all are there.
    there: Option<Vec<f64>>,
    count: f64,
    mean: f64,
    m2: f64,
}

impl<'a> Centred<'a> {
    fn of(values: &'a mut [f64]) -> Self {
        let missing = values.iter().any(|value| value.is_nan());
        if !missing {
            let count = values.len() as f64;
            let mean = if values.is_empty() { 0.0 } else { sum(values) / count };
            values.iter_mut().for_each(|value| *value -= mean);
            let m2 = product(values, values);
            return Self { values, there: None, count, mean, m2 };
        }
        let there: Vec<f64> = values.iter().map(|value| f64::from(u8::from(!value.is_nan()))).collect();
        values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
        let count: f64 = there.iter().sum();
        let mean = if count > 0.0 { sum(values) / count } else { 0.0 };
        values.iter_mut().zip(&there).for_each(|(value, there)| *value = (*value - mean) * there);
        let m2 = product(values, values);
        Self { values, there: Some(there), count, mean, m2 }
    }

    fn with(&self, other: &Self) -> Pair {
        let xy = product(self.values, other.values);
        if self.there.is_none() && other.there.is_none() {
            return Pair {
                count: self.count,
                mean_x: self.mean,
                mean_y: other.mean,
                m2_x: self.m2,
                m2_y: other.m2,
                product: xy,
            };
        }
        // Sums over the rows in which both have a value; what is not there is 0 in one factor.
        let (count, x, y, xx, yy) = match (&self.there, &other.there) {
            (Some(here), None) => {
                (self.count, 0.0, product(other.values, here), self.m2, squares(other.values, here))
            }
            (None, Some(there)) => {
                (other.count, product(self.values, there), 0.0, squares(self.values, there), other.m2)
            }
            (Some(here), Some(there)) => (
                product(here, there),
                product(self.values, there),
                product(other.values, here),
                squares(self.values, there),
                squares(other.values, here),
            ),
            (None, None) => return Pair::default(),
        };
        if count == 0.0 {
            return Pair::default();
        }
        Pair {
            count,
            mean_x: self.mean + x / count,
            mean_y: other.mean + y / count,
            m2_x: xx - x * x / count,
            m2_y: yy - y * y / count,
            product: xy - x * y / count,
        }
    }
}

fn sum(values: &[f64]) -> f64 {
    values.iter().sum()
}

wide! {
    /// The sum of products, in eight lanes.
    fn product(x: &[f64], y: &[f64]) -> f64 {
        let mut lanes = [0.0; 8];
        let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
        let rest: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum();
        for (x, y) in xs.zip(ys) {
            for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
                *lane += x * y;
            }
        }
        lanes.iter().sum::<f64>() + rest
    }
}

wide! {
    /// The sum of squares where `there` is 1.
    fn squares(x: &[f64], there: &[f64]) -> f64 {
        let mut lanes = [0.0; 8];
        let (xs, ys) = (x.chunks_exact(8), there.chunks_exact(8));
        let rest: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * x * y).sum();
        for (x, y) in xs.zip(ys) {
            for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
                *lane += x * x * y;
            }
        }
        lanes.iter().sum::<f64>() + rest
    }
}

/// Adds rows of an array as numbers; NaN where there is no finite one.
fn take(array: &ArrayRef, first: usize, end: usize, values: &mut Vec<f64>) {
    let finite = |value: f64| if value.is_finite() { value } else { f64::NAN };
    match array.data_type() {
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            if array.null_count() == 0 {
                let part = array.values().get(first..end).unwrap_or_default();
                values.extend(part.iter().map(|value| finite(*value)));
            } else {
                let part = array.values().get(first..end).unwrap_or_default();
                let nulls = array.nulls().map(|nulls| nulls.slice(first, part.len()));
                let there = nulls.iter().flat_map(NullBuffer::iter);
                values.extend(
                    part.iter().zip(there).map(|(v, there)| if there { finite(*v) } else { f64::NAN }),
                );
            }
        }
        DataType::Int64 => {
            let array = array.as_primitive::<Int64Type>();
            if array.null_count() == 0 {
                let part = array.values().get(first..end).unwrap_or_default();
                values.extend(part.iter().map(|value| *value as f64));
                return;
            }
            let value = |row| if array.is_valid(row) { array.value(row) as f64 } else { f64::NAN };
            values.extend((first..end).map(value));
        }
        DataType::Boolean => {
            let array = array.as_boolean();
            let value =
                |row| if array.is_valid(row) { f64::from(u8::from(array.value(row))) } else { f64::NAN };
            values.extend((first..end).map(value));
        }
        _ => values.extend((first..end).map(|_| f64::NAN)),
    }
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored {
    columns: Vec<String>,
    left_out: u64,
    pairs: String,
}

impl Serialize for Correlations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers = self
            .pairs
            .iter()
            .flat_map(|pair| [pair.count, pair.mean_x, pair.mean_y, pair.m2_x, pair.m2_y, pair.product]);
        Stored { columns: self.columns.clone(), left_out: self.left_out, pairs: encode::numbers(numbers) }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Correlations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let numbers = encode::read_numbers(&stored.pairs).map_err(D::Error::custom)?;
        let columns = stored.columns.len();
        let wanted = columns.saturating_mul(columns.saturating_sub(1)) / 2;
        let pairs: Vec<Pair> = numbers
            .chunks_exact(FIELDS)
            .filter_map(|six| match *six {
                [count, mean_x, mean_y, m2_x, m2_y, product] => {
                    Some(Pair { count, mean_x, mean_y, m2_x, m2_y, product })
                }
                _ => None,
            })
            .collect();
        let sound = pairs.iter().all(|pair| pair.count >= 0.0 && pair.count.is_finite());
        if pairs.len() != wanted || numbers.len() != wanted * FIELDS || !sound {
            return Err(D::Error::custom("the correlations do not agree with their columns"));
        }
        Ok(Self { columns: stored.columns, left_out: stored.left_out, pairs })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BooleanArray, Float64Array};

    use super::*;

    fn of(columns: &[ArrayRef], batch: usize) -> Correlations {
        let names = (0..columns.len()).map(|at| format!("c{at}")).collect();
        let mut builder = CorrelationBuilder::new(names, 0);
        let rows = columns[0].len();
        for first in (0..rows).step_by(batch) {
            let slices: Vec<ArrayRef> =
                columns.iter().map(|column| column.slice(first, batch.min(rows - first))).collect();
            builder.add(&slices.iter().collect::<Vec<_>>(), slices[0].len());
        }
        builder.finish()
    }

    #[test]
    fn coefficients_are_those_of_pandas() {
        // pandas.DataFrame({"a": [1, 2, 3, 4, None, 6], "b": [2, 1, 4, 3, 7, 5],
        //                   "c": [1, None, 0, 1, 1, 0], "d": [9.0] * 6}).corr()
        let columns: [ArrayRef; 4] = [
            Arc::new(Float64Array::from(vec![
                Some(1e6 + 1.0),
                Some(1e6 + 2.0),
                Some(1e6 + 3.0),
                Some(1e6 + 4.0),
                None,
                Some(1e6 + 6.0),
            ])),
            Arc::new(Float64Array::from(vec![2.0, 1.0, 4.0, 3.0, 7.0, 5.0])),
            Arc::new(BooleanArray::from(vec![
                Some(true),
                None,
                Some(false),
                Some(true),
                Some(true),
                Some(false),
            ])),
            Arc::new(Float64Array::from(vec![9.0; 6])),
        ];
        let found = of(&columns, 4);
        for (a, b, expected) in [
            (0, 1, 0.821_994_936_526_785_9),
            (0, 2, -0.554_700_196_225_229_1),
            (1, 2, -0.142_373_699_362_874_83),
        ] {
            let r = found.coefficient(a, b).unwrap();
            assert!((r - expected).abs() < 1e-9, "{a} {b}: {r}");
            assert_eq!(found.coefficient(b, a), Some(r));
        }
        assert_eq!(found.coefficient(0, 3), None);
        assert_eq!(found.coefficient(9, 0), None);
        assert_eq!(found.strongest(0.5).len(), 2);
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Correlations>(&json).unwrap(), found);
        assert!(serde_json::from_str::<Correlations>(&json.replace("\"c3\"", "\"c3\",\"c4\"")).is_err());
    }

    #[test]
    fn parts_in_another_order_of_columns_are_the_whole() {
        let column = |step: f64, gap: usize| -> ArrayRef {
            Arc::new(Float64Array::from_iter(
                (0..3000)
                    .map(|row| (row % gap != 0).then(|| (f64::from(row as u32) * step).sin() * 1e3 + 5e5)),
            ))
        };
        let columns = [column(0.31, 7), column(0.32, 3001), column(0.7, 5)];
        let whole = of(&columns, 3000);
        assert_eq!(of(&columns, 177), whole);
        let slice = |first, rows| -> Vec<ArrayRef> { columns.iter().map(|c| c.slice(first, rows)).collect() };
        let mut second = CorrelationBuilder::new(["c2", "c0", "c1"].map(str::to_owned).to_vec(), 0);
        let part = slice(1000, 2000);
        second.add(&[&part[2], &part[0], &part[1]], 2000);
        let merged = of(&slice(0, 1000), 1000).merge(&second.finish()).unwrap();
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            let (x, y) = (whole.coefficient(a, b).unwrap(), merged.coefficient(a, b).unwrap());
            assert!((x - y).abs() < 1e-9, "{x} {y}");
        }
        let cut = Correlations { left_out: 1, ..whole.clone() };
        assert!(whole.merge(&cut).is_none());
    }
}
