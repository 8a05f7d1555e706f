//! The tabular engine: ONNX graphs as scikit-learn's converter writes them, run natively.
//!
//! A model is compiled at load: names become numbered slots, settings become closures, constants are
//! decoded, and what the score does not need (the label, for one) is left out. Then three made-up rows
//! go through the graph: types, shapes and the number of features are checked before the first request.
//! A request then only fills slots. One row runs on the calling thread; only forests over many rows are
//! spread over the cores.
//!
//! It is not a general ONNX runtime: no loops, no images, no sequences.

use std::borrow::Cow;
use std::fmt;

use rondo_core::evaluation::Task;
use rondo_core::signature::{Column, ColumnType, Signature};

use crate::engine::tensor::{Data, Tensor};
use crate::engine::{Batch, Engine, LoadOptions, Predictions, ops};
use crate::error::{Error, Result};
use crate::onnx::{self, Model};
use inputs::{Input, Names, bind, fill};

mod inputs;

/// Rows that a model is tried with at load: more than one, so that a fixed number of rows shows.
const TRIAL_ROWS: usize = 3;
/// Elements that one run may make, whatever the rows; and for each row.
const BUDGET: usize = 1 << 24;
const BUDGET_PER_ROW: usize = 1 << 16;

/// A loaded model.
pub struct Tabular {
    signature: Signature,
    task: Task,
    classes: Vec<String>,
    positive: Option<usize>,
    inputs: Vec<Input>,
    constants: Vec<Option<Tensor>>,
    steps: Vec<Step>,
    score: usize,
}

/// A node of the graph.
struct Step {
    run: ops::Run,
    op: String,
    node: String,
    inputs: Vec<Option<usize>>,
    outputs: Vec<Option<usize>>,
    /// Slots that nobody reads after this step.
    done_with: Vec<usize>,
}

impl fmt::Debug for Tabular {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tabular")
            .field("signature", &self.signature)
            .field("classes", &self.classes)
            .field("steps", &self.steps.iter().map(|step| step.op.as_str()).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The values of a run, by slot.
type Slots<'a> = Vec<Option<Cow<'a, Tensor>>>;

impl Tabular {
    /// Loads a model from the bytes of its file.
    ///
    /// # Errors
    /// When the file is damaged, needs an operator that there is not, or is not a tabular model.
    pub fn load(bytes: &[u8], options: &LoadOptions) -> Result<Self> {
        let model = onnx::parse(bytes)?;
        let mut names = Names::default();
        let mut constants = Vec::new();
        for constant in &model.graph.constants {
            // Slots are counted from 0, in the order in which they are defined.
            names.define(constant.name)?;
            let tensor = Tensor::new(constant.shape.clone(), constant.data.clone());
            constants.push(Some(tensor.map_err(Error::not_a_model)?));
        }
        let (inputs, columns) = bind(&model, options, &mut names)?;
        let (steps, labels) = compile(&model, &constants, &mut names)?;
        constants.resize(names.count, None);
        let mut engine = Self {
            signature: Signature { inputs: columns, outputs: Vec::new() },
            task: Task::Regression,
            classes: Vec::new(),
            positive: None,
            inputs,
            constants,
            steps,
            score: 0,
        };
        let outputs = model.graph.outputs.iter().map(|output| names.find(output.name, "the graph's output"));
        engine.settle(&outputs.collect::<Result<Vec<_>>>()?, labels, options)?;
        engine.prune();
        Ok(engine)
    }

    /// Runs made-up rows through the graph and reads off its outputs what the model is.
    fn settle(&mut self, outputs: &[usize], labels: Vec<String>, options: &LoadOptions) -> Result<()> {
        let batch = Batch::example(&self.signature, TRIAL_ROWS);
        let slots = self.run(&batch, ops::Values::MadeUp)?;
        let tensors: Vec<(usize, &Tensor)> = outputs
            .iter()
            .filter_map(|slot| slots.get(*slot).and_then(Option::as_deref).map(|tensor| (*slot, tensor)))
            .collect();
        let has_label = tensors.iter().any(|(_, tensor)| !is_float(tensor));
        let floats = || tensors.iter().filter(|(_, tensor)| is_float(tensor));
        let wide = floats().find(|(_, tensor)| width(tensor).is_some_and(|width| width >= 2));
        let narrow = floats().find(|(_, tensor)| width(tensor) == Some(1));
        let number = tensors.iter().find(|(_, tensor)| {
            matches!(tensor.data(), Data::I64(_) | Data::Bool(_)) && width(tensor) == Some(1)
        });
        let narrows = floats().filter(|(_, tensor)| width(tensor) == Some(1)).count();
        if has_label && wide.is_none() && narrows > 1 {
            return Err(Error::ModelShape {
                reason: "it gives the probability of each class in an output of its own".to_owned(),
                hint: "export it with one output for all (skl2onnx: `options={'zipmap': False}`)".to_owned(),
            });
        }
        let found = |slot: usize, count: usize| (slot, count);
        let (score, count) = match (wide, narrow, number) {
            (Some((slot, tensor)), ..) if has_label || !labels.is_empty() || self.ends_in_shares(*slot) => {
                found(*slot, width(tensor).unwrap_or(0))
            }
            (Some(_), None, _) => {
                return Err(Error::ModelShape {
                    reason: "it predicts several numbers at once".to_owned(),
                    hint: "serve one model for each target".to_owned(),
                });
            }
            (_, Some((slot, _)), _) if has_label => found(*slot, 2),
            (_, Some((slot, _)), _) => found(*slot, 0),
            (None, None, Some((slot, _))) => found(*slot, 0),
            (None, None, None) => {
                return Err(Error::ModelShape {
                    reason: "none of its outputs gives a number for each row".to_owned(),
                    hint: "export it with its probabilities (skl2onnx: `options={'zipmap': False}`)"
                        .to_owned(),
                });
            }
        };
        drop(slots);
        self.score = score;
        self.classes =
            if labels.len() == count { labels } else { (0..count).map(|i| i.to_string()).collect() };
        self.task = task(&self.classes, options.task)?;
        self.positive = match self.task {
            Task::Multiclass if options.positive.is_none() => None,
            _ => positive(&self.classes, options.positive.as_deref())?,
        };
        self.signature.outputs = outputs_of(self.task, &self.classes);
        Ok(())
    }

    /// Whether a slot's values are shares of one by the operator that makes them.
    fn ends_in_shares(&self, slot: usize) -> bool {
        let maker = self.steps.iter().find(|step| step.outputs.contains(&Some(slot)));
        maker.is_some_and(|step| matches!(step.op.as_str(), "Softmax" | "ai.onnx.ml.ZipMap"))
    }

    /// Drops what the score does not need, and notes which values are no longer needed when.
    fn prune(&mut self) {
        let mut needed = vec![false; self.constants.len()];
        if let Some(slot) = needed.get_mut(self.score) {
            *slot = true;
        }
        let mut kept = Vec::new();
        for mut step in std::mem::take(&mut self.steps).into_iter().rev() {
            let of = |slot: &usize| needed.get(*slot).copied().unwrap_or(false);
            if !step.outputs.iter().flatten().any(of) {
                continue;
            }
            for slot in step.inputs.iter().flatten() {
                if let Some(needed) = needed.get_mut(*slot)
                    && !*needed
                {
                    *needed = true;
                    step.done_with.push(*slot);
                }
            }
            kept.push(step);
        }
        kept.reverse();
        self.steps = kept;
        for (slot, constant) in self.constants.iter_mut().enumerate() {
            if !needed.get(slot).copied().unwrap_or(false) {
                *constant = None;
            }
        }
    }

    /// Fills the inputs and takes every step.
    fn run(&self, batch: &Batch, values: ops::Values) -> Result<Slots<'_>> {
        let mut slots: Slots<'_> =
            self.constants.iter().map(|tensor| tensor.as_ref().map(Cow::Borrowed)).collect();
        for input in &self.inputs {
            let tensor = fill(input, batch)?;
            if let Some(slot) = slots.get_mut(input.slot) {
                *slot = Some(Cow::Owned(tensor));
            }
        }
        let mut budget = batch.rows().saturating_mul(BUDGET_PER_ROW).saturating_add(BUDGET);
        for step in &self.steps {
            let fail = |reason: String| match values {
                ops::Values::MadeUp => {
                    Error::NodeInvalid { op: step.op.clone(), node: step.node.clone(), reason }
                }
                ops::Values::Real => {
                    Error::ValuesRefused { op: step.op.clone(), node: step.node.clone(), reason }
                }
            };
            let results = {
                let inputs: Vec<Option<&Tensor>> = step
                    .inputs
                    .iter()
                    .map(|slot| slot.and_then(|slot| slots.get(slot)).and_then(Option::as_deref))
                    .collect();
                (step.run)(&inputs, values).map_err(fail)?
            };
            for slot in &step.done_with {
                if let Some(slot) = slots.get_mut(*slot) {
                    *slot = None;
                }
            }
            for (slot, result) in step.outputs.iter().zip(results) {
                budget = budget
                    .checked_sub(result.data().len())
                    .ok_or_else(|| fail("the graph makes too many values for so few rows".to_owned()))?;
                if let Some(slot) = slot.and_then(|slot| slots.get_mut(slot)) {
                    *slot = Some(Cow::Owned(result));
                }
            }
        }
        Ok(slots)
    }
}

impl Engine for Tabular {
    fn name(&self) -> &'static str {
        "tabular"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn task(&self) -> Task {
        self.task
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn positive(&self) -> Option<usize> {
        self.positive
    }

    fn predict(&self, batch: &Batch) -> Result<Predictions> {
        if batch.rows() == 0 {
            return Ok(Predictions { scores: Vec::new(), probabilities: Vec::new() });
        }
        let slots = self.run(batch, ops::Values::Real)?;
        let tensor = slots.get(self.score).and_then(Option::as_deref);
        let values = tensor.and_then(|tensor| tensor.to_f64().ok()).unwrap_or_default();
        let classes = self.classes.len();
        if classes == 0 || values.len() == batch.rows() && classes == 2 {
            return self.single(batch.rows(), values);
        }
        if values.len() != batch.rows().saturating_mul(classes) {
            return Err(self.misshapen(batch.rows(), values.len()));
        }
        let scores = values.chunks_exact(classes).map(|row| self.pick(row)).collect();
        Ok(Predictions { scores, probabilities: values })
    }
}

impl Tabular {
    /// One number a row: a regression, or a binary model that gives the second class's probability only.
    fn single(&self, rows: usize, values: Vec<f64>) -> Result<Predictions> {
        if values.len() != rows {
            return Err(self.misshapen(rows, values.len()));
        }
        if self.classes.is_empty() {
            return Ok(Predictions { scores: values, probabilities: Vec::new() });
        }
        let probabilities: Vec<f64> = values.iter().flat_map(|value| [1.0 - value, *value]).collect();
        let scores = probabilities.chunks_exact(2).map(|row| self.pick(row)).collect();
        Ok(Predictions { scores, probabilities })
    }

    /// The score among the probabilities of a row.
    fn pick(&self, row: &[f64]) -> f64 {
        match self.positive {
            Some(place) => row.get(place).copied().unwrap_or(f64::NAN),
            None if row.iter().any(|value| value.is_nan()) => f64::NAN,
            None => row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }

    fn misshapen(&self, rows: usize, values: usize) -> Error {
        Error::ModelShape {
            reason: format!("it gives {values} values for {rows} rows"),
            hint: "export the model so that its first dimension may vary".to_owned(),
        }
    }
}

/// Compiles the nodes in order; also the labels of the last classifier among them.
fn compile<'a>(
    model: &Model<'a>,
    constants: &[Option<Tensor>],
    names: &mut Names<'a>,
) -> Result<(Vec<Step>, Vec<String>)> {
    let mut steps = Vec::with_capacity(model.graph.nodes.len());
    let mut labels = Vec::new();
    for (place, node) in model.graph.nodes.iter().enumerate() {
        let compiled = ops::compile(node, place, model.opset(node.domain))?;
        if !compiled.classes.is_empty() {
            labels = compiled.classes;
        }
        let who = format!("the node `{}`", ops::node_name(node, place));
        let inputs = node
            .inputs
            .iter()
            .map(|name| if name.is_empty() { Ok(None) } else { names.find(name, &who).map(Some) })
            .collect::<Result<Vec<_>>>()?;
        // Models without a classifier of their own look their labels up in a constant.
        if node.op == "ArrayFeatureExtractor"
            && let Some(tensor) =
                inputs.first().copied().flatten().and_then(|slot| constants.get(slot)?.as_ref())
        {
            labels = looked_up_labels(tensor).unwrap_or(labels);
        }
        let outputs = node
            .outputs
            .iter()
            .map(|name| if name.is_empty() { Ok(None) } else { names.define(name).map(Some) })
            .collect::<Result<Vec<_>>>()?;
        steps.push(Step {
            run: compiled.run,
            op: ops::op_name(node),
            node: ops::node_name(node, place),
            inputs,
            outputs,
            done_with: Vec::new(),
        });
    }
    Ok((steps, labels))
}

fn looked_up_labels(tensor: &Tensor) -> Option<Vec<String>> {
    match tensor.data() {
        Data::I64(labels) => Some(labels.iter().map(i64::to_string).collect()),
        Data::Text(labels) => Some(labels.iter().map(|label| label.as_ref().to_owned()).collect()),
        Data::F32(_) | Data::F64(_) | Data::Bool(_) => None,
    }
}

fn is_float(tensor: &Tensor) -> bool {
    matches!(tensor.data(), Data::F32(_) | Data::F64(_))
}

/// Values a row of the trial's result; none where it has not one row for each.
fn width(tensor: &Tensor) -> Option<usize> {
    match tensor.shape() {
        [TRIAL_ROWS] => Some(1),
        [TRIAL_ROWS, rest @ ..] => Some(rest.iter().product()),
        _ => None,
    }
}

/// What a model of these classes predicts, as far as it fits what is declared.
fn task(classes: &[String], declared: Option<Task>) -> Result<Task> {
    let task = match classes.len() {
        0 => Task::Regression,
        1 | 2 => Task::Binary,
        _ => Task::Multiclass,
    };
    match declared {
        Some(declared) if !declared.fits(classes.len()) => {
            let found = match task {
                Task::Regression => "gives one number a row and no classes".to_owned(),
                Task::Binary | Task::Multiclass => {
                    format!("has {} classes: {}", classes.len(), classes.join(", "))
                }
            };
            Err(Error::TaskMismatch { declared, found, task })
        }
        Some(Task::Multiclass) => Ok(Task::Multiclass),
        Some(Task::Binary | Task::Regression) | None => Ok(task),
    }
}

/// The place of the positive class.
fn positive(classes: &[String], declared: Option<&str>) -> Result<Option<usize>> {
    let Some(declared) = declared else {
        return Ok((classes.len() == 2).then_some(1));
    };
    if classes.is_empty() {
        return Ok(None);
    }
    let number = declared.parse::<f64>().ok();
    let same = |label: &String| {
        label == declared
            || label.eq_ignore_ascii_case(declared)
            || number.is_some_and(|number| label.parse::<f64>().ok() == Some(number))
            || matches!((declared, label.as_str()), ("true" | "True", "1") | ("false" | "False", "0"))
    };
    match classes.iter().position(same) {
        Some(place) => Ok(Some(place)),
        None => Err(Error::PositiveUnknown {
            positive: declared.to_owned(),
            classes: classes.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", "),
        }),
    }
}

fn outputs_of(task: Task, classes: &[String]) -> Vec<Column> {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type, nullable: false };
    match task {
        Task::Regression => vec![column("prediction", ColumnType::Number)],
        Task::Binary | Task::Multiclass => {
            let whole = classes.iter().all(|label| label.parse::<i64>().is_ok());
            let label = if whole { ColumnType::Integer } else { ColumnType::String };
            vec![column("label", label), column("probability", ColumnType::Number)]
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rondo_core::Explain;

    use super::*;
    use crate::engine::{self, Values};

    fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/fixtures/{name}.onnx", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn the_signature_follows_from_the_graph() {
        let engine = engine::load(&fixture("logistic_columns"), &LoadOptions::default()).unwrap();
        let inputs: Vec<(&str, ColumnType, bool)> = engine
            .signature()
            .inputs
            .iter()
            .map(|column| (column.name.as_str(), column.column_type, column.nullable))
            .collect();
        assert_eq!(
            inputs,
            [
                ("distance", ColumnType::Number, true),
                ("delay", ColumnType::Number, true),
                ("hour", ColumnType::Integer, false),
                ("carrier", ColumnType::String, false),
                ("origin", ColumnType::String, false),
            ]
        );
        assert_eq!((engine.task(), engine.positive()), (Task::Binary, Some(1)));
        assert_eq!(engine.classes(), ["0", "1"]);
    }

    #[test]
    fn a_matrix_takes_the_names_that_are_given() {
        let named =
            LoadOptions { columns: vec!["a".into(), "b".into(), "c".into()], ..LoadOptions::default() };
        let engine = engine::load(&fixture("forest"), &named).unwrap();
        let names: Vec<&str> = engine.signature().inputs.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let engine = engine::load(&fixture("forest"), &LoadOptions::default()).unwrap();
        assert_eq!(engine.signature().inputs[2].name, "X_2");
        let wrong = LoadOptions { columns: vec!["a".into()], ..LoadOptions::default() };
        assert_eq!(
            engine::load(&fixture("forest"), &wrong).unwrap_err().code(),
            rondo_core::Code::ModelInvalid
        );
    }

    #[test]
    fn the_positive_class_is_the_one_declared() {
        let with =
            |positive: &str| LoadOptions { positive: Some(positive.to_owned()), ..LoadOptions::default() };
        let load = |positive| engine::load(&fixture("forest"), &with(positive));
        assert_eq!(load("0").unwrap().positive(), Some(0));
        assert_eq!(load("1.0").unwrap().positive(), Some(1));
        assert_eq!(load("true").unwrap().positive(), Some(1));
        let error = load("late").unwrap_err();
        assert!(error.to_string().contains("its classes are `0`, `1`"), "{error}");
        let engine = engine::load(&fixture("forest_classes"), &with("late")).unwrap();
        assert_eq!((engine.task(), engine.positive()), (Task::Multiclass, Some(1)));
    }

    #[test]
    fn what_is_declared_has_to_be_what_the_model_predicts() {
        let load = |name: &str, task| {
            let options = LoadOptions { task: Some(task), ..LoadOptions::default() };
            engine::load(&fixture(name), &options)
        };
        for (name, fits, other) in [
            ("forest_classes", Task::Multiclass, Task::Binary),
            ("forest_classes", Task::Multiclass, Task::Regression),
            ("forest", Task::Binary, Task::Regression),
            ("linear", Task::Regression, Task::Multiclass),
        ] {
            assert_eq!(load(name, fits).unwrap().task(), fits);
            let error = load(name, other).unwrap_err();
            assert_eq!(error.code(), rondo_core::Code::ModelInvalid);
            assert_eq!(error.hints(), [format!("set `task: {}` of the model", fits.word())]);
        }
        let error = load("forest_classes", Task::Regression).unwrap_err().to_string();
        assert!(
            error.starts_with("the model is declared as `task: regression`, and it has 3 classes: "),
            "{error}"
        );
        let two = load("forest", Task::Multiclass).unwrap();
        assert_eq!((two.task(), two.positive()), (Task::Multiclass, None));
    }

    #[test]
    fn classes_that_have_an_output_each_are_refused() {
        let error = engine::load(&fixture("refused/apart"), &LoadOptions::default()).unwrap_err();
        assert!(error.to_string().contains("each class in an output of its own"), "{error}");
        assert!(error.hints().concat().contains("'zipmap': False"));
    }

    #[test]
    fn the_score_does_not_need_the_label() {
        let engine = Tabular::load(&fixture("perceptron"), &LoadOptions::default()).unwrap();
        assert!(engine.steps.iter().all(|step| step.op != "ArgMax"));
        assert_eq!(engine.classes(), ["0", "1"]);
    }

    #[test]
    fn a_batch_that_does_not_fit_is_refused() {
        let engine = engine::load(&fixture("linear"), &LoadOptions::default()).unwrap();
        let texts = Batch::new(1, vec![Values::Text(vec!["a".into()]); 3]).unwrap();
        assert!(engine.predict(&texts).is_err());
        let few = Batch::new(1, vec![Values::Number(vec![1.0])]).unwrap();
        assert!(engine.predict(&few).is_err());
    }

    proptest! {
        #[test]
        fn damaged_models_are_refused_or_run_but_never_panic(
            which in 0_usize..4, places in proptest::collection::vec((0_usize..1417, any::<u8>()), 1..6)
        ) {
            let mut bytes = fixture(["logistic_columns", "tree", "perceptron", "linear_double"][which]);
            for (place, byte) in places {
                let place = place % bytes.len();
                bytes[place] = byte;
            }
            if let Ok(engine) = engine::load(&bytes, &LoadOptions::default()) {
                let _ = engine.predict(&Batch::example(engine.signature(), 2));
            }
        }
    }
}
