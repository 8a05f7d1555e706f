//! Tensors: a shape and its elements, and how two shapes are brought together.
//!
//! Only as much as a tabular model's graph needs. Every size is checked before anything is allocated:
//! a few bytes of a hostile file must not ask for gigabytes.

use std::sync::Arc;

pub use crate::onnx::TensorData as Data;

/// Elements that a tensor may have.
pub const MAX_ELEMENTS: usize = 1 << 26;

/// Why an operator cannot do its work, said of the node that it stands in.
pub type Outcome<T> = Result<T, String>;

/// A tensor in memory, the last dimension fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// A tensor of these elements.
    ///
    /// # Errors
    /// When the shape asks for another number of them.
    pub fn new(shape: Vec<usize>, data: Data) -> Outcome<Self> {
        let count = elements(&shape)?;
        if count != data.len() {
            return Err(format!("{} elements do not fill {}", data.len(), shape_text(&shape)));
        }
        Ok(Self { shape, data })
    }

    /// A table of 32-bit floats.
    ///
    /// # Errors
    /// When the values do not fill it.
    pub fn table(rows: usize, width: usize, values: Vec<f32>) -> Outcome<Self> {
        Self::new(vec![rows, width], Data::F32(values))
    }

    /// The dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    pub const fn data(&self) -> &Data {
        &self.data
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// When they do not fill it.
    pub fn reshaped(&self, shape: Vec<usize>) -> Outcome<Self> {
        Self::new(shape, self.data.clone())
    }

    /// Rows and values a row, taking all dimensions after the first as one; a vector is one row.
    pub fn rows_and_width(&self) -> (usize, usize) {
        match self.shape.as_slice() {
            [] => (1, 1),
            [width] => (1, *width),
            [rows, rest @ ..] => (*rows, rest.iter().product()),
        }
    }

    /// The elements as 32-bit floats.
    ///
    /// # Errors
    /// When they are texts.
    pub fn to_f32(&self) -> Outcome<Vec<f32>> {
        Ok(match &self.data {
            Data::F32(values) => values.clone(),
            Data::F64(values) => values.iter().map(|value| *value as f32).collect(),
            Data::I64(values) => values.iter().map(|value| *value as f32).collect(),
            Data::Bool(values) => values.iter().map(|value| f32::from(u8::from(*value))).collect(),
            Data::Text(_) => return Err("texts cannot be computed with".to_owned()),
        })
    }

    /// The elements as 64-bit floats.
    ///
    /// # Errors
    /// When they are texts.
    pub fn to_f64(&self) -> Outcome<Vec<f64>> {
        Ok(match &self.data {
            Data::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Data::F64(values) => values.clone(),
            Data::I64(values) => values.iter().map(|value| *value as f64).collect(),
            Data::Bool(values) => values.iter().map(|value| f64::from(u8::from(*value))).collect(),
            Data::Text(_) => return Err("texts cannot be computed with".to_owned()),
        })
    }

    /// The elements as integers, cut off towards zero.
    ///
    /// # Errors
    /// When they are texts.
    pub fn to_i64(&self) -> Outcome<Vec<i64>> {
        Ok(match &self.data {
            Data::F32(values) => values.iter().map(|value| *value as i64).collect(),
            Data::F64(values) => values.iter().map(|value| *value as i64).collect(),
            Data::I64(values) => values.clone(),
            Data::Bool(values) => values.iter().map(|value| i64::from(*value)).collect(),
            Data::Text(_) => return Err("texts are not whole numbers".to_owned()),
        })
    }

    /// The elements as truth values.
    ///
    /// # Errors
    /// When they are texts.
    pub fn to_bool(&self) -> Outcome<Vec<bool>> {
        Ok(match &self.data {
            Data::F32(values) => values.iter().map(|value| *value != 0.0).collect(),
            Data::F64(values) => values.iter().map(|value| *value != 0.0).collect(),
            Data::I64(values) => values.iter().map(|value| *value != 0).collect(),
            Data::Bool(values) => values.clone(),
            Data::Text(_) => return Err("texts are not truth values".to_owned()),
        })
    }
}

/// How many elements a shape has.
///
/// # Errors
/// When it has too many, or would have if none of its dimensions were empty: so the product of any of
/// its dimensions is safe to compute.
pub fn elements(shape: &[usize]) -> Outcome<usize> {
    shape
        .iter()
        .try_fold(1_usize, |all, size| all.checked_mul((*size).max(1)))
        .filter(|count| *count <= MAX_ELEMENTS)
        .ok_or_else(|| format!("{} is larger than the {MAX_ELEMENTS} elements allowed", shape_text(shape)))?;
    Ok(shape.iter().product())
}

/// A shape as people write it: `[3, 2]`.
pub fn shape_text(shape: &[usize]) -> String {
    format!("{shape:?}")
}

/// A dimension by its number, counted from the end where negative.
///
/// # Errors
/// When there is no such dimension.
pub fn axis(number: i64, rank: usize) -> Outcome<usize> {
    let place = if number < 0 { number.checked_add(rank as i64) } else { Some(number) };
    place
        .and_then(|place| usize::try_from(place).ok())
        .filter(|place| *place < rank)
        .ok_or_else(|| format!("there is no dimension {number} among {rank}"))
}

/// The sizes before, at and after a dimension, multiplied up: element `(o, i, n)` stands at
/// `(o * size + i) * inner + n`.
pub fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    let outer = shape.iter().take(axis).product();
    let inner = shape.iter().skip(axis + 1).product();
    (outer, shape.get(axis).copied().unwrap_or(1), inner)
}

/// The shape that two shapes are both stretched to (ONNX's multidirectional broadcasting).
///
/// # Errors
/// When they do not fit each other.
pub fn broadcast(left: &[usize], right: &[usize]) -> Outcome<Vec<usize>> {
    let rank = left.len().max(right.len());
    let size = |shape: &[usize], place: usize| {
        (place + shape.len()).checked_sub(rank).and_then(|place| shape.get(place)).copied().unwrap_or(1)
    };
    (0..rank)
        .map(|place| match (size(left, place), size(right, place)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(format!("{} and {} do not fit each other", shape_text(left), shape_text(right))),
        })
        .collect()
}

/// Computes an element of the result from an element of each side, both stretched to one shape.
///
/// # Errors
/// When the shapes do not fit each other, or the result would be too large.
pub fn zip_broadcast<A: Clone, B: Clone, R>(
    (left_shape, left): (&[usize], &[A]),
    (right_shape, right): (&[usize], &[B]),
    compute: impl Fn(A, B) -> R,
) -> Outcome<(Vec<usize>, Vec<R>)> {
    if left_shape == right_shape {
        let all = left.iter().zip(right).map(|(a, b)| compute(a.clone(), b.clone())).collect();
        return Ok((left_shape.to_vec(), all));
    }
    let shape = broadcast(left_shape, right_shape)?;
    let count = elements(&shape)?;
    let (left_steps, right_steps) = (steps(left_shape, &shape), steps(right_shape, &shape));
    let mut all = Vec::with_capacity(count);
    let mut place = vec![0_usize; shape.len()];
    let (mut at_left, mut at_right) = (0_usize, 0_usize);
    for _ in 0..count {
        let (Some(a), Some(b)) = (left.get(at_left), right.get(at_right)) else {
            return Err("a tensor has fewer elements than its shape says".to_owned());
        };
        all.push(compute(a.clone(), b.clone()));
        for (((position, size), a), b) in
            place.iter_mut().zip(&shape).zip(&left_steps).zip(&right_steps).rev()
        {
            *position += 1;
            at_left += a;
            at_right += b;
            if *position < *size {
                break;
            }
            at_left -= a * *size;
            at_right -= b * *size;
            *position = 0;
        }
    }
    Ok((shape, all))
}

/// How far one moves in a tensor's elements for one step along each dimension of the stretched shape.
fn steps(own: &[usize], stretched: &[usize]) -> Vec<usize> {
    let missing = stretched.len().saturating_sub(own.len());
    let mut all = vec![0; stretched.len()];
    let mut step = 1;
    for (place, size) in own.iter().enumerate().rev() {
        if let Some(slot) = all.get_mut(place + missing) {
            *slot = if *size == 1 { 0 } else { step };
        }
        step *= size;
    }
    all
}

/// Takes whole runs of elements in the order of `starts`.
pub fn gather_runs(data: &Data, starts: impl Iterator<Item = usize>, run: usize) -> Data {
    fn pick<T: Clone>(values: &[T], starts: impl Iterator<Item = usize>, run: usize) -> Vec<T> {
        let mut all = Vec::new();
        for start in starts {
            if let Some(run) = values.get(start..start.saturating_add(run)) {
                all.extend_from_slice(run);
            }
        }
        all
    }
    match data {
        Data::F32(values) => Data::F32(pick(values, starts, run)),
        Data::F64(values) => Data::F64(pick(values, starts, run)),
        Data::I64(values) => Data::I64(pick(values, starts, run)),
        Data::Bool(values) => Data::Bool(pick(values, starts, run)),
        Data::Text(values) => Data::Text(pick::<Arc<str>>(values, starts, run)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shapes_are_stretched_as_onnx_says() {
        assert_eq!(broadcast(&[3, 1], &[2]).unwrap(), [3, 2]);
        assert_eq!(broadcast(&[], &[4, 5]).unwrap(), [4, 5]);
        assert!(broadcast(&[3], &[2]).is_err());
        let (shape, all) = zip_broadcast((&[2, 1], &[10, 20]), (&[3], &[1, 2, 3]), |a, b| a + b).unwrap();
        assert_eq!((shape, all), (vec![2, 3], vec![11, 12, 13, 21, 22, 23]));
    }

    #[test]
    fn results_that_are_too_large_are_refused() {
        let column = vec![0_u8; 100_000];
        assert!(zip_broadcast((&[100_000, 1], &column), (&[1, 100_000], &column), |a, _| a).is_err());
        assert!(elements(&[usize::MAX, 2]).is_err());
    }

    #[test]
    fn dimensions_count_from_the_end_too() {
        assert_eq!(axis(-1, 3), Ok(2));
        assert!(axis(3, 3).is_err() && axis(-4, 3).is_err() && axis(i64::MIN, 3).is_err());
    }

    proptest! {
        #[test]
        fn stretching_agrees_with_the_definition(
            rows in 0_usize..4, width in 0_usize..4, stretch_left: bool, stretch_right: bool
        ) {
            let left_shape = [if stretch_left { 1 } else { rows }, width];
            let right_shape = [rows, if stretch_right { 1 } else { width }];
            let left: Vec<usize> = (0..left_shape.iter().product()).collect();
            let right: Vec<usize> = (0..right_shape.iter().product::<usize>()).map(|v| v * 100).collect();
            if broadcast(&left_shape, &right_shape).is_ok() {
                let (shape, all) =
                    zip_broadcast((&left_shape, &left), (&right_shape, &right), |a, b| a + b).unwrap();
                prop_assert_eq!(shape.iter().product::<usize>(), all.len());
                if shape == [rows, width] {
                    for row in 0..rows {
                        for column in 0..width {
                            let a = left[if stretch_left { column } else { row * width + column }];
                            let b = right[if stretch_right { row } else { row * width + column }];
                            prop_assert_eq!(all[row * width + column], a + b);
                        }
                    }
                }
            }
        }
    }
}
