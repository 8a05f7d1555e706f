//! Kinds of artifacts: what travels along a wire from an output to an input.

use serde::Serialize;

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Not known, or any of the others.
    Any,
    /// A table, or a folder of tables.
    Dataset,
    /// A model's file or folder.
    Model,
    /// A notebook.
    Notebook,
    /// A page for people.
    Report,
    /// Numbers in JSON: metrics, an evaluation, a profile.
    Metrics,
    /// A folder of images.
    Images,
    /// A folder.
    Folder,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Any,
        Self::Dataset,
        Self::Model,
        Self::Notebook,
        Self::Report,
        Self::Metrics,
        Self::Images,
        Self::Folder,
    ];

    /// The word in `package.yaml`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Dataset => "dataset",
            Self::Model => "model",
            Self::Notebook => "notebook",
            Self::Report => "report",
            Self::Metrics => "metrics",
            Self::Images => "images",
            Self::Folder => "folder",
        }
    }

    /// The kind of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What it is, for messages.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Dataset => "a dataset",
            Self::Model => "a model",
            Self::Notebook => "a notebook",
            Self::Report => "a report",
            Self::Metrics => "metrics",
            Self::Images => "a folder of images",
            Self::Folder => "a folder",
        }
    }

    /// What a path's ending tells; of most folders and of JSON it tells nothing.
    pub fn of_path(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("parquet" | "csv" | "tsv" | "jsonl" | "ndjson" | "arrow") => Self::Dataset,
            Some("onnx" | "pkl" | "pickle" | "joblib" | "pt" | "safetensors" | "rds") => Self::Model,
            Some("ipynb") => Self::Notebook,
            Some("html" | "pdf") => Self::Report,
            _ => Self::Any,
        }
    }

    /// Whether something of this kind may go where `wanted` is asked for.
    pub fn fits(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::Any, _) | (_, Self::Any) => true,
            // A folder may hold a table's files, a model or images.
            (Self::Folder, Self::Dataset | Self::Model | Self::Images) | (Self::Images, Self::Folder) => true,
            (own, wanted) => own == wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn endings_tell_kinds_and_unknown_ones_fit_everywhere() {
        assert_eq!(Kind::of_path("out/train.parquet"), Kind::Dataset);
        assert_eq!(Kind::of_path("x.csv.gz"), Kind::Dataset);
        assert_eq!(Kind::of_path("model.onnx"), Kind::Model);
        assert_eq!(Kind::of_path("evaluation.json"), Kind::Any);
        assert_eq!(Kind::of_path("raw/"), Kind::Any);
        assert!(Kind::Any.fits(Kind::Model) && Kind::Folder.fits(Kind::Images));
        assert!(!Kind::Model.fits(Kind::Dataset) && !Kind::Dataset.fits(Kind::Model));
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.word()), Some(kind));
        }
    }
}
