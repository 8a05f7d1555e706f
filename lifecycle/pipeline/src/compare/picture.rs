//! Pictures in PNG: their pixels, and what stands beside them.

use std::io::Cursor;

use png::{Decoder, Limits, Transformations};

use super::{Finding, Kind, LOOKED_INTO};

/// Width, height and samples.
type Pixels = (u32, u32, Vec<u8>);

/// Two pictures; nothing where one cannot be read.
pub(super) fn png(old: &[u8], new: &[u8]) -> Option<Vec<Finding>> {
    let (a, b) = (pixels(old)?, pixels(new)?);
    if (a.0, a.1) != (b.0, b.1) {
        let text = format!("it was {} by {} pixels and is {} by {}", a.0, a.1, b.0, b.1);
        return Some(vec![Finding::new(Kind::Shape, text)]);
    }
    if a.2 == b.2 {
        let text = "its pixels are the same; how they are encoded, or the notes beside them, differ";
        return Some(vec![Finding::new(Kind::PictureEncoding, text)]);
    }
    let samples = (a.2.len() / (a.0 as usize * a.1 as usize).max(1)).max(1);
    let pairs = || a.2.chunks(samples).zip(b.2.chunks(samples));
    let count = pairs().filter(|(a, b)| a != b).count();
    let first = pairs().position(|(a, b)| a != b).unwrap_or(0);
    let (x, y) = (first % a.0.max(1) as usize, first / a.0.max(1) as usize);
    let text = format!("{count} pixels differ, first at ({x}, {y})");
    Some(vec![Finding::new(Kind::Bytes, text)])
}

fn pixels(bytes: &[u8]) -> Option<Pixels> {
    let limit = usize::try_from(LOOKED_INTO).ok()?;
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: limit });
    // Palettes and thin samples are made whole, so that what looks the same is the same.
    decoder.set_transformations(Transformations::EXPAND | Transformations::ALPHA);
    let mut reader = decoder.read_info().ok()?;
    let size = reader.output_buffer_size().filter(|size| *size <= limit)?;
    let mut samples = vec![0; size];
    let info = reader.next_frame(&mut samples).ok()?;
    samples.truncate(info.buffer_size());
    Some((info.width, info.height, samples))
}
