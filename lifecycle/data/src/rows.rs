//! The rows of a version, for what reads them again: the files of it that are tables, with names that say
//! how they are read. Nothing is copied; what lies in the store is linked to.

use std::path::PathBuf;

use rondo_core::handoff::DatasetVersion;
use rondo_table::read::ReadOptions;
use tempfile::TempDir;

use crate::listing::Listing;
use crate::versions::Datasets;
use crate::{Error, table};

impl Datasets {
    /// The files of a version that are tables, with their names, in the order of the names.
    ///
    /// # Errors
    /// When one is not in the store, or none is a table.
    pub fn table_files(
        &self,
        version: &DatasetVersion,
        options: &ReadOptions,
    ) -> Result<Vec<(String, PathBuf)>, Error> {
        let objects = self.store.objects();
        let files = if version.folder {
            let listing = Listing::read(objects, version.digest)?;
            let tables = listing.files().iter().filter(|(name, _)| table::is_table(name, options));
            tables
                .map(|(name, leaf)| Ok((name.clone(), objects.sound(leaf.digest)?)))
                .collect::<Result<Vec<_>, Error>>()?
        } else {
            let name = version.source.rsplit('/').next().unwrap_or(&version.dataset).to_owned();
            vec![(name, objects.sound(version.digest)?)]
        };
        if files.is_empty() { Err(Error::Tableless { dataset: version.dataset.clone() }) } else { Ok(files) }
    }

    /// A folder that is read as one table: links to the files of a version. It goes when it is dropped.
    ///
    /// # Errors
    /// As [`Datasets::table_files`].
    pub fn laid_out(&self, version: &DatasetVersion, options: &ReadOptions) -> Result<TempDir, Error> {
        table::folder_of_links(&self.table_files(version, options)?, &self.scratch())
    }
}
