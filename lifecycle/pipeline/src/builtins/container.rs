//! `container`: a command in a container image, by podman or docker.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, PortError};
use rondo_core::{Objection, RunId};
use serde_json::Value;

use super::{Failed, mark, program, text};
use crate::environment::host::{find_program, search_path, tool_variables};
use crate::environment::image::ENGINES;
use crate::execute::process::Command;

/// The variables of the contract that a container gets; the host's own are not its business.
const PASSED: [&str; 2] = ["RONDO_", "MLFLOW_"];

/// Up to how many files that links of a folder lead to are mounted: a command line has an end.
const MANY: usize = 2000;

/// The package.
#[derive(Debug, Clone, Default)]
pub struct Container {
    /// The variables of who runs it: by some of them the engine finds its daemon and its images.
    pub variables: BTreeMap<String, String>,
}

#[async_trait]
impl Builtin for Container {
    fn name(&self) -> &'static str {
        "container"
    }

    fn version(&self) -> &'static str {
        "2"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["image", "command", "engine", "network"]
    }

    fn commands(&self) -> &'static [&'static str] {
        &["command"]
    }

    fn stops(&self) -> bool {
        true
    }

    fn code_files(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        Vec::new()
    }

    fn check(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<Objection> {
        Vec::new()
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        work(&call, &self.variables).await.map_err(|error| Box::new(error) as PortError)
    }
}

async fn work(call: &BuiltinCall, host: &BTreeMap<String, String>) -> Result<BuiltinResult, Failed> {
    let command = command(call, host)?;
    let folder = call.environment.get("RONDO_STEP_FILE").and_then(|file| Path::new(file).parent());
    let running = Running::new(&command.program, call.step.run, folder, &command.variables);
    // The engine is no part of the step: what it starts is isolated by it.
    program(call, &command, false).await?;
    running.ended();
    Ok(BuiltinResult::default())
}

/// The container's name: the run's, so that it can be found and removed.
pub(crate) fn name(run: RunId) -> String {
    format!("rondo-{run}")
}

/// The file in a step's folder that says which engine has a container of it. It is seen by no container.
const RECORD: &str = "container";

/// How long an engine may take to remove a container that a killed process has left.
const REMOVAL: Duration = Duration::from_secs(30);

/// Removes the container that the step of a killed process has left, where it had one. An engine that does
/// not answer is `silent`, and is not asked again.
pub(crate) async fn remove_left(
    folder: &Path,
    run: RunId,
    host: &BTreeMap<String, String>,
    silent: &mut BTreeSet<String>,
) {
    let Ok(engine) = fs::read_to_string(folder.join(RECORD)) else { return };
    let engine = engine.trim();
    let known = ENGINES.iter().find(|known| **known == engine && !silent.contains(engine));
    let Some(program) = known.and_then(|engine| find_program(engine, search_path(host))) else { return };
    let removal = tokio::process::Command::new(program)
        .args(["rm", "-f", "--", &name(run)])
        .env_clear()
        .envs(tool_variables(host))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    // That it was gone already is no fault, and an engine that does not answer keeps nobody from starting.
    match tokio::time::timeout(REMOVAL, removal).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!("container {} cannot be removed: {error}", name(run)),
        Err(_) => {
            tracing::warn!("container {}: its engine does not answer", name(run));
            silent.insert(engine.to_owned());
        }
    }
}

/// A container that may be running: docker's daemon keeps it although the program that started it is gone.
pub(crate) struct Running {
    engine: PathBuf,
    name: String,
    variables: BTreeMap<String, String>,
    ended: bool,
}

impl Running {
    /// The container of a run, which is about to be started. Of which engine it is stands in the step's
    /// folder, for who finds it after this process was killed.
    pub(crate) fn new(
        engine: &Path,
        run: RunId,
        folder: Option<&Path>,
        variables: &BTreeMap<String, String>,
    ) -> Self {
        if let (Some(folder), Some(engine)) = (folder, engine.file_name()) {
            // One that is not noted is still ended with its processes.
            let _ = fs::write(folder.join(RECORD), engine.as_encoded_bytes());
        }
        Self { engine: engine.to_owned(), name: name(run), variables: variables.clone(), ended: false }
    }

    /// It has ended well, and its engine has removed it.
    pub(crate) fn ended(mut self) {
        self.ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        use std::os::unix::process::CommandExt;
        if self.ended {
            return;
        }
        let removal = std::process::Command::new(&self.engine)
            .args(["rm", "-f", &self.name])
            .env_clear()
            .envs(&self.variables)
            // By this variable what the step left running is known and killed; the removal is none of it.
            .env_remove("RONDO_STEP_FILE")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // It goes on when Rondo itself ends.
            .process_group(0)
            .spawn();
        match removal {
            // Nobody waits here for a daemon; the thread only reaps.
            Ok(mut removal) => drop(std::thread::spawn(move || removal.wait())),
            Err(error) => tracing::warn!("container {} cannot be removed: {error}", self.name),
        }
    }
}

/// The engine's command. Files keep their paths inside of the container, so that the variables of the step
/// contract mean the same there.
fn command(call: &BuiltinCall, host: &BTreeMap<String, String>) -> Result<Command, Failed> {
    let wanted = text(&call.with, "engine").unwrap_or("auto");
    let path = search_path(host);
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
    arguments.extend(["--name".into(), name(call.step.run).into()]);
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
    // What lies in the store is reached by a link: the file itself is mounted.
    let mount_real = |place: &Path| {
        let real = place.canonicalize().unwrap_or_else(|_| place.to_owned());
        [OsString::from("--volume"), format!("{}:{}:ro", real.display(), place.display()).into()]
    };
    call.step.inputs.values().for_each(|place| arguments.extend(mount_real(place)));
    // The links in a folder are the same inside: what they lead to has to be there too.
    let places = linked(call.step.inputs.values())?;
    if let Some(why) = too_many(places.len()) {
        return Err(Failed::Program(why));
    }
    for place in places {
        arguments.extend(mount_real(&place));
    }
    if let Some(file) = call.environment.get("RONDO_STEP_FILE") {
        arguments.extend(mount(Path::new(file), "ro"));
    }
    let written = call.step.outputs.values().chain(&call.step.metrics);
    let mut folders: Vec<&Path> = written.filter_map(|place| place.parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders.iter().for_each(|folder| arguments.extend(mount(folder, "rw")));
    arguments.extend(mount(&call.scratch, "rw"));
    arguments.extend(["--workdir".into(), call.scratch.clone().into_os_string()]);
    // By name alone: the engine finds the values in its own environment, and everybody on this machine can
    // read the arguments of a process.
    let mut variables = tool_variables(host);
    let passed = |(name, _): &(&String, &String)| PASSED.iter().any(|prefix| name.starts_with(prefix));
    for (name, value) in call.environment.iter().filter(passed) {
        arguments.extend(["--env".into(), name.into()]);
        variables.insert(name.clone(), value.clone());
    }
    arguments.push(image.into());
    if let Some(command) = text(&call.with, "command") {
        arguments.extend(["sh".into(), "-c".into(), command.into()]);
    }
    let folder = call.scratch.clone();
    Ok(Command { program, arguments, folder, variables, mark: mark(call) })
}

/// Where the links in these folders lead to, at any depth, each place once. Never the folders around them:
/// beside what an input leads to lies what nobody has declared.
pub(crate) fn linked<'a>(inputs: impl Iterator<Item = &'a PathBuf>) -> Result<Vec<PathBuf>, Failed> {
    let is_folder = |place: &Path| fs::symlink_metadata(place).is_ok_and(|found| found.is_dir());
    let mut open: Vec<PathBuf> = inputs.filter(|place| is_folder(place)).cloned().collect();
    let mut places = Vec::new();
    while let Some(folder) = open.pop() {
        let failed = |error: std::io::Error| Failed::Program(format!("read `{}`: {error}", folder.display()));
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_symlink() {
                places.push(folder.join(fs::read_link(entry.path()).map_err(failed)?));
            }
        }
    }
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

/// Why so many places cannot be shown one by one, where they are too many.
pub(crate) fn too_many(places: usize) -> Option<String> {
    (places > MANY).then(|| {
        format!(
            "its inputs lead to {places} large files in the store, and at most {MANY} can be shown to it: put \
             them into one archive, or ask for `isolation: landlock` or `none`"
        )
    })
}

/// Who a folder belongs to.
pub(crate) fn owner(folder: &Path) -> (u32, u32) {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(folder).map_or((0, 0), |metadata| (metadata.uid(), metadata.gid()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rondo_core::Digest;
    use rondo_core::handoff::StepInputs;
    use rondo_core::ports::Unwatched;
    use serde_json::json;

    use super::super::LINE;
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
            read: BTreeMap::new(),
            metrics: None,
        };
        BuiltinCall {
            step,
            with: with.as_object().unwrap().clone().into_iter().collect(),
            root: path.to_owned(),
            scratch: path.to_owned(),
            environment: [
                ("RONDO_PARAM_A".to_owned(), "1".to_owned()),
                ("HOME".to_owned(), "/root".to_owned()),
            ]
            .into(),
            python: None,
            confinement: None,
            stop: tokio::sync::watch::channel(false).1,
            progress: Arc::new(Unwatched),
        }
    }

    fn host(path: &Path) -> BTreeMap<String, String> {
        let daemon = ("DOCKER_HOST".to_owned(), "unix:///run/user/1000/docker.sock".to_owned());
        [("PATH".to_owned(), path.to_string_lossy().into_owned()), daemon].into()
    }

    #[test]
    fn the_engine_finds_its_daemon_and_the_home_of_who_runs_it() {
        let folder = tempfile::tempdir().unwrap();
        engine(folder.path(), "docker", "");
        let mut host = host(folder.path());
        host.insert("HOME".to_owned(), "/home/ada".to_owned());
        let command = command(&call(folder.path(), json!({"image": "img:1"})), &host).unwrap();
        assert_eq!(command.variables["DOCKER_HOST"], host["DOCKER_HOST"]);
        assert_eq!((&*command.variables["HOME"], &*command.variables["RONDO_PARAM_A"]), ("/home/ada", "1"));
        assert!(!command.arguments.iter().any(|word| word == "DOCKER_HOST"));
    }

    #[test]
    fn without_an_engine_it_is_said_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let error = command(&call(folder.path(), json!({"image": "x"})), &host(folder.path())).unwrap_err();
        assert!(error.to_string().contains("neither podman nor docker"));
        let error =
            command(&call(folder.path(), json!({"image": "x", "engine": "docker"})), &host(folder.path()))
                .unwrap_err();
        assert!(error.to_string().contains("docker is on"));
    }

    /// A program of that name in the folder, which stands for the engine.
    fn engine(folder: &Path, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let place = folder.join(name);
        fs::write(&place, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn words(call: &BuiltinCall) -> Vec<String> {
        let command = command(call, &host(&call.root)).unwrap();
        command.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn values_are_not_among_the_arguments_that_everybody_can_read() {
        let folder = tempfile::tempdir().unwrap();
        engine(folder.path(), "podman", "");
        let mut call = call(folder.path(), json!({"image": "img:1"}));
        call.environment.insert("RONDO_PARAM_TOKEN".to_owned(), "s3cret".to_owned());
        call.environment.insert("MLFLOW_TRACKING_TOKEN".to_owned(), "s3cret".to_owned());
        let words = words(&call);
        for name in ["RONDO_PARAM_TOKEN", "MLFLOW_TRACKING_TOKEN"] {
            assert!(words.windows(2).any(|pair| pair == ["--env", name]), "{words:?}");
        }
        assert!(!words.iter().any(|word| word.contains("s3cret")), "{words:?}");
        assert_eq!(command(&call, &host(folder.path())).unwrap().variables["RONDO_PARAM_TOKEN"], "s3cret");
    }

    #[test]
    fn what_links_lead_to_the_metrics_and_the_step_file_are_there_inside() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        engine(folder.path(), "podman", "");
        for path in ["store/aa", "store/bb", "in/images/deep"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for (file, link) in [("store/aa/1", "in/images/a.png"), ("store/bb/2", "in/images/deep/b.png")] {
            fs::write(at(file), "x").unwrap();
            std::os::unix::fs::symlink(at(file), at(link)).unwrap();
        }
        let mut call = call(folder.path(), json!({"image": "img:1"}));
        call.step.inputs.insert("images".to_owned(), at("in/images"));
        call.step.metrics = Some(at("metrics/m.json"));
        let file = at("step.json").to_string_lossy().into_owned();
        call.environment.insert("RONDO_STEP_FILE".to_owned(), file.clone());
        let all = words(&call);
        let mounted = |path: &str, mode: &str| {
            let place = at(path).display().to_string();
            all.windows(2).any(|pair| pair[0] == "--volume" && pair[1] == format!("{place}:{place}:{mode}"))
        };
        for path in ["in/images", "store/aa/1", "store/bb/2", "step.json"] {
            assert!(mounted(path, "ro"), "{path}: {all:?}");
        }
        assert!(mounted("metrics", "rw") && mounted("out", "rw"), "{all:?}");
        assert_eq!(
            command(&call, &host(folder.path())).unwrap().mark,
            Some(format!("RONDO_STEP_FILE={file}"))
        );

        for number in 0..MANY {
            std::os::unix::fs::symlink(at("store/aa/1"), at(&format!("in/images/{number}"))).unwrap();
        }
        // The same file many times is one.
        assert!(!words(&call).iter().any(|word| word.ends_with("/store/aa:ro")));
        for number in 0..=MANY {
            let link = at(&format!("in/images/of-its-own-{number}"));
            std::os::unix::fs::symlink(at(&format!("store/aa/of-its-own-{number}")), link).unwrap();
        }
        let refused = command(&call, &host(folder.path())).err().map(|error| error.to_string()).unwrap();
        assert!(refused.contains("large files in the store"), "{refused}");
    }

    #[derive(Default)]
    struct Said(std::sync::Mutex<Vec<String>>);

    impl rondo_core::ports::Progress for Said {
        fn report(&self, event: rondo_core::ports::Event) {
            if let rondo_core::ports::Event::Output { line, .. } = event {
                self.0.lock().unwrap().push(line);
            }
        }
    }

    #[tokio::test]
    async fn a_line_that_does_not_end_is_shown_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo begun; i=0; while [ $i -lt 3000 ]; do printf \"step $i\\r\"; i=$((i+1)); done";
        engine(folder.path(), "podman", script);
        let said = Arc::new(Said::default());
        let call = call(folder.path(), json!({"image": "img:1"}));
        let call = BuiltinCall { progress: said.clone(), ..call };
        work(&call, &host(folder.path())).await.unwrap();
        let lines = said.0.lock().unwrap().clone();
        assert!(lines.len() > 2 && lines[0] == "begun", "{}", lines.len());
        assert!(lines[1].starts_with("step 0\r") && lines.last().unwrap().ends_with("step 2999"));
        let longest = lines.iter().map(String::len).max().unwrap();
        assert!(longest <= LINE + 16 * 1024, "{longest}");
    }

    #[tokio::test]
    async fn a_container_whose_step_is_stopped_is_removed_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "case $1 in run) echo $$ > {0}/up; exec /bin/sleep 1000 ;; esac\n\
             echo \"$* ${{RONDO_STEP_FILE-none}}\" > {0}/new; /bin/mv {0}/new {0}/removed",
            folder.path().display()
        );
        engine(folder.path(), "docker", &script);
        let mut call = call(folder.path(), json!({"image": "img:1"}));
        let file = folder.path().join("step.json").to_string_lossy().into_owned();
        call.environment.insert("RONDO_STEP_FILE".to_owned(), file);
        let name = format!("rondo-{}", call.step.run);
        assert!(words(&call).windows(2).any(|pair| pair == ["--name", &name]));
        let host = host(folder.path());
        let task = tokio::spawn(async move { work(&call, &host).await.map(drop) });
        let there = async |file: &str| {
            for _ in 0..500 {
                if folder.path().join(file).exists() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("`{file}` is not there");
        };
        there("up").await;
        task.abort();
        there("removed").await;
        let said = fs::read_to_string(folder.path().join("removed")).unwrap();
        assert_eq!(said, format!("rm -f {name} none\n"));
    }

    #[test]
    fn the_contract_is_the_same_inside() {
        let folder = tempfile::tempdir().unwrap();
        engine(folder.path(), "podman", "");
        let words = words(&call(folder.path(), json!({"image": "img:1", "command": "cat x"})));
        let at = folder.path().display();
        assert!(words.contains(&"--network=none".to_owned()) && words.contains(&"RONDO_PARAM_A".to_owned()));
        assert!(words.contains(&format!("{at}/out:{at}/out:rw")), "{words:?}");
        assert!(!words.iter().any(|word| word.starts_with("HOME")));
        assert_eq!(words[words.len() - 4..], ["img:1", "sh", "-c", "cat x"]);
    }
}
