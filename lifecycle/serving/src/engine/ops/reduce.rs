//! What takes many elements along a dimension to one, or to shares of one.

use super::{Compiled, Settings, input, single, unary};
use crate::engine::tensor::{Data, Outcome, Tensor, around, axis};
use crate::engine::transform;

/// Reduces along dimensions named by an attribute or an input; along all where none is named.
fn reduce(settings: &Settings<'_>, of: fn(&[f64]) -> f64) -> Outcome<Compiled> {
    let fixed = if settings.has("axes") { Some(settings.ints("axes")?.to_vec()) } else { None };
    let keep = settings.int("keepdims", 1)? != 0;
    let or_none = settings.int("noop_with_empty_axes", 0)? != 0;
    single(move |inputs| {
        let tensor = input(inputs, 0)?;
        let rank = tensor.shape().len();
        let named = match &fixed {
            Some(axes) => Some(axes.clone()),
            None => inputs.get(1).copied().flatten().map(Tensor::to_i64).transpose()?,
        };
        let mut gone = match named {
            Some(axes) if !axes.is_empty() => {
                axes.iter().map(|number| axis(*number, rank)).collect::<Outcome<Vec<_>>>()?
            }
            _ if or_none => return Ok(tensor.clone()),
            _ => (0..rank).collect(),
        };
        gone.sort_unstable();
        gone.dedup();
        let kept_shape: Vec<usize> = tensor
            .shape()
            .iter()
            .enumerate()
            .map(|(place, size)| if gone.contains(&place) { 1 } else { *size })
            .collect();
        let values = reduce_values(tensor, &gone, &kept_shape, of)?;
        let shape = if keep {
            kept_shape
        } else {
            let rest = tensor.shape().iter().enumerate().filter(|(place, _)| !gone.contains(place));
            rest.map(|(_, size)| *size).collect()
        };
        let data = match tensor.data() {
            Data::F64(_) => Data::F64(values),
            Data::I64(_) => Data::I64(values.iter().map(|value| *value as i64).collect()),
            Data::F32(_) | Data::Bool(_) | Data::Text(_) => {
                Data::F32(values.iter().map(|value| *value as f32).collect())
            }
        };
        Tensor::new(shape, data)
    })
}

/// Collects what falls together, in the order of the elements, and reduces it.
fn reduce_values(
    tensor: &Tensor,
    gone: &[usize],
    kept: &[usize],
    of: fn(&[f64]) -> f64,
) -> Outcome<Vec<f64>> {
    let mut groups: Vec<Vec<f64>> = vec![Vec::new(); kept.iter().product()];
    let mut steps = vec![0_usize; kept.len()];
    let mut step = 1;
    for (slot, (place, size)) in steps.iter_mut().zip(kept.iter().enumerate()).rev() {
        *slot = if gone.contains(&place) { 0 } else { step };
        step *= size;
    }
    let mut at = vec![0_usize; kept.len()];
    for value in tensor.to_f64()? {
        let group = at.iter().zip(&steps).map(|(at, step)| at * step).sum::<usize>();
        if let Some(group) = groups.get_mut(group) {
            group.push(value);
        }
        for (position, size) in at.iter_mut().zip(tensor.shape()).rev() {
            *position += 1;
            if *position < *size {
                break;
            }
            *position = 0;
        }
    }
    Ok(groups.iter().map(|group| of(group)).collect())
}

/// `ReduceSum`.
pub fn sum(settings: &Settings<'_>) -> Outcome<Compiled> {
    reduce(settings, |all| all.iter().sum())
}

/// `ReduceMean`.
pub fn mean(settings: &Settings<'_>) -> Outcome<Compiled> {
    reduce(settings, |all| all.iter().sum::<f64>() / all.len() as f64)
}

/// `ReduceMax`.
pub fn max(settings: &Settings<'_>) -> Outcome<Compiled> {
    reduce(settings, |all| all.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

/// `ReduceMin`.
pub fn min(settings: &Settings<'_>) -> Outcome<Compiled> {
    reduce(settings, |all| all.iter().copied().fold(f64::INFINITY, f64::min))
}

/// `ReduceL1`.
pub fn l1(settings: &Settings<'_>) -> Outcome<Compiled> {
    reduce(settings, |all| all.iter().map(|value| value.abs()).sum())
}

/// `ReduceL2`.
pub fn l2(settings: &Settings<'_>) -> Outcome<Compiled> {
    reduce(settings, |all| all.iter().map(|value| value * value).sum::<f64>().sqrt())
}

/// `ReduceSumSquare`.
pub fn sum_square(settings: &Settings<'_>) -> Outcome<Compiled> {
    reduce(settings, |all| all.iter().map(|value| value * value).sum())
}

/// `ReduceLogSumExp`, shifted by the largest so that nothing overflows.
pub fn log_sum_exp(settings: &Settings<'_>) -> Outcome<Compiled> {
    reduce(settings, |all| {
        let largest = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if largest.is_infinite() {
            return largest;
        }
        all.iter().map(|value| (value - largest).exp()).sum::<f64>().ln() + largest
    })
}

/// `Softmax`: along one dimension, before operator set 13 over all dimensions from one on.
pub fn softmax(settings: &Settings<'_>) -> Outcome<Compiled> {
    let old = settings.opset < 13;
    let along = settings.int("axis", if old { 1 } else { -1 })?;
    unary(move |tensor| {
        let along = axis(along, tensor.shape().len())?;
        let (outer, size, inner) = around(tensor.shape(), along);
        let (size, inner) = if old { (size * inner, 1) } else { (size, inner) };
        let mut values = tensor.to_f64()?;
        let mut run = vec![0.0; size];
        for row in 0..outer {
            for column in 0..inner {
                let place = |step: usize| (row * size + step) * inner + column;
                for (step, slot) in run.iter_mut().enumerate() {
                    *slot = values.get(place(step)).copied().unwrap_or(f64::NAN);
                }
                transform::softmax(&mut run);
                for (step, share) in run.iter().enumerate() {
                    if let Some(slot) = values.get_mut(place(step)) {
                        *slot = *share;
                    }
                }
            }
        }
        let data = match tensor.data() {
            Data::F64(_) => Data::F64(values),
            Data::F32(_) | Data::I64(_) | Data::Bool(_) | Data::Text(_) => {
                Data::F32(values.iter().map(|value| *value as f32).collect())
            }
        };
        Tensor::new(tensor.shape().to_vec(), data)
    })
}

/// `ArgMax`.
pub fn arg_max(settings: &Settings<'_>) -> Outcome<Compiled> {
    arg(settings, |one, best| one > best)
}

/// `ArgMin`.
pub fn arg_min(settings: &Settings<'_>) -> Outcome<Compiled> {
    arg(settings, |one, best| one < best)
}

fn arg(settings: &Settings<'_>, better: fn(f64, f64) -> bool) -> Outcome<Compiled> {
    let along = settings.int("axis", 0)?;
    let keep = settings.int("keepdims", 1)? != 0;
    let last = settings.int("select_last_index", 0)? != 0;
    unary(move |tensor| {
        let along = axis(along, tensor.shape().len())?;
        let (outer, size, inner) = around(tensor.shape(), along);
        if size == 0 {
            return Err("it has nothing to choose from".to_owned());
        }
        let values = tensor.to_f64()?;
        let mut places = Vec::with_capacity(outer * inner);
        for row in 0..outer {
            for column in 0..inner {
                let mut best = (0_usize, f64::NAN);
                for step in 0..size {
                    let one = values.get((row * size + step) * inner + column).copied().unwrap_or(f64::NAN);
                    if step == 0 || better(one, best.1) || (last && one == best.1) {
                        best = (step, one);
                    }
                }
                places.push(best.0 as i64);
            }
        }
        let mut shape = tensor.shape().to_vec();
        if keep {
            if let Some(slot) = shape.get_mut(along) {
                *slot = 1;
            }
        } else {
            shape.remove(along);
        }
        Tensor::new(shape, Data::I64(places))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;
    use crate::onnx::Attribute;

    #[test]
    fn reductions_take_the_named_dimensions() {
        let table = Tensor::table(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let rows = || vec![("axes", Attribute::Ints(vec![1])), ("keepdims", Attribute::Int(0))];
        let out = run("ReduceSum", 11, rows(), &[&table]).unwrap();
        assert_eq!((out[0].shape(), out[0].data()), (&[2][..], &Data::F32(vec![6.0, 15.0])));
        assert_eq!(run("ReduceMax", 11, rows(), &[&table]).unwrap()[0].data(), &Data::F32(vec![3.0, 6.0]));
        let all = run("ReduceMean", 11, vec![], &[&table]).unwrap();
        assert_eq!((all[0].shape(), all[0].data()), (&[1, 1][..], &Data::F32(vec![3.5])));
        let columns = Tensor::new(vec![1], Data::I64(vec![0])).unwrap();
        let out = run("ReduceMin", 18, vec![], &[&table, &columns]).unwrap();
        assert_eq!((out[0].shape(), out[0].data()), (&[1, 3][..], &Data::F32(vec![1.0, 2.0, 3.0])));
    }

    #[test]
    fn the_first_of_equals_is_chosen_unless_the_last_is_asked_for() {
        let table = Tensor::table(1, 3, vec![1.0, 5.0, 5.0]).unwrap();
        let choose = |more: Vec<(&'static str, Attribute<'static>)>| {
            let mut attributes = vec![("axis", Attribute::Int(1))];
            attributes.extend(more);
            run("ArgMax", 13, attributes, &[&table]).unwrap()[0].to_i64().unwrap()
        };
        assert_eq!(choose(vec![]), [1]);
        assert_eq!(choose(vec![("select_last_index", Attribute::Int(1))]), [2]);
    }

    #[test]
    fn softmax_changed_its_meaning_with_operator_set_thirteen() {
        let cube = Tensor::new(vec![1, 2, 2], Data::F32(vec![0.0; 4])).unwrap();
        assert_eq!(run("Softmax", 11, vec![], &[&cube]).unwrap()[0].data(), &Data::F32(vec![0.25; 4]));
        assert_eq!(run("Softmax", 13, vec![], &[&cube]).unwrap()[0].data(), &Data::F32(vec![0.5; 4]));
    }
}
