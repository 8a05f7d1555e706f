//! Files that are no text: arrays of NumPy, pickles, and whatever else there is.

use std::collections::HashMap;

use rondo_table::difference::Spread;

use super::{Finding, Kind};

/// Where two contents differ first.
pub(super) fn first(old: &[u8], new: &[u8]) -> Finding {
    let at = old.iter().zip(new).position(|(a, b)| a != b).unwrap_or(old.len().min(new.len()));
    let text = if old.len() == new.len() {
        let count = old.iter().zip(new).filter(|(a, b)| a != b).count();
        format!("{count} of {} bytes differ, first at {at}", old.len())
    } else {
        format!("the first byte that differs is at {at}; it had {} bytes and has {}", old.len(), new.len())
    };
    Finding::new(Kind::Bytes, text)
}

/// Two arrays of NumPy; nothing where they cannot be read or hold no fractions.
pub(super) fn npy(old: &[u8], new: &[u8]) -> Option<Vec<Finding>> {
    let ((head_a, a), (head_b, b)) = (array(old)?, array(new)?);
    if head_a != head_b {
        let text = format!("it was {}, and is {}", head_a.trim(), head_b.trim());
        return Some(vec![Finding::new(Kind::Shape, text)]);
    }
    let mut spread = Spread::default();
    if head_a.contains("'<f8'") {
        for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
            spread.add(f64::from_le_bytes(*a), f64::from_le_bytes(*b));
        }
    } else if head_a.contains("'<f4'") {
        for (a, b) in a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0) {
            spread.add_single(f32::from_le_bytes(*a), f32::from_le_bytes(*b));
        }
    }
    (spread.count > 0).then(|| vec![Finding::numbers(spread, "")])
}

/// The header and the values of an array.
fn array(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let wide = *bytes.get(6)? >= 2;
    let (begin, length): (usize, usize) = if wide {
        (12, usize::try_from(u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?)).ok()?)
    } else {
        (10, usize::from(u16::from_le_bytes(bytes.get(8..10)?.try_into().ok()?)))
    };
    let end = begin.checked_add(length)?;
    let header = std::str::from_utf8(bytes.get(begin..end)?).ok()?;
    Some((header, bytes.get(end..)?))
}

/// One instruction of a pickle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Word<'a> {
    op: u8,
    /// Of one that repeats something, what that says.
    argument: &'a [u8],
    /// Of one that repeats something, which instruction made that.
    of: Option<usize>,
}

/// Two pickles; nothing where one is none, or more than an order or a number differs.
pub(super) fn pickle(old: &[u8], new: &[u8]) -> Option<Vec<Finding>> {
    let (mut a, mut b) = (words(old)?, words(new)?);
    if a == b {
        let text = "it holds the same, and keeps in other places what it repeats";
        return Some(vec![Finding::new(Kind::Formatting, text)]);
    }
    if a.len() == b.len() {
        let mut spread = Spread::default();
        let mut other = false;
        for (x, y) in a.iter().zip(&b) {
            match (x.op, x.argument.first_chunk::<8>(), y.argument.first_chunk::<8>()) {
                (b'G', Some(old), Some(new)) if y.op == b'G' => {
                    spread.add(f64::from_be_bytes(*old), f64::from_be_bytes(*new));
                }
                _ => other |= x != y,
            }
        }
        if !other && spread.count > 0 {
            return Some(vec![Finding::numbers(spread, "")]);
        }
    }
    // In another order what is repeated lies elsewhere: then it has to be known by what it says.
    let (known_a, known_b) = (by_content(&mut a), by_content(&mut b));
    a.sort_unstable();
    b.sort_unstable();
    (known_a && known_b && a == b)
        .then(|| vec![Finding::new(Kind::Order, "it holds the same elements in another order")])
}

/// Forgets where what is repeated was made; whether all of it is told by what it says.
fn by_content(words: &mut [Word<'_>]) -> bool {
    words
        .iter_mut()
        .filter_map(|word| Some((word.of.take()?, word.argument)))
        .all(|(_, says)| !says.is_empty())
}

/// What a pickle says, instruction by instruction, without what only remembers. It is read and never
/// carried out.
fn words(mut bytes: &[u8]) -> Option<Vec<Word<'_>>> {
    let mut words: Vec<Word<'_>> = Vec::new();
    // The instruction that made what is remembered, by the number under which it is.
    let mut memory: HashMap<u64, usize> = HashMap::new();
    loop {
        let (op, rest) = bytes.split_first()?;
        bytes = rest;
        let argument = match op {
            b'K' | b'q' | b'h' | 0x80 | 0x82 => take(&mut bytes, 1)?,
            b'M' | 0x83 => take(&mut bytes, 2)?,
            b'J' | b'r' | b'j' | 0x84 => take(&mut bytes, 4)?,
            b'G' | 0x95 => take(&mut bytes, 8)?,
            b'U' | b'C' | 0x8a | 0x8c => counted(&mut bytes, 1)?,
            b'X' | b'B' | b'T' | 0x8b => counted(&mut bytes, 4)?,
            0x8d | 0x8e | 0x96 => counted(&mut bytes, 8)?,
            b'F' | b'I' | b'L' | b'S' | b'V' | b'P' | b'p' | b'g' => line(&mut bytes)?,
            b'c' | b'i' => {
                let whole = bytes;
                let length = line(&mut bytes)?.len() + line(&mut bytes)?.len() + 2;
                whole.get(..length)?
            }
            b'('
            | b'.'
            | b'0'
            | b'1'
            | b'2'
            | b'N'
            | b'R'
            | b'Q'
            | b'a'
            | b'b'
            | b'd'
            | b'}'
            | b'e'
            | b']'
            | b'l'
            | b'o'
            | b's'
            | b't'
            | b')'
            | b'u'
            | 0x81
            | 0x85..=0x89
            | 0x8f..=0x94
            | 0x97
            | 0x98 => &[],
            _ => return None,
        };
        let last = words.len().checked_sub(1);
        match op {
            // Frames that instructions lie in.
            0x95 => {}
            0x94 => {
                memory.insert(memory.len() as u64, last?);
            }
            b'q' | b'r' | b'p' => {
                memory.insert(number(*op, argument)?, last?);
            }
            b'h' | b'j' | b'g' => {
                let of = *memory.get(&number(*op, argument)?)?;
                let argument = words.get(of)?.argument;
                words.push(Word { op: b'h', argument, of: Some(of) });
            }
            b'.' => return bytes.is_empty().then_some(words),
            op => {
                // A class is told by its name, which stands before it.
                let argument =
                    if *op == 0x93 { words.last().map_or(argument, |word| word.argument) } else { argument };
                words.push(Word { op: *op, argument, of: None });
            }
        }
    }
}

/// The number under which something is remembered.
fn number(op: u8, argument: &[u8]) -> Option<u64> {
    if matches!(op, b'p' | b'g') {
        return std::str::from_utf8(argument).ok()?.trim().parse().ok();
    }
    let mut wide = [0; 8];
    wide.get_mut(..argument.len())?.copy_from_slice(argument);
    Some(u64::from_le_bytes(wide))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn counted<'a>(bytes: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let mut length = [0; 8];
    length.get_mut(..width)?.copy_from_slice(take(bytes, width)?);
    take(bytes, usize::try_from(u64::from_le_bytes(length)).ok()?)
}

fn line<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let taken = take(bytes, end)?;
    take(bytes, 1)?;
    Some(taken)
}
