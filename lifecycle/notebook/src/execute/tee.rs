//! What a notebook prints, also as it comes into files of the user's.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use rondo_core::mask::Mask;

use crate::error::Error;
use crate::lines::part;

/// The files, where there are any.
#[derive(Debug, Default)]
pub struct Tee {
    out: Option<Sink>,
    err: Option<Sink>,
}

#[derive(Debug)]
struct Sink {
    path: PathBuf,
    file: File,
    /// The line that has not ended: a secret may come in two pieces.
    rest: String,
}

impl Tee {
    /// Makes the files.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn open(out: Option<&Path>, err: Option<&Path>) -> Result<Self, Error> {
        let sink = |path: Option<&Path>| {
            path.map(|path| {
                let file = File::create(path).map_err(|error| Error::io("write", path, error))?;
                Ok::<_, Error>(Sink { path: path.to_owned(), file, rest: String::new() })
            })
            .transpose()
        };
        Ok(Self { out: sink(out)?, err: sink(err)? })
    }

    /// Takes a piece of a stream.
    pub fn push(&mut self, stream: &str, text: &str, mask: &Mask) {
        let sink = if stream == "stderr" { self.err.as_mut() } else { self.out.as_mut() };
        let Some(sink) = sink else { return };
        sink.rest.push_str(text);
        let end = sink.rest.rfind('\n').map_or(0, |at| at + 1);
        let whole: String = sink.rest.drain(..end).collect();
        for text in [mask.text(&whole).into_owned()].into_iter().chain(part(&mut sink.rest, mask)) {
            // A disk that is full is told at the end.
            let _ = sink.file.write_all(text.as_bytes());
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(&mut self, mask: &Mask) -> Result<(), Error> {
        for sink in [&mut self.out, &mut self.err].into_iter().flatten() {
            let rest = std::mem::take(&mut sink.rest);
            let written =
                sink.file.write_all(mask.text(&rest).as_bytes()).and_then(|()| sink.file.sync_data());
            written.map_err(|error| Error::io("write", &sink.path, error))?;
        }
        Ok(())
    }
}
