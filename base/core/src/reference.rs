//! Names of refs: the mutable pointers.
//!
//! | ref | points to |
//! |---|---|
//! | `dataset/flights@latest` | the content digest of a dataset version |
//! | `model/delay@champion` | a model version's record |
//! | `deployment/delay` | the live deployment's record |

/// The ref of a dataset's newest version.
pub fn dataset(name: &str) -> String {
    format!("dataset/{name}@latest")
}

/// The ref of a model's alias.
pub fn alias(model: &str, alias: &str) -> String {
    format!("model/{model}@{alias}")
}

/// The ref of a live deployment.
pub fn deployment(name: &str) -> String {
    format!("deployment/{name}")
}
