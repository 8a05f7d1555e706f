//! A file or folder together with how it is read, for what reads it more than once.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::{Format, ReadOptions, TableReader, files_of, format_of, open_with};
use crate::error::Result;

static DEFAULT: LazyLock<ReadOptions> = LazyLock::new(ReadOptions::default);

/// A file or folder and how it is read. A bare path is read in the usual way.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// How it is read.
    pub options: &'a ReadOptions,
}

impl Source<'_> {
    /// Opens it.
    ///
    /// # Errors
    /// As [`super::open`].
    pub fn open(self) -> Result<TableReader> {
        open_with(self.path, self.options)
    }

    /// Whether every file of it is text without types of its own.
    ///
    /// # Errors
    /// When there is no such file or folder.
    pub(crate) fn is_text(self) -> Result<bool> {
        let is_text =
            |file: &PathBuf| Ok(matches!(format_of(file, self.options)?, Format::Csv | Format::Json));
        let all = files_of(self.path, self.options)?.iter().map(is_text).collect::<Result<Vec<bool>>>()?;
        Ok(all.into_iter().all(|is_text| is_text))
    }
}

impl<'a> From<&'a Path> for Source<'a> {
    fn from(path: &'a Path) -> Self {
        Self { path, options: &DEFAULT }
    }
}

impl<'a> From<&'a PathBuf> for Source<'a> {
    fn from(path: &'a PathBuf) -> Self {
        Self::from(path.as_path())
    }
}

impl<'a> From<(&'a Path, &'a ReadOptions)> for Source<'a> {
    fn from((path, options): (&'a Path, &'a ReadOptions)) -> Self {
        Self { path, options }
    }
}
