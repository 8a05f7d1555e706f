//! Parquet files, by way of the one home of arrow.

use std::io::Write;
use std::path::Path;

use rondo_table::difference::{self, TableDifference};

use super::{Finding, Kind};

/// Two Parquet files; nothing where one cannot be read.
pub(super) fn parquet(old: &Path, new: &Path) -> Option<Vec<Finding>> {
    difference::parquet(old, new).ok().map(|found| told(&found))
}

/// The same for those that lie in an archive.
pub(super) fn parquet_bytes(old: &[u8], new: &[u8]) -> Option<Vec<Finding>> {
    let place = |bytes: &[u8]| {
        let mut file = tempfile::NamedTempFile::new().ok()?;
        file.write_all(bytes).ok()?;
        Some(file)
    };
    let (old, new) = (place(old)?, place(new)?);
    parquet(old.path(), new.path())
}

fn told(found: &TableDifference) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(columns) = &found.columns {
        findings.push(Finding::new(Kind::Shape, columns.clone()));
    }
    if let Some((was, is)) = found.rows {
        findings.push(Finding::new(Kind::Shape, format!("it had {was} rows and has {is}")));
    }
    if found.reordered {
        findings.push(Finding::new(Kind::Order, "its rows are the same in another order"));
    } else {
        for cells in &found.cells {
            let finding = match cells.spread {
                Some(spread) => Finding::numbers(spread, &format!(", first in row {}", cells.first)),
                None => {
                    let many = if cells.count == 1 {
                        "1 cell differs".to_owned()
                    } else {
                        format!("{} cells differ", cells.count)
                    };
                    Finding::new(Kind::Text, format!("{many}, first in row {}", cells.first))
                }
            };
            findings.push(finding.within(&format!("column {}", cells.column)));
        }
    }
    if let Some((was, is)) = &found.writers {
        findings.push(Finding::new(Kind::TableWriter, format!("it was written by `{was}`, now by `{is}`")));
    } else if findings.is_empty() {
        let text = "its cells are the same, and are laid out in the file otherwise";
        findings.push(Finding::new(Kind::TableWriter, text));
    }
    findings
}
