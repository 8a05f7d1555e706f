//! Paths that two steps would write, or that a step would write over what it must not.

use super::context::Context;
use super::files::normal;
use crate::fault::Fault;
use crate::place::Place;
use crate::yaml::{Node, join};

/// What no step may write.
const RESERVED: &[&str] = &["rondo.yaml", "rondo.lock", ".rondo", ".git"];

struct Claim {
    /// The path, always with a slash at the end: what lies inside sorts right behind.
    folder: String,
    /// The path as written.
    written: String,
    place: Place,
    path: String,
    /// Whether it is a dataset's source, which steps only read.
    source: bool,
}

pub(super) fn collisions(context: &mut Context<'_>) {
    let mut claims = claims(context);
    claims.sort_by(|a, b| (&a.folder, a.place).cmp(&(&b.folder, b.place)));
    let mut outer: Option<&Claim> = None;
    for claim in &claims {
        reserved(context, claim);
        match outer.filter(|outer| claim.folder.starts_with(&outer.folder)) {
            Some(outer) => {
                if !(outer.source && claim.source) {
                    collision(context, outer, claim);
                }
            }
            None => outer = Some(claim),
        }
    }
}

fn claims(context: &Context<'_>) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut claim = |node: &Node, path: String, source: bool| {
        let Some(written) = node.text() else { return };
        let Ok(normal) = normal(written) else { return };
        let folder = format!("{}/", normal.trim_end_matches('/'));
        claims.push(Claim { folder, written: written.to_owned(), place: node.place, path, source });
    };
    for step in context.section("steps") {
        let path = join("steps", &step.key);
        for output in step.value.get("outputs").and_then(Node::map).unwrap_or_default() {
            claim(&output.value, format!("{path}.outputs.{}", output.key), false);
        }
        if let Some(metrics) = step.value.get("metrics") {
            claim(metrics, format!("{path}.metrics"), false);
        }
    }
    for dataset in context.section("data") {
        let local = dataset
            .value
            .get("source")
            .filter(|source| source.text().is_some_and(|text| !text.contains([':', '*', '?', '{'])));
        if let Some(source) = local {
            claim(source, format!("data.{}.source", dataset.key), true);
        }
    }
    claims
}

fn reserved(context: &mut Context<'_>, claim: &Claim) {
    let first = claim.folder.split('/').next().unwrap_or("");
    if RESERVED.contains(&first) && !claim.source {
        let message = format!("`{}` belongs to the project itself", claim.written);
        context.fault(Fault::new(&claim.path, claim.place, message).expected("a path of the step's own"));
    }
}

fn collision(context: &mut Context<'_>, a: &Claim, b: &Claim) {
    // The fault stands at the later of the two; of an output and a source, at the output.
    let (first, second) = if b.source || (!a.source && a.place > b.place) { (b, a) } else { (a, b) };
    let message = match (first.folder == second.folder, first.source) {
        (true, true) => format!("`{}` is the source of a dataset and cannot be an output", second.written),
        (true, false) => format!("two outputs have the path `{}`", second.written),
        (false, true) => format!("`{}` and the source of a dataset lie in each other", second.written),
        (false, false) => {
            format!("the outputs `{}` and `{}` lie in each other", first.written, second.written)
        }
    };
    let fault = Fault::new(&second.path, second.place, message).expected("a path of its own for each output");
    context.fault(fault.related(first.place, "the other one"));
}
