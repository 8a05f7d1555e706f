//! Logged models.

use rondo_core::{RunId, Timestamp};
use rondo_store::foreign::{self, Pairs};
use rondo_store::meta::import::ImportedModel;
use rondo_store::meta::logged_models::{LoggedModel, LoggedModelRecord, ModelMetric};
use rondo_store::meta::metrics::Point;

use super::{Importer, State, fingerprint, finite, run_id};
use crate::Error;
use crate::import::{Kind, Source};

impl Importer<'_> {
    pub(super) async fn logged_models<S: Source>(&mut self, source: &mut S) -> Result<(), Error> {
        loop {
            let page = source.logged_models().await?;
            self.faults(source);
            if page.is_empty() {
                return Ok(());
            }
            let ids: Vec<String> = page.iter().map(|model| model.id.clone()).collect();
            let marks = self.meta().import_marks("logged model", &ids).await?;
            let (mut rows, mut metrics, mut done, mut files) =
                (Vec::new(), Vec::new(), Pairs::new(), Vec::new());
            for model in page {
                self.report.of(Kind::LoggedModels).found += 1;
                let Some(experiment) = self.experiments.get(&model.experiment).copied() else {
                    let reason = format!("its experiment `{}` could not be read", model.experiment);
                    self.report.skip(Kind::LoggedModels, 1, model.id, reason);
                    continue;
                };
                let hex = model.id.strip_prefix("m-").is_some_and(|id| id.parse::<RunId>().is_ok());
                if !hex {
                    self.report.skip(
                        Kind::LoggedModels,
                        1,
                        model.id,
                        "its id is not `m-` and 32 hex characters",
                    );
                    continue;
                }
                let mark = fingerprint(&model);
                let here = self.meta().logged_model(&model.id).await?.is_some();
                let state = match marks.get(&model.id) {
                    _ if !here => State::New,
                    Some(known) if *known != mark => State::Behind,
                    Some(_) | None => State::Here,
                };
                self.count(Kind::LoggedModels, state, 0, 1);
                self.models.insert(model.id.clone(), experiment);
                files.extend(self.files_of_model(&model, state));
                if state != State::Here {
                    metrics.extend(model.metrics.iter().map(|metric| model_metric(&model.id, metric)));
                    done.push((model.id.clone(), mark));
                    rows.push(imported_model(model, experiment));
                }
            }
            if !self.options.dry_run {
                self.meta().import_logged_models(rows).await?;
                self.meta().import_model_metrics(metrics).await?;
            }
            self.store(files).await?;
            if !self.options.dry_run {
                self.meta().mark_imported("logged model", done).await?;
            }
        }
    }
}

fn imported_model(model: foreign::LoggedModel, experiment: i64) -> ImportedModel {
    ImportedModel {
        row: LoggedModel {
            id: model.id,
            experiment,
            run: model.run.map(|run| run_id(&run).hex()),
            name: model.name,
            status: model.status,
            created: Timestamp(model.created),
            updated: Timestamp(model.updated),
            deleted: model.deleted,
            record: LoggedModelRecord { model_type: model.model_type },
        },
        params: model.params,
        tags: model.tags,
    }
}

fn model_metric(model: &str, metric: &foreign::ModelMetric) -> ModelMetric {
    let value = metric.value.map_or(f64::NAN, finite);
    ModelMetric {
        model: model.to_owned(),
        run: run_id(&metric.run),
        key: metric.key.clone(),
        dataset_name: metric.dataset_name.clone(),
        dataset_digest: metric.dataset_digest.clone(),
        point: Point { timestamp: metric.timestamp, step: metric.step, value },
    }
}
