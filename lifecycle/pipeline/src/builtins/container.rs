//! `container`: a command in a container image, by podman or docker.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, PortError};
use serde_json::Value;

use super::{Failed, program, text};
use crate::environment::host::{find_program, search_path};
use crate::execute::process::Command;

/// The engines, the one that needs no daemon first.
const ENGINES: [&str; 2] = ["podman", "docker"];

/// The variables of the contract that a container gets; the host's own are not its business.
const PASSED: [&str; 2] = ["RONDO_", "MLFLOW_"];

/// The package.
#[derive(Debug, Clone, Copy, Default)]
pub struct Container;

#[async_trait]
impl Builtin for Container {
    fn name(&self) -> &'static str {
        "container"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["image", "command", "engine", "network"]
    }

    fn code_files(&self, _with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        Vec::new()
    }

    fn check(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<String> {
        Vec::new()
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        work(&call).await.map_err(|error| Box::new(error) as PortError)
    }
}

async fn work(call: &BuiltinCall) -> Result<BuiltinResult, Failed> {
    program(call, &command(call)?).await?;
    Ok(BuiltinResult::default())
}

/// The engine's command. Files keep their paths inside of the container, so that the variables of the step
/// contract mean the same there.
fn command(call: &BuiltinCall) -> Result<Command, Failed> {
    let wanted = text(&call.with, "engine").unwrap_or("auto");
    let path = search_path(&call.environment);
    let mut engines = ENGINES.iter().filter(|engine| wanted == "auto" || wanted == **engine);
    let found = engines.find_map(|engine| Some((*engine, find_program(engine, path)?)));
    let Some((engine, program)) = found else {
        let what = if wanted == "auto" { "neither podman nor docker" } else { wanted };
        return Err(Failed::Hinted {
            message: format!("no container can be started: {what} is on this machine's PATH"),
            hint: "install podman, or run the step's command in an environment without an image",
        });
    };
    let image = text(&call.with, "image").ok_or_else(|| Failed::Refused("`image` is missing".to_owned()))?;
    let mut arguments: Vec<OsString> = ["run", "--rm", "--pull=missing"].map(OsString::from).into();
    if call.with.get("network") != Some(&Value::Bool(true)) {
        arguments.push("--network=none".into());
    }
    if engine == "docker" {
        // A container of docker would write as root; podman's root is the caller already.
        let (user, group) = owner(&call.scratch);
        arguments.push(format!("--user={user}:{group}").into());
    }
    let mount = |place: &Path, mode: &str| {
        let place = place.to_string_lossy();
        [OsString::from("--volume"), format!("{place}:{place}:{mode}").into()]
    };
    for place in call.step.inputs.values() {
        // What lies in the store is reached by a link: the file itself is mounted.
        let real = place.canonicalize().unwrap_or_else(|_| place.clone());
        arguments.extend([
            OsString::from("--volume"),
            format!("{}:{}:ro", real.display(), place.display()).into(),
        ]);
    }
    let mut folders: Vec<&Path> = call.step.outputs.values().filter_map(|place| place.parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders.iter().for_each(|folder| arguments.extend(mount(folder, "rw")));
    arguments.extend(mount(&call.scratch, "rw"));
    arguments.extend(["--workdir".into(), call.scratch.clone().into_os_string()]);
    for (name, value) in &call.environment {
        if PASSED.iter().any(|prefix| name.starts_with(prefix)) {
            arguments.extend(["--env".into(), format!("{name}={value}").into()]);
        }
    }
    arguments.push(image.into());
    if let Some(command) = text(&call.with, "command") {
        arguments.extend(["sh".into(), "-c".into(), command.into()]);
    }
    let (folder, variables) = (call.scratch.clone(), call.environment.clone());
    Ok(Command { program, arguments, folder, variables, mark: None })
}

/// Who a folder belongs to.
fn owner(folder: &Path) -> (u32, u32) {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(folder).map_or((0, 0), |metadata| (metadata.uid(), metadata.gid()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rondo_core::handoff::StepInputs;
    use rondo_core::ports::Unwatched;
    use rondo_core::{Digest, RunId};
    use serde_json::json;

    use super::*;

    fn call(path: &Path, with: Value) -> BuiltinCall {
        let step = StepInputs {
            project: "p".into(),
            step: "s".into(),
            run: RunId::random(),
            key: Digest::of(b"k"),
            params: BTreeMap::new(),
            inputs: [("rows".to_owned(), path.join("rows.csv"))].into(),
            outputs: [("out".to_owned(), path.join("out/x.csv"))].into(),
            metrics: None,
        };
        BuiltinCall {
            step,
            with: with.as_object().unwrap().clone().into_iter().collect(),
            root: path.to_owned(),
            scratch: path.to_owned(),
            environment: [
                ("PATH".to_owned(), path.to_string_lossy().into_owned()),
                ("RONDO_PARAM_A".to_owned(), "1".to_owned()),
                ("HOME".to_owned(), "/root".to_owned()),
            ]
            .into(),
            python: None,
            progress: Arc::new(Unwatched),
        }
    }

    #[test]
    fn without_an_engine_it_is_said_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let error = command(&call(folder.path(), json!({"image": "x"}))).unwrap_err();
        assert!(error.to_string().contains("neither podman nor docker"));
        let error = command(&call(folder.path(), json!({"image": "x", "engine": "docker"}))).unwrap_err();
        assert!(error.to_string().contains("docker is on"));
    }

    #[test]
    fn the_contract_is_the_same_inside() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let podman = folder.path().join("podman");
        std::fs::write(&podman, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&podman, std::fs::Permissions::from_mode(0o755)).unwrap();
        let command = command(&call(folder.path(), json!({"image": "img:1", "command": "cat x"}))).unwrap();
        let words: Vec<String> =
            command.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let at = folder.path().display();
        assert!(
            words.contains(&"--network=none".to_owned()) && words.contains(&"RONDO_PARAM_A=1".to_owned())
        );
        assert!(words.contains(&format!("{at}/out:{at}/out:rw")), "{words:?}");
        assert!(!words.iter().any(|word| word.starts_with("HOME=")));
        assert_eq!(words[words.len() - 4..], ["img:1", "sh", "-c", "cat x"]);
    }
}
