//! What became of an import: counts by kind, and every thing that was not brought in with the reason.

use serde::Serialize;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Experiments.
    Experiments,
    /// Runs.
    Runs,
    /// Parameters of runs.
    Params,
    /// Tags of runs.
    Tags,
    /// Points of metrics.
    MetricPoints,
    /// Datasets and models that went into runs or came out.
    Inputs,
    /// Logged models.
    LoggedModels,
    /// Registered models, prompts included.
    RegisteredModels,
    /// Their versions.
    ModelVersions,
    /// Their aliases.
    Aliases,
    /// Files among the artifacts of runs and logged models.
    Artifacts,
    /// Traces.
    Traces,
    /// What is said of traces.
    Assessments,
    /// Webhooks.
    Webhooks,
}

impl Kind {
    /// Every kind, in the order of the report.
    pub const ALL: [Self; 14] = [
        Self::Experiments,
        Self::Runs,
        Self::Params,
        Self::Tags,
        Self::MetricPoints,
        Self::Inputs,
        Self::LoggedModels,
        Self::RegisteredModels,
        Self::ModelVersions,
        Self::Aliases,
        Self::Artifacts,
        Self::Traces,
        Self::Assessments,
        Self::Webhooks,
    ];

    /// The words for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Experiments => "experiments",
            Self::Runs => "runs",
            Self::Params => "params",
            Self::Tags => "tags",
            Self::MetricPoints => "metric points",
            Self::Inputs => "inputs and outputs",
            Self::LoggedModels => "logged models",
            Self::RegisteredModels => "registered models",
            Self::ModelVersions => "model versions",
            Self::Aliases => "aliases",
            Self::Artifacts => "artifacts",
            Self::Traces => "traces",
            Self::Assessments => "assessments",
            Self::Webhooks => "webhooks",
        }
    }
}

/// How many of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// In the source.
    pub found: u64,
    /// Brought in now.
    pub imported: u64,
    /// Here already.
    pub already_there: u64,
    /// Not brought in.
    pub skipped: u64,
}

/// Something that was not brought in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// How many reasons are kept; all are counted.
const REASONS: usize = 1000;

/// What became of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    counts: [Count; Kind::ALL.len()],
    skipped: Vec<Skipped>,
    notes: Vec<String>,
    reasons: u64,
}

impl Report {
    /// The count of a kind, to be added to.
    pub fn of(&mut self, kind: Kind) -> &mut Count {
        // The order of the kinds is that of `Kind::ALL`, which has as many as the array.
        &mut self.counts[kind as usize]
    }

    /// The count of a kind.
    pub const fn count(&self, kind: Kind) -> Count {
        self.counts[kind as usize]
    }

    /// Says that something was not brought in: how many, and why.
    pub fn skip(&mut self, kind: Kind, many: u64, name: impl Into<String>, reason: impl Into<String>) {
        self.of(kind).skipped += many;
        self.reasons += 1;
        if self.skipped.len() < REASONS {
            self.skipped.push(Skipped { kind, name: name.into(), reason: reason.into() });
        }
    }

    /// Says something that is worth knowing though all was brought in.
    pub fn note(&mut self, note: String) {
        if self.notes.len() < REASONS && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// What was not brought in; the first of them where there are many.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// How many reasons there are beyond those kept.
    pub fn unsaid(&self) -> u64 {
        self.reasons - self.skipped.len() as u64
    }

    /// What is worth knowing.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether everything that was found is here now.
    pub const fn complete(&self) -> bool {
        self.reasons == 0
    }

    /// Whether nothing was brought in.
    pub fn nothing_new(&self) -> bool {
        self.counts.iter().all(|count| count.imported == 0)
    }
}
