//! The widgets that cells make: their states, as they stand in the notebook's metadata, and the outputs that
//! `Output` widgets take in the place of the cell.
//!
//! An `Output` widget says by its `msg_id` that it takes what answers this request; of several, the last one does.
//! All widgets together have a bound: one that does not fit any more is forgotten, and the notebook shows the text
//! in its place.
//!
//! Source: *Jupyter widgets*, "Model state" and "Output widget"; the metadata as `@jupyter-widgets/schema` has it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::outputs::{OutputArea, weight};
use crate::wire::Message;

/// The key in the notebook's `metadata.widgets`.
pub const MEDIA: &str = "application/vnd.jupyter.widget-state+json";
/// What a channel of a widget is opened for.
const TARGET: &str = "jupyter.widget";

/// The widgets that are open.
#[derive(Debug)]
pub struct Widgets {
    models: BTreeMap<String, Model>,
    /// Which widget takes what answers a request, as request and widget; of several, the last one does.
    takers: Vec<(String, String)>,
    /// How many bytes they may still take.
    room: usize,
    changed: bool,
    forgotten: bool,
}

/// One widget, as it is at the moment.
#[derive(Debug, Default)]
struct Model {
    state: Map<String, Value>,
    /// Binary parts of the state, by their places in it.
    buffers: Vec<(Value, Bytes)>,
    /// What an `Output` widget holds.
    area: Option<OutputArea>,
    /// Whether the kernel has yet to be told what it holds.
    untold: bool,
}

impl Widgets {
    /// None yet, and room for so many bytes.
    pub fn new(limit: usize) -> Self {
        Self { models: BTreeMap::new(), takers: Vec::new(), room: limit, changed: false, forgotten: false }
    }

    /// Takes a message about a widget.
    pub fn take(&mut self, message: &Message) {
        let content = &message.content;
        let Some(id) = content.get("comm_id").and_then(Value::as_str) else { return };
        match message.kind() {
            "comm_open" if content.get("target_name").is_some_and(|target| target == TARGET) => {
                self.forget(id);
                self.models.insert(id.to_owned(), Model::default());
            }
            "comm_close" => return self.forget(id),
            _ => {}
        }
        let data = content.get("data").unwrap_or(&Value::Null);
        let Some(state) = data.get("state").and_then(Value::as_object) else { return };
        let paths = data.get("buffer_paths").and_then(Value::as_array).into_iter().flatten();
        self.update(id, state, paths.zip(&message.buffers));
    }

    /// Changes the state of a widget, where it is open.
    fn update<'a>(
        &mut self,
        id: &str,
        state: &Map<String, Value>,
        buffers: impl Iterator<Item = (&'a Value, &'a Bytes)>,
    ) {
        let Some(model) = self.models.get_mut(id) else { return };
        self.changed = true;
        let before = model.weight();
        model.update(state, buffers);
        let after = model.weight();
        if after > before.saturating_add(self.room) {
            self.room = self.room.saturating_add(before);
            self.models.remove(id);
            self.takers.retain(|(_, taker)| taker != id);
            self.forgotten = true;
            return;
        }
        self.room = self.room.saturating_add(before).saturating_sub(after);
        if let Some(request) = state.get("msg_id").and_then(Value::as_str) {
            self.takers.retain(|(_, taker)| taker != id);
            if model.area.is_some() && !request.is_empty() {
                self.takers.push((request.to_owned(), id.to_owned()));
            }
        }
    }

    fn forget(&mut self, id: &str) {
        if let Some(model) = self.models.remove(id) {
            self.room = self.room.saturating_add(model.weight());
            self.takers.retain(|(_, taker)| taker != id);
            self.changed = true;
        }
    }

    /// The widget that takes what answers a request.
    pub fn taker(&self, request: &str) -> Option<&str> {
        self.takers.iter().rev().find(|(of, _)| of == request).map(|(_, taker)| taker.as_str())
    }

    /// Lets a widget take something, where it is one that does.
    pub fn give<T>(&mut self, id: &str, give: impl FnOnce(&mut OutputArea) -> T) -> Option<T> {
        let model = self.models.get_mut(id)?;
        let area = model.area.as_mut()?;
        let before = area.size();
        area.allow(before.saturating_add(self.room));
        let given = give(area);
        self.room = self.room.saturating_add(before).saturating_sub(area.size());
        (model.untold, self.changed) = (true, true);
        Some(given)
    }

    /// What the kernel has yet to be told: the outputs of widgets that took some, by the widgets' ids.
    pub fn untold(&mut self) -> Vec<(String, Value)> {
        let told = |(id, model): (&String, &mut Model)| {
            let untold = std::mem::take(&mut model.untold);
            Some((id.clone(), model.outputs()?)).filter(|_| untold)
        };
        self.models.iter_mut().filter_map(told).collect()
    }

    /// Whether one was forgotten because there was no room for it.
    pub fn has_forgotten(&self) -> bool {
        self.forgotten
    }

    /// The notebook's `metadata.widgets`, where it has changed since it was last asked for.
    pub fn metadata(&mut self) -> Option<Value> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let models = self.models.iter().filter(|(_, model)| model.state.contains_key("_model_name"));
        let state: Map<String, Value> = models.map(|(id, model)| (id.clone(), model.to_value())).collect();
        Some(json!({ MEDIA: { "state": state, "version_major": 2, "version_minor": 0 } }))
    }
}

impl Model {
    fn update<'a>(
        &mut self,
        state: &Map<String, Value>,
        buffers: impl Iterator<Item = (&'a Value, &'a Bytes)>,
    ) {
        let replaced =
            |path: &Value| path.get(0).and_then(Value::as_str).is_some_and(|key| state.contains_key(key));
        self.buffers.retain(|(path, _)| !replaced(path));
        for (path, buffer) in buffers {
            self.buffers.retain(|(known, _)| known != path);
            self.buffers.push((path.clone(), buffer.clone()));
        }
        self.state.extend(state.iter().map(|(key, value)| (key.clone(), value.clone())));
        if !self.is_output() {
            return;
        }
        // What fits is said when there is something to take.
        let area = self.area.get_or_insert_with(|| OutputArea::new(0));
        if let Some(Value::Array(outputs)) = self.state.remove("outputs") {
            area.replace(outputs);
        }
    }

    fn is_output(&self) -> bool {
        let is = |key: &str, value: &str| self.state.get(key).is_some_and(|known| known == value);
        is("_model_module", "@jupyter-widgets/output") && is("_model_name", "OutputModel")
    }

    fn outputs(&self) -> Option<Value> {
        self.area.as_ref().map(|area| Value::Array(area.outputs().to_vec()))
    }

    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        let state = self.state.iter().map(|(key, value)| key.len() + weight(value)).sum::<usize>();
        let buffers = self.buffers.iter().map(|(path, buffer)| weight(path) + buffer.len()).sum::<usize>();
        state + buffers + self.area.as_ref().map_or(0, OutputArea::size)
    }

    fn to_value(&self) -> Value {
        let mut state = self.state.clone();
        if let Some(outputs) = self.outputs() {
            state.insert("outputs".to_owned(), outputs);
        }
        let of = |key: &str| self.state.get(key).cloned().unwrap_or(Value::Null);
        let mut model = json!({
            "model_module": of("_model_module"),
            "model_module_version": of("_model_module_version"),
            "model_name": of("_model_name"),
            "state": state,
        });
        if let (false, Some(model)) = (self.buffers.is_empty(), model.as_object_mut()) {
            let buffer = |(path, bytes): &(Value, Bytes)| json!({ "data": STANDARD.encode(bytes), "encoding": "base64", "path": path });
            model.insert("buffers".to_owned(), self.buffers.iter().map(buffer).collect());
        }
        model
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, content: Value, buffers: &[&'static [u8]]) -> Message {
        let mut message = Message::request(kind, "s", content);
        message.buffers = buffers.iter().map(|bytes| Bytes::from_static(bytes)).collect();
        message
    }

    fn open(widgets: &mut Widgets, id: &str, state: Value) {
        let content = json!({"comm_id": id, "target_name": TARGET, "data": {"state": state}});
        widgets.take(&message("comm_open", content, &[]));
    }

    fn change(widgets: &mut Widgets, id: &str, state: Value) {
        let content = json!({"comm_id": id, "data": {"method": "update", "state": state}});
        widgets.take(&message("comm_msg", content, &[]));
    }

    fn output_model() -> Value {
        json!({"_model_module": "@jupyter-widgets/output", "_model_name": "OutputModel", "msg_id": "", "outputs": []})
    }

    #[test]
    fn an_output_widget_takes_what_answers_its_request_and_the_last_one_does() {
        let mut widgets = Widgets::new(10_000);
        for id in ["a", "b"] {
            open(&mut widgets, id, output_model());
            change(&mut widgets, id, json!({"msg_id": "r"}));
        }
        assert_eq!((widgets.taker("r"), widgets.taker("other")), (Some("b"), None));
        widgets.give("b", |area| area.stream("stdout", "in b")).unwrap();
        change(&mut widgets, "b", json!({"msg_id": ""}));
        assert_eq!(widgets.taker("r"), Some("a"));
        let told = widgets.untold();
        assert_eq!(
            told,
            [("b".to_owned(), json!([{"name": "stdout", "output_type": "stream", "text": "in b"}]))]
        );
        assert_eq!(widgets.untold(), []);
        let metadata = widgets.metadata().unwrap();
        assert_eq!(metadata[MEDIA]["state"]["b"]["state"]["outputs"][0]["text"], "in b");
        assert_eq!(metadata[MEDIA]["state"]["a"]["state"]["outputs"], json!([]));
        assert_eq!(widgets.metadata(), None);
    }

    #[test]
    fn what_the_kernel_sets_replaces_what_a_widget_holds() {
        let mut widgets = Widgets::new(10_000);
        open(&mut widgets, "a", output_model());
        widgets.give("a", |area| area.stream("stdout", "old")).unwrap();
        change(
            &mut widgets,
            "a",
            json!({"outputs": [{"output_type": "stream", "name": "stdout", "text": "new"}]}),
        );
        widgets.give("a", |area| area.stream("stdout", "er")).unwrap();
        let metadata = widgets.metadata().unwrap();
        assert_eq!(metadata[MEDIA]["state"]["a"]["state"]["outputs"][0]["text"], "newer");
    }

    #[test]
    fn buffers_stand_by_their_place_and_go_with_the_value() {
        let mut widgets = Widgets::new(10_000);
        let state = json!({"_model_name": "ImageModel", "format": "png"});
        let content = json!({
            "comm_id": "i", "target_name": TARGET, "data": {"state": state, "buffer_paths": [["value"]]}
        });
        widgets.take(&message("comm_open", content, &[b"png!"]));
        let buffers = json!([{"data": "cG5nIQ==", "encoding": "base64", "path": ["value"]}]);
        assert_eq!(widgets.metadata().unwrap()[MEDIA]["state"]["i"]["buffers"], buffers);
        change(&mut widgets, "i", json!({"value": null}));
        assert_eq!(widgets.metadata().unwrap()[MEDIA]["state"]["i"].get("buffers"), None);
    }

    #[test]
    fn what_does_not_fit_is_forgotten_and_what_is_closed_makes_room() {
        let mut widgets = Widgets::new(100);
        open(&mut widgets, "a", json!({"_model_name": "TextModel", "value": "x".repeat(60)}));
        open(&mut widgets, "b", json!({"_model_name": "TextModel", "value": "x".repeat(60)}));
        assert!(widgets.has_forgotten());
        assert_eq!(widgets.metadata().unwrap()[MEDIA]["state"].as_object().unwrap().len(), 1);
        widgets.take(&message("comm_close", json!({"comm_id": "a"}), &[]));
        open(&mut widgets, "c", json!({"_model_name": "TextModel", "value": "x".repeat(60)}));
        assert!(widgets.metadata().unwrap()[MEDIA]["state"].get("c").is_some());
        assert_eq!(widgets.room, 100 - widgets.models["c"].weight());
    }

    #[test]
    fn outputs_in_a_widget_take_of_the_same_room() {
        let mut widgets = Widgets::new(400);
        open(&mut widgets, "a", output_model());
        widgets.give("a", |area| area.stream("stdout", &"x".repeat(1000))).unwrap();
        let held = widgets.metadata().unwrap()[MEDIA]["state"]["a"]["state"]["outputs"].to_string();
        assert!(held.len() < 600 && held.contains("were dropped"), "{held}");
    }

    #[test]
    fn other_channels_and_odd_messages_are_passed_over() {
        let mut widgets = Widgets::new(1000);
        widgets.take(&message(
            "comm_open",
            json!({"comm_id": "x", "target_name": "other", "data": {"state": {}}}),
            &[],
        ));
        for content in [json!(null), json!({"comm_id": 1}), json!({"comm_id": "x", "data": {"state": []}})] {
            widgets.take(&message("comm_msg", content, &[]));
        }
        change(&mut widgets, "gone", json!({"msg_id": "r"}));
        assert_eq!((widgets.metadata(), widgets.taker("r")), (None, None));
        assert_eq!(widgets.give("gone", |_| ()), None);
    }
}
