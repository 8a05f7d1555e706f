//! The tree against the table: unknown keys, missing keys, values of the wrong form.

use rondo_core::id::is_name;

use super::context::Context;
use super::{files, read};
use crate::fault::Fault;
use crate::place::Place;
use crate::shape::{Form, Rule, Shape, any_of, owner};
use crate::specifier;
use crate::yaml::{Node, Value, join};

/// Checks the whole file. Of a partial tree nothing is said to be missing.
pub(crate) fn check(context: &mut Context<'_>, root: &'static Shape, partial: bool) {
    let mut pass = Pass { faults: Vec::new(), root, partial };
    pass.object(context.root, root, "", context.lines.place(0, 0));
    context.faults.append(&mut pass.faults);
}

struct Pass {
    faults: Vec<Fault>,
    root: &'static Shape,
    partial: bool,
}

impl Pass {
    /// `at` is where the mapping is named: the key before it, or its own place.
    fn object(&mut self, node: &Node, shape: &'static Shape, path: &str, at: Place) {
        let Some(entries) = node.map() else {
            return self.wrong(node, shape.noun.to_owned(), path);
        };
        for entry in entries {
            let path = join(path, &entry.key);
            match shape.key(&entry.key) {
                None => self.unknown(shape, &entry.key, entry.place, &path),
                Some(key) => self.form(&entry.value, &key.form, &path, entry.place),
            }
        }
        if self.partial {
            return;
        }
        let meant: Vec<&str> = entries.iter().filter_map(|entry| meant(shape, &entry.key)).collect();
        for key in shape.keys.iter().filter(|key| key.required && !meant.contains(&key.name)) {
            let fault = Fault::new(path, at, format!("{} lacks the key `{}`", shape.noun, key.name));
            self.faults.push(fault.expected(format!("`{}`: {}", key.name, key.form.noun())));
        }
        let before = self.faults.len();
        for rule in shape.rules {
            self.rule(node, shape, *rule, &meant, path, at);
            if self.faults.len() > before {
                break; // the next rule would only say the same again
            }
        }
    }

    fn unknown(&mut self, shape: &Shape, key: &str, place: Place, path: &str) {
        let names: Vec<&str> = shape.keys.iter().map(|key| key.name).collect();
        let fault = Fault::new(path, place, format!("unknown key `{key}`")).expected(any_of(&names));
        self.faults.push(match elsewhere(shape, key) {
            _ if key == "<<" => fault.hint("merge keys belong to YAML 1.1; write the keys out"),
            Some(known) => fault.hint(format!("here it is called `{known}`")),
            None => {
                let fault = fault.did_you_mean(key, names);
                match owner(self.root, key).filter(|_| fault.hint.is_none()) {
                    Some(owner) => fault.hint(format!("`{key}` is a key of {owner}")),
                    None => fault,
                }
            }
        });
    }

    /// `meant`: the keys that are there, misspelt ones included.
    fn rule(&mut self, node: &Node, shape: &Shape, rule: Rule, meant: &[&str], path: &str, at: Place) {
        let misspelt = |keys: &[&str]| keys.iter().any(|key| meant.contains(key));
        let there =
            |keys: &'static [&'static str]| keys.iter().filter_map(|key| node.entry(key)).collect::<Vec<_>>();
        match rule {
            Rule::One(keys) => match there(keys).as_slice() {
                [_] => {}
                [] if misspelt(keys) => {}
                [] => {
                    let fault = Fault::new(path, at, format!("{} lacks one of its keys", shape.noun));
                    self.faults.push(fault.expected(format!("one of {}", any_of(keys))));
                }
                [first, second, ..] => {
                    let message = format!("`{}` cannot stand beside `{}`", second.key, first.key);
                    let fault = Fault::new(join(path, &second.key), second.place, message);
                    self.faults.push(
                        fault
                            .expected(format!("one of {}", any_of(keys)))
                            .related(first.place, "the other one"),
                    );
                }
            },
            Rule::Some(keys) => {
                if !misspelt(keys) {
                    let fault = Fault::new(path, at, format!("{} lacks its number", shape.noun));
                    self.faults.push(fault.expected(format!("{} or both", any_of(keys))));
                }
            }
            Rule::Beside(key, keys) => {
                if let Some(entry) = node.entry(key).filter(|_| !misspelt(keys)) {
                    let message = format!("`{key}` has no meaning without {}", any_of(keys));
                    self.faults.push(Fault::new(join(path, key), entry.place, message));
                }
            }
        }
    }

    fn wrong(&mut self, node: &Node, expected: String, path: &str) {
        if self.partial && node.is_null() {
            return; // what stood here may be among the lines that were left out
        }
        let name = path.rsplit('.').next().unwrap_or(path);
        let what = match node.value {
            Value::Null => "has no value".to_owned(),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => format!("cannot be `{}`", node.raw),
            Value::Text => format!("cannot be the text `{}`", short(&node.raw)),
            Value::List(_) | Value::Map(_) => format!("cannot be {}", node.noun()),
        };
        let message = if path.is_empty() { format!("the file {what}") } else { format!("`{name}` {what}") };
        let mut fault = Fault::new(path, node.place, message).expected(expected.clone());
        if expected.starts_with("text") && node.is_scalar() {
            fault = fault.hint(format!("quote it: \"{}\"", node.raw));
        } else if expected == Form::Span.noun() && node.int().is_some() {
            fault = fault.hint(format!("add the unit: `{}s` are seconds", node.raw));
        } else if node.text().is_some_and(|text| text.contains("${{")) {
            fault = fault.hint("expressions stand in `run`, `sql` and `with` only");
        } else if let Some(hint) = specifier::hint(&node.raw).filter(|_| expected == Form::Python.noun()) {
            fault = fault.hint(hint);
        }
        self.faults.push(fault);
    }

    /// `at` is where the value is named: its key, or its own place in a list.
    fn form(&mut self, node: &Node, form: &'static Form, path: &str, at: Place) {
        let fits = match form {
            Form::Any => true,
            Form::Text => node.text().is_some_and(|text| !text.trim().is_empty()),
            Form::Version => node.is_scalar() && node.bool().is_none() && !node.raw.trim().is_empty(),
            Form::Python => node.is_scalar() && specifier::is_valid(&node.raw),
            Form::Scalar => node.is_scalar() && node.number().is_none_or(f64::is_finite),
            Form::Bool => node.bool().is_some(),
            Form::Int(low, high) => node.int().is_some_and(|number| (*low..=*high).contains(&number)),
            Form::Float(low, high) => {
                node.number().is_some_and(|number| number.is_finite() && (*low..=*high).contains(&number))
            }
            Form::Span => node
                .text()
                .is_some_and(|text| text.parse::<rondo_core::Span>().is_ok_and(|span| span.millis() > 0)),
            Form::Bytes => read::bytes(node).is_some(),
            Form::Name => return self.name(node, path),
            Form::Path => return self.path(node, path),
            Form::Choice(words) => return self.choice(node, words, path),
            Form::Object(shape) => return self.object(node, shape, path, at),
            Form::List(item) => return self.list(node, form, item, path),
            Form::OneOrMore(item) => match node.list() {
                Some(_) => return self.list(node, form, item, path),
                None => return self.form(node, item, path, at),
            },
            Form::Map(value) => return self.map(node, value, form, path),
            Form::Check => return self.form(node, &crate::shape::OPEN, path, at),
            Form::Either(forms) => return self.either(node, forms, form, path, at),
        };
        if !fits {
            self.wrong(node, form.noun(), path);
        }
    }

    fn list(&mut self, node: &Node, form: &Form, item: &'static Form, path: &str) {
        let Some(items) = node.list() else { return self.wrong(node, form.noun(), path) };
        for (index, node) in items.iter().enumerate() {
            self.form(node, item, &format!("{path}[{index}]"), node.place);
        }
    }

    fn map(&mut self, node: &Node, value: &'static Form, form: &Form, path: &str) {
        let Some(entries) = node.map() else { return self.wrong(node, form.noun(), path) };
        // The keys of `with:` and `checks:` are the package's business.
        let open = matches!(value, Form::Any);
        for entry in entries {
            let path = join(path, &entry.key);
            if !open && !is_name(&entry.key) {
                self.bad_name(&entry.key, entry.place, &path);
            }
            self.form(&entry.value, value, &path, entry.place);
        }
    }

    fn either(&mut self, node: &Node, forms: &'static [Form], form: &Form, path: &str, at: Place) {
        let fits = |form: &&Form| match form {
            Form::List(_) => node.list().is_some(),
            Form::Map(_) | Form::Check | Form::Object(_) => node.map().is_some(),
            _ => node.is_scalar(),
        };
        match forms.iter().find(fits) {
            Some(form) => self.form(node, form, path, at),
            None => self.wrong(node, form.noun(), path),
        }
    }

    fn name(&mut self, node: &Node, path: &str) {
        match node.text() {
            None => self.wrong(node, "a name".into(), path),
            Some(text) if !is_name(text) => self.bad_name(text, node.place, path),
            Some(_) => {}
        }
    }

    fn bad_name(&mut self, name: &str, place: Place, path: &str) {
        let fault = Fault::new(path, place, format!("`{}` cannot be a name", short(name)));
        self.faults.push(fault.expected("a letter, then letters, digits, `_` or `-`, 100 at most"));
    }

    fn path(&mut self, node: &Node, path: &str) {
        let Some(text) = node.text() else {
            return self.wrong(node, Form::Path.noun(), path);
        };
        if let Err(why) = files::normal(text) {
            let fault = Fault::new(path, node.place, format!("`{}` {why}", short(text)));
            self.faults.push(fault.expected("a path relative to the project that stays inside it"));
        }
    }

    fn choice(&mut self, node: &Node, words: &[&'static str], path: &str) {
        match node.text() {
            Some(text) if words.contains(&text) => {}
            Some(text) => {
                let name = path.rsplit('.').next().unwrap_or(path);
                let fault = Fault::new(path, node.place, format!("`{name}` cannot be `{}`", short(text)));
                self.faults.push(fault.expected(any_of(words)).did_you_mean(text, words.iter().copied()));
            }
            None => self.wrong(node, any_of(words), path),
        }
    }
}

/// The key that other tools call so.
fn elsewhere(shape: &Shape, key: &str) -> Option<&'static str> {
    let lower = key.to_lowercase();
    shape.keys.iter().find(|known| known.elsewhere.contains(&lower.as_str())).map(|known| known.name)
}

/// The key of the table that a key of the file is, or was surely meant to be.
fn meant(shape: &Shape, key: &str) -> Option<&'static str> {
    let exact = shape.key(key).map(|known| known.name);
    exact
        .or_else(|| elsewhere(shape, key))
        .or_else(|| rondo_core::suggest::nearest(key, shape.keys.iter().map(|known| known.name)))
}

/// The beginning of a text, for messages.
pub(super) fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    let mut short: String = line.chars().take(60).collect();
    if short.len() < text.trim_end().len() {
        short.push('…');
    }
    short
}
