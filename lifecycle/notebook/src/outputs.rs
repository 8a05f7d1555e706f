//! The outputs of one cell while it runs: merged, updated, cleared and bounded as Jupyter shows them.
//!
//! Outputs become nbformat values at once. Text of one stream that comes in pieces is one output, whatever
//! the pieces' timing, and a carriage return overwrites its line, so that a progress bar leaves one line
//! behind. Beyond the limit outputs are dropped with one notice: a runaway loop cannot fill the memory.

use serde_json::{Map, Value, json};

/// The longest traceback that is kept, in bytes.
const LONGEST_TRACEBACK: usize = 256 * 1024;

/// The outputs of one cell.
#[derive(Debug)]
pub struct OutputArea {
    outputs: Vec<Value>,
    size: usize,
    limit: usize,
    full: bool,
    clear_next: bool,
}

impl OutputArea {
    /// An empty area that holds about so many bytes.
    pub fn new(limit: usize) -> Self {
        Self { outputs: Vec::new(), size: 0, limit, full: false, clear_next: false }
    }

    /// The outputs so far.
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }

    /// About how many bytes they take.
    pub fn size(&self) -> usize {
        self.size
    }

    /// From now on about so many bytes fit.
    pub fn allow(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Puts other outputs, which are valid, in the place of all.
    pub fn replace(&mut self, outputs: Vec<Value>) {
        self.clear(false);
        self.size = outputs.iter().map(weight).sum();
        self.outputs = outputs;
    }

    /// Whether an error is among them.
    pub fn has_error(&self) -> bool {
        self.outputs.iter().any(|output| output.get("output_type").is_some_and(|kind| kind == "error"))
    }

    /// Adds text of a stream. What a carriage return overwrites takes no room.
    pub fn stream(&mut self, name: &str, text: &str) {
        self.clear_if_due();
        if !self.full && !self.append(name, text, self.limit.saturating_sub(self.size)) {
            self.drop_rest();
        }
    }

    /// Adds text to a stream that may grow by so many bytes; whether it had room.
    fn append(&mut self, name: &str, text: &str, room: usize) -> bool {
        let place = self.place_of(name);
        let Some(Value::String(known)) =
            self.outputs.get_mut(place).and_then(|output| output.get_mut("text"))
        else {
            return true;
        };
        let before = known.len();
        overwrite(known, text);
        let most = before.saturating_add(room);
        let fits = known.len() <= most;
        if !fits {
            known.truncate(known.floor_char_boundary(most));
        }
        self.size = self.size.saturating_sub(before).saturating_add(known.len());
        fits
    }

    /// The place of the output that a stream goes on in.
    fn place_of(&mut self, name: &str) -> usize {
        let is = |output: &Value, key: &str, text: &str| output.get(key).is_some_and(|known| known == text);
        let streams = self.outputs.iter().rev().take_while(|output| is(output, "output_type", "stream"));
        let back = streams.enumerate().find(|(_, output)| is(output, "name", name)).map(|(back, _)| back);
        let last = self.outputs.len();
        back.map_or_else(
            || {
                self.outputs.push(json!({ "name": name, "output_type": "stream", "text": "" }));
                last
            },
            |back| last.saturating_sub(back + 1),
        )
    }

    /// Adds what a cell displays; its place among the outputs, unless it was dropped.
    pub fn display(&mut self, content: &Value) -> Option<usize> {
        let output = json!({
            "data": bundle(content.get("data")),
            "metadata": object(content.get("metadata")),
            "output_type": "display_data",
        });
        self.push(output)
    }

    /// Adds the value of a cell's last expression; its place, unless it was dropped.
    pub fn result(&mut self, content: &Value) -> Option<usize> {
        let output = json!({
            "data": bundle(content.get("data")),
            "execution_count": content.get("execution_count").filter(|count| count.is_u64()),
            "metadata": object(content.get("metadata")),
            "output_type": "execute_result",
        });
        self.push(output)
    }

    /// Changes what was displayed at a place.
    pub fn update(&mut self, place: usize, content: &Value) {
        let data = bundle(content.get("data"));
        let Some(Value::Object(output)) = self.outputs.get_mut(place) else { return };
        let before = output.get("data").map_or(0, weight);
        let after = weight(&data);
        if self.size.saturating_sub(before) + after > self.limit {
            return;
        }
        self.size = self.size.saturating_sub(before) + after;
        output.insert("data".to_owned(), data);
        output.insert("metadata".to_owned(), object(content.get("metadata")));
    }

    /// Adds an error. It is kept even where the area is full: it is the cause that is looked for.
    pub fn error(&mut self, content: &Value) {
        self.clear_if_due();
        self.outputs.push(Failure::read(content).to_output());
    }

    /// Clears the outputs, at once or when the next one comes.
    pub fn clear(&mut self, wait: bool) {
        if wait {
            self.clear_next = true;
        } else {
            self.outputs.clear();
            (self.size, self.full, self.clear_next) = (0, false, false);
        }
    }

    fn clear_if_due(&mut self) {
        if self.clear_next {
            self.clear(false);
        }
    }

    fn push(&mut self, output: Value) -> Option<usize> {
        self.clear_if_due();
        let weight = output.get("data").map_or(0, weight);
        // What is small may still fit; a cell's record should not have holes.
        if self.full || self.size.saturating_add(weight) > self.limit {
            self.drop_rest();
            return None;
        }
        self.size += weight;
        self.outputs.push(output);
        Some(self.outputs.len() - 1)
    }

    fn drop_rest(&mut self) {
        if !self.full {
            self.full = true;
            let notice = format!("\n[outputs beyond {} bytes were dropped]\n", self.limit);
            self.append("stderr", &notice, notice.len());
        }
    }
}

/// An error of a cell, as the kernel told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The error's class.
    pub name: String,
    /// Its message.
    pub value: String,
    /// Its traceback with colours.
    pub traceback: Vec<String>,
}

impl Failure {
    /// Reads an `error` message or a failed `execute_reply`.
    pub fn read(content: &Value) -> Self {
        let text = |key: &str| content.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut room = LONGEST_TRACEBACK;
        let lines = content.get("traceback").and_then(Value::as_array).into_iter().flatten();
        let traceback = lines
            .filter_map(Value::as_str)
            .take_while(|line| {
                let fits = line.len() <= room;
                room = room.saturating_sub(line.len());
                fits
            })
            .map(str::to_owned)
            .collect();
        Self { name: text("ename"), value: text("evalue"), traceback }
    }

    fn to_output(&self) -> Value {
        json!({
            "ename": self.name,
            "evalue": self.value,
            "output_type": "error",
            "traceback": self.traceback,
        })
    }

    /// The traceback's lines without colours.
    pub fn lines(&self) -> Vec<String> {
        self.traceback
            .iter()
            .flat_map(|part| plain(part).lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }
}

/// The data of an output as nbformat wants them: texts are texts, only JSON types hold other values.
fn bundle(data: Option<&Value>) -> Value {
    let entries = data.and_then(Value::as_object).into_iter().flatten().map(|(media, value)| {
        let json = media == "application/json" || media.ends_with("+json");
        let value = match value {
            value if json => value.clone(),
            Value::String(_) => value.clone(),
            Value::Array(lines) if lines.iter().all(Value::is_string) => {
                Value::String(crate::document::joined(value))
            }
            other => Value::String(other.to_string()),
        };
        (media.clone(), value)
    });
    Value::Object(entries.collect())
}

fn object(value: Option<&Value>) -> Value {
    value.filter(|value| value.is_object()).cloned().unwrap_or_else(|| Value::Object(Map::new()))
}

/// About how many bytes a value takes.
pub(crate) fn weight(data: &Value) -> usize {
    match data {
        Value::String(text) => text.len(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + weight(value)).sum(),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// Adds text to a stream's text: what follows a carriage return overwrites its line.
pub(crate) fn overwrite(text: &mut String, new: &str) {
    for piece in new.split_inclusive('\r') {
        if piece != "\r" && text.ends_with('\r') {
            text.truncate(text.trim_end_matches('\r').len());
            if !piece.starts_with('\n') {
                text.truncate(text.rfind('\n').map_or(0, |at| at + 1));
            }
        }
        text.push_str(piece);
    }
}

/// A text without terminal escapes.
pub fn plain(text: &str) -> String {
    if !text.contains('\u{1b}') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            out.push(c);
            continue;
        }
        match chars.next() {
            // A control sequence ends with a letter or one of a few signs.
            Some('[') => while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
            // An operating system command ends with BEL or ESC \.
            Some(']') => {
                while let Some(c) = chars.next() {
                    if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                        break;
                    }
                }
            }
            Some(_) | None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(area: &OutputArea) -> Vec<(String, String)> {
        let text = |output: &Value, key: &str| output[key].as_str().unwrap_or("").to_owned();
        area.outputs().iter().map(|output| (text(output, "name"), text(output, "text"))).collect()
    }

    #[test]
    fn pieces_of_a_stream_are_one_output_however_they_interleave() {
        let mut area = OutputArea::new(1000);
        for (name, text) in [("stdout", "a"), ("stderr", "x\n"), ("stdout", "b\n")] {
            area.stream(name, text);
        }
        assert_eq!(texts(&area), [("stdout".into(), "ab\n".into()), ("stderr".into(), "x\n".into())]);
        area.display(&json!({"data": {"text/plain": "d"}}));
        area.stream("stdout", "after");
        assert_eq!(area.outputs().len(), 4);
    }

    #[test]
    fn a_progress_bar_leaves_its_last_state() {
        let mut area = OutputArea::new(1000);
        for text in ["start\n\r10%", "\r20%", "\r", "30%\r\n", "end"] {
            area.stream("stderr", text);
        }
        assert_eq!(texts(&area), [("stderr".into(), "start\n30%\nend".into())]);
    }

    #[test]
    fn what_a_progress_bar_overwrites_takes_no_room() {
        let mut area = OutputArea::new(40);
        for percent in 0..=100 {
            area.stream("stderr", &format!("\r{percent}%"));
        }
        area.stream("stderr", &format!("\n{}", "\rlast".repeat(100)));
        assert!(area.display(&json!({"data": {"text/plain": "loss"}})).is_some());
        assert_eq!(texts(&area)[0].1, "100%\nlast");
    }

    #[test]
    fn beyond_the_limit_outputs_are_dropped_with_one_notice_but_errors_stay() {
        let mut area = OutputArea::new(10);
        area.stream("stdout", "éééééééééé");
        area.stream("stdout", "more");
        area.stream("stdout", "\rover");
        assert_eq!(texts(&area)[0].1, "ééééé");
        assert_eq!(area.display(&json!({"data": {"text/plain": "x"}})), None);
        area.error(&json!({"ename": "E", "evalue": "v", "traceback": ["t"]}));
        assert_eq!(area.outputs().len(), 3);
        assert!(texts(&area)[1].1.contains("dropped"));
        assert!(area.has_error());
    }

    #[test]
    fn clearing_may_wait_for_the_next_output() {
        let mut area = OutputArea::new(100);
        area.stream("stdout", "one");
        area.clear(true);
        assert_eq!(area.outputs().len(), 1);
        area.stream("stdout", "two");
        assert_eq!(texts(&area), [("stdout".into(), "two".into())]);
    }

    #[test]
    fn displays_are_updated_and_odd_data_made_valid() {
        let mut area = OutputArea::new(100);
        let place = area.display(&json!({"data": {"text/plain": 5, "application/json": {"a": 1}}})).unwrap();
        assert_eq!(area.outputs()[0]["data"], json!({"text/plain": "5", "application/json": {"a": 1}}));
        area.update(place, &json!({"data": {"text/plain": ["a\n", "b"]}, "metadata": {"m": 1}}));
        assert_eq!(area.outputs()[0]["data"]["text/plain"], "a\nb");
        area.update(99, &json!({}));
    }

    #[test]
    fn titles_and_cut_escapes_are_no_text() {
        assert_eq!(plain("\u{1b}]0;title\u{7}x\u{1b}"), "x");
    }

    proptest! {
        #[test]
        fn any_pieces_stay_within_the_limit(pieces in proptest::collection::vec("[a\r\né\u{1b}\\[]{0,20}", 0..20)) {
            let mut area = OutputArea::new(50);
            for piece in &pieces {
                area.stream("stdout", piece);
            }
            let size: usize = texts(&area).iter().map(|(_, text)| text.len()).sum();
            prop_assert!(size <= 50 + 60);
        }
    }
}
