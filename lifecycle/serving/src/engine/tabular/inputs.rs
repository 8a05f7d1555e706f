//! A graph's inputs: which columns a model takes, by what names, and how they become tensors.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use rondo_core::signature::{Column, ColumnType};

use crate::engine::tensor::{Data, Tensor};
use crate::engine::{Batch, LoadOptions, Values};
use crate::error::{Error, Result};
use crate::onnx::model::element;
use crate::onnx::{Model, ValueInfo};

/// Columns that a model may take.
const MAX_COLUMNS: usize = 20_000;

/// An input of the graph and the columns that fill it.
#[derive(Debug)]
pub(super) struct Input {
    /// Where its tensor goes.
    pub slot: usize,
    element: i64,
    flat: bool,
    columns: Range<usize>,
}

/// The slots of a graph's values by name.
#[derive(Default)]
pub(super) struct Names<'a> {
    slots: HashMap<&'a str, usize>,
    /// How many slots there are.
    pub count: usize,
}

impl<'a> Names<'a> {
    /// A new slot for a value that nothing gave so far.
    pub fn define(&mut self, name: &'a str) -> Result<usize> {
        let slot = self.count;
        if self.slots.insert(name, slot).is_some() {
            return Err(Error::not_a_model(format!("the value `{name}` is given twice")));
        }
        self.count += 1;
        Ok(slot)
    }

    /// The slot of a value that is given.
    pub fn find(&self, name: &str, who: &str) -> Result<usize> {
        self.slots.get(name).copied().ok_or_else(|| {
            Error::not_a_model(format!("{who} takes the value `{name}`, which nothing before it gives"))
        })
    }
}

/// The graph's inputs and the columns that fill them.
pub(super) fn bind<'a>(
    model: &Model<'a>,
    options: &LoadOptions,
    names: &mut Names<'a>,
) -> Result<(Vec<Input>, Vec<Column>)> {
    let infos: Vec<&ValueInfo<'a>> =
        model.graph.inputs.iter().filter(|info| !names.slots.contains_key(info.name)).collect();
    if infos.is_empty() {
        return Err(Error::ModelShape {
            reason: "it has no inputs".to_owned(),
            hint: "export the model with its features as inputs".to_owned(),
        });
    }
    let mut given = options.columns.clone();
    if given.is_empty()
        && let Some((_, text)) = model.metadata.iter().find(|(key, _)| *key == "feature_names")
    {
        given = serde_json::from_str(text).unwrap_or_default();
    }
    let (mut inputs, mut columns) = (Vec::new(), Vec::<Column>::new());
    for info in &infos {
        let element =
            info.element.filter(|kind| column_type(*kind).is_some()).ok_or_else(|| unusable(info))?;
        let (flat, width) = match info.shape.as_deref() {
            None | Some([_, None]) => (false, None),
            Some([_]) => (true, Some(1)),
            Some([_, Some(width)]) => (false, Some(*width)),
            Some(_) => return Err(unusable(info)),
        };
        let own = column_names(info, width, infos.len() == 1, &given)?;
        let start = columns.len();
        let kind = column_type(element).unwrap_or(ColumnType::Other);
        columns.extend(own.into_iter().map(|name| Column {
            name,
            column_type: kind,
            nullable: kind == ColumnType::Number,
        }));
        if columns.len() > MAX_COLUMNS {
            return Err(Error::not_a_model(format!("it takes more than {MAX_COLUMNS} columns")));
        }
        inputs.push(Input { slot: names.define(info.name)?, element, flat, columns: start..columns.len() });
    }
    let mut seen = HashSet::new();
    match columns.iter().find(|column| !seen.insert(column.name.as_str())) {
        Some(column) => Err(Error::not_a_model(format!("it takes the column `{}` twice", column.name))),
        None => Ok((inputs, columns)),
    }
}

/// The names of the columns of one input.
fn column_names(
    info: &ValueInfo<'_>,
    width: Option<usize>,
    alone: bool,
    given: &[String],
) -> Result<Vec<String>> {
    let mismatch = |width: usize| Error::ModelShape {
        reason: format!("it takes {width} features, and its signature names {}", given.len()),
        hint: "register the model with the signature of its training columns".to_owned(),
    };
    match width {
        Some(width) if alone && !given.is_empty() && (width > 1 || given.len() == 1) => {
            if given.len() == width { Ok(given.to_vec()) } else { Err(mismatch(width)) }
        }
        Some(1) => Ok(vec![info.name.to_owned()]),
        Some(width) if width <= MAX_COLUMNS => Ok((0..width).map(|i| format!("{}_{i}", info.name)).collect()),
        Some(width) => Err(Error::not_a_model(format!("it takes {width} columns"))),
        None if alone && !given.is_empty() => Ok(given.to_vec()),
        None => Err(Error::ModelShape {
            reason: format!("it does not say how many columns its input `{}` has", info.name),
            hint: "register the model with the signature of its training columns".to_owned(),
        }),
    }
}

fn unusable(info: &ValueInfo<'_>) -> Error {
    Error::ModelShape {
        reason: format!("its input `{}` is neither a column nor a table of columns", info.name),
        hint: "export the model with one input of the shape [None, 1] for each column".to_owned(),
    }
}

/// The column type of an ONNX element type.
const fn column_type(kind: i64) -> Option<ColumnType> {
    use element::*;
    match kind {
        FLOAT | DOUBLE => Some(ColumnType::Number),
        UINT8 | INT8 | UINT16 | INT16 | INT32 | INT64 | UINT32 | UINT64 => Some(ColumnType::Integer),
        STRING => Some(ColumnType::String),
        BOOL => Some(ColumnType::Boolean),
        _ => None,
    }
}

/// The tensor of an input from its columns.
pub(super) fn fill(input: &Input, batch: &Batch) -> Result<Tensor> {
    let misfit = || Error::Internal { reason: "the batch does not fit the model's signature".to_owned() };
    let columns = batch.columns().get(input.columns.clone()).ok_or_else(misfit)?;
    fn rows<T: Clone, U>(columns: Vec<&[T]>, rows: usize, convert: impl Fn(T) -> U) -> Vec<U> {
        let mut all = Vec::with_capacity(rows * columns.len());
        for row in 0..rows {
            all.extend(columns.iter().filter_map(|column| column.get(row).cloned()).map(&convert));
        }
        all
    }
    fn all<'c, T>(columns: &'c [Values], take: fn(&'c Values) -> Option<&'c [T]>) -> Option<Vec<&'c [T]>> {
        columns.iter().map(take).collect()
    }
    let as_numbers: fn(&Values) -> Option<&[f64]> =
        |column| if let Values::Number(values) = column { Some(values) } else { None };
    let as_integers: fn(&Values) -> Option<&[i64]> =
        |column| if let Values::Integer(values) = column { Some(values) } else { None };
    let as_booleans: fn(&Values) -> Option<&[bool]> =
        |column| if let Values::Boolean(values) = column { Some(values) } else { None };
    let as_texts: fn(&Values) -> Option<&[Arc<str>]> =
        |column| if let Values::Text(values) = column { Some(values) } else { None };
    let count = batch.rows();
    let data = match input.element {
        element::FLOAT => {
            Data::F32(rows(all(columns, as_numbers).ok_or_else(misfit)?, count, |value| value as f32))
        }
        element::DOUBLE => {
            Data::F64(rows(all(columns, as_numbers).ok_or_else(misfit)?, count, |value| value))
        }
        element::STRING => Data::Text(rows(all(columns, as_texts).ok_or_else(misfit)?, count, |value| value)),
        element::BOOL => {
            Data::Bool(rows(all(columns, as_booleans).ok_or_else(misfit)?, count, |value| value))
        }
        _ => Data::I64(rows(all(columns, as_integers).ok_or_else(misfit)?, count, |value| value)),
    };
    let shape = if input.flat { vec![count] } else { vec![count, columns.len()] };
    Tensor::new(shape, data).map_err(|reason| Error::form(format!("it has too many values: {reason}")))
}
