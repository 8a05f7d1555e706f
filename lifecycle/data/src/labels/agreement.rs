//! How far annotators agree, beyond what chance would give.
//!
//! Cohen's kappa for two (Cohen 1960), Fleiss' kappa where every item has the same number of ratings (Fleiss
//! 1971), Krippendorff's alpha for nominal values for any number, with gaps (Krippendorff 2011, "Computing
//! Krippendorff's alpha-reliability"). 1 is agreement in all, 0 what chance would give.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Label;

/// How far annotators agree on one question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// The question, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// Annotators.
    pub annotators: usize,
    /// Items with labels of two or more of them.
    pub items: usize,
    /// The share of pairs of labels of one item that are the same.
    pub observed: f64,
    /// Cohen's kappa, of two annotators, on the items that both have labelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cohen_kappa: Option<f64>,
    /// Fleiss' kappa, where each item has as many labels as any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleiss_kappa: Option<f64>,
    /// Krippendorff's alpha for nominal values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub krippendorff_alpha: Option<f64>,
    /// Items on which they do not agree, those with the most disagreement first; at most ten.
    pub disputed: Vec<String>,
}

/// What each annotator said of each item: item → annotator → label.
type Ratings<'a> = BTreeMap<&'a str, BTreeMap<&'a str, String>>;

/// All that each annotator said of each item: item → annotator → labels.
type Answers<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<&'a str>>>;

/// The agreement on each question that two or more annotators have answered. Of an annotator who gives an
/// item several labels they are taken together as one answer; regions are not compared.
pub fn of(labels: &[Label]) -> Vec<Agreement> {
    let mut questions: BTreeMap<Option<&str>, Answers<'_>> = BTreeMap::new();
    for label in labels.iter().filter(|label| label.region.is_none() && label.shape.is_none()) {
        let Some(annotator) = &label.annotator else { continue };
        let items = questions.entry(label.question.as_deref()).or_default();
        items.entry(&label.item).or_default().entry(annotator).or_default().insert(&label.label);
    }
    let several = questions.len() > 1;
    let answers = questions.into_iter().filter_map(|(question, items)| {
        let joined = |labels: BTreeSet<&str>| labels.into_iter().collect::<Vec<_>>().join(" + ");
        let ratings: Ratings<'_> = items
            .into_iter()
            .map(|(item, by)| (item, by.into_iter().map(|(who, labels)| (who, joined(labels))).collect()))
            .collect();
        let question = question.filter(|_| several).map(str::to_owned);
        measure(&ratings).map(|agreement| Agreement { question, ..agreement })
    });
    answers.collect()
}

fn measure(ratings: &Ratings<'_>) -> Option<Agreement> {
    let annotators: BTreeSet<&str> = ratings.values().flat_map(|by| by.keys().copied()).collect();
    let shared: Vec<(&str, Vec<&str>)> = ratings
        .iter()
        .filter(|(_, by)| by.len() >= 2)
        .map(|(item, by)| (*item, by.values().map(String::as_str).collect()))
        .collect();
    if annotators.len() < 2 || shared.is_empty() {
        return None;
    }
    let units: Vec<BTreeMap<&str, f64>> = shared.iter().map(|(_, labels)| counted(labels)).collect();
    let (agreeing, pairs) = units.iter().fold((0.0, 0.0), |(agreeing, pairs), unit| {
        let ratings: f64 = unit.values().sum();
        (agreeing + unit.values().map(|n| n * (n - 1.0)).sum::<f64>(), pairs + ratings * (ratings - 1.0))
    });
    let mut disputed: Vec<(f64, &str)> = shared
        .iter()
        .zip(&units)
        .filter(|(_, unit)| unit.len() > 1)
        .map(|((item, labels), unit)| {
            let most = unit.values().copied().fold(0.0, f64::max);
            (most / labels.len() as f64, *item)
        })
        .collect();
    disputed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
    Some(Agreement {
        question: None,
        annotators: annotators.len(),
        items: shared.len(),
        observed: agreeing / pairs,
        cohen_kappa: (annotators.len() == 2).then(|| cohen(&annotators, ratings)).flatten(),
        fleiss_kappa: fleiss(&units),
        krippendorff_alpha: krippendorff(&units),
        disputed: disputed.into_iter().take(10).map(|(_, item)| item.to_owned()).collect(),
    })
}

fn counted<'a>(labels: &[&'a str]) -> BTreeMap<&'a str, f64> {
    labels.iter().fold(BTreeMap::new(), |mut counts, label| {
        *counts.entry(*label).or_default() += 1.0;
        counts
    })
}

/// Nothing where chance alone would give full agreement: then there is nothing to measure.
fn beyond_chance(observed: f64, expected: f64) -> Option<f64> {
    (expected < 1.0).then(|| (observed - expected) / (1.0 - expected))
}

fn cohen(annotators: &BTreeSet<&str>, ratings: &Ratings<'_>) -> Option<f64> {
    let mut both = annotators.iter();
    let (one, other) = (both.next()?, both.next()?);
    let pairs: Vec<(&String, &String)> =
        ratings.values().filter_map(|by| Some((by.get(one)?, by.get(other)?))).collect();
    let count = pairs.len() as f64;
    let same = pairs.iter().filter(|(a, b)| a == b).count() as f64;
    let mut said: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (a, b) in &pairs {
        said.entry(a).or_default().0 += 1.0;
        said.entry(b).or_default().1 += 1.0;
    }
    let expected: f64 = said.values().map(|(a, b)| a * b).sum::<f64>() / (count * count);
    beyond_chance(same / count, expected)
}

fn fleiss(units: &[BTreeMap<&str, f64>]) -> Option<f64> {
    let raters: f64 = units.first()?.values().sum();
    if units.iter().any(|unit| unit.values().sum::<f64>() != raters) {
        return None;
    }
    let count = units.len() as f64;
    let mut totals: BTreeMap<&str, f64> = BTreeMap::new();
    let mut observed = 0.0;
    for unit in units {
        observed += unit.values().map(|n| n * (n - 1.0)).sum::<f64>() / (raters * (raters - 1.0));
        unit.iter().for_each(|(label, n)| *totals.entry(label).or_default() += n);
    }
    let expected: f64 = totals.values().map(|n| (n / (count * raters)).powi(2)).sum();
    beyond_chance(observed / count, expected)
}

fn krippendorff(units: &[BTreeMap<&str, f64>]) -> Option<f64> {
    let mut totals: BTreeMap<&str, f64> = BTreeMap::new();
    let (mut disagreeing, mut values) = (0.0, 0.0);
    for unit in units {
        let ratings: f64 = unit.values().sum();
        let different: f64 = unit.values().map(|n| n * (ratings - n)).sum();
        disagreeing += different / (ratings - 1.0);
        values += ratings;
        unit.iter().for_each(|(label, n)| *totals.entry(label).or_default() += n);
    }
    let expected: f64 = totals.values().map(|n| n * (values - n)).sum::<f64>() / (values - 1.0);
    (expected > 0.0).then(|| 1.0 - disagreeing / expected)
}
