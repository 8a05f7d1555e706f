//! Spans of other instrumentations: what OpenTelemetry's GenAI conventions, OpenInference and OpenLLMetry
//! say in words of their own is said in MLflow's words too, beside them. What a span says in MLflow's
//! words already is left as it is.

use serde_json::{Map, Value, json};

use super::span::{INPUTS, MODEL, OUTPUTS, Span, TYPE, USAGE};

const INPUT: [&str; 5] = [
    "input.value",
    "gen_ai.input.messages",
    "gen_ai.tool.call.arguments",
    "traceloop.entity.input",
    "gen_ai.prompt",
];
const OUTPUT: [&str; 5] = [
    "output.value",
    "gen_ai.output.messages",
    "gen_ai.tool.call.result",
    "traceloop.entity.output",
    "gen_ai.completion",
];
const MODELS: [&str; 4] =
    ["gen_ai.response.model", "gen_ai.request.model", "llm.model_name", "embedding.model_name"];
const PROVIDER: &str = "mlflow.llm.provider";
const PROVIDERS: [&str; 3] = ["gen_ai.provider.name", "gen_ai.system", "llm.provider"];
const KINDS: [&str; 3] = ["openinference.span.kind", "gen_ai.operation.name", "traceloop.span.kind"];
/// Tokens by MLflow's name, and what the others call them.
const TOKENS: [(&str, [&str; 3]); 3] = [
    ("input_tokens", ["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"]),
    (
        "output_tokens",
        ["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"],
    ),
    ("total_tokens", ["gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"]),
];

/// Says in MLflow's words what a span says in another convention's.
pub(super) fn translate(span: &mut Span) {
    let attributes = &mut span.attributes;
    let kind = attributes.get(TYPE).and_then(Value::as_str);
    if matches!(kind, None | Some("UNKNOWN"))
        && let Some(kind) = first(attributes, &KINDS).and_then(|kind| kind_of(kind.as_str()?))
    {
        attributes.insert(TYPE.to_owned(), Value::from(kind));
    }
    for (key, others) in
        [(INPUTS, &INPUT[..]), (OUTPUTS, &OUTPUT[..]), (MODEL, &MODELS[..]), (PROVIDER, &PROVIDERS[..])]
    {
        if !attributes.contains_key(key)
            && let Some(value) = first(attributes, others).cloned()
        {
            attributes.insert(key.to_owned(), value);
        }
    }
    if !attributes.contains_key(USAGE)
        && let Some(usage) = usage(attributes)
    {
        attributes.insert(USAGE.to_owned(), usage);
    }
}

fn first<'a>(attributes: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a Value> {
    keys.iter().find_map(|key| attributes.get(*key)).filter(|value| !value.is_null())
}

fn usage(attributes: &Map<String, Value>) -> Option<Value> {
    let count = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    let mut usage = Map::new();
    for (name, keys) in TOKENS {
        if let Some(count) = first(attributes, &keys).and_then(count) {
            usage.insert(name.to_owned(), Value::from(count));
        }
    }
    let part = |name: &str| usage.get(name).and_then(Value::as_i64);
    if let (None, Some(input), Some(output)) =
        (part("total_tokens"), part("input_tokens"), part("output_tokens"))
    {
        usage.insert("total_tokens".to_owned(), json!(input.saturating_add(output)));
    }
    Some(Value::Object(usage)).filter(|usage| usage.as_object().is_some_and(|usage| !usage.is_empty()))
}

fn kind_of(kind: &str) -> Option<&'static str> {
    Some(match kind.to_lowercase().as_str() {
        "llm" | "text_completion" | "generate_content" => "LLM",
        "chat" => "CHAT_MODEL",
        "chain" => "CHAIN",
        "workflow" => "WORKFLOW",
        "task" => "TASK",
        "tool" | "execute_tool" => "TOOL",
        "agent" | "create_agent" | "invoke_agent" => "AGENT",
        "retriever" => "RETRIEVER",
        "embedding" | "embeddings" => "EMBEDDING",
        "reranker" => "RERANKER",
        "guardrail" => "GUARDRAIL",
        "evaluator" => "EVALUATOR",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(attributes: Value) -> Map<String, Value> {
        let text = json!([{ "id": "01", "otel": "02", "name": "x", "start": 1, "attributes": attributes }]);
        let mut span = super::super::span::merge(&[text.to_string()]).unwrap().pop().unwrap();
        translate(&mut span);
        span.attributes
    }

    #[test]
    fn other_conventions_are_understood() {
        let said = translated(json!({
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.system": "p",
            "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": "4", "input.value": "hello",
        }));
        assert_eq!(said[TYPE], "CHAT_MODEL");
        assert_eq!(
            (&said[MODEL], &said[PROVIDER], &said[INPUTS]),
            (&json!("m"), &json!("p"), &json!("hello"))
        );
        assert_eq!(said[USAGE], json!({ "input_tokens": 3, "output_tokens": 4, "total_tokens": 7 }));
        assert_eq!(said["gen_ai.request.model"], "m");
    }

    #[test]
    fn what_is_said_in_mlflows_words_stands() {
        let given = json!({ TYPE: "TOOL", USAGE: {}, INPUTS: null, "gen_ai.operation.name": "chat",
                            "input.value": "x", "gen_ai.usage.input_tokens": 3 });
        assert_eq!(Value::Object(translated(given.clone())), given);
        assert!(translated(json!({ "gen_ai.operation.name": "dance" })).get(TYPE).is_none());
    }
}
