//! A step's command in a container image, where its environment is one.
//!
//! The container sees what the step declares, at the same paths as outside. With podman it is started in a
//! network of the step's own, into which the tracking port is relayed; where the machine cannot make one, and
//! with docker, whose daemon starts containers elsewhere, a step without `network: true` has no network.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rondo_core::RunId;

use super::process::Command;
use crate::builtins::container;
use crate::environment::host::tool_variables;
use crate::isolation::Surroundings;

/// The variables that reach the container, by the beginnings of their names; the host's own are not its
/// business.
const PASSED: [&str; 9] = [
    "RONDO_",
    "MLFLOW_",
    "LANG",
    "LC_ALL",
    "TZ",
    "PYTHONHASHSEED",
    "PYTHONUNBUFFERED",
    "SOURCE_DATE_EPOCH",
    "CUDA_VISIBLE_DEVICES",
];

/// Those that mean something else to the engine than to what runs in it.
const OWN: [&str; 2] = ["HOME", "TMPDIR"];

/// What is run where.
pub(super) struct Boxed<'a> {
    /// The engine's program.
    pub engine: &'a Path,
    /// The image.
    pub image: &'a str,
    /// The command.
    pub command: &'a str,
    /// What it may see.
    pub surroundings: &'a Surroundings,
    /// Whether the engine is started in a network of the step's own.
    pub own_network: bool,
    /// Its variables.
    pub variables: &'a BTreeMap<String, String>,
    /// The variables that Rondo was started with.
    pub host: &'a BTreeMap<String, String>,
    /// Its run.
    pub run: RunId,
}

/// Whether an engine starts containers as its own children, so that they are where it is itself.
pub fn is_daemonless(engine: &Path) -> bool {
    engine.file_name().is_some_and(|name| name == "podman")
}

impl Boxed<'_> {
    /// The engine's command. `mark` is the variable by which what it leaves behind is known.
    pub(super) fn command(self, mark: Option<String>) -> Command {
        let Self { engine, image, command, surroundings, own_network, variables, host, run } = self;
        let mut words: Vec<OsString> = ["run", "--rm", "--pull=never"].map(OsString::from).into();
        words.extend(["--name".into(), container::name(run).into()]);
        // In a network of the step's own, that one is the "host's"; where none could be made, there is none.
        let network = if surroundings.network || own_network { "host" } else { "none" };
        words.push(format!("--network={network}").into());
        if !is_daemonless(engine) {
            // A container of docker would write as root; podman's root is the caller already.
            let (user, group) = container::owner(&surroundings.temporary);
            words.push(format!("--user={user}:{group}").into());
        }
        let mut mount = |place: &PathBuf, mode: &str| {
            words.push("--volume".into());
            words.push(format!("{0}:{0}:{mode}", place.display()).into());
        };
        surroundings.readable.iter().chain(&surroundings.linked).for_each(|place| mount(place, "ro"));
        surroundings.writable.iter().for_each(|place| mount(place, "rw"));
        words.extend(["--workdir".into(), surroundings.folder.clone().into_os_string()]);
        for (name, value) in OWN.iter().filter_map(|name| Some((name, variables.get(*name)?))) {
            words.extend(["--env".into(), format!("{name}={value}").into()]);
        }
        // The others by name alone: everybody on this machine can read the arguments of a process.
        let mut known = tool_variables(host);
        for (name, value) in variables {
            if PASSED.iter().any(|beginning| name.starts_with(beginning)) {
                words.extend(["--env".into(), name.into()]);
                known.insert(name.clone(), value.clone());
            }
        }
        words.extend([image.into(), "sh".into(), "-c".into(), command.into()]);
        let folder = surroundings.folder.clone();
        Command { program: engine.to_owned(), arguments: words, folder, variables: known, mark }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_network_is_for_who_asks_for_it_or_has_one_of_its_own() {
        let network = |engine: &str, network: bool, own_network: bool| {
            let surroundings = Surroundings { network, temporary: "/".into(), ..Surroundings::default() };
            let nothing = BTreeMap::new();
            let boxed = Boxed {
                engine: Path::new(engine),
                image: "i",
                command: "true",
                surroundings: &surroundings,
                own_network,
                variables: &nothing,
                host: &nothing,
                run: RunId::random(),
            };
            let words = boxed.command(None).arguments;
            let words = words.iter().map(|word| word.to_string_lossy());
            words.filter_map(|word| word.strip_prefix("--network=").map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(network("/usr/bin/podman", false, false), ["none"]);
        assert_eq!(network("/usr/bin/podman", false, true), ["host"]);
        assert_eq!(network("/usr/bin/podman", true, false), ["host"]);
        assert_eq!(network("/usr/bin/docker", false, false), ["none"]);
    }
}
