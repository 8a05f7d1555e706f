//! How many rows of a table repeat another, by a hash of eight bytes a row.

use std::hash::{DefaultHasher, Hasher};

use crate::error::Result;
use crate::read::TableReader;
use crate::rowdiff::cells::{Form, encode};

/// The rows that repeat an earlier one, in these columns or (where none are named) in all that can be
/// compared. Two rows that differ are taken for the same about once in 10¹⁹ pairs.
///
/// # Errors
/// When a column is not there or the table cannot be read.
pub fn count(reader: TableReader, columns: &[String]) -> Result<u64> {
    let plain = |column: &&rondo_core::signature::Column| {
        Form::of(column.column_type, column.column_type).is_some()
            && (columns.is_empty() || columns.contains(&column.name))
    };
    let mut names: Vec<String> = reader.columns().iter().filter(plain).map(|c| c.name.clone()).collect();
    names.extend(columns.iter().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let reader = reader.select(&names)?.exactly();
    let forms: Vec<Form> = reader
        .columns()
        .iter()
        .map(|column| Form::of(column.column_type, column.column_type).unwrap_or(Form::Text))
        .collect();
    let mut hashes: Vec<u64> = Vec::new();
    let mut bytes = Vec::new();
    for batch in reader {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            bytes.clear();
            batch
                .columns()
                .iter()
                .zip(&forms)
                .for_each(|(array, form)| encode(array, row, *form, &mut bytes));
            let mut hasher = DefaultHasher::new();
            hasher.write(&bytes);
            hashes.push(hasher.finish());
        }
    }
    let all = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    Ok((all - hashes.len()) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_repeat_another_are_counted() {
        let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        std::fs::write(file.path(), "id,s\n1,a\n1,\n1,a\n2,a\n1,a\n").unwrap();
        let of = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
            count(crate::read::open(file.path()).unwrap(), &columns)
        };
        assert_eq!((of(&[]).unwrap(), of(&["id"]).unwrap(), of(&["s", "id"]).unwrap()), (2, 3, 2));
        assert!(of(&["ident"]).is_err());
    }
}
