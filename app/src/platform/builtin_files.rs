//! The data of the tests of the packages that are built in: with it `rondo package test split` finds its rows
//! wherever it is called.

use std::fs;
use std::path::Path;

use super::Error;

/// A package's files, each with its path beside `package.yaml`.
type Files = &'static [(&'static str, &'static [u8])];

macro_rules! files {
    ($($name:literal: [$($file:literal),* $(,)?]),* $(,)?) => {
        &[$(($name, &[$((
            $file,
            include_bytes!(concat!("../../../packages/", $name, "/", $file)).as_slice(),
        )),*])),*]
    };
}

const FILES: &[(&str, Files)] = files![
    "balance": ["tests/rows.csv"],
    "check": ["tests/rows.csv"],
    "cross-validate": ["tests/rows.csv"],
    "dash": ["tests/app.py"],
    "evaluate": ["tests/grades.csv", "tests/grades.onnx", "tests/linear.onnx", "tests/minutes.csv", "tests/rows.csv", "tests/tree.onnx"],
    "gradio": ["tests/app.py"],
    "images": ["tests/broken/no-picture.png", "tests/pictures/cat/one.png", "tests/pictures/dog/two.png"],
    "leakage": ["tests/mixed.csv", "tests/test.csv", "tests/train.csv"],
    "marimo": ["tests/app.py"],
    "package-model": ["tests/rows.csv", "tests/tree.onnx"],
    "panel": ["tests/app.py"],
    "papermill": ["tests/count.ipynb", "tests/rows.csv"],
    "profile": ["tests/rows.csv"],
    "shiny": ["tests/app.py"],
    "split": ["tests/rows.csv"],
    "sql": ["tests/excel.csv", "tests/rows.csv"],
    "streamlit": ["tests/app.py"],
];

/// Lays a package's files out in a folder.
///
/// # Errors
/// When the disk refuses.
pub fn lay_out(package: &str, folder: &Path) -> Result<(), Error> {
    let files = FILES.iter().filter(|(name, _)| *name == package).flat_map(|(_, files)| files.iter());
    for (path, bytes) in files {
        let place = folder.join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(Error::io("make", parent))?;
        }
        fs::write(&place, bytes).map_err(Error::io("write", &place))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::builtins;

    #[test]
    fn every_test_of_a_package_that_is_built_in_has_its_data() {
        for package in builtins::known().packages.iter() {
            let folder = tempfile::tempdir().unwrap();
            lay_out(&package.name, folder.path()).unwrap();
            assert!(
                !package.tests.is_empty() || package.name == "jupyterlab",
                "{} has no tests",
                package.name
            );
            for test in package.tests.values() {
                let given = test
                    .with
                    .iter()
                    .filter(|(key, _)| package.field(key).is_some_and(|field| field.kind.is_file()));
                let given = given.filter_map(|(_, value)| value.as_str().map(str::to_owned));
                for file in test.inputs.values().cloned().chain(given) {
                    assert!(folder.path().join(&file).exists(), "{}: {file}", package.name);
                }
            }
        }
    }
}
