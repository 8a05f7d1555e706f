//! Names of refs: the mutable pointers.
//!
//! | ref | points to |
//! |---|---|
//! | `dataset/flights@latest` | the content digest of a dataset version |
//! | `tag/flights@v1` | the content digest of the version that somebody called so |
//! | `model/delay@champion` | a model version's record |
//! | `deployment/delay` | the live deployment's record |
//! | `stage/delay/3` | MLflow's stage of a version |
//! | `approval/delay/3` | what was decided about a version |
//! | `protection/delay@champion` | who protects an alias |

/// The ref of a dataset's newest version.
pub fn dataset(name: &str) -> String {
    format!("dataset/{name}@latest")
}

/// The ref of a tag of a dataset's; of all of them with an empty tag.
pub fn tag(dataset: &str, tag: &str) -> String {
    format!("tag/{dataset}@{tag}")
}

/// Whether a ref is one of a dataset's.
pub fn is_of_dataset(name: &str) -> bool {
    name.starts_with("dataset/") || name.starts_with("tag/")
}

/// The ref of a model's alias.
pub fn alias(model: &str, alias: &str) -> String {
    format!("model/{model}@{alias}")
}

/// The ref of a live deployment.
pub fn deployment(name: &str) -> String {
    format!("deployment/{name}")
}

/// The ref of a version's stage; of all of a model's with an empty version.
pub fn stage(model: &str, version: &str) -> String {
    format!("stage/{model}/{version}")
}

/// The ref of what was decided about a version; of all of a model's with an empty version.
pub fn approval(model: &str, version: &str) -> String {
    format!("approval/{model}/{version}")
}

/// The ref of an alias's protection; of all of a model's with an empty alias.
pub fn protection(model: &str, alias: &str) -> String {
    format!("protection/{model}@{alias}")
}
