//! Decision trees, flattened: every tree of an ensemble in one run of small nodes.
//!
//! A node takes 12 bytes (feature and mode, threshold, place of its true child; the false child stands
//! right after it), so that a walk down a tree touches little memory. A batch is scored tree by tree and
//! not row by row, so that the nodes of one tree stay in the processor's cache for all rows; each row's
//! sum is still taken in the order of the trees, whatever the batch. Sums are in 64 bits, as
//! scikit-learn's are.
//!
//! What comes from a file arrives as [`Branch`]es and leaves with free numbering; [`Forest::build`] checks
//! every reference (nothing missing, nothing reached twice, hence no cycles) before it lays them out.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::engine::tensor::Outcome;

/// How a node compares a feature with its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Less or equal.
    Leq = 0,
    /// Less.
    Lt = 1,
    /// Greater or equal.
    Gte = 2,
    /// Greater.
    Gt = 3,
    /// Equal.
    Eq = 4,
    /// Not equal.
    Neq = 5,
}

impl Mode {
    const ALL: [Self; 6] = [Self::Leq, Self::Lt, Self::Gte, Self::Gt, Self::Eq, Self::Neq];

    /// By its name in a model file, without `BRANCH_`.
    pub fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"LEQ" => Self::Leq,
            b"LT" => Self::Lt,
            b"GTE" => Self::Gte,
            b"GT" => Self::Gt,
            b"EQ" => Self::Eq,
            b"NEQ" => Self::Neq,
            _ => return None,
        })
    }

    /// By its number in `TreeEnsemble` of operator set 5.
    pub fn numbered(number: i64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|place| Self::ALL.get(place)).copied()
    }
}

/// How the trees' answers are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// Their mean.
    Average,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// A node as it comes from a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RawNode {
    /// It asks about a feature and goes on to one of two nodes of its tree.
    Branch(Branch),
    /// It answers.
    Leaf,
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Branch {
    /// How it compares.
    pub mode: Mode,
    /// Which feature.
    pub feature: u32,
    /// With what.
    pub threshold: f64,
    /// Whether a missing value goes the way of true.
    pub missing_true: bool,
    /// The id of the node for true.
    pub yes: i64,
    /// The id of the node for false.
    pub no: i64,
}

/// An ensemble as it comes from a file.
#[derive(Debug, Clone, Default)]
pub struct RawForest {
    /// Nodes with their tree and their id in it, in the file's order.
    pub nodes: Vec<(i64, i64, RawNode)>,
    /// Of some leaves (tree, node): target and weight.
    pub weights: Vec<(i64, i64, u32, f64)>,
    /// How many targets there are.
    pub targets: usize,
    /// Whether thresholds need 64 bits.
    pub wide: bool,
}

/// A feature's value that can be compared with a threshold without losing digits on the way.
pub trait Feature<T>: Copy + Send + Sync {
    /// Less or equal.
    fn leq(self, threshold: T) -> bool;
    /// Less.
    fn lt(self, threshold: T) -> bool;
    /// Equal.
    fn same(self, threshold: T) -> bool;
    /// Missing.
    fn missing(self) -> bool;
}

macro_rules! feature {
    ($value:ty, $threshold:ty, $common:ty) => {
        impl Feature<$threshold> for $value {
            #[inline(always)]
            fn leq(self, threshold: $threshold) -> bool {
                <$common>::from(self) <= <$common>::from(threshold)
            }
            #[inline(always)]
            fn lt(self, threshold: $threshold) -> bool {
                <$common>::from(self) < <$common>::from(threshold)
            }
            #[inline(always)]
            fn same(self, threshold: $threshold) -> bool {
                <$common>::from(self) == <$common>::from(threshold)
            }
            #[inline(always)]
            fn missing(self) -> bool {
                self.is_nan()
            }
        }
    };
}
feature!(f32, f32, f32);
feature!(f32, f64, f64);
feature!(f64, f32, f64);
feature!(f64, f64, f64);

const LEAF: u32 = 1 << 31;
const MISSING_TRUE: u32 = 1 << 30;
const MODE_SHIFT: u32 = 27;
const FEATURE: u32 = (1 << MODE_SHIFT) - 1;

/// A node in its place. Of a leaf, `next` is its row of weights and `threshold` means nothing.
#[derive(Debug, Clone, Copy)]
struct Flat<T> {
    word: u32,
    threshold: T,
    next: u32,
}

/// Trees of one threshold width.
#[derive(Debug, Clone)]
struct Trees<T> {
    nodes: Vec<Flat<T>>,
    roots: Vec<u32>,
}

#[derive(Debug, Clone)]
enum Width {
    Single(Trees<f32>),
    Double(Trees<f64>),
}

/// A whole ensemble, ready to be asked.
#[derive(Debug, Clone)]
pub struct Forest {
    trees: Width,
    /// For each leaf, where its weights begin; one more at the end.
    starts: Vec<u32>,
    /// Weights of all leaves: target and weight.
    weights: Vec<(u32, f64)>,
    /// Where every leaf votes for one and the same target: that target, and each leaf's weight.
    alone: Option<(usize, Vec<f64>)>,
    targets: usize,
    features: usize,
    plain: bool,
    all_positive: bool,
    targets_used: Vec<bool>,
}

/// Rows that one piece of work takes: their sums and the top of a tree stay in the cache.
const ROWS_AT_ONCE: usize = 256;
/// Row-tree pairs from which the work is spread over the processor's cores.
const SPREAD_FROM: usize = 100_000;

impl Forest {
    /// Checks an ensemble and lays it out.
    ///
    /// # Errors
    /// When a reference leads nowhere, a node is reached twice, a tree has no single root, or there is
    /// more than can be numbered.
    pub fn build(raw: &RawForest) -> Outcome<Self> {
        if raw.nodes.len() >= LEAF as usize || raw.weights.len() >= LEAF as usize {
            return Err("the ensemble has too many nodes".to_owned());
        }
        let mut weights: HashMap<(i64, i64), Vec<(u32, f64)>> = HashMap::new();
        let mut targets_used = vec![false; raw.targets];
        for (tree, node, target, weight) in &raw.weights {
            let used = targets_used.get_mut(*target as usize).ok_or_else(|| {
                format!("a leaf of tree {tree} votes for target {target}, and there are {}", raw.targets)
            })?;
            *used = true;
            weights.entry((*tree, *node)).or_default().push((*target, *weight));
        }
        let mut layout = Layout { starts: vec![0], ..Layout::default() };
        for tree in trees_of(raw)? {
            layout.add(&tree, &mut weights)?;
        }
        if let Some((tree, node)) = weights.keys().next() {
            return Err(format!("node {node} of tree {tree} has weights, and it is no leaf of that tree"));
        }
        let plain = layout
            .nodes
            .iter()
            .all(|node| node.word & LEAF != 0 || (node.word >> MODE_SHIFT) & 7 == Mode::Leq as u32);
        let features = layout.nodes.iter().filter(|node| node.word & LEAF == 0);
        let features = features.map(|node| (node.word & FEATURE) as usize + 1).max().unwrap_or(0);
        let all_positive = layout.weights.iter().all(|(_, weight)| *weight >= 0.0);
        let alone = alone(&layout);
        let trees = if raw.wide {
            Width::Double(Trees { nodes: layout.nodes, roots: layout.roots })
        } else {
            let nodes = layout.nodes.iter().map(|node| Flat {
                word: node.word,
                threshold: node.threshold as f32,
                next: node.next,
            });
            Width::Single(Trees { nodes: nodes.collect(), roots: layout.roots })
        };
        Ok(Self {
            trees,
            starts: layout.starts,
            weights: layout.weights,
            alone,
            targets: raw.targets,
            features,
            plain,
            all_positive,
            targets_used,
        })
    }

    /// How many features the ensemble asks about at least.
    pub const fn features(&self) -> usize {
        self.features
    }

    /// How many targets it has.
    pub const fn targets(&self) -> usize {
        self.targets
    }

    /// Whether no leaf has a weight below zero.
    pub const fn all_positive(&self) -> bool {
        self.all_positive
    }

    /// Whether any leaf votes for a target.
    pub fn votes_for(&self, target: usize) -> bool {
        self.targets_used.get(target).copied().unwrap_or(false)
    }

    /// Asks all trees about a table of so many features a row: the aggregate of each row and target,
    /// row after row.
    ///
    /// # Errors
    /// When the rows have fewer features than the trees ask about.
    pub fn ask<V>(&self, table: &[V], width: usize, aggregate: Aggregate) -> Outcome<Vec<f64>>
    where
        V: Feature<f32> + Feature<f64>,
    {
        if width < self.features {
            return Err(format!("the trees ask about {} features, and they get {width}", self.features));
        }
        if width == 0 {
            return Err("the rows have no features".to_owned());
        }
        let rows = table.len() / width;
        let mut sums = vec![0.0; rows * self.targets];
        if self.targets == 0 {
            return Ok(sums);
        }
        let trees = match &self.trees {
            Width::Single(trees) => trees.roots.len(),
            Width::Double(trees) => trees.roots.len(),
        };
        let work = |(rows, sums): (&[V], &mut [f64])| match &self.trees {
            Width::Single(trees) => self.ask_some(trees, rows, width, aggregate, sums),
            Width::Double(trees) => self.ask_some(trees, rows, width, aggregate, sums),
        };
        let (table_part, sums_part) = (ROWS_AT_ONCE * width, ROWS_AT_ONCE * self.targets);
        if rows > ROWS_AT_ONCE && rows.saturating_mul(trees) >= SPREAD_FROM {
            table.par_chunks(table_part).zip(sums.par_chunks_mut(sums_part)).for_each(work);
        } else {
            table.chunks(table_part).zip(sums.chunks_mut(sums_part)).for_each(work);
        }
        Ok(sums)
    }

    fn ask_some<T: Copy, V: Feature<T>>(
        &self,
        trees: &Trees<T>,
        table: &[V],
        width: usize,
        aggregate: Aggregate,
        sums: &mut [f64],
    ) {
        let start = match aggregate {
            Aggregate::Sum | Aggregate::Average => 0.0,
            Aggregate::Min => f64::INFINITY,
            Aggregate::Max => f64::NEG_INFINITY,
        };
        sums.fill(start);
        if let (Some((target, weights)), Aggregate::Sum, true) = (&self.alone, aggregate, self.plain) {
            // The same as below, without the choices.
            for root in &trees.roots {
                for (row, sums) in table.chunks_exact(width).zip(sums.chunks_exact_mut(self.targets)) {
                    let leaf = trees.walk_plain(*root, row) as usize;
                    if let (Some(sum), Some(weight)) = (sums.get_mut(*target), weights.get(leaf)) {
                        *sum += weight;
                    }
                }
            }
            return;
        }
        for root in &trees.roots {
            for (row, sums) in table.chunks_exact(width).zip(sums.chunks_exact_mut(self.targets)) {
                let leaf = if self.plain { trees.walk_plain(*root, row) } else { trees.walk(*root, row) };
                for (target, weight) in self.votes(leaf) {
                    if let Some(sum) = sums.get_mut(*target as usize) {
                        match aggregate {
                            Aggregate::Sum | Aggregate::Average => *sum += weight,
                            Aggregate::Min => *sum = sum.min(*weight),
                            Aggregate::Max => *sum = sum.max(*weight),
                        }
                    }
                }
            }
        }
        match aggregate {
            Aggregate::Sum => {}
            Aggregate::Average => {
                let count = trees.roots.len().max(1) as f64;
                sums.iter_mut().for_each(|sum| *sum /= count);
            }
            // A target that no tree voted for.
            Aggregate::Min | Aggregate::Max => {
                sums.iter_mut().filter(|sum| sum.is_infinite()).for_each(|sum| *sum = 0.0);
            }
        }
    }

    #[inline]
    fn votes(&self, leaf: u32) -> &[(u32, f64)] {
        let leaf = leaf as usize;
        match (self.starts.get(leaf), self.starts.get(leaf + 1)) {
            (Some(start), Some(end)) => self.weights.get(*start as usize..*end as usize).unwrap_or_default(),
            _ => &[],
        }
    }
}

impl<T: Copy> Trees<T> {
    /// Down a tree in which every comparison is `<=`: the common case.
    #[inline]
    fn walk_plain<V: Feature<T>>(&self, root: u32, row: &[V]) -> u32 {
        let mut place = root as usize;
        // Every place is inside and the walk ends: `build` has checked both.
        while let Some(node) = self.nodes.get(place) {
            if node.word & LEAF != 0 {
                return node.next;
            }
            let Some(value) = row.get((node.word & FEATURE) as usize) else { break };
            let yes = value.leq(node.threshold) || (node.word & MISSING_TRUE != 0 && value.missing());
            place = node.next as usize + usize::from(!yes);
        }
        u32::MAX
    }

    fn walk<V: Feature<T>>(&self, root: u32, row: &[V]) -> u32 {
        let mut place = root as usize;
        while let Some(node) = self.nodes.get(place) {
            if node.word & LEAF != 0 {
                return node.next;
            }
            let Some(value) = row.get((node.word & FEATURE) as usize) else { break };
            let missing = value.missing();
            let yes = match (node.word >> MODE_SHIFT) & 7 {
                0 => value.leq(node.threshold),
                1 => value.lt(node.threshold),
                2 => !missing && !value.lt(node.threshold),
                3 => !missing && !value.leq(node.threshold),
                4 => value.same(node.threshold),
                _ => !value.same(node.threshold),
            };
            let yes = yes || (missing && node.word & MISSING_TRUE != 0);
            place = node.next as usize + usize::from(!yes);
        }
        u32::MAX
    }
}

/// The weight of each leaf, where all of them vote once and for one target.
fn alone(layout: &Layout) -> Option<(usize, Vec<f64>)> {
    let target = layout.weights.first()?.0;
    let once = layout.starts.windows(2).all(|pair| matches!(pair, [start, end] if *end == *start + 1));
    let same = layout.weights.iter().all(|(one, _)| *one == target);
    (once && same).then(|| (target as usize, layout.weights.iter().map(|(_, weight)| *weight).collect()))
}

/// One tree of a file: its nodes by id, and its root.
struct RawTree {
    number: i64,
    root: i64,
    nodes: HashMap<i64, RawNode>,
}

/// Sorts nodes into trees and finds each tree's root: the one node that is nobody's child.
fn trees_of(raw: &RawForest) -> Outcome<Vec<RawTree>> {
    let mut trees: Vec<RawTree> = Vec::new();
    let mut places: HashMap<i64, usize> = HashMap::new();
    for (tree, id, node) in &raw.nodes {
        let place = *places.entry(*tree).or_insert_with(|| {
            trees.push(RawTree { number: *tree, root: *id, nodes: HashMap::new() });
            trees.len() - 1
        });
        if let Some(tree) = trees.get_mut(place)
            && tree.nodes.insert(*id, *node).is_some()
        {
            return Err(format!("tree {} has node {id} twice", tree.number));
        }
    }
    for tree in &mut trees {
        let mut roots: HashMap<i64, ()> = tree.nodes.keys().map(|id| (*id, ())).collect();
        for node in tree.nodes.values() {
            if let RawNode::Branch(branch) = node {
                roots.remove(&branch.yes);
                roots.remove(&branch.no);
            }
        }
        tree.root = match (roots.keys().next(), roots.len()) {
            (Some(root), 1) => *root,
            _ => return Err(format!("tree {} has {} roots instead of one", tree.number, roots.len())),
        };
    }
    Ok(trees)
}

/// The nodes laid out so far.
#[derive(Default)]
struct Layout {
    nodes: Vec<Flat<f64>>,
    roots: Vec<u32>,
    starts: Vec<u32>,
    weights: Vec<(u32, f64)>,
}

impl Layout {
    /// Lays one tree out breadth first, so that both children of a node stand beside each other.
    fn add(&mut self, tree: &RawTree, weights: &mut HashMap<(i64, i64), Vec<(u32, f64)>>) -> Outcome<()> {
        let blank = Flat { word: LEAF, threshold: 0.0, next: 0 };
        let too_many = |_| "the ensemble has too many nodes".to_owned();
        self.roots.push(u32::try_from(self.nodes.len()).map_err(too_many)?);
        let mut waiting = std::collections::VecDeque::from([(tree.root, self.nodes.len())]);
        self.nodes.push(blank);
        let mut reached = 0_usize;
        while let Some((id, place)) = waiting.pop_front() {
            let node = tree
                .nodes
                .get(&id)
                .ok_or_else(|| format!("tree {} refers to node {id}, which it does not have", tree.number))?;
            reached += 1;
            // More arrivals than nodes: some node is reached twice, as in a cycle.
            if reached > tree.nodes.len() {
                return Err(format!("tree {} has a node that is reached twice", tree.number));
            }
            let flat = match node {
                RawNode::Leaf => {
                    self.weights.extend(weights.remove(&(tree.number, id)).unwrap_or_default());
                    self.starts.push(u32::try_from(self.weights.len()).map_err(too_many)?);
                    let leaf = u32::try_from(self.starts.len() - 2).map_err(too_many)?;
                    Flat { word: LEAF, threshold: 0.0, next: leaf }
                }
                RawNode::Branch(branch) => {
                    if branch.feature > FEATURE {
                        return Err(format!("tree {} asks about feature {}", tree.number, branch.feature));
                    }
                    let next = u32::try_from(self.nodes.len()).map_err(too_many)?;
                    waiting.push_back((branch.yes, self.nodes.len()));
                    waiting.push_back((branch.no, self.nodes.len() + 1));
                    self.nodes.extend([blank, blank]);
                    let missing = if branch.missing_true { MISSING_TRUE } else { 0 };
                    let word = branch.feature | ((branch.mode as u32) << MODE_SHIFT) | missing;
                    Flat { word, threshold: branch.threshold, next }
                }
            };
            if let Some(slot) = self.nodes.get_mut(place) {
                *slot = flat;
            }
        }
        if reached != tree.nodes.len() {
            return Err(format!("tree {} has nodes that cannot be reached", tree.number));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn branch(mode: Mode, threshold: f64, missing_true: bool) -> RawNode {
        RawNode::Branch(Branch { mode, feature: 0, threshold, missing_true, yes: 1, no: 2 })
    }

    fn stump(root: RawNode) -> RawForest {
        RawForest {
            nodes: vec![(0, 0, root), (0, 1, RawNode::Leaf), (0, 2, RawNode::Leaf)],
            weights: vec![(0, 1, 0, 1.0), (0, 2, 0, -1.0)],
            targets: 1,
            wide: false,
        }
    }

    fn goes_yes(mode: Mode, threshold: f64, missing_true: bool, value: f32) -> bool {
        let forest = Forest::build(&stump(branch(mode, threshold, missing_true))).unwrap();
        forest.ask(&[value], 1, Aggregate::Sum).unwrap() == [1.0]
    }

    #[test]
    fn every_mode_compares_as_its_name_says() {
        let modes = [Mode::Leq, Mode::Lt, Mode::Gte, Mode::Gt, Mode::Eq, Mode::Neq];
        let below = modes.map(|mode| goes_yes(mode, 2.0, false, 1.0));
        let equal = modes.map(|mode| goes_yes(mode, 2.0, false, 2.0));
        let above = modes.map(|mode| goes_yes(mode, 2.0, false, 3.0));
        assert_eq!(below, [true, true, false, false, false, true]);
        assert_eq!(equal, [true, false, true, false, true, false]);
        assert_eq!(above, [false, false, true, true, false, true]);
    }

    #[test]
    fn a_missing_value_goes_where_the_node_says() {
        for mode in [Mode::Leq, Mode::Lt, Mode::Gte, Mode::Gt, Mode::Eq] {
            assert!(goes_yes(mode, 2.0, true, f32::NAN), "{mode:?}");
            assert!(!goes_yes(mode, 2.0, false, f32::NAN), "{mode:?}");
        }
    }

    #[test]
    fn wide_values_are_not_rounded_before_they_are_compared() {
        let forest = Forest::build(&stump(branch(Mode::Leq, 1.0, false))).unwrap();
        let just_above = 1.0 + 1e-12;
        assert_eq!(forest.ask(&[just_above], 1, Aggregate::Sum).unwrap(), [-1.0]);
        assert_eq!(forest.ask(&[just_above as f32], 1, Aggregate::Sum).unwrap(), [1.0]);
    }

    #[test]
    fn cycles_and_loose_ends_are_refused() {
        let looping = |yes, no| {
            RawNode::Branch(Branch {
                mode: Mode::Leq,
                feature: 0,
                threshold: 0.0,
                missing_true: false,
                yes,
                no,
            })
        };
        let refuse = |nodes: Vec<(i64, i64, RawNode)>| {
            Forest::build(&RawForest { nodes, weights: vec![], targets: 1, wide: false }).unwrap_err()
        };
        assert!(refuse(vec![(0, 0, looping(0, 0))]).contains("roots"));
        assert!(
            refuse(vec![(0, 0, looping(1, 2)), (0, 1, looping(1, 2)), (0, 2, RawNode::Leaf)])
                .contains("twice")
        );
        assert!(refuse(vec![(0, 0, looping(1, 7)), (0, 1, RawNode::Leaf)]).contains("node 7"));
        assert!(refuse(vec![(0, 0, RawNode::Leaf), (0, 1, RawNode::Leaf)]).contains("2 roots"));
        assert!(
            refuse(vec![(0, 0, RawNode::Leaf), (0, 1, looping(2, 2)), (0, 2, looping(1, 1)),])
                .contains("cannot be reached")
        );
    }

    #[test]
    fn features_and_targets_beyond_the_end_are_refused() {
        let mut raw = stump(branch(Mode::Leq, 0.0, false));
        let forest = Forest::build(&raw).unwrap();
        assert!(forest.ask::<f32>(&[], 0, Aggregate::Sum).is_err());
        raw.weights.push((0, 1, 5, 1.0));
        assert!(Forest::build(&raw).unwrap_err().contains("target 5"));
        raw.weights.pop();
        raw.weights.push((0, 0, 0, 1.0));
        assert!(Forest::build(&raw).unwrap_err().contains("no leaf"));
    }

    #[test]
    fn the_other_aggregates_are_taken_over_the_trees() {
        let mut raw = stump(branch(Mode::Leq, 0.0, false));
        raw.nodes.push((1, 0, RawNode::Leaf));
        raw.weights.push((1, 0, 0, 4.0));
        let forest = Forest::build(&raw).unwrap();
        let ask = |aggregate| forest.ask(&[-1.0_f32], 1, aggregate).unwrap();
        assert_eq!(ask(Aggregate::Sum), [5.0]);
        assert_eq!(ask(Aggregate::Average), [2.5]);
        assert_eq!(ask(Aggregate::Min), [1.0]);
        assert_eq!(ask(Aggregate::Max), [4.0]);
    }

    proptest! {
        #[test]
        fn a_row_scores_the_same_alone_and_in_any_batch(values in proptest::collection::vec(-3.0_f32..3.0, 1..1200)) {
            let mut raw = RawForest { targets: 1, ..RawForest::default() };
            for tree in 0..90 {
                let root = branch(Mode::Leq, f64::from(tree as u8) / 15.0 - 3.0, false);
                raw.nodes.extend([(tree, 0, root), (tree, 1, RawNode::Leaf), (tree, 2, RawNode::Leaf)]);
                raw.weights.extend([(tree, 1, 0, 0.1 * tree as f64), (tree, 2, 0, -0.3)]);
            }
            let forest = Forest::build(&raw).unwrap();
            let all = forest.ask(&values, 1, Aggregate::Sum).unwrap();
            for (value, sum) in values.iter().zip(all) {
                prop_assert_eq!(forest.ask(&[*value], 1, Aggregate::Sum).unwrap(), [sum]);
            }
        }

        #[test]
        fn any_numbering_is_checked_and_never_walked_for_ever(
            links in proptest::collection::vec((-1_i64..6, -1_i64..6), 1..6)
        ) {
            let nodes = links.iter().enumerate().map(|(id, (yes, no))| {
                let node = if *yes < 0 { RawNode::Leaf } else {
                    RawNode::Branch(Branch {
                        mode: Mode::Leq, feature: 0, threshold: 0.0, missing_true: false, yes: *yes, no: *no,
                    })
                };
                (0, id as i64, node)
            });
            let raw = RawForest { nodes: nodes.collect(), weights: vec![], targets: 1, wide: false };
            if let Ok(forest) = Forest::build(&raw) {
                prop_assert_eq!(forest.ask(&[0.5_f32], 1, Aggregate::Sum).unwrap(), vec![0.0]);
            }
        }
    }
}
