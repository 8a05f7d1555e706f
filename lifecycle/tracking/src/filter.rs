//! Filters and orders as text: MLflow's grammar, and more.
//!
//! MLflow takes tests joined by AND. Here OR, NOT, parentheses and IN on every field are taken too, and a
//! parameter is compared with a number as a number (`params.depth > 5`, true of those that read as one).
//! A test of a metric, parameter or tag that a run has not got is false, whatever the operator; `NOT` of it
//! is true. Keys with unusual characters stand in backticks or double quotes. How long, how deep and of
//! how many tests and values a filter may be is bounded.

mod lexer;
mod parser;
pub mod traces;
mod words;

use rondo_store::meta::search::{Condition, Field, Order, Room};

use crate::Error;
use parser::Parser;

/// The tag by which clients keep prompts among the registered models.
pub const PROMPT: &str = "mlflow.prompt.is_prompt";

/// How long a filter may be.
const LENGTH: usize = 65_536;

/// The condition that a filter's text means; an empty one is true of everything.
///
/// # Errors
/// [`Error::Filter`] with the place and what was expected there.
pub fn parse(room: Room, text: &str) -> Result<Condition, Error> {
    if text.len() > LENGTH {
        let reason = format!("longer than {LENGTH} bytes");
        return Err(Error::Filter { what: "filter", at: LENGTH, reason });
    }
    Parser::new("filter", room, text)?.filter()
}

/// The keys of an order, each `FIELD [ASC | DESC]`.
///
/// # Errors
/// [`Error::Filter`] with the place and what was expected there.
pub fn order(room: Room, keys: &[String]) -> Result<Vec<Order>, Error> {
    if keys.len() > 20 {
        return Err(Error::TooMany { what: "keys of an order", found: keys.len(), limit: 20 });
    }
    keys.iter()
        .map(|text| {
            let (field, descending) = Parser::new("order", room, text)?.order()?;
            Ok(Order { field, descending })
        })
        .collect()
}

/// The field of a room that a text names, as in a filter.
///
/// # Errors
/// [`Error::Filter`] with the place and what was expected there.
pub fn field(room: Room, text: &str) -> Result<Field, Error> {
    Parser::new("column", room, text)?.column()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rondo_store::meta::search::{Attribute, Comparison, Scalar, Test};

    use super::*;

    fn metric(key: &str, comparison: Comparison, value: f64) -> Condition {
        let field = Field::Metric(key.to_owned(), Vec::new());
        Condition::Test(field, Test::Compare(comparison, Scalar::Real(value)))
    }

    fn tag(key: &str, value: &str) -> Condition {
        let value = Scalar::Text(value.to_owned());
        Condition::Test(Field::Tag(key.to_owned()), Test::Compare(Comparison::Equal, value))
    }

    #[test]
    fn mlflows_own_grammar_is_taken() {
        let all = Condition::All(vec![
            metric("rmse", Comparison::Less, 1.5),
            tag("a b", "x"),
            Condition::Test(
                Field::Attribute(Attribute::Name),
                Test::Like { pattern: "tr%".into(), ignore_case: false },
            ),
        ]);
        let text = "metrics.rmse < 1.5 and tags.`a b` = 'x' AND attributes.run_name LIKE \"tr%\"";
        assert_eq!(parse(Room::Runs, text).unwrap(), all);
        assert_eq!(parse(Room::Runs, "  ").unwrap(), Condition::All(vec![]));
        for text in [
            "metric.\"a/b\" >= -1e-3",
            "params.x IS NOT NULL",
            "run_id IN ('a', \"b\")",
            "attributes.start_time > 1700000000000",
            "datasets.name NOT IN ('x')",
            "parameters.model != 'it''s'",
            "tag.mlflow.parentRunId = 'x'",
            "status ILIKE 'fin%'",
        ] {
            assert!(parse(Room::Runs, text).is_ok(), "{text}: {:?}", parse(Room::Runs, text));
        }
    }

    #[test]
    fn parameters_are_compared_with_numbers_as_numbers_and_with_texts_as_texts() {
        let param = |test| Condition::Test(Field::Param("depth".to_owned()), test);
        let number = Test::Compare(Comparison::Greater, Scalar::Real(5.0));
        assert_eq!(parse(Room::Runs, "params.depth > 5").unwrap(), param(number));
        let text = Test::Compare(Comparison::Equal, Scalar::Text("5".into()));
        assert_eq!(parse(Room::Runs, "params.depth = '5'").unwrap(), param(text));
        let list = Test::In(vec![Scalar::Real(1.0), Scalar::Real(2.5)]);
        assert_eq!(parse(Room::Runs, "params.depth IN (1, 2.5)").unwrap(), param(list));
        let texts = Test::NotIn(vec![Scalar::Text("a".into())]);
        assert_eq!(parse(Room::LoggedModels, "params.depth NOT IN ('a')").unwrap(), param(texts));
        for refused in
            ["params.depth > '5'", "params.depth IN (1, 'a')", "tags.depth > 5", "params.depth LIKE 5"]
        {
            assert!(parse(Room::Runs, refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn what_a_filter_may_cost_is_bounded() {
        let list = |n: usize| format!("run_id IN ({})", vec!["'x'"; n].join(","));
        assert!(parse(Room::Runs, &list(10_000)).is_ok());
        assert!(parse(Room::Runs, &format!("{} OR {}", list(6_000), list(6_000))).is_err());
        assert!(parse(Room::Runs, &vec!["tags.a = 'x'"; 300].join(" OR ")).is_ok());
        assert!(parse(Room::Runs, &vec!["tags.a = 'x'"; 301].join(" OR ")).is_err());
        assert!(parse(Room::Runs, &format!("tags.a LIKE '{}'", "%a".repeat(6_000))).is_err());
        assert!(parse(Room::Runs, &format!("tags.a = '{}'", "x".repeat(70_000))).is_err());
    }

    #[test]
    fn or_not_and_parentheses_bind_as_usual() {
        let (a, b, c) = (tag("a", "1"), tag("b", "2"), tag("c", "3"));
        let parsed = parse(Room::Runs, "tags.a = '1' OR tags.b = '2' AND NOT tags.c = '3'").unwrap();
        let not = |inner: &Condition| Condition::Not(Box::new(inner.clone()));
        assert_eq!(parsed, Condition::Any(vec![a.clone(), Condition::All(vec![b.clone(), not(&c)])]));
        let parsed = parse(Room::Runs, "(tags.a = '1' OR tags.b = '2') AND NOT (tags.c = '3')").unwrap();
        assert_eq!(parsed, Condition::All(vec![Condition::Any(vec![a, b]), not(&c)]));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (text, at) in [
            ("metrics.a > '1'", 13),
            ("metrics.a", 10),
            ("params.a > 'x'", 10),
            ("params.a = x", 12),
            ("nonsense.a = 'x'", 1),
            ("flavour = 'x'", 1),
            ("tags.a = 'x", 10),
            ("tags.a = 'x' tags.b = 'y'", 14),
            ("(tags.a = 'x'", 14),
            ("tags.a = 'x' AND", 17),
            ("run_id IN 'a'", 11),
            ("run_id IN ()", 12),
            ("metrics.a > nan", 13),
            ("start_time > 'x'", 14),
            ("metrics.a ; drop", 11),
        ] {
            match parse(Room::Runs, text) {
                Err(Error::Filter { at: found, .. }) => assert_eq!(found, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        let deep = format!("{}tags.a = '1'{}", "(".repeat(1000), ")".repeat(1000));
        assert!(parse(Room::Runs, &deep).is_err());
        assert!(parse(Room::Runs, &"NOT ".repeat(1000)).is_err());
    }

    #[test]
    fn each_room_has_its_own_fields() {
        assert!(parse(Room::Experiments, "name ILIKE 'a%' AND tags.x = 'y'").is_ok());
        assert!(parse(Room::Experiments, "metrics.a > 1").is_err());
        assert!(parse(Room::Models, "name = 'x'").is_ok());
        assert!(parse(Room::Versions, "name='x' and run_id = 'y' and version_number > 1").is_ok());
        assert!(parse(Room::LoggedModels, "metrics.a > 1 AND name = 'm'").is_ok());
    }

    #[test]
    fn orders_have_directions() {
        let keys = ["metrics.`a b` DESC".to_owned(), "start_time".to_owned(), "tags.x asc".to_owned()];
        let order = order(Room::Runs, &keys).unwrap();
        assert_eq!(order.iter().map(|key| key.descending).collect::<Vec<_>>(), [true, false, false]);
        assert!(super::order(Room::Runs, &["metrics.a sideways".to_owned()]).is_err());
        assert!(super::order(Room::Runs, &[String::new()]).is_err());
    }

    /// A condition and a text that means it.
    fn written() -> impl Strategy<Value = (String, Condition)> {
        let leaf = prop_oneof![
            ("[a-z]{1,4}", -1000i32..1000).prop_map(|(key, value)| {
                (
                    format!("metrics.{key} >= {value}"),
                    metric(&key, Comparison::GreaterOrEqual, f64::from(value)),
                )
            }),
            ("[a-z ./é]{1,6}", "[^'\\x00]{0,6}")
                .prop_map(|(key, value)| { (format!("tags.`{key}` = '{value}'"), tag(&key, &value)) }),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| {
                    let text: Vec<String> = parts.iter().map(|(text, _)| format!("({text})")).collect();
                    (text.join(" AND "), Condition::All(parts.into_iter().map(|(_, c)| c).collect()))
                }),
                prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| {
                    let text: Vec<String> = parts.iter().map(|(text, _)| format!("({text})")).collect();
                    (text.join(" or "), Condition::Any(parts.into_iter().map(|(_, c)| c).collect()))
                }),
                inner.prop_map(|(text, c)| (format!("NOT ({text})"), Condition::Not(Box::new(c)))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read((text, condition) in written()) {
            prop_assert_eq!(parse(Room::Runs, &text).unwrap(), condition);
        }

        #[test]
        fn no_text_brings_it_down(text in ".{0,60}") {
            let _ = parse(Room::Runs, &text);
            let _ = order(Room::Runs, &[text]);
        }

        #[test]
        fn no_pile_of_words_brings_it_down(words in prop::collection::vec(
            prop_oneof!["metrics\\.a", "tags\\.", "`x`", "'v'", "AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "\\(", "\\)", ",", "=", "<", "1"], 0..20)) {
            let _ = parse(Room::Runs, &words.join(" "));
        }
    }
}
