//! Frames: how one record stands in a segment, so that a torn end can be told from a whole record.
//!
//! A segment begins with eight bytes that name its kind. A frame is the length of its content (4 bytes,
//! little endian), the first 8 bytes of the content's BLAKE3, and the content. What follows the last
//! whole frame is a write that did not end: it is cut off and never an error.

use rondo_core::Digest;

/// The first bytes of every segment.
pub const HEADER: [u8; 8] = *b"RONDOLG1";
/// Bytes before a frame's content.
const PREFIX: usize = 12;
/// Bytes that a frame's content may have: a longer length is damage.
pub const MAX_CONTENT: usize = 1 << 24;

/// Appends a frame; nothing where the content is too long.
pub fn encode(content: &[u8], into: &mut Vec<u8>) -> bool {
    let Some(length) = u32::try_from(content.len()).ok().filter(|length| *length as usize <= MAX_CONTENT)
    else {
        return false;
    };
    into.reserve(PREFIX + content.len());
    into.extend(length.to_le_bytes());
    into.extend(checksum(content));
    into.extend_from_slice(content);
    true
}

fn checksum(content: &[u8]) -> [u8; 8] {
    let mut short = [0; 8];
    for (byte, full) in short.iter_mut().zip(Digest::of(content).as_bytes()) {
        *byte = *full;
    }
    short
}

/// The whole frames of a segment, front to back.
#[derive(Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl<'a> Frames<'a> {
    /// The frames of a segment's bytes; none where they are not a segment's, which a file that was just
    /// made may also be.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < HEADER.len() {
            // The header itself may be torn.
            return HEADER.starts_with(bytes).then_some(Self { bytes, place: bytes.len() });
        }
        bytes.starts_with(&HEADER).then_some(Self { bytes, place: HEADER.len() })
    }

    /// Where the last frame that was read ends.
    pub const fn place(&self) -> usize {
        self.place
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.place..)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (sum, rest) = rest.split_first_chunk::<8>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_CONTENT {
            return None;
        }
        let content = rest.get(..length)?;
        if checksum(content) != *sum {
            return None;
        }
        self.place += PREFIX + length;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(contents: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        for content in contents {
            assert!(encode(content, &mut bytes));
        }
        bytes
    }

    #[test]
    fn another_file_is_no_segment() {
        assert!(Frames::new(b"PAR1 and so on").is_none());
        assert!(Frames::new(b"").is_some_and(|mut frames| frames.next().is_none()));
        assert!(Frames::new(b"RON").is_some());
    }

    proptest! {
        #[test]
        fn a_cut_keeps_exactly_the_whole_frames(
            contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in 0_usize..500,
        ) {
            let bytes = segment(&contents);
            let cut = cut.min(bytes.len());
            let mut frames = Frames::new(&bytes[..cut]).unwrap();
            let read: Vec<Vec<u8>> = frames.by_ref().map(<[u8]>::to_vec).collect();
            let mut whole = Vec::new();
            let mut end = HEADER.len();
            for content in &contents {
                end += PREFIX + content.len();
                if end <= cut { whole.push(content.clone()); }
            }
            prop_assert_eq!(&read, &whole);
            prop_assert!(frames.place() <= cut);
        }

        #[test]
        fn a_flipped_bit_ends_the_segment_there(
            contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..8),
            place in 0_usize..400, bit in 0_u8..8,
        ) {
            let mut bytes = segment(&contents);
            let place = HEADER.len() + place % (bytes.len() - HEADER.len());
            bytes[place] ^= 1 << bit;
            let read: Vec<Vec<u8>> = Frames::new(&bytes).unwrap().map(<[u8]>::to_vec).collect();
            prop_assert!(read.len() < contents.len());
            prop_assert_eq!(&read[..], &contents[..read.len()]);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let with_header = [HEADER.to_vec(), bytes].concat();
            let _ = Frames::new(&with_header).map(Iterator::count);
        }
    }
}
