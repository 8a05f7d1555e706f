//! Links by which what a step has made leads to what the step may not read. Rondo takes outputs into the store with
//! its own rights: without a look, a link would carry an undeclared file there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A link, and where it leads.
#[derive(Debug, PartialEq, Eq)]
pub struct Stray {
    /// The link.
    pub link: PathBuf,
    /// What it leads to, at last.
    pub to: PathBuf,
}

/// The first link at a place, in it or in what it leads to, that leads to nothing of what is `known`. What cannot
/// be read is left to whoever takes it.
pub fn stray(place: &Path, known: &[PathBuf]) -> Option<Stray> {
    let mut open = vec![place.to_owned()];
    let mut followed = BTreeSet::new();
    while let Some(place) = open.pop() {
        let Ok(found) = fs::symlink_metadata(&place) else { continue };
        if found.is_dir() {
            open.extend(fs::read_dir(&place).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if found.is_symlink() {
            let Ok(to) = place.canonicalize() else { continue };
            if !known.iter().any(|known| to.starts_with(known)) {
                return Some(Stray { link: place, to });
            }
            if followed.insert(to.clone()) {
                open.push(to);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_out_of_what_is_known_is_found_at_any_depth_and_in_circles() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (out, inputs, secret) = (root.join("out"), root.join("in"), root.join("secret"));
        fs::create_dir_all(out.join("a/b")).unwrap();
        fs::create_dir(&inputs).unwrap();
        fs::write(&secret, "s").unwrap();
        fs::write(inputs.join("rows"), "r").unwrap();
        symlink(inputs.join("rows"), out.join("a/rows")).unwrap();
        symlink(&out, out.join("a/round")).unwrap();
        symlink("nowhere", out.join("a/dangling")).unwrap();
        let known = [out.clone(), inputs.clone()];
        assert_eq!(stray(&out, &known), None);
        // What is known may itself hold a link that leads on.
        symlink(&secret, inputs.join("leak")).unwrap();
        symlink(&inputs, out.join("a/b/inputs")).unwrap();
        assert_eq!(stray(&out, &known), Some(Stray { link: inputs.join("leak"), to: secret }));
    }
}
