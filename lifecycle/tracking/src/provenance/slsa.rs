//! An in-toto Statement v1 whose predicate is SLSA Provenance v1.
//!
//! Subjects are the files that the run made, of a folder each file; dependencies are the dataset versions,
//! the code, the commit and the locks of the environments. Files have their SHA-256, which others know,
//! beside their BLAKE3. What is a folder and is only referred to has the digest of its listing alone.

use rondo_core::Digest;
use rondo_core::run::{Link, RunRow};
use rondo_core::tree::Mode;
use rondo_store::Objects;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{PRODUCER, PROJECT_FILE, Provenance, VERSION, escaped, source_uri, uuid};
use crate::Error;

/// The statement.
///
/// # Errors
/// When the run has made nothing, or something of it is damaged or an output not in the store any more.
pub fn statement(known: &Provenance, objects: &Objects) -> Result<Value, Error> {
    let mut subjects = Vec::new();
    for row in &known.steps {
        let step = row.step.as_deref().unwrap_or(&row.name);
        for link in &row.detail.outputs {
            let name = format!("{step}/{}", link.name);
            subject(objects, link.digest, link.folder, &name, &mut subjects)?;
        }
    }
    if subjects.is_empty() {
        let reason = "it has made nothing that could be attested".to_owned();
        return Err(Error::NoProvenance { id: known.run.id.hex(), reason });
    }
    let row = known.parent.as_ref().unwrap_or(&known.run);
    let steps: Vec<&str> = known.steps.iter().filter_map(|row| row.step.as_deref()).collect();
    let mut metadata = Map::new();
    metadata.insert("invocationId".to_owned(), format!("urn:uuid:{}", uuid(known.run.id)).into());
    metadata.insert("startedOn".to_owned(), known.run.started.rfc3339().into());
    metadata.extend(known.run.ended.map(|ended| ("finishedOn".to_owned(), ended.rfc3339().into())));
    let logs = known.steps.iter().filter_map(|row| log(row, objects)).collect::<Result<Vec<_>, _>>()?;
    let environments = known.environments();
    let environments: Map<String, Value> =
        environments.into_iter().map(|(name, lock)| (name.to_owned(), lock.hex().into())).collect();
    Ok(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:rondo:build-type:pipeline:v1",
                "externalParameters": {
                    "project": known.project,
                    "file": PROJECT_FILE,
                    "steps": steps,
                    "params": row.detail.params,
                },
                "internalParameters": { "platform": known.run.detail.platform, "environments": environments },
                "resolvedDependencies": dependencies(known, objects)?,
            },
            "runDetails": {
                "builder": { "id": PRODUCER, "version": { "rondo": VERSION } },
                "metadata": metadata,
                "byproducts": logs,
            },
        },
    }))
}

/// A file as a subject; of a folder, every file in it.
fn subject(
    objects: &Objects,
    digest: Digest,
    folder: bool,
    name: &str,
    subjects: &mut Vec<Value>,
) -> Result<(), Error> {
    if !folder {
        subjects.push(json!({ "name": name, "digest": digests(objects, digest)? }));
        return Ok(());
    }
    for entry in objects.tree(digest)?.entries() {
        let inner = format!("{name}/{}", entry.name);
        subject(objects, entry.digest, entry.mode == Mode::Folder, &inner, subjects)?;
    }
    Ok(())
}

fn digests(objects: &Objects, digest: Digest) -> Result<Value, Error> {
    let path = objects.sound(digest)?;
    let mut file = std::fs::File::open(&path).map_err(Error::io("read", &path))?;
    let mut sha = Sha256::new();
    std::io::copy(&mut file, &mut Hashing(&mut sha)).map_err(Error::io("read", &path))?;
    let sha: String = sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(json!({ "sha256": sha, "blake3": digest.hex() }))
}

/// What is written is hashed and forgotten.
struct Hashing<'a>(&'a mut Sha256);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn dependencies(known: &Provenance, objects: &Objects) -> Result<Vec<Value>, Error> {
    let mut found = Vec::new();
    if let Some(commit) = known.commit() {
        let uri = format!("git:{}", escaped(commit));
        found.push(json!({ "name": "code", "uri": uri, "digest": { "gitCommit": commit } }));
    }
    for (path, digest) in known.code() {
        found.push(json!({ "name": path, "digest": held(objects, digest)? }));
    }
    for (reference, link) in known.sources() {
        let mut one = json!({ "name": reference, "digest": input(objects, link)? });
        if let (Some(version), Value::Object(one)) = (known.datasets.get(&link.digest), &mut one) {
            one.insert("uri".to_owned(), source_uri(&version.source).into());
        }
        found.push(one);
    }
    for (name, lock) in known.environments() {
        found.push(json!({ "name": format!("environment {name}"), "digest": held(objects, lock)? }));
    }
    Ok(found)
}

/// The digests of a file, as many as can be had.
fn held(objects: &Objects, digest: Digest) -> Result<Value, Error> {
    match objects.path(digest) {
        Some(_) => digests(objects, digest),
        None => Ok(json!({ "blake3": digest.hex() })),
    }
}

fn input(objects: &Objects, link: &Link) -> Result<Value, Error> {
    if link.folder { Ok(json!({ "rondoTree": link.digest.hex() })) } else { held(objects, link.digest) }
}

/// The log of a run, where it is in the store.
fn log(row: &RunRow, objects: &Objects) -> Option<Result<Value, Error>> {
    let digest = row.detail.log.filter(|digest| objects.path(*digest).is_some())?;
    let name = format!("log of {}", row.step.as_deref().unwrap_or(&row.name));
    Some(digests(objects, digest).map(|digests| json!({ "name": name, "digest": digests })))
}
