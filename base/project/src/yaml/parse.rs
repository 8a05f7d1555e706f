//! From text to tree, on the events of `saphyr-parser`.
//!
//! The event parser stops at the first thing that is not YAML. Here that thing is reported, the lines it
//! stands in are blanked out (places stay as they are) and the rest is read again, so that one slip hides
//! no other fault. Size, depth and the growth by aliases are bounded.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as Marks, Tag};

use super::{Entry, Node, Value, scalar};
use crate::fault::Fault;
use crate::place::{Lines, Place};

/// The greatest text that is read, in bytes.
const MAX_BYTES: usize = 4 << 20;
/// The most nodes of a tree, what aliases stand for included.
const MAX_NODES: usize = 500_000;
/// How deep lists and mappings may lie in each other.
const MAX_DEPTH: usize = 64;
/// How many stretches are blanked out before the reading is given up.
const MAX_SLIPS: usize = 20;

/// What a text gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The tree, as far as there is one; `None` where the file is empty or nothing can be made of it.
    pub root: Option<Node>,
    /// What is wrong with the text as YAML.
    pub faults: Vec<Fault>,
    /// Whether lines had to be left out: the tree then lacks things that the file may well hold.
    pub partial: bool,
}

/// Reads a text as one YAML document. Never fails as a whole: faults are part of the answer.
pub fn parse(source: &str) -> Parsed {
    let lines = Lines::new(source);
    if source.len() > MAX_BYTES {
        let fault =
            Fault::new("", lines.place(0, 0), format!("the file is larger than {} MiB", MAX_BYTES >> 20));
        return Parsed { root: None, faults: vec![fault], partial: true };
    }
    // Marks count characters, places count bytes; blanking keeps the characters' count.
    let bytes: Vec<usize> = source.char_indices().map(|(byte, _)| byte).chain([source.len()]).collect();
    let mut text = source.to_owned();
    let mut slips: Vec<Fault> = Vec::new();
    loop {
        let mut builder = Builder::new(&lines, &bytes);
        match builder.read(&text) {
            Ok(()) => {
                let partial = !slips.is_empty();
                slips.append(&mut builder.faults);
                return Parsed { root: builder.root, faults: slips, partial };
            }
            Err(fault) => {
                let line = fault.place.line;
                slips.push(*fault);
                if slips.len() >= MAX_SLIPS || !blank(&mut text, line) {
                    slips.append(&mut builder.faults);
                    return Parsed { root: None, faults: slips, partial: true };
                }
            }
        }
    }
}

/// Blanks a line and those below that belong to it (deeper ones); whether there was anything to blank.
fn blank(text: &mut String, line: usize) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let tabbed = |line: &str| line.get(..indent(line)).is_some_and(|space| space.contains('\t'));
    let mut done = false;
    let mut own = None;
    let mut result = String::with_capacity(text.len());
    for (index, current) in text.split_inclusive('\n').enumerate() {
        let empty = current.trim().is_empty();
        let inside = match own {
            _ if index + 1 < line => false,
            None => {
                // What a tab is as deep as, nobody knows: such a line goes alone.
                own = Some(if tabbed(current) { usize::MAX } else { indent(current) });
                done = !empty;
                true
            }
            Some(usize::MAX) => false,
            Some(own_indent) if empty || indent(current) > own_indent => true,
            Some(_) => {
                own = Some(usize::MAX); // the stretch has ended; nothing is deeper than this
                false
            }
        };
        if inside {
            result.extend(current.chars().map(|c| if matches!(c, '\n' | '\r') { c } else { ' ' }));
        } else {
            result.push_str(current);
        }
    }
    *text = result;
    done
}

/// A list or mapping that is still open.
struct Frame {
    items: Items,
    anchor: usize,
    place: Place,
    /// The opening bracket, where it is written with brackets.
    flow: Option<char>,
    /// Where each key of a long mapping stands.
    seen: HashMap<String, usize>,
}

/// How many keys a mapping may have before they get an index.
const FEW: usize = 32;

enum Items {
    List(Vec<Node>),
    Map(Vec<Entry>, Slot),
}

/// What a mapping waits for.
enum Slot {
    Key,
    Value(String, Place),
    /// The value of a key that was refused.
    Dropped,
}

struct Builder<'a> {
    lines: &'a Lines<'a>,
    bytes: &'a [usize],
    frames: Vec<Frame>,
    anchors: HashMap<usize, (Node, usize, usize)>,
    nodes: usize,
    root: Option<Node>,
    faults: Vec<Fault>,
}

/// A fault that ends one reading; boxed because it is large and rare.
type Slip = Box<Fault>;

impl<'a> Builder<'a> {
    fn new(lines: &'a Lines<'a>, bytes: &'a [usize]) -> Self {
        Self {
            lines,
            bytes,
            frames: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            root: None,
            faults: Vec::new(),
        }
    }

    fn read(&mut self, text: &str) -> Result<(), Slip> {
        let mut parser = Parser::new_from_str(text);
        let mut documents = 0;
        while let Some(event) = parser.next_event() {
            let (event, marks) = event.map_err(|error| Box::new(self.slip(&error)))?;
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let fault = Fault::new("", self.place(marks), "a second document begins here")
                            .expected("one document")
                            .hint("remove the line `---` and what follows it");
                        self.faults.push(fault);
                        return Ok(());
                    }
                }
                Event::Alias(anchor) => self.alias(anchor, marks)?,
                Event::Scalar(text, style, anchor, tag) => {
                    let node = self.scalar(&text, style, tag.as_deref(), marks);
                    self.finish(node, anchor)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.open(Items::List(Vec::new()), anchor, tag.as_deref(), "seq", marks)?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.open(Items::Map(Vec::new(), Slot::Key), anchor, tag.as_deref(), "map", marks)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(marks)?,
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        items: Items,
        anchor: usize,
        tag: Option<&Tag>,
        own_tag: &str,
        marks: Marks,
    ) -> Result<(), Slip> {
        let place = self.place(marks);
        if self.frames.len() >= MAX_DEPTH {
            return Err(Box::new(Fault::new(
                self.path(),
                place,
                format!("lists and mappings lie more than {MAX_DEPTH} deep in each other"),
            )));
        }
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == own_tag)) {
            self.unknown_tag(tag, place);
        }
        let flow = (!marks.is_empty()).then_some(if matches!(items, Items::List(_)) { '[' } else { '{' });
        self.frames.push(Frame { items, anchor, place, flow, seen: HashMap::new() });
        Ok(())
    }

    fn close(&mut self, marks: Marks) -> Result<(), Slip> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let last = match &frame.items {
            Items::List(items) => items.last().map(|item| item.place),
            Items::Map(entries, _) => entries.last().map(|entry| entry.value.place.max(entry.place)),
        };
        // The mark of a closing bracket takes in the blanks and comments behind it.
        let bracket = self.byte(marks.start);
        let end = match frame.flow {
            Some(_) => self.lines.place(bracket, bracket + 1),
            None => last.unwrap_or(frame.place),
        };
        // What an alias stands for may end before the list begins.
        let place = if end.end >= frame.place.start { frame.place.to(end) } else { frame.place };
        let value = match frame.items {
            Items::List(items) => Value::List(items),
            Items::Map(entries, _) => Value::Map(entries),
        };
        self.finish(Node { place, value, raw: String::new() }, frame.anchor)
    }

    fn alias(&mut self, anchor: usize, marks: Marks) -> Result<(), Slip> {
        let place = self.place(marks);
        let Some((node, size, depth)) = self.anchors.get(&anchor) else {
            let fault = Fault::new(self.path(), place, "an alias stands inside what it names");
            self.faults.push(fault);
            return self.finish(Node { place, value: Value::Null, raw: String::new() }, 0);
        };
        if self.nodes.saturating_add(*size) > MAX_NODES
            || self.frames.len().saturating_add(*depth) > MAX_DEPTH
        {
            return Err(Box::new(Fault::new(self.path(), place, "the aliases stand for too much").expected(
                format!("at most {MAX_NODES} values, lists and mappings at most {MAX_DEPTH} deep"),
            )));
        }
        let (node, size) = (node.clone(), *size);
        self.nodes += size.saturating_sub(1); // `finish` counts one
        self.finish(node, 0)
    }

    /// Hands a finished node to the list or mapping around it.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Slip> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES {
            let fault = Fault::new(self.path(), node.place, "the file holds too much");
            return Err(Box::new(fault.expected(format!("at most {MAX_NODES} values"))));
        }
        if anchor != 0 {
            let (size, depth) = node.extent();
            self.anchors.insert(anchor, (node.clone(), size, depth));
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root = (!node.is_null()).then_some(node);
            return Ok(());
        };
        match &mut frame.items {
            Items::List(items) => items.push(node),
            Items::Map(entries, slot) => match std::mem::replace(slot, Slot::Key) {
                Slot::Dropped => {}
                Slot::Value(key, place) => {
                    // Of long mappings an index: walking each time would take the square of their length.
                    if entries.len() == FEW {
                        let known =
                            entries.iter().enumerate().map(|(place, entry)| (entry.key.clone(), place));
                        frame.seen = known.collect();
                    }
                    if entries.len() >= FEW {
                        frame.seen.insert(key.clone(), entries.len());
                    }
                    entries.push(Entry { key, place, value: node });
                }
                Slot::Key => {
                    *slot = Slot::Dropped;
                    let first = match frame.seen.is_empty() {
                        true => entries.iter().find(|entry| entry.key == node.raw),
                        false => frame.seen.get(&node.raw).and_then(|place| entries.get(*place)),
                    };
                    let first = first.map(|entry| entry.place);
                    let plain = node.is_scalar() || (node.is_null() && !node.raw.is_empty());
                    if !plain {
                        let what = if node.is_null() {
                            "a key is missing before this `:`"
                        } else {
                            "a key has to be plain text"
                        };
                        let path = self.path();
                        self.faults.push(Fault::new(path, node.place, what));
                    } else if let Some(first) = first {
                        let fault = Fault::new(
                            join(&self.path(), &node.raw),
                            node.place,
                            format!("the key `{}` stands twice", node.raw),
                        );
                        self.faults.push(
                            fault
                                .related(first, "first here")
                                .hint("remove one of the two, or give it another name"),
                        );
                    } else {
                        *slot = Slot::Value(node.raw, node.place);
                    }
                }
            },
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, marks: Marks) -> Node {
        let place = self.place(marks);
        let value = match tag {
            None if style == ScalarStyle::Plain => {
                if scalar::is_beyond(text) {
                    let fault = Fault::new(self.path(), place, "the number is too long to be kept exactly");
                    let hint = format!("put quotes around it: `\"{text}\"`");
                    self.faults.push(fault.expected("at most 64 bits").hint(hint));
                }
                scalar::resolve(text)
            }
            None => Value::Text,
            Some(tag) if tag.handle == "!" && tag.suffix.is_empty() => Value::Text,
            Some(tag) if tag.is_yaml_core_schema() => self.tagged(text, tag, place),
            Some(tag) => {
                self.unknown_tag(tag, place);
                Value::Text
            }
        };
        Node { place, value, raw: text.to_owned() }
    }

    /// The value of a scalar with a tag of the core schema.
    fn tagged(&mut self, text: &str, tag: &Tag, place: Place) -> Value {
        let plain = scalar::resolve(text);
        let value = match tag.suffix.as_str() {
            "str" => Some(Value::Text),
            "int" => scalar::int(text).map(Value::Int),
            "float" => scalar::float(text).map(Value::Float),
            "bool" | "null" => Some(plain).filter(|plain| {
                matches!((tag.suffix.as_str(), plain), ("bool", Value::Bool(_)) | ("null", Value::Null))
            }),
            _ => {
                self.unknown_tag(tag, place);
                return Value::Text;
            }
        };
        value.unwrap_or_else(|| {
            let path = self.path();
            self.faults.push(Fault::new(
                path,
                place,
                format!("`{text}` is no value of the tag `!!{}`", tag.suffix),
            ));
            Value::Text
        })
    }

    fn unknown_tag(&mut self, tag: &Tag, place: Place) {
        let shown = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
        let path = self.path();
        self.faults.push(
            Fault::new(path, place, format!("the tag `{shown}` has no meaning here")).hint("remove the tag"),
        );
    }

    /// The path of what is being read.
    fn path(&self) -> String {
        self.frames.iter().fold(String::new(), |path, frame| match &frame.items {
            Items::List(items) => format!("{path}[{}]", items.len()),
            Items::Map(_, Slot::Value(key, _)) => join(&path, key),
            Items::Map(_, Slot::Key | Slot::Dropped) => path,
        })
    }

    fn place(&self, marks: Marks) -> Place {
        self.lines.place(self.byte(marks.start), self.byte(marks.end))
    }

    fn byte(&self, mark: Marker) -> usize {
        self.bytes.get(mark.index()).or(self.bytes.last()).copied().unwrap_or(0)
    }

    /// What the event parser stumbled over, in plain words.
    fn slip(&self, error: &ScanError) -> Fault {
        let start = self.byte(*error.marker());
        let end = self.bytes.get(error.marker().index() + 1).copied().unwrap_or(start);
        let at = self.lines.place(start, end);
        let line = self.lines.line(at.line);
        let info = error.info();
        let path = self.path();
        if has_bare_expression(line) && self.frames.last().is_some_and(|frame| frame.flow.is_some()) {
            return Fault::new(path, at, "an expression inside brackets has to be quoted")
                .expected("`\"${{ … }}\"`")
                .hint("put quotes around `${{ … }}`: inside `[…]` and `{…}` its braces mean something else");
        }
        let opened = self.frames.iter().rev().find_map(|frame| Some((frame.flow?, frame.place)));
        if let Some((bracket, place)) = opened.filter(|(_, place)| place.line < at.line) {
            let close = if bracket == '[' { ']' } else { '}' };
            return Fault::new(path, place, format!("the `{bracket}` that opens here is not closed"))
                .expected(format!("`{close}`"))
                .related(at, "reading stopped here");
        }
        let (message, hint) = plain_words(info, line);
        let fault = Fault::new(path, at, message);
        if hint.is_empty() { fault } else { fault.hint(hint) }
    }
}

/// Whether a `${{` stands in a line outside of quotes.
fn has_bare_expression(line: &str) -> bool {
    let (mut quote, mut before) = (None, ' ');
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some('"'), '\\') => drop(chars.next()),
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            // Elsewhere it is an apostrophe.
            (None, '"' | '\'') if before.is_whitespace() || "[{,:".contains(before) => quote = Some(c),
            (None, '$') if line.get(at..).is_some_and(|rest| rest.starts_with("${{")) => return true,
            (None, _) => {}
        }
        before = c;
    }
    false
}

/// The event parser's message in plain words, and what helps.
fn plain_words(info: &str, line: &str) -> (String, &'static str) {
    let has = |text: &str| info.contains(text);
    if has("tab") {
        ("a tab stands where only spaces may".into(), "indent with spaces")
    } else if has("mapping values are not allowed") || has("illegal placement of ':'") {
        ("a `:` with a space after it cannot stand here".into(), "quote the text: \"…: …\"")
    } else if has("quoted scalar") {
        (
            "the quoted text that begins here is not closed, or its next line is not indented".into(),
            "close the quote",
        )
    } else if has("unexpected character") {
        let c = info.rsplit('`').next().unwrap_or("").trim_end_matches('\'');
        (format!("a value cannot begin with `{c}`"), "quote the text")
    } else if has("expected key") {
        ("this line is indented like no line above it".into(), "line it up with the keys it belongs to")
    } else if has("expected '-'") {
        (
            "a list's item has to begin with `-`".into(),
            "line it up with the items above, or begin it with `- `",
        )
    } else if has("unknown anchor") {
        ("no anchor of this name stands before".into(), "")
    } else if has("expected ',' or") {
        ("a `,` or the closing bracket has to stand here".into(), "quote the text that has a bracket in it")
    } else if has("bracket") {
        ("a bracket closes what was not opened".into(), "remove it, or quote the text")
    } else if has("simple key") && !line.contains(':') {
        ("a key without `:`".into(), "write `key: value`")
    } else {
        (format!("this is not YAML: {info}"), "")
    }
}

/// A path one key longer.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fault::render;

    fn faults(source: &str) -> String {
        let mut parsed = parse(source);
        crate::fault::sort(&mut parsed.faults);
        render("rondo.yaml", source, &parsed.faults)
    }

    #[test]
    fn order_places_and_written_numbers_are_kept() {
        let parsed = parse("b: 3.10\na:\n  - 'x'   # c\n  - {é: no}\n");
        assert!(parsed.faults.is_empty() && !parsed.partial);
        let root = parsed.root.unwrap();
        assert_eq!(root.map().unwrap().iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(root.get("b").unwrap().raw, "3.10");
        let place = root.find("a[1].é");
        assert_eq!((place.line, place.column, place.end_column), (4, 9, 11));
        assert_eq!(root.json(), serde_json::json!({"b": 3.1, "a": ["x", {"é": "no"}]}));
        assert_eq!(root.find("a[7].q").line, 3);
    }

    #[test]
    fn a_slip_hides_no_other_fault() {
        insta::assert_snapshot!(faults(
            "a: [1, 2\nb: 3\nb: 4\nc:\n\td: 1\ne: x: y\nf: 'q\ng: @x\nh: 1\n i: 2\n---\nj: 1\n"
        ));
    }

    #[test]
    fn expressions_in_brackets_ask_for_quotes() {
        insta::assert_snapshot!(faults("with: { seed: ${{ params.seed }} }\n"));
    }

    #[test]
    fn brackets_in_an_unquoted_text_are_no_expression() {
        insta::assert_snapshot!(faults(
            "use: { run: \"echo ${{ params.k }}\", it: don't, when: params.k in [1, 2] }\n"
        ));
        let told = faults("use: { run: 'a ${{ x }}', with: ${{ params.seed }} }\n");
        assert!(told.contains("an expression inside brackets"), "{told}");
    }

    #[test]
    fn a_whole_number_is_kept_to_the_last_digit_or_refused() {
        let kept = "a: 12345678901234567890\nb: -9223372036854775808\n";
        let kept = parse(kept).root.unwrap().json();
        assert_eq!(kept.to_string(), r#"{"a":12345678901234567890,"b":-9223372036854775808}"#);
        insta::assert_snapshot!(faults("params: { id: 123456789012345678901 }\n"));
    }

    #[test]
    fn aliases_cannot_grow_without_bound() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..10 {
            let refs = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        let parsed = parse(&bomb);
        assert!(parsed.faults.iter().any(|f| f.message.contains("aliases")), "{:?}", parsed.faults);
        assert_eq!(parse("a: &x [1]\nb: *x\n").root.unwrap().json(), serde_json::json!({"a": [1], "b": [1]}));
        assert_eq!(parse("a: &x [*x]\n").faults.len(), 1);
    }

    #[test]
    fn depth_is_bounded() {
        for text in ["[".repeat(50_000), "- ".repeat(50_000), "{a: ".repeat(3000)] {
            assert!(!parse(&text).faults.is_empty());
        }
        let chain: String =
            (1..300).fold("a0: &a0 [x]\n".into(), |text, i| text + &format!("a{i}: &a{i} [*a{}]\n", i - 1));
        assert!(!parse(&chain).faults.is_empty());
    }

    #[test]
    fn one_document_only() {
        let parsed = parse("a: 1\n---\nb: 2\n");
        assert_eq!(parsed.faults.len(), 1);
        assert_eq!(parsed.faults[0].place.line, 2);
        assert!(parse("").root.is_none() && parse("# nothing\n").faults.is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-a-c:{}\\[\\],&*!|>'\"#%@`?~ \\t\\n\\r0-2é日.]{0,120}") {
            let parsed = parse(&text);
            render("f", &text, &parsed.faults);
        }

        #[test]
        fn nor_does_any_other(text in any::<String>()) {
            let parsed = parse(&text);
            render("f", &text, &parsed.faults);
        }

        #[test]
        fn what_json_writes_is_read_back(words in prop::collection::vec("[ -~é日]{0,12}", 0..8), n in any::<i64>()) {
            let json = serde_json::json!({"words": words, "n": n, "deep": {"x": [null, true, 1.5]}});
            let parsed = parse(&serde_json::to_string_pretty(&json).unwrap());
            prop_assert!(parsed.faults.is_empty(), "{:?}", parsed.faults);
            prop_assert_eq!(parsed.root.unwrap().json(), json);
        }
    }
}
