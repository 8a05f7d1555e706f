//! What can be told: MLflow's events, with an example of each.

use serde_json::{Value, json};

/// The events that exist, by the name of their entity and action.
pub const EVENTS: [&str; 15] = [
    "registered_model.created",
    "model_version.created",
    "model_version_tag.set",
    "model_version_tag.deleted",
    "model_version_alias.created",
    "model_version_alias.deleted",
    "prompt.created",
    "prompt_version.created",
    "prompt_tag.set",
    "prompt_tag.deleted",
    "prompt_version_tag.set",
    "prompt_version_tag.deleted",
    "prompt_alias.created",
    "prompt_alias.deleted",
    // Nothing here has budgets; clients may ask to be told of them all the same.
    "budget_policy.exceeded",
];

/// Data as a test of a webhook sends them; nothing where there is no such event.
pub fn example(event: &str) -> Option<Value> {
    if !EVENTS.contains(&event) {
        return None;
    }
    let (entity, action) = event.split_once('.')?;
    let tags = json!({ "example_key": "example_value" });
    if entity == "budget_policy" {
        return Some(json!({
            "budget_policy_id": "bp-abc123", "budget_unit": "USD", "budget_amount": 100.0,
            "current_spend": 105.5, "duration_unit": "MONTHS", "duration_value": 1,
            "target_scope": "WORKSPACE", "workspace": "default", "window_start": 1_704_067_200_000_i64,
        }));
    }
    let (thing, words) = if entity.starts_with("prompt") {
        ("prompt", ["An example prompt", "An example prompt version"])
    } else {
        ("model", ["An example registered model", "An example model version"])
    };
    let mut data = json!({ "name": format!("example_{thing}") });
    let of_version = entity.ends_with("_version") || entity.ends_with("_version_tag");
    if of_version {
        data["version"] = json!("1");
    }
    match entity {
        "model_version" => {
            data["source"] = json!("models:/123");
            data["run_id"] = json!("abcd1234abcd5678");
        }
        "prompt_version" => data["template"] = json!("Hello {{name}}!"),
        _ => {}
    }
    if entity.ends_with("_tag") {
        data["key"] = json!("example_key");
        if action == "set" {
            data["value"] = json!("example_value");
        }
    } else if entity.ends_with("_alias") {
        data["alias"] = json!("example_alias");
        if action == "created" {
            data["version"] = json!("1");
        }
    } else {
        let [whole, version] = words;
        data["tags"] = tags;
        data["description"] = json!(if of_version { version } else { whole });
    }
    Some(data)
}
