//! Which nodes of a graph a request means, and what each is to the run.

use std::collections::HashSet;

use rondo_project::project::Project;

use crate::Error;
use crate::graph::{Graph, Node};
use crate::request::RunRequest;

/// What a node is to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// No part of it.
    Out,
    /// What a wanted step needs.
    Needed,
    /// Asked for.
    Wanted,
    /// Not run, whatever its key says: what it made last is used (`--only`).
    Kept,
}

/// What each node of a graph is to a run.
///
/// # Errors
/// When a word of the request means nothing, or nothing lies between two of them.
pub(super) fn roles(project: &Project, graph: &Graph, request: &RunRequest) -> Result<Vec<Role>, Error> {
    let mut roles = vec![Role::Out; graph.nodes().len()];
    let mut set = |places: &[usize], role: Role| {
        for place in places {
            if let Some(slot) = roles.get_mut(*place) {
                *slot = role;
            }
        }
    };
    let mut wanted = Vec::new();
    for word in &request.targets {
        wanted.extend(graph.find(project, word)?);
    }
    let mut from = Vec::new();
    for word in &request.from {
        from.extend(graph.find(project, word)?);
    }
    let after = graph.with_dependents(&from);
    match (request.targets.is_empty(), request.from.is_empty()) {
        (true, true) => wanted = (0..graph.nodes().len()).collect(),
        (true, false) => wanted = after,
        (false, true) => {}
        // From one step to another: what lies between.
        (false, false) => {
            let before = graph.with_needs(&wanted);
            wanted = before.into_iter().filter(|place| after.binary_search(place).is_ok()).collect();
            if wanted.is_empty() {
                let (targets, from) = (request.targets.clone(), request.from.clone());
                return Err(Error::NothingBetween { targets, from });
            }
        }
    }
    let needed = graph.with_needs(&wanted);
    set(&needed, if request.only { Role::Kept } else { Role::Needed });
    set(&wanted, Role::Wanted);
    if request.only {
        // What the kept ones were made of does not matter.
        let is_wanted: HashSet<usize> = wanted.iter().copied().collect();
        let direct: HashSet<usize> = wanted
            .iter()
            .filter_map(|place| graph.node(*place))
            .filter(|node| !is_given(request, node))
            .flat_map(|node| node.needs.iter().copied())
            .collect();
        let far: Vec<usize> = needed
            .into_iter()
            .filter(|place| !is_wanted.contains(place) && !direct.contains(place))
            .collect();
        set(&far, Role::Out);
    }
    Ok(roles)
}

/// Whether what goes into a node is given with the request.
fn is_given(request: &RunRequest, node: &Node) -> bool {
    request.again.as_ref().is_some_and(|again| again.inputs.contains_key(&node.name))
}
