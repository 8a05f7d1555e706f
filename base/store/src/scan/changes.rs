//! What is otherwise than the index has it, file by file.

use super::compose::{SeenFile, files_of, known_files};
use super::index::Known;
use super::{Folder, Index, Node, Scan, Section, What};

/// A file that is not what the index has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// As the index has it; nothing for one that has come.
    pub before: Option<SeenFile>,
    /// As it is; nothing for one that has gone.
    pub after: Option<SeenFile>,
}

impl Scan {
    /// The files that are not what the index has, sorted by path; nothing where both do not fit each other
    /// or not all was read.
    pub fn changes(&self, index: &Index) -> Option<Vec<Difference>> {
        let mut found = Vec::new();
        match &self.node {
            Node::Same(_) => {}
            Node::New(folder) if self.single == index.single => {
                folder_changes(folder, Some(index.root()), index, "", &mut found)?;
            }
            Node::New(folder) => {
                folder_changes(folder, None, index, "", &mut found)?;
                gone(index.root(), index, "", &mut found)?;
            }
        }
        found.sort_by(|a, b| path_of(a).cmp(path_of(b)));
        Some(found)
    }
}

fn path_of(difference: &Difference) -> &str {
    let file = difference.after.as_ref().or(difference.before.as_ref());
    file.map_or("", |file| file.path.as_str())
}

fn folder_changes(
    folder: &Folder,
    old: Option<Section>,
    index: &Index,
    prefix: &str,
    found: &mut Vec<Difference>,
) -> Option<()> {
    let head = old.and_then(|old| index.head(old));
    let mut met = vec![false; head.map_or(0, |head| head.items)];
    for item in &folder.items {
        let known = match (old, &head) {
            (Some(old), Some(head)) => index.find(old, head, folder.cstr(item).to_bytes()),
            (_, _) => None,
        };
        let path = format!("{prefix}{}", folder.name(item));
        match (&item.what, known) {
            (What::File(file), Some((place, Known::File { file: before, .. }))) => {
                *met.get_mut(place)? = true;
                let (before, after) = (SeenFile::new(path.clone(), &before)?, SeenFile::new(path, file)?);
                if (before.digest, before.executable) != (after.digest, after.executable) {
                    found.push(Difference { before: Some(before), after: Some(after) });
                }
            }
            (What::Folder(Node::Same(_)), Some((place, Known::Folder { .. }))) => *met.get_mut(place)? = true,
            (What::Folder(Node::New(inner)), Some((place, Known::Folder { section, .. }))) => {
                *met.get_mut(place)? = true;
                folder_changes(inner, Some(section), index, &format!("{path}/"), found)?;
            }
            // A file where a folder was, or the other way round, has come; what was there is gone.
            (What::File(file), _) => {
                found.push(Difference { before: None, after: Some(SeenFile::new(path, file)?) });
            }
            (What::Folder(node), _) => {
                let mut files = Vec::new();
                match node {
                    Node::New(inner) => {
                        files_of(inner, &format!("{path}/"), Some(index), &|_| true, &mut files)?
                    }
                    Node::Same(section) => {
                        known_files(*section, &format!("{path}/"), index, &|_| true, &mut files)?
                    }
                }
                found.extend(files.into_iter().map(|file| Difference { before: None, after: Some(file) }));
            }
        }
    }
    if let (Some(old), Some(head)) = (old, &head) {
        for (place, _) in met.iter().enumerate().filter(|(_, met)| !**met) {
            let item = index.item(old, head, place)?;
            let path = format!("{prefix}{}", std::str::from_utf8(item.name()).ok()?);
            match item {
                Known::Folder { section, .. } => gone(section, index, &format!("{path}/"), found)?,
                Known::File { file, .. } => {
                    found.push(Difference { before: Some(SeenFile::new(path, &file)?), after: None });
                }
            }
        }
    }
    Some(())
}

fn gone(section: Section, index: &Index, prefix: &str, found: &mut Vec<Difference>) -> Option<()> {
    let mut files = Vec::new();
    known_files(section, prefix, index, &|_| true, &mut files)?;
    found.extend(files.into_iter().map(|file| Difference { before: Some(file), after: None }));
    Some(())
}
