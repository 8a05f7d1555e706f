//! Who may move an alias, and how a move is taken back.

use rondo_core::reference;
use rondo_registry::promote::{CHAMPION, promote, roll_back, roll_back_to};
use rondo_registry::protect::{self, Mover};
use rondo_registry::{Error, approval, log};
use rondo_store::meta::journal::Expect;

use super::house::{House, MODEL, NOW, why};

const OF: (&str, &str) = (MODEL, CHAMPION);

async fn set(house: &House, version: i64, mover: Mover) -> Result<(), Error> {
    protect::set_alias(&house.store, OF, version, mover, why("set"), NOW).await
}

async fn point(house: &House, version: i64) {
    promote(&house.store, OF, version, Expect::Anything, why("promoted"), NOW).await.unwrap();
}

#[tokio::test]
async fn without_protection_a_client_moves_aliases_at_will() {
    let house = House::new().await;
    let (one, two) = (house.made().await, house.made().await);
    for (version, mover) in [(one, Mover::Client), (two, Mover::Step), (one, Mover::Client)] {
        set(&house, version, mover).await.unwrap();
        assert_eq!(house.at(CHAMPION).await, Some(version));
    }
    protect::delete_alias(&house.store, OF, why("gone"), NOW).await.unwrap();
    assert_eq!(house.at(CHAMPION).await, None);
    let missing = set(&house, 9, Mover::Client).await;
    assert!(matches!(missing, Err(Error::Store(rondo_store::Error::NotFound { .. }))));
}

#[tokio::test]
async fn a_protected_alias_goes_only_to_what_may_serve_and_no_step_moves_it() {
    let house = House::new().await;
    let (good, bad, made) = (house.judged(true).await, house.judged(false).await, house.made().await);
    protect::declare(&house.store, MODEL, &[CHAMPION], NOW).await.unwrap();
    for version in [bad, made] {
        let refused = set(&house, version, Mover::Client).await;
        assert!(matches!(refused, Err(Error::Protected { .. })), "{version}: {refused:?}");
    }
    assert!(matches!(set(&house, good, Mover::Step).await, Err(Error::Protected { .. })));
    assert_eq!(house.at(CHAMPION).await, None);
    set(&house, good, Mover::Client).await.unwrap();
    assert_eq!(house.at(CHAMPION).await, Some(good));
    approval::approve(&house.store, (MODEL, made), "ada", "I know it", false, NOW).await.unwrap();
    set(&house, made, Mover::Client).await.unwrap();
    approval::reject(&house.store, (MODEL, good), "ada", "no more", NOW).await.unwrap();
    assert!(matches!(set(&house, good, Mover::Client).await, Err(Error::Protected { .. })));
    // Other aliases are free.
    protect::set_alias(&house.store, (MODEL, "mine"), bad, Mover::Step, why("set"), NOW).await.unwrap();
    let taken = protect::delete_alias(&house.store, OF, why("gone"), NOW).await;
    assert!(matches!(taken, Err(Error::Protected { .. })));
    let version = house.store.meta().version(MODEL, made).await.unwrap();
    assert!(matches!(protect::require_free(&house.store, &version).await, Err(Error::InUse { .. })));
}

#[tokio::test]
async fn what_a_pipelines_version_has_goes_to_no_unapproved_version_of_a_client() {
    let house = House::new().await;
    let (good, made) = (house.judged(true).await, house.made().await);
    point(&house, good).await;
    assert!(matches!(set(&house, made, Mover::Client).await, Err(Error::Protected { .. })));
    assert_eq!(house.at(CHAMPION).await, Some(good));
}

#[tokio::test]
async fn a_project_takes_back_what_it_declared_and_nothing_else() {
    let house = House::new().await;
    protect::protect(&house.store, (MODEL, "mine"), why("by hand"), NOW).await.unwrap();
    protect::declare(&house.store, MODEL, &[CHAMPION, "live"], NOW).await.unwrap();
    let before = house.store.meta().journal(&reference::protection(MODEL, ""), 99).await.unwrap().len();
    protect::declare(&house.store, MODEL, &[CHAMPION, "live"], NOW).await.unwrap();
    let after = house.store.meta().journal(&reference::protection(MODEL, ""), 99).await.unwrap().len();
    assert_eq!((before, after), (3, 3));
    protect::declare(&house.store, MODEL, &["live"], NOW).await.unwrap();
    let left = protect::protected(&house.store, MODEL).await.unwrap();
    let left: Vec<&str> = left.iter().map(|(alias, _)| alias.as_str()).collect();
    assert_eq!(left, ["live", "mine"]);
    assert!(protect::unprotect(&house.store, (MODEL, "mine"), why("off"), NOW).await.unwrap());
    assert!(!protect::unprotect(&house.store, (MODEL, "mine"), why("off"), NOW).await.unwrap());
}

#[tokio::test]
async fn every_move_can_be_taken_back_whoever_made_it() {
    let house = House::new().await;
    let (judged, made) = (house.judged(true).await, house.made().await);
    set(&house, made, Mover::Client).await.unwrap();
    point(&house, judged).await;
    let back = roll_back(&house.store, OF, why("back"), NOW).await.unwrap();
    assert_eq!((back.to.as_deref(), house.at(CHAMPION).await), (Some("2"), Some(made)));
    roll_back(&house.store, OF, why("and again"), NOW).await.unwrap();
    assert_eq!(house.at(CHAMPION).await, Some(judged));

    // To a line of the journal: what it was right after that.
    let lines = log::log(&house.store, MODEL).await.unwrap();
    let first = lines.last().unwrap().seq;
    roll_back_to(&house.store, MODEL, first, why("to the first"), NOW).await.unwrap();
    assert_eq!(house.at(CHAMPION).await, Some(made));
    assert!(roll_back_to(&house.store, MODEL, 999, why("nowhere"), NOW).await.is_err());
    assert!(roll_back_to(&house.store, "other", first, why("another's"), NOW).await.is_err());
}

#[tokio::test]
async fn stages_are_taken_back_too() {
    let house = House::new().await;
    let meta = house.store.meta();
    let (one, two) = (house.made().await, house.made().await);
    meta.set_stage(MODEL, one, "Production", true, why("first"), NOW).await.unwrap();
    meta.set_stage(MODEL, two, "Production", true, why("second"), NOW).await.unwrap();
    assert_eq!(meta.version(MODEL, one).await.unwrap().stage, "Archived");
    let lines = log::log(&house.store, MODEL).await.unwrap();
    let back = roll_back_to(&house.store, MODEL, lines.last().unwrap().seq, why("back"), NOW).await.unwrap();
    assert_eq!(back.to.as_deref(), Some("Production"));
    assert_eq!(meta.version(MODEL, one).await.unwrap().stage, "Production");
}

#[tokio::test]
async fn there_is_no_way_back_to_a_version_that_is_gone_or_before_the_first() {
    let house = House::new().await;
    let (one, two) = (house.made().await, house.made().await);
    point(&house, one).await;
    assert!(matches!(roll_back(&house.store, OF, why("back"), NOW).await, Err(Error::NoVersion { .. })));
    point(&house, two).await;
    house.store.meta().delete_version(MODEL, one, why("gone"), NOW).await.unwrap();
    assert!(matches!(roll_back(&house.store, OF, why("back"), NOW).await, Err(Error::NoVersion { .. })));
    assert_eq!(house.at(CHAMPION).await, Some(two));
}
