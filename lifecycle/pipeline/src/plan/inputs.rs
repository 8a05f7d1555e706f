//! What goes into a node, as far as it is known, and whether the node's condition holds for it.

use std::collections::BTreeMap;

use rondo_core::handoff::DatasetVersion;
use rondo_core::run::Link;
use rondo_core::tree::{Entry, Tree};
use rondo_project::condition::{Condition, ConditionError, Fact, Name};
use serde_json::{Map, Value};

use super::Planner;
use crate::Error;
use crate::execute::outputs::file_name;
use crate::graph::{Node, Source};

/// What goes into a node, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// What is known, by local name in the order of the file.
    pub links: Vec<Link>,
    /// The listings of the folders that gather the outputs of a matrix: no step has stored them.
    pub listings: Vec<Tree>,
    /// What is not known before another step has run: local name and reference.
    pub unknown: Vec<(String, String)>,
}

/// Whether a step's condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// It does, or there is none.
    Yes,
    /// It does not.
    No,
    /// It depends on an input that is not known yet: `inputs.NAME.size`.
    Unknown(String),
}

impl Planner {
    /// How the inputs of a node are read that are datasets with declared ways of reading, by local name.
    pub(crate) fn readings(&self, node: &Node) -> BTreeMap<String, Map<String, Value>> {
        let reading = |(local, source): &(String, Source)| match source {
            Source::Data(dataset) => Some((local.clone(), self.datasets.get(dataset)?.origin.read.clone())),
            Source::Output { .. } | Source::Each { .. } => None,
        };
        node.inputs.iter().filter_map(reading).filter(|(_, read)| !read.is_empty()).collect()
    }

    /// Whether a node's condition holds.
    ///
    /// # Errors
    /// When the condition cannot be read, names what has no value, or is neither true nor false.
    pub fn holds(&self, node: &Node, inputs: &Inputs) -> Result<Holds, Error> {
        let step = self.step(node)?;
        let Some(text) = &step.when else { return Ok(Holds::Yes) };
        let wrong = |source: ConditionError| Error::Condition {
            step: node.name.clone(),
            text: text.clone(),
            reason: source.to_string(),
        };
        let condition = Condition::parse(text).map_err(wrong)?;
        let unknown: Vec<String> = condition
            .names()
            .into_iter()
            .filter_map(|name| match name {
                Name::Input(local, _) if inputs.unknown.iter().any(|(name, _)| name == local) => {
                    Some(name.to_string())
                }
                Name::Input(..) | Name::Param(_) | Name::Matrix(_) => None,
            })
            .collect();
        match condition.holds(&|name| self.fact(node, inputs, name)) {
            Ok(true) => Ok(Holds::Yes),
            Ok(false) => Ok(Holds::No),
            Err(ConditionError::Unknown(name)) if unknown.contains(&name) => Ok(Holds::Unknown(name)),
            Err(error) => Err(wrong(error)),
        }
    }

    fn fact(&self, node: &Node, inputs: &Inputs, name: &Name) -> Option<Value> {
        match name {
            Name::Param(name) => self.params.get(name).cloned(),
            Name::Matrix(name) => {
                node.matrix.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
            }
            Name::Input(local, fact) => {
                let link = inputs.links.iter().find(|link| link.name == *local)?;
                Some(match fact {
                    Fact::Size => Value::from(link.size),
                    Fact::Digest => Value::from(link.digest.hex()),
                    Fact::Rows => {
                        let dataset = link.reference.strip_prefix("data.")?;
                        Value::from(self.datasets.get(dataset)?.rows?)
                    }
                })
            }
        }
    }

    /// What goes into a node, where `made` says what another node has made.
    pub fn inputs(&self, node: &Node, made: impl Fn(usize, &str) -> Option<Link>) -> Inputs {
        let mut inputs = Inputs::default();
        for (local, source) in &node.inputs {
            let link = match source {
                Source::Data(dataset) => self.datasets.get(dataset).map(dataset_link),
                Source::Output { node, output } => made(*node, output),
                Source::Each { entries, output } => {
                    self.gathered(entries, output, &made).map(|(link, tree)| {
                        inputs.listings.push(tree);
                        link
                    })
                }
            };
            match link {
                Some(link) => inputs.links.push(Link { name: local.clone(), ..link }),
                None => inputs.unknown.push((local.clone(), self.reference(source))),
            }
        }
        inputs
    }

    /// The outputs of the combinations of a matrix as one folder.
    fn gathered(
        &self,
        nodes: &[(String, usize)],
        output: &str,
        made: &impl Fn(usize, &str) -> Option<Link>,
    ) -> Option<(Link, Tree)> {
        let mut entries = Vec::with_capacity(nodes.len());
        for (name, place) in nodes {
            let link = made(*place, output)?;
            let name = self.gathered_name(name, self.graph.node(*place)?, output)?;
            entries.push(Entry { mode: link.mode(), size: link.size, digest: link.digest, name });
        }
        let tree = Tree::new(entries).ok()?;
        let (_, first) = nodes.first()?;
        let (step, _) = self.definition(self.graph.node(*first)?).ok()?;
        let link = Link {
            name: output.to_owned(),
            reference: format!("{step}.{output}"),
            digest: tree.digest(),
            size: tree.size(),
            folder: true,
            executable: false,
        };
        Some((link, tree))
    }

    /// The name of one combination's output in the folder that gathers them: with the ending of its path.
    pub fn gathered_name(&self, label: &str, node: &Node, output: &str) -> Option<String> {
        let path = self.step(node).ok()?.outputs.get(output)?;
        let ending = if path.ends_with('/') { "" } else { file_ending(path) };
        Some(format!("{label}{ending}"))
    }

    /// How an input's source is written.
    pub(super) fn reference(&self, source: &Source) -> String {
        let name = |place: usize| self.graph.node(place).map_or("", |node| node.name.as_str());
        match source {
            Source::Data(dataset) => format!("data.{dataset}"),
            Source::Output { node, output } => format!("{}.{output}", name(*node)),
            Source::Each { entries, output } => {
                let step = entries.first().map_or("", |(_, place)| name(*place));
                format!("{}.{output}", step.split('[').next().unwrap_or(step))
            }
        }
    }
}

/// A dataset version as something that goes into a run.
pub(crate) fn dataset_link(version: &DatasetVersion) -> Link {
    Link {
        name: version.dataset.clone(),
        reference: format!("data.{}", version.dataset),
        digest: version.digest,
        size: version.size,
        folder: version.folder,
        executable: false,
    }
}

/// The ending of a file's name with its point; empty where it has none.
fn file_ending(path: &str) -> &str {
    let file = file_name(path);
    match file.rfind('.') {
        Some(at) if at > 0 => file.get(at..).unwrap_or(""),
        Some(_) | None => "",
    }
}
