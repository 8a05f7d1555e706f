//! The files that a check writes beside its answer, wherever checks are run by hand.

use std::path::{Path, PathBuf};

use rondo_core::Code;
use rondo_data::check::FileReport;
use rondo_table::checks::FailingRows;

use super::{html, junit, verdict};
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::Error;

/// Rows that a page shows.
pub(super) const PAGE_ROWS: usize = 100;

/// Which files are wanted.
#[derive(clap::Args)]
pub struct Files {
    /// Also write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also write the results as one page, with the first rows that fail
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write the rows that fail: CSV where the name ends so, else Parquet
    #[arg(long, value_name = "FILE")]
    failing: Option<PathBuf>,
    /// So many failing rows are written at most
    #[arg(long, value_name = "ROWS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    limit: u32,
}

impl Files {
    /// How many failing rows have to be gathered for them.
    pub fn keep(&self) -> usize {
        match (&self.failing, &self.html) {
            (Some(_), _) => usize::try_from(self.limit).unwrap_or(usize::MAX),
            (None, Some(_)) => PAGE_ROWS,
            (None, None) => 0,
        }
    }

    /// Writes them.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(&self, session: &Session, title: &str, reports: &[FileReport]) -> Outcome {
        self.write_with(session, title, reports, &[])
    }

    /// The same, with what is true of this time alone.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write_with(
        &self,
        session: &Session,
        title: &str,
        reports: &[FileReport],
        properties: &[(&str, String)],
    ) -> Outcome {
        for given in [&self.junit, &self.html, &self.failing].into_iter().flatten() {
            has_folder(session, given)?;
        }
        let write = |given: &Path, text: &str| -> Outcome {
            let path = session.path(given);
            std::fs::write(&path, text).map_err(Error::io("write", &path))?;
            Ok(())
        };
        if let Some(given) = &self.junit {
            write(given, &junit::document(reports, properties))?;
        }
        if let Some(given) = &self.html {
            write(given, &html::page(title, &verdict(reports), reports))?;
        }
        if let Some(given) = &self.failing {
            let parts: Vec<&FailingRows> =
                reports.iter().filter_map(|report| report.failing.as_ref()).collect();
            match FailingRows::join(&parts)? {
                Some(rows) => {
                    rows.write(&session.path(given))?;
                    session.printer().note(&format!("wrote {} rows to `{}`", rows.len(), given.display()));
                }
                None => session.printer().note("no row fails: nothing was written"),
            }
        }
        Ok(())
    }
}

/// Whether the folder is there in which a file is to be written: it is not made for a slip of the pen.
///
/// # Errors
/// When it is not.
pub(in crate::cli) fn has_folder(session: &Session, given: &Path) -> Outcome {
    let path = session.path(given);
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => Err(Failure::hinted(
            Code::Usage,
            format!("write `{}`: there is no folder `{}`", given.display(), folder.display()),
            format!("mkdir -p {}", folder.display()),
        )),
        Some(_) | None => Ok(()),
    }
}
