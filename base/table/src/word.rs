//! Bytes as words, for hashing.

/// The bytes behind the last whole eight as one word, little end first; 0 where there are none.
#[inline]
pub(crate) fn rest(bytes: &[u8]) -> u64 {
    let count = bytes.len() % 8;
    if count == 0 {
        return 0;
    }
    // What was read twice is the same bits, or shifted out: no loop over bytes.
    if let Some(last) = bytes.last_chunk::<8>() {
        return u64::from_le_bytes(*last) >> (64 - 8 * count);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (count - 4));
    }
    let byte = |at: usize| bytes.get(at).map_or(0, |byte| u64::from(*byte) << (8 * at));
    byte(0) | byte(count / 2) | byte(count - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_what_is_behind_the_last_eight() {
        let bytes: Vec<u8> = (1..=40).map(|byte| byte * 6).collect();
        for length in 0..=bytes.len() {
            let bytes = &bytes[..length];
            let mut word = [0; 8];
            let tail = bytes.chunks_exact(8).remainder();
            word[..tail.len()].copy_from_slice(tail);
            assert_eq!(rest(bytes), u64::from_le_bytes(word), "{length}");
        }
    }
}
