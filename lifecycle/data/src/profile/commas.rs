//! Columns of delimited text that are no numbers for their comma, which no rule says: for whoever adds or
//! checks them.

use std::borrow::Borrow;
use std::path::Path;

use rondo_core::handoff::DatasetVersion;
use rondo_table::profile::{Commas, Profile};
use rondo_table::read::ReadOptions;

use super::profile_path;
use crate::table;
use crate::versions::Datasets;

/// Those of a file or folder that belongs to no dataset.
pub async fn commas_of_path(path: &Path, options: &ReadOptions) -> Option<Commas> {
    let name = path.file_name()?.to_string_lossy();
    let profile = async { profile_path(path, options).await.ok() };
    of_tables([(&*name, path)].into_iter(), options, profile).await
}

impl Datasets {
    /// Those of a version, where it is here.
    pub async fn commas_of(&self, version: &DatasetVersion) -> Option<Commas> {
        let options = table::options_for_version(version).ok()?;
        let files = self.table_files(version, &options).ok()?;
        let profile = async {
            match self.profile_of(version).await.ok()? {
                Some(profile) => Some(profile),
                None => self.profile_now(version).await.ok(),
            }
        };
        let tables = files.iter().map(|(name, path)| (name.as_str(), path.as_path()));
        of_tables(tables, &options, profile).await
    }
}

/// Those of tables by their names and places. The profile is made only where there can be some: where all is
/// delimited text whose numbers are read as programs write them.
pub(crate) async fn of_tables<'a, P: Borrow<Profile>>(
    mut tables: impl Iterator<Item = (&'a str, &'a Path)>,
    options: &ReadOptions,
    profile: impl Future<Output = Option<P>>,
) -> Option<Commas> {
    if !tables.all(|(name, path)| table::has_points(name, path, options)) {
        return None;
    }
    let profile = profile.await?;
    profile.borrow().commas()?.without(|name| options.types.contains_key(name))
}
