//! A file of text as UTF-8: decoded from what it is in, without the lines that come before the table.
//!
//! A byte-order mark tells UTF-8 and UTF-16 for certain and is not handed on; any other encoding has to be
//! named, since none can be told from another by looking. A byte that does not belong is an error with its
//! line and column and is never replaced.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::ReadOptions;
use crate::error::{Result, TableError};

/// One record may not be longer: a quote or brace that is never closed would otherwise take the whole file
/// into memory.
pub(super) const LONGEST_RECORD: u64 = 64 << 20;

const CHUNK: usize = 64 * 1024;

/// Text that is read from the beginning.
pub(super) type Input = Box<dyn Read + Send>;

/// Opens a file of text. What comes out is UTF-8 (where the file claims to be that, it is not looked at
/// here), without a byte-order mark and the lines that are to be skipped.
pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Input> {
    let failed = |error| TableError::io(path, error);
    let encoding = match &options.encoding {
        Some(label) => named(label).map_err(|reason| TableError::Option { option: "encoding", reason })?,
        None => UTF_8,
    };
    let mut file = BufReader::with_capacity(CHUNK, File::open(path).map_err(failed)?);
    let mut lead = Vec::with_capacity(3);
    (&mut file).take(3).read_to_end(&mut lead).map_err(failed)?;
    let (encoding, mark) = Encoding::for_bom(&lead).unwrap_or((encoding, 0));
    lead.drain(..mark);
    let input = io::Cursor::new(lead).chain(file);
    let mut input: Input = if encoding == UTF_8 {
        Box::new(input)
    } else {
        Box::new(Decoded::new(Box::new(input), encoding.new_decoder_without_bom_handling(), encoding.name()))
    };
    for _ in 0..options.skip {
        if !skip_line(&mut input).map_err(|error| fault(path, 1, error))? {
            break;
        }
    }
    Ok(Box::new(BufReader::with_capacity(CHUNK, input)))
}

/// The encoding of a name, as browsers know it: `latin1`, `windows-1252`, `shift_jis`, `utf-16le`.
pub(super) fn named(label: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(label.trim().as_bytes()).ok_or_else(|| {
        let known = [
            "utf-8",
            "utf-16le",
            "utf-16be",
            "windows-1250",
            "windows-1251",
            "windows-1252",
            "latin1",
            "iso-8859-2",
            "iso-8859-15",
            "shift_jis",
            "euc-jp",
            "gbk",
            "gb18030",
            "big5",
            "euc-kr",
            "koi8-r",
            "macintosh",
        ];
        let near = rondo_core::suggest::nearest(label, known);
        let near =
            near.map_or_else(|| format!("such as `{}`", known[5]), |near| format!("did you mean `{near}`?"));
        format!("`{label}` is no encoding that is known: {near}")
    })
}

/// Whether the first bytes say that a file is UTF-16.
pub(super) fn is_utf16(head: &[u8]) -> bool {
    Encoding::for_bom(head).is_some_and(|(encoding, _)| encoding == UTF_16LE || encoding == UTF_16BE)
}

/// Reads to behind the next line feed; false at the end. Byte by byte: there are few such lines, and what
/// is behind them must not be taken along. A line that never ends is as long as the file and is not kept.
fn skip_line(input: &mut Input) -> io::Result<bool> {
    let mut byte = [0];
    loop {
        match input.read(&mut byte)? {
            0 => return Ok(false),
            _ if byte == *b"\n" => return Ok(true),
            _ => {}
        }
    }
}

/// What decoding met that is not of the encoding.
#[derive(Debug)]
struct BadBytes {
    line: u64,
    column: u64,
    bytes: Vec<u8>,
    encoding: &'static str,
}

impl std::fmt::Display for BadBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes: Vec<String> = self.bytes.iter().map(|byte| format!("0x{byte:02x}")).collect();
        write!(f, "column {}: {} is not {}", self.column, bytes.join(" "), self.encoding)
    }
}

impl std::error::Error for BadBytes {}

/// A record that goes on beyond [`LONGEST_RECORD`].
#[derive(Debug)]
struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the record is longer than {} MB; perhaps a quote is not closed", LONGEST_RECORD >> 20)
    }
}

impl std::error::Error for TooLong {}

/// An error of reading a text, with its line where it is one of the text's.
pub(super) fn fault(path: &Path, line: u64, error: io::Error) -> TableError {
    let inner = error.get_ref();
    if let Some(bad) = inner.and_then(|inner| inner.downcast_ref::<BadBytes>()) {
        return TableError::line(path, bad.line, bad.to_string());
    }
    if inner.is_some_and(|inner| inner.is::<TooLong>()) {
        return TableError::line(path, line, TooLong.to_string());
    }
    TableError::io(path, error)
}

/// The fault of a file that claims to be UTF-8 and is not: the first byte that does not belong.
pub(super) fn not_utf8(path: &Path, options: &ReadOptions, line: u64) -> TableError {
    let checked = || -> io::Result<Option<io::Error>> {
        let file = File::open(path)?;
        let mut text =
            Decoded::new(Box::new(BufReader::new(file)), UTF_8.new_decoder_with_bom_removal(), "UTF-8");
        let mut sink = vec![0; CHUNK];
        loop {
            match text.read(&mut sink) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) => return Ok(Some(error)),
            }
        }
    };
    let found = checked().ok().flatten();
    let bad = found.as_ref().and_then(|error| error.get_ref()?.downcast_ref::<BadBytes>());
    let (line, reason) = match bad.filter(|_| options.encoding.is_none()) {
        Some(bad) => (bad.line, bad.to_string()),
        None => (line, "it is not UTF-8".to_owned()),
    };
    TableError::NotUtf8 { path: path.to_owned(), line, reason }
}

/// Text of another encoding as UTF-8.
struct Decoded {
    input: Box<dyn Read + Send>,
    decoder: Decoder,
    encoding: &'static str,
    raw: Vec<u8>,
    /// What of `raw` is still to be decoded.
    rest: std::ops::Range<usize>,
    text: Vec<u8>,
    /// What of `text` is still to be handed out.
    ready: std::ops::Range<usize>,
    ended: bool,
    /// Nothing more comes, for good or because of a fault.
    finished: bool,
    line: u64,
    column: u64,
}

impl Decoded {
    fn new(input: Box<dyn Read + Send>, decoder: Decoder, encoding: &'static str) -> Self {
        Self {
            input,
            decoder,
            encoding,
            raw: vec![0; CHUNK],
            rest: 0..0,
            // Room for what a chunk may become.
            text: vec![0; CHUNK * 4],
            ready: 0..0,
            ended: false,
            finished: false,
            line: 1,
            column: 1,
        }
    }

    /// Decodes some more; false at the end.
    fn refill(&mut self) -> io::Result<bool> {
        while self.ready.is_empty() {
            if self.finished {
                return Ok(false);
            }
            if self.rest.is_empty() && !self.ended {
                let count = self.input.read(&mut self.raw)?;
                self.rest = 0..count;
                self.ended = count == 0;
            }
            let raw = self.raw.get(self.rest.clone()).unwrap_or_default();
            let last = self.ended;
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(raw, &mut self.text, last);
            let text = self.text.get(..written).unwrap_or_default();
            for byte in text {
                match byte {
                    b'\n' => (self.line, self.column) = (self.line + 1, 1),
                    // A character is counted by its first byte.
                    0x80..=0xbf => {}
                    _ => self.column += 1,
                }
            }
            self.rest.start += read;
            self.ready = 0..written;
            match result {
                DecoderResult::InputEmpty => self.finished = last,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(length, after) => {
                    self.finished = true;
                    let end = self.rest.start.saturating_sub(usize::from(after));
                    let bytes =
                        self.raw.get(end.saturating_sub(usize::from(length))..end).unwrap_or_default();
                    let bad = BadBytes {
                        line: self.line,
                        column: self.column,
                        bytes: bytes.to_vec(),
                        encoding: self.encoding,
                    };
                    return Err(io::Error::other(bad));
                }
            }
        }
        Ok(true)
    }
}

impl Read for Decoded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() && !self.refill()? {
            return Ok(0);
        }
        let ready = self.text.get(self.ready.clone()).unwrap_or_default();
        let count = ready.len().min(out.len());
        if let (Some(out), Some(ready)) = (out.get_mut(..count), ready.get(..count)) {
            out.copy_from_slice(ready);
        }
        self.ready.start += count;
        Ok(count)
    }
}

/// Hands text on as long as records come to an end: whoever reads records says so by [`Bound::reset`].
pub(super) struct Bounded {
    input: Input,
    bound: Bound,
}

/// How much has been read of the record at hand.
#[derive(Clone, Default)]
pub(super) struct Bound(Arc<AtomicU64>);

impl Bound {
    /// A record has ended.
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Bounded {
    pub(super) fn new(input: Input) -> (Self, Bound) {
        let bound = Bound::default();
        (Self { input, bound: bound.clone() }, bound)
    }
}

impl Read for Bounded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.bound.0.load(Ordering::Relaxed) > LONGEST_RECORD {
            return Err(io::Error::other(TooLong));
        }
        let count = self.input.read(out)?;
        self.bound.0.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
