//! For which rows of a batch a condition holds: one byte a row, false, true or unknown.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::{Comparison, Literal, Node, Operand};
use crate::checks::layout::Named;
use crate::checks::rows::{is_missing, numbers};
use crate::moment::{self, Moment};

const NO: u8 = 0;
pub(super) const YES: u8 = 1;
const UNKNOWN: u8 = 2;

fn truth(holds: bool) -> u8 {
    if holds { YES } else { NO }
}

pub(super) fn evaluate(node: &Node, batch: &Named<'_>) -> Vec<u8> {
    let rows = batch.num_rows();
    match node {
        Node::Not(inner) => {
            let flip = |truth| match truth {
                NO => YES,
                YES => NO,
                _ => UNKNOWN,
            };
            evaluate(inner, batch).into_iter().map(flip).collect()
        }
        Node::And(parts) => join(parts, batch, YES, |a, b| match (a, b) {
            (NO, _) | (_, NO) => NO,
            (YES, YES) => YES,
            _ => UNKNOWN,
        }),
        Node::Or(parts) => join(parts, batch, NO, |a, b| match (a, b) {
            (YES, _) | (_, YES) => YES,
            (NO, NO) => NO,
            _ => UNKNOWN,
        }),
        Node::Null(column, wanted) => match batch.array(column) {
            Some(array) => (0..rows).map(|row| truth(is_missing(array, row) == *wanted)).collect(),
            None => vec![UNKNOWN; rows],
        },
        Node::Truth(column) => match batch.array(column).and_then(|array| array.as_boolean_opt()) {
            Some(array) => array.iter().map(|value| value.map_or(UNKNOWN, truth)).collect(),
            None => vec![UNKNOWN; rows],
        },
        Node::In(operand, list, wanted) => {
            let one = |literal: &Literal| {
                compare(operand, Comparison::Equal, &Operand::Literal(literal.clone()), batch)
            };
            let mut found = vec![NO; rows];
            for literal in list {
                for (slot, truth) in found.iter_mut().zip(one(literal)) {
                    *slot = if *slot == YES { YES } else { truth };
                }
            }
            if !wanted {
                for slot in &mut found {
                    *slot = match *slot {
                        NO => YES,
                        YES => NO,
                        _ => UNKNOWN,
                    };
                }
            }
            found
        }
        Node::Compare(left, comparison, right) => compare(left, *comparison, right, batch),
    }
}

fn join(parts: &[Node], batch: &Named<'_>, start: u8, both: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    let mut all = vec![start; batch.num_rows()];
    for part in parts {
        for (slot, truth) in all.iter_mut().zip(evaluate(part, batch)) {
            *slot = both(*slot, truth);
        }
    }
    all
}

/// The values of an operand in a batch.
enum Values<'a> {
    Numbers(Vec<Option<f64>>),
    Texts(&'a ArrayRef),
    Truths(Vec<Option<bool>>),
    Text(&'a str),
    Truth(bool),
    Number(f64),
    Nothing,
}

fn values<'a>(operand: &'a Operand, batch: &'a Named<'a>) -> Values<'a> {
    match operand {
        Operand::Literal(Literal::Number(number)) => Values::Number(*number),
        Operand::Literal(Literal::Text(text)) => Values::Text(text),
        Operand::Literal(Literal::Truth(truth)) => Values::Truth(*truth),
        Operand::Column(name) => match batch.array(name) {
            Some(array) => match array.data_type() {
                DataType::Utf8 => Values::Texts(array),
                DataType::Boolean => Values::Truths(array.as_boolean().iter().collect()),
                _ => Values::Numbers(numbers(array)),
            },
            None => Values::Nothing,
        },
        Operand::Sum(left, sign, right) => {
            let rows = batch.num_rows();
            let side = |operand| match values(operand, batch) {
                Values::Number(number) => vec![Some(number); rows],
                Values::Numbers(numbers) => numbers,
                _ => vec![None; rows],
            };
            let pairs = side(left).into_iter().zip(side(right));
            let sums = pairs.map(|(a, b)| {
                let (a, b) = (a?, b?);
                let value = match sign {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    _ => a / b,
                };
                Some(value).filter(|value| !value.is_nan())
            });
            Values::Numbers(sums.collect())
        }
    }
}

fn compare(left: &Operand, comparison: Comparison, right: &Operand, batch: &Named<'_>) -> Vec<u8> {
    let rows = batch.num_rows();
    let moment = |operand: &Operand| match operand {
        Operand::Column(name) => {
            batch.array(name).is_some_and(|array| matches!(array.data_type(), DataType::Timestamp(_, _)))
        }
        _ => false,
    };
    let told = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => a.partial_cmp(&b).map_or(UNKNOWN, |order| truth(comparison.holds(order))),
        _ => UNKNOWN,
    };
    let text_at = |array: &ArrayRef, row: usize| -> Option<String> {
        let array = array.as_string_opt::<i32>()?;
        (!array.is_null(row)).then(|| array.value(row).to_owned())
    };
    match (values(left, batch), values(right, batch)) {
        (Values::Numbers(a), Values::Numbers(b)) => a.into_iter().zip(b).map(|(a, b)| told(a, b)).collect(),
        (Values::Numbers(a), Values::Number(b)) => a.into_iter().map(|a| told(a, Some(b))).collect(),
        (Values::Number(a), Values::Numbers(b)) => b.into_iter().map(|b| told(Some(a), b)).collect(),
        (Values::Numbers(a), Values::Text(text)) if moment(left) => {
            let b = moment::parse(text).map(|micros| Moment(micros).scale());
            a.into_iter().map(|a| told(a, b)).collect()
        }
        (Values::Text(text), Values::Numbers(b)) if moment(right) => {
            let a = moment::parse(text).map(|micros| Moment(micros).scale());
            b.into_iter().map(|b| told(a, b)).collect()
        }
        (Values::Texts(array), Values::Text(text)) => {
            let Some(array) = array.as_string_opt::<i32>() else { return vec![UNKNOWN; rows] };
            array.iter().map(|a| a.map_or(UNKNOWN, |a| truth(comparison.holds(a.cmp(text))))).collect()
        }
        (Values::Text(text), Values::Texts(array)) => {
            let Some(array) = array.as_string_opt::<i32>() else { return vec![UNKNOWN; rows] };
            array.iter().map(|b| b.map_or(UNKNOWN, |b| truth(comparison.holds(text.cmp(b))))).collect()
        }
        (Values::Texts(a), Values::Texts(b)) => (0..rows)
            .map(|row| match (text_at(a, row), text_at(b, row)) {
                (Some(a), Some(b)) => truth(comparison.holds(a.cmp(&b))),
                _ => UNKNOWN,
            })
            .collect(),
        (Values::Truths(a), Values::Truth(b)) => {
            a.into_iter().map(|a| a.map_or(UNKNOWN, |a| truth(comparison.holds(a.cmp(&b))))).collect()
        }
        (Values::Truth(a), Values::Truths(b)) => {
            b.into_iter().map(|b| b.map_or(UNKNOWN, |b| truth(comparison.holds(a.cmp(&b))))).collect()
        }
        (Values::Truths(a), Values::Truths(b)) => a
            .into_iter()
            .zip(b)
            .map(|(a, b)| match (a, b) {
                (Some(a), Some(b)) => truth(comparison.holds(a.cmp(&b))),
                _ => UNKNOWN,
            })
            .collect(),
        (Values::Number(a), Values::Number(b)) => vec![told(Some(a), Some(b)); rows],
        (Values::Text(a), Values::Text(b)) => vec![truth(comparison.holds(a.cmp(b))); rows],
        (Values::Truth(a), Values::Truth(b)) => vec![truth(comparison.holds(a.cmp(&b))); rows],
        _ => vec![UNKNOWN; rows],
    }
}
