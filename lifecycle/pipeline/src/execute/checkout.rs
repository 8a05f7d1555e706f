//! A step's outputs under their declared paths, where a run has a work tree.

use rondo_core::ports::Event;
use rondo_core::run::Link;
use rondo_project::package::expand::INNER;
use rondo_project::project::Step;

use super::outputs::are_few;
use crate::Error;
use crate::graph::Node;
use crate::run::session::Session;
use crate::worktree::Placed;

/// Puts them there.
///
/// # Errors
/// When the disk refuses.
pub async fn place(session: &Session, node: &Node, step: &Step, links: &[Link]) -> Result<(), Error> {
    let Some(worktree) = session.worktree.clone() else { return Ok(()) };
    let places = seen(node, step, links);
    let small = are_few(places.iter().map(|(link, _)| link));
    let (progress, subject) = (session.progress.clone(), node.name.clone());
    let root = session.planner.root.clone();
    let all = move || {
        places.iter().try_for_each(|(link, path)| {
            if let Placed::Instead(aside) = worktree.place(link, path)? {
                let message = format!(
                    "`{path}` was not as a run had left it: what was there is in `{}` now",
                    aside.strip_prefix(&root).unwrap_or(&aside).display()
                );
                progress.report(Event::Note { subject: subject.clone(), message });
            }
            Ok(())
        })
    };
    if small { all() } else { tokio::task::spawn_blocking(all).await? }
}

/// Whether putting a step's outputs under their declared paths takes next to no time.
pub fn is_at_once(node: &Node, step: &Step, links: &[Link]) -> bool {
    are_few(seen(node, step, links).iter().map(|(link, _)| link))
}

/// The outputs that are to be seen, with their paths: what the steps of a workflow make and nobody asked for
/// stays in the store.
fn seen(node: &Node, step: &Step, links: &[Link]) -> Vec<(Link, String)> {
    let asked = |path: &&String| !path.starts_with(INNER);
    let placed = |link: &Link| Some((link.clone(), node.path(step.outputs.get(&link.name).filter(asked)?)));
    links.iter().filter_map(placed).collect()
}
