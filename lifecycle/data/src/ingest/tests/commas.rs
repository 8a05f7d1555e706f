//! Who adds numbers with a decimal comma is told why they are text.

use super::*;

const PRICES: &str = "day;price\n2024-01-01;3,14\n2024-01-02;2,5\n";

async fn notes(name: &str, text: &str, suite: Value, options: Value) -> Vec<String> {
    let mut house = House::open().await;
    let heard = Arc::new(Listener::default());
    house.datasets.progress = heard.clone();
    house.write(name, text);
    let options = ReadOptions::default().with(options.as_object().unwrap()).unwrap();
    let intake = Intake { dataset: "sales".into(), options, ..intake(name, suite, None) };
    let _ = house.bring(&intake, None).await;
    std::mem::take(&mut *heard.0.lock().unwrap())
}

#[tokio::test]
async fn they_are_named_with_what_makes_numbers_of_them() {
    let told = r#"text, and no numbers, for their comma: `price`; to read numbers: `read: { decimal: "," }`"#;
    assert_eq!(notes("s.csv", PRICES, json!([]), json!({})).await, [told]);
    let broken = json!([{"column": "price", "between": {"min": 0}}]);
    assert_eq!(notes("s.csv", PRICES, broken, json!({})).await, [told], "also where a check refuses them");
}

#[tokio::test]
async fn nothing_is_said_where_they_are_numbers_or_meant_as_text() {
    for options in [json!({"decimal": ","}), json!({"types": {"price": "string"}})] {
        assert_eq!(notes("s.csv", PRICES, json!([]), options.clone()).await, [""; 0], "{options}");
    }
    let words = json!([{"column": "price", "in_set": ["3,14"]}]);
    let typed = json!({"types": {"price": "string"}});
    assert_eq!(notes("s.csv", PRICES, words, typed).await, [""; 0], "where a check refuses them");
    let json = r#"[{"price": "3,14"}, {"price": "2,5"}]"#;
    assert_eq!(notes("s.json", json, json!([]), json!({})).await, [""; 0]);
}

#[tokio::test]
async fn what_checks_refuse_is_read_again_only_where_there_can_be_some() {
    let mut house = House::open().await;
    house.datasets.progress = Arc::new(Listener::default());
    let json = r#"[{"price": "3,14"}]"#;
    let suite = json!([{"column": "price", "in_set": ["2,5"]}]);
    for (name, text, profiled) in [("s.csv", PRICES, true), ("s.json", json, false)] {
        house.write(name, text);
        let intake = Intake { dataset: "sales".into(), ..intake(name, suite.clone(), None) };
        assert!(matches!(house.bring(&intake, None).await, Err(Error::ChecksFailed { .. })));
        let key = table::profile_key(name, Digest::of(text.as_bytes()), &intake.options);
        let made = house.datasets.store.meta().setting(&key).await.unwrap();
        assert_eq!(made.is_some(), profiled, "{name}");
    }
}
