//! Where one try of a step works: its folders, with its inputs under their local names, the contract that it is
//! told of by file and by environment variables, and the log of what it says. Nothing is started here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rondo_core::RunId;
use rondo_core::handoff::StepInputs;
use rondo_project::project::{Reference, Step, Work};
use rondo_store::objects::Lent;
use serde::Serialize;
use serde_json::Value;

use super::folders;
use super::log::Log;
use super::outputs::{self, variable};
use crate::Error;
use crate::environment::host::{base_variables, search_path};
use crate::environment::provision::Provisioned;
use crate::graph::{Node, Source};
use crate::isolation::Confined;
use crate::packages::{self, params};
use crate::plan::Keyed;
use crate::run::session::Session;

/// The folders and the contract of one try.
pub(super) struct Bench {
    /// Its own folder, in which all that is made for it lies.
    pub folder: PathBuf,
    pub contract: StepInputs,
    /// Where its command runs and its files are: the project, or a copy of its package.
    pub root: PathBuf,
    pub matrix: BTreeMap<String, Value>,
    /// What was lent to it, by the input's name.
    pub lent: Vec<(String, Lent)>,
    /// The numbers of the graphics cards that it may use.
    cards: Vec<u32>,
    /// What `RONDO_STEP_FILE` names.
    pub file: PathBuf,
    pub log: Log,
    /// What its processes are kept to, once that is known.
    pub confined: OnceLock<Arc<Confined>>,
}

/// What stands in the file that `RONDO_STEP_FILE` names.
#[derive(Serialize)]
struct StepFile<'a> {
    #[serde(flatten)]
    contract: &'a StepInputs,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    matrix: &'a BTreeMap<String, Value>,
    /// Of an input that gathers the combinations of a matrix: which path is which.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    each: BTreeMap<String, Vec<OneOfMany>>,
}

/// One combination's output among others.
#[derive(Serialize)]
struct OneOfMany {
    matrix: BTreeMap<String, Value>,
    path: PathBuf,
}

/// What keeps an input from being lent.
fn unlent(input: &str, error: rondo_store::Error) -> Error {
    match error {
        source @ rondo_store::Error::Corrupt { .. } => {
            Error::InputDamaged { input: input.to_owned(), source: Box::new(source) }
        }
        error => error.into(),
    }
}

/// Makes the folders of a try: inputs under their local names, a place for the outputs, the log.
pub(super) fn make(
    session: &Session,
    node: &Node,
    step: &Step,
    keyed: &Keyed,
    id: RunId,
    cards: &[u32],
) -> Result<Bench, Error> {
    let folder = session.folder(node);
    session.folders.take(&folder).map_err(Error::io("make", &folder))?;
    let [into, out] = folders::INNER.map(|inner| folder.join(inner));
    if !matches!(step.work, Work::Run { .. }) {
        let scratch = folder.join("scratch");
        fs::create_dir(&scratch).map_err(Error::io("make", &scratch))?;
    }
    let mut inputs = BTreeMap::new();
    let mut lent = Vec::new();
    for link in &keyed.inputs {
        let extension = if link.folder { String::new() } else { extension(session, step, &link.name) };
        let place = into.join(format!("{}{extension}", link.name));
        let held = session.store.objects().lend(link.digest, link.mode(), &place);
        lent.push((link.name.clone(), held.map_err(|error| unlent(&link.name, error))?));
        inputs.insert(link.name.clone(), place);
    }
    let outputs = outputs::places(&out, &step.outputs);
    for folder in outputs.values().filter_map(|place| place.parent()).filter(|folder| **folder != out) {
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
    }
    let contract = StepInputs {
        project: session.planner.project.name.clone(),
        step: node.name.clone(),
        run: id,
        key: keyed.key,
        params: params::placed(step.packaged.as_ref(), &keyed.params, &session.planner.root),
        inputs,
        read: session.planner.readings(node),
        outputs,
        metrics: step.metrics.as_ref().map(|path| folder.join("metrics").join(outputs::file_name(path))),
    };
    if let Some(folder) = contract.metrics.as_deref().and_then(Path::parent) {
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
    }
    let (file, matrix) = (folder.join("step.json"), node.values());
    let text = StepFile { contract: &contract, matrix: &matrix, each: each(session, node, &contract) };
    let text = serde_json::to_vec_pretty(&text).unwrap_or_default();
    fs::write(&file, text).map_err(Error::io("write", &file))?;
    let log = Log::new(&folder.join("log"), &node.name, session.progress.clone());
    let root = match &step.packaged {
        Some(packaged) => {
            let copy = folder.join("package");
            packages::folder::lay_out(&session.planner.root.join(&packaged.folder), &copy)?;
            copy
        }
        None => session.planner.root.clone(),
    };
    let (cards, confined) = (cards.to_vec(), OnceLock::new());
    Ok(Bench { folder, contract, root, matrix, lent, cards, file, log, confined })
}

/// The inputs that gather the combinations of a matrix, each with its paths.
fn each(session: &Session, node: &Node, contract: &StepInputs) -> BTreeMap<String, Vec<OneOfMany>> {
    let mut all = BTreeMap::new();
    for (local, source) in &node.inputs {
        let (Source::Each { entries, output }, Some(folder)) = (source, contract.inputs.get(local)) else {
            continue;
        };
        let one = |(name, place): &(String, usize)| {
            let need = session.planner.graph.node(*place)?;
            let path = session.planner.gathered_name(name, need, output)?;
            Some(OneOfMany { matrix: need.values(), path: folder.join(path) })
        };
        all.insert(local.clone(), entries.iter().filter_map(one).collect());
    }
    all
}

/// The ending of an input's file name: that of the path or source it comes from.
fn extension(session: &Session, step: &Step, local: &str) -> String {
    let project = &session.planner.project;
    match step.inputs.get(local) {
        Some(Reference::Output { step, output }) => {
            let path = project.steps.get(step).and_then(|step| step.outputs.get(output));
            path.map(|path| ending(outputs::file_name(path))).unwrap_or_default()
        }
        Some(Reference::Data { dataset }) => {
            let Some(dataset) = project.data.get(dataset) else { return String::new() };
            if let Some(format) = &dataset.format {
                return format!(".{}", format.trim_start_matches('.'));
            }
            let path = dataset.source.split(['?', '#']).next().unwrap_or_default();
            let file = outputs::file_name(path);
            // An archive's one file and a compressed file are stored unpacked.
            let plain = [".zip", ".gz"].iter().find_map(|packed| file.strip_suffix(packed)).unwrap_or(file);
            ending(plain)
        }
        None => String::new(),
    }
}

fn ending(file: &str) -> String {
    let ending = Path::new(file).extension().map(|ending| ending.to_string_lossy().into_owned());
    ending.map(|ending| format!(".{ending}")).unwrap_or_default()
}

/// All that the step's process finds in its environment.
pub(super) fn variables(
    session: &Session,
    bench: &Bench,
    environment: Option<&Provisioned>,
) -> BTreeMap<String, String> {
    let contract = &bench.contract;
    let mut variables = base_variables(&session.host);
    if let Some(environment) = environment {
        if let Some(bin) = &environment.bin {
            let path = format!("{}:{}", bin.display(), search_path(&variables));
            variables.insert("PATH".to_owned(), path);
        }
        variables.extend(environment.variables.clone());
    }
    variables.extend(session.tracking.admit(contract.run, &contract.project));
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    let params = contract.params.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (format!("RONDO_PARAM_{}", variable(name)), text)
    });
    variables.extend(params);
    let named = |kind: &'static str| {
        move |(name, place): (&String, &PathBuf)| (format!("RONDO_{kind}_{}", variable(name)), path(place))
    };
    variables.extend(contract.inputs.iter().map(named("INPUT")));
    variables.extend(contract.outputs.iter().map(named("OUTPUT")));
    variables.extend(contract.metrics.iter().map(|place| ("RONDO_METRICS".to_owned(), path(place))));
    let matrix = bench.matrix.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (format!("RONDO_MATRIX_{}", variable(name)), text)
    });
    variables.extend(matrix);
    variables.insert("RONDO_STEP_FILE".to_owned(), path(&bench.file));
    variables.extend(session.request.again.iter().flat_map(|again| again.variables.clone()));
    if !bench.cards.is_empty() {
        // Where only some of the machine's cards are ours, those are what the numbers count.
        let ours: Vec<String> = variables
            .get("CUDA_VISIBLE_DEVICES")
            .map(|ours| ours.split(',').map(str::to_owned).collect())
            .unwrap_or_default();
        let card = |card: &u32| ours.get(*card as usize).cloned().unwrap_or_else(|| card.to_string());
        let cards: Vec<String> = bench.cards.iter().map(card).collect();
        variables.insert("CUDA_VISIBLE_DEVICES".to_owned(), cards.join(","));
    }
    variables
}
