//! The JSON Schema of `rondo.yaml` (draft 2020-12), for editors: completion, help, early warnings.
//!
//! It is generated from [`crate::shape`], the table that the checker walks, and from the packages' own
//! fields. It says less than the checker: references, files and numbers' sense are beyond a schema.

use serde_json::{Map, Value, json};

use crate::builtins::{Builtins, Package};
use crate::package;
use crate::shape::{Form, ROOT, Rule, Shape};
use crate::specifier;

/// What a name looks like.
const NAME: &str = "^[A-Za-z][A-Za-z0-9_-]{0,99}$";
const SPAN: &str = "^\\s*[0-9]+\\s*(ms|s|m|h|d|w)\\s*$";
const BYTES: &str = "^\\s*[0-9.]+\\s*(B|[kKMGT]B?|[KMGT]iB?)\\s*$";

/// What `uses:` is where it names no package that is built in: a folder, or a Git address.
pub(crate) const ELSEWHERE: &str = "^(\\.{1,2}/|[a-z]+://)";

/// The schema, with the `with:` blocks of these packages.
pub fn schema(builtins: &Builtins) -> Value {
    let mut schema = object(&ROOT);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".into(), json!("rondo.yaml"));
        schema.insert("$defs".into(), json!({ "check": check(builtins) }));
    }
    for (section, app) in [("steps", false), ("apps", true)] {
        let blocks: Vec<Value> = builtins
            .packages
            .iter()
            .filter(|package| package.app == app)
            .map(|package| block(package))
            .collect();
        let entry = schema.pointer_mut(&format!("/properties/{section}/additionalProperties"));
        let Some(entry) = entry.and_then(Value::as_object_mut).filter(|_| !blocks.is_empty()) else {
            continue;
        };
        entry.insert("allOf".into(), Value::Array(blocks));
        if let Some(uses) = entry.get_mut("properties").and_then(|properties| properties.get_mut("uses")) {
            let named = json!([{ "enum": names(builtins, app) }, { "type": "string", "pattern": ELSEWHERE }]);
            *uses = json!({ "anyOf": named, "description": uses.get("description") });
        }
    }
    schema
}

/// The packages that are built in for steps, or for apps.
pub(crate) fn names(builtins: &Builtins, app: bool) -> Vec<&str> {
    let packages = builtins.packages.iter().filter(|package| package.app == app);
    packages.map(|package| package.name.as_str()).collect()
}

/// What a check may have: any of these keys, and others, since Great Expectations' form has more.
pub(crate) fn check(builtins: &Builtins) -> Value {
    let keys: Map<String, Value> = builtins.checks.iter().map(|key| ((*key).to_owned(), json!({}))).collect();
    json!({ "type": "object", "properties": keys })
}

pub(crate) fn object(shape: &Shape) -> Value {
    let mut properties = Map::new();
    for key in shape.keys {
        let mut property = form(&key.form);
        if let Some(property) = property.as_object_mut() {
            property.insert("description".into(), json!(key.doc));
        }
        properties.insert(key.name.into(), property);
    }
    let required: Vec<&str> = shape.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    let Some(entries) = schema.as_object_mut() else { return schema };
    if !required.is_empty() {
        entries.insert("required".into(), json!(required));
    }
    let requires = |keys: &[&str]| keys.iter().map(|key| json!({ "required": [key] })).collect::<Vec<_>>();
    for rule in shape.rules {
        match rule {
            Rule::One(keys) => entries.insert("oneOf".into(), json!(requires(keys))),
            Rule::Some(keys) => entries.insert("anyOf".into(), json!(requires(keys))),
            Rule::Beside(key, keys) => {
                let slot = entries.entry("dependentSchemas").or_insert_with(|| json!({}));
                slot.as_object_mut()
                    .and_then(|slot| slot.insert((*key).into(), json!({ "anyOf": requires(keys) })))
            }
        };
    }
    schema
}

fn form(form: &Form) -> Value {
    match form {
        Form::Text | Form::Path => json!({ "type": "string", "minLength": 1 }),
        Form::Version => json!({ "type": ["string", "number"] }),
        Form::Python => json!({ "type": ["string", "number"], "pattern": *specifier::PATTERN }),
        Form::Name => json!({ "type": "string", "pattern": NAME }),
        Form::Span => json!({ "type": "string", "pattern": SPAN }),
        Form::Bytes => {
            json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": BYTES }] })
        }
        Form::Bool => json!({ "type": "boolean" }),
        Form::Int(low, high) => {
            let bound = |bound: i64| (bound != i64::MIN && bound != i64::MAX).then_some(Value::from(bound));
            number("integer", bound(*low), bound(*high))
        }
        Form::Float(low, high) => {
            let bound = |bound: f64| bound.is_finite().then_some(Value::from(bound));
            number("number", bound(*low), bound(*high))
        }
        Form::Choice(words) => json!({ "enum": words }),
        Form::Scalar => json!({ "type": ["string", "number", "boolean"] }),
        Form::Any => json!({}),
        Form::List(item) => json!({ "type": "array", "items": self::form(item) }),
        Form::OneOrMore(item) => {
            let one = self::form(item);
            json!({ "anyOf": [one, { "type": "array", "items": one }] })
        }
        Form::Map(Form::Any) => json!({ "type": "object" }),
        Form::Map(value) => json!({
            "type": "object", "propertyNames": { "pattern": NAME }, "additionalProperties": self::form(value)
        }),
        // Only a project file has checks, and its schema says what they are, once.
        Form::Check => json!({ "$ref": "#/$defs/check" }),
        Form::Object(shape) => object(shape),
        Form::Either(forms) => json!({ "anyOf": forms.iter().map(self::form).collect::<Vec<_>>() }),
    }
}

fn number(kind: &str, low: Option<Value>, high: Option<Value>) -> Value {
    let mut schema = Map::from_iter([("type".to_owned(), json!(kind))]);
    schema.extend(low.map(|low| ("minimum".to_owned(), low)));
    schema.extend(high.map(|high| ("maximum".to_owned(), high)));
    Value::Object(schema)
}

/// What `with:` may hold beside `uses: PACKAGE`.
fn block(package: &Package) -> Value {
    let mut then = json!({ "properties": { "with": package::schema::with(package) } });
    if let Some(then) = then.as_object_mut().filter(|_| package.with.iter().any(|field| field.required)) {
        then.insert("required".into(), json!(["with"]));
    }
    json!({ "if": { "properties": { "uses": { "const": package.name } }, "required": ["uses"] }, "then": then })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtins::{Field, FieldKind};

    #[test]
    fn every_key_of_the_table_is_in_the_schema() {
        let field = Field::required("notebook", FieldKind::Notebook, "The notebook.");
        let package = Package::builtin("papermill", vec![field]);
        let checks = vec!["column", "not_null"];
        let schema =
            schema(&Builtins { packages: [package].into_iter().collect(), checks, ..Builtins::default() });
        insta::assert_json_snapshot!(schema);
    }
}
