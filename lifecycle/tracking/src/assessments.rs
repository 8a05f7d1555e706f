//! Assessments: what people, code and judges say of a trace, or expect of it.

use rondo_store::meta::assessments::{Assessment, AssessmentRecord};
use serde_json::{Map, Value, json};

use crate::traces::preview::spaced;
use crate::{Error, Tracking, limits};

/// The metadata key by which an assessment is of its trace's whole session.
const SESSION: &str = "mlflow.trace.session";

/// What a client says of a trace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewAssessment {
    /// Its id, where the client has made one.
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// `feedback`, `expectation` or `issue`.
    pub kind: String,
    /// When it was made, where the client says.
    pub created: Option<i64>,
    /// When it was changed, where the client says.
    pub updated: Option<i64>,
    /// Whether it counts.
    pub valid: bool,
    /// The rest.
    pub record: AssessmentRecord,
}

/// What changes of an assessment; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AssessmentChange {
    /// Its name.
    pub name: Option<String>,
    /// Its kind, which cannot change, and its value.
    pub value: Option<(String, Map<String, Value>)>,
    /// Why.
    pub rationale: Option<String>,
    /// More, merged by key.
    pub metadata: Option<Map<String, Value>>,
    /// Whether it counts.
    pub valid: Option<bool>,
}

impl Tracking {
    /// An assessment as it will be kept.
    ///
    /// # Errors
    /// When something is out of bounds.
    pub fn new_assessment(&self, trace: &str, new: NewAssessment) -> Result<Assessment, Error> {
        let now = self.now().millis();
        let made = || format!("a-{}", rondo_core::RunId::random().hex());
        let mut assessment = Assessment {
            id: new.id.filter(|id| !id.is_empty()).unwrap_or_else(made),
            trace: trace.to_owned(),
            kind: new.kind,
            name: new.name,
            text: String::new(),
            session: None,
            valid: new.valid,
            created: rondo_core::Timestamp(new.created.unwrap_or(now)),
            updated: rondo_core::Timestamp(new.updated.unwrap_or(now)),
            record: new.record,
        };
        settle(&mut assessment)?;
        Ok(assessment)
    }

    /// Keeps a new assessment, and marks the one that it overrides.
    ///
    /// # Errors
    /// When the trace or the overridden one does not exist, or something is out of bounds.
    pub async fn assess(&self, trace: &str, new: NewAssessment) -> Result<Assessment, Error> {
        self.trace(trace).await?;
        let assessment = self.new_assessment(trace, new)?;
        if let Some(other) = &assessment.record.overrides {
            self.assessment(trace, other).await?;
        }
        self.meta().create_assessments(vec![assessment.clone()]).await?;
        Ok(assessment)
    }

    /// An assessment of a trace.
    ///
    /// # Errors
    /// When there is no such trace or assessment.
    pub async fn assessment(&self, trace: &str, id: &str) -> Result<Assessment, Error> {
        if let Some(found) = self.meta().assessment(trace, id).await? {
            return Ok(found);
        }
        self.trace(trace).await?;
        Err(Error::AssessmentNotFound { id: id.to_owned(), trace: trace.to_owned() })
    }

    /// Changes an assessment; the changed one.
    ///
    /// # Errors
    /// When there is none, its kind would change, or something is out of bounds.
    pub async fn change_assessment(
        &self,
        trace: &str,
        id: &str,
        change: AssessmentChange,
    ) -> Result<Assessment, Error> {
        self.assessment(trace, id).await?;
        let now = self.now();
        let changed = self.meta().change_assessment(trace, id, move |mut assessment| {
            if let Some((kind, value)) = change.value {
                if kind != assessment.kind {
                    return Err(Error::AssessmentKind { given: kind, kept: assessment.kind });
                }
                assessment.record.value = value;
            }
            if let Some(name) = change.name {
                assessment.name = name;
            }
            assessment.record.rationale = change.rationale.or(assessment.record.rationale);
            assessment.record.metadata.extend(change.metadata.unwrap_or_default());
            assessment.valid = change.valid.unwrap_or(assessment.valid);
            assessment.updated = now;
            settle(&mut assessment)?;
            Ok(assessment)
        });
        changed.await?
    }

    /// Deletes an assessment; one that is not there is as good as deleted.
    ///
    /// # Errors
    /// When there is no such trace.
    pub async fn delete_assessment(&self, trace: &str, id: &str) -> Result<(), Error> {
        self.trace(trace).await?;
        Ok(self.meta().delete_assessment(trace, id).await?)
    }
}

/// Checks an assessment, and says anew what filters see of it.
fn settle(assessment: &mut Assessment) -> Result<(), Error> {
    if assessment.name.is_empty() {
        return Err(limits::invalid("assessment name", "", "it is empty"));
    }
    limits::length("assessment name", &assessment.name, limits::KEY)?;
    limits::length("assessment id", &assessment.id, 50)?;
    if let Some(Value::String(source)) = assessment.record.source.get("source_id") {
        limits::length("assessment source", source, limits::KEY)?;
    }
    if assessment.kind == "feedback" {
        // A feedback without a value says that there is none, as one that failed.
        assessment.record.value.entry("value").or_insert(Value::Null);
    }
    if assessment.kind == "expectation"
        && let Some(value) =
            assessment.record.value.get("value").filter(|value| value.is_object() || value.is_array())
    {
        // An object or a list is answered as JSON in a text, as MLflow's server does: its clients look for it there.
        let written = json!({ "serialization_format": "JSON_FORMAT", "value": spaced(value) });
        assessment.record.value = Map::from_iter([("serialized_value".to_owned(), written)]);
    }
    let value = &assessment.record.value;
    let written = value.get("serialized_value").and_then(|form| form.get("value")).and_then(Value::as_str);
    let parsed = written.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let value = parsed.as_ref().or_else(|| value.get("value")).unwrap_or(&Value::Null);
    assessment.text = match value {
        Value::String(text) => text.clone(),
        // As Python writes it, since that is what people filter by.
        other => spaced(other),
    };
    let session = assessment.record.metadata.get(SESSION).and_then(Value::as_str);
    assessment.session = session.map(str::to_owned);
    Ok(())
}
