//! `profile`: what a table along the way looks like.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rondo_core::Objection;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, PortError};
use rondo_table::profile::Profile;
use serde_json::Value;

use super::{input, metric, write_json};
use crate::Error;
use crate::fetch::blocking;

const NAME: &str = "profile";

/// Writes a profile as a page for people, with this title.
pub type Page = fn(&Profile, &str) -> String;

/// The package.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProfilePackage {
    /// What writes pages, where there is something.
    pub page: Option<Page>,
}

/// The output that is a page; all others are JSON.
const PAGE: &str = "page";

#[async_trait]
impl Builtin for ProfilePackage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &[]
    }

    fn code_files(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        Vec::new()
    }

    fn check(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<Objection> {
        Vec::new()
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        let page = self.page;
        blocking(move || work(&call, page)).await.map_err(|error| Box::new(error) as PortError)
    }
}

fn work(call: &BuiltinCall, page: Option<Page>) -> Result<BuiltinResult, Error> {
    let profile = Profile::of(input(NAME, call)?.source().open()?)?;
    for (name, place) in &call.step.outputs {
        match page.filter(|_| name == PAGE) {
            Some(page) => {
                std::fs::write(place, page(&profile, &call.step.step)).map_err(Error::io("write", place))?;
            }
            None => write_json(place, &profile)?,
        }
    }
    let missing: u64 = profile.columns.iter().map(|column| column.nulls).sum();
    let metrics = [
        ("rows", metric(profile.rows)),
        ("columns", metric(profile.columns.len() as u64)),
        ("missing_values", metric(missing)),
    ];
    Ok(BuiltinResult {
        metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        artifacts: BTreeMap::new(),
    })
}
