//! The packages that steps may use, as the checker of the project file knows them.

use rondo_project::builtins::{Builtins, Field, FieldKind, Package};
use serde_json::json;

/// The packages built into this binary and the form of their `with:` blocks.
pub fn known() -> Builtins {
    Builtins { packages: vec![papermill(), evaluate()], data_check: Some(rondo_data::check::judge) }
}

fn papermill() -> Package {
    Package {
        name: "papermill".to_owned(),
        app: false,
        with: vec![
            Field::required("notebook", FieldKind::Notebook, "the notebook that is run"),
            Field::optional("parameters", FieldKind::Parameters, "values for its cell tagged `parameters`"),
            Field::optional("kernel", FieldKind::Text, "the kernel, where it is not the notebook's own"),
            Field::optional("cell_timeout", FieldKind::Span, "how long a cell may take"),
            Field::optional("timeout", FieldKind::Span, "how long the whole notebook may take"),
            Field::optional("start_timeout", FieldKind::Span, "how long the kernel may take to start"),
            Field::optional(
                "secrets",
                FieldKind::Any,
                "parameters by the environment variables that hold them",
            ),
            Field::optional(
                "memory",
                FieldKind::Any,
                "the most memory that the kernel may take, such as `2GB`",
            ),
            Field::optional("report_mode", FieldKind::Bool, "whether the copy hides its code"),
            Field::optional("output", FieldKind::Text, "the output that the executed notebook is written to"),
        ],
    }
}

fn evaluate() -> Package {
    let task = Field {
        default: Some(json!("binary")),
        allowed: vec![json!("binary"), json!("regression")],
        ..Field::optional("task", FieldKind::Text, "what the model predicts")
    };
    Package {
        name: "evaluate".to_owned(),
        app: false,
        with: vec![
            Field::required("target", FieldKind::Column, "the label's column"),
            task,
            Field::optional("positive", FieldKind::Any, "the label that counts as positive"),
            Field::optional(
                "threshold",
                FieldKind::Float,
                "score from which the positive class is predicted",
            ),
            Field::optional("slices", FieldKind::Texts, "the columns to slice by"),
            Field::optional("fairness", FieldKind::Texts, "the columns whose groups are compared"),
            Field::optional("time", FieldKind::Column, "the column of the event time"),
            Field::optional("min_rows", FieldKind::Int, "smaller slices are taken together"),
            Field::optional(
                "min_positives",
                FieldKind::Int,
                "slices with fewer positives are taken together",
            ),
        ],
    }
}
