//! What every part of the checker has at hand.

use std::collections::{HashMap, HashSet};

use crate::builtins::Builtins;
use crate::fault::Fault;
use crate::files::Files;
use crate::package::load::{Home, Loader};
use crate::place::{Lines, Place};
use crate::yaml::{Entry, Node};

/// The file, its surroundings, and the faults found so far.
pub(crate) struct Context<'a> {
    pub file: &'a str,
    pub source: &'a str,
    pub lines: Lines<'a>,
    pub root: &'a Node,
    pub files: &'a dyn Files,
    pub builtins: &'a Builtins,
    pub loader: &'a Loader<'a>,
    pub home: Home<'a>,
    pub view: View,
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
        loader: &'a Loader<'a>,
        faults: Vec<Fault>,
    ) -> Self {
        let (builtins, home, view) = (loader.builtins, Home::project(files), View::Project);
        let lines = Lines::new(source);
        let (steps, datasets) = (HashMap::new(), HashSet::new());
        let context =
            Self { file, source, lines, root, files, builtins, loader, home, view, faults, steps, datasets };
        context.seen_as(view)
    }

    /// The same, looked at as this sort of file.
    pub fn seen_as(mut self, view: View) -> Self {
        self.view = view;
        self.steps = HashMap::new();
        for entry in self.section("steps") {
            self.steps.entry(entry.key.as_str()).or_insert(entry);
        }
        self.datasets = self.section("data").iter().map(|entry| entry.key.as_str()).collect();
        self
    }

    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// The entries of a section; none where it is absent or no mapping.
    ///
    /// A package has the same sections at other places: its inputs are the data of its steps.
    pub fn section(&self, name: &str) -> &'a [Entry] {
        let root: &'a Node = self.root;
        let node = match (self.view, name) {
            (View::Package, "steps") => root.get("run").and_then(|run| run.get("steps")),
            (View::Package, "data") => root.get("inputs"),
            (View::Project, _) | (View::Package, _) => root.get(name),
        };
        node.and_then(Node::map).unwrap_or_default()
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

/// What sort of file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// A project's.
    Project,
    /// A package's.
    Package,
}

impl View {
    /// The word before the point of a reference to what comes from outside.
    pub const fn outside(self) -> &'static str {
        match self {
            Self::Project => "data",
            Self::Package => "inputs",
        }
    }

    /// What such a thing is.
    pub const fn outside_noun(self) -> &'static str {
        match self {
            Self::Project => "dataset",
            Self::Package => "input of the package",
        }
    }
}

/// The known names as an expectation; long lists are cut.
pub(crate) fn one_of(known: &[&str]) -> String {
    const SHOWN: usize = 12;
    if known.len() <= SHOWN {
        return crate::shape::any_of(known);
    }
    let shown: Vec<String> = known.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    format!("{} or {} more", shown.join(", "), known.len() - SHOWN)
}
