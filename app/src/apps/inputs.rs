//! What goes into an app as of now: outputs as `rondo.lock` has them, the newest versions of datasets, and
//! models behind their aliases.
//!
//! The digest of all of it says whether a running process still has what it should have.

use std::collections::BTreeMap;
use std::path::Path;

use rondo_core::run::Link;
use rondo_core::{Digest, reference};
use rondo_project::lock::Lock;
use rondo_project::project::{App, Reference};

use crate::platform::{Error, Platform};

/// What goes in.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Each artifact by its local name, and the ending of its file's name.
    pub links: Vec<(Link, String)>,
    /// The version of each model, by local name.
    pub versions: BTreeMap<String, u64>,
}

/// Something is not there yet: what, and what makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub String);

impl Given {
    /// What a process was given, in one word.
    pub fn identity(&self) -> Digest {
        let mut text = String::new();
        for (link, ending) in &self.links {
            text.push_str(&format!("{} {} {ending}\n", link.name, link.digest));
        }
        for (name, version) in &self.versions {
            text.push_str(&format!("{name} version {version}\n"));
        }
        Digest::of(text.as_bytes())
    }

    /// What was given, for people: `model: delay@champion version 3`.
    pub fn told(&self) -> BTreeMap<String, String> {
        let one = |link: &Link| match self.versions.get(&link.name) {
            Some(version) => format!("{} version {version}", link.reference),
            None => format!("{} {}", link.reference, link.digest.short()),
        };
        self.links.iter().map(|(link, _)| (link.name.clone(), one(link))).collect()
    }
}

/// Looks up what goes into an app.
///
/// # Errors
/// When the store or the lock file cannot be read.
pub async fn gather(platform: &Platform, app: &App) -> Result<Result<Given, Missing>, Error> {
    let (meta, project) = (platform.store().meta(), platform.project());
    let mut given = Given::default();
    let made = app.inputs.values().any(|wanted| matches!(wanted, Reference::Output { .. }));
    let lock = if made { rondo_pipeline::lock::read(platform.root())? } else { Lock::default() };
    for (local, wanted) in app.inputs.iter() {
        let (name, digest, folder) = match wanted {
            Reference::Output { step, output } => {
                let name = format!("{step}.{output}");
                let Some(digest) = lock.steps.get(step).and_then(|step| step.outputs.get(output)) else {
                    return Ok(Err(Missing(format!("`{name}` is not made yet: rondo run {step}"))));
                };
                (name, *digest, path_of(platform, wanted).is_some_and(|path| path.ends_with('/')))
            }
            Reference::Data { dataset } => {
                let name = format!("data.{dataset}");
                let target = meta.target(&reference::dataset(dataset)).await?;
                let version = match target {
                    Some(digest) => meta.dataset_version(dataset, digest).await?,
                    None => None,
                };
                let Some(version) = version else {
                    return Ok(Err(Missing(format!(
                        "`{name}` has no version yet: rondo data add {dataset}"
                    ))));
                };
                (name, version.digest, version.folder)
            }
        };
        if !platform.store().objects().holds(digest, folder) {
            return Ok(Err(Missing(format!("`{name}` is not in the store: rondo run"))));
        }
        let link =
            Link { name: local.to_owned(), reference: name, digest, size: 0, folder, executable: false };
        given.links.push((link, path_of(platform, wanted).map(|path| ending(&path)).unwrap_or_default()));
    }
    for (local, alias) in app.models.iter() {
        let name = format!("{}@{}", alias.model, alias.alias);
        let Some((_, version)) = meta.aliased_version(&alias.model, &alias.alias).await? else {
            return Ok(Err(Missing(format!("`{name}` is not set yet: rondo run"))));
        };
        let from = project.models.get(&alias.model).and_then(|model| path_of(platform, &model.from));
        let link = Link {
            name: local.to_owned(),
            reference: name,
            digest: version.file,
            size: 0,
            folder: from.as_deref().is_some_and(|path| path.ends_with('/')),
            executable: false,
        };
        given.versions.insert(local.to_owned(), u64::from(version.version));
        given.links.push((link, from.map(|path| ending(&path)).unwrap_or_default()));
    }
    Ok(Ok(given))
}

/// The path or source that an artifact comes from, which says what its file is called.
fn path_of(platform: &Platform, wanted: &Reference) -> Option<String> {
    let project = platform.project();
    match wanted {
        Reference::Output { step, output } => project.steps.get(step)?.outputs.get(output).cloned(),
        Reference::Data { dataset } => {
            let dataset = project.data.get(dataset)?;
            if let Some(format) = &dataset.format {
                return Some(format!("data.{}", format.trim_start_matches('.')));
            }
            let path = dataset.source.split(['?', '#']).next().unwrap_or_default();
            // An archive's one file and a compressed file are stored unpacked.
            let plain = [".zip", ".gz"].iter().find_map(|packed| path.strip_suffix(packed)).unwrap_or(path);
            Some(plain.to_owned())
        }
    }
}

fn ending(path: &str) -> String {
    if path.ends_with('/') {
        return String::new();
    }
    let ending = Path::new(path).extension().map(|ending| format!(".{}", ending.to_string_lossy()));
    ending.unwrap_or_default()
}
