//! Traces with their spans and assessments, and webhooks: what releases 3 have beside.

use std::collections::HashMap;

use super::super::{Assessment, Trace, Webhook};
use super::{MlflowDb, PAGE, int, list, optional, optional_int, text};
use crate::Error;

impl MlflowDb {
    /// The next page of traces by id; empty at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn traces(&mut self) -> Result<Vec<Trace>, Error> {
        if !self.has("trace_info") {
            return Ok(Vec::new());
        }
        let after = self.last_trace.clone().unwrap_or_default();
        let statement = self.select(
            "trace_info",
            &["request_id", "experiment_id", "timestamp_ms", "execution_time_ms", "status"],
            &[("client_request_id", "NULL"), ("request_preview", "NULL"), ("response_preview", "NULL")],
            &format!("WHERE request_id > $1 ORDER BY request_id LIMIT {PAGE}"),
        );
        let rows = self.rows(&statement, Some(&after)).await?;
        let mut traces: Vec<Trace> = Vec::with_capacity(rows.len());
        for row in &rows {
            traces.push(Trace {
                id: text(row, 0),
                experiment: text(row, 1),
                started: int(row, 2),
                duration: optional_int(row, 3),
                state: text(row, 4),
                client_request: optional(row, 5),
                request_preview: optional(row, 6),
                response_preview: optional(row, 7),
                ..Trace::default()
            });
        }
        let Some(last) = traces.last() else { return Ok(traces) };
        self.last_trace = Some(last.id.clone());
        let ids = list(traces.iter().map(|trace| trace.id.as_str()));
        let mut tags = self.pairs("trace_tags", "request_id", "key", "value", &ids).await?;
        let mut metadata = self.pairs("trace_request_metadata", "request_id", "key", "value", &ids).await?;
        let mut spans = self.spans(&ids).await?;
        let mut assessments = self.assessments(&ids).await?;
        let mut links = self.links(&ids).await?;
        for trace in &mut traces {
            trace.tags = tags.remove(&trace.id).unwrap_or_default();
            trace.metadata = metadata.remove(&trace.id).unwrap_or_default();
            trace.spans = spans.remove(&trace.id).unwrap_or_default();
            trace.assessments = assessments.remove(&trace.id).unwrap_or_default();
            for (kind, other) in links.remove(&trace.id).unwrap_or_default() {
                match (kind.as_str(), other.rsplit_once('/')) {
                    ("run", _) => trace.runs.push(other),
                    ("prompt_version", Some((name, version))) => {
                        trace.prompts.push((name.to_owned(), version.to_owned()));
                    }
                    _ => {}
                }
            }
        }
        Ok(traces)
    }

    async fn spans(&mut self, ids: &str) -> Result<HashMap<String, Vec<String>>, Error> {
        let mut spans: HashMap<String, Vec<String>> = HashMap::new();
        if !self.has("spans") {
            return Ok(spans);
        }
        let statement =
            "SELECT trace_id, content FROM spans WHERE trace_id IN (SELECT value FROM json_each($1))
             ORDER BY trace_id, start_time_unix_nano, span_id";
        for row in self.rows(statement, Some(ids)).await? {
            spans.entry(text(&row, 0)).or_default().push(text(&row, 1));
        }
        Ok(spans)
    }

    async fn assessments(&mut self, ids: &str) -> Result<HashMap<String, Vec<Assessment>>, Error> {
        let mut assessments: HashMap<String, Vec<Assessment>> = HashMap::new();
        if !self.has("assessments") {
            return Ok(assessments);
        }
        let statement = self.select(
            "assessments",
            &["trace_id", "assessment_id", "assessment_type", "name", "value", "error", "created_timestamp"],
            &[
                ("last_updated_timestamp", "created_timestamp"),
                ("source_type", "NULL"),
                ("source_id", "NULL"),
                ("span_id", "NULL"),
                ("rationale", "NULL"),
                ("overrides", "NULL"),
                ("valid", "1"),
                ("assessment_metadata", "NULL"),
            ],
            "WHERE trace_id IN (SELECT value FROM json_each($1)) ORDER BY trace_id, created_timestamp, assessment_id",
        );
        for row in self.rows(&statement, Some(ids)).await? {
            assessments.entry(text(&row, 0)).or_default().push(Assessment {
                id: text(&row, 1),
                kind: text(&row, 2),
                name: text(&row, 3),
                value: text(&row, 4),
                error: optional(&row, 5),
                created: int(&row, 6),
                updated: int(&row, 7),
                source_type: text(&row, 8),
                source: optional(&row, 9),
                span: optional(&row, 10),
                rationale: optional(&row, 11),
                overrides: optional(&row, 12),
                valid: int(&row, 13) != 0,
                metadata: optional(&row, 14),
            });
        }
        Ok(assessments)
    }

    /// What traces are linked to: the kind and the name of each.
    async fn links(&mut self, ids: &str) -> Result<HashMap<String, Vec<(String, String)>>, Error> {
        let mut links: HashMap<String, Vec<(String, String)>> = HashMap::new();
        if !self.has("entity_associations") {
            return Ok(links);
        }
        let statement = "SELECT source_id, destination_type, destination_id FROM entity_associations
             WHERE source_type = 'trace' AND source_id IN (SELECT value FROM json_each($1))
             ORDER BY source_id, destination_type, destination_id";
        for row in self.rows(statement, Some(ids)).await? {
            links.entry(text(&row, 0)).or_default().push((text(&row, 1), text(&row, 2)));
        }
        Ok(links)
    }

    /// All webhooks that are not deleted. A secret is sealed with a key that is not in the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn webhooks(&mut self) -> Result<Vec<Webhook>, Error> {
        if !self.has("webhooks") {
            return Ok(Vec::new());
        }
        let mut events: HashMap<String, Vec<String>> = HashMap::new();
        if self.has("webhook_events") {
            let statement =
                "SELECT webhook_id, entity, action FROM webhook_events ORDER BY webhook_id, entity, action";
            for row in self.rows(statement, None).await? {
                events.entry(text(&row, 0)).or_default().push(format!("{}.{}", text(&row, 1), text(&row, 2)));
            }
        }
        let statement = self.select(
            "webhooks",
            &["webhook_id", "name", "description", "url", "status", "secret IS NOT NULL"],
            &[("creation_timestamp", "0"), ("last_updated_timestamp", "NULL"), ("deleted_timestamp", "NULL")],
            "ORDER BY webhook_id",
        );
        let rows = self.rows(&statement, None).await?;
        let living = rows.iter().filter(|row| optional_int(row, 8).is_none());
        let webhook = |row| {
            let (id, created) = (text(row, 0), int(row, 6));
            Webhook {
                name: text(row, 1),
                description: text(row, 2),
                url: text(row, 3),
                active: text(row, 4) == "ACTIVE",
                sealed: int(row, 5) != 0,
                created,
                updated: optional_int(row, 7).unwrap_or(created),
                events: events.remove(&id).unwrap_or_default(),
                id,
            }
        };
        Ok(living.map(webhook).collect())
    }
}
