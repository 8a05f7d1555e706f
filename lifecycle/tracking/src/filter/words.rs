//! The names of fields in filters, room by room.

use rondo_store::meta::search::{Attribute, DatasetPart, Field, Room};

use super::parser::tag;

/// A field with a head and a key, such as `metrics.rmse`.
pub(super) fn field(room: Room, head: &str, key: &str) -> Option<Field> {
    let measured = matches!(room, Room::Runs | Room::LoggedModels);
    match head.to_lowercase().as_str() {
        "metric" | "metrics" if measured => Some(Field::Metric(key.to_owned(), Vec::new())),
        "param" | "params" | "parameter" | "parameters" if measured => Some(Field::Param(key.to_owned())),
        "tag" | "tags" => Some(tag(room, key)),
        "dataset" | "datasets" if room == Room::Runs => dataset(key).map(Field::Dataset),
        "attribute" | "attributes" | "attr" | "run" => attribute(room, key).map(Field::Attribute),
        _ => None,
    }
}

fn dataset(key: &str) -> Option<DatasetPart> {
    match key {
        "name" => Some(DatasetPart::Name),
        "digest" => Some(DatasetPart::Digest),
        "context" => Some(DatasetPart::Context),
        _ => None,
    }
}

/// An attribute by its name.
pub(super) fn attribute(room: Room, name: &str) -> Option<Attribute> {
    use Attribute as A;
    let name = name.to_lowercase();
    match (room, name.as_str()) {
        (Room::Runs, "run_id" | "id") => Some(A::Id),
        (Room::Runs, "run_name" | "run name") => Some(A::Name),
        (Room::Runs, "user_id" | "user") => Some(A::User),
        (Room::Runs, "status") => Some(A::Status),
        (Room::Runs, "artifact_uri") => Some(A::ArtifactUri),
        (Room::Runs, "start_time" | "created") => Some(A::Started),
        (Room::Runs, "end_time") => Some(A::Ended),
        (Room::Experiments, "experiment_id") => Some(A::Id),
        (Room::Experiments, "creation_time") => Some(A::Created),
        (Room::Experiments, "last_update_time") => Some(A::Updated),
        (Room::LoggedModels, "model_id") => Some(A::Id),
        (Room::LoggedModels, "model_type") => Some(A::Type),
        (Room::LoggedModels, "status") => Some(A::Status),
        (Room::LoggedModels, "source_run_id") => Some(A::SourceRun),
        (Room::LoggedModels | Room::Models | Room::Versions, "creation_timestamp" | "creation_time") => {
            Some(A::Created)
        }
        (
            Room::LoggedModels | Room::Models | Room::Versions,
            "last_updated_timestamp" | "last_updated_time" | "timestamp",
        ) => Some(A::Updated),
        (Room::LoggedModels, "creation_timestamp_ms") => Some(A::Created),
        (Room::LoggedModels, "last_updated_timestamp_ms") => Some(A::Updated),
        (Room::Versions, "version_number" | "version") => Some(A::Number),
        (Room::Versions, "run_id" | "source_run_id") => Some(A::SourceRun),
        (Room::Versions, "source_path") => Some(A::Source),
        (Room::Experiments | Room::LoggedModels | Room::Models | Room::Versions, "name") => Some(A::Name),
        (_, _) => None,
    }
}

/// What may stand where a field is expected.
pub(super) fn expected(room: Room) -> String {
    let fields = match room {
        Room::Runs => {
            "metrics.KEY, params.KEY, tags.KEY, datasets.name, datasets.digest, datasets.context, run_id, run_name, \
             user_id, status, artifact_uri, start_time, end_time"
        }
        Room::Experiments => "name, experiment_id, creation_time, last_update_time, tags.KEY",
        Room::LoggedModels => {
            "metrics.KEY, params.KEY, tags.KEY, name, model_id, model_type, status, source_run_id, \
             creation_timestamp, last_updated_timestamp"
        }
        Room::Models => "name, creation_timestamp, last_updated_timestamp, tags.KEY",
        Room::Versions => {
            "name, version_number, run_id, source_path, creation_timestamp, last_updated_timestamp, tags.KEY"
        }
    };
    format!("expected one of {fields}")
}
