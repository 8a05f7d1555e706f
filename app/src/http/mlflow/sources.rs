//! Where a client may say that a model version's files are.
//!
//! A source is a name and never a capability: the server opens none of them, and serves a version's files
//! from its own tree of artifacts alone. What is taken is what the client can resolve with this server:
//! `mlflow-artifacts:`, `runs:`, `models:`, and the URL of an artifact proxy. All else is refused, by a list
//! of what is allowed and none of what is not.

use rondo_core::access::Right;
use rondo_store::meta::access::Subject;
use rondo_tracking::artifacts::{self, Place};

use super::MlflowState;
use super::model_versions::find;
use super::refusal::{Answer, Refusal};
use crate::http::access::Caller;

/// What the path of a file in an artifact proxy begins with.
const PROXY: &str = "/api/2.0/mlflow-artifacts/artifacts/";

/// What is known of a source.
pub(super) struct Known {
    /// The root of its files, where the source only leads there.
    pub(super) location: Option<String>,
    /// The logged model that it is.
    pub(super) model: Option<String>,
    /// The run that made it.
    pub(super) run: Option<String>,
}

/// Refuses a source of a prompt that would be a path of the host.
pub(super) fn check_prompt(source: &str) -> Answer<()> {
    if source.contains(['/', '\\', ':']) {
        return Err(Refusal::invalid(format!(
            "Invalid prompt source: '{}'. Local source paths are not allowed for prompts.",
            short(source)
        )));
    }
    Ok(())
}

/// The owner that a local path has to be within: the model that was named, or the run.
pub(super) struct Owner<'a> {
    pub(super) run: Option<&'a str>,
    pub(super) model: Option<&'a str>,
}

/// Refuses a source that is no name of something that this server or its client can resolve.
/// And one of what the caller may not see: whoever may read the version reads its files.
pub(super) async fn check(
    state: &MlflowState,
    caller: &Caller,
    source: &str,
    owner: Owner<'_>,
) -> Answer<Known> {
    let nothing = Known { location: None, model: None, run: None };
    let scheme = scheme(source);
    let path = match scheme.as_deref() {
        None | Some("file") => {
            // Only in the root that the operator has named, and there among the files of the owner.
            let refuse = || local(source, owner.model.is_some());
            let place = local_place(state, source)
                .filter(|place| owner.model.or(owner.run).is_some_and(|owner| place.owner == owner));
            return of_place(state, caller, place.ok_or_else(refuse)?, source).await;
        }
        Some(_) => path(source).ok_or_else(|| relative(source))?,
    };
    match scheme.as_deref() {
        Some("models") => model(state, caller, source, &path).await,
        Some("runs") => {
            let run = path.trim_start_matches('/').split('/').next().unwrap_or_default();
            caller.run_for(Right::Read, run).await?;
            Ok(nothing)
        }
        Some("mlflow-artifacts") => match state.tracking.roots().find(source).ok().flatten() {
            Some(place) => of_place(state, caller, place, source).await,
            None => Ok(nothing),
        },
        Some("http" | "https") if path.contains(PROXY) => {
            let below = path.split_once(PROXY).map_or("", |(_, below)| below);
            // The files of a proxy that is this one.
            if let Some(owner) = artifacts::proxied(below).ok().map(|place| place.owner)
                && owner != artifacts::SHARED
            {
                caller.artifacts_for(Right::Read, &owner).await?;
            }
            Ok(nothing)
        }
        Some(_) | None => match state.tracking.roots().find(source).ok().flatten() {
            Some(place) => of_place(state, caller, place, source).await,
            None => Err(bad(source)),
        },
    }
}

/// The place of a local path. Steps up are taken first, as a file system would without links: where they lead
/// is what counts.
fn local_place(state: &MlflowState, source: &str) -> Option<Place> {
    let mut steps: Vec<&str> = Vec::new();
    for step in source.split('/') {
        match step {
            ".." => {
                steps.pop().filter(|step| !step.is_empty() && !step.contains('%'))?;
            }
            "." => {}
            step => steps.push(step),
        }
    }
    state.tracking.roots().find(&steps.join("/")).ok().flatten()
}

/// A place among the artifacts of a run or logged model that is here.
async fn of_place(state: &MlflowState, caller: &Caller, place: Place, source: &str) -> Answer<Known> {
    caller.artifacts_for(Right::Read, &place.owner).await?;
    if !state.tracking.owns_artifacts(&place.owner).await? {
        return Err(bad(source));
    }
    let is_model = place.owner.starts_with("m-") && place.path.is_empty();
    Ok(Known { location: None, model: is_model.then_some(place.owner), run: None })
}

async fn model(state: &MlflowState, caller: &Caller, source: &str, path: &str) -> Answer<Known> {
    let name = path.trim_start_matches('/');
    if name.starts_with("m-") && !name.contains('/') {
        caller.logged_model_for(Right::Read, name).await?;
        let logged = state.tracking.logged_model(name).await?;
        return Ok(Known {
            location: Some(logged.artifact_uri),
            model: Some(name.to_owned()),
            run: logged.row.run,
        });
    }
    let (name, number) = name.split_once('/').ok_or_else(|| bad(source))?;
    let number: i64 = number.parse().map_err(|_| bad(source))?;
    caller.may(Right::Read, &Subject::Model(name.to_owned()))?;
    let copied = find(state, name, number).await?;
    let location = super::model_versions::root(state, name, &number.to_string()).await?;
    Ok(Known { location: Some(location), model: None, run: copied.run })
}

/// The scheme of a URI in lower case; nothing where there is none, as in a path.
fn scheme(source: &str) -> Option<String> {
    let (scheme, _) = source.split_once(':')?;
    let mut chars = scheme.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
    let rest = chars.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    (first && rest).then(|| scheme.to_ascii_lowercase())
}

/// The path of a URI, once nothing in it is encoded any more; nothing where it would be read as another.
fn path(source: &str) -> Option<String> {
    let text = artifacts::decoded(source)?;
    if text.contains(['\\', '\0', '?', '#', ';']) || text.chars().any(char::is_control) {
        return None;
    }
    let (_, rest) = text.split_once(':')?;
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.split_once('/').map_or("", |(_, path)| path),
        None => rest,
    };
    let path = path.trim_matches('/');
    let odd = path.split('/').any(|part| part == "." || part == "..");
    (!odd && !path.is_empty()).then(|| format!("/{path}"))
}

fn short(source: &str) -> String {
    source.chars().take(200).collect()
}

fn bad(source: &str) -> Refusal {
    Refusal::invalid(format!(
        "Invalid model version source: '{}'. It must be among the artifacts of a run or logged model of this server: \
         mlflow-artifacts:/…, runs:/<run>/<path>, models:/m-<id> or models:/<name>/<version>",
        short(source)
    ))
}

fn relative(source: &str) -> Refusal {
    Refusal::invalid(format!(
        "Invalid model version source: '{}'. If supplying a source as an http, https, local file path, ftp, \
         objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references \
         present. Please provide an absolute path.",
        short(source)
    ))
}

fn local(source: &str, of_model: bool) -> Refusal {
    let what = if of_model { "model_id" } else { "run_id" };
    Refusal::invalid(format!(
        "Invalid model version source: '{}'. To use a local path as a model version source, the {what} request \
         parameter has to be specified and the local path has to be contained within the artifact directory of the \
         run specified by the {what}.",
        short(source)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_reading_or_none() {
        for (source, found) in [
            ("mlflow-artifacts:/models", Some("/models")),
            ("mlflow-artifacts:/models///", Some("/models")),
            ("mlflow-artifacts://host:9000/models/artifact/..../", Some("/models/artifact/....")),
            ("runs:/abc/model", Some("/abc/model")),
            ("mlflow-artifacts:/a/../b", None),
            ("mlflow-artifacts:/a/%2e%2e/b", None),
            ("mlflow-artifacts:/a/%25252e%25252e/b", None),
            ("mlflow-artifacts:/a%00", None),
            ("mlflow-artifacts:/a;b", None),
            ("mlflow-artifacts:/a?b", None),
            ("mlflow-artifacts:/a#b", None),
            ("mlflow-artifacts:/a\\..\\b", None),
            ("mlflow-artifacts:", None),
            ("runs:", None),
        ] {
            assert_eq!(path(source).as_deref(), found, "{source}");
        }
        assert_eq!(scheme("FILE:///x").as_deref(), Some("file"));
        for plain in ["/a:b", "model", "1:/x", ":x", ""] {
            assert_eq!(scheme(plain), None, "{plain}");
        }
    }
}
