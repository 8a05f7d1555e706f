//! Profiles for people: a table of columns with a small histogram in text. The numbers are those of
//! [`rondo_table::profile`], whose JSON is there for programs. Folders of pictures and of texts, which are
//! no tables, are summed up in [`files`].

pub mod commas;
mod decode;
pub mod files;
pub mod pictures;
pub mod texts;

use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_core::handoff::DatasetVersion;
use rondo_core::signature::ColumnType;
use rondo_table::profile::Profile;
use rondo_table::profile::summary::ColumnSummary;
use rondo_table::read::ReadOptions;
use serde::Serialize;

use crate::fetch::blocking;
use crate::listing::{Leaf, Listing};
use crate::versions::Datasets;
use crate::{Error, table};
use files::{FileEntry, FolderProfile};

/// Characters of a histogram.
const WIDTH: usize = 20;
/// Part of the keys under which profiles of folders are remembered: it changes when they would come out
/// otherwise for the same files.
const ROUND: u32 = 2;

/// A column in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnLine {
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub column_type: String,
    /// The share of rows without a value, such as `2.4 %`; empty for none.
    pub missing: String,
    /// How many values differ; `~` before an estimate.
    pub distinct: String,
    /// The middle: of numbers the median.
    pub typical: String,
    /// Of numbers and moments the least and the greatest, of texts the commonest values.
    pub range: String,
    /// A histogram of [`sparkline`] characters; of texts of the commonest values' counts.
    pub histogram: String,
    /// What is odd: `constant`, `key`.
    pub notes: String,
}

/// The profile of a file or folder that belongs to no dataset.
///
/// # Errors
/// When it is no table or cannot be read.
pub async fn profile_path(path: &Path, options: &ReadOptions) -> Result<Profile, Error> {
    let (path, options) = (path.to_owned(), options.clone());
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    blocking(move || table::profile(&name, &path, &options)).await
}

/// What a folder of files that are no tables holds; nothing where it holds neither pictures nor texts.
///
/// # Errors
/// When it cannot be read.
pub async fn profile_folder(path: &Path, sample: Option<u64>) -> Result<Option<FolderProfile>, Error> {
    let path = path.to_owned();
    blocking(move || Ok(files::profile(&files::files_in(&path)?, sample))).await
}

/// Whether a folder has no file at its top that is a table.
pub fn is_no_table(path: &Path) -> bool {
    let plain = ReadOptions::default();
    std::fs::read_dir(path).is_ok_and(|entries| {
        entries.flatten().all(|entry| !table::is_table(&entry.file_name().to_string_lossy(), &plain))
    })
}

impl Datasets {
    /// The profile of a version's tables as one, made now: of one that was versioned as files this is where
    /// it is told what keeps them from being a table.
    ///
    /// # Errors
    /// When no file of it is a table, one cannot be read, which is named with its place, or they are not alike.
    pub async fn profile_now(&self, version: &DatasetVersion) -> Result<Profile, Error> {
        let (datasets, version) = (self.clone(), version.clone());
        blocking(move || {
            let options = table::options_for_version(&version)?;
            let mut whole: Option<Profile> = None;
            for (name, path) in datasets.table_files(&version, &options)? {
                let profile = table::profile(&name, &path, &options).map_err(table::called(&name))?;
                whole = Some(match whole {
                    Some(whole) => whole.merge(&profile).map_err(|error| table::in_file(&name, error))?,
                    None => profile,
                });
            }
            whole.ok_or(Error::Tableless { dataset: version.dataset })
        })
        .await
    }

    /// What a version holds whose files are no tables; nothing where they are neither pictures nor texts. It is
    /// looked at once, and stored as an object beside the profiles of tables.
    ///
    /// # Errors
    /// When its listing is not in the store. A file that is not there, or not what was added, is named
    /// as broken, and the profile is not stored.
    pub async fn folder_profile_of(
        &self,
        version: &DatasetVersion,
        sample: Option<u64>,
    ) -> Result<Option<FolderProfile>, Error> {
        if !version.folder {
            return Ok(None);
        }
        let looked = sample.map_or_else(|| "all".to_owned(), |sample| sample.to_string());
        let key = format!("data/folder/{ROUND}/{}/{looked}", version.digest);
        if let Some(known) = self.stored_folder(&key).await? {
            return Ok(Some(known));
        }
        let (objects, folder) = (self.store.objects().clone(), version.digest);
        let (profile, stored) = blocking(move || {
            let listing = Listing::read(&objects, folder)?;
            let mut whole = true;
            let mut entry = |(name, leaf): (&String, &Leaf)| {
                let path = objects.path(leaf.digest);
                whole &= path.is_some();
                // One that is not here is named as what cannot be read.
                let path = path.unwrap_or_else(|| PathBuf::from(leaf.digest.hex()));
                FileEntry { name: name.clone(), path, size: leaf.size, digest: Some(leaf.digest) }
            };
            let files: Vec<FileEntry> = listing.files().iter().map(&mut entry).collect();
            let profile = files::profile(&files, sample);
            // What is missing may come, what is damaged be healed, and what could not be read be read the next
            // time: then it is another profile.
            let stored = match profile.as_ref().filter(|profile| whole && profile.is_sound()) {
                Some(profile) => {
                    let what = "profile of a folder".to_owned();
                    let text =
                        serde_json::to_vec(profile).map_err(|source| Error::Record { what, source })?;
                    Some(objects.put_bytes(&text)?.digest)
                }
                None => None,
            };
            Ok((profile, stored))
        })
        .await?;
        if let Some(digest) = stored {
            self.store.meta().set_setting(&key, &digest.hex()).await?;
        }
        Ok(profile)
    }

    /// The profile of a folder that is remembered; a note that leads nowhere, or to one of an older form, is
    /// none.
    async fn stored_folder(&self, key: &str) -> Result<Option<FolderProfile>, Error> {
        let Some(known) = self.store.meta().setting(key).await? else { return Ok(None) };
        let Ok(digest) = known.parse::<Digest>() else { return Ok(None) };
        let objects = self.store.objects().clone();
        blocking(move || Ok(objects.read(digest).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())))
            .await
    }
}

/// The columns of a profile in words, in the table's order.
pub fn lines(profile: &Profile) -> Vec<ColumnLine> {
    profile.summary().iter().map(line).collect()
}

fn line(column: &ColumnSummary) -> ColumnLine {
    let distinct = column.distinct.map_or_else(String::new, |distinct| {
        format!("{}{}", if distinct.exact { "" } else { "~" }, distinct.count)
    });
    let (typical, range, counts) = match (&column.numbers, &column.moments) {
        (Some(numbers), _) => {
            let [_, _, median, _, _] = numbers.quantiles;
            let range = format!("{} … {}", number(numbers.min), number(numbers.max));
            (number(median), range, numbers.histogram.clone())
        }
        (None, Some((first, last))) => {
            let counts = column.times.as_ref().map_or_else(Vec::new, |times| times.histogram.clone());
            (String::new(), format!("{first} … {last}"), counts)
        }
        (None, None) => {
            let names: Vec<&str> = column.top.iter().take(4).map(|(value, _)| value.as_str()).collect();
            let counts = column.top.iter().map(|(_, count)| *count as f64).collect();
            (String::new(), shortened(&names.join(", "), 40), counts)
        }
    };
    let notes = [(column.constant, "constant"), (column.id_like, "key")];
    let notes: Vec<&str> = notes.iter().filter(|(holds, _)| *holds).map(|(_, note)| *note).collect();
    ColumnLine {
        name: column.name.clone(),
        column_type: column.column_type.text().to_owned(),
        missing: share(column.null_share),
        distinct,
        typical,
        range,
        histogram: if column.column_type == ColumnType::Other { String::new() } else { sparkline(&counts) },
        notes: notes.join(", "),
    }
}

/// Counts as bars of one character each, the greatest full; at most twenty.
pub fn sparkline(counts: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let greatest = counts.iter().copied().filter(|count| count.is_finite()).fold(0.0, f64::max);
    counts
        .iter()
        .take(WIDTH)
        .map(|count| {
            if greatest <= 0.0 || !count.is_finite() || *count <= 0.0 {
                return ' ';
            }
            let step = (count / greatest * (BARS.len() - 1) as f64).round() as usize;
            BARS.get(step).copied().unwrap_or('█')
        })
        .collect()
}

/// A share as a percentage that is never rounded to nothing or everything.
pub fn share(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if percent <= 0.0 => String::new(),
        _ if percent < 0.1 => "<0.1 %".to_owned(),
        _ if percent > 99.9 && percent < 100.0 => ">99.9 %".to_owned(),
        _ => format!("{percent:.1} %"),
    }
}

/// A number with at most six significant digits.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        return format!("{value:.3e}");
    }
    if value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    let digits = (5.0 - size.max(1e-4).log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_bars_of_equal_scale() {
        assert_eq!(sparkline(&[0.0, 1.0, 4.0, 8.0]), " ▂▅█");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[0.0, f64::NAN]), "  ");
        assert_eq!(sparkline(&[1.0; 30]).chars().count(), 20);
    }

    #[test]
    fn numbers_and_shares_are_short_and_honest() {
        for (value, text) in [
            (0.0, "0"),
            (12.0, "12"),
            (12.345678, "12.3457"),
            (0.25, "0.25"),
            (-1234567.5, "-1234568"),
            (1e20, "1.000e20"),
            (0.00001, "1.000e-5"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(share(0.0), "");
        assert_eq!(share(0.00001), "<0.1 %");
        assert_eq!(share(0.024), "2.4 %");
        assert_eq!(share(0.99999), ">99.9 %");
        assert_eq!(share(1.0), "100.0 %");
    }

    #[tokio::test]
    async fn a_file_is_shown_column_by_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "n,word,same,at\n1,a,x,2013-01-01\n2,b,x,2013-01-03\nNA,a,x,2013-01-02\n")
            .unwrap();
        let profile = profile_path(&path, &ReadOptions::default()).await.unwrap();
        let lines = lines(&profile);
        assert_eq!(lines[0].missing, "33.3 %");
        assert_eq!(lines[0].range, "1 … 2");
        assert_eq!((lines[1].range.as_str(), lines[1].histogram.as_str()), ("a, b", "█▅"));
        assert_eq!(lines[2].notes, "constant");
        assert_eq!(lines[3].range, "2013-01-01T00:00:00Z … 2013-01-03T00:00:00Z");
    }
}
