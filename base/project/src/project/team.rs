//! What a team shares: the cache of steps that lies in a remote, and whose steps are taken from it.

use serde::Serialize;

/// A cache of steps that lies in a remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedCache {
    /// The name of the remote.
    pub remote: String,
    /// Branches whose steps every branch may take.
    pub from: Vec<String>,
    /// Who may give.
    pub trust: Vec<Trust>,
}

/// A key that is trusted to sign steps of some branches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// The public key: `ed25519:` and 64 hex digits.
    pub key: String,
    /// Branches, in which `*` stands for anything but a branch that another key names in full.
    pub branches: Vec<String>,
}

impl SharedCache {
    /// Whether a key is trusted to sign steps of a branch.
    pub fn trusts(&self, key: &str, branch: &str) -> bool {
        let named = |trust: &Trust| trust.branches.iter().any(|pattern| pattern == branch);
        let of_key = || self.trust.iter().filter(|trust| trust.key == key);
        if self.trust.iter().any(named) {
            return of_key().any(named);
        }
        of_key().flat_map(|trust| &trust.branches).any(|pattern| covers(pattern, branch))
    }
}

/// Whether a pattern, in which `*` stands for any text, is of a name.
fn covers(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(name) = name.strip_prefix(head).and_then(|name| name.strip_suffix(tail)) else { return false };
    let mut name = Some(name);
    for part in middle.split('*') {
        name = name.and_then(|name| name.split_once(part)).map(|(_, after)| after);
    }
    name.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_no_way_to_a_branch_that_another_key_names() {
        let trust = |key: &str, branches: &[&str]| Trust {
            key: key.to_owned(),
            branches: branches.iter().map(|&branch| branch.to_owned()).collect(),
        };
        let cache = SharedCache {
            remote: "team".to_owned(),
            from: vec!["main".to_owned()],
            trust: vec![trust("ci", &["main", "release-*"]), trust("ada", &["*"])],
        };
        assert!(cache.trusts("ci", "main") && cache.trusts("ci", "release-2"));
        assert!(cache.trusts("ada", "idea") && cache.trusts("ada", "release-2"));
        assert!(!cache.trusts("ada", "main") && !cache.trusts("ci", "idea") && !cache.trusts("eve", "idea"));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name) in
            [("*", ""), ("a*", "a"), ("a*c", "abc"), ("a*b*c", "a1b2c"), ("**", "x"), ("é*", "éa")]
        {
            assert!(covers(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "ab"), ("a*a", "a"), ("a*b*c", "acb"), ("*x", "y"), ("", "y")] {
            assert!(!covers(pattern, name), "{pattern} {name}");
        }
    }
}
