//! What moves elements about without computing with them.

use std::sync::Arc;

use super::{Compiled, Settings, Values, input, single, unary};
use crate::engine::tensor::{Data, Outcome, Tensor, around, axis, elements, gather_runs, shape_text};
use crate::onnx::Attribute;
use crate::onnx::model::element;

/// `Identity`.
pub fn identity(_: &Settings<'_>) -> Outcome<Compiled> {
    unary(|tensor| Ok(tensor.clone()))
}

/// `Constant`.
pub fn constant(settings: &Settings<'_>) -> Outcome<Compiled> {
    let vector = |data: Data| Tensor::new(vec![data.len()], data);
    let tensor = match settings.node.attributes.first() {
        Some(("value", Attribute::Tensor(value))) => Tensor::new(value.shape.clone(), value.data.clone())?,
        Some(("value_float", Attribute::Float(value))) => Tensor::new(vec![], Data::F32(vec![*value]))?,
        Some(("value_int", Attribute::Int(value))) => Tensor::new(vec![], Data::I64(vec![*value]))?,
        Some(("value_floats", Attribute::Floats(values))) => vector(Data::F32(values.clone()))?,
        Some(("value_ints", Attribute::Ints(values))) => vector(Data::I64(values.clone()))?,
        _ => return Err("it has no value that is supported".to_owned()),
    };
    single(move |_| Ok(tensor.clone()))
}

/// `Cast`.
pub fn cast(settings: &Settings<'_>) -> Outcome<Compiled> {
    let to = settings.int("to", 0)?;
    if !(element::FLOAT..=element::UINT64).contains(&to) || to == 10 {
        return Err(format!("it casts to the type {to}, which is not supported"));
    }
    Ok(Compiled::plain(Box::new(move |inputs, values| {
        let tensor = input(inputs, 0)?;
        Ok(vec![Tensor::new(tensor.shape().to_vec(), cast_data(tensor, to, values)?)?])
    })))
}

/// `CastLike`.
pub fn cast_like(_: &Settings<'_>) -> Outcome<Compiled> {
    Ok(Compiled::plain(Box::new(|inputs, values| {
        let (tensor, like) = (input(inputs, 0)?, input(inputs, 1)?);
        let to = match like.data() {
            Data::F32(_) => element::FLOAT,
            Data::F64(_) => element::DOUBLE,
            Data::I64(_) => element::INT64,
            Data::Bool(_) => element::BOOL,
            Data::Text(_) => element::STRING,
        };
        Ok(vec![Tensor::new(tensor.shape().to_vec(), cast_data(tensor, to, values)?)?])
    })))
}

fn cast_data(tensor: &Tensor, to: i64, values: Values) -> Outcome<Data> {
    match tensor.data() {
        Data::Text(texts) if values == Values::MadeUp && to != element::STRING => {
            return cast_texts(&vec![Arc::from("0"); texts.len()], to);
        }
        Data::Text(texts) => return cast_texts(texts, to),
        Data::F32(_) | Data::F64(_) | Data::I64(_) | Data::Bool(_) => {}
    }
    Ok(match to {
        element::FLOAT => Data::F32(tensor.to_f32()?),
        element::DOUBLE => Data::F64(tensor.to_f64()?),
        element::BOOL => Data::Bool(tensor.to_bool()?),
        element::STRING => Data::Text(match tensor.data() {
            Data::F32(values) => {
                values.iter().map(|value| number_text(f64::from(*value), value.to_string())).collect()
            }
            Data::F64(values) => values.iter().map(|value| number_text(*value, value.to_string())).collect(),
            Data::I64(values) => values.iter().map(|value| Arc::from(value.to_string())).collect(),
            Data::Bool(values) => {
                values.iter().map(|value| Arc::from(if *value { "1" } else { "0" })).collect()
            }
            Data::Text(texts) => texts.clone(),
        }),
        _ => Data::I64(tensor.to_i64()?),
    })
}

/// A number as ONNX writes it: `NaN`, `INF`, and otherwise the shortest text that reads back.
fn number_text(value: f64, text: String) -> Arc<str> {
    if value.is_nan() {
        Arc::from("NaN")
    } else if value.is_infinite() {
        Arc::from(if value > 0.0 { "INF" } else { "-INF" })
    } else {
        Arc::from(text)
    }
}

fn cast_texts(texts: &[Arc<str>], to: i64) -> Outcome<Data> {
    fn read<T: std::str::FromStr>(texts: &[Arc<str>], what: &str) -> Outcome<Vec<T>> {
        texts
            .iter()
            .map(|text| {
                let text: String = text.trim().chars().take(100).collect();
                text.parse().map_err(|_| format!("`{text}` is not {what}"))
            })
            .collect()
    }
    Ok(match to {
        element::STRING => Data::Text(texts.to_vec()),
        element::FLOAT => Data::F32(read(texts, "a number")?),
        element::DOUBLE => Data::F64(read(texts, "a number")?),
        element::BOOL => Data::Bool(texts.iter().map(|text| !text.is_empty()).collect()),
        _ => Data::I64(read(texts, "a whole number")?),
    })
}

/// `Concat`.
pub fn concat(settings: &Settings<'_>) -> Outcome<Compiled> {
    let along = settings.int("axis", 1)?;
    single(move |inputs| {
        let tensors: Vec<&Tensor> = inputs.iter().copied().flatten().collect();
        let first = tensors.first().ok_or("it has no inputs")?;
        let along = axis(along, first.shape().len())?;
        let mut shape = first.shape().to_vec();
        let mut runs = Vec::with_capacity(tensors.len());
        let mut total = 0_usize;
        for tensor in &tensors {
            let mut own = tensor.shape().to_vec();
            if own.len() == shape.len()
                && let (Some(mine), Some(first)) = (own.get_mut(along), shape.get(along))
            {
                total = total.saturating_add(*mine);
                *mine = *first;
            }
            if own != shape {
                return Err(format!(
                    "{} and {} do not fit each other",
                    shape_text(&shape),
                    shape_text(tensor.shape())
                ));
            }
            let (_, size, inner) = around(tensor.shape(), along);
            runs.push(size * inner);
        }
        if let Some(size) = shape.get_mut(along) {
            *size = total;
        }
        elements(&shape)?;
        let (outer, _, _) = around(&shape, along);
        let data = join(&tensors, &runs, outer)?;
        Tensor::new(shape, data)
    })
}

/// Interleaves a run of each tensor, so many times.
fn join(tensors: &[&Tensor], runs: &[usize], times: usize) -> Outcome<Data> {
    fn interleave<T: Clone>(parts: &[Vec<T>], runs: &[usize], times: usize) -> Vec<T> {
        let mut all = Vec::with_capacity(parts.iter().map(Vec::len).sum());
        for time in 0..times {
            for (part, run) in parts.iter().zip(runs) {
                all.extend_from_slice(part.get(time * run..(time + 1) * run).unwrap_or_default());
            }
        }
        all
    }
    fn parts<T>(tensors: &[&Tensor], take: fn(&Tensor) -> Outcome<Vec<T>>) -> Outcome<Vec<Vec<T>>> {
        tensors.iter().map(|tensor| take(tensor)).collect()
    }
    let any = |is: fn(&Data) -> bool| tensors.iter().any(|tensor| is(tensor.data()));
    // The widest type among the inputs holds them all.
    Ok(if any(|data| matches!(data, Data::Text(_))) {
        let texts = |tensor: &Tensor| match tensor.data() {
            Data::Text(texts) => Ok(texts.clone()),
            Data::F32(_) | Data::F64(_) | Data::I64(_) | Data::Bool(_) => {
                Err("texts and numbers cannot stand in one tensor".to_owned())
            }
        };
        Data::Text(interleave(&parts(tensors, texts)?, runs, times))
    } else if any(|data| matches!(data, Data::F64(_))) {
        Data::F64(interleave(&parts(tensors, Tensor::to_f64)?, runs, times))
    } else if any(|data| matches!(data, Data::F32(_))) {
        Data::F32(interleave(&parts(tensors, Tensor::to_f32)?, runs, times))
    } else if any(|data| matches!(data, Data::I64(_))) {
        Data::I64(interleave(&parts(tensors, Tensor::to_i64)?, runs, times))
    } else {
        Data::Bool(interleave(&parts(tensors, Tensor::to_bool)?, runs, times))
    })
}

/// `Reshape`.
pub fn reshape(settings: &Settings<'_>) -> Outcome<Compiled> {
    let fixed = settings.has("shape").then(|| settings.ints("shape")).transpose()?.map(<[i64]>::to_vec);
    let zero_is_zero = settings.int("allowzero", 0)? != 0;
    single(move |inputs| {
        let tensor = input(inputs, 0)?;
        let wanted = match &fixed {
            Some(shape) => shape.clone(),
            None => input(inputs, 1)?.to_i64()?,
        };
        let mut shape = Vec::with_capacity(wanted.len());
        let mut open = None;
        for (place, size) in wanted.iter().enumerate() {
            shape.push(match size {
                -1 if open.is_none() => {
                    open = Some(place);
                    1
                }
                0 if !zero_is_zero => {
                    *tensor.shape().get(place).ok_or("it copies a dimension that its input does not have")?
                }
                size => {
                    usize::try_from(*size).map_err(|_| format!("{size} is not the size of a dimension"))?
                }
            });
        }
        let known = elements(&shape)?;
        if let Some(slot) = open.and_then(|place| shape.get_mut(place)) {
            *slot = tensor.data().len().checked_div(known).unwrap_or(0);
        }
        tensor.reshaped(shape)
    })
}

/// `Flatten`.
pub fn flatten(settings: &Settings<'_>) -> Outcome<Compiled> {
    let at = settings.int("axis", 1)?;
    unary(move |tensor| {
        let rank = tensor.shape().len();
        let at = if at == rank as i64 { rank } else { axis(at, rank)? };
        let (left, right) = tensor.shape().split_at(at);
        tensor.reshaped(vec![left.iter().product(), right.iter().product()])
    })
}

/// Dimensions named by an attribute, or since operator set 13 by an input.
fn axes(fixed: &Option<Vec<i64>>, inputs: &[Option<&Tensor>]) -> Outcome<Option<Vec<i64>>> {
    match fixed {
        Some(axes) => Ok(Some(axes.clone())),
        None => inputs.get(1).copied().flatten().map(Tensor::to_i64).transpose(),
    }
}

fn fixed_axes(settings: &Settings<'_>) -> Outcome<Option<Vec<i64>>> {
    Ok(if settings.has("axes") { Some(settings.ints("axes")?.to_vec()) } else { None })
}

/// `Squeeze`.
pub fn squeeze(settings: &Settings<'_>) -> Outcome<Compiled> {
    let fixed = fixed_axes(settings)?;
    single(move |inputs| {
        let tensor = input(inputs, 0)?;
        let rank = tensor.shape().len();
        let gone = match axes(&fixed, inputs)? {
            Some(axes) => axes.iter().map(|number| axis(*number, rank)).collect::<Outcome<Vec<_>>>()?,
            None => (0..rank).filter(|place| tensor.shape().get(*place) == Some(&1)).collect(),
        };
        let kept = tensor.shape().iter().enumerate().filter(|(place, _)| !gone.contains(place));
        tensor.reshaped(kept.map(|(_, size)| *size).collect())
    })
}

/// `Unsqueeze`.
pub fn unsqueeze(settings: &Settings<'_>) -> Outcome<Compiled> {
    let fixed = fixed_axes(settings)?;
    single(move |inputs| {
        let tensor = input(inputs, 0)?;
        let axes = axes(&fixed, inputs)?.ok_or("it does not say which dimensions to add")?;
        let rank = tensor.shape().len() + axes.len();
        let added = axes.iter().map(|number| axis(*number, rank)).collect::<Outcome<Vec<_>>>()?;
        let mut sizes = tensor.shape().iter();
        let shape =
            (0..rank).map(|place| if added.contains(&place) { 1 } else { *sizes.next().unwrap_or(&1) });
        tensor.reshaped(shape.collect())
    })
}

/// `Gather`.
pub fn gather(settings: &Settings<'_>) -> Outcome<Compiled> {
    let along = settings.int("axis", 0)?;
    single(move |inputs| {
        let (tensor, wanted) = (input(inputs, 0)?, input(inputs, 1)?);
        let along = axis(along, tensor.shape().len())?;
        let (outer, size, inner) = around(tensor.shape(), along);
        let places =
            wanted.to_i64()?.iter().map(|place| axis(*place, size)).collect::<Outcome<Vec<usize>>>()?;
        let mut shape = tensor.shape().to_vec();
        shape.splice(along..=along, wanted.shape().iter().copied());
        elements(&shape)?;
        let starts = (0..outer).flat_map(|row| places.iter().map(move |place| (row * size + place) * inner));
        Tensor::new(shape, gather_runs(tensor.data(), starts, inner))
    })
}

/// `Slice`: along one or more dimensions, with steps.
pub fn slice(settings: &Settings<'_>) -> Outcome<Compiled> {
    let fixed = if settings.has("starts") {
        let list = |name: &str| settings.ints(name).map(<[i64]>::to_vec);
        Some((list("starts")?, list("ends")?, settings.has("axes").then(|| list("axes")).transpose()?))
    } else {
        None
    };
    single(move |inputs| {
        let tensor = input(inputs, 0)?;
        let given = |place: usize| inputs.get(place).copied().flatten().map(Tensor::to_i64).transpose();
        let (starts, ends, axes, steps) = match &fixed {
            Some((starts, ends, axes)) => (starts.clone(), ends.clone(), axes.clone(), None),
            None => (input(inputs, 1)?.to_i64()?, input(inputs, 2)?.to_i64()?, given(3)?, given(4)?),
        };
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err("its lists differ in length".to_owned());
        }
        let mut tensor = tensor.clone();
        for (((start, end), along), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            tensor = slice_one(&tensor, axis(*along, tensor.shape().len())?, *start, *end, *step)?;
        }
        Ok(tensor)
    })
}

fn slice_one(tensor: &Tensor, along: usize, start: i64, end: i64, step: i64) -> Outcome<Tensor> {
    let (outer, size, inner) = around(tensor.shape(), along);
    let size = size as i64;
    let from_end = |place: i64| if place < 0 { place.saturating_add(size) } else { place };
    if step == 0 || step == i64::MIN {
        return Err(format!("{step} is no step"));
    }
    let (start, end) = (from_end(start), from_end(end));
    let places: Vec<usize> = if step > 0 {
        let (start, end) = (start.clamp(0, size), end.clamp(0, size));
        (start..end)
            .step_by(usize::try_from(step).unwrap_or(usize::MAX))
            .filter_map(|place| place.try_into().ok())
            .collect()
    } else {
        let (start, end) = (start.clamp(-1, size - 1), end.clamp(-1, size - 1));
        let back = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
        (end + 1..=start).rev().step_by(back).filter_map(|place| place.try_into().ok()).collect()
    };
    let mut shape = tensor.shape().to_vec();
    if let Some(slot) = shape.get_mut(along) {
        *slot = places.len();
    }
    let size = size as usize;
    let starts = (0..outer).flat_map(|row| places.iter().map(move |place| (row * size + place) * inner));
    Tensor::new(shape, gather_runs(tensor.data(), starts, inner))
}

/// `Transpose`.
pub fn transpose(settings: &Settings<'_>) -> Outcome<Compiled> {
    let order = if settings.has("perm") { Some(settings.ints("perm")?.to_vec()) } else { None };
    unary(move |tensor| {
        let rank = tensor.shape().len();
        let order = match &order {
            Some(order) => order.iter().map(|number| axis(*number, rank)).collect::<Outcome<Vec<_>>>()?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if sorted != (0..rank).collect::<Vec<_>>() {
            return Err("its order of dimensions names one twice or leaves one out".to_owned());
        }
        let size = |place: &usize| tensor.shape().get(*place).copied().unwrap_or(1);
        let shape: Vec<usize> = order.iter().map(size).collect();
        let steps: Vec<usize> = order.iter().map(|place| around(tensor.shape(), *place).2).collect();
        let mut place = vec![0_usize; rank];
        let starts = (0..elements(&shape)?).map(|_| {
            let start = place.iter().zip(&steps).map(|(place, step)| place * step).sum();
            for (position, size) in place.iter_mut().zip(&shape).rev() {
                *position += 1;
                if *position < *size {
                    break;
                }
                *position = 0;
            }
            start
        });
        let data = gather_runs(tensor.data(), starts, 1);
        Tensor::new(shape, data)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;

    fn ints(shape: &[usize], values: &[i64]) -> Tensor {
        Tensor::new(shape.to_vec(), Data::I64(values.to_vec())).unwrap()
    }

    #[test]
    fn concat_widens_to_the_widest_type() {
        let (a, b) = (ints(&[2, 1], &[1, 2]), Tensor::table(2, 2, vec![0.5, 1.5, 2.5, 3.5]).unwrap());
        let out = run("Concat", 13, vec![("axis", Attribute::Int(-1))], &[&a, &b]).unwrap();
        assert_eq!(out[0].shape(), [2, 3]);
        assert_eq!(out[0].data(), &Data::F32(vec![1.0, 0.5, 1.5, 2.0, 2.5, 3.5]));
        assert!(run("Concat", 13, vec![("axis", Attribute::Int(0))], &[&a, &b]).is_err());
    }

    #[test]
    fn reshape_fills_in_one_dimension_and_copies_zeros() {
        let tensor = ints(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let to = |shape: &[i64]| run("Reshape", 14, vec![], &[&tensor, &ints(&[shape.len()], shape)]);
        assert_eq!(to(&[-1, 2]).unwrap()[0].shape(), [3, 2]);
        assert_eq!(to(&[0, -1, 1]).unwrap()[0].shape(), [2, 3, 1]);
        for bad in [&[4, 2][..], &[-1, -1], &[-1, 4], &[0, 0, 0]] {
            assert!(to(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn slices_take_steps_and_negative_places() {
        let tensor = ints(&[2, 4], &[0, 1, 2, 3, 4, 5, 6, 7]);
        let cut = |start, end, step| {
            let one = |value| ints(&[1], &[value]);
            run("Slice", 13, vec![], &[&tensor, &one(start), &one(end), &one(1), &one(step)]).unwrap()[0]
                .to_i64()
                .unwrap()
        };
        assert_eq!(cut(1, 3, 1), [1, 2, 5, 6]);
        assert_eq!(cut(-1, i64::MIN, -2), [3, 1, 7, 5]);
        assert_eq!(cut(0, i64::MAX, 3), [0, 3, 4, 7]);
        assert_eq!(cut(3, 1, 1), [0_i64; 0]);
    }

    #[test]
    fn gather_squeeze_and_transpose_follow_the_dimensions() {
        let tensor = ints(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let out =
            run("Gather", 13, vec![("axis", Attribute::Int(1))], &[&tensor, &ints(&[2], &[-1, 0])]).unwrap();
        assert_eq!(out[0].to_i64().unwrap(), [3, 1, 6, 4]);
        assert!(run("Gather", 13, vec![("axis", Attribute::Int(1))], &[&tensor, &ints(&[1], &[3])]).is_err());
        let out = run("Transpose", 13, vec![], &[&tensor]).unwrap();
        assert_eq!((out[0].shape(), out[0].to_i64().unwrap()), (&[3, 2][..], vec![1, 4, 2, 5, 3, 6]));
        let wide = run("Unsqueeze", 13, vec![], &[&tensor, &ints(&[1], &[0])]).unwrap();
        assert_eq!(wide[0].shape(), [1, 2, 3]);
        assert_eq!(run("Squeeze", 13, vec![], &[&wide[0]]).unwrap()[0].shape(), [2, 3]);
    }

    #[test]
    fn casts_read_and_write_texts() {
        let texts = Tensor::new(vec![2], Data::Text(vec!["1.5".into(), " 2 ".into()])).unwrap();
        let to = |tensor: &Tensor, kind| run("Cast", 13, vec![("to", Attribute::Int(kind))], &[tensor]);
        let numbers = to(&texts, element::FLOAT).unwrap();
        assert_eq!(numbers[0].data(), &Data::F32(vec![1.5, 2.0]));
        assert_eq!(
            to(&numbers[0], element::STRING).unwrap()[0].data(),
            &Data::Text(vec!["1.5".into(), "2".into()])
        );
        assert!(to(&texts, element::INT64).is_err());
        assert!(to(&texts, 16).is_err());
    }
}
