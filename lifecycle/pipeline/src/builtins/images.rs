//! `images`: pictures of one size, made alike, and varied by a seed.
//!
//! The work is done by a program with Pillow, in an environment that the package brings along: the library
//! that reads every picture costs this binary neither build time nor size.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use async_trait::async_trait;
use rondo_core::Objection;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, PortError};
use serde_json::{Value, json};

use super::{Failed, mark, program};
use crate::execute::process::Command;
use crate::packages::IMAGES;

/// What the values are where they are not given; the same as in the package's description.
static USUAL: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "fit": "pad", "mode": "rgb", "normalize": "none", "copies": 0, "flip": true, "rotate": 10, "shift": 0.05,
        "light": 0.1, "seed": 0, "format": "png", "on_broken": "fail",
    })
});

static VERSION: LazyLock<String> = LazyLock::new(|| IMAGES.version());

/// The package.
#[derive(Debug, Clone, Copy, Default)]
pub struct Images;

#[async_trait]
impl Builtin for Images {
    fn name(&self) -> &'static str {
        IMAGES.name
    }

    fn version(&self) -> &'static str {
        VERSION.as_str()
    }

    fn parameters(&self) -> &'static [&'static str] {
        &[
            "width",
            "height",
            "fit",
            "mode",
            "normalize",
            "copies",
            "flip",
            "rotate",
            "shift",
            "light",
            "seed",
            "format",
            "on_broken",
        ]
    }

    fn stops(&self) -> bool {
        true
    }

    fn code_files(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        Vec::new()
    }

    fn check(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<Objection> {
        Vec::new()
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        Box::pin(work(&call)).await.map_err(|error| Box::new(error) as PortError)
    }
}

async fn work(call: &BuiltinCall) -> Result<BuiltinResult, Failed> {
    let only = if call.step.inputs.len() == 1 { call.step.inputs.values().next() } else { None };
    let pictures = call.step.inputs.get("pictures").or(only);
    let pictures = pictures.ok_or_else(|| Failed::Refused("the step has no input `pictures`".to_owned()))?;
    let images = call.step.outputs.get("images");
    let images = images.ok_or_else(|| Failed::Refused("the step has no output `images`".to_owned()))?;
    let python = call.python.clone().ok_or_else(|| Failed::Hinted {
        message: "the step's environment has no Python".to_owned(),
        hint: "take `environment:` away: the package brings its own",
    })?;
    let mut values = USUAL.clone();
    if let Value::Object(values) = &mut values {
        values.extend(call.with.clone());
    }
    let place = |name: &str| call.scratch.join(name);
    let (script, given, metrics) = (place("run.py"), place("values.json"), place("metrics.json"));
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text)
            .map_err(|error| Failed::Program(format!("write `{}`: {error}", path.display())))
    };
    write(&script, IMAGES.program)?;
    write(&given, &values.to_string())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut arguments = vec![script.into_os_string()];
    for (flag, path) in
        [("--pictures", pictures), ("--images", images), ("--values", &given), ("--metrics", &metrics)]
    {
        arguments.extend([flag.into(), path.clone().into_os_string()]);
    }
    if let Some(index) = call.step.outputs.get("index") {
        arguments.extend(["--index".into(), index.clone().into_os_string()]);
    }
    arguments.extend(["--cores".into(), cores.to_string().into()]);
    let command = Command {
        program: python,
        arguments,
        folder: call.root.clone(),
        variables: call.environment.clone(),
        mark: mark(call),
    };
    program(call, &command, true).await?;
    let text = std::fs::read(&metrics).unwrap_or_default();
    Ok(BuiltinResult {
        metrics: serde_json::from_slice(&text).unwrap_or_default(),
        artifacts: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_values_are_those_of_the_description() {
        let package = rondo_project::package::read::builtin(IMAGES.interface).unwrap();
        let names: Vec<&str> = package.with.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, Images.parameters());
        for field in &package.with {
            assert_eq!(field.default.as_ref(), USUAL.get(&field.name), "{}", field.name);
        }
    }
}
