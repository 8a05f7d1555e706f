//! How many things an export of spans has, counted before any of them is read.
//!
//! What is a few bytes on the wire is a hundred in memory: without a count a body of tiny attributes would
//! take many times its size. The count walks over the bytes and keeps nothing of them.

/// Spans, events, links, attributes and the values within them that one export may have. Exporters send a
/// few hundred spans at a time.
pub(super) const THINGS: usize = 250_000;

/// What in an export's JSON makes a value: a bracket, a comma or a colon. An attribute alone has six.
const MARKS: usize = 8;

/// A message of the protocol that has others in it.
#[derive(Clone, Copy)]
enum Kind {
    Request,
    Resource,
    Scope,
    Span,
    Event,
    Link,
    Pair,
    Value,
    Values,
    Pairs,
}

impl Kind {
    /// What a field of it is, where that is read and counts.
    const fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Request, 1) => Self::Resource,
            (Self::Resource, 2) => Self::Scope,
            (Self::Scope, 2) => Self::Span,
            (Self::Span, 9) | (Self::Event, 3) | (Self::Link, 4) | (Self::Pairs, 1) => Self::Pair,
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::Link,
            (Self::Pair, 2) | (Self::Values, 1) => Self::Value,
            (Self::Value, 5) => Self::Values,
            (Self::Value, 6) => Self::Pairs,
            _ => return None,
        })
    }
}

/// Whether an export as protobuf has no more things in it than one may have. What cannot be read is left to
/// its reader to refuse.
pub(super) fn protobuf_fits(body: &[u8]) -> bool {
    let mut waiting = vec![(body, Kind::Request)];
    let mut things = 0;
    while let Some((mut rest, kind)) = waiting.pop() {
        while let Some((number, inner, after)) = field(rest) {
            rest = after;
            let (Some(inner), Some(kind)) = (inner, kind.field(number)) else { continue };
            things += 1;
            if things > THINGS {
                return false;
            }
            waiting.push((inner, kind));
        }
    }
    true
}

/// The same of an export as JSON.
pub(super) fn json_fits(body: &[u8]) -> bool {
    let (mut marks, mut quoted, mut escaped) = (0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'[' | b'{' | b',' | b':' if !quoted => marks += 1,
            _ => {}
        }
    }
    marks <= THINGS * MARKS
}

/// A field's number, its bytes where it has a length, and what comes after it.
type Field<'b> = (u64, Option<&'b [u8]>, &'b [u8]);

fn field(bytes: &[u8]) -> Option<Field<'_>> {
    let (tag, rest) = varint(bytes)?;
    let (inner, rest) = match tag & 7 {
        0 => (None, varint(rest)?.1),
        1 => (None, rest.get(8..)?),
        2 => {
            let (length, rest) = varint(rest)?;
            let length = usize::try_from(length).ok()?;
            (Some(rest.get(..length)?), rest.get(length..)?)
        }
        5 => (None, rest.get(4..)?),
        _ => return None,
    };
    Some((tag >> 3, inner, rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with one field of bytes.
    fn with(number: u8, inner: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = inner.len();
        while length > 0x7f {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(inner);
        out
    }

    fn of_attributes(count: usize) -> Vec<u8> {
        let span: Vec<u8> = with(9, &[]).repeat(count);
        with(1, &with(2, &with(2, &span)))
    }

    #[test]
    fn things_are_counted_wherever_they_are() {
        assert!(protobuf_fits(&of_attributes(THINGS - 3)));
        assert!(!protobuf_fits(&of_attributes(THINGS - 2)));
        let values = with(5, &with(1, &[]).repeat(THINGS));
        let span = with(9, &with(2, &values));
        assert!(!protobuf_fits(&with(1, &with(2, &with(2, &span)))));
        assert!(protobuf_fits(&with(7, &with(9, &[]).repeat(THINGS + 1))), "what is not read does not count");
    }

    #[test]
    fn json_is_counted_outside_of_its_texts() {
        assert!(json_fits(format!("[\"{}\\\"\"]", "[,:{".repeat(THINGS * MARKS)).as_bytes()));
        assert!(!json_fits("[],".repeat(THINGS * MARKS).as_bytes()));
    }

    #[test]
    fn no_bytes_are_too_odd_to_be_counted() {
        let whole = of_attributes(40);
        for end in 0..whole.len() {
            assert!(protobuf_fits(&whole[..end]));
            for byte in [0x00, 0x7f, 0x80, 0xff] {
                let mut odd = whole.clone();
                odd[end] = byte;
                assert!(protobuf_fits(&odd) && json_fits(&odd), "{end} {byte}");
            }
        }
    }
}
