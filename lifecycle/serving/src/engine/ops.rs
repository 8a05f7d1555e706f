//! Operators: what each node of a graph does, compiled once when the model is loaded.
//!
//! A node becomes a closure over its checked settings. What is not in the table is refused by name, at
//! load, and not at the first request. The meanings are those of the operator pages of ONNX and
//! ONNX-ML; where those leave room, what scikit-learn gives decides.

use crate::engine::tensor::{Outcome, Tensor};
use crate::error::{Error, Result};
use crate::onnx::{Attribute, Node};

pub mod encode;
pub mod math;
pub mod predict;
pub mod reduce;
pub mod shape;

/// What a node does to its inputs. An optional input that is left out is `None`.
pub type Run = Box<dyn Fn(&[Option<&Tensor>], Values) -> Outcome<Vec<Tensor>> + Send + Sync>;

/// What the values at hand are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Somebody's: one that an operator cannot take is a fault.
    Real,
    /// Made up to try a graph at load: only types and shapes count.
    MadeUp,
}

/// A node, ready to run.
pub struct Compiled {
    /// What it does.
    pub run: Run,
    /// The labels of a classifier's classes.
    pub classes: Vec<String>,
}

impl Compiled {
    /// An operator without classes.
    fn plain(run: Run) -> Self {
        Self { run, classes: Vec::new() }
    }
}

/// Makes an operator of a node's settings.
type Maker = fn(&Settings<'_>) -> Outcome<Compiled>;

/// Every operator: name (ONNX-ML's with their domain) and maker.
const TABLE: &[(&str, Maker)] = &[
    ("ai.onnx.ml.ArrayFeatureExtractor", encode::array_feature_extractor),
    ("ai.onnx.ml.Binarizer", encode::binarizer),
    ("ai.onnx.ml.FeatureVectorizer", encode::feature_vectorizer),
    ("ai.onnx.ml.Imputer", encode::imputer),
    ("ai.onnx.ml.LabelEncoder", encode::label_encoder),
    ("ai.onnx.ml.LinearClassifier", predict::linear_classifier),
    ("ai.onnx.ml.LinearRegressor", predict::linear_regressor),
    ("ai.onnx.ml.Normalizer", encode::normalizer),
    ("ai.onnx.ml.OneHotEncoder", encode::one_hot_encoder),
    ("ai.onnx.ml.Scaler", encode::scaler),
    ("ai.onnx.ml.TreeEnsemble", predict::tree_ensemble),
    ("ai.onnx.ml.TreeEnsembleClassifier", predict::tree_ensemble_classifier),
    ("ai.onnx.ml.TreeEnsembleRegressor", predict::tree_ensemble_regressor),
    ("ai.onnx.ml.ZipMap", encode::zip_map),
    ("Abs", math::abs),
    ("Add", math::add),
    ("And", math::and),
    ("ArgMax", reduce::arg_max),
    ("ArgMin", reduce::arg_min),
    ("Cast", shape::cast),
    ("CastLike", shape::cast_like),
    ("Clip", math::clip),
    ("Concat", shape::concat),
    ("Constant", shape::constant),
    ("Div", math::div),
    ("Equal", math::equal),
    ("Exp", math::exp),
    ("Flatten", shape::flatten),
    ("Gather", shape::gather),
    ("Gemm", math::gemm),
    ("Greater", math::greater),
    ("GreaterOrEqual", math::greater_or_equal),
    ("Identity", shape::identity),
    ("IsNaN", math::is_nan),
    ("Less", math::less),
    ("LessOrEqual", math::less_or_equal),
    ("Log", math::log),
    ("MatMul", math::mat_mul),
    ("Max", math::max),
    ("Min", math::min),
    ("Mul", math::mul),
    ("Neg", math::neg),
    ("Not", math::not),
    ("Or", math::or),
    ("Pow", math::pow),
    ("Reciprocal", math::reciprocal),
    ("ReduceL1", reduce::l1),
    ("ReduceL2", reduce::l2),
    ("ReduceLogSumExp", reduce::log_sum_exp),
    ("ReduceMax", reduce::max),
    ("ReduceMean", reduce::mean),
    ("ReduceMin", reduce::min),
    ("ReduceSum", reduce::sum),
    ("ReduceSumSquare", reduce::sum_square),
    ("Relu", math::relu),
    ("Reshape", shape::reshape),
    ("Sigmoid", math::sigmoid),
    ("Slice", shape::slice),
    ("Softmax", reduce::softmax),
    ("Sqrt", math::sqrt),
    ("Squeeze", shape::squeeze),
    ("Sub", math::sub),
    ("Tanh", math::tanh),
    ("Transpose", shape::transpose),
    ("Unsqueeze", shape::unsqueeze),
    ("Where", math::select),
];

/// The operators that there are, for a message.
pub fn supported() -> String {
    TABLE.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Compiles the node that stands at a place of its graph.
///
/// # Errors
/// When there is no such operator, or its settings make no sense.
pub fn compile(node: &Node<'_>, place: usize, opset: i64) -> Result<Compiled> {
    let op = op_name(node);
    let maker = TABLE.iter().find(|(name, _)| *name == op).map(|(_, maker)| maker).ok_or_else(|| {
        Error::UnsupportedOperator {
            op: op.chars().take(100).collect(),
            node: node_name(node, place),
            supported: supported(),
        }
    })?;
    let settings = Settings { node, opset };
    maker(&settings).map_err(|reason| Error::NodeInvalid { op, node: node_name(node, place), reason })
}

/// An operator's name with its domain.
pub fn op_name(node: &Node<'_>) -> String {
    if node.domain.is_empty() { node.op.to_owned() } else { format!("{}.{}", node.domain, node.op) }
}

/// A node's name, or its place where it has none.
pub fn node_name(node: &Node<'_>, place: usize) -> String {
    if node.name.is_empty() { format!("#{place}") } else { node.name.chars().take(100).collect() }
}

/// The settings of a node.
pub struct Settings<'a> {
    node: &'a Node<'a>,
    /// The version of the operator set that the node belongs to.
    pub opset: i64,
}

impl<'a> Settings<'a> {
    fn get(&self, name: &str) -> Option<&'a Attribute<'a>> {
        self.node.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether an attribute is given.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A whole number.
    ///
    /// # Errors
    /// When the attribute is of another type.
    pub fn int(&self, name: &str, default: i64) -> Outcome<i64> {
        match self.get(name) {
            None => Ok(default),
            Some(Attribute::Int(value)) => Ok(*value),
            Some(_) => Err(mistyped(name, "a whole number")),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// When the attribute is of another type.
    pub fn float(&self, name: &str, default: f32) -> Outcome<f32> {
        match self.get(name) {
            None => Ok(default),
            Some(Attribute::Float(value)) => Ok(*value),
            Some(_) => Err(mistyped(name, "a number")),
        }
    }

    /// A text as its bytes.
    ///
    /// # Errors
    /// When the attribute is of another type.
    pub fn text(&self, name: &str, default: &'a str) -> Outcome<&'a [u8]> {
        match self.get(name) {
            None => Ok(default.as_bytes()),
            Some(Attribute::Text(value)) => Ok(value),
            Some(_) => Err(mistyped(name, "a text")),
        }
    }

    /// Whole numbers; none where the attribute is not given.
    ///
    /// # Errors
    /// When the attribute is of another type.
    pub fn ints(&self, name: &str) -> Outcome<&'a [i64]> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Attribute::Ints(values)) => Ok(values),
            Some(_) => Err(mistyped(name, "whole numbers")),
        }
    }

    /// Numbers; none where the attribute is not given.
    ///
    /// # Errors
    /// When the attribute is of another type.
    pub fn floats(&self, name: &str) -> Outcome<&'a [f32]> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Attribute::Floats(values)) => Ok(values),
            Some(_) => Err(mistyped(name, "numbers")),
        }
    }

    /// Texts as their bytes; none where the attribute is not given.
    ///
    /// # Errors
    /// When the attribute is of another type.
    pub fn texts(&self, name: &str) -> Outcome<&'a [&'a [u8]]> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Attribute::Texts(values)) => Ok(values),
            Some(_) => Err(mistyped(name, "texts")),
        }
    }

    /// A constant.
    ///
    /// # Errors
    /// When the attribute is of another type.
    pub fn tensor(&self, name: &str) -> Outcome<Option<Tensor>> {
        match self.get(name) {
            None => Ok(None),
            Some(Attribute::Tensor(value)) => Tensor::new(value.shape.clone(), value.data.clone()).map(Some),
            Some(_) => Err(mistyped(name, "a tensor")),
        }
    }

    /// Numbers that stand in `name`, or with all their digits in `name_as_tensor`; and whether they are
    /// 64-bit ones.
    ///
    /// # Errors
    /// When the attribute is of another type.
    pub fn numbers(&self, name: &str) -> Outcome<(Vec<f64>, bool)> {
        match self.tensor(&format!("{name}_as_tensor"))? {
            Some(tensor) => {
                let wide = matches!(tensor.data(), crate::engine::tensor::Data::F64(_));
                Ok((tensor.to_f64()?, wide))
            }
            None => Ok((self.floats(name)?.iter().map(|value| f64::from(*value)).collect(), false)),
        }
    }
}

fn mistyped(name: &str, expected: &str) -> String {
    format!("its setting `{name}` is not {expected}")
}

/// An input that has to be there.
///
/// # Errors
/// When it is not.
pub fn input<'t>(inputs: &[Option<&'t Tensor>], place: usize) -> Outcome<&'t Tensor> {
    inputs.get(place).copied().flatten().ok_or_else(|| format!("its input {place} is missing"))
}

/// An operator with one input and one output.
fn unary(run: impl Fn(&Tensor) -> Outcome<Tensor> + Send + Sync + 'static) -> Outcome<Compiled> {
    Ok(Compiled::plain(Box::new(move |inputs, _| Ok(vec![run(input(inputs, 0)?)?]))))
}

/// An operator with one output.
fn single(run: impl Fn(&[Option<&Tensor>]) -> Outcome<Tensor> + Send + Sync + 'static) -> Outcome<Compiled> {
    Ok(Compiled::plain(Box::new(move |inputs, _| Ok(vec![run(inputs)?]))))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Compiles an operator from its settings and runs it.
    pub(crate) fn run(
        op: &str,
        opset: i64,
        attributes: Vec<(&str, Attribute<'_>)>,
        inputs: &[&Tensor],
    ) -> Result<Vec<Tensor>> {
        let (domain, op) = op.rsplit_once('.').unwrap_or(("", op));
        let node = Node { op, domain, attributes, ..Node::default() };
        let compiled = compile(&node, 0, opset)?;
        let inputs: Vec<Option<&Tensor>> = inputs.iter().map(|tensor| Some(*tensor)).collect();
        (compiled.run)(&inputs, Values::Real).map_err(|reason| Error::NodeInvalid {
            op: op.to_owned(),
            node: String::new(),
            reason,
        })
    }

    #[test]
    fn the_table_has_no_name_twice() {
        let mut names: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn an_operator_that_there_is_not_is_named_with_its_node() {
        use rondo_core::Explain;
        let node = Node { op: "Loop", name: "again", ..Node::default() };
        let error = compile(&node, 3, 18).map(|_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the model's node `again` needs the operator `Loop`, which no engine here has"
        );
        assert!(error.hints().iter().any(|hint| hint.contains("TreeEnsembleClassifier")));
    }
}
