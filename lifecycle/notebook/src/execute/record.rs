//! What a run writes into the executed copy beside the outputs: metadata and the banner of a failure.
//!
//! Keys and tags are papermill's, so that what reads its notebooks reads these.

use rondo_core::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::document::{Cell, Notebook, object_in};
use crate::error::Kept;
use crate::execute::ExecuteRequest;

/// The tag of the cells that say where a run failed.
const BANNER: &str = "papermill-error-cell-tag";
/// The name that the link in the banner leads to.
const ANCHOR: &str = "papermill-error-cell";
const STYLE: &str = "color:red; font-family:sans-serif; font-size:";

/// When something began, if that is to be recorded.
#[derive(Debug, Clone, Copy)]
pub struct Times(Option<(Timestamp, Instant)>);

impl Times {
    /// Begins now.
    pub fn start(recorded: bool) -> Self {
        Self(recorded.then(|| (now(), Instant::now())))
    }

    fn write(self, into: &mut Map<String, Value>) {
        let Some((start, clock)) = self.0 else { return };
        into.insert("start_time".to_owned(), start.rfc3339().into());
        into.insert("end_time".to_owned(), now().rfc3339().into());
        into.insert("duration".to_owned(), clock.elapsed().as_secs_f64().into());
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(0))
}

/// How a cell's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Well, or with an error that was expected.
    Completed,
    /// Not well.
    Failed,
}

/// Writes the notebook's metadata at the start.
pub fn begin(notebook: &mut Notebook, request: &ExecuteRequest, times: &Times) {
    let path = |path: &std::path::Path| match request.timestamps {
        true => Value::from(path.to_string_lossy().into_owned()),
        false => Value::Null,
    };
    let parameters: Map<String, Value> = request.given.shown().into_iter().collect();
    let mut record = Map::new();
    record.insert("default_parameters".to_owned(), json!({}));
    record.insert("environment_variables".to_owned(), json!({}));
    record.insert("exception".to_owned(), Value::Null);
    record.insert("input_path".to_owned(), path(&request.input));
    let output = match &request.kept {
        Some(Kept::File(kept)) => kept,
        Some(Kept::Artifact(..)) | None => &request.output,
    };
    record.insert("output_path".to_owned(), path(output));
    record.insert("parameters".to_owned(), Value::Object(parameters));
    record.insert("version".to_owned(), concat!("rondo ", env!("CARGO_PKG_VERSION")).into());
    times.write(&mut record);
    notebook.metadata_mut().insert("papermill".to_owned(), Value::Object(record));
}

/// Writes what the kernel says of its language.
pub fn language(notebook: &mut Notebook, info: &Value) {
    if let Some(language) = info.get("language_info").filter(|language| language.get("name").is_some()) {
        notebook.metadata_mut().insert("language_info".to_owned(), language.clone());
    }
}

/// Writes the notebook's metadata at the end.
pub fn end(notebook: &mut Notebook, times: &Times, failed: bool) {
    let record = object_in(notebook.metadata_mut(), "papermill");
    record.insert("exception".to_owned(), if failed { Value::Bool(true) } else { Value::Null });
    times.write(record);
}

/// Writes a cell's metadata.
pub fn cell(cell: &mut Cell, times: &Times, status: Status) {
    let mut record = Map::new();
    record.insert("exception".to_owned(), Value::Bool(status == Status::Failed));
    let text = match status {
        Status::Completed => "completed",
        Status::Failed => "failed",
    };
    record.insert("status".to_owned(), text.into());
    times.write(&mut record);
    cell.metadata_mut().insert("papermill".to_owned(), Value::Object(record));
}

/// Puts a banner on top that links to the failed cell, and a mark before that cell.
pub fn banner(notebook: &mut Notebook, failed: usize) {
    let count = notebook.cells.get(failed).and_then(Cell::execution_count);
    let count = count.map_or_else(|| " ".to_owned(), |count| count.to_string());
    let top = format!(
        "<span style=\"{STYLE}2em;\">This run stopped with an error at '<a href=\"#{ANCHOR}\">In [{count}]</a>'.</span>"
    );
    let mark = format!("<span id=\"{ANCHOR}\" style=\"{STYLE}2em;\">The run stopped at this cell:</span>");
    let place = failed.min(notebook.cells.len());
    notebook.cells.insert(place, Cell::markdown(&mark, &[BANNER]));
    notebook.cells.insert(0, Cell::markdown(&top, &[BANNER]));
    notebook.complete_ids();
}

/// Takes the banners of an earlier run out.
pub fn remove_banners(notebook: &mut Notebook) {
    notebook.cells.retain(|cell| !cell.has_tag(BANNER));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners_stand_on_top_and_before_the_cell_and_can_be_taken_out() {
        let mut notebook = Notebook::new("python3", "python");
        notebook.cells = vec![Cell::code("a", &[]), Cell::code("b", &[])];
        notebook.complete_ids();
        let before = notebook.clone();
        banner(&mut notebook, 1);
        let kinds: Vec<&str> = notebook.cells.iter().map(Cell::kind).collect();
        assert_eq!(kinds, ["markdown", "code", "markdown", "code"]);
        assert!(notebook.cells.iter().all(|cell| cell.id().is_some()));
        remove_banners(&mut notebook);
        assert_eq!(notebook, before);
    }

    #[test]
    fn without_timestamps_nothing_depends_on_when_or_where() {
        let record = |output: &str| {
            let mut notebook = Notebook::new("python3", "python");
            let request = ExecuteRequest::new("in.ipynb", output, Default::default());
            let times = Times::start(request.timestamps);
            begin(&mut notebook, &request, &times);
            end(&mut notebook, &times, false);
            notebook.to_bytes()
        };
        assert_eq!(record("/one/out.ipynb"), record("/two/out.ipynb"));
    }
}
