//! Packed numbers and sketches as base64 in JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes as text.
pub(super) fn text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Text as bytes.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("base64: {error}"))
}

/// Numbers, 8 bytes each, little end first.
pub(super) fn numbers(values: impl Iterator<Item = f64>) -> String {
    words(values.map(f64::to_bits))
}

/// The inverse of [`numbers`].
pub(super) fn read_numbers(text: &str) -> Result<Vec<f64>, String> {
    Ok(read_words(text)?.into_iter().map(f64::from_bits).collect())
}

/// Words, 8 bytes each, little end first.
pub(super) fn words(words: impl Iterator<Item = u64>) -> String {
    let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    text(&bytes)
}

/// The inverse of [`words`].
pub(super) fn read_words(text: &str) -> Result<Vec<u64>, String> {
    let bytes = bytes(text)?;
    if !bytes.len().is_multiple_of(8) {
        return Err("packed numbers are cut short".into());
    }
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    Ok(bytes.chunks_exact(8).map(word).collect())
}

/// Counts, 7 bits a byte, lowest first (LEB128).
pub(super) fn counts(values: impl Iterator<Item = u64>) -> String {
    let mut bytes = Vec::new();
    for mut value in values {
        while value >= 0x80 {
            bytes.push((value as u8) | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
    }
    text(&bytes)
}

/// The inverse of [`counts`].
pub(super) fn read_counts(text: &str) -> Result<Vec<u64>, String> {
    let mut values = Vec::new();
    let (mut value, mut shift) = (0_u64, 0_u32);
    for byte in bytes(text)? {
        if shift > 63 {
            return Err("a packed count is too large".into());
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            values.push(value);
            (value, shift) = (0, 0);
        } else {
            shift += 7;
        }
    }
    if shift == 0 { Ok(values) } else { Err("packed counts are cut short".into()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(values in prop::collection::vec(any::<u64>(), 0..50)) {
            prop_assert_eq!(read_counts(&counts(values.iter().copied())).unwrap(), values.clone());
            let floats: Vec<f64> = values.iter().map(|value| *value as f64).collect();
            prop_assert_eq!(read_numbers(&numbers(floats.iter().copied())).unwrap(), floats);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9+/=]{0,40}") {
            let _ = read_counts(&text);
            let _ = read_numbers(&text);
        }
    }
}
