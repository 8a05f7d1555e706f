//! The wire format of protocol buffers: tags, varints, lengths. Bounds-checked, never panics, never
//! allocates.

use crate::error::{Error, Result};

/// A field's content, as the wire tells contents apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field<'a> {
    /// An integer or truth value.
    Varint(u64),
    /// Eight bytes.
    Fixed64([u8; 8]),
    /// Four bytes.
    Fixed32([u8; 4]),
    /// Text, bytes, a message or a packed list.
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    /// The content as a message, text or bytes.
    ///
    /// # Errors
    /// When the field is of another form.
    pub fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed64(_) | Self::Fixed32(_) => Err(mistyped()),
        }
    }

    /// The content as text.
    ///
    /// # Errors
    /// When the field is of another form or the bytes are not UTF-8.
    pub fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Error::not_a_model("a name is not UTF-8"))
    }

    /// The content as a signed integer.
    ///
    /// # Errors
    /// When the field is of another form.
    pub fn int(self) -> Result<i64> {
        match self {
            // Protocol buffers write a negative int64 as the varint of its two's complement.
            Self::Varint(value) => Ok(value as i64),
            Self::Fixed64(_) | Self::Fixed32(_) | Self::Bytes(_) => Err(mistyped()),
        }
    }

    /// The content as a 32-bit float.
    ///
    /// # Errors
    /// When the field is of another form.
    pub fn float(self) -> Result<f32> {
        match self {
            Self::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            Self::Varint(_) | Self::Fixed64(_) | Self::Bytes(_) => Err(mistyped()),
        }
    }

    /// Appends the integers of a repeated field: one of them, or a packed run.
    ///
    /// # Errors
    /// When the field is of another form or a packed run is cut off.
    pub fn ints_into(self, all: &mut Vec<i64>) -> Result<()> {
        match self {
            Self::Varint(value) => all.push(value as i64),
            Self::Bytes(bytes) => {
                let mut reader = Reader::new(bytes);
                while !reader.is_empty() {
                    all.push(reader.varint()? as i64);
                }
            }
            Self::Fixed64(_) | Self::Fixed32(_) => return Err(mistyped()),
        }
        Ok(())
    }

    /// Appends the 32-bit floats of a repeated field.
    ///
    /// # Errors
    /// When the field is of another form or a packed run is cut off.
    pub fn floats_into(self, all: &mut Vec<f32>) -> Result<()> {
        match self {
            Self::Fixed32(bytes) => all.push(f32::from_le_bytes(bytes)),
            Self::Bytes(bytes) => {
                let (whole, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(truncated());
                }
                all.extend(whole.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
            Self::Varint(_) | Self::Fixed64(_) => return Err(mistyped()),
        }
        Ok(())
    }

    /// Appends the 64-bit floats of a repeated field.
    ///
    /// # Errors
    /// When the field is of another form or a packed run is cut off.
    pub fn doubles_into(self, all: &mut Vec<f64>) -> Result<()> {
        match self {
            Self::Fixed64(bytes) => all.push(f64::from_le_bytes(bytes)),
            Self::Bytes(bytes) => {
                let (whole, rest) = bytes.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(truncated());
                }
                all.extend(whole.iter().map(|bytes| f64::from_le_bytes(*bytes)));
            }
            Self::Varint(_) | Self::Fixed32(_) => return Err(mistyped()),
        }
        Ok(())
    }
}

/// Reads the fields of one message, front to back.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of a message's bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all has been read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field: its number and content; nothing at the end.
    ///
    /// # Errors
    /// When the message is cut off or uses the long-gone group form.
    pub fn field(&mut self) -> Result<Option<(u32, Field<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number =
            u32::try_from(tag >> 3).map_err(|_| Error::not_a_model("a field number is too large"))?;
        if number == 0 {
            return Err(Error::not_a_model("a field has the number 0"));
        }
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.array()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| truncated())?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(self.array()?),
            _ => return Err(Error::not_a_model("a field is of no known form")),
        };
        Ok(Some((number, field)))
    }

    /// One variable-length integer.
    ///
    /// # Errors
    /// When it is cut off or longer than 64 bits.
    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for (place, byte) in self.rest.iter().take(10).enumerate() {
            if place == 9 && *byte > 1 {
                return Err(Error::not_a_model("an integer has more than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(place + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(truncated())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(truncated)?;
        self.rest = rest;
        Ok(*head)
    }
}

fn truncated() -> Error {
    Error::not_a_model("the file is cut off")
}

fn mistyped() -> Error {
    Error::not_a_model("a field is not of the type that the format gives it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_form_are_read() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.field().unwrap(), Some((1, Field::Varint(150))));
        assert_eq!(reader.field().unwrap().unwrap().1.text().unwrap(), "hi");
        assert_eq!(reader.field().unwrap().unwrap().1.float().unwrap(), 1.0);
        assert_eq!(reader.field().unwrap(), None);
    }

    #[test]
    fn negative_integers_take_ten_bytes() {
        let bytes = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&bytes).varint().unwrap() as i64, -1);
    }

    #[test]
    fn cut_off_and_oversized_fields_are_refused() {
        for bytes in [&[0x12, 0x05, 1][..], &[0x08], &[0x08, 0x80], &[0x0b], &[0x00], &[0x1d, 0, 0]] {
            assert!(Reader::new(bytes).field().is_err(), "{bytes:?}");
        }
        let huge = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(Reader::new(&huge).field().is_err());
        assert!(Reader::new(&[0xff; 11]).varint().is_err());
    }
}
