//! A live model: loaded, checked, warm, with what is needed to read requests for it and to log its answers.

use std::path::PathBuf;
use std::sync::Arc;

use rondo_core::Digest;
use rondo_core::evaluation::Task;
use rondo_core::handoff::{Deployment, Truth};
use rondo_core::label::Label;
use rondo_core::signature::Signature;
use serde_json::{Map, Value};

use crate::engine::{self, Batch, Engine, LoadOptions, Predictions};
use crate::error::{Error, Result};
use crate::request::{Form, Reader, Request};

/// How often a new model is asked before it answers anybody.
const WARM_UP: usize = 20;

/// How an endpoint's predictions are logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogPolicy {
    /// The share of predictions that is logged, by their id.
    pub sample: f64,
    /// Whether an answer waits until it is on disk.
    pub durable: bool,
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self { sample: 1.0, durable: false }
    }
}

/// What is to be served.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Which version, at which endpoint.
    pub deployment: Deployment,
    /// The model's file.
    pub path: PathBuf,
    /// What is known of the model beside its file.
    pub options: LoadOptions,
    /// Score at or above which the positive class is predicted; 0.5 where it is not given.
    pub threshold: Option<f64>,
    /// A signature that says better than the model which values may be missing.
    ///
    /// A column that never was empty in one dataset may be so later: give this only where the project
    /// declares it.
    pub signature: Option<Signature>,
    /// What records may have beside features.
    pub form: Form,
    /// How predictions are logged.
    pub log: LogPolicy,
}

impl Candidate {
    /// A candidate with nothing declared beside its file.
    pub fn new(deployment: Deployment, path: PathBuf) -> Self {
        Self {
            deployment,
            path,
            options: LoadOptions::default(),
            threshold: None,
            signature: None,
            form: Form::default(),
            log: LogPolicy::default(),
        }
    }
}

/// What a model says of a row.
pub(crate) struct Said {
    /// The score.
    pub score: f64,
    /// The predicted class, of a classifier.
    pub label: Option<String>,
    /// Of several classes the probability of each.
    pub probabilities: Map<String, Value>,
}

/// A model that answers.
#[derive(Debug)]
pub struct LiveModel {
    /// Which version, at which endpoint.
    pub deployment: Deployment,
    /// What runs it.
    pub engine: Arc<dyn Engine>,
    /// Score at or above which the positive class is predicted.
    pub threshold: Option<f64>,
    /// How predictions are logged.
    pub log: LogPolicy,
    reader: Reader,
}

impl LiveModel {
    /// Loads a candidate, checks its bytes against the registered digest and warms it up.
    ///
    /// # Errors
    /// When the file is not what was registered, or no engine can run it.
    pub fn load(candidate: Candidate) -> Result<Self> {
        let path = &candidate.path;
        let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
        let found = Digest::of(&bytes);
        let expected = candidate.deployment.file;
        if found != expected {
            return Err(Error::DigestMismatch { path: path.clone(), expected, found });
        }
        let engine: Arc<dyn Engine> = Arc::from(engine::load(&bytes, &candidate.options)?);
        warm_up(engine.as_ref())?;
        let signature = match &candidate.signature {
            Some(registered) => engine::refine(engine.signature(), registered),
            None => engine.signature().clone(),
        };
        Ok(Self {
            deployment: candidate.deployment,
            engine,
            threshold: candidate.threshold,
            log: candidate.log,
            reader: Reader::new(signature, candidate.form),
        })
    }

    /// What requests have to fit.
    pub const fn signature(&self) -> &Signature {
        self.reader.signature()
    }

    /// Reads a request for this model.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read(&self, body: Value) -> Result<Request> {
        self.reader.read(body)
    }

    /// Reads a request for this model from JSON text.
    ///
    /// # Errors
    /// As [`Reader::read_bytes`].
    pub fn read_bytes(&self, body: &[u8]) -> Result<Request> {
        self.reader.read_bytes(body)
    }

    /// What is answered for a row.
    pub(crate) fn said(&self, predictions: &Predictions, row: usize, score: f64) -> Said {
        let classes = self.engine.classes();
        let probabilities = match self.engine.task() {
            Task::Multiclass => predictions.by_class(row, classes),
            Task::Binary | Task::Regression => Map::new(),
        };
        Said { score, label: self.label(predictions, row), probabilities }
    }

    /// A truth in the terms of what the model predicts: of a regression a number; of a binary task 1 for the
    /// positive class and 0 for the other, whether it was told by these or by the class; of several classes
    /// one of them.
    ///
    /// # Errors
    /// When it is nothing that the model can predict.
    pub fn resolve(&self, truth: Truth) -> Result<Truth> {
        let classes = self.engine.classes();
        let known = match (self.engine.task(), &truth.label) {
            (Task::Regression, Label::Number(_)) => Some(truth.label.clone()),
            (Task::Regression, Label::Text(_)) => None,
            (Task::Multiclass, label) => label
                .place(classes)
                .and_then(|place| classes.get(place))
                .map(|class| Label::from(class.as_str())),
            (Task::Binary, label) => match label.place(classes).zip(self.engine.positive()) {
                Some((place, positive)) => Some(Label::Number(f64::from(u8::from(place == positive)))),
                None => label.number().filter(|number| [0.0, 1.0].contains(number)).map(Label::Number),
            },
        };
        match known {
            Some(label) => Ok(Truth { label, ..truth }),
            None => Err(Error::TruthInvalid {
                id: truth.prediction_id.chars().take(60).collect(),
                reason: self.not_predicted(&truth.label),
            }),
        }
    }

    /// Why a label is nothing that the model can predict.
    fn not_predicted(&self, label: &Label) -> String {
        let model = &self.deployment.model;
        let classes = self.engine.classes();
        let named = classes.join(", ");
        let shown: String = label.to_string().chars().take(60).collect();
        match self.engine.task() {
            Task::Regression => format!("is the text `{shown}`, and the model `{model}` predicts numbers"),
            Task::Binary => {
                format!("is `{shown}`, which is neither 0 or 1 nor a class of `{model}`: {named}")
            }
            Task::Multiclass => {
                format!("is `{shown}`, which is none of the {} classes of `{model}`: {named}", classes.len())
            }
        }
    }

    /// The label that a row's score means; none for a regression.
    fn label(&self, predictions: &Predictions, row: usize) -> Option<String> {
        let classes = self.engine.classes();
        let score = *predictions.scores.get(row)?;
        let place = match (self.engine.task(), self.engine.positive()) {
            (Task::Regression, _) => return None,
            (Task::Binary, Some(positive)) => {
                let is_positive = score >= self.threshold.unwrap_or(0.5);
                if is_positive { positive } else { (0..classes.len()).find(|place| *place != positive)? }
            }
            (Task::Binary | Task::Multiclass, _) => predictions.likeliest(row, classes.len())?,
        };
        classes.get(place).cloned()
    }
}

/// Lets a model run over made-up rows, so that the first request finds code and memory in place.
fn warm_up(engine: &dyn Engine) -> Result<()> {
    let one = Batch::example(engine.signature(), 1);
    let many = Batch::example(engine.signature(), 64);
    for batch in std::iter::repeat_n(&one, WARM_UP).chain([&many]) {
        match engine.predict(batch) {
            // Made-up values may be refused; real ones are what counts.
            Ok(_) | Err(Error::ValuesRefused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
