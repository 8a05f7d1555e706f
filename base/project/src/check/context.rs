//! What every part of the checker has at hand.

use std::collections::{HashMap, HashSet};

use crate::builtins::Builtins;
use crate::fault::Fault;
use crate::files::Files;
use crate::place::{Lines, Place};
use crate::yaml::{Entry, Node};

/// The file, its surroundings, and the faults found so far.
pub(super) struct Context<'a> {
    pub file: &'a str,
    pub source: &'a str,
    pub lines: Lines<'a>,
    pub root: &'a Node,
    pub files: &'a dyn Files,
    pub builtins: &'a Builtins,
    pub faults: Vec<Fault>,
    /// The steps and datasets by name: pipelines may have thousands.
    steps: HashMap<&'a str, &'a Entry>,
    datasets: HashSet<&'a str>,
}

impl<'a> Context<'a> {
    pub fn new(
        file: &'a str,
        source: &'a str,
        root: &'a Node,
        files: &'a dyn Files,
        builtins: &'a Builtins,
        faults: Vec<Fault>,
    ) -> Self {
        let section = |name: &str| root.get(name).and_then(Node::map).unwrap_or_default();
        let mut steps = HashMap::new();
        for entry in section("steps") {
            steps.entry(entry.key.as_str()).or_insert(entry);
        }
        let datasets = section("data").iter().map(|entry| entry.key.as_str()).collect();
        Self { file, source, lines: Lines::new(source), root, files, builtins, faults, steps, datasets }
    }

    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// The entries of a section; none where it is absent or no mapping.
    pub fn section(&self, name: &str) -> &'a [Entry] {
        let root: &'a Node = self.root;
        root.get(name).and_then(Node::map).unwrap_or_default()
    }

    /// The names that a section declares, faulty entries included: a reference to them is no second fault.
    pub fn names(&self, section: &str) -> Vec<&'a str> {
        self.section(section).iter().map(|entry| entry.key.as_str()).collect()
    }

    /// The entry of a step.
    pub fn step(&self, name: &str) -> Option<&'a Entry> {
        self.steps.get(name).copied()
    }

    /// Whether a dataset is declared.
    pub fn has_dataset(&self, name: &str) -> bool {
        self.datasets.contains(name)
    }

    /// The names of a step's declared outputs.
    pub fn outputs(&self, step: &str) -> Vec<&'a str> {
        let outputs = self.step(step).and_then(|entry| entry.value.get("outputs")).and_then(Node::map);
        outputs.unwrap_or_default().iter().map(|entry| entry.key.as_str()).collect()
    }

    /// Reports a name that a section should declare and does not.
    pub fn unknown(&mut self, path: &str, place: Place, what: &str, name: &str, known: &[&str]) {
        let fault = Fault::new(path, place, format!("no {what} is called `{name}`"));
        let fault = match known {
            [] => fault.hint(format!("declare a {what} of that name")),
            _ => fault.expected(one_of(known)).did_you_mean(name, known.iter().copied()),
        };
        self.fault(fault);
    }
}

/// The known names as an expectation; long lists are cut.
pub(super) fn one_of(known: &[&str]) -> String {
    const SHOWN: usize = 12;
    if known.len() <= SHOWN {
        return crate::shape::any_of(known);
    }
    let shown: Vec<String> = known.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    format!("{} or {} more", shown.join(", "), known.len() - SHOWN)
}
