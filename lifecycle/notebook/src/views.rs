//! What widgets show where no script runs: the outputs that they hold.

use serde_json::{Map, Value};

use crate::document::Notebook;
use crate::execute::widgets::MEDIA;

/// What stands before the id of a widget in the state of another.
const REFERENCE: &str = "IPY_MODEL_";

/// The widgets of a notebook, by their ids.
pub struct Views<'a>(Option<&'a Map<String, Value>>);

impl<'a> Views<'a> {
    /// Those that the notebook's metadata hold.
    pub fn of(notebook: &'a Notebook) -> Self {
        let widgets = notebook.metadata().and_then(|metadata| metadata.get("widgets")?.get(MEDIA));
        Self(widgets.and_then(|widgets| widgets.get("state")?.as_object()))
    }

    /// What is shown of an output: what the widget holds that it is a view of, where that is anything, else itself.
    pub fn shown(&self, output: &'a Value) -> Vec<&'a Value> {
        let view = output.pointer("/data/application~1vnd.jupyter.widget-view+json/model_id");
        let held = view.and_then(Value::as_str).map(|id| self.held(id)).unwrap_or_default();
        if held.is_empty() { vec![output] } else { held }
    }

    /// The outputs in a widget and in those within it, each once.
    fn held(&self, id: &'a str) -> Vec<&'a Value> {
        let (mut seen, mut open, mut held) = (Vec::new(), vec![id], Vec::new());
        while let Some(id) = open.pop() {
            let Some(model) = self.0.and_then(|models| models.get(id)).filter(|_| !seen.contains(&id)) else {
                continue;
            };
            seen.push(id);
            let list = |key: &str| {
                model
                    .get("state")
                    .and_then(|state| state.get(key)?.as_array())
                    .map(Vec::as_slice)
                    .unwrap_or_default()
            };
            held.extend(list("outputs"));
            let children = list("children").iter().rev();
            open.extend(children.filter_map(|child| child.as_str()?.strip_prefix(REFERENCE)));
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_widget_shows_the_outputs_within_it_and_one_without_any_its_text() {
        let mut notebook = Notebook::new("python3", "python");
        let holds = |text: &str| json!({"state": {"outputs": [text]}});
        let children = |ids: &[&str]| json!({"state": {"children": ids}});
        notebook.metadata_mut().insert(
            "widgets".to_owned(),
            json!({ MEDIA: { "state": {
                "box": children(&["IPY_MODEL_slider", "IPY_MODEL_one", "IPY_MODEL_inner", "IPY_MODEL_gone"]),
                "slider": {"state": {}},
                "one": holds("first"),
                "inner": children(&["IPY_MODEL_two", "IPY_MODEL_box"]),
                "two": holds("second"),
            }}}),
        );
        let views = Views::of(&notebook);
        let view = |id: &str| json!({"data": {"application/vnd.jupyter.widget-view+json": {"model_id": id}}});
        assert_eq!(views.shown(&view("box")), ["first", "second"]);
        let plain = view("slider");
        assert_eq!(views.shown(&plain), [&plain]);
        let other = json!({"output_type": "stream"});
        assert_eq!(views.shown(&other), [&other]);
    }
}
