//! ONNX files: a reader of our own for the part of the format that tabular models use.
//!
//! The format is a protocol buffer (`onnx.proto`, ModelProto). Whoever hands in a model may be hostile,
//! so every length is checked against what is there, nothing is followed outside the file, and what an
//! engine here could never run (external data, functions, subgraphs, custom domains) is refused while
//! reading. This module knows the file; what its operators do is known to [`crate::engine`].

pub mod model;
pub mod wire;

pub use model::{Attribute, Graph, Model, Node, TensorData, TensorProto, ValueInfo, parse};
