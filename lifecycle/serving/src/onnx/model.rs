//! A model as its file has it: graph, nodes, attributes, constants. Nothing is interpreted here.
//!
//! Texts and lists of text are borrowed from the file: a forest names the mode of each of its hundred
//! thousand nodes.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::onnx::wire::{Field, Reader};

/// Bytes that a model file may have.
pub const MAX_BYTES: usize = 1 << 29;
/// Nodes that a graph may have.
pub const MAX_NODES: usize = 20_000;
/// Inputs, outputs or constants that a graph may have.
pub const MAX_VALUES: usize = 50_000;
/// Dimensions that a tensor may have.
pub const MAX_RANK: usize = 8;

/// A whole model.
#[derive(Debug, Clone, Default)]
pub struct Model<'a> {
    /// The version of the file format.
    pub ir_version: i64,
    /// The operator sets: domain and version.
    pub opsets: Vec<(&'a str, i64)>,
    /// Free texts by name.
    pub metadata: Vec<(&'a str, &'a str)>,
    /// The graph.
    pub graph: Graph<'a>,
}

impl Model<'_> {
    /// The version of an operator set; 1 where it is not declared.
    pub fn opset(&self, domain: &str) -> i64 {
        self.opsets.iter().filter(|(name, _)| *name == domain).map(|(_, version)| *version).max().unwrap_or(1)
    }
}

/// The operators and what flows between them.
#[derive(Debug, Clone, Default)]
pub struct Graph<'a> {
    /// The operators, each after those whose results it takes.
    pub nodes: Vec<Node<'a>>,
    /// Constants.
    pub constants: Vec<TensorProto<'a>>,
    /// What goes in (constants may be named here too).
    pub inputs: Vec<ValueInfo<'a>>,
    /// What comes out.
    pub outputs: Vec<ValueInfo<'a>>,
}

/// One operator at work.
#[derive(Debug, Clone, Default)]
pub struct Node<'a> {
    /// Its name; may be empty.
    pub name: &'a str,
    /// The operator.
    pub op: &'a str,
    /// The operator's domain; empty for ONNX itself.
    pub domain: &'a str,
    /// Names of what it takes; empty where an optional one is left out.
    pub inputs: Vec<&'a str>,
    /// Names of what it gives.
    pub outputs: Vec<&'a str>,
    /// Its settings.
    pub attributes: Vec<(&'a str, Attribute<'a>)>,
}

/// The value of an attribute.
#[derive(Debug, Clone)]
pub enum Attribute<'a> {
    /// A number.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(&'a [u8]),
    /// A constant.
    Tensor(TensorProto<'a>),
    /// Numbers.
    Floats(Vec<f32>),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Texts.
    Texts(Vec<&'a [u8]>),
}

/// What a graph's input or output is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its element type by ONNX's number; absent for sequences and maps.
    pub element: Option<i64>,
    /// Its dimensions; absent where they may vary. The whole is absent where even the rank is unknown.
    pub shape: Option<Vec<Option<usize>>>,
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorProto<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dimensions; none for a scalar.
    pub shape: Vec<usize>,
    /// Its elements, the last dimension fastest.
    pub data: TensorData,
}

/// Elements of a tensor. Integers of every width are held as 64-bit ones.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// Integers.
    I64(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
    /// Texts.
    Text(Vec<Arc<str>>),
}

impl TensorData {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The word for the element type.
    pub const fn type_text(&self) -> &'static str {
        match self {
            Self::F32(_) => "float",
            Self::F64(_) => "double",
            Self::I64(_) => "int64",
            Self::Bool(_) => "bool",
            Self::Text(_) => "string",
        }
    }
}

/// Numbers that ONNX gives to element types.
pub mod element {
    /// 32-bit float.
    pub const FLOAT: i64 = 1;
    /// Unsigned 8-bit integer.
    pub const UINT8: i64 = 2;
    /// 8-bit integer.
    pub const INT8: i64 = 3;
    /// Unsigned 16-bit integer.
    pub const UINT16: i64 = 4;
    /// 16-bit integer.
    pub const INT16: i64 = 5;
    /// 32-bit integer.
    pub const INT32: i64 = 6;
    /// 64-bit integer.
    pub const INT64: i64 = 7;
    /// Text.
    pub const STRING: i64 = 8;
    /// Truth value.
    pub const BOOL: i64 = 9;
    /// 64-bit float.
    pub const DOUBLE: i64 = 11;
    /// Unsigned 32-bit integer.
    pub const UINT32: i64 = 12;
    /// Unsigned 64-bit integer.
    pub const UINT64: i64 = 13;
}

/// Reads a model file.
///
/// # Errors
/// When the bytes are cut off, not a model, too large, or need what is refused: external data,
/// functions, subgraphs, sparse constants, domains other than `ai.onnx` and `ai.onnx.ml`.
pub fn parse(bytes: &[u8]) -> Result<Model<'_>> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::not_a_model(format!("it has {} bytes, and {MAX_BYTES} are allowed", bytes.len())));
    }
    let mut model = Model::default();
    let mut has_graph = false;
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => model.ir_version = field.int()?,
            7 => {
                model.graph = graph(field.bytes()?)?;
                has_graph = true;
            }
            8 => model.opsets.push(opset(field.bytes()?)?),
            14 => model.metadata.push(entry(field.bytes()?)?),
            25 => return Err(Error::not_a_model("it defines functions, which are not supported")),
            _ => {}
        }
    }
    if !has_graph {
        return Err(Error::not_a_model("it has no graph"));
    }
    if let Some(node) = model.graph.nodes.iter().find(|node| !known_domain(node.domain)) {
        return Err(unknown_domain(node.domain));
    }
    Ok(model)
}

fn known_domain(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx.ml")
}

fn unknown_domain(domain: &str) -> Error {
    Error::not_a_model(format!(
        "it uses operators of the domain `{}`, and only `ai.onnx` and `ai.onnx.ml` are allowed",
        domain.chars().take(100).collect::<String>()
    ))
}

fn opset(bytes: &[u8]) -> Result<(&str, i64)> {
    let (mut domain, mut version) = ("", 0);
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => domain = field.text()?,
            2 => version = field.int()?,
            _ => {}
        }
    }
    Ok((plain_domain(domain), version))
}

/// ONNX's own domain has two names.
fn plain_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

fn entry(bytes: &[u8]) -> Result<(&str, &str)> {
    let (mut key, mut value) = ("", "");
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => key = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn graph(bytes: &[u8]) -> Result<Graph<'_>> {
    let mut graph = Graph::default();
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => graph.nodes.push(node(field.bytes()?)?),
            5 => graph.constants.push(tensor(field.bytes()?)?),
            11 => graph.inputs.push(value_info(field.bytes()?)?),
            12 => graph.outputs.push(value_info(field.bytes()?)?),
            15 => return Err(Error::not_a_model("it has sparse constants, which are not supported")),
            _ => {}
        }
        if graph.nodes.len() > MAX_NODES {
            return Err(Error::not_a_model(format!("its graph has more than {MAX_NODES} nodes")));
        }
        if graph.constants.len().max(graph.inputs.len()).max(graph.outputs.len()) > MAX_VALUES {
            return Err(Error::not_a_model(format!("its graph has more than {MAX_VALUES} values")));
        }
    }
    Ok(graph)
}

fn node(bytes: &[u8]) -> Result<Node<'_>> {
    let mut node = Node::default();
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => node.inputs.push(field.text()?),
            2 => node.outputs.push(field.text()?),
            3 => node.name = field.text()?,
            4 => node.op = field.text()?,
            5 => node.attributes.push(attribute(field.bytes()?)?),
            7 => node.domain = plain_domain(field.text()?),
            _ => {}
        }
        if node.inputs.len().max(node.outputs.len()) > MAX_VALUES {
            return Err(Error::not_a_model("a node has too many inputs or outputs"));
        }
    }
    Ok(node)
}

/// Reads an attribute. Old files leave the type (field 20) out: it then follows from what is there.
fn attribute(bytes: &[u8]) -> Result<(&str, Attribute<'_>)> {
    let (mut name, mut declared) = ("", None);
    let (mut float, mut int, mut text, mut constant) = (None, None, None, None);
    let (mut floats, mut ints, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => name = field.text()?,
            2 => float = Some(field.float()?),
            3 => int = Some(field.int()?),
            4 => text = Some(field.bytes()?),
            5 => constant = Some(tensor(field.bytes()?)?),
            7 => field.floats_into(&mut floats)?,
            8 => field.ints_into(&mut ints)?,
            9 => texts.push(field.bytes()?),
            6 | 11 => return Err(Error::not_a_model("it has loops or branches, which are not supported")),
            10 | 22 | 23 => {
                return Err(Error::not_a_model(format!("the attribute `{name}` is not supported")));
            }
            20 => declared = Some(field.int()?),
            _ => {}
        }
    }
    let value = match declared {
        Some(1) => Attribute::Float(float.unwrap_or_default()),
        Some(2) => Attribute::Int(int.unwrap_or_default()),
        Some(3) => Attribute::Text(text.unwrap_or_default()),
        Some(4) => Attribute::Tensor(
            constant.ok_or_else(|| Error::not_a_model(format!("the attribute `{name}` is empty")))?,
        ),
        Some(6) => Attribute::Floats(floats),
        Some(7) => Attribute::Ints(ints),
        Some(8) => Attribute::Texts(texts),
        Some(_) => return Err(Error::not_a_model(format!("the attribute `{name}` is of no known type"))),
        None => match (float, int, text, constant) {
            (Some(value), ..) => Attribute::Float(value),
            (_, Some(value), ..) => Attribute::Int(value),
            (_, _, Some(value), _) => Attribute::Text(value),
            (.., Some(value)) => Attribute::Tensor(value),
            _ if !floats.is_empty() => Attribute::Floats(floats),
            _ if !texts.is_empty() => Attribute::Texts(texts),
            _ => Attribute::Ints(ints),
        },
    };
    Ok((name, value))
}

fn value_info(bytes: &[u8]) -> Result<ValueInfo<'_>> {
    let mut info = ValueInfo { name: "", element: None, shape: None };
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => info.name = field.text()?,
            2 => {
                let mut types = Reader::new(field.bytes()?);
                while let Some((number, field)) = types.field()? {
                    if number == 1 {
                        tensor_type(field.bytes()?, &mut info)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(info)
}

fn tensor_type(bytes: &[u8], info: &mut ValueInfo<'_>) -> Result<()> {
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => info.element = Some(field.int()?),
            2 => {
                let mut shape = Vec::new();
                let mut dimensions = Reader::new(field.bytes()?);
                while let Some((number, field)) = dimensions.field()? {
                    if number == 1 {
                        shape.push(dimension(field.bytes()?)?);
                    }
                    if shape.len() > MAX_RANK {
                        return Err(Error::not_a_model(format!("`{}` has too many dimensions", info.name)));
                    }
                }
                info.shape = Some(shape);
            }
            _ => {}
        }
    }
    Ok(())
}

fn dimension(bytes: &[u8]) -> Result<Option<usize>> {
    let mut reader = Reader::new(bytes);
    let mut size = None;
    while let Some((number, field)) = reader.field()? {
        if number == 1 {
            // Some exporters write -1 or 0 for a dimension that may vary.
            size = usize::try_from(field.int()?).ok().filter(|size| *size > 0);
        }
    }
    Ok(size)
}

/// Lists of a tensor's elements as the file may have them; one of them is used.
#[derive(Default)]
struct Elements<'a> {
    raw: Option<&'a [u8]>,
    floats: Vec<f32>,
    doubles: Vec<f64>,
    ints: Vec<i64>,
    texts: Vec<&'a [u8]>,
}

fn tensor(bytes: &[u8]) -> Result<TensorProto<'_>> {
    let (mut name, mut kind, mut dims) = ("", 0, Vec::new());
    let mut elements = Elements::default();
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => field.ints_into(&mut dims)?,
            2 => kind = field.int()?,
            3 => return Err(Error::not_a_model("it has a constant in segments, which is not supported")),
            4 => field.floats_into(&mut elements.floats)?,
            5 | 7 | 11 => field.ints_into(&mut elements.ints)?,
            6 => elements.texts.push(field.bytes()?),
            8 => name = field.text()?,
            9 => elements.raw = Some(field.bytes()?),
            10 => field.doubles_into(&mut elements.doubles)?,
            13 => return Err(external()),
            14 if field != Field::Varint(0) => return Err(external()),
            _ => {}
        }
        if dims.len() > MAX_RANK {
            return Err(Error::not_a_model(format!("the constant `{name}` has too many dimensions")));
        }
    }
    let shape = dims
        .iter()
        .map(|size| usize::try_from(*size))
        .collect::<std::result::Result<Vec<usize>, _>>()
        .map_err(|_| Error::not_a_model(format!("the constant `{name}` has a negative dimension")))?;
    let count = shape.iter().try_fold(1_usize, |all, size| all.checked_mul(*size)).unwrap_or(usize::MAX);
    let data = decode(name, kind, elements)?;
    if data.len() != count {
        return Err(Error::not_a_model(format!(
            "the constant `{name}` has {} elements, and its dimensions say {count}",
            data.len()
        )));
    }
    Ok(TensorProto { name, shape, data })
}

fn external() -> Error {
    Error::not_a_model("it keeps constants in other files: save it as one file")
}

fn decode(name: &str, kind: i64, elements: Elements<'_>) -> Result<TensorData> {
    use element::*;
    let odd = || Error::not_a_model(format!("the constant `{name}` has half an element at its end"));
    fn whole<const N: usize, T>(
        raw: &[u8],
        odd: impl Fn() -> Error,
        read: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let (chunks, rest) = raw.as_chunks::<N>();
        if rest.is_empty() { Ok(chunks.iter().map(|bytes| read(*bytes)).collect()) } else { Err(odd()) }
    }
    let Some(raw) = elements.raw else {
        return Ok(match kind {
            FLOAT => TensorData::F32(elements.floats),
            DOUBLE => TensorData::F64(elements.doubles),
            BOOL => TensorData::Bool(elements.ints.iter().map(|value| *value != 0).collect()),
            UINT8 | INT8 | UINT16 | INT16 | INT32 | INT64 | UINT32 | UINT64 => TensorData::I64(elements.ints),
            STRING => TensorData::Text(texts(&elements.texts)?),
            _ => return Err(unknown_type(name, kind)),
        });
    };
    Ok(match kind {
        FLOAT => TensorData::F32(whole(raw, odd, f32::from_le_bytes)?),
        DOUBLE => TensorData::F64(whole(raw, odd, f64::from_le_bytes)?),
        BOOL => TensorData::Bool(raw.iter().map(|byte| *byte != 0).collect()),
        INT8 => TensorData::I64(raw.iter().map(|byte| i64::from(*byte as i8)).collect()),
        UINT8 => TensorData::I64(raw.iter().map(|byte| i64::from(*byte)).collect()),
        INT16 => TensorData::I64(whole(raw, odd, |bytes| i64::from(i16::from_le_bytes(bytes)))?),
        UINT16 => TensorData::I64(whole(raw, odd, |bytes| i64::from(u16::from_le_bytes(bytes)))?),
        INT32 => TensorData::I64(whole(raw, odd, |bytes| i64::from(i32::from_le_bytes(bytes)))?),
        UINT32 => TensorData::I64(whole(raw, odd, |bytes| i64::from(u32::from_le_bytes(bytes)))?),
        INT64 | UINT64 => TensorData::I64(whole(raw, odd, i64::from_le_bytes)?),
        _ => return Err(unknown_type(name, kind)),
    })
}

fn unknown_type(name: &str, kind: i64) -> Error {
    Error::not_a_model(format!(
        "the constant `{name}` has elements of the type {kind}, which is not supported"
    ))
}

/// Byte strings as texts.
///
/// # Errors
/// When one of them is not UTF-8.
pub fn texts(all: &[&[u8]]) -> Result<Vec<Arc<str>>> {
    all.iter()
        .map(|bytes| std::str::from_utf8(bytes).map(Arc::from))
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Error::not_a_model("a text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/fixtures/{name}.onnx", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn a_model_is_read_with_its_graph() {
        let bytes = fixture("logistic_columns");
        let model = parse(&bytes).unwrap();
        assert_eq!(model.opset(""), 11);
        assert_eq!(model.opset("ai.onnx.ml"), 1);
        let inputs: Vec<&str> = model.graph.inputs.iter().map(|input| input.name).collect();
        assert_eq!(inputs, ["distance", "delay", "hour", "carrier", "origin"]);
        assert_eq!(model.graph.inputs[2].element, Some(element::INT64));
        assert_eq!(model.graph.inputs[2].shape, Some(vec![None, Some(1)]));
        let last = model.graph.nodes.iter().find(|node| node.op == "LinearClassifier").unwrap();
        assert_eq!(last.domain, "ai.onnx.ml");
        assert!(last.attributes.iter().any(|(name, value)| {
            *name == "post_transform" && matches!(value, Attribute::Text(b"LOGISTIC"))
        }));
    }

    #[test]
    fn external_data_is_refused() {
        let entry = [0x6a, 0x00];
        assert!(tensor(&entry).unwrap_err().to_string().contains("other files"));
        let location = [0x70, 0x01];
        assert!(tensor(&location).unwrap_err().to_string().contains("other files"));
    }

    #[test]
    fn constants_that_do_not_fill_their_dimensions_are_refused() {
        // dims [100000, 100000], type float, no data.
        let bytes = [0x08, 0xa0, 0x8d, 0x06, 0x08, 0xa0, 0x8d, 0x06, 0x10, 0x01];
        assert!(tensor(&bytes).unwrap_err().to_string().contains("elements"));
    }

    #[test]
    fn operators_of_other_domains_are_refused() {
        // graph { node { op_type: "X" domain: "evil" } }
        let bytes = [0x3a, 0x0b, 0x0a, 0x09, 0x22, 0x01, b'X', 0x3a, 0x04, b'e', b'v', b'i', b'l'];
        assert!(parse(&bytes).unwrap_err().to_string().contains("`evil`"));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn cut_off_models_never_panic(cut in 0_usize..1400) {
            let bytes = fixture("logistic_columns");
            let _ = parse(&bytes[..cut.min(bytes.len())]);
        }

        #[test]
        fn damaged_models_never_panic(places in proptest::collection::vec((0_usize..1585, any::<u8>()), 1..8)) {
            let mut bytes = fixture("tree");
            for (place, byte) in places {
                bytes[place] = byte;
            }
            let _ = parse(&bytes);
        }
    }
}
