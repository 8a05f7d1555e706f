//! Where a large file is cut: by its content, so that a change moves few cuts (FastCDC of Xia et al., 2020,
//! as the `fastcdc` crate has it). A *recipe* lists a file's chunks in order.

use std::io::Read;

use fastcdc::v2020::StreamCDC;
use rondo_core::Digest;

/// The sizes of a chunk, in bytes: the least, the mean and the most. A file that is no larger than one
/// chunk may be is not cut.
pub const SIZES: (usize, usize, usize) = (128 << 10, 512 << 10, 2 << 20);

/// The bytes of one line of a recipe: a digest and a length.
const LINE: usize = 36;

/// The chunks of what a reader gives.
pub fn cut<R: Read>(reader: R) -> StreamCDC<R> {
    StreamCDC::new(reader, SIZES.0, SIZES.1, SIZES.2)
}

/// The chunks of a file, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipe(pub Vec<(Digest, u32)>);

impl Recipe {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let lines = self.0.iter().map(|(digest, length)| (digest.as_bytes(), length.to_le_bytes()));
        lines.flat_map(|(digest, length)| digest.iter().copied().chain(length)).collect()
    }

    /// From bytes; nothing where they are no recipe.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (lines, rest) = bytes.as_chunks::<LINE>();
        if !rest.is_empty() {
            return None;
        }
        let line = |line: &[u8; LINE]| {
            let (digest, length) = line.split_first_chunk::<32>()?;
            let length = u32::from_le_bytes(length.try_into().ok()?);
            (length as usize <= SIZES.2).then_some((Digest::from_bytes(*digest), length))
        };
        lines.iter().map(line).collect::<Option<Vec<_>>>().map(Self)
    }
}
