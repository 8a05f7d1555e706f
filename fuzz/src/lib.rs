//! Fuzz targets: every door at which bytes from outside come in, as a function of bytes.
//!
//! A target reads what it is given as a user's file, request or object would be read. It may be refused
//! with an error; it must not panic, hang, or take memory that the input does not warrant. Where something
//! is written as well as read, the target also says that what was read is written the same again.
//!
//! The engine (libFuzzer, `run.sh`) finds inputs; `tests/replay.rs` keeps to what it has found, in every
//! run of the tests and without the engine.

mod archives;
mod objects;
mod projects;
mod remotes;
mod requests;
mod tables;
mod workbooks;

/// One door.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder of seeds.
    pub name: &'static str,
    /// What is done with the bytes.
    pub run: fn(&[u8]),
}

/// All of them, in the order of the lifecycle.
pub const TARGETS: &[Target] = &[
    Target { name: "project", run: projects::project },
    Target { name: "package", run: projects::package },
    Target { name: "lock", run: projects::lock },
    Target { name: "condition", run: projects::condition },
    Target { name: "source", run: projects::source },
    Target { name: "csv", run: tables::csv },
    Target { name: "json", run: tables::json },
    Target { name: "parquet", run: tables::parquet },
    Target { name: "arrow", run: tables::arrow },
    Target { name: "sheet", run: tables::sheet },
    Target { name: "ods", run: workbooks::ods },
    Target { name: "xlsx", run: workbooks::xlsx },
    Target { name: "xlsb", run: workbooks::xlsb },
    Target { name: "studio", run: tables::studio },
    Target { name: "cvat", run: tables::cvat },
    Target { name: "profile", run: tables::profile },
    Target { name: "folder", run: tables::folder },
    Target { name: "checks", run: tables::checks },
    Target { name: "suite", run: tables::suite },
    Target { name: "rule", run: tables::rule },
    Target { name: "zip", run: archives::zip },
    Target { name: "tar", run: archives::tar },
    Target { name: "tgz", run: archives::tgz },
    Target { name: "listing", run: objects::listing },
    Target { name: "segment", run: remotes::segment },
    Target { name: "pack", run: remotes::pack },
    Target { name: "note", run: remotes::note },
    Target { name: "notebook", run: projects::notebook },
    Target { name: "percent", run: projects::percent },
    Target { name: "filter", run: requests::filter },
    Target { name: "onnx", run: requests::onnx },
];

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The bytes as text; fuzzing texts with bytes that are none would teach the engine nothing.
fn text(bytes: &[u8], then: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        then(text);
    }
}
