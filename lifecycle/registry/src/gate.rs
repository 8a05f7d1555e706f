//! Gates: may this version serve?
//!
//! A gate never locks for ever. Objectives are judged on the bound of a confidence interval; without a
//! champion there is none to beat; and with `improves` a challenger that misses an objective by less than
//! the champion does may still take its place, since keeping the champion would be worse.

use rondo_core::evaluation::Evaluation;
use rondo_core::metric;
use rondo_core::objective::{Objective, Verdict};
use rondo_project::project::Gate;
use serde::{Deserialize, Serialize};

/// What a gate says, rule by rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// Whether the version may serve.
    pub passed: bool,
    /// The rules, in the order of the project file.
    pub rules: Vec<RuleResult>,
    /// What each objective says of the challenger.
    pub verdicts: Vec<Verdict>,
    /// What each says of the champion, on the same rows.
    pub champion: Vec<Verdict>,
    /// The two side by side, where there is a champion.
    pub comparison: Option<Comparison>,
}

/// One rule of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleResult {
    /// `objectives` or `beats_champion`.
    pub rule: String,
    /// Whether it passed.
    pub passed: bool,
    /// Why, in one sentence.
    pub note: String,
}

/// Challenger and champion on the same rows, which neither was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The metric.
    pub metric: String,
    /// The challenger's value.
    pub challenger: f64,
    /// The champion's value.
    pub champion: f64,
    /// Whether more of it is better.
    pub higher_is_better: bool,
}

impl Comparison {
    /// Whether the challenger is strictly better.
    pub fn challenger_wins(&self) -> bool {
        if self.higher_is_better { self.challenger > self.champion } else { self.challenger < self.champion }
    }
}

impl GateReport {
    /// Adds a rule that failed: what no declared rule may outweigh.
    pub fn refuse(&mut self, rule: &str, note: String) {
        self.passed = false;
        self.rules.push(RuleResult { rule: rule.to_owned(), passed: false, note });
    }

    /// The first rule that failed, as a sentence; or the last of those that passed.
    pub fn reason(&self) -> String {
        self.rules
            .iter()
            .find(|rule| !rule.passed)
            .or_else(|| self.rules.last())
            .map_or_else(|| "no rule judges it".to_owned(), |rule| rule.note.clone())
    }
}

/// Judges a challenger.
///
/// `objectives` are those of the canvas; only those that a gate looks at count. `metric` is what challenger
/// and champion are compared by. `champion` is the champion's evaluation on the same rows.
pub fn judge(
    rules: &[Gate],
    objectives: &[Objective],
    metric: Option<&str>,
    challenger: &Evaluation,
    champion: Option<&Evaluation>,
) -> GateReport {
    let verdicts = verdicts(objectives, challenger);
    let champions = champion.map(|champion| self::verdicts(objectives, champion)).unwrap_or_default();
    let comparison = metric.zip(champion).and_then(|(name, champion)| {
        Some(Comparison {
            metric: name.to_owned(),
            challenger: challenger.value(name)?,
            champion: champion.value(name)?,
            higher_is_better: metric::find(name)
                .is_none_or(|known| known.direction != metric::Direction::Lower),
        })
    });
    let improves = rules.contains(&Gate::Improves);
    let mut results = Vec::new();
    for rule in rules {
        match rule {
            Gate::Objectives => results.push(objectives_rule(&verdicts, &champions, improves)),
            Gate::BeatsChampion => {
                results.push(champion_rule(champion.is_some(), metric, comparison.as_ref()));
            }
            // The one only softens the rule of the objectives, the other is for people: see `approval`.
            Gate::Improves | Gate::Approval => {}
        }
    }
    GateReport {
        passed: results.iter().all(|rule| rule.passed),
        rules: results,
        verdicts,
        champion: champions,
        comparison,
    }
}

fn verdicts(objectives: &[Objective], evaluation: &Evaluation) -> Vec<Verdict> {
    objectives
        .iter()
        .enumerate()
        .filter(|(_, objective)| objective.at_gate())
        .flat_map(|(index, objective)| objective.judge(index, evaluation))
        .collect()
}

fn objectives_rule(verdicts: &[Verdict], champions: &[Verdict], improves: bool) -> RuleResult {
    let rule = |passed, note| RuleResult { rule: "objectives".to_owned(), passed, note };
    if !verdicts.is_empty() && verdicts.iter().all(|verdict| !verdict.judged) {
        let note = verdicts.iter().find_map(|verdict| verdict.note.clone()).unwrap_or_default();
        return rule(false, format!("no objective could be judged: {note}"));
    }
    let missed: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.passed).collect();
    if missed.is_empty() {
        let judged = verdicts.iter().filter(|verdict| verdict.judged).count();
        return rule(true, format!("all objectives hold ({judged} judged)"));
    }
    let worse_by_champion = |verdict: &&Verdict| {
        champions.iter().any(|champion| {
            champion.objective == verdict.objective
                && champion.slice == verdict.slice
                && champion.miss > verdict.miss
        })
    };
    let names = |verdicts: &[&Verdict]| {
        verdicts.iter().map(|verdict| sentence(verdict)).collect::<Vec<_>>().join("; ")
    };
    let (softened, hard): (Vec<&Verdict>, Vec<&Verdict>) =
        missed.into_iter().partition(|verdict| improves && worse_by_champion(verdict));
    if hard.is_empty() {
        return rule(true, format!("misses by less than the champion: {}", names(&softened)));
    }
    rule(false, names(&hard))
}

fn champion_rule(exists: bool, metric: Option<&str>, comparison: Option<&Comparison>) -> RuleResult {
    let rule = |passed, note| RuleResult { rule: "beats_champion".to_owned(), passed, note };
    match comparison {
        _ if !exists => rule(true, "no champion".to_owned()),
        None => rule(
            false,
            format!(
                "cannot be compared with the champion: `{}` was not measured",
                metric.unwrap_or("metric")
            ),
        ),
        Some(both) => {
            let Comparison { metric, challenger, champion, .. } = both;
            let wins = both.challenger_wins();
            let verb = if wins { "beats" } else { "does not beat" };
            rule(wins, format!("{verb} the champion: {metric} {challenger:.4} against {champion:.4}"))
        }
    }
}

/// `roc_auc ≥ 0.66: 0.612 (bound 0.634)`, with the slice where there is one.
fn sentence(verdict: &Verdict) -> String {
    let slice = verdict.slice.as_ref().map_or_else(String::new, |slice| format!(" [{slice}]"));
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    format!("{}{slice}: {} (bound {})", verdict.text, number(verdict.value), number(verdict.bound))
}

#[cfg(test)]
mod tests {
    use rondo_core::evaluation::Metric;

    use super::*;

    const ALL: [Gate; 3] = [Gate::Objectives, Gate::BeatsChampion, Gate::Improves];

    fn scored(auc: f64) -> Evaluation {
        Evaluation {
            rows: 1000,
            positives: Some(300),
            metrics: vec![Metric::with_interval("roc_auc", auc, auc - 0.01, auc + 0.01)],
            ..Evaluation::default()
        }
    }

    fn objective() -> Vec<Objective> {
        vec![Objective {
            metric: "roc_auc".into(),
            min: Some(0.7),
            max: None,
            slice: None,
            by: None,
            min_rows: 0,
            min_positives: 0,
            on: None,
        }]
    }

    #[test]
    fn the_first_version_has_no_champion_to_beat() {
        let report = judge(&ALL, &objective(), Some("roc_auc"), &scored(0.72), None);
        assert!(report.passed);
        assert_eq!(report.rules[1].note, "no champion");
    }

    #[test]
    fn the_first_version_must_still_reach_the_objectives() {
        let report = judge(&ALL, &objective(), Some("roc_auc"), &scored(0.6), None);
        assert!(!report.passed);
        assert_eq!(report.reason(), "roc_auc ≥ 0.7: 0.6000 (bound 0.6100)");
    }

    #[test]
    fn a_challenger_that_misses_by_less_may_replace_a_champion_that_misses_by_more() {
        let (challenger, champion) = (scored(0.66), scored(0.62));
        let softened = judge(&ALL, &objective(), Some("roc_auc"), &challenger, Some(&champion));
        assert!(softened.passed, "{softened:?}");
        let hard = judge(&ALL[..2], &objective(), Some("roc_auc"), &challenger, Some(&champion));
        assert!(!hard.passed);
    }

    #[test]
    fn a_worse_challenger_stays_out() {
        let report = judge(&ALL, &objective(), Some("roc_auc"), &scored(0.71), Some(&scored(0.73)));
        assert!(!report.passed);
        assert_eq!(report.reason(), "does not beat the champion: roc_auc 0.7100 against 0.7300");
    }

    #[test]
    fn a_gate_that_could_judge_nothing_stays_shut() {
        let empty = Evaluation::default();
        let report = judge(&ALL, &objective(), Some("roc_auc"), &empty, None);
        assert!(!report.passed);
        assert_eq!(report.reason(), "no objective could be judged: not judged: `roc_auc` was not measured");
    }

    #[test]
    fn less_is_better_where_the_metric_says_so() {
        let with = |loss: f64| Evaluation { metrics: vec![Metric::plain("log_loss", loss)], ..scored(0.8) };
        let report = judge(&ALL[1..2], &[], Some("log_loss"), &with(0.40), Some(&with(0.45)));
        assert!(report.passed);
    }
}
