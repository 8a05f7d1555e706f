//! A version waits for somebody's word.

use rondo_registry::approval::{self, Approval, Decision};
use rondo_registry::promote::{CHAMPION, promote};
use rondo_registry::{Error, log};
use rondo_store::meta::journal::Expect;
use serde_json::Value;

use super::house::{House, MODEL, NOW, why};

async fn ask(house: &House, version: i64) {
    let seen = house.store.meta().target("model/delay@champion").await.unwrap();
    let asked = Approval {
        model: MODEL.into(),
        version,
        decision: Decision::Pending,
        alias: Some(CHAMPION.into()),
        seen,
        evidence: Value::Null,
        by: "rondo".into(),
        why: "all objectives hold".into(),
        at: NOW,
    };
    approval::ask(&house.store, asked, why("asked")).await.unwrap();
}

async fn waiting(house: &House) -> Vec<i64> {
    let waiting = approval::pending(&house.store, Some(MODEL)).await.unwrap();
    waiting.iter().map(|approval| approval.version).collect()
}

async fn approve(house: &House, version: i64, force: bool) -> Result<Approval, Error> {
    approval::approve(&house.store, (MODEL, version), "ada", "looks right", force, NOW).await
}

#[tokio::test]
async fn an_approved_promotion_goes_on_and_the_journal_says_by_whom() {
    let house = House::new().await;
    let version = house.judged(true).await;
    ask(&house, version).await;
    ask(&house, version).await;
    assert_eq!(waiting(&house).await, [version]);
    assert_eq!(house.at(CHAMPION).await, None);
    let approved = approve(&house, version, false).await.unwrap();
    assert_eq!((approved.decision, approved.by.as_str()), (Decision::Approved, "ada"));
    assert_eq!(house.at(CHAMPION).await, Some(version));
    assert!(waiting(&house).await.is_empty());
    assert!(approval::is_approved(&house.store, MODEL, version).await.unwrap());
    // Asking again, as a run that is done again after a crash does, takes nothing back.
    ask(&house, version).await;
    assert!(approval::is_approved(&house.store, MODEL, version).await.unwrap());
    let lines = log::log(&house.store, MODEL).await.unwrap();
    let shown: Vec<String> = lines
        .iter()
        .map(|line| {
            let end = |end: &Option<String>| end.clone().unwrap_or_default();
            format!(
                "{}: {} -> {} by {}: {}",
                line.subject,
                end(&line.from),
                end(&line.to),
                line.actor,
                line.why
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    approval of 1: pending -> approved by ada: looks right
    @champion:  -> 1 by ada: looks right
    approval of 1:  -> pending by ada: asked
    ");
}

#[tokio::test]
async fn a_rejected_version_serves_nowhere() {
    let house = House::new().await;
    let version = house.judged(true).await;
    ask(&house, version).await;
    approval::reject(&house.store, (MODEL, version), "ada", "unfair", NOW).await.unwrap();
    assert!(waiting(&house).await.is_empty());
    assert_eq!(house.at(CHAMPION).await, None);
    assert!(!approval::is_approved(&house.store, MODEL, version).await.unwrap());
}

#[tokio::test]
async fn a_later_version_waits_instead_of_an_earlier_one() {
    let house = House::new().await;
    let (first, second) = (house.judged(true).await, house.judged(true).await);
    ask(&house, first).await;
    ask(&house, second).await;
    assert_eq!(waiting(&house).await, [second]);
    let first = approval::find(&house.store, MODEL, first).await.unwrap().unwrap();
    assert_eq!(first.decision, Decision::Superseded);
}

#[tokio::test]
async fn what_was_judged_beside_another_champion_is_not_approved_unseen() {
    let house = House::new().await;
    let (waits, other) = (house.judged(true).await, house.judged(true).await);
    ask(&house, waits).await;
    promote(&house.store, (MODEL, CHAMPION), other, Expect::Absent, why("first"), NOW).await.unwrap();
    let refused = approve(&house, waits, false).await;
    assert!(matches!(refused, Err(Error::Store(rondo_store::Error::RefMoved { .. }))), "{refused:?}");
    // Neither the alias nor the decision has changed.
    assert_eq!(house.at(CHAMPION).await, Some(other));
    assert_eq!(waiting(&house).await, [waits]);
}

#[tokio::test]
async fn what_its_gate_refused_has_to_be_forced() {
    let house = House::new().await;
    let version = house.judged(false).await;
    assert!(matches!(approve(&house, version, false).await, Err(Error::Unworthy { .. })));
    approve(&house, version, true).await.unwrap();
    assert!(matches!(approve(&house, 9, false).await, Err(Error::Store(_))));
    // A client's version has no gate but this.
    let made = house.made().await;
    approve(&house, made, false).await.unwrap();
}
