//! The models themselves: linear ones and trees.

use std::collections::HashSet;
use std::sync::Arc;

use super::encode::class_labels;
use super::{Compiled, Settings, Values, input, unary};
use crate::engine::forest::{Aggregate, Branch, Forest, Mode, RawForest, RawNode};
use crate::engine::tensor::{Data, Outcome, Tensor, elements};
use crate::engine::transform::PostTransform;

/// Classes that a classifier may have.
const MAX_TARGETS: usize = 10_000;

fn post_transform(settings: &Settings<'_>) -> Outcome<PostTransform> {
    let name = settings.text("post_transform", "NONE")?;
    PostTransform::named(name)
        .ok_or_else(|| format!("there is no post_transform `{}`", String::from_utf8_lossy(name)))
}

/// Labels as a classifier gives them out.
enum Labels {
    Numbers(Vec<i64>),
    Words(Vec<Arc<str>>),
}

impl Labels {
    fn new(classes: &[String], are_words: bool) -> Self {
        let numbers = || classes.iter().map(|label| label.parse().ok()).collect::<Option<Vec<i64>>>();
        match (are_words, numbers()) {
            (false, Some(numbers)) => Self::Numbers(numbers),
            _ => Self::Words(classes.iter().map(|label| Arc::from(label.as_str())).collect()),
        }
    }

    /// The label of the largest score of each row; of equal ones the first.
    fn of(&self, scores: &[f64], classes: usize) -> Outcome<Tensor> {
        let places: Vec<usize> = scores
            .chunks_exact(classes.max(1))
            .map(|row| {
                let first = (0, row.first().copied().unwrap_or(f64::NAN));
                row.iter()
                    .copied()
                    .enumerate()
                    .fold(first, |best, one| if one.1 > best.1 { one } else { best })
                    .0
            })
            .collect();
        let data = match self {
            Self::Numbers(labels) => {
                Data::I64(places.iter().filter_map(|place| labels.get(*place).copied()).collect())
            }
            Self::Words(labels) => {
                Data::Text(places.iter().filter_map(|place| labels.get(*place).cloned()).collect())
            }
        };
        Tensor::new(vec![places.len()], data)
    }
}

/// A classifier's two outputs: label and scores of each row.
fn answer(labels: &Labels, scores: &[f64], classes: usize) -> Outcome<Vec<Tensor>> {
    let rows = scores.len() / classes.max(1);
    let table = scores.iter().map(|score| *score as f32).collect();
    Ok(vec![labels.of(scores, classes)?, Tensor::table(rows, classes, table)?])
}

/// A linear model's weights: so many targets, each over all features.
struct Linear {
    coefficients: Vec<f64>,
    intercepts: Vec<f64>,
    targets: usize,
}

impl Linear {
    fn new(settings: &Settings<'_>, targets: usize) -> Outcome<Self> {
        let wide =
            |name| Ok::<_, String>(settings.floats(name)?.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        let (coefficients, mut intercepts) = (wide("coefficients")?, wide("intercepts")?);
        if targets == 0 || coefficients.is_empty() || !coefficients.len().is_multiple_of(targets) {
            return Err(format!("its {} coefficients do not fit {targets} targets", coefficients.len()));
        }
        if intercepts.is_empty() {
            intercepts = vec![0.0; targets];
        }
        if intercepts.len() != targets {
            return Err(format!("it has {} intercepts for {targets} targets", intercepts.len()));
        }
        Ok(Self { coefficients, intercepts, targets })
    }

    /// The sum of each row and target, row after row.
    fn sums(&self, tensor: &Tensor) -> Outcome<Vec<f64>> {
        let (rows, width) = tensor.rows_and_width();
        let features = self.coefficients.len() / self.targets;
        if width != features {
            return Err(format!("it weighs {features} features, and it gets {width}"));
        }
        let values = tensor.to_f64()?;
        let mut sums = Vec::with_capacity(elements(&[rows, self.targets])?);
        for row in values.chunks_exact(features) {
            for (weights, intercept) in self.coefficients.chunks_exact(features).zip(&self.intercepts) {
                sums.push(
                    row.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f64>() + intercept,
                );
            }
        }
        Ok(sums)
    }
}

/// `LinearClassifier`.
pub fn linear_classifier(settings: &Settings<'_>) -> Outcome<Compiled> {
    let classes = class_labels(settings, "classlabels_ints", "classlabels_strings")?;
    let are_words = !settings.texts("classlabels_strings")?.is_empty();
    let post = post_transform(settings)?;
    let given = settings.floats("intercepts")?.len();
    // A binary model may have weights for the positive class only.
    let one_sided = classes.len() == 2 && given == 1;
    let targets = if one_sided { 1 } else { classes.len().max(given) };
    if classes.len() != targets && !one_sided {
        return Err(format!("it has {} labels for {targets} classes", classes.len()));
    }
    let linear = Linear::new(settings, targets)?;
    let labels = Labels::new(&classes, are_words);
    let count = classes.len();
    let run = move |inputs: &[Option<&Tensor>], _: Values| {
        let mut scores = linear.sums(input(inputs, 0)?)?;
        if one_sided {
            scores = scores.iter().flat_map(|score| post.both_classes(*score, false)).collect();
        } else {
            scores.chunks_exact_mut(count.max(1)).for_each(|row| post.apply(row));
        }
        answer(&labels, &scores, count)
    };
    Ok(Compiled { run: Box::new(run), classes })
}

/// `LinearRegressor`.
pub fn linear_regressor(settings: &Settings<'_>) -> Outcome<Compiled> {
    let targets = usize::try_from(settings.int("targets", 1)?).map_err(|_| "it has no targets".to_owned())?;
    let post = post_transform(settings)?;
    let linear = Linear::new(settings, targets)?;
    unary(move |tensor| {
        let mut sums = linear.sums(tensor)?;
        sums.chunks_exact_mut(targets).for_each(|row| post.apply(row));
        let rows = sums.len() / targets;
        Tensor::table(rows, targets, sums.iter().map(|sum| *sum as f32).collect())
    })
}

/// Asks a forest about a table, in the width of the table's numbers.
fn ask(forest: &Forest, tensor: &Tensor, aggregate: Aggregate) -> Outcome<Vec<f64>> {
    let (_, width) = tensor.rows_and_width();
    match tensor.data() {
        Data::F32(values) => forest.ask(values, width, aggregate),
        Data::F64(values) => forest.ask(values, width, aggregate),
        Data::I64(_) | Data::Bool(_) | Data::Text(_) => forest.ask(&tensor.to_f32()?, width, aggregate),
    }
}

/// The trees of operator sets 1 to 4: parallel lists of nodes, and of votes under a prefix.
fn listed_forest(settings: &Settings<'_>, votes: &str, targets: usize) -> Outcome<Forest> {
    if targets == 0 || targets > MAX_TARGETS {
        return Err(format!("it has {targets} targets, and 1 to {MAX_TARGETS} are allowed"));
    }
    let ids = settings.ints("nodes_nodeids")?;
    let same = |name: &str, length: usize| {
        if length == ids.len() {
            Ok(())
        } else {
            Err(format!("`{name}` has {length} entries for {} nodes", ids.len()))
        }
    };
    let trees = settings.ints("nodes_treeids")?;
    let features = settings.ints("nodes_featureids")?;
    let modes = settings.texts("nodes_modes")?;
    let (yes, no) = (settings.ints("nodes_truenodeids")?, settings.ints("nodes_falsenodeids")?);
    let (thresholds, wide) = settings.numbers("nodes_values")?;
    let missing = settings.ints("nodes_missing_value_tracks_true")?;
    same("nodes_treeids", trees.len())?;
    same("nodes_featureids", features.len())?;
    same("nodes_modes", modes.len())?;
    same("nodes_truenodeids", yes.len())?;
    same("nodes_falsenodeids", no.len())?;
    same("nodes_values", thresholds.len())?;
    if !missing.is_empty() {
        same("nodes_missing_value_tracks_true", missing.len())?;
    }
    let mut raw = RawForest { targets, wide, ..RawForest::default() };
    let links = yes.iter().zip(no);
    let questions = features.iter().zip(&thresholds);
    for (place, ((((tree, id), mode), (yes, no)), (feature, threshold))) in
        trees.iter().zip(ids).zip(modes).zip(links).zip(questions).enumerate()
    {
        let node = if *mode == b"LEAF" {
            RawNode::Leaf
        } else {
            let mode = mode
                .strip_prefix(b"BRANCH_")
                .and_then(Mode::named)
                .ok_or_else(|| format!("there is no node mode `{}`", String::from_utf8_lossy(mode)))?;
            let feature =
                u32::try_from(*feature).map_err(|_| format!("a node asks about feature {feature}"))?;
            let missing_true = missing.get(place).is_some_and(|value| *value != 0);
            RawNode::Branch(Branch { mode, feature, threshold: *threshold, missing_true, yes: *yes, no: *no })
        };
        raw.nodes.push((*tree, *id, node));
    }
    let vote_trees = settings.ints(&format!("{votes}_treeids"))?;
    let vote_nodes = settings.ints(&format!("{votes}_nodeids"))?;
    let vote_targets = settings.ints(&format!("{votes}_ids"))?;
    let (weights, _) = settings.numbers(&format!("{votes}_weights"))?;
    if [vote_nodes.len(), vote_targets.len(), weights.len()] != [vote_trees.len(); 3] {
        return Err(format!("the lists of its leaves (`{votes}_…`) differ in length"));
    }
    for (((tree, node), target), weight) in vote_trees.iter().zip(vote_nodes).zip(vote_targets).zip(weights) {
        let target = u32::try_from(*target).map_err(|_| format!("a leaf votes for target {target}"))?;
        raw.weights.push((*tree, *node, target, weight));
    }
    Forest::build(&raw)
}

/// `TreeEnsembleClassifier`.
///
/// Two classes of which only one gets votes are one score: it is the positive class's, and what it means
/// for the other follows from the post-transform, or, where nothing is transformed, from whether it is a
/// share of votes (no weight below zero) or a margin.
pub fn tree_ensemble_classifier(settings: &Settings<'_>) -> Outcome<Compiled> {
    let classes = class_labels(settings, "classlabels_int64s", "classlabels_strings")?;
    let are_words = !settings.texts("classlabels_strings")?.is_empty();
    let count = classes.len();
    let post = post_transform(settings)?;
    let (base, _) = settings.numbers("base_values")?;
    let forest = listed_forest(settings, "class", count)?;
    let labels = Labels::new(&classes, are_words);
    let one_sided = count == 2 && !(forest.votes_for(0) && forest.votes_for(1));
    let side = usize::from(one_sided && forest.votes_for(1));
    if !base.is_empty() && base.len() != count && !(one_sided && base.len() == 1) {
        return Err(format!("it has {} base values for {count} classes", base.len()));
    }
    let run = move |inputs: &[Option<&Tensor>], _: Values| {
        let mut scores = ask(&forest, input(inputs, 0)?, Aggregate::Sum)?;
        if one_sided {
            let start = base.get(1).or_else(|| base.first()).copied().unwrap_or(0.0);
            for row in scores.chunks_exact_mut(2) {
                let score = row.get(side).copied().unwrap_or(0.0) + start;
                row.copy_from_slice(&post.both_classes(score, forest.all_positive()));
            }
        } else {
            for row in scores.chunks_exact_mut(count.max(1)) {
                row.iter_mut().zip(&base).for_each(|(score, base)| *score += base);
                post.apply(row);
            }
        }
        answer(&labels, &scores, count)
    };
    Ok(Compiled { run: Box::new(run), classes })
}

/// `TreeEnsembleRegressor`.
pub fn tree_ensemble_regressor(settings: &Settings<'_>) -> Outcome<Compiled> {
    let targets =
        usize::try_from(settings.int("n_targets", 1)?).map_err(|_| "it has no targets".to_owned())?;
    let aggregate = match settings.text("aggregate_function", "SUM")? {
        b"SUM" => Aggregate::Sum,
        b"AVERAGE" => Aggregate::Average,
        b"MIN" => Aggregate::Min,
        b"MAX" => Aggregate::Max,
        other => return Err(format!("there is no aggregate_function `{}`", String::from_utf8_lossy(other))),
    };
    let (base, _) = settings.numbers("base_values")?;
    let forest = listed_forest(settings, "target", targets)?;
    regressor(forest, aggregate, base, post_transform(settings)?)
}

fn regressor(forest: Forest, aggregate: Aggregate, base: Vec<f64>, post: PostTransform) -> Outcome<Compiled> {
    let targets = forest.targets();
    if !base.is_empty() && base.len() != targets {
        return Err(format!("it has {} base values for {targets} targets", base.len()));
    }
    unary(move |tensor| {
        let mut sums = ask(&forest, tensor, aggregate)?;
        for row in sums.chunks_exact_mut(targets.max(1)) {
            row.iter_mut().zip(&base).for_each(|(sum, base)| *sum += base);
            post.apply(row);
        }
        let rows = sums.len() / targets.max(1);
        match tensor.data() {
            Data::F64(_) => Tensor::new(vec![rows, targets], Data::F64(sums)),
            Data::F32(_) | Data::I64(_) | Data::Bool(_) | Data::Text(_) => {
                Tensor::table(rows, targets, sums.iter().map(|sum| *sum as f32).collect())
            }
        }
    })
}

/// `TreeEnsemble` of operator set 5: branches and leaves in lists of their own.
pub fn tree_ensemble(settings: &Settings<'_>) -> Outcome<Compiled> {
    let targets =
        usize::try_from(settings.int("n_targets", 1)?).map_err(|_| "it has no targets".to_owned())?;
    if targets == 0 || targets > MAX_TARGETS {
        return Err(format!("it has {targets} targets, and 1 to {MAX_TARGETS} are allowed"));
    }
    let aggregate = match settings.int("aggregate_function", 1)? {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Err(format!("there is no aggregate_function {other}")),
    };
    let number = settings.int("post_transform", 0)?;
    let post =
        PostTransform::numbered(number).ok_or_else(|| format!("there is no post_transform {number}"))?;
    let splits = settings.tensor("nodes_splits")?.ok_or("it has no `nodes_splits`")?;
    let weights = settings.tensor("leaf_weights")?.ok_or("it has no `leaf_weights`")?.to_f64()?;
    let modes = settings.tensor("nodes_modes")?.ok_or("it has no `nodes_modes`")?.to_i64()?;
    let lists = Lists {
        wide: matches!(splits.data(), Data::F64(_)),
        splits: splits.to_f64()?,
        modes,
        features: settings.ints("nodes_featureids")?,
        yes: settings.ints("nodes_truenodeids")?,
        no: settings.ints("nodes_falsenodeids")?,
        yes_leaf: settings.ints("nodes_trueleafs")?,
        no_leaf: settings.ints("nodes_falseleafs")?,
        missing: settings.ints("nodes_missing_value_tracks_true")?,
        leaf_targets: settings.ints("leaf_targetids")?,
        weights,
    };
    let raw = lists.forest(settings.ints("tree_roots")?, targets)?;
    regressor(Forest::build(&raw)?, aggregate, Vec::new(), post)
}

/// The lists of a `TreeEnsemble`.
struct Lists<'a> {
    wide: bool,
    splits: Vec<f64>,
    modes: Vec<i64>,
    features: &'a [i64],
    yes: &'a [i64],
    no: &'a [i64],
    yes_leaf: &'a [i64],
    no_leaf: &'a [i64],
    missing: &'a [i64],
    leaf_targets: &'a [i64],
    weights: Vec<f64>,
}

impl Lists<'_> {
    /// Walks every tree once and gives its nodes and leaves ids of one kind.
    fn forest(&self, roots: &[i64], targets: usize) -> Outcome<RawForest> {
        let mut raw = RawForest { targets, wide: self.wide, ..RawForest::default() };
        let mut seen: HashSet<usize> = HashSet::new();
        for (tree, root) in roots.iter().enumerate() {
            let tree = tree as i64;
            let mut next = 1_i64;
            let mut waiting = vec![(*root, false, 0_i64)];
            while let Some((index, is_leaf, id)) = waiting.pop() {
                let index =
                    usize::try_from(index).map_err(|_| format!("tree {tree} refers to node {index}"))?;
                if is_leaf {
                    let (target, weight) = self
                        .leaf_targets
                        .get(index)
                        .and_then(|target| u32::try_from(*target).ok())
                        .zip(self.weights.get(index))
                        .ok_or_else(|| {
                            format!("tree {tree} refers to leaf {index}, which it does not have")
                        })?;
                    raw.nodes.push((tree, id, RawNode::Leaf));
                    raw.weights.push((tree, id, target, *weight));
                    continue;
                }
                if !seen.insert(index) {
                    return Err(format!("node {index} is reached twice"));
                }
                let branch = self.branch(index, next, next + 1).ok_or_else(|| {
                    format!(
                        "tree {tree} refers to node {index}, which it does not have or which is not supported"
                    )
                })?;
                let flag = |list: &[i64]| list.get(index).is_some_and(|value| *value != 0);
                let (yes, no) =
                    self.yes.get(index).zip(self.no.get(index)).ok_or("its lists differ in length")?;
                waiting.push((*yes, flag(self.yes_leaf), next));
                waiting.push((*no, flag(self.no_leaf), next + 1));
                next += 2;
                raw.nodes.push((tree, id, RawNode::Branch(branch)));
            }
        }
        Ok(raw)
    }

    fn branch(&self, index: usize, yes: i64, no: i64) -> Option<Branch> {
        Some(Branch {
            mode: Mode::numbered(*self.modes.get(index)?)?,
            feature: u32::try_from(*self.features.get(index)?).ok()?,
            threshold: *self.splits.get(index)?,
            missing_true: self.missing.get(index).is_some_and(|value| *value != 0),
            yes,
            no,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;
    use crate::onnx::{Attribute, TensorProto};

    fn stump<'a>(weights: Vec<f32>, post: &'static [u8]) -> Vec<(&'a str, Attribute<'a>)> {
        vec![
            ("nodes_treeids", Attribute::Ints(vec![0; 3])),
            ("nodes_nodeids", Attribute::Ints(vec![0, 1, 2])),
            ("nodes_featureids", Attribute::Ints(vec![0; 3])),
            ("nodes_values", Attribute::Floats(vec![0.5, 0.0, 0.0])),
            ("nodes_modes", Attribute::Texts(vec![b"BRANCH_LEQ", b"LEAF", b"LEAF"])),
            ("nodes_truenodeids", Attribute::Ints(vec![1, 0, 0])),
            ("nodes_falsenodeids", Attribute::Ints(vec![2, 0, 0])),
            ("class_treeids", Attribute::Ints(vec![0, 0])),
            ("class_nodeids", Attribute::Ints(vec![1, 2])),
            ("class_ids", Attribute::Ints(vec![0, 0])),
            ("class_weights", Attribute::Floats(weights)),
            ("classlabels_int64s", Attribute::Ints(vec![0, 1])),
            ("post_transform", Attribute::Text(post)),
        ]
    }

    fn probabilities(attributes: Vec<(&str, Attribute<'_>)>) -> Vec<f32> {
        let table = Tensor::table(2, 1, vec![0.0, 1.0]).unwrap();
        run("ai.onnx.ml.TreeEnsembleClassifier", 1, attributes, &[&table]).unwrap()[1].to_f32().unwrap()
    }

    #[test]
    fn one_sided_votes_are_shares_margins_or_log_odds() {
        assert_eq!(probabilities(stump(vec![0.25, 0.75], b"NONE")), [0.75, 0.25, 0.25, 0.75]);
        assert_eq!(probabilities(stump(vec![-2.0, 3.0], b"NONE")), [2.0, -2.0, -3.0, 3.0]);
        let logistic = probabilities(stump(vec![0.0, 1.0], b"LOGISTIC"));
        assert!((logistic[1] - 0.5).abs() < 1e-6 && (logistic[3] - 0.731_058_6).abs() < 1e-6);
    }

    #[test]
    fn lists_of_different_length_are_refused() {
        let mut attributes = stump(vec![0.25, 0.75], b"NONE");
        attributes[2].1 = Attribute::Ints(vec![0]);
        let table = Tensor::table(1, 1, vec![0.0]).unwrap();
        let error = run("ai.onnx.ml.TreeEnsembleClassifier", 1, attributes, &[&table]).unwrap_err();
        assert!(error.to_string().contains("nodes_featureids"), "{error}");
    }

    #[test]
    fn trees_of_operator_set_five_are_read() {
        let constant =
            |data: Data| Attribute::Tensor(TensorProto { name: "", shape: vec![data.len()], data });
        let attributes = vec![
            ("n_targets", Attribute::Int(1)),
            ("tree_roots", Attribute::Ints(vec![0])),
            ("nodes_splits", constant(Data::F32(vec![0.5, 2.0]))),
            ("nodes_modes", constant(Data::I64(vec![0, 0]))),
            ("nodes_featureids", Attribute::Ints(vec![0, 0])),
            ("nodes_truenodeids", Attribute::Ints(vec![0, 1])),
            ("nodes_trueleafs", Attribute::Ints(vec![1, 1])),
            ("nodes_falsenodeids", Attribute::Ints(vec![1, 2])),
            ("nodes_falseleafs", Attribute::Ints(vec![0, 1])),
            ("leaf_targetids", Attribute::Ints(vec![0, 0, 0])),
            ("leaf_weights", constant(Data::F32(vec![1.0, 2.0, 3.0]))),
        ];
        let table = Tensor::table(3, 1, vec![0.0, 1.0, 5.0]).unwrap();
        let out = run("ai.onnx.ml.TreeEnsemble", 5, attributes, &[&table]).unwrap();
        assert_eq!(out[0].data(), &Data::F32(vec![1.0, 2.0, 3.0]));
    }

    #[test]
    fn linear_weights_have_to_fit_the_features() {
        let attributes = || {
            vec![
                ("coefficients", Attribute::Floats(vec![1.0, 2.0])),
                ("intercepts", Attribute::Floats(vec![0.5])),
            ]
        };
        let two = Tensor::table(1, 2, vec![3.0, 4.0]).unwrap();
        let out = run("ai.onnx.ml.LinearRegressor", 1, attributes(), &[&two]).unwrap();
        assert_eq!(out[0].data(), &Data::F32(vec![11.5]));
        let three = Tensor::table(1, 3, vec![0.0; 3]).unwrap();
        assert!(run("ai.onnx.ml.LinearRegressor", 1, attributes(), &[&three]).is_err());
    }
}
