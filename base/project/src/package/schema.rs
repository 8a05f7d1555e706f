//! A package's interface as JSON Schema (draft 2020-12): what a step that uses it looks like, and its
//! `with:` block.

use serde_json::{Map, Value, json};

use super::{Field, FieldKind, Package, Port, Ports};
use crate::shape::pipeline::STEP;

const SPAN: &str = "^\\s*[0-9]+\\s*(ms|s|m|h|d|w)\\s*$";

/// The schema of a step that uses the package; `uses` is what it writes after `uses:`.
pub fn step(package: &Package, uses: &str) -> Value {
    let mut schema = crate::schema::object(&STEP);
    let Some(entries) = schema.as_object_mut() else { return schema };
    entries.remove("oneOf");
    entries.remove("dependentSchemas");
    if let Some(properties) = entries.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove("run");
        properties.remove("sql");
        properties.insert("uses".into(), json!({ "const": uses }));
        properties.insert("with".into(), with(package));
        properties.insert("inputs".into(), inputs(package));
        properties.insert("outputs".into(), outputs(package));
    }
    let mut required = vec!["uses"];
    if package.with.iter().any(|field| field.required) {
        required.push("with");
    }
    for (key, ports) in [("inputs", &package.inputs), ("outputs", &package.outputs)] {
        if ports.listed().iter().any(|port| port.required) {
            required.push(key);
        }
    }
    entries.insert("required".into(), json!(required));
    entries.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    entries.insert("title".into(), json!(format!("{} {}", package.name, package.version)));
    entries.insert("description".into(), json!(package.summary));
    schema
}

/// The schema of the package's `with:` block.
pub fn with(package: &Package) -> Value {
    let properties: Map<String, Value> =
        package.with.iter().map(|item| (item.name.clone(), field(item))).collect();
    let required: Vec<&str> =
        package.with.iter().filter(|item| item.required).map(|item| item.name.as_str()).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

fn inputs(package: &Package) -> Value {
    let list = json!({ "type": "array", "items": { "type": "string", "minLength": 1 } });
    match &package.inputs {
        Ports::Any => {
            json!({ "anyOf": [list, { "type": "object", "additionalProperties": { "type": "string" } }] })
        }
        Ports::Listed(listed) => json!({ "anyOf": [list, ports(listed)] }),
    }
}

fn outputs(package: &Package) -> Value {
    match &package.outputs {
        Ports::Any => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Ports::Listed(listed) => ports(listed),
    }
}

fn ports(ports: &[Port]) -> Value {
    let property = |port: &Port| {
        let doc = if port.doc.is_empty() { port.kind.noun() } else { &port.doc };
        (port.name.clone(), json!({ "type": "string", "minLength": 1, "description": doc }))
    };
    let properties: Map<String, Value> = ports.iter().map(property).collect();
    let required: Vec<&str> =
        ports.iter().filter(|port| port.required).map(|port| port.name.as_str()).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

/// The schema of one parameter.
pub fn field(field: &Field) -> Value {
    let kind = if field.allowed.is_empty() { kind(field) } else { json!({ "enum": field.allowed }) };
    // An expression may stand for any value.
    let constrained = field.pattern.is_some() || !field.allowed.is_empty();
    let mut schema = match field.kind {
        FieldKind::Any | FieldKind::Secret => kind,
        FieldKind::Text | FieldKind::File | FieldKind::Notebook | FieldKind::Column | FieldKind::Texts
            if !constrained =>
        {
            kind
        }
        _ => json!({ "anyOf": [kind, { "type": "string", "pattern": "\\$\\{\\{" }] }),
    };
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".into(), json!(field.doc));
        schema.extend(field.default.clone().map(|default| ("default".to_owned(), default)));
    }
    schema
}

fn kind(field: &Field) -> Value {
    let mut schema = match field.kind {
        FieldKind::Text | FieldKind::File | FieldKind::Notebook | FieldKind::Column => {
            json!({ "type": "string" })
        }
        FieldKind::Int => json!({ "type": "integer" }),
        FieldKind::Float => json!({ "type": "number" }),
        FieldKind::Bool => json!({ "type": "boolean" }),
        FieldKind::Span => json!({ "type": "string", "pattern": SPAN }),
        FieldKind::Parameters => json!({ "type": "object" }),
        FieldKind::Texts => {
            let one = json!({ "type": "string", "minLength": 1 });
            json!({ "anyOf": [one, { "type": "array", "items": one }] })
        }
        FieldKind::Ints => json!({ "type": "array", "items": { "type": "integer" } }),
        FieldKind::Floats => json!({ "type": "array", "items": { "type": "number" } }),
        FieldKind::Secret => json!({
            "type": "object", "additionalProperties": false, "required": ["from_env"],
            "properties": { "from_env": { "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" } }
        }),
        FieldKind::Secrets => json!({
            "type": "object",
            "additionalProperties": { "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }
        }),
        FieldKind::Size => json!({ "type": ["string", "integer"] }),
        FieldKind::Any => json!({}),
    };
    let Some(entries) = schema.as_object_mut() else { return schema };
    let words = if field.kind.is_list() { ("minItems", "maxItems") } else { ("minimum", "maximum") };
    let number = |number: f64| -> Value {
        // A whole number is written as one.
        if number.fract() == 0.0 && number.abs() < 9e15 { json!(number as i64) } else { json!(number) }
    };
    entries.extend(field.min.map(|min| (words.0.to_owned(), number(min))));
    entries.extend(field.max.map(|max| (words.1.to_owned(), number(max))));
    entries.extend(
        field.pattern.as_ref().map(|pattern| ("pattern".to_owned(), json!(format!("^(?:{pattern})$")))),
    );
    schema
}
