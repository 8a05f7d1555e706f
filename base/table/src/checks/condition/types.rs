//! Whether what a condition compares can be compared in a table of these columns.

use rondo_core::signature::ColumnType;

use super::{Literal, Node, Operand, show};
use crate::checks::layout::Layout;
use crate::moment;

/// What an operand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Truth,
    Moment,
}

fn kind(operand: &Operand, columns: &Layout<'_>) -> Result<Kind, String> {
    match operand {
        Operand::Literal(Literal::Number(_)) => Ok(Kind::Number),
        Operand::Literal(Literal::Text(_)) => Ok(Kind::Text),
        Operand::Literal(Literal::Truth(_)) => Ok(Kind::Truth),
        Operand::Column(name) => match columns.type_of(name) {
            Some(ColumnType::Integer | ColumnType::Number) => Ok(Kind::Number),
            Some(ColumnType::String) => Ok(Kind::Text),
            Some(ColumnType::Boolean) => Ok(Kind::Truth),
            Some(ColumnType::Timestamp) => Ok(Kind::Moment),
            Some(ColumnType::Other) | None => Err(format!("`{name}` cannot stand in a condition")),
        },
        Operand::Sum(left, _, right) => {
            for side in [left, right] {
                if matches!(kind(side, columns)?, Kind::Text | Kind::Truth) {
                    return Err(format!("`{}` is no number in the condition", show(side)));
                }
            }
            Ok(Kind::Number)
        }
    }
}

pub(super) fn fault(node: &Node, columns: &Layout<'_>) -> Option<String> {
    let pair = |left: &Operand, right: &Operand| {
        let (a, b) = match (kind(left, columns), kind(right, columns)) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(why), _) | (_, Err(why)) => return Some(why),
        };
        let moment = |operand: &Operand| match operand {
            Operand::Literal(Literal::Text(text)) => moment::parse(text).is_some(),
            _ => false,
        };
        let fits = a == b
            || a == Kind::Moment && (moment(right) || b == Kind::Number)
            || b == Kind::Moment && (moment(left) || a == Kind::Number);
        (!fits).then(|| format!("`{}` and `{}` cannot be compared in the condition", show(left), show(right)))
    };
    match node {
        Node::Compare(left, _, right) => pair(left, right),
        Node::In(operand, list, _) => {
            list.iter().find_map(|literal| pair(operand, &Operand::Literal(literal.clone())))
        }
        Node::Truth(name) => match kind(&Operand::Column(name.clone()), columns) {
            Ok(Kind::Truth) => None,
            Ok(_) => Some(format!("`{name}` is neither true nor false in the condition")),
            Err(why) => Some(why),
        },
        Node::Null(_, _) => None,
        Node::Not(inner) => fault(inner, columns),
        Node::And(parts) | Node::Or(parts) => parts.iter().find_map(|part| fault(part, columns)),
    }
}
