//! The graph of a pipeline: its steps as nodes, each combination of a `matrix:` a node of its own, with
//! who waits for whom by place. Built once a run; ten thousand nodes take milliseconds.
//!
//! A step that needs one with a matrix is joined with it by the keys that both have: it gets the outputs of
//! the combinations that agree with its own. Where the agreement leaves exactly one (all of the other's
//! keys are its own too), that is the output itself; else it is a folder with an entry for each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rondo_core::Digest;
use rondo_core::suggest;
use rondo_project::ordered::Ordered;
use rondo_project::project::{Project, Reference, Step, is_target};
use serde_json::Value;

use crate::Error;
use crate::sweep::trial::AsTrial;

/// All steps of a project, each combination by itself, each after what it needs.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    places: HashMap<String, usize>,
}

/// One step, or one combination of its matrix.
#[derive(Debug)]
pub struct Node {
    /// Its name: `train`, or `train[depth=3,seed=1]`.
    pub name: String,
    /// Where its step stands in the project.
    pub step: usize,
    /// The values of its combination, in the order of the file.
    pub matrix: Vec<(String, Value)>,
    /// What goes in, by local name.
    pub inputs: Vec<(String, Source)>,
    /// The nodes that it waits for, each once.
    pub needs: Vec<usize>,
    /// The nodes that wait for it.
    pub dependents: Vec<usize>,
    /// Parameters of the project that differ for it alone: what a trial tries.
    pub params: BTreeMap<String, Value>,
    /// Of a trial, which is made while the run goes on and stands in no graph: what it is.
    pub trial: Option<Arc<AsTrial>>,
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A dataset.
    Data(String),
    /// An output of a node.
    Output {
        /// The node.
        node: usize,
        /// The output.
        output: String,
    },
    /// The same output of many combinations, as a folder: the names of its entries with their nodes.
    Each {
        /// Entry names, without an ending, and nodes.
        entries: Vec<(String, usize)>,
        /// The output.
        output: String,
    },
}

impl Graph {
    /// The graph of a project.
    ///
    /// # Errors
    /// When a combination takes an output of which none fits.
    pub fn new(project: &Project) -> Result<Self, Error> {
        let mut graph = Self::default();
        let mut of_step: HashMap<&str, Vec<usize>> = HashMap::new();
        for name in project.order(&[]) {
            let Some((place, step)) = project.steps.position(name).zip(project.steps.get(name)) else {
                continue;
            };
            let mut made = Vec::new();
            for matrix in combinations(&step.matrix) {
                let own =
                    if matrix.is_empty() { name.to_owned() } else { format!("{name}[{}]", label(&matrix)) };
                let mut node = Node {
                    name: own.clone(),
                    step: place,
                    inputs: Vec::with_capacity(step.inputs.len()),
                    matrix,
                    needs: Vec::new(),
                    dependents: Vec::new(),
                    params: BTreeMap::new(),
                    trial: None,
                };
                for (local, reference) in step.inputs.iter() {
                    let Some(source) = graph.source(&of_step, &node.matrix, reference) else {
                        return Err(graph.misfit(&of_step, &node, local, reference));
                    };
                    match &source {
                        Source::Data(_) => {}
                        Source::Output { node: need, .. } => node.needs.push(*need),
                        Source::Each { entries, .. } => {
                            node.needs.extend(entries.iter().map(|(_, need)| *need))
                        }
                    }
                    node.inputs.push((local.to_owned(), source));
                }
                let mut seen = HashSet::new();
                node.needs.retain(|need| seen.insert(*need));
                let at = graph.nodes.len();
                for need in &node.needs {
                    if let Some(need) = graph.nodes.get_mut(*need) {
                        need.dependents.push(at);
                    }
                }
                graph.places.insert(own, at);
                graph.nodes.push(node);
                made.push(at);
            }
            of_step.insert(name, made);
        }
        Ok(graph)
    }

    fn source(
        &self,
        of_step: &HashMap<&str, Vec<usize>>,
        own: &[(String, Value)],
        reference: &Reference,
    ) -> Option<Source> {
        let (step, output) = match reference {
            Reference::Data { dataset } => return Some(Source::Data(dataset.clone())),
            Reference::Output { step, output } => (step, output.clone()),
        };
        let all = of_step.get(step.as_str())?;
        let node = |place: &usize| self.nodes.get(*place);
        let shared = |matrix: &[(String, Value)]| {
            matrix.iter().filter(|(key, _)| own.iter().any(|(name, _)| name == key)).count()
        };
        let keys = all.first().and_then(node).map_or(0, |node| node.matrix.len());
        let agrees = |place: &&usize| {
            node(place).is_some_and(|node| {
                node.matrix.iter().all(|(key, value)| {
                    own.iter().find(|(name, _)| name == key).is_none_or(|(_, mine)| mine == value)
                })
            })
        };
        let agreeing: Vec<usize> = all.iter().filter(agrees).copied().collect();
        if agreeing.is_empty() {
            return None;
        }
        let joined = all.first().and_then(node).map_or(0, |node| shared(&node.matrix));
        if joined == keys {
            return agreeing.first().map(|node| Source::Output { node: *node, output });
        }
        let entries =
            agreeing.into_iter().filter_map(|place| Some((slug(&label(&node(&place)?.matrix)), place)));
        Some(Source::Each { entries: entries.collect(), output })
    }

    /// What a node's combination has and none of those has whose output it takes.
    fn misfit(
        &self,
        of_step: &HashMap<&str, Vec<usize>>,
        node: &Node,
        input: &str,
        reference: &Reference,
    ) -> Error {
        let need = reference.step().unwrap_or_default();
        let theirs = || {
            let places = of_step.get(need).into_iter().flatten();
            places.filter_map(|place| self.nodes.get(*place)).flat_map(|node| &node.matrix)
        };
        let strange = |own: &&(String, Value)| {
            theirs().any(|(key, _)| *key == own.0) && theirs().all(|one| one != *own)
        };
        let values: Vec<_> = node.matrix.iter().filter(strange).cloned().collect();
        Error::NoCombination {
            step: node.name.clone(),
            input: input.to_owned(),
            need: need.to_owned(),
            values: label(&values),
        }
    }

    /// The nodes, each after what it needs.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node at a place.
    pub fn node(&self, place: usize) -> Option<&Node> {
        self.nodes.get(place)
    }

    /// Where the node of that full name stands.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// The nodes that a word of the command line means: a step with all its combinations, all
    /// steps of a workflow, or `step[key=value]` with those that agree.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, project: &Project, word: &str) -> Result<Vec<usize>, Error> {
        if let Some(place) = self.place(word) {
            return Ok(vec![place]);
        }
        let missing =
            |near: Option<&str>| Error::StepNotFound { name: word.to_owned(), near: near.map(str::to_owned) };
        let (name, wanted) = match word.strip_suffix(']').and_then(|word| word.split_once('[')) {
            Some((name, wanted)) => (name, entries(wanted)),
            None => (word, Vec::new()),
        };
        // The step of that name, or all steps of the workflow.
        let steps: HashSet<usize> = match project.steps.position(name) {
            Some(step) => HashSet::from([step]),
            None => {
                let of_workflow = project.steps.names().enumerate().filter(|(_, step)| is_target(step, name));
                of_workflow.map(|(place, _)| place).collect()
            }
        };
        if steps.is_empty() {
            return Err(missing(suggest::nearest(name, project.steps.names())));
        }
        let of_step = || self.nodes.iter().enumerate().filter(|(_, node)| steps.contains(&node.step));
        let agrees =
            |node: &Node| wanted.iter().all(|wanted| node.matrix.iter().any(|entry| is_meant(entry, wanted)));
        let found: Vec<usize> = of_step().filter(|(_, node)| agrees(node)).map(|(place, _)| place).collect();
        if found.is_empty() {
            let first = of_step().map(|(_, node)| node.name.as_str()).next();
            return Err(missing(first));
        }
        Ok(found)
    }

    /// These nodes and all that they need, in the order of the graph.
    pub fn with_needs(&self, wanted: &[usize]) -> Vec<usize> {
        self.reach(wanted, |node| &node.needs)
    }

    /// These nodes and all that waits for them, in the order of the graph.
    pub fn with_dependents(&self, wanted: &[usize]) -> Vec<usize> {
        self.reach(wanted, |node| &node.dependents)
    }

    fn reach<'a>(&'a self, from: &[usize], next: impl Fn(&'a Node) -> &'a Vec<usize>) -> Vec<usize> {
        let mut reached = vec![false; self.nodes.len()];
        let mut open: Vec<usize> = from.to_vec();
        while let Some(place) = open.pop() {
            let Some(seen) = reached.get_mut(place) else { continue };
            if !std::mem::replace(seen, true) {
                open.extend(self.nodes.get(place).map(&next).into_iter().flatten());
            }
        }
        reached.iter().enumerate().filter(|(_, reached)| **reached).map(|(place, _)| place).collect()
    }
}

impl Node {
    /// Its step's definition.
    pub fn definition<'a>(&self, project: &'a Project) -> Option<(&'a str, &'a Step)> {
        project.steps.entry(self.step)
    }

    /// A name for a folder that is its own: `train`, `train@depth=3,seed=1`. Nothing in it means anything to
    /// a shell: commands write `$RONDO_INPUT_X/*` without quotes.
    pub fn folder(&self) -> String {
        let trial = self.trial.as_ref().map(|trial| format!("@{}", trial.trial.number)).unwrap_or_default();
        let own = match self.owner().split_once('[') {
            Some((step, _)) => format!("{step}@{}", slug(&label(&self.matrix))),
            None => slug(self.owner()),
        };
        own + &trial
    }

    /// The name under which what it makes is known: of a trial, that of the node which is swept.
    pub fn owner(&self) -> &str {
        self.trial.as_ref().map_or(&self.name, |trial| &trial.of)
    }

    /// The values of its combination by name.
    pub fn values(&self) -> BTreeMap<String, Value> {
        self.matrix.iter().cloned().collect()
    }

    /// The declared path of an output in the work tree: that of a combination lies in a folder of its own,
    /// `models/m.onnx` in `models/seed=1/m.onnx`.
    pub fn path(&self, declared: &str) -> String {
        if self.matrix.is_empty() {
            return declared.to_owned();
        }
        let own = slug(&label(&self.matrix));
        let slash = if declared.ends_with('/') { "/" } else { "" };
        match declared.trim_end_matches('/').rsplit_once('/') {
            Some((folder, file)) => format!("{folder}/{own}/{file}{slash}"),
            None => format!("{own}/{declared}"),
        }
    }
}

/// All combinations of a matrix, the last key moving quickest; of an empty one the empty one.
fn combinations(matrix: &Ordered<Vec<Value>>) -> Vec<Vec<(String, Value)>> {
    let mut all: Vec<Vec<(String, Value)>> = vec![Vec::new()];
    for (key, values) in matrix.iter() {
        let longer = |row: &Vec<(String, Value)>, value: &Value| {
            row.iter().cloned().chain([(key.to_owned(), value.clone())]).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(|row| values.iter().map(move |value| longer(row, value))).collect();
    }
    all
}

/// A combination for people: `depth=3,seed=1`. Values that would be taken for something else stand quoted.
pub fn label(matrix: &[(String, Value)]) -> String {
    let plain = |text: &str| {
        !text.is_empty()
            && !text.contains([',', '[', ']', '=', '"', '\\'])
            && !text.chars().any(|c| c.is_whitespace() || c.is_control())
            // `"1"` and `1` are two values.
            && serde_json::from_str::<Value>(text).is_err()
    };
    let entry = |(key, value): &(String, Value)| match value {
        Value::String(text) if plain(text) => format!("{key}={text}"),
        other => format!("{key}={other}"),
    };
    matrix.iter().map(entry).collect::<Vec<_>>().join(",")
}

/// The entries of a part of a combination, as [`label`] writes them: a comma within quotes separates nothing.
fn entries(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let ends = |c: char| {
        match c {
            _ if std::mem::take(&mut escaped) => {}
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == ',' && !quoted
    };
    text.split(ends).collect()
}

/// Whether an entry of a combination is the one that is written: a text with quotes or without, a number in any
/// of its forms.
fn is_meant(entry: &(String, Value), written: &str) -> bool {
    if label(std::slice::from_ref(entry)) == written {
        return true;
    }
    let value = written.strip_prefix(entry.0.as_str()).and_then(|rest| rest.strip_prefix('='));
    let value = value.and_then(|value| serde_json::from_str::<Value>(value).ok());
    match (&entry.1, &value) {
        (Value::Number(own), Some(Value::Number(value))) if own.is_f64() != value.is_f64() => {
            own.as_f64() == value.as_f64()
        }
        (own, value) => Some(own) == value.as_ref(),
    }
}

/// A text as the name of a file or folder: with a mark of its own where something had to be left out.
pub fn slug(text: &str) -> String {
    const LONGEST: usize = 100;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.=,+@".contains(c);
    if text.len() <= LONGEST && text.chars().all(fits) && !text.starts_with('.') {
        return text.to_owned();
    }
    let kept: String = text.chars().map(|c| if fits(c) { c } else { '_' }).take(LONGEST / 2).collect();
    format!("{}-{}", kept.trim_start_matches('.'), Digest::of(text.as_bytes()).short())
}

#[cfg(test)]
mod tests {
    use rondo_project::builtins::Builtins;
    use rondo_project::check;
    use rondo_project::files::Folder;
    use serde_json::json;

    use super::*;

    fn project(steps: &str) -> Project {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("project: p\nsteps:\n{steps}");
        check::check(&text, "rondo.yaml", &Folder::new(folder.path()), &Builtins::default())
            .unwrap_or_else(|faults| panic!("{faults:#?}"))
    }

    fn names(graph: &Graph, places: &[usize]) -> Vec<String> {
        places.iter().map(|place| graph.nodes()[*place].name.clone()).collect()
    }

    const STEPS: &str = "  prepare: { run: x, outputs: { o: o } }
  train: { run: x, matrix: { seed: [1, 2], kind: [a, \"b c\"] }, inputs: [prepare.o], outputs: { m: out/m.onnx } }
  score: { run: x, matrix: { seed: [1, 2] }, inputs: [train.m], outputs: { s: s.json } }
  check: { run: x, matrix: { kind: [\"b c\"], seed: [2] }, inputs: [train.m] }
  best: { run: x, inputs: [score.s, train.m] }
";

    #[test]
    fn each_combination_is_a_step_and_those_that_agree_are_joined() {
        let project = project(STEPS);
        let graph = Graph::new(&project).unwrap();
        let all: Vec<&str> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(
            all,
            [
                "prepare",
                "train[seed=1,kind=a]",
                "train[seed=1,kind=\"b c\"]",
                "train[seed=2,kind=a]",
                "train[seed=2,kind=\"b c\"]",
                "score[seed=1]",
                "score[seed=2]",
                "check[kind=\"b c\",seed=2]",
                "best",
            ]
        );
        let node = |name: &str| &graph.nodes()[graph.place(name).unwrap()];
        assert_eq!(names(&graph, &node("score[seed=2]").needs), &all[3..5]);
        assert!(
            matches!(&node("score[seed=2]").inputs[0].1, Source::Each { entries, .. } if entries.len() == 2)
        );
        assert_eq!(
            node("check[kind=\"b c\",seed=2]").inputs[0].1,
            Source::Output { node: 4, output: "m".into() }
        );
        assert_eq!(node("best").needs, [5, 6, 1, 2, 3, 4]);
        assert_eq!(node("train[seed=1,kind=a]").folder(), "train@seed=1,kind=a");
        assert_eq!(node("train[seed=1,kind=a]").path("out/m.onnx"), "out/seed=1,kind=a/m.onnx");
        assert!(node("train[seed=1,kind=\"b c\"]").path("raw/").starts_with("seed=1,kind=_b_c_-"));
    }

    #[test]
    fn a_combination_that_nothing_fits_is_named_with_the_value_that_is_to_blame() {
        let mut project = project(STEPS);
        // As a workflow has it, whose steps the checker sees by themselves.
        let strange = [("kind".to_owned(), vec![json!("a")]), ("seed".to_owned(), vec![json!(3)])];
        if let Some(check) = project.steps.get_mut("check") {
            check.matrix = strange.into_iter().collect();
        }
        let error = Graph::new(&project).unwrap_err();
        assert_eq!(
            rondo_core::Explain::hints(&error),
            ["give that key the same values in both matrices, or another name in one"]
        );
        assert_eq!(
            error.to_string(),
            "step `check[kind=a,seed=3]` takes `m` from `train`, of which no combination has `seed=3`"
        );
    }

    #[test]
    fn words_of_the_command_line_find_what_they_mean() {
        let project = project(STEPS);
        let graph = Graph::new(&project).unwrap();
        assert_eq!(graph.find(&project, "train").unwrap(), [1, 2, 3, 4]);
        assert_eq!(graph.find(&project, "train[kind=a]").unwrap(), [1, 3]);
        assert_eq!(graph.find(&project, "best").unwrap(), [8]);
        for (word, offered) in [("trian", "train"), ("train[seed=3]", "train[seed=1,kind=a]")] {
            let Err(Error::StepNotFound { near, .. }) = graph.find(&project, word) else { panic!("{word}") };
            assert_eq!(near.as_deref(), Some(offered), "{word}");
        }
        assert_eq!(graph.with_needs(&[5]), [0, 1, 2, 5]);
        assert_eq!(graph.with_dependents(&[1]), [1, 5, 8]);
    }

    #[test]
    fn a_part_of_a_combination_finds_its_values_as_they_are_named_and_as_they_are_written() {
        let project = project(
            "  grid:\n    matrix: { region: ['a,b=c', 'x\"]', a/b], f: [1.0, 2.5], k: [1, '1'] }\n    run: 'true'\n",
        );
        let graph = Graph::new(&project).unwrap();
        let names = |word: &str| {
            let found = graph.find(&project, word).unwrap();
            found.into_iter().map(|place| graph.node(place).unwrap().name.clone()).collect::<Vec<_>>()
        };
        for (part, agree) in [
            (r#"region="a,b=c""#, r#"region="a,b=c""#),
            (r#"region="x\"]""#, r#"region="x\"]""#),
            (r#"region="a/b""#, "region=a/b"),
            ("region=a/b", "region=a/b"),
            ("k=1", "k=1"),
            (r#"k="1""#, r#"k="1""#),
            ("f=1", "f=1.0"),
            ("f=2.50", "f=2.5"),
        ] {
            let found = names(&format!("grid[{part}]"));
            let all = graph.nodes().iter().map(|node| node.name.clone());
            let wanted: Vec<String> = all.filter(|name| name.contains(agree)).collect();
            assert!(!wanted.is_empty() && found == wanted, "{part}: {found:?}");
        }
        assert_eq!(names(r#"grid[k=1,region="a,b=c",f=1]"#), [r#"grid[region="a,b=c",f=1.0,k=1]"#]);
    }

    #[test]
    fn values_that_look_alike_have_labels_that_differ() {
        let label = |value: Value| label(&[("k".to_owned(), value)]);
        assert_ne!(label(json!("1")), label(json!(1)));
        assert_eq!(label(json!("r")), "k=r");
        assert_ne!(slug("a b"), slug("a_b"));
        assert!(!slug("../x").contains('/') && !slug("../x").starts_with('.'));
    }
}
