//! Feature preparation: what turns columns into the numbers that a model is fitted on.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Compiled, Settings, Values, input, single, unary};
use crate::engine::tensor::{Data, Outcome, Tensor, around, elements, gather_runs, shape_text};
use crate::onnx::model::texts;

/// `Imputer`: a missing value becomes the feature's stand-in.
pub fn imputer(settings: &Settings<'_>) -> Outcome<Compiled> {
    let ints = settings.ints("imputed_value_int64s")?.to_vec();
    let floats = settings.floats("imputed_value_floats")?.to_vec();
    let missing_int = settings.int("replaced_value_int64", 0)?;
    let missing_float = settings.float("replaced_value_float", f32::NAN)?;
    unary(move |tensor| {
        let (_, width) = tensor.rows_and_width();
        let data = match tensor.data() {
            Data::I64(values) => {
                check_width(ints.len(), width)?;
                let stand_ins = ints.iter().cycle().take(width.max(1)).cycle();
                Data::I64(
                    values
                        .iter()
                        .zip(stand_ins)
                        .map(|(value, stand_in)| if *value == missing_int { *stand_in } else { *value })
                        .collect(),
                )
            }
            Data::F64(values) => {
                check_width(floats.len(), width)?;
                let missing = f64::from(missing_float);
                let stand_ins = floats.iter().cycle().take(width.max(1)).cycle();
                Data::F64(
                    values
                        .iter()
                        .zip(stand_ins)
                        .map(|(value, stand_in)| {
                            let gone = value.is_nan() && missing.is_nan() || *value == missing;
                            if gone { f64::from(*stand_in) } else { *value }
                        })
                        .collect(),
                )
            }
            Data::F32(_) | Data::Bool(_) => {
                check_width(floats.len(), width)?;
                let stand_ins = floats.iter().cycle().take(width.max(1)).cycle();
                let mut values = tensor.to_f32()?;
                for (value, stand_in) in values.iter_mut().zip(stand_ins) {
                    if value.is_nan() && missing_float.is_nan() || *value == missing_float {
                        *value = *stand_in;
                    }
                }
                Data::F32(values)
            }
            Data::Text(_) => return Err("it cannot fill in texts".to_owned()),
        };
        Tensor::new(tensor.shape().to_vec(), data)
    })
}

/// One value for all features, or one for each.
fn check_width(given: usize, width: usize) -> Outcome<()> {
    if given == 1 || given == width {
        return Ok(());
    }
    Err(format!("it has {given} values for {width} features"))
}

/// `Scaler`: (x - offset) * scale, in 64 bits and then rounded, as scikit-learn does.
pub fn scaler(settings: &Settings<'_>) -> Outcome<Compiled> {
    let wide =
        |name| Ok::<_, String>(settings.floats(name)?.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
    let (offset, scale) = (wide("offset")?, wide("scale")?);
    unary(move |tensor| {
        let (_, width) = tensor.rows_and_width();
        check_width(offset.len(), width)?;
        check_width(scale.len(), width)?;
        let offsets = offset.iter().cycle().take(width.max(1)).cycle();
        let scales = scale.iter().cycle().take(width.max(1)).cycle();
        let values = tensor.to_f64()?;
        let scaled =
            values.iter().zip(offsets.zip(scales)).map(|(value, (offset, scale))| (value - offset) * scale);
        let data = match tensor.data() {
            Data::F64(_) => Data::F64(scaled.collect()),
            Data::F32(_) | Data::I64(_) | Data::Bool(_) | Data::Text(_) => {
                Data::F32(scaled.map(|value| value as f32).collect())
            }
        };
        Tensor::new(tensor.shape().to_vec(), data)
    })
}

/// `Normalizer`: each row over its norm; a row of zeros stays.
pub fn normalizer(settings: &Settings<'_>) -> Outcome<Compiled> {
    let norm: fn(&[f64]) -> f64 = match settings.text("norm", "MAX")? {
        b"MAX" => |row| row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        b"L1" => |row| row.iter().map(|value| value.abs()).sum(),
        b"L2" => |row| row.iter().map(|value| value * value).sum::<f64>().sqrt(),
        other => return Err(format!("there is no norm `{}`", String::from_utf8_lossy(other))),
    };
    unary(move |tensor| {
        let (_, width) = tensor.rows_and_width();
        let mut values = tensor.to_f64()?;
        for row in values.chunks_mut(width.max(1)) {
            let by = norm(row);
            if by != 0.0 {
                row.iter_mut().for_each(|value| *value /= by);
            }
        }
        Tensor::new(tensor.shape().to_vec(), Data::F32(values.iter().map(|value| *value as f32).collect()))
    })
}

/// `Binarizer`: 1 above the threshold, else 0.
pub fn binarizer(settings: &Settings<'_>) -> Outcome<Compiled> {
    let threshold = settings.float("threshold", 0.0)?;
    unary(move |tensor| {
        let values =
            tensor.to_f32()?.iter().map(|value| if *value > threshold { 1.0 } else { 0.0 }).collect();
        Tensor::new(tensor.shape().to_vec(), Data::F32(values))
    })
}

/// `OneHotEncoder`: a value becomes a row of zeros with a one at its category's place.
pub fn one_hot_encoder(settings: &Settings<'_>) -> Outcome<Compiled> {
    let words = texts(settings.texts("cats_strings")?).map_err(|error| error.to_string())?;
    let numbers = settings.ints("cats_int64s")?;
    let zeros = settings.int("zeros", 1)? != 0;
    let categories = words.len().max(numbers.len());
    let words: HashMap<Arc<str>, usize> =
        words.into_iter().enumerate().map(|(place, word)| (word, place)).collect();
    let numbers: HashMap<i64, usize> =
        numbers.iter().enumerate().map(|(place, number)| (*number, place)).collect();
    Ok(Compiled::plain(Box::new(move |inputs, values| {
        let tensor = input(inputs, 0)?;
        let mut shape = tensor.shape().to_vec();
        shape.push(categories);
        let mut ones = vec![0.0_f32; elements(&shape)?];
        let mut mark = |index: usize, place: Option<usize>, value: &dyn Fn() -> String| match place {
            Some(place) => {
                if let Some(one) = ones.get_mut(index * categories + place) {
                    *one = 1.0;
                }
                Ok(())
            }
            None if zeros || values == Values::MadeUp => Ok(()),
            None => Err(format!("`{}` is none of the categories that it was trained on", value())),
        };
        match tensor.data() {
            Data::Text(values) => {
                for (index, value) in values.iter().enumerate() {
                    mark(index, words.get(value).copied(), &|| value.chars().take(100).collect())?;
                }
            }
            Data::I64(_) | Data::F32(_) | Data::F64(_) | Data::Bool(_) => {
                for (index, value) in tensor.to_f64()?.iter().enumerate() {
                    // A fraction or a missing value is no category.
                    let whole = (value.fract() == 0.0).then_some(*value as i64);
                    mark(index, whole.and_then(|value| numbers.get(&value)).copied(), &|| value.to_string())?;
                }
            }
        }
        Ok(vec![Tensor::new(shape, Data::F32(ones))?])
    })))
}

/// A key that a label can be looked up by. Numbers go by their bits, so that a missing value can be one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Text(Arc<str>),
    Int(i64),
    Float(u64),
}

fn keys(data: &Data) -> Vec<Key> {
    let bits = |value: f64| Key::Float(if value.is_nan() { f64::NAN } else { value + 0.0 }.to_bits());
    match data {
        Data::Text(values) => values.iter().map(|value| Key::Text(Arc::clone(value))).collect(),
        Data::I64(values) => values.iter().map(|value| Key::Int(*value)).collect(),
        Data::Bool(values) => values.iter().map(|value| Key::Int(i64::from(*value))).collect(),
        Data::F32(values) => values.iter().map(|value| bits(f64::from(*value))).collect(),
        Data::F64(values) => values.iter().map(|value| bits(*value)).collect(),
    }
}

/// `LabelEncoder`: one label for another, by a list of pairs.
pub fn label_encoder(settings: &Settings<'_>) -> Outcome<Compiled> {
    if settings.has("classes_strings") {
        return first_label_encoder(settings);
    }
    let keys = keys(&side(settings, "keys")?);
    let values = side(settings, "values")?;
    if keys.len() != values.len() {
        return Err(format!("it has {} keys for {} values", keys.len(), values.len()));
    }
    let default = label_default(settings, &values)?;
    let places: HashMap<Key, usize> =
        keys.into_iter().enumerate().rev().map(|(place, key)| (key, place)).collect();
    unary(move |tensor| Tensor::new(tensor.shape().to_vec(), look_up(tensor, &places, &values, &default)))
}

/// The first form: a list of texts, each with its place; from either to the other.
fn first_label_encoder(settings: &Settings<'_>) -> Outcome<Compiled> {
    let words = texts(settings.texts("classes_strings")?).map_err(|error| error.to_string())?;
    let numbers = Data::I64((0..words.len() as i64).collect());
    let default_int = Data::I64(vec![settings.int("default_int64", -1)?]);
    let default_word = String::from_utf8_lossy(settings.text("default_string", "_Unused")?).into_owned();
    let default_word = Data::Text(vec![default_word.into()]);
    let words = Data::Text(words);
    let index = |data: &Data| keys(data).into_iter().enumerate().map(|(place, key)| (key, place)).collect();
    let (by_word, by_number): (HashMap<_, _>, HashMap<_, _>) = (index(&words), index(&numbers));
    unary(move |tensor| {
        let data = match tensor.data() {
            Data::Text(_) => look_up(tensor, &by_word, &numbers, &default_int),
            Data::I64(_) | Data::F32(_) | Data::F64(_) | Data::Bool(_) => {
                look_up(tensor, &by_number, &words, &default_word)
            }
        };
        Tensor::new(tensor.shape().to_vec(), data)
    })
}

/// One side of the pairs, in whichever of the attributes it stands.
fn side(settings: &Settings<'_>, name: &str) -> Outcome<Data> {
    if let Some(tensor) = settings.tensor(&format!("{name}_tensor"))? {
        return Ok(tensor.data().clone());
    }
    let (words, numbers, floats) =
        (format!("{name}_strings"), format!("{name}_int64s"), format!("{name}_floats"));
    if settings.has(&words) {
        return texts(settings.texts(&words)?).map(Data::Text).map_err(|error| error.to_string());
    }
    if settings.has(&numbers) {
        return Ok(Data::I64(settings.ints(&numbers)?.to_vec()));
    }
    if settings.has(&floats) {
        return Ok(Data::F32(settings.floats(&floats)?.to_vec()));
    }
    Err(format!("it has no {name}"))
}

fn label_default(settings: &Settings<'_>, values: &Data) -> Outcome<Data> {
    let default = match settings.tensor("default_tensor")? {
        Some(tensor) => tensor.data().clone(),
        None => match values {
            Data::Text(_) => {
                let word = String::from_utf8_lossy(settings.text("default_string", "_Unused")?).into_owned();
                Data::Text(vec![word.into()])
            }
            Data::F32(_) => Data::F32(vec![settings.float("default_float", 0.0)?]),
            Data::F64(_) => Data::F64(vec![f64::from(settings.float("default_float", 0.0)?)]),
            Data::I64(_) | Data::Bool(_) => Data::I64(vec![settings.int("default_int64", -1)?]),
        },
    };
    if default.len() != 1 || std::mem::discriminant(&default) != std::mem::discriminant(values) {
        return Err("its default is not one value of the type of its values".to_owned());
    }
    Ok(default)
}

fn look_up(tensor: &Tensor, places: &HashMap<Key, usize>, values: &Data, default: &Data) -> Data {
    fn pick<T: Clone>(found: &[Option<usize>], values: &[T], default: &[T]) -> Vec<T> {
        let at =
            |place: &Option<usize>| place.and_then(|place| values.get(place)).or_else(|| default.first());
        found.iter().filter_map(at).cloned().collect()
    }
    let found: Vec<Option<usize>> = keys(tensor.data()).iter().map(|key| places.get(key).copied()).collect();
    match (values, default) {
        (Data::Text(values), Data::Text(default)) => Data::Text(pick(&found, values, default)),
        (Data::I64(values), Data::I64(default)) => Data::I64(pick(&found, values, default)),
        (Data::F32(values), Data::F32(default)) => Data::F32(pick(&found, values, default)),
        (Data::F64(values), Data::F64(default)) => Data::F64(pick(&found, values, default)),
        (Data::Bool(values), Data::Bool(default)) => Data::Bool(pick(&found, values, default)),
        // `label_default` lets no other pair through.
        _ => values.clone(),
    }
}

/// `FeatureVectorizer`: columns beside each other, as 32-bit floats (64-bit where all of them are).
pub fn feature_vectorizer(_: &Settings<'_>) -> Outcome<Compiled> {
    single(|inputs| {
        let tensors: Vec<&Tensor> = inputs.iter().copied().flatten().collect();
        let rows = tensors.first().ok_or("it has no inputs")?.rows_and_width().0;
        let widths: Vec<usize> = tensors.iter().map(|tensor| tensor.rows_and_width().1).collect();
        let width = widths.iter().sum();
        let count = elements(&[rows, width])?;
        if tensors.iter().any(|tensor| tensor.rows_and_width().0 != rows) {
            return Err("its inputs differ in rows".to_owned());
        }
        let columns = tensors.iter().map(|tensor| tensor.to_f64()).collect::<Outcome<Vec<_>>>()?;
        let mut all = Vec::with_capacity(count);
        for row in 0..rows {
            for (column, width) in columns.iter().zip(&widths) {
                all.extend_from_slice(column.get(row * width..(row + 1) * width).unwrap_or_default());
            }
        }
        let wide = tensors.iter().all(|tensor| matches!(tensor.data(), Data::F64(_)));
        let data = if wide { Data::F64(all) } else { Data::F32(all.iter().map(|v| *v as f32).collect()) };
        Tensor::new(vec![rows, width], data)
    })
}

/// `ArrayFeatureExtractor`: some columns by their number.
pub fn array_feature_extractor(_: &Settings<'_>) -> Outcome<Compiled> {
    single(|inputs| {
        let (table, wanted) = (input(inputs, 0)?, input(inputs, 1)?.to_i64()?);
        let shape = if table.shape().is_empty() { vec![1] } else { table.shape().to_vec() };
        let (outer, size, inner) = around(&shape, shape.len() - 1);
        let mut out = shape.clone();
        if let Some(last) = out.last_mut() {
            *last = wanted.len();
        }
        // A vector is taken as one row.
        if out.len() == 1 {
            out.insert(0, 1);
        }
        elements(&out)?;
        let places = wanted
            .iter()
            .map(|place| usize::try_from(*place).ok().filter(|place| *place < size))
            .collect::<Option<Vec<usize>>>()
            .ok_or_else(|| format!("a column number is not among the columns of {}", shape_text(&shape)))?;
        let starts = (0..outer).flat_map(|row| places.iter().map(move |place| row * size + place));
        Tensor::new(out, gather_runs(table.data(), starts, inner))
    })
}

/// `ZipMap`: probabilities by label. The table of probabilities is kept as it is; the labels are noted.
pub fn zip_map(settings: &Settings<'_>) -> Outcome<Compiled> {
    let mut compiled = unary(|tensor| Ok(tensor.clone()))?;
    compiled.classes = class_labels(settings, "classlabels_int64s", "classlabels_strings")?;
    Ok(compiled)
}

/// Class labels in whichever of two attributes they stand.
pub(super) fn class_labels(settings: &Settings<'_>, ints: &str, words: &str) -> Outcome<Vec<String>> {
    if settings.has(words) {
        let labels = texts(settings.texts(words)?).map_err(|error| error.to_string())?;
        if !labels.is_empty() {
            return Ok(labels.iter().map(|label| label.as_ref().to_owned()).collect());
        }
    }
    Ok(settings.ints(ints)?.iter().map(i64::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;
    use crate::onnx::Attribute;

    fn words(all: &[&str]) -> Tensor {
        Tensor::new(vec![all.len(), 1], Data::Text(all.iter().map(|word| Arc::from(*word)).collect()))
            .unwrap()
    }

    #[test]
    fn unknown_words_are_all_zeros_or_refused() {
        let cats = || Attribute::Texts(vec![b"a", b"b"]);
        let input = words(&["b", "z"]);
        let out = run("ai.onnx.ml.OneHotEncoder", 1, vec![("cats_strings", cats())], &[&input]).unwrap();
        assert_eq!(out[0].shape(), [2, 1, 2]);
        assert_eq!(out[0].data(), &Data::F32(vec![0.0, 1.0, 0.0, 0.0]));
        let strict = vec![("cats_strings", cats()), ("zeros", Attribute::Int(0))];
        assert!(run("ai.onnx.ml.OneHotEncoder", 1, strict, &[&input]).is_err());
    }

    #[test]
    fn labels_map_both_ways_and_have_a_default() {
        let pairs = vec![
            ("keys_strings", Attribute::Texts(vec![b"a", b"b"])),
            ("values_int64s", Attribute::Ints(vec![5, 6])),
            ("default_int64", Attribute::Int(-7)),
        ];
        let out = run("ai.onnx.ml.LabelEncoder", 2, pairs, &[&words(&["b", "?", "a"])]).unwrap();
        assert_eq!(out[0].data(), &Data::I64(vec![6, -7, 5]));
        let first = vec![("classes_strings", Attribute::Texts(vec![b"a", b"b"]))];
        let numbers = Tensor::new(vec![2], Data::I64(vec![1, 9])).unwrap();
        let out = run("ai.onnx.ml.LabelEncoder", 1, first, &[&numbers]).unwrap();
        assert_eq!(out[0].data(), &Data::Text(vec!["b".into(), "_Unused".into()]));
    }

    #[test]
    fn a_missing_number_can_be_a_key() {
        let pairs = vec![
            ("keys_floats", Attribute::Floats(vec![1.0, f32::NAN])),
            ("values_floats", Attribute::Floats(vec![10.0, 20.0])),
        ];
        let input = Tensor::new(vec![2], Data::F32(vec![f32::NAN, 1.0])).unwrap();
        let out = run("ai.onnx.ml.LabelEncoder", 2, pairs, &[&input]).unwrap();
        assert_eq!(out[0].data(), &Data::F32(vec![20.0, 10.0]));
    }

    #[test]
    fn every_norm_and_stand_in_is_taken_by_row_and_feature() {
        let table = Tensor::table(2, 2, vec![3.0, 4.0, 0.0, 0.0]).unwrap();
        let norm = |name: &'static [u8]| {
            run("ai.onnx.ml.Normalizer", 1, vec![("norm", Attribute::Text(name))], &[&table]).unwrap()[0]
                .to_f32()
                .unwrap()
        };
        assert_eq!(norm(b"L2"), [0.6, 0.8, 0.0, 0.0]);
        assert_eq!(norm(b"MAX"), [0.75, 1.0, 0.0, 0.0]);
        assert!((norm(b"L1")[0] - 3.0 / 7.0).abs() < 1e-6);
        let gaps = Tensor::table(2, 2, vec![f32::NAN, 4.0, 0.0, f32::NAN]).unwrap();
        let stand_ins = vec![("imputed_value_floats", Attribute::Floats(vec![7.0, 8.0]))];
        let out = run("ai.onnx.ml.Imputer", 1, stand_ins, &[&gaps]).unwrap();
        assert_eq!(out[0].data(), &Data::F32(vec![7.0, 4.0, 0.0, 8.0]));
        let three = vec![("imputed_value_floats", Attribute::Floats(vec![7.0, 8.0, 9.0]))];
        assert!(run("ai.onnx.ml.Imputer", 1, three, &[&gaps]).is_err());
    }

    #[test]
    fn columns_are_taken_by_number_and_never_beyond_the_end() {
        let table = Tensor::table(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let take = |places: Vec<i64>| {
            let places = Tensor::new(vec![places.len()], Data::I64(places)).unwrap();
            run("ai.onnx.ml.ArrayFeatureExtractor", 1, vec![], &[&table, &places])
        };
        assert_eq!(take(vec![2, 0]).unwrap()[0].data(), &Data::F32(vec![3.0, 1.0, 6.0, 4.0]));
        assert!(take(vec![3]).is_err() && take(vec![-1]).is_err());
    }
}
