//! What keeps one try of a step to what it declares: its level, its folders of its own, its variables.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondo_core::run::RunDetail;
use rondo_project::project::{Isolation, Project, Step, Work};

use super::bench::Bench;
use super::image::is_daemonless;
use super::outputs::chain;
use crate::Error;
use crate::builtins::container::{linked, too_many};
use crate::environment::kind::Kind;
use crate::environment::provision::Provisioned;
use crate::environment::rootfs::ROOT;
use crate::isolation::surroundings::Given;
use crate::isolation::watch::Seen;
use crate::isolation::{Confined, Level, Stray, Surroundings, stray};
use crate::plan::Keyed;
use crate::run::session::Session;

/// The `PATH` in a root file system of its own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that name folders which an isolated step has not.
const ELSEWHERE: [&str; 2] = ["XDG_CACHE_HOME", "XDG_DATA_HOME"];

/// The level that a step asks for. A root file system of its own is a sandbox whatever is said.
pub fn wanted_isolation(project: &Project, step: &Step, kind: Option<Kind>) -> Isolation {
    match kind {
        Some(Kind::Rootfs) => Isolation::Bubblewrap,
        // The engine isolates by itself.
        Some(Kind::Image) => Isolation::None,
        _ => step.isolation.unwrap_or(project.isolation),
    }
}

/// The level that a step runs at on this machine.
///
/// # Errors
/// When this machine does not have the one that it asks for.
pub fn level(session: &Session, step: &Step, kind: Option<Kind>) -> Result<Level, Error> {
    match wanted_isolation(&session.planner.project, step, kind) {
        Isolation::None => Ok(Level::None),
        wanted => session.isolation().level(wanted),
    }
}

/// Whether a step was to be isolated (`auto`) and this machine could not: its key says what did not hold, so
/// its result must not stand for that of another machine.
pub(crate) fn is_unheld(session: &Session, step: &Step, keyed: &Keyed, detail: &RunDetail) -> bool {
    let wanted = step.isolation.unwrap_or(session.planner.project.isolation);
    let kind = keyed.environment.as_ref().map(|lock| lock.kind);
    wanted != Isolation::None && ran_free(kind, detail.isolation.as_deref())
}

/// Whether nothing held a step of such an environment at this level; an image holds by itself.
fn ran_free(kind: Option<Kind>, level: Option<&str>) -> bool {
    kind != Some(Kind::Image) && level.is_none()
}

/// What a try's processes are kept to; nothing where they are free. Changes the variables to fit.
///
/// # Errors
/// When this machine does not have the level, or its folders cannot be made.
pub(super) fn confined(
    session: &Session,
    step: &Step,
    keyed: &Keyed,
    bench: &Bench,
    environment: Option<&Provisioned>,
    variables: &mut BTreeMap<String, String>,
) -> Result<Option<Arc<Confined>>, Error> {
    let level = level(session, step, environment.map(|environment| environment.kind))?;
    let has_root = environment.is_some_and(Provisioned::has_root);
    if level == Level::None && !has_root {
        return Ok(None);
    }
    let (temporary, home) = (bench.folder.join("tmp"), bench.folder.join("home"));
    for folder in [&temporary, &home] {
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
    }
    let real_home = variables.get("HOME").cloned();
    if let Some(pyenv) = real_home.as_ref().map(|home| Path::new(home).join(".pyenv"))
        && pyenv.is_dir()
    {
        // Its programs look for it below the home folder, which is another now.
        variables.entry("PYENV_ROOT".to_owned()).or_insert_with(|| pyenv.to_string_lossy().into_owned());
    }
    variables.retain(|name, _| !ELSEWHERE.contains(&name.as_str()));
    for (name, place) in [("TMPDIR", &temporary), ("HOME", &home)] {
        variables.insert(name.to_owned(), place.to_string_lossy().into_owned());
    }
    if has_root {
        variables.insert("PATH".to_owned(), PATH.to_owned());
    }
    let code = keyed.code.keys().chain(&step.code).map(String::as_str);
    let code = code.filter(|path| step.packaged.is_none() || !path.starts_with("package/")).collect();
    let given = Given {
        project: &session.planner.root,
        store: session.store.root(),
        work: &bench.folder,
        folder: &bench.root,
        contract: &bench.contract,
        code,
        environment: environment.filter(|environment| environment.folder.exists()),
        variables,
        network: step.network.unwrap_or(false),
        home: real_home.as_deref().map(Path::new),
    };
    let looked = |reason| Error::IsolationMissing { level: level.text(), reason, at: None };
    let mut surroundings = Surroundings::of(&given).map_err(looked)?;
    // The rules of the kernel have no end; the words of a command do.
    let shown = if level == Level::Landlock { 0 } else { surroundings.linked.len() };
    if let Some(why) = too_many(shown) {
        return Err(looked(why));
    }
    if let Some(environment) = environment.filter(|environment| environment.kind == Kind::Rootfs) {
        surroundings.root = Some(environment.folder.join(ROOT));
    }
    let daemonless =
        || environment.is_some_and(|environment| environment.places.iter().any(|p| is_daemonless(p)));
    let own_network = !surroundings.network
        && match (level, environment.map(|environment| environment.kind)) {
            (Level::Bubblewrap, _) => true,
            (_, Some(Kind::Image)) => daemonless() && session.isolation().own_network,
            _ => false,
        };
    let bwrap = session.isolation().bubblewrap.clone().unwrap_or_default();
    let seen = Seen::default();
    Ok(Some(Arc::new(Confined { level, surroundings, bwrap, own_network, seen })))
}

/// Whether what a step that was held has made can be taken: Rondo follows links with its own rights.
///
/// # Errors
/// Which of it leads where the step may not read, in words.
pub(super) fn held(step: &Step, bench: &Bench, artifacts: &BTreeMap<String, PathBuf>) -> Result<(), String> {
    let contract = &bench.contract;
    let known = match (bench.confined.get(), &step.work) {
        // A container that a package starts is held by its engine alone.
        (_, Work::Uses { package, .. }) if package == "container" => {
            let inputs = linked(contract.inputs.values()).map_err(|error| chain(&error))?;
            [bench.folder.clone()].into_iter().chain(inputs).collect()
        }
        (Some(confined), _) => confined.reach(),
        (None, _) => return Ok(()),
    };
    let known: Vec<PathBuf> = known.iter().filter_map(|place| place.canonicalize().ok()).collect();
    let outputs = contract.outputs.iter().map(|(name, place)| (format!("output `{name}`"), place));
    let metrics = contract.metrics.iter().map(|place| ("file of metrics".to_owned(), place));
    let artifacts = artifacts.iter().map(|(path, place)| (format!("artifact `{path}`"), place));
    for (what, place) in outputs.chain(metrics).chain(artifacts) {
        if let Some(Stray { link, to }) = stray(place, &known) {
            let link = link.strip_prefix(&bench.folder).unwrap_or(&link).display();
            let to = to.display();
            return Err(format!(
                "its {what} leads by the link `{link}` to `{to}`, which it may not read: declare that, and copy it"
            ));
        }
    }
    Ok(())
}

/// Says at a run's beginning which level holds for its steps, where one of them asks for isolation.
pub fn announce(session: &Session) {
    use rondo_core::ports::Event;
    let planner = &session.planner;
    let steps = planner.nodes().filter(|(place, _)| planner.role(*place) != crate::plan::Role::Kept);
    let mut asked: Vec<Isolation> = steps
        .filter_map(|(_, node)| planner.step(node).ok())
        .map(|step| step.isolation.unwrap_or(planner.project.isolation))
        .filter(|wanted| *wanted != Isolation::None)
        .collect();
    asked.sort_unstable();
    asked.dedup();
    let machine = |wanted| match session.isolation().level(wanted) {
        Ok(level) => format!("{}: {}", level.text(), session.isolation().holds(level)),
        Err(error) => chain(&error),
    };
    let messages: std::collections::BTreeSet<String> = asked.into_iter().map(machine).collect();
    for message in messages {
        session.progress.report(Event::Note { subject: "isolation".to_owned(), message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_neither_a_level_nor_an_image_held_ran_free() {
        assert!(ran_free(None, None) && ran_free(Some(Kind::Python), None));
        assert!(!ran_free(None, Some("landlock")) && !ran_free(Some(Kind::Image), None));
    }
}
