//! Label Studio's export in JSON: a list of tasks, each with its data and its annotations, each of these with
//! the results of one annotator. The short form (`JSON-MIN`) has one annotation a task, with its values beside
//! the data's.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Label, broken};
use crate::Error;

/// The keys of a result's value that hold what was said, by the type of the result.
const VALUES: [(&str, &str); 11] = [
    ("choices", "class"),
    ("rectanglelabels", "box"),
    ("ellipselabels", "ellipse"),
    ("polygonlabels", "polygon"),
    ("keypointlabels", "point"),
    ("brushlabels", "mask"),
    ("labels", "span"),
    ("hypertextlabels", "span"),
    ("timeserieslabels", "span"),
    ("taxonomy", "class"),
    ("text", "text"),
];

/// The labels of an export; nothing where it is JSON of another kind.
pub(super) fn read(path: &Path, text: &str) -> Result<Option<Vec<Label>>, Error> {
    let root: Value = serde_json::from_str(text).map_err(|error| broken(path, &error.to_string()))?;
    let Some(tasks) = root.as_array() else { return Ok(None) };
    let first = tasks.first().and_then(Value::as_object);
    let is_full =
        first.is_some_and(|task| task.contains_key("annotations") || task.contains_key("completions"));
    let is_short =
        first.is_some_and(|task| task.contains_key("annotator") && task.contains_key("annotation_id"));
    let mut labels = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        let fault = |reason: &str| broken(path, &format!("task {}: {reason}", index + 1));
        let task = task.as_object().ok_or_else(|| fault("it is no object"))?;
        match (is_full, is_short) {
            (true, _) => full(task, index, &mut labels).map_err(|reason| fault(&reason))?,
            (false, true) => short(task, index, &mut labels),
            (false, false) => return Ok(None),
        }
    }
    Ok(Some(labels))
}

fn full(task: &Map<String, Value>, index: usize, labels: &mut Vec<Label>) -> Result<(), String> {
    let item = item(task.get("data").and_then(Value::as_object), task, index);
    let annotations = task.get("annotations").or_else(|| task.get("completions"));
    let annotations = annotations.and_then(Value::as_array).ok_or("its `annotations` are no list")?;
    for annotation in annotations {
        if annotation.get("was_cancelled").and_then(Value::as_bool) == Some(true) {
            continue;
        }
        let annotator = annotation.get("completed_by").and_then(person);
        let results = annotation.get("result").and_then(Value::as_array).ok_or("a `result` is no list")?;
        for result in results {
            take(result, &item, annotator.as_deref(), labels);
        }
    }
    Ok(())
}

/// One result; relations and the like say nothing of the item and are passed over.
fn take(result: &Value, item: &str, annotator: Option<&str>, labels: &mut Vec<Label>) {
    let Some(value) = result.get("value").and_then(Value::as_object) else { return };
    let question = result.get("from_name").and_then(Value::as_str).map(str::to_owned);
    let label = |text: String, kind: &str| Label {
        annotator: annotator.map(str::to_owned),
        kind: kind.to_owned(),
        question: question.clone(),
        region: region(value, result),
        shape: shape(value),
        ..Label::class(item, &text)
    };
    if let Some(rating) = value.get("rating").or_else(|| value.get("number")).and_then(Value::as_f64) {
        labels.push(label(rating.to_string(), "rating"));
        return;
    }
    // `text` beside labels is the text that they are of.
    let Some((said, kind)) = VALUES.iter().find_map(|(key, kind)| Some((value.get(*key)?, *kind))) else {
        return;
    };
    match said {
        Value::Array(many) => {
            for one in many {
                let text = match one {
                    Value::String(text) => text.clone(),
                    // Of a taxonomy the way down to it.
                    Value::Array(way) => way.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("/"),
                    other => other.to_string(),
                };
                labels.push(label(text, kind));
            }
        }
        Value::String(text) => labels.push(label(text.clone(), kind)),
        _ => {}
    }
}

fn short(task: &Map<String, Value>, index: usize, labels: &mut Vec<Label>) {
    const BESIDE: [&str; 7] =
        ["id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "predictions"];
    let data = task.iter().filter(|(key, value)| !BESIDE.contains(&key.as_str()) && value.is_string());
    let links: Map<String, Value> = data
        .clone()
        .filter(|(_, value)| value.as_str().is_some_and(|text| text.contains('/')))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let item = item(Some(&links), task, index);
    let annotator = task.get("annotator").and_then(person);
    for (key, value) in
        task.iter().filter(|(key, _)| !BESIDE.contains(&key.as_str()) && !links.contains_key(*key))
    {
        let said: Vec<String> = match value {
            Value::String(text) if *key != "text" => vec![text.clone()],
            Value::Object(many) => many
                .get("choices")
                .and_then(Value::as_array)
                .map(|many| many.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                .unwrap_or_default(),
            Value::Array(regions) => {
                for region in regions {
                    let result = serde_json::json!({ "value": region, "from_name": key });
                    take(&result, &item, annotator.as_deref(), labels);
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        for text in said {
            let question = Some(key.clone());
            labels.push(Label { annotator: annotator.clone(), question, ..Label::class(&item, &text) });
        }
    }
}

/// What the task is of: the file that its data lead to, else its number.
fn item(data: Option<&Map<String, Value>>, task: &Map<String, Value>, index: usize) -> String {
    let keys = ["image", "audio", "video", "img", "file", "url"];
    let by_key = data.and_then(|data| keys.iter().find_map(|key| data.get(*key)?.as_str()));
    let link = by_key.or_else(|| {
        data?.values().filter_map(Value::as_str).find(|text| text.contains('/') && !text.contains(' '))
    });
    if let Some(link) = link {
        let link = link.split_once("?d=").map_or(link, |(_, path)| path);
        return link.split('?').next().unwrap_or(link).to_owned();
    }
    task.get("id").map_or_else(|| (index + 1).to_string(), Value::to_string)
}

/// A person: a number, an address, or an object with one.
fn person(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(map) => {
            map.get("email").or_else(|| map.get("username")).or_else(|| map.get("id")).and_then(person)
        }
        _ => None,
    }
}

/// Label Studio counts in hundredths of the picture.
fn region(value: &Map<String, Value>, result: &Value) -> Option<[f64; 4]> {
    let number = |key: &str| value.get(key).and_then(Value::as_f64);
    let of = |key: &str| result.get(key).or_else(|| value.get(key)).and_then(Value::as_f64);
    let (wide, high) = (of("original_width").unwrap_or(100.0), of("original_height").unwrap_or(100.0));
    let [x, y] = [number("x")? * wide / 100.0, number("y")? * high / 100.0];
    let (width, height) = match (number("width"), number("height")) {
        (Some(width), Some(height)) => (width * wide / 100.0, height * high / 100.0),
        _ => (0.0, 0.0),
    };
    Some([x, y, width, height])
}

fn shape(value: &Map<String, Value>) -> Option<Value> {
    if let Some(points) = value.get("points") {
        return Some(points.clone());
    }
    let ends = value.get("start").zip(value.get("end"));
    ends.map(|(start, end)| Value::Array(vec![start.clone(), end.clone()]))
}
