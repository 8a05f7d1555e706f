//! The lineage picture: what the version that serves was made of, from top to bottom.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::chart::escape;

/// Things and what they were made from.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Graph {
    /// The things, each once.
    pub nodes: Vec<Node>,
    /// From what was used to what was made, by their ids.
    pub edges: Vec<(String, String)>,
}

/// One thing.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    /// Unique in the graph.
    pub id: String,
    /// `dataset`, `code`, `environment`, `run`, `file`, `version`, `deployment` or `objective`.
    pub kind: String,
    /// What it is called.
    pub title: String,
    /// A digest or id, short.
    pub detail: String,
}

/// A thing as drawn. What was made by nothing known, such as code, is drawn once for each thing that was
/// made with it, right above it, so that its lines cross nothing.
struct Drawn<'a> {
    node: &'a Node,
    x: f64,
    layer: usize,
}

const BOX: (f64, f64) = (176.0, 50.0);
const GAP: (f64, f64) = (16.0, 40.0);
const EDGE: f64 = 6.0;

impl Graph {
    /// Adds a thing, unless it is there.
    pub fn node(&mut self, id: &str, kind: &str, title: &str, detail: &str) {
        if !self.nodes.iter().any(|node| node.id == id) {
            self.nodes.push(Node {
                id: id.to_owned(),
                kind: kind.to_owned(),
                title: title.to_owned(),
                detail: detail.to_owned(),
            });
        }
    }

    /// Says that one thing was made from another.
    pub fn edge(&mut self, from: &str, to: &str) {
        let edge = (from.to_owned(), to.to_owned());
        if from != to && !self.edges.contains(&edge) {
            self.edges.push(edge);
        }
    }

    /// The layer of each thing: one more than the furthest of what it was made from. What lies on a circle
    /// (there should be none) stays where it was first put.
    fn layers(&self) -> BTreeMap<&str, usize> {
        let mut layers: BTreeMap<&str, usize> = self.nodes.iter().map(|node| (node.id.as_str(), 0)).collect();
        for _ in 0..self.nodes.len() {
            let mut moved = false;
            for (from, to) in &self.edges {
                let (Some(above), Some(below)) =
                    (layers.get(from.as_str()).copied(), layers.get_mut(to.as_str()))
                else {
                    continue;
                };
                if *below <= above && above < self.nodes.len() {
                    *below = above + 1;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        layers
    }

    fn is_made(&self, id: &str) -> bool {
        self.edges.iter().any(|(_, to)| to == id)
    }

    /// Where everything is drawn, and from which to which drawn thing the lines go.
    fn places(&self) -> (Vec<Drawn<'_>>, Vec<(usize, usize)>) {
        let layers = self.layers();
        let depth = layers.values().max().map_or(0, |deepest| deepest + 1);
        let layer = |id: &str| layers.get(id).copied().unwrap_or(0);
        let mut drawn: Vec<Drawn<'_>> = Vec::new();
        let mut at: BTreeMap<&str, usize> = BTreeMap::new();
        let mut lines = Vec::new();
        // What was made: in the middle of its layer.
        for node in self.nodes.iter().filter(|node| self.is_made(&node.id)) {
            at.insert(&node.id, drawn.len());
            drawn.push(Drawn { node, x: 0.0, layer: layer(&node.id) });
        }
        for (from, to) in &self.edges {
            let Some(below) = at.get(to.as_str()).copied() else { continue };
            if let Some(above) = at.get(from.as_str()).copied() {
                lines.push((above, below));
            } else if let Some(node) = self.nodes.iter().find(|node| &node.id == from) {
                lines.push((drawn.len(), below));
                drawn.push(Drawn { node, x: 0.0, layer: layer(to).saturating_sub(1) });
            }
        }
        // What nothing is known about stands alone.
        for node in &self.nodes {
            if !self.edges.iter().any(|(from, to)| from == &node.id || to == &node.id) {
                drawn.push(Drawn { node, x: 0.0, layer: 0 });
            }
        }
        for layer in 0..depth {
            spread(&mut drawn, layer, at.len());
        }
        (drawn, lines)
    }

    /// The picture as inline SVG.
    pub fn svg(&self) -> String {
        if self.nodes.is_empty() {
            return "<p class=\"quiet\">no version is registered yet</p>".to_owned();
        }
        let (drawn, lines) = self.places();
        let reach = drawn.iter().map(|one| one.x.abs()).fold(0.0, f64::max);
        let width = 2.0 * (reach + BOX.0 / 2.0 + EDGE);
        let depth = drawn.iter().map(|one| one.layer).max().unwrap_or(0) as f64;
        let height = 2.0 * EDGE + depth * (BOX.1 + GAP.1) + BOX.1;
        let place = |one: &Drawn<'_>| (one.x + width / 2.0, EDGE + one.layer as f64 * (BOX.1 + GAP.1));
        let mut svg = format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"lineage\"><svg class=\"lineage\" \
             style=\"max-width:{width:.0}px;min-width:{:.0}px\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             role=\"img\" aria-label=\"{}\"><defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
             markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path class=\"tip\" d=\"M0 0 L8 4 L0 8 z\"/>\
             </marker></defs>",
            width.min(BOX.0 * 3.6),
            escape(&self.words()),
        );
        for (from, to) in lines {
            let (Some(a), Some(b)) = (drawn.get(from), drawn.get(to)) else { continue };
            let ((x1, y1), (x2, y2)) = (place(a), place(b));
            let y1 = y1 + BOX.1;
            let middle = f64::midpoint(y1, y2);
            let _ = write!(
                svg,
                "<path class=\"edge\" marker-end=\"url(#tip)\" \
                 d=\"M{x1:.0} {y1:.0}C{x1:.0} {middle:.0} {x2:.0} {middle:.0} {x2:.0} {y2:.0}\"/>"
            );
        }
        for one in &drawn {
            let (x, y) = place(one);
            svg.push_str(&picture(one.node, x - BOX.0 / 2.0, y));
        }
        svg.push_str("</svg></div>");
        svg
    }

    /// The picture in words.
    fn words(&self) -> String {
        let title =
            |id: &String| self.nodes.iter().find(|node| &node.id == id).map(|node| node.title.as_str());
        let steps: Vec<String> = self
            .edges
            .iter()
            .filter_map(|(from, to)| Some(format!("{} from {}", title(to)?, title(from)?)))
            .collect();
        format!("lineage: {}", steps.join(", "))
    }
}

/// Spreads a layer around the middle: what was made (the first `made` of all) in the centre, the rest by
/// turns to its right and left; a layer of nothing else is centred.
fn spread(drawn: &mut [Drawn<'_>], layer: usize, made: usize) {
    let here: Vec<usize> =
        drawn.iter().enumerate().filter(|(_, one)| one.layer == layer).map(|(index, _)| index).collect();
    let (core, rest): (Vec<usize>, Vec<usize>) = here.iter().copied().partition(|index| *index < made);
    let mut order: std::collections::VecDeque<usize> = core.iter().copied().collect();
    let mut left = 0_usize;
    for (turn, index) in rest.into_iter().enumerate() {
        if core.is_empty() || turn % 2 == 0 {
            order.push_back(index);
        } else {
            order.push_front(index);
            left += 1;
        }
    }
    // With a core, its middle is the middle; without one, that of the whole layer.
    let middle = if core.is_empty() {
        (order.len().saturating_sub(1)) as f64 / 2.0
    } else {
        left as f64 + (core.len() - 1) as f64 / 2.0
    };
    for (place, index) in order.into_iter().enumerate() {
        if let Some(one) = drawn.get_mut(index) {
            one.x = (place as f64 - middle) * (BOX.0 + GAP.0);
        }
    }
}

fn picture(node: &Node, x: f64, y: f64) -> String {
    // On the picture a run is one of a step.
    let kind = if node.kind == "run" { "step" } else { &node.kind };
    let words = format!("{kind} {}", node.detail);
    format!(
        "<g class=\"node {}\" transform=\"translate({x:.0} {y:.0})\"><title>{} {} {}</title>\
         <rect width=\"{}\" height=\"{}\" rx=\"7\"/><rect class=\"bar\" width=\"4\" height=\"{}\" y=\"8\" rx=\"2\"/>\
         <text x=\"14\" y=\"21\">{}</text><text class=\"quiet\" x=\"14\" y=\"38\">{}</text></g>",
        escape(&node.kind),
        escape(&node.kind),
        escape(&node.title),
        escape(&node.detail),
        BOX.0,
        BOX.1,
        BOX.1 - 16.0,
        escape(&clip(&node.title, 20)),
        escape(&clip(words.trim(), 25)),
    )
}

fn clip(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in edges {
            graph.node(from, "run", from, "");
            graph.node(to, "run", to, "");
            graph.edge(from, to);
        }
        graph
    }

    #[test]
    fn what_is_made_stands_below_what_it_is_made_from() {
        let graph = graph(&[("data", "train"), ("train", "version"), ("data", "version")]);
        let layers = graph.layers();
        assert_eq!((layers["data"], layers["train"], layers["version"]), (0, 1, 2));
        assert_eq!(graph.svg().matches("class=\"edge\"").count(), 3);
    }

    #[test]
    fn what_several_things_were_made_with_is_drawn_beside_each() {
        let graph = graph(&[("py", "prepare"), ("prepare", "train"), ("py", "train")]);
        let (drawn, lines) = graph.places();
        let layers: Vec<usize> =
            drawn.iter().filter(|one| one.node.id == "py").map(|one| one.layer).collect();
        assert_eq!(layers, [0, 1]);
        assert!(lines.iter().all(|(from, to)| drawn[*from].layer + 1 == drawn[*to].layer));
    }

    #[test]
    fn no_two_boxes_lie_on_one_another_and_the_chain_is_straight() {
        let graph =
            graph(&[("a", "m"), ("b", "m"), ("c", "m"), ("m", "n"), ("d", "n"), ("e", "n"), ("n", "o")]);
        let (drawn, _) = graph.places();
        for (index, one) in drawn.iter().enumerate() {
            for other in drawn.iter().skip(index + 1).filter(|other| other.layer == one.layer) {
                assert!((one.x - other.x).abs() >= BOX.0);
            }
        }
        for id in ["m", "n", "o"] {
            assert!(drawn.iter().any(|one| one.node.id == id && one.x == 0.0));
        }
    }

    #[test]
    fn a_circle_and_nothing_at_all_are_drawn_too() {
        assert!(graph(&[("a", "b"), ("b", "a")]).svg().contains("</svg>"));
        assert!(Graph::default().svg().contains("no version"));
    }
}
