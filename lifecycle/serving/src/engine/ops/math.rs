//! Arithmetic, comparisons and matrix products.

use super::{Compiled, Settings, input, single, unary};
use crate::engine::tensor::{Data, Outcome, Tensor, elements, shape_text, zip_broadcast};
use crate::engine::transform;

/// Arithmetic of two sides in the wider of their types.
fn arithmetic(
    floats: fn(f32, f32) -> f32,
    doubles: fn(f64, f64) -> f64,
    ints: fn(i64, i64) -> Option<i64>,
) -> Outcome<Compiled> {
    single(move |inputs| combine(input(inputs, 0)?, input(inputs, 1)?, floats, doubles, ints))
}

fn combine(
    left: &Tensor,
    right: &Tensor,
    floats: fn(f32, f32) -> f32,
    doubles: fn(f64, f64) -> f64,
    ints: fn(i64, i64) -> Option<i64>,
) -> Outcome<Tensor> {
    let (a, b) = (left.shape(), right.shape());
    match (left.data(), right.data()) {
        (Data::Text(_), _) | (_, Data::Text(_)) => Err("texts cannot be computed with".to_owned()),
        (Data::F32(x), Data::F32(y)) => {
            let (shape, all) = zip_broadcast((a, x), (b, y), floats)?;
            Tensor::new(shape, Data::F32(all))
        }
        (Data::F64(_), _) | (_, Data::F64(_)) => {
            let (shape, all) = zip_broadcast((a, &left.to_f64()?), (b, &right.to_f64()?), doubles)?;
            Tensor::new(shape, Data::F64(all))
        }
        (Data::F32(_), _) | (_, Data::F32(_)) => {
            let (shape, all) = zip_broadcast((a, &left.to_f32()?), (b, &right.to_f32()?), floats)?;
            Tensor::new(shape, Data::F32(all))
        }
        (Data::I64(_) | Data::Bool(_), Data::I64(_) | Data::Bool(_)) => {
            let (shape, all) = zip_broadcast((a, &left.to_i64()?), (b, &right.to_i64()?), ints)?;
            let all =
                all.into_iter().collect::<Option<Vec<i64>>>().ok_or("a whole number is divided by zero")?;
            Tensor::new(shape, Data::I64(all))
        }
    }
}

/// `Add`.
pub fn add(_: &Settings<'_>) -> Outcome<Compiled> {
    arithmetic(|a, b| a + b, |a, b| a + b, |a, b| Some(a.wrapping_add(b)))
}

/// `Sub`.
pub fn sub(_: &Settings<'_>) -> Outcome<Compiled> {
    arithmetic(|a, b| a - b, |a, b| a - b, |a, b| Some(a.wrapping_sub(b)))
}

/// `Mul`.
pub fn mul(_: &Settings<'_>) -> Outcome<Compiled> {
    arithmetic(|a, b| a * b, |a, b| a * b, |a, b| Some(a.wrapping_mul(b)))
}

/// `Div`.
pub fn div(_: &Settings<'_>) -> Outcome<Compiled> {
    arithmetic(|a, b| a / b, |a, b| a / b, |a, b| if b == 0 { None } else { Some(a.wrapping_div(b)) })
}

/// `Pow`.
pub fn pow(_: &Settings<'_>) -> Outcome<Compiled> {
    arithmetic(f32::powf, f64::powf, |a, b| Some((a as f64).powf(b as f64) as i64))
}

/// The larger, or NaN if either is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The smaller, or NaN if either is.
fn smaller(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

fn fold_all(
    floats: fn(f32, f32) -> f32,
    doubles: fn(f64, f64) -> f64,
    ints: fn(i64, i64) -> Option<i64>,
) -> Outcome<Compiled> {
    single(move |inputs| {
        let mut all = inputs.iter().copied().flatten();
        let first = all.next().ok_or("it has no inputs")?.clone();
        all.try_fold(first, |so_far, next| combine(&so_far, next, floats, doubles, ints))
    })
}

/// `Max`.
pub fn max(_: &Settings<'_>) -> Outcome<Compiled> {
    fold_all(|a, b| larger(a.into(), b.into()) as f32, larger, |a, b| Some(a.max(b)))
}

/// `Min`.
pub fn min(_: &Settings<'_>) -> Outcome<Compiled> {
    fold_all(|a, b| smaller(a.into(), b.into()) as f32, smaller, |a, b| Some(a.min(b)))
}

/// A function of each number by itself, computed in 64 bits and rounded to the input's width.
fn each(compute: fn(f64) -> f64) -> Outcome<Compiled> {
    unary(move |tensor| {
        let data = match tensor.data() {
            Data::F64(values) => Data::F64(values.iter().map(|value| compute(*value)).collect()),
            Data::I64(values) => {
                Data::I64(values.iter().map(|value| compute(*value as f64) as i64).collect())
            }
            Data::F32(values) => {
                Data::F32(values.iter().map(|value| compute(f64::from(*value)) as f32).collect())
            }
            Data::Bool(_) | Data::Text(_) => return Err("it takes numbers only".to_owned()),
        };
        Tensor::new(tensor.shape().to_vec(), data)
    })
}

/// `Abs`.
pub fn abs(_: &Settings<'_>) -> Outcome<Compiled> {
    each(f64::abs)
}

/// `Exp`.
pub fn exp(_: &Settings<'_>) -> Outcome<Compiled> {
    each(f64::exp)
}

/// `Log`.
pub fn log(_: &Settings<'_>) -> Outcome<Compiled> {
    each(f64::ln)
}

/// `Neg`.
pub fn neg(_: &Settings<'_>) -> Outcome<Compiled> {
    each(|value| -value)
}

/// `Reciprocal`.
pub fn reciprocal(_: &Settings<'_>) -> Outcome<Compiled> {
    each(|value| 1.0 / value)
}

/// `Relu`.
pub fn relu(_: &Settings<'_>) -> Outcome<Compiled> {
    each(|value| larger(value, 0.0))
}

/// `Sigmoid`.
pub fn sigmoid(_: &Settings<'_>) -> Outcome<Compiled> {
    each(transform::logistic)
}

/// `Sqrt`.
pub fn sqrt(_: &Settings<'_>) -> Outcome<Compiled> {
    each(f64::sqrt)
}

/// `Tanh`.
pub fn tanh(_: &Settings<'_>) -> Outcome<Compiled> {
    each(f64::tanh)
}

/// `Clip`: the limits are attributes, or since operator set 11 inputs.
pub fn clip(settings: &Settings<'_>) -> Outcome<Compiled> {
    let (low, high) = (settings.float("min", f32::NEG_INFINITY)?, settings.float("max", f32::INFINITY)?);
    single(move |inputs| {
        let tensor = input(inputs, 0)?;
        let limit = |place: usize, fixed: f32| match inputs.get(place).copied().flatten() {
            Some(limit) => limit.to_f64()?.first().copied().ok_or_else(|| "a limit is empty".to_owned()),
            None => Ok(f64::from(fixed)),
        };
        let (low, high) = (limit(1, low)?, limit(2, high)?);
        let clipped = tensor.to_f64()?.into_iter().map(|value| smaller(larger(value, low), high));
        let data = match tensor.data() {
            Data::F64(_) => Data::F64(clipped.collect()),
            Data::I64(_) => Data::I64(clipped.map(|value| value as i64).collect()),
            Data::F32(_) | Data::Bool(_) | Data::Text(_) => {
                Data::F32(clipped.map(|value| value as f32).collect())
            }
        };
        Tensor::new(tensor.shape().to_vec(), data)
    })
}

/// A comparison of numbers.
fn compare(numbers: fn(f64, f64) -> bool) -> Outcome<Compiled> {
    single(move |inputs| {
        let (left, right) = (input(inputs, 0)?, input(inputs, 1)?);
        let sides = ((left.shape(), &left.to_f64()?[..]), (right.shape(), &right.to_f64()?[..]));
        let (shape, all) = zip_broadcast(sides.0, sides.1, numbers)?;
        Tensor::new(shape, Data::Bool(all))
    })
}

/// `Equal`, of texts too.
pub fn equal(_: &Settings<'_>) -> Outcome<Compiled> {
    single(|inputs| {
        let (left, right) = (input(inputs, 0)?, input(inputs, 1)?);
        let (shape, all) = match (left.data(), right.data()) {
            (Data::Text(a), Data::Text(b)) => {
                zip_broadcast((left.shape(), a), (right.shape(), b), |a, b| a == b)?
            }
            (Data::I64(a), Data::I64(b)) => {
                zip_broadcast((left.shape(), a), (right.shape(), b), |a, b| a == b)?
            }
            _ => {
                zip_broadcast((left.shape(), &left.to_f64()?), (right.shape(), &right.to_f64()?), |a, b| {
                    a == b
                })?
            }
        };
        Tensor::new(shape, Data::Bool(all))
    })
}

/// `Less`.
pub fn less(_: &Settings<'_>) -> Outcome<Compiled> {
    compare(|a, b| a < b)
}

/// `LessOrEqual`.
pub fn less_or_equal(_: &Settings<'_>) -> Outcome<Compiled> {
    compare(|a, b| a <= b)
}

/// `Greater`.
pub fn greater(_: &Settings<'_>) -> Outcome<Compiled> {
    compare(|a, b| a > b)
}

/// `GreaterOrEqual`.
pub fn greater_or_equal(_: &Settings<'_>) -> Outcome<Compiled> {
    compare(|a, b| a >= b)
}

fn logic(of: fn(bool, bool) -> bool) -> Outcome<Compiled> {
    single(move |inputs| {
        let (left, right) = (input(inputs, 0)?, input(inputs, 1)?);
        let sides = ((left.shape(), &left.to_bool()?[..]), (right.shape(), &right.to_bool()?[..]));
        let (shape, all) = zip_broadcast(sides.0, sides.1, of)?;
        Tensor::new(shape, Data::Bool(all))
    })
}

/// `And`.
pub fn and(_: &Settings<'_>) -> Outcome<Compiled> {
    logic(|a, b| a && b)
}

/// `Or`.
pub fn or(_: &Settings<'_>) -> Outcome<Compiled> {
    logic(|a, b| a || b)
}

/// `Not`.
pub fn not(_: &Settings<'_>) -> Outcome<Compiled> {
    unary(|tensor| {
        let all = tensor.to_bool()?.iter().map(|value| !value).collect();
        Tensor::new(tensor.shape().to_vec(), Data::Bool(all))
    })
}

/// `IsNaN`.
pub fn is_nan(_: &Settings<'_>) -> Outcome<Compiled> {
    unary(|tensor| {
        let all = tensor.to_f64()?.iter().map(|value| value.is_nan()).collect();
        Tensor::new(tensor.shape().to_vec(), Data::Bool(all))
    })
}

/// `Where`.
pub fn select(_: &Settings<'_>) -> Outcome<Compiled> {
    fn choose<T: Clone>(
        condition: &Tensor,
        (yes_shape, yes): (&[usize], &[T]),
        (no_shape, no): (&[usize], &[T]),
    ) -> Outcome<(Vec<usize>, Vec<T>)> {
        let (shape, pairs) = zip_broadcast((yes_shape, yes), (no_shape, no), |yes, no| (yes, no))?;
        let condition = (condition.shape(), &condition.to_bool()?[..]);
        zip_broadcast(condition, (&shape, &pairs), |is, (yes, no)| if is { yes } else { no })
    }
    single(|inputs| {
        let (condition, yes, no) = (input(inputs, 0)?, input(inputs, 1)?, input(inputs, 2)?);
        let (a, b) = (yes.shape(), no.shape());
        let (shape, data) = match (yes.data(), no.data()) {
            (Data::Text(x), Data::Text(y)) => {
                let (shape, all) = choose(condition, (a, x), (b, y))?;
                (shape, Data::Text(all))
            }
            (Data::I64(x), Data::I64(y)) => {
                let (shape, all) = choose(condition, (a, x), (b, y))?;
                (shape, Data::I64(all))
            }
            (Data::F64(_), _) | (_, Data::F64(_)) => {
                let (shape, all) = choose(condition, (a, &yes.to_f64()?), (b, &no.to_f64()?))?;
                (shape, Data::F64(all))
            }
            _ => {
                let (shape, all) = choose(condition, (a, &yes.to_f32()?), (b, &no.to_f32()?))?;
                (shape, Data::F32(all))
            }
        };
        Tensor::new(shape, data)
    })
}

/// Multiplications that one product may take.
const MAX_PRODUCT: usize = 1 << 33;

/// Whether a product is small enough to be computed.
fn check_product(rows: usize, inner: usize, columns: usize) -> Outcome<()> {
    elements(&[rows, columns])?;
    match rows.checked_mul(columns).and_then(|count| count.checked_mul(inner)) {
        Some(count) if count <= MAX_PRODUCT => Ok(()),
        _ => Err(format!("{rows}×{inner} times {inner}×{columns} is too much")),
    }
}

/// A matrix product in 64 bits: `left` is rows × inner, `right` inner × columns.
fn product(left: &[f64], right: &[f64], inner: usize, columns: usize) -> Vec<f64> {
    let mut all = Vec::new();
    for row in left.chunks_exact(inner.max(1)) {
        let mut sums = vec![0.0; columns];
        for (value, weights) in row.iter().zip(right.chunks_exact(columns.max(1))) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += value * weight;
            }
        }
        all.extend(sums);
    }
    all
}

fn is_wide(tensor: &Tensor) -> bool {
    matches!(tensor.data(), Data::F64(_))
}

fn narrowed(shape: Vec<usize>, values: Vec<f64>, wide: bool) -> Outcome<Tensor> {
    let data = if wide { Data::F64(values) } else { Data::F32(values.iter().map(|v| *v as f32).collect()) };
    Tensor::new(shape, data)
}

/// `MatMul`, of a table or a vector with a matrix.
pub fn mat_mul(_: &Settings<'_>) -> Outcome<Compiled> {
    single(|inputs| {
        let (left, right) = (input(inputs, 0)?, input(inputs, 1)?);
        let misfit =
            || format!("{} and {} cannot be multiplied", shape_text(left.shape()), shape_text(right.shape()));
        let (&inner, outer) = left.shape().split_last().ok_or_else(misfit)?;
        let (rows, columns, shape) = match right.shape() {
            [rows] => (*rows, 1, outer.to_vec()),
            [rows, columns] => (*rows, *columns, [outer, &[*columns]].concat()),
            _ => return Err(misfit()),
        };
        if rows != inner {
            return Err(misfit());
        }
        check_product(outer.iter().product(), inner, columns)?;
        if inner == 0 {
            let zeros = vec![0.0; elements(&shape)?];
            return narrowed(shape, zeros, is_wide(left));
        }
        let values = product(&left.to_f64()?, &right.to_f64()?, inner, columns);
        narrowed(shape, values, is_wide(left) || is_wide(right))
    })
}

fn transposed(values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..columns)
        .flat_map(|column| (0..rows).filter_map(move |row| values.get(row * columns + column).copied()))
        .collect()
}

/// `Gemm`: alpha · A · B + beta · C.
pub fn gemm(settings: &Settings<'_>) -> Outcome<Compiled> {
    let (alpha, beta) = (f64::from(settings.float("alpha", 1.0)?), f64::from(settings.float("beta", 1.0)?));
    let (turn_left, turn_right) = (settings.int("transA", 0)? != 0, settings.int("transB", 0)? != 0);
    single(move |inputs| {
        let (left, right) = (input(inputs, 0)?, input(inputs, 1)?);
        let table = |tensor: &Tensor, turn: bool| match tensor.shape() {
            [rows, columns] => {
                let values = tensor.to_f64()?;
                Ok(if turn {
                    (*columns, *rows, transposed(&values, *rows, *columns))
                } else {
                    (*rows, *columns, values)
                })
            }
            other => Err(format!("{} is no matrix", shape_text(other))),
        };
        let (rows, inner, a) = table(left, turn_left)?;
        let (height, columns, b) = table(right, turn_right)?;
        if inner != height || inner == 0 {
            return Err(format!("{rows}×{inner} and {height}×{columns} cannot be multiplied"));
        }
        check_product(rows, inner, columns)?;
        let mut values = product(&a, &b, inner, columns);
        values.iter_mut().for_each(|value| *value *= alpha);
        if let Some(extra) = inputs.get(2).copied().flatten() {
            let extra_values: Vec<f64> = extra.to_f64()?.iter().map(|value| value * beta).collect();
            let (shape, sum) =
                zip_broadcast((&[rows, columns], &values), (extra.shape(), &extra_values), |a, b| a + b)?;
            if shape != [rows, columns] {
                return Err(format!("{} does not fit the product", shape_text(extra.shape())));
            }
            values = sum;
        }
        narrowed(vec![rows, columns], values, is_wide(left) || is_wide(right))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;
    use crate::onnx::Attribute;

    fn table(rows: usize, width: usize, values: &[f32]) -> Tensor {
        Tensor::table(rows, width, values.to_vec()).unwrap()
    }

    #[test]
    fn whole_numbers_are_not_divided_by_zero() {
        let ints = |values: Vec<i64>| Tensor::new(vec![values.len()], Data::I64(values)).unwrap();
        assert!(run("Div", 14, vec![], &[&ints(vec![1]), &ints(vec![0])]).is_err());
        let out = run("Div", 14, vec![], &[&ints(vec![i64::MIN, 7]), &ints(vec![-1, 2])]).unwrap();
        assert_eq!(out[0].data(), &Data::I64(vec![i64::MIN, 3]));
    }

    #[test]
    fn products_agree_with_the_definition() {
        let (a, b) = (table(2, 2, &[1.0, 2.0, 3.0, 4.0]), table(2, 1, &[5.0, 6.0]));
        assert_eq!(run("MatMul", 13, vec![], &[&a, &b]).unwrap()[0].data(), &Data::F32(vec![17.0, 39.0]));
        assert!(run("MatMul", 13, vec![], &[&b, &a]).is_err());
        let turned = vec![
            ("transA", Attribute::Int(1)),
            ("alpha", Attribute::Float(2.0)),
            ("beta", Attribute::Float(10.0)),
        ];
        let c = table(1, 1, &[1.0]);
        assert_eq!(run("Gemm", 13, turned, &[&a, &b, &c]).unwrap()[0].data(), &Data::F32(vec![56.0, 78.0]));
    }

    #[test]
    fn choices_and_comparisons_stretch_and_mind_missing_values() {
        let x = table(2, 1, &[f32::NAN, 2.0]);
        let nan = run("IsNaN", 13, vec![], &[&x]).unwrap();
        let zero = Tensor::new(vec![], Data::F32(vec![0.0])).unwrap();
        let out = run("Where", 16, vec![], &[&nan[0], &zero, &x]).unwrap();
        assert_eq!(out[0].data(), &Data::F32(vec![0.0, 2.0]));
        let limits = [&x, &zero, &Tensor::new(vec![], Data::F32(vec![1.0])).unwrap()];
        let clipped = run("Clip", 13, vec![], &limits).unwrap()[0].to_f32().unwrap();
        assert!(clipped[0].is_nan() && clipped[1] == 1.0);
        assert_eq!(
            run("Greater", 13, vec![], &[&x, &zero]).unwrap()[0].data(),
            &Data::Bool(vec![false, true])
        );
    }
}
