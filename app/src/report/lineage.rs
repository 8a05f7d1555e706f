//! The lineage picture: what the version that serves was made of, left to right.

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

    /// The column of each thing: one more than the furthest of what it was made from. What lies on a
    /// circle (there should be none) stays where it was first put.
    fn columns(&self) -> BTreeMap<&str, usize> {
        let mut columns: BTreeMap<&str, usize> =
            self.nodes.iter().map(|node| (node.id.as_str(), 0)).collect();
        for _ in 0..self.nodes.len() {
            let mut moved = false;
            for (from, to) in &self.edges {
                let (Some(left), Some(right)) =
                    (columns.get(from.as_str()).copied(), columns.get_mut(to.as_str()))
                else {
                    continue;
                };
                if *right <= left && left < self.nodes.len() {
                    *right = left + 1;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        columns
    }

    /// The picture as inline SVG.
    pub fn svg(&self) -> String {
        const BOX: (f64, f64) = (152.0, 44.0);
        const GAP: (f64, f64) = (38.0, 16.0);
        let columns = self.columns();
        let mut filled: BTreeMap<usize, usize> = BTreeMap::new();
        let mut places: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for node in &self.nodes {
            let column = columns.get(node.id.as_str()).copied().unwrap_or(0);
            let row = filled.entry(column).or_default();
            let x = 8.0 + column as f64 * (BOX.0 + GAP.0);
            let y = 8.0 + *row as f64 * (BOX.1 + GAP.1);
            *row += 1;
            places.insert(&node.id, (x, y));
        }
        let width =
            16.0 + (columns.values().max().copied().unwrap_or(0) + 1) as f64 * (BOX.0 + GAP.0) - GAP.0;
        let height = 16.0 + filled.values().max().copied().unwrap_or(1) as f64 * (BOX.1 + GAP.1) - GAP.1;
        let mut svg = format!(
            "<div class=\"scroll\"><svg class=\"lineage\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"lineage\">"
        );
        for (from, to) in &self.edges {
            let (Some(a), Some(b)) = (places.get(from.as_str()), places.get(to.as_str())) else { continue };
            let (x1, y1) = (a.0 + BOX.0, a.1 + BOX.1 / 2.0);
            let (x2, y2) = (b.0, b.1 + BOX.1 / 2.0);
            let middle = f64::midpoint(x1, x2);
            let _ = write!(
                svg,
                "<path class=\"edge\" d=\"M{x1:.0} {y1:.0} C{middle:.0} {y1:.0} {middle:.0} {y2:.0} {x2:.0} {y2:.0}\"/>"
            );
        }
        for node in &self.nodes {
            let Some((x, y)) = places.get(node.id.as_str()) else { continue };
            let _ = write!(
                svg,
                "<g class=\"node {}\" transform=\"translate({x:.0} {y:.0})\"><title>{} {} {}</title>\
                 <rect width=\"{}\" height=\"{}\" rx=\"6\"/><text x=\"10\" y=\"19\">{}</text>\
                 <text class=\"quiet\" x=\"10\" y=\"35\">{}</text></g>",
                escape(&node.kind),
                escape(&node.kind),
                escape(&node.title),
                escape(&node.detail),
                BOX.0,
                BOX.1,
                escape(&clip(&node.title, 20)),
                escape(&clip(&format!("{} {}", node.kind, node.detail), 23)),
            );
        }
        svg.push_str("</svg></div>");
        svg
    }
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

    #[test]
    fn what_is_made_stands_right_of_what_it_is_made_from() {
        let mut graph = Graph::default();
        for id in ["version", "train", "data"] {
            graph.node(id, "run", id, "");
        }
        graph.edge("data", "train");
        graph.edge("train", "version");
        graph.edge("data", "version");
        let columns = graph.columns();
        assert_eq!((columns["data"], columns["train"], columns["version"]), (0, 1, 2));
        assert_eq!(graph.svg().matches("class=\"edge\"").count(), 3);
    }
}
