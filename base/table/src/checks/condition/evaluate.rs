//! For which rows of a batch a condition holds: one byte a row, false, true or unknown.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::{BooleanArray, StringArray};
use arrow_schema::DataType;

use super::numbers::Numbers;
use super::{Comparison, Literal, Node, Operand};
use crate::checks::layout::Named;
use crate::checks::rows::is_missing;
use crate::decimal::Decimal;
use crate::moment;

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
            let operand = values(operand, batch);
            let mut found = vec![NO; rows];
            for literal in list {
                let same = compare(&operand, Comparison::Equal, &written(literal), rows);
                for (slot, truth) in found.iter_mut().zip(same) {
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
        Node::Compare(left, comparison, right) => {
            compare(&values(left, batch), *comparison, &values(right, batch), rows)
        }
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
    Numbers(Numbers<'a>),
    Texts(&'a StringArray),
    Truths(&'a BooleanArray),
    Text(&'a str),
    Truth(bool),
    Nothing,
}

fn values<'a>(operand: &'a Operand, batch: &Named<'a>) -> Values<'a> {
    match operand {
        Operand::Literal(literal) => written(literal),
        Operand::Column(name) => match batch.array(name) {
            Some(array) => match array.data_type() {
                DataType::Utf8 => array.as_string_opt().map_or(Values::Nothing, Values::Texts),
                DataType::Boolean => array.as_boolean_opt().map_or(Values::Nothing, Values::Truths),
                _ => Values::Numbers(Numbers::of(array)),
            },
            None => Values::Nothing,
        },
        Operand::Sum(left, sign, right) => match (values(left, batch), values(right, batch)) {
            (Values::Numbers(a), Values::Numbers(b)) => {
                Values::Numbers(a.joined(*sign, &b, batch.num_rows()))
            }
            _ => Values::Nothing,
        },
    }
}

/// The value that is written.
fn written(literal: &Literal) -> Values<'_> {
    match literal {
        Literal::Number(number) => Values::Numbers(Numbers::Literal((*number).into())),
        Literal::Text(text) => Values::Text(text),
        Literal::Truth(truth) => Values::Truth(*truth),
    }
}

fn compare(left: &Values<'_>, comparison: Comparison, right: &Values<'_>, rows: usize) -> Vec<u8> {
    let told = |order: Option<Ordering>| order.map_or(UNKNOWN, |order| truth(comparison.holds(order)));
    let both = |a: &Numbers<'_>, b: &Numbers<'_>| (0..rows).map(|row| told(a.order(b, row))).collect();
    let moment = |text: &str| Some(Numbers::Literal(Decimal::moment(moment::parse(text)?).into()));
    match (left, right) {
        (Values::Numbers(a), Values::Numbers(b)) => both(a, b),
        (Values::Numbers(a), Values::Text(text)) if a.are_moments() => {
            moment(text).map_or_else(|| vec![UNKNOWN; rows], |b| both(a, &b))
        }
        (Values::Text(text), Values::Numbers(b)) if b.are_moments() => {
            moment(text).map_or_else(|| vec![UNKNOWN; rows], |a| both(&a, b))
        }
        (Values::Texts(a), Values::Text(b)) => a.iter().map(|a| told(a.map(|a| a.cmp(b)))).collect(),
        (Values::Text(a), Values::Texts(b)) => b.iter().map(|b| told(b.map(|b| (*a).cmp(b)))).collect(),
        (Values::Texts(a), Values::Texts(b)) => {
            a.iter().zip(b.iter()).map(|(a, b)| told(a.zip(b).map(|(a, b)| a.cmp(b)))).collect()
        }
        (Values::Truths(a), Values::Truth(b)) => a.iter().map(|a| told(a.map(|a| a.cmp(b)))).collect(),
        (Values::Truth(a), Values::Truths(b)) => b.iter().map(|b| told(b.map(|b| a.cmp(&b)))).collect(),
        (Values::Truths(a), Values::Truths(b)) => {
            a.iter().zip(b.iter()).map(|(a, b)| told(a.zip(b).map(|(a, b)| a.cmp(&b)))).collect()
        }
        (Values::Text(a), Values::Text(b)) => vec![told(Some(a.cmp(b))); rows],
        (Values::Truth(a), Values::Truth(b)) => vec![told(Some(a.cmp(b))); rows],
        _ => vec![UNKNOWN; rows],
    }
}
