//! Readers of keys. A value of the wrong form reads as absent: the structure pass has reported it.

use rondo_core::Span;
use serde_json::Value;

use crate::yaml::Node;

pub(crate) fn text(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(Node::text).map(str::to_owned)
}

/// Any scalar as it is written.
pub(crate) fn written(node: &Node, key: &str) -> Option<String> {
    node.get(key).filter(|node| node.is_scalar()).map(|node| node.raw.clone())
}

/// One text or a list of them.
pub(crate) fn texts(node: &Node, key: &str) -> Vec<String> {
    node.get(key)
        .map(|value| one_or_more(value))
        .unwrap_or_default()
        .iter()
        .filter_map(|item| item.text())
        .map(str::to_owned)
        .collect()
}

/// The items of a list, or the one thing that stands in its place.
pub(crate) fn one_or_more(node: &Node) -> Vec<&Node> {
    match node.list() {
        Some(items) => items.iter().collect(),
        None => vec![node],
    }
}

pub(crate) fn float(node: &Node, key: &str) -> Option<f64> {
    node.get(key).and_then(Node::number).filter(|number| number.is_finite())
}

pub(crate) fn count(node: &Node, key: &str) -> Option<u64> {
    node.get(key).and_then(Node::int).and_then(|number| u64::try_from(number).ok())
}

pub(crate) fn small(node: &Node, key: &str) -> Option<u32> {
    count(node, key).and_then(|number| u32::try_from(number).ok())
}

pub(crate) fn bool(node: &Node, key: &str) -> Option<bool> {
    node.get(key).and_then(Node::bool)
}

pub(crate) fn span(node: &Node, key: &str) -> Option<Span> {
    node.get(key).and_then(Node::text).and_then(|text| text.parse().ok())
}

pub(crate) fn scalar(node: &Node, key: &str) -> Option<Value> {
    node.get(key).filter(|node| node.is_scalar()).map(Node::json)
}

/// A number of bytes, or text such as `512MB`, `4 GiB`, `4G`.
pub(crate) fn bytes(node: &Node) -> Option<u64> {
    if let Some(number) = node.int() {
        return u64::try_from(number).ok();
    }
    let text = node.text()?.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(end);
    let unit: f64 = match unit.trim() {
        "B" => 1.0,
        "kB" | "KB" | "K" => 1e3,
        "MB" | "M" => 1e6,
        "GB" | "G" => 1e9,
        "TB" | "T" => 1e12,
        "KiB" | "Ki" => 1024.0,
        "MiB" | "Mi" => 1_048_576.0,
        "GiB" | "Gi" => 1_073_741_824.0,
        "TiB" | "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    let number = number.parse::<f64>().ok()? * unit;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range by the test before
    (number.is_finite() && (0.0..1e18).contains(&number)).then(|| number.round() as u64)
}
