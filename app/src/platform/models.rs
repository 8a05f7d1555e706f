//! Models meet their runs: a finished pipeline's model becomes a candidate, is judged beside the champion
//! on the same rows, registered, and promoted where that was asked for; or it waits for its approval.

use std::path::PathBuf;

use rondo_core::evaluation::{Evaluation, Metric, Task};
use rondo_core::handoff::{ModelCandidate, ModelVersion};
use rondo_core::journal::Because;
use rondo_core::metric::{self, Subject};
use rondo_core::objective::Objective;
use rondo_core::ports::{Event, RowsToScore, Scored};
use rondo_core::run::Link;
use rondo_core::signature::Signature;
use rondo_core::{Code, Digest, Timestamp, suggest};
use rondo_monitoring::reference::{Predictions, Reference};
use rondo_pipeline::RunReport;
use rondo_project::project::{Gate, Model, Reference as Output, Work};
use rondo_project::quote;
use rondo_registry::approval::{self, Approval, Decision};
use rondo_registry::evaluate::{Spec, evaluate};
use rondo_registry::gate;
use rondo_registry::promote::{CHALLENGER, CHAMPION, promote};
use rondo_registry::protect;
use rondo_registry::register::register;
use rondo_serving::engine::{self, Batch, Engine, LoadOptions};
use rondo_store::meta::journal::Expect;
use rondo_store::meta::registered::Version;
use rondo_table::columns;
use rondo_table::read::{ReadOptions, Source};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Error, Platform, version_files};

/// How many single rows a new model is asked for its latency.
const PROBES: usize = 200;

/// What became of a model after a run.
#[derive(Debug, Clone, Serialize)]
pub struct Registered {
    /// The model.
    pub model: String,
    /// Its version.
    pub version: u32,
    /// Whether the version is the champion now.
    pub promoted: bool,
    /// Whether it waits for its approval.
    pub pending: bool,
    /// What came of it, in one sentence.
    pub outcome: String,
}

/// When a version that passes its gate becomes the champion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromotionRule {
    /// Where there is no champion yet: for what a person runs.
    First,
    /// Whenever it passes: for a trigger that says `then: promote`.
    Passing,
    /// Never.
    Never,
}

/// A promotion by hand.
#[derive(Debug, Clone)]
pub struct Promotion {
    /// The model.
    pub model: String,
    /// The version.
    pub version: i64,
    /// The alias that moves.
    pub alias: String,
    /// Who and why.
    pub because: Because,
    /// Move it although an objective was missed at its gate.
    pub force: bool,
    /// Change nothing.
    pub dry_run: bool,
}

impl Platform {
    /// Registers what a run's steps have made of the declared models, judged, and promotes by the rule.
    ///
    /// # Errors
    /// When a model cannot be loaded or scored, or the store refuses.
    pub async fn register_models(
        &self,
        report: &RunReport,
        rule: PromotionRule,
        because: &Because,
    ) -> Result<Vec<Registered>, Error> {
        self.protect_declared().await?;
        let mut registered = Vec::new();
        let project = self.project().clone();
        for (name, model) in project.models.iter() {
            let Some(made) = Made::find(model, report) else {
                if model.evaluation.is_none() {
                    let message = "not registered: it names no step that evaluates it (`evaluation: STEP`)";
                    self.progress()
                        .report(Event::Note { subject: name.to_owned(), message: message.to_owned() });
                }
                continue;
            };
            if rule != PromotionRule::Passing && self.is_settled(name, made.run).await? {
                continue;
            }
            registered.push(self.register_model(name, model, made, report, rule, because).await?);
        }
        Ok(registered)
    }

    /// Protects the champion of each model that has a gate, and every alias of it that an endpoint follows.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn protect_declared(&self) -> Result<(), Error> {
        for (name, model) in self.project().models.iter() {
            let served = self.project().serve.iter().map(|(_, endpoint)| &endpoint.model);
            let mut aliases: Vec<&str> =
                served.filter(|served| served.model == name).map(|served| served.alias.as_str()).collect();
            aliases.push(CHAMPION);
            aliases.retain(|_| !model.gate.is_empty());
            protect::declare(self.store(), name, &aliases, self.clock().now()).await?;
        }
        Ok(())
    }

    async fn register_model(
        &self,
        name: &str,
        model: &Model,
        made: Made,
        report: &RunReport,
        rule: PromotionRule,
        because: &Because,
    ) -> Result<Registered, Error> {
        // What the alias points to may be a version that a tracking client made: that one is no rival, but it
        // is what has to be moved away from.
        let seen_at = self.store().meta().target(&rondo_core::reference::alias(name, CHAMPION)).await?;
        let champion = self.store().meta().aliased_version(name, CHAMPION).await?;
        if let Some((_, version)) = champion.as_ref().filter(|(_, version)| version.run == made.run) {
            let why = self.promoted_by(name, because).await?;
            let promoted = why.is_some();
            let outcome = match why {
                Some(why) => format!("version {} is champion now: {why}", version.version),
                None => {
                    format!(
                        "nothing new came out: the same model as version {}, the champion",
                        version.version
                    )
                }
            };
            let (model, version) = (name.to_owned(), version.version);
            return Ok(Registered { model, version, promoted, pending: false, outcome });
        }
        let objectives = &self.project().canvas.objectives;
        let spec = Spec::of_model(model, objectives);
        let test = self.stored_rows(&made.test).await?;
        let engine = self.load_engine(made.file.digest, model, None)?;
        let columns = self.columns_of(model, engine.as_ref(), &test)?;
        let engine = match &columns[..] {
            [] => engine,
            _ => self.load_named(made.file.digest, model, columns.clone())?,
        };
        let scored = self.scored(made.file.digest, &test, &spec, &columns).await?;
        let mut evaluation = evaluate(test.source(), &scored, &spec)?;
        evaluation.model = Some(made.file.digest);
        evaluation.data = Some(made.test.digest);
        let champions = match &champion {
            Some((_, version)) => Some(self.score_version(version, &made.test, &spec).await?),
            None => None,
        };
        let mut judged = evaluation.clone();
        judged.metrics.push(probe(engine.as_ref()));
        let metric = compared_by(model, objectives);
        let mut gate = gate::judge(&model.gate, objectives, Some(&metric), &judged, champions.as_ref());
        let training = self.stored_rows(&made.training).await?;
        let trained_until = latest(training.source(), model.time.as_deref())?;
        if let Some(note) = seen("the challenger", trained_until, evaluation.from) {
            gate.refuse("unseen", note);
        }
        let seen_by_champion = champion.as_ref().and_then(|(_, version)| version.trained_until);
        if let Some(note) = seen("the champion", seen_by_champion, evaluation.from) {
            gate.refuse("unseen", note);
        }
        let features: Vec<&str> =
            engine.signature().inputs.iter().map(|column| column.name.as_str()).collect();
        let reference =
            Reference::build(training.source(), &features, &Predictions::of(&scored, model.task))?;
        let candidate = ModelCandidate {
            model: name.to_owned(),
            file: made.file.clone(),
            run: made.run,
            pipeline_run: report.run,
            task: model.task,
            target: model.target.clone(),
            positive: super::serving::positive(model),
            threshold: model.threshold,
            signature: nullable_by(engine.signature(), training.source())?,
            evaluation,
            champion: champions,
            reference: Some(self.put_json(&reference)?),
            trained_until,
        };
        let (record, version) = register(self.store(), candidate, &gate, self.clock().now()).await?;
        // What cannot be made now is made when the files are asked for.
        let _ = version_files::make(self.store(), record, &version).await;
        let why = gate.reason();
        let wanted = match rule {
            PromotionRule::First => champion.is_none(),
            PromotionRule::Passing => true,
            PromotionRule::Never => false,
        };
        let pending = gate.passed && model.gate.contains(&Gate::Approval);
        let promoted = gate.passed && wanted && !pending;
        let (alias, expect) = if promoted {
            (CHAMPION, seen_at.map_or(Expect::Absent, Expect::At))
        } else {
            (CHALLENGER, Expect::Anything)
        };
        let (number, now) = (i64::from(version.version), self.clock().now());
        let evidence = json!({ "gate": gate, "why": why, "request": because.evidence });
        let because = because.clone().by_run(report.run).with_evidence(evidence.clone());
        if pending {
            let asked = Approval {
                model: name.to_owned(),
                version: number,
                decision: Decision::Pending,
                alias: wanted.then(|| CHAMPION.to_owned()),
                seen: seen_at,
                evidence,
                by: because.actor.clone(),
                why: why.clone(),
                at: now,
            };
            approval::ask(self.store(), asked, because.clone()).await?;
        }
        promote(self.store(), (name, alias), number, expect, because, now).await?;
        let outcome = match (promoted, pending, gate.passed) {
            (true, _, _) => format!("version {number} is champion now: {why}"),
            (false, true, _) => format!(
                "version {number} passes its gate and waits for approval (rondo models approve {name}/{number}): {why}"
            ),
            (false, false, true) => format!("version {number} passes its gate and waits: {why}"),
            (false, false, false) => format!("version {number} does not pass its gate: {why}"),
        };
        Ok(Registered { model: name.to_owned(), version: version.version, promoted, pending, outcome })
    }

    /// Whether a run's model is registered and an alias was moved for it: a process that is killed between
    /// the two leaves a version without, which is judged again.
    async fn is_settled(&self, model: &str, run: rondo_core::RunId) -> Result<bool, Error> {
        let meta = self.store().meta();
        let known = meta.model_versions(model).await?;
        let Some(version) = known.iter().find(|version| version.run == run) else { return Ok(false) };
        let (address, _) = meta.model_version(model, version.version).await?;
        let moves = meta.journal(&rondo_core::reference::alias(model, ""), i64::MAX).await?;
        Ok(moves.iter().any(|entry| entry.to == Some(address)))
    }

    /// What its gate said of the champion, where it was put in place for this very reason: then the process
    /// was killed before it could say so.
    async fn promoted_by(&self, model: &str, because: &Because) -> Result<Option<String>, Error> {
        let name = rondo_core::reference::alias(model, CHAMPION);
        let journal = self.store().meta().journal(&name, i64::MAX).await?;
        let Some(last) = journal.into_iter().find(|entry| entry.name == name) else { return Ok(None) };
        let evidence = last.because.evidence;
        let same = !because.evidence.is_null() && evidence.get("request") == Some(&because.evidence);
        let why = evidence.get("why").and_then(Value::as_str).unwrap_or_default();
        Ok(same.then(|| why.to_owned()))
    }

    /// Scores a registered version on a table and evaluates it.
    async fn score_version(
        &self,
        version: &ModelVersion,
        rows: &Link,
        spec: &Spec,
    ) -> Result<Evaluation, Error> {
        let table = self.stored_rows(rows).await?;
        let columns: Vec<String> =
            version.signature.inputs.iter().map(|column| column.name.clone()).collect();
        let scored = self.scored(version.file, &table, spec, &columns).await?;
        let mut evaluation = evaluate(table.source(), &scored, spec)?;
        evaluation.model = Some(version.file);
        evaluation.data = Some(rows.digest);
        Ok(evaluation)
    }

    /// Loads a model's file with the engine that can run it.
    ///
    /// # Errors
    /// When it is not in the store or no engine can run it.
    pub fn load_engine(
        &self,
        file: Digest,
        model: &Model,
        signature: Option<&Signature>,
    ) -> Result<Box<dyn Engine>, Error> {
        let columns = signature
            .map(|signature| signature.inputs.iter().map(|column| column.name.clone()).collect())
            .unwrap_or_default();
        self.load_named(file, model, columns)
    }

    fn load_named(
        &self,
        file: Digest,
        model: &Model,
        columns: Vec<String>,
    ) -> Result<Box<dyn Engine>, Error> {
        let bytes = self.store().objects().read(file)?;
        let positive = super::serving::positive(model);
        Ok(engine::load(&bytes, &LoadOptions { columns, positive, task: Some(model.task) })?)
    }

    /// Moves an alias by hand; whether it moves.
    ///
    /// # Errors
    /// When there is no such version; when, and it is not forced, an objective was missed at its gate or it is
    /// not approved although its gate asks for that; or when the store refuses.
    pub async fn promote(&self, promotion: Promotion) -> Result<bool, Error> {
        let Promotion { model, version: number, alias, because, force, dry_run } = promotion;
        let version = self.store().meta().version(&model, number).await?;
        if !force {
            self.require_worthy(&version).await?;
        }
        let name = rondo_core::reference::alias(&model, &alias);
        let now = self.store().meta().target(&name).await?;
        if dry_run || now == Some(version.digest) {
            return Ok(now != Some(version.digest));
        }
        let expect = now.map_or(Expect::Absent, Expect::At);
        Ok(promote(self.store(), (&model, &alias), number, expect, because, self.clock().now()).await?)
    }

    /// Refuses a version that has not passed its gate, or lacks the approval that the gate asks for.
    async fn require_worthy(&self, version: &Version) -> Result<(), Error> {
        let decided = approval::find(self.store(), &version.model, version.number).await?;
        if decided.as_ref().is_some_and(|decided| decided.decision == Decision::Approved) {
            return Ok(());
        }
        let model = version.model.clone();
        let asks =
            self.project().models.get(&model).is_some_and(|model| model.gate.contains(&Gate::Approval));
        let passed = version.record.get("gate_passed").and_then(Value::as_bool);
        match passed {
            Some(false) => {
                let reason = version.record.get("gate_reason").and_then(Value::as_str).unwrap_or_default();
                let (version, reason) = (version.number, reason.to_owned());
                Err(rondo_registry::Error::Refused { model, version, reason }.into())
            }
            // A client's version has no gate; what was asked and not granted is refused.
            _ if asks || decided.is_some() || passed.is_none() => {
                Err(rondo_registry::Error::Unapproved { model, version: version.number }.into())
            }
            _ => Ok(()),
        }
    }

    /// A version by its number or alias (`3`, `champion`, `@champion`).
    ///
    /// # Errors
    /// When there is no such model or version.
    pub async fn find_version(&self, model: &str, wanted: &str) -> Result<ModelVersion, Error> {
        let meta = self.store().meta();
        let wanted = wanted.trim_start_matches('@');
        if let Ok(number) = wanted.parse::<u32>() {
            return Ok(meta.model_version(model, number).await?.1);
        }
        if let Some((_, version)) = meta.aliased_version(model, wanted).await? {
            return Ok(version);
        }
        let models = meta.models().await?;
        let names: Vec<&str> = models.iter().map(|(name, _)| name.as_str()).collect();
        let known = names.contains(&model);
        let hint = if known {
            format!("rondo models show {}", quote::word(model))
        } else {
            suggest::nearest(model, names)
                .map_or_else(|| "rondo models list".to_owned(), |near| format!("did you mean `{near}`?"))
        };
        Err(Error::NotFound {
            kind: if known { "alias" } else { "model" },
            name: if known { format!("{model}@{wanted}") } else { model.to_owned() },
            code: if known { Code::AliasNotFound } else { Code::ModelNotFound },
            hint: Some(hint),
        })
    }

    /// Stores a record as an object of JSON text.
    fn put_json<T: Serialize>(&self, record: &T) -> Result<Digest, Error> {
        let text = rondo_core::canonical::to_string(record)
            .map_err(|error| Error::Invalid { code: Code::Internal, message: error.to_string() })?;
        Ok(self.store().objects().put_bytes(text.as_bytes())?.digest)
    }

    /// What a model's file says of rows.
    async fn scored(
        &self,
        file: Digest,
        rows: &Rows,
        spec: &Spec,
        columns: &[String],
    ) -> Result<Scored, Error> {
        let asked = RowsToScore {
            path: &rows.path,
            read: Some(&rows.read),
            columns,
            classes: spec.task == Task::Multiclass,
        };
        self.scorer().score(file, asked).await.map_err(Error::port)
    }

    /// The names for the columns of a model that does not name them: those that its evaluation scored it
    /// with. None where it names them itself, or something else than `evaluate` has judged it.
    fn columns_of(&self, model: &Model, engine: &dyn Engine, test: &Rows) -> Result<Vec<String>, Error> {
        let known = columns::describe(test.source())?;
        let inputs = &engine.signature().inputs;
        if inputs.iter().all(|column| known.iter().any(|known| known.name == column.name)) {
            return Ok(Vec::new());
        }
        let step = model.evaluation.as_deref().and_then(|step| self.project().steps.get(step));
        let Some(Work::Uses { package, with }) = step.map(|step| &step.work) else { return Ok(Vec::new()) };
        let named = with.get("features");
        // What an expression comes to is known to the step alone.
        let computed = named.is_some_and(|named| named.to_string().contains("${{"));
        if package != "evaluate" || computed {
            return Ok(Vec::new());
        }
        let with = named.map(|named| ("features".to_owned(), named.clone())).into_iter().collect();
        Ok(rondo_registry::evaluate::features(&with, test.source(), &model.target)?)
    }

    /// A stored table, to be read as its dataset declares.
    async fn stored_rows(&self, link: &Link) -> Result<Rows, Error> {
        let path = self.store().objects().sound(link.digest)?;
        let read = match link.reference.strip_prefix("data.") {
            Some(dataset) => {
                let versions = self.store().meta().dataset_versions(dataset).await?;
                let version = versions.into_iter().rev().find(|version| version.digest == link.digest);
                version.map(|version| version.origin.read).unwrap_or_default()
            }
            None => Map::new(),
        };
        let options = ReadOptions::default().with(&read)?;
        Ok(Rows { path, read, options })
    }
}

/// A stored table and how it is read; readers go by its content where nothing is declared, since an object's
/// name has no ending.
struct Rows {
    path: PathBuf,
    read: Map<String, Value>,
    options: ReadOptions,
}

impl Rows {
    fn source(&self) -> Source<'_> {
        Source { path: &self.path, options: &self.options }
    }
}

/// What a run's steps have made of a declared model.
struct Made {
    file: Link,
    run: rondo_core::RunId,
    /// The table that the training step read.
    training: Link,
    /// The table that the evaluation step read.
    test: Link,
}

impl Made {
    /// Finds it in a report; nothing where the training or evaluation step did not end well.
    fn find(model: &Model, report: &RunReport) -> Option<Self> {
        let Output::Output { step, output } = &model.from else { return None };
        let train = report.step(step).filter(|step| step.outcome.is_good())?;
        let evaluation = report.step(model.evaluation.as_deref()?).filter(|step| step.outcome.is_good())?;
        let file = train.output(output)?.clone();
        let own = model.from.to_string();
        let test = evaluation.inputs.iter().find(|link| link.reference != own)?.clone();
        Some(Self { file, run: train.run?, training: train.inputs.first()?.clone(), test })
    }
}

/// The metric that challenger and champion are compared by: the declared one, else that of the first
/// objective on a model's quality as a whole, else the usual one of the task.
fn compared_by(model: &Model, objectives: &[Objective]) -> String {
    let whole = |objective: &&Objective| {
        let known = metric::find(&objective.metric);
        objective.slice.is_none()
            && objective.by.is_none()
            && known.is_some_and(|known| known.subject == Subject::Quality)
    };
    let usual = match model.task {
        Task::Binary => "roc_auc",
        Task::Multiclass => "accuracy",
        Task::Regression => "rmse",
    };
    let declared = model.metric.clone();
    declared
        .or_else(|| objectives.iter().find(whole).map(|objective| objective.metric.clone()))
        .unwrap_or_else(|| usual.to_owned())
}

/// Why an evaluation does not count: who was trained on rows of its time.
fn seen(who: &str, trained_until: Option<Timestamp>, from: Option<Timestamp>) -> Option<String> {
    let (trained, from) = trained_until.zip(from)?;
    (trained >= from)
        .then(|| format!("{who} was trained on rows up to {trained}, the evaluation begins at {from}"))
}

/// The 99th percentile of the time that the engine takes for one row.
fn probe(engine: &dyn Engine) -> Metric {
    const NAME: &str = "latency_p99_ms";
    let batch = Batch::example(engine.signature(), 1);
    let mut taken: Vec<f64> = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        let start = std::time::Instant::now();
        if engine.predict(&batch).is_err() {
            return Metric::undefined(NAME, "the model could not be probed");
        }
        taken.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    taken.sort_by(f64::total_cmp);
    taken
        .get(PROBES * 99 / 100)
        .map_or_else(|| Metric::undefined(NAME, "nothing measured"), |p99| Metric::plain(NAME, *p99))
}

/// The engine's signature, with what the training rows say of missing values.
fn nullable_by(signature: &Signature, training: Source<'_>) -> Result<Signature, Error> {
    let known = columns::describe(training)?;
    let mut signature = signature.clone();
    for column in &mut signature.inputs {
        if let Some(described) = known.iter().find(|described| described.name == column.name) {
            column.nullable = described.nullable;
        }
    }
    Ok(signature)
}

fn latest(training: Source<'_>, time: Option<&str>) -> Result<Option<Timestamp>, Error> {
    let Some(time) = time else { return Ok(None) };
    Ok(columns::timestamps(training, time)?.into_iter().flatten().max().map(Timestamp))
}
