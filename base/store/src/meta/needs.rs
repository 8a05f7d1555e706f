//! What needs what: runs and logged models whose files a registered version stands on.
//!
//! Deleting a run, a logged model or an experiment is soft, and takes nothing from a version; what ends the
//! time in which that can be taken back has a wider notion of need, see [`super::purge`]. What takes files
//! away at once asks here first.

use sqlx::Row;

use super::Meta;
use crate::Error;

/// A version as `name/number`, with what it was made from.
struct Need {
    version: String,
    owners: Vec<String>,
}

impl Meta {
    /// The versions that need a run or logged model, as `name/number`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn needed_by(&self, owner: &str) -> Result<Vec<String>, Error> {
        let needs = self.needs().await?.into_iter();
        let own = needs.filter(|need| need.owners.iter().any(|own| own == owner));
        Ok(own.map(|need| need.version).collect())
    }

    /// Refuses where a version needs a run or logged model.
    ///
    /// # Errors
    /// When one does, or the database cannot be read.
    pub async fn require_unneeded(&self, kind: &'static str, owner: &str) -> Result<(), Error> {
        let by = self.needed_by(owner).await?;
        let Some(first) = by.first() else { return Ok(()) };
        let hint = format!("rondo models delete {first}");
        Err(Error::Needed { kind, name: owner.to_owned(), by: by.join(", "), hint })
    }

    async fn needs(&self) -> Result<Vec<Need>, Error> {
        let rows = sqlx::query(
            "SELECT model, version, run, json_extract(record, '$.pipeline_run') AS pipeline_run,
             json_extract(record, '$.model_id') AS model_id, json_extract(record, '$.source') AS source
             FROM model_version ORDER BY model, version",
        )
        .fetch_all(self.readers())
        .await?;
        let mut needs = Vec::with_capacity(rows.len());
        for row in &rows {
            let (model, version): (String, i64) = (row.try_get("model")?, row.try_get("version")?);
            let mut owners: Vec<String> = Vec::new();
            for column in ["run", "pipeline_run", "model_id"] {
                owners.extend(row.try_get::<Option<String>, _>(column)?);
            }
            let source: Option<String> = row.try_get("source")?;
            // Such as `models:/m-…` or `mlflow-artifacts:/0/<run>/artifacts/model`.
            owners
                .extend(source.iter().flat_map(|source| source.split('/')).filter(is_id).map(str::to_owned));
            needs.push(Need { version: format!("{model}/{version}"), owners });
        }
        Ok(needs)
    }
}

/// Whether a part of a path is a run's or logged model's id.
fn is_id(part: &&str) -> bool {
    part.strip_prefix("m-").unwrap_or(part).parse::<rondo_core::RunId>().is_ok()
}

#[cfg(test)]
mod tests {
    use rondo_core::journal::Because;
    use rondo_core::{RunId, Timestamp};

    use crate::Store;
    use crate::meta::registered::ClientVersion;

    #[tokio::test]
    async fn what_a_version_stands_on_is_known_until_the_version_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let meta = store.meta();
        meta.create_model("m", "", vec![], Timestamp(1)).await.unwrap();
        let (run, source_run, logged) =
            (RunId::random().hex(), RunId::random().hex(), format!("m-{}", RunId::random()));
        for source in
            [format!("mlflow-artifacts:/0/{source_run}/artifacts/model"), format!("models:/{logged}")]
        {
            let version = ClientVersion {
                source,
                location: None,
                run: Some(run.clone()),
                model_id: None,
                run_link: None,
                user: None,
            };
            meta.create_client_version("m", version, "", vec![], Timestamp(2)).await.unwrap();
        }
        assert_eq!(meta.needed_by(&run).await.unwrap(), ["m/1", "m/2"]);
        assert_eq!(meta.needed_by(&source_run).await.unwrap(), ["m/1"]);
        assert_eq!(meta.needed_by(&logged).await.unwrap(), ["m/2"]);
        let refused = meta.require_unneeded("run", &run).await.unwrap_err();
        assert!(matches!(refused, crate::Error::Needed { .. }));
        for number in 1..=2 {
            meta.delete_version("m", number, Because::new("ada", "gone"), Timestamp(3)).await.unwrap();
        }
        meta.require_unneeded("run", &run).await.unwrap();
    }
}
