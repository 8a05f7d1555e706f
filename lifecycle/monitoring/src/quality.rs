//! Quality: whether the inputs of a window are as they should be. The rules and their meaning are those of
//! [`rondo_table::checks`], the same as for a file, a dataset or a step; here they are asked of what was sent
//! with predictions.
//!
//! A window is judged by itself, so that looking later gives the same answer: a rule that asks for another
//! table or an engine is refused, and `fresh` goes by the window's end and not by the clock. Of a dataset's
//! checks, what cannot be asked here is left out and named.

use std::collections::{BTreeMap, BTreeSet};

use rondo_core::Timestamp;
use rondo_project::builtins::Refusal;
use rondo_project::project::{LiveChecks, SuiteOf};
use rondo_table::checks::{self, CheckReport, Context, Rule, RuleKind, RuleResult, Sample, Severity, scoped};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::inputs::Inputs;

/// So many predictions are named of a rule that they break.
const NAMED: usize = 5;

/// What the checks say of the inputs of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Whether every rule of severity `error` holds.
    pub passed: bool,
    /// Rules of severity `error` that do not hold.
    pub failed: u64,
    /// Rules of severity `warning` that do not hold.
    pub warnings: u64,
    /// Rules of severity `info` that do not hold.
    pub notes: u64,
    /// Each rule that was asked, in the order of the suite; of a rule with slices one result a slice. A
    /// window with fewer rows than the monitor asks for is asked for the number of its rows alone.
    pub rules: Vec<Finding>,
    /// The rules of a dataset that were not asked.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left_out: Vec<LeftOut>,
}

/// What came of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The last part of its alert's name: what its writer calls it, or columns and check, `carrier.in_set`.
    pub alert: String,
    /// The result.
    #[serde(flatten)]
    pub result: RuleResult,
    /// Of a rule that does not hold: the first predictions that break it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub predictions: Vec<Offender>,
}

/// A prediction that breaks a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offender {
    /// Its id.
    pub prediction: String,
    /// When it happened.
    pub event_time: Timestamp,
    /// The value, or the values of all columns of the rule.
    pub value: Value,
}

/// A rule that was not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The rule in words.
    pub rule: String,
    /// Why not.
    pub why: String,
}

/// Whether a check can be asked of live inputs. For the checker of the project file.
///
/// # Errors
/// Why it cannot, and what to do instead.
pub fn judge(rule: &Value) -> Result<(), Refusal> {
    let (_, rule) = scoped(rule).map_err(|message| Refusal { message, hint: None })?;
    beyond(&rule).map_or(Ok(()), Err)
}

/// Why a rule asks for more than the window itself.
fn beyond(rule: &Rule) -> Option<Refusal> {
    let (what, hint) = match &rule.kind {
        RuleKind::Sql { .. } => ("an engine for SQL", "say it with `where` and a check of a column"),
        RuleKind::References { .. } => {
            ("another table", "in_set: [...] with the values, or `references` under `checks` of a dataset")
        }
        RuleKind::RowsEqual(_) => ("another table", "rows: { min: ..., max: ... }"),
        RuleKind::SameSchema(_) => ("another table", "columns: [...]"),
        RuleKind::Drift { .. } => {
            ("another table", "the monitor's own `drift` compares with the training data")
        }
        _ => return None,
    };
    let message = format!(
        "`{}` asks for {what}, and a window of predictions has only its own inputs",
        rule.kind.name()
    );
    Some(Refusal { message, hint: Some(hint.to_owned()) })
}

/// Runs the checks on inputs; `now` is the time that `fresh` goes by, and of `few` rows only their number
/// counts. So many failing rows of each rule are remembered.
///
/// # Errors
/// When a rule cannot be asked of live inputs, or the rows cannot be looked at.
pub fn check(
    checks: &LiveChecks,
    inputs: &Inputs<'_>,
    now: Timestamp,
    few: bool,
    keep: usize,
) -> Result<(Quality, CheckReport), Error> {
    let (mut rules, mut left_out) = (Vec::new(), Vec::new());
    let parsed = |written| Ok(scoped(written).map_err(|reason| Error::Check { reason, hint: None })?.1);
    let written: Vec<Rule> = checks.rules.iter().map(parsed).collect::<Result<_, Error>>()?;
    // Of all that is written, so that a rule has its name also in a window that others are not asked of.
    let names = Names::of(&written);
    for rule in written {
        let refused = beyond(&rule);
        if matches!(checks.of, SuiteOf::Dataset(_)) {
            if let Some(why) = refused.map(|refusal| refusal.message).or_else(|| foreign(&rule, inputs)) {
                left_out.push(LeftOut { rule: rule.to_string(), why });
                continue;
            }
        } else if let Some(Refusal { message, hint }) = refused {
            return Err(Error::Check { reason: message, hint });
        }
        rules.push(rule);
    }
    if few {
        rules.retain(counts_rows);
    }
    let context = Context { now, keep, ..Context::default() };
    let report = checks::evaluate(&checks::Suite { rules }, &inputs.table, &context)?;
    Ok((Quality::of(&report, inputs, &names, left_out), report))
}

/// Why a rule that was written for a dataset's files is not about the inputs of predictions.
fn foreign(rule: &Rule, inputs: &Inputs<'_>) -> Option<String> {
    if rule.columns.is_empty() || matches!(rule.kind, RuleKind::Exists { .. }) {
        return Some("it is about the files of the dataset".to_owned());
    }
    let missing = rule.needs().into_iter().find(|column| !inputs.has(column))?;
    Some(format!("`{missing}` is not sent with predictions"))
}

/// Whether it is about nothing but how many rows there are.
fn counts_rows(rule: &Rule) -> bool {
    matches!(rule.kind, RuleKind::Rows(_)) && rule.condition.is_none() && rule.slices.is_none()
}

impl Quality {
    fn of(report: &CheckReport, inputs: &Inputs<'_>, names: &Names, left_out: Vec<LeftOut>) -> Self {
        let broken = |severity| report.failures().filter(|result| result.severity == severity).count() as u64;
        let mut rules = Vec::with_capacity(report.rules.len());
        for result in &report.rules {
            let named = result.sample.iter().filter(|_| !result.passed).take(NAMED);
            let predictions = named.filter_map(|sample| offender(inputs, sample)).collect();
            let alert = names.get(result);
            // A row's number says nothing once the window is gone.
            let result = RuleResult { sample: Vec::new(), failing: Vec::new(), ..result.clone() };
            rules.push(Finding { alert, result, predictions });
        }
        Self {
            passed: report.passed,
            failed: broken(Severity::Error),
            warnings: broken(Severity::Warning),
            notes: broken(Severity::Info),
            rules,
            left_out,
        }
    }

    /// The rules that do not hold, whatever their severity.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.rules.iter().filter(|finding| !finding.result.passed)
    }

    /// How many rules were asked and how many do not hold, in a few words.
    pub fn verdict(&self) -> String {
        let many = |count: u64, noun: &str| (count > 0).then(|| format!("{count} {noun}{}", plural(count)));
        let failed = (self.failed > 0).then(|| format!("{} failed", self.failed));
        let broken: Vec<String> = [failed, many(self.warnings, "warning"), many(self.notes, "note")]
            .into_iter()
            .flatten()
            .collect();
        match (self.rules.len(), broken.as_slice()) {
            (0, _) => "–".to_owned(),
            (asked, []) => format!("{asked} passed"),
            (asked, broken) => format!("{} of {asked}", broken.join(", ")),
        }
    }
}

fn offender(inputs: &Inputs<'_>, sample: &Sample) -> Option<Offender> {
    let observation = &inputs.at(sample.row)?.observation;
    let (prediction, event_time) = (observation.prediction_id.clone(), observation.event_time);
    Some(Offender { prediction, event_time, value: sample.value.clone() })
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The names of rules, each once. Results of slices share that of their rule.
struct Names {
    /// By plain name: what tells the rules of that name apart, and what each is called.
    known: BTreeMap<String, Vec<(String, Severity, String)>>,
}

impl Names {
    /// The first rule of a name has it plain, and the others a number that no other name ends in.
    fn of(rules: &[Rule]) -> Self {
        let mut known: BTreeMap<String, Vec<(String, Severity, String)>> = BTreeMap::new();
        for rule in rules {
            let plain = plain(rule.name.as_deref(), &rule.columns, rule.kind.name());
            let same = known.entry(plain.clone()).or_default();
            let expected = rule.expected();
            if !same.iter().any(|(text, severity, _)| *text == expected && *severity == rule.severity) {
                same.push((expected, rule.severity, plain));
            }
        }
        let mut taken: BTreeSet<String> = known.keys().cloned().collect();
        for (plain, same) in &mut known {
            let mut number = 1_u64;
            for (_, _, name) in same.iter_mut().skip(1) {
                number += 1;
                while !taken.insert(format!("{plain}.{number}")) {
                    number += 1;
                }
                *name = format!("{plain}.{number}");
            }
        }
        Self { known }
    }

    fn get(&self, result: &RuleResult) -> String {
        let plain = plain(result.name.as_deref(), &result.columns, &result.check);
        let mut same = self.known.get(&plain).into_iter().flatten();
        let found = same.find(|(text, severity, _)| *text == result.expected && *severity == result.severity);
        found.map_or(plain, |(_, _, name)| name.clone())
    }
}

fn plain(name: Option<&str>, columns: &[String], check: &str) -> String {
    one_line(&match (name, columns) {
        (Some(name), _) => name.to_owned(),
        (None, []) => check.to_owned(),
        (None, columns) => format!("{}.{check}", columns.join("-")),
    })
}

/// A text without anything that a terminal would obey.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
