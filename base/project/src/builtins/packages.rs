//! The packages that are built in: most projects use few of them, so each is read when it is first wanted.

use std::sync::{Arc, OnceLock};

use crate::package::{Package, read};

/// Packages by name, in their order. Cheap to clone; every clone has what any of them has read.
#[derive(Clone, Default)]
pub struct Packages(Arc<[Known]>);

struct Known {
    name: String,
    text: &'static str,
    package: OnceLock<Option<Arc<Package>>>,
}

impl Packages {
    /// Packages by their names and the texts of their `package.yaml`. One whose text has faults is none.
    pub fn of_texts(texts: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        let known = |(name, text)| Known { name: String::from(name), text, package: OnceLock::new() };
        Self(texts.into_iter().map(known).collect())
    }

    /// The package of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Package>> {
        self.0.iter().find(|known| known.name == name)?.package()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Package>> {
        self.0.iter().filter_map(Known::package)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|known| known.name.as_str())
    }
}

impl Known {
    fn package(&self) -> Option<&Arc<Package>> {
        self.package.get_or_init(|| read::builtin(self.text).ok().map(Arc::new)).as_ref()
    }
}

impl FromIterator<Package> for Packages {
    fn from_iter<T: IntoIterator<Item = Package>>(packages: T) -> Self {
        let known = |package: Package| Known {
            name: package.name.clone(),
            text: "",
            package: OnceLock::from(Some(Arc::new(package))),
        };
        Self(packages.into_iter().map(known).collect())
    }
}
