//! Widgets of `ipywidgets`: what they hold is theirs, and what stands in the cell stays there.

use rondo_notebook::document::Notebook;
use rondo_notebook::execute::execute;
use rondo_notebook::html;
use serde_json::Value;

use crate::work::{Work, text};

/// The states of a notebook's widgets of a kind.
fn states<'a>(notebook: &'a Notebook, kind: &str) -> Vec<&'a Value> {
    let widgets = &notebook.metadata().unwrap()["widgets"]["application/vnd.jupyter.widget-state+json"];
    assert_eq!((&widgets["version_major"], &widgets["version_minor"]), (&2.into(), &0.into()));
    let models = widgets["state"].as_object().unwrap().values();
    models.filter(|model| model["model_name"] == kind).map(|model| &model["state"]).collect()
}

#[tokio::test]
async fn what_is_printed_in_an_output_widget_is_its_own_and_it_alone_is_cleared() {
    let Some(work) = Work::new() else { return };
    let cell = "import sys\nimport ipywidgets as w\nfrom IPython.display import display, clear_output\n\
        print('IMPORTANT RESULT 0.93')\ndisplay({'a': 1})\no = w.Output()\n\
        with o:\n    print('gone')\n    clear_output()\n    print('status line')\n    shown = display('before', display_id=True)\n\
        with o:\n    1/0\n\
        shown.update('after')\nprint('end')";
    let executed = execute(work.request(&[
        (cell, &[]),
        ("[output['output_type'] for output in o.outputs]", &[]),
        ("o", &[]),
    ]))
    .await
    .unwrap();
    assert_eq!(executed.cells_run, 3);
    let notebook = work.executed();
    let cells: Vec<String> = notebook.cells.iter().map(text).collect();
    assert_eq!(cells[1], "IMPORTANT RESULT 0.93\n|{'a': 1}|end\n");
    assert_eq!(cells[2], "['stream', 'display_data', 'error']");
    let outputs = &states(&notebook, "OutputModel")[0]["outputs"];
    assert_eq!(outputs[0]["text"], "status line\n");
    assert_eq!(outputs[1]["data"]["text/plain"], "'after'");
    assert_eq!(outputs[2]["ename"], "ZeroDivisionError");
    let page = html::export(&notebook, "n");
    assert!(page.contains("IMPORTANT RESULT") && page.contains("status line") && !page.contains("gone\n"));
}

#[tokio::test]
async fn what_interacts_clears_its_own_output_and_not_the_table_above() {
    let Some(work) = Work::new() else { return };
    let cell = "import ipywidgets as w\nprint('accuracy table')\n\
        @w.interact(x=(0, 5))\ndef g(x=2):\n    print('inter', x)\n\
        i = w.Image(value=b'png!', format='png')\nclosed = w.Text('closed')\nclosed.close()";
    execute(work.request(&[(cell, &[])])).await.unwrap();
    let notebook = work.executed();
    assert!(text(&notebook.cells[1]).starts_with("accuracy table\n|"), "{}", text(&notebook.cells[1]));
    assert_eq!(states(&notebook, "OutputModel")[0]["outputs"][0]["text"], "inter 2\n");
    assert_eq!(states(&notebook, "IntSliderModel")[0]["value"], 2);
    assert_eq!(states(&notebook, "TextModel"), Vec::<&Value>::new());
    let written = std::fs::read_to_string(work.path("out.ipynb")).unwrap();
    assert!(written.contains("\"cG5nIQ==\""), "the picture's bytes");
    assert!(html::export(&notebook, "n").contains("inter 2"));
}

#[tokio::test]
async fn widgets_of_an_earlier_run_are_not_kept() {
    let Some(work) = Work::new() else { return };
    execute(work.request(&[("import ipywidgets\nipywidgets.IntSlider()", &[])])).await.unwrap();
    let mut request = work.request(&[("1", &[])]);
    let mut notebook = work.executed();
    assert!(notebook.metadata().unwrap().contains_key("widgets"));
    notebook.cells.truncate(1);
    request.notebook = Some(notebook);
    execute(request).await.unwrap();
    assert!(!work.executed().metadata().unwrap().contains_key("widgets"));
}
