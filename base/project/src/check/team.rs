//! What a team shares: remotes, and the cache of steps in one of them.

use super::context::Context;
use super::read;
use crate::fault::Fault;
use crate::ordered::Ordered;
use crate::project::{SharedCache, Trust};
use crate::yaml::{Node, join};

/// How a public key begins; 64 hex digits follow.
const KEY: &str = "ed25519:";

pub(super) fn remotes(context: &mut Context<'_>) -> Ordered<String> {
    let entries = context.section("remotes");
    entries
        .iter()
        .filter_map(|entry| {
            let address = entry.value.text()?;
            if address.trim().is_empty() {
                let fault =
                    Fault::new(join("remotes", &entry.key), entry.value.place, "the address is empty");
                context.fault(fault.expected("a folder, or a bucket such as `s3://bucket/prefix`"));
            }
            Some((entry.key.clone(), address.to_owned()))
        })
        .collect()
}

pub(super) fn cache(context: &mut Context<'_>) -> Option<SharedCache> {
    let node = context.root.get("cache")?;
    node.map()?;
    let remote = read::text(node, "remote")?;
    let known = context.names("remotes");
    if !known.contains(&&*remote) {
        let place = node.get("remote").map_or(node.place, |value| value.place);
        context.unknown("cache.remote", place, "remote", &remote, &known);
    }
    let mut from = read::texts(node, "from");
    if from.is_empty() {
        from.push("main".to_owned());
    }
    let keys = node.get("trust").and_then(Node::list).unwrap_or_default();
    let trust = keys.iter().enumerate().filter_map(|(number, entry)| {
        let key = read::text(entry, "key")?;
        let hex = key.strip_prefix(KEY).unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let place = entry.get("key").map_or(entry.place, |value| value.place);
            let fault = Fault::new(format!("cache.trust[{number}].key"), place, "this is no public key");
            let fault = fault.expected("`ed25519:` and 64 hex digits");
            context.fault(fault.hint("`rondo pipeline cache-key` makes a pair and prints both halves"));
        }
        Some(Trust { key: key.to_ascii_lowercase(), branches: read::texts(entry, "branches") })
    });
    let trust = trust.collect();
    Some(SharedCache { remote, from, trust })
}
