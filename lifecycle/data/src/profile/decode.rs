//! A picture's pixels from its bytes: PNG, JPEG, GIF (its first frame) and WebP, told by their first bytes.
//!
//! Not for showing pictures: colour profiles are not applied, and 16 bits a channel become 8.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// No picture with more pixels is decoded.
const MOST_PIXELS: u64 = 100_000_000;
/// Pictures with more pixels are decoded one after another: together they would take all memory.
const LARGE_PIXELS: u64 = 16_000_000;
static LARGE: Mutex<()> = Mutex::new(());

/// A decoded picture.
#[derive(Debug)]
pub struct Picture {
    /// `png`, `jpeg`, `gif` or `webp`.
    pub format: &'static str,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// What the file holds: `gray`, `gray+alpha`, `rgb`, `rgba`, `palette` or `cmyk`.
    pub mode: &'static str,
    /// Bytes of a pixel: 1 to 4, of which the second or the fourth is how opaque it is.
    pub channels: usize,
    /// The pixels, row by row from the top.
    pub pixels: Vec<u8>,
}

/// Decodes it.
///
/// # Errors
/// Why it is no picture that can be read.
pub fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let decode = || match bytes {
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [0xff, 0xd8, 0xff, ..] => jpeg(bytes),
        [b'G', b'I', b'F', b'8', ..] => gif(bytes),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => webp(bytes),
        [] => Err("it is empty".to_owned()),
        _ => Err("its bytes are no PNG, JPEG, GIF or WebP".to_owned()),
    };
    // A decoder that panics on damaged bytes is an error like any other; it keeps nothing.
    let picture =
        catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err("it is damaged".to_owned()))?;
    let pixels = u64::from(picture.width) * u64::from(picture.height);
    if pixels == 0 || picture.pixels.len() as u64 != pixels * picture.channels as u64 {
        return Err("its pixels are not as many as its size says".to_owned());
    }
    Ok(picture)
}

/// Refuses what has too many pixels; what has many waits for its turn, which lasts while the guard is held.
fn bounded(width: u64, height: u64) -> Result<Option<MutexGuard<'static, ()>>, String> {
    let pixels = width.saturating_mul(height);
    if pixels > MOST_PIXELS {
        return Err(format!("it has {width} × {height} pixels, more than are decoded"));
    }
    Ok((pixels > LARGE_PIXELS).then(|| LARGE.lock().unwrap_or_else(PoisonError::into_inner)))
}

fn why(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn png(bytes: &[u8]) -> Result<Picture, String> {
    let limits = png::Limits { bytes: usize::try_from(MOST_PIXELS * 4).unwrap_or(usize::MAX) };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(why)?;
    let info = reader.info();
    let (width, height) = (info.width, info.height);
    let mode = match info.color_type {
        png::ColorType::Grayscale => "gray",
        png::ColorType::GrayscaleAlpha => "gray+alpha",
        png::ColorType::Rgb => "rgb",
        png::ColorType::Rgba => "rgba",
        png::ColorType::Indexed => "palette",
    };
    let _turn = bounded(u64::from(width), u64::from(height))?;
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("it is too large")?];
    let frame = reader.next_frame(&mut pixels).map_err(why)?;
    pixels.truncate(frame.buffer_size());
    Ok(Picture { format: "png", width, height, mode, channels: frame.color_type.samples(), pixels })
}

fn jpeg(bytes: &[u8]) -> Result<Picture, String> {
    let open = |colours| {
        let options = DecoderOptions::default().set_max_width(1 << 16).set_max_height(1 << 16);
        zune_jpeg::JpegDecoder::new_with_options(
            ZCursor::new(bytes),
            options.jpeg_set_out_colorspace(colours),
        )
    };
    let mut decoder = open(ColorSpace::RGB);
    decoder.decode_headers().map_err(why)?;
    let (mode, channels) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => {
            decoder = open(ColorSpace::Luma);
            decoder.decode_headers().map_err(why)?;
            ("gray", 1)
        }
        Some(ColorSpace::CMYK | ColorSpace::YCCK) => ("cmyk", 3),
        _ => ("rgb", 3),
    };
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    let _turn = bounded(width as u64, height as u64)?;
    let pixels = decoder.decode().map_err(why)?;
    let size = |side: usize| u32::try_from(side).map_err(why);
    Ok(Picture { format: "jpeg", width: size(width)?, height: size(height)?, mode, channels, pixels })
}

fn gif(bytes: &[u8]) -> Result<Picture, String> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(bytes).map_err(why)?;
    let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let _turn = bounded(u64::from(width), u64::from(height))?;
    let frame = decoder.read_next_frame().map_err(why)?.ok_or("it has no frame")?;
    let whole = u32::from(frame.width) == width && u32::from(frame.height) == height;
    let pixels = if whole {
        frame.buffer.to_vec()
    } else {
        let mut pixels = vec![0; width as usize * height as usize * 4];
        let inner = usize::from(frame.width) * 4;
        for (row, line) in frame.buffer.chunks_exact(inner.max(1)).enumerate() {
            let start = ((row + usize::from(frame.top)) * width as usize + usize::from(frame.left)) * 4;
            if let Some(slot) = pixels.get_mut(start..start + inner) {
                slot.copy_from_slice(line);
            }
        }
        pixels
    };
    Ok(Picture { format: "gif", width, height, mode: "palette", channels: 4, pixels })
}

fn webp(bytes: &[u8]) -> Result<Picture, String> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).map_err(why)?;
    let (width, height) = decoder.dimensions();
    let _turn = bounded(u64::from(width), u64::from(height))?;
    let (mode, channels) = if decoder.has_alpha() { ("rgba", 4) } else { ("rgb", 3) };
    let mut pixels = vec![0; decoder.output_buffer_size().ok_or("it is too large")?];
    decoder.read_image(&mut pixels).map_err(why)?;
    Ok(Picture { format: "webp", width, height, mode, channels, pixels })
}
