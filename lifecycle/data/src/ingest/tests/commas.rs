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
    let json = r#"[{"price": "3,14"}, {"price": "2,5"}]"#;
    assert_eq!(notes("s.json", json, json!([]), json!({})).await, [""; 0]);
}
