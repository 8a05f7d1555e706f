//! What the registry promises to clients.

use super::*;
use crate::Store;
use crate::meta::journal::Expect;
use crate::meta::search::{Attribute, Field, Order};

async fn house() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.meta().create_model("m", "first", vec![("a".into(), "b".into())], Timestamp(1)).await.unwrap();
    (folder, store)
}

fn said(source: &str) -> ClientVersion {
    ClientVersion {
        source: source.into(),
        location: None,
        run: None,
        model_id: None,
        run_link: None,
        user: None,
    }
}

fn why() -> Because {
    Because::new("ada", "because")
}

#[tokio::test]
async fn numbers_are_never_used_again() {
    let (_folder, store) = house().await;
    let meta = store.meta();
    for expected in 1..=2 {
        let made = meta.create_client_version("m", said("x"), "", vec![], Timestamp(2)).await.unwrap();
        assert_eq!(made, expected);
    }
    meta.delete_version("m", 2, why(), Timestamp(3)).await.unwrap();
    meta.rename_model("m", "n", why(), Timestamp(4)).await.unwrap();
    assert_eq!(meta.create_client_version("n", said("x"), "", vec![], Timestamp(5)).await.unwrap(), 3);
    meta.delete_model("n", why(), Timestamp(6)).await.unwrap();
    meta.create_model("n", "", vec![], Timestamp(7)).await.unwrap();
    assert_eq!(meta.create_client_version("n", said("x"), "", vec![], Timestamp(8)).await.unwrap(), 4);
    assert!(meta.create_client_version("m", said("x"), "", vec![], Timestamp(9)).await.is_err());
}

#[tokio::test]
async fn aliases_move_with_their_model_and_go_with_their_version_and_the_journal_says_so() {
    let (_folder, store) = house().await;
    let meta = store.meta();
    meta.create_client_version("m", said("x"), "one", vec![], Timestamp(2)).await.unwrap();
    let digest = meta.version("m", 1).await.unwrap().digest;
    meta.move_ref("model/m@live", Expect::Anything, Some(digest), why(), Timestamp(3)).await.unwrap();
    meta.rename_model("m", "n", why(), Timestamp(4)).await.unwrap();
    let renamed = meta.registered_model("n").await.unwrap();
    assert_eq!((renamed.aliases["live"], renamed.tags["a"].as_str()), (digest, "b"));
    assert!(meta.registered_model("m").await.is_err());
    assert_eq!(meta.version("n", 1).await.unwrap().description, "one");
    meta.delete_version("n", 1, why(), Timestamp(5)).await.unwrap();
    assert!(meta.model_aliases("n").await.unwrap().is_empty());
    assert_eq!(meta.journal("model/", 10).await.unwrap().len(), 4);
}

#[tokio::test]
async fn one_version_takes_a_stage_and_the_others_are_archived() {
    let (_folder, store) = house().await;
    let meta = store.meta();
    for number in 1..=2 {
        meta.create_client_version("m", said("x"), "", vec![], Timestamp(2)).await.unwrap();
        meta.set_stage("m", number, "Production", true, why(), Timestamp(3)).await.unwrap();
    }
    let stages: Vec<String> =
        meta.versions("m").await.unwrap().into_iter().map(|version| version.stage).collect();
    assert_eq!(stages, ["Archived", "Production"]);
    assert!(meta.set_stage("m", 9, "Production", true, why(), Timestamp(4)).await.is_err());
    assert!(meta.describe_version("m", 9, "", Timestamp(4)).await.is_err());
    let moves: Vec<String> =
        meta.journal("stage/m/", 9).await.unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(moves, ["stage/m/2", "stage/m/1", "stage/m/1"]);
    meta.set_stage("m", 2, "None", false, why(), Timestamp(5)).await.unwrap();
    assert_eq!(meta.refs("stage/m/").await.unwrap().len(), 1);
}

#[tokio::test]
async fn tags_are_searched_and_only_what_exists_has_them() {
    let (_folder, store) = house().await;
    let meta = store.meta();
    meta.create_client_version("m", said("x"), "", vec![("k".into(), "v".into())], Timestamp(2))
        .await
        .unwrap();
    let none = meta.tag_registered(Tagged::Version("m".into(), 5), "k", Some("v"), Timestamp(3)).await;
    assert!(matches!(none, Err(Error::NotFound { code: Code::VersionNotFound, .. })));
    let none = meta.tag_registered(Tagged::Model("no".into()), "k", Some("v"), Timestamp(3)).await;
    assert!(matches!(none, Err(Error::NotFound { code: Code::ModelNotFound, .. })));
    let found = meta.search_versions(&Query::all(Room::Versions, 10)).await.unwrap().unwrap();
    assert_eq!(found.items[0].tags["k"], "v");
    meta.tag_registered(Tagged::Version("m".into(), 1), "k", None, Timestamp(4)).await.unwrap();
    assert!(meta.version("m", 1).await.unwrap().tags.is_empty());
}

#[tokio::test]
async fn versions_of_one_number_are_sorted_by_name_and_without_a_wish_by_their_last_change() {
    let (_folder, store) = house().await;
    let meta = store.meta();
    meta.create_model("a", "", vec![], Timestamp(1)).await.unwrap();
    for (at, model) in [(2, "m"), (3, "a"), (4, "m")] {
        meta.create_client_version(model, said("x"), "", vec![], Timestamp(at)).await.unwrap();
    }
    let listed = async |order| {
        let query = Query { order, ..Query::all(Room::Versions, 10) };
        let page = meta.search_versions(&query).await.unwrap().unwrap();
        page.items.into_iter().map(|version| format!("{} {}", version.model, version.number)).collect()
    };
    let newest: Vec<String> = listed(vec![]).await;
    assert_eq!(newest, ["m 2", "a 1", "m 1"]);
    let by_number: Vec<String> =
        listed(vec![Order { field: Field::Attribute(Attribute::Number), descending: false }]).await;
    assert_eq!(by_number, ["a 1", "m 1", "m 2"]);
}

#[tokio::test]
async fn tags_move_no_times_and_a_name_moves_those_of_its_versions() {
    let (_folder, store) = house().await;
    let meta = store.meta();
    meta.create_client_version("m", said("x"), "", vec![], Timestamp(2)).await.unwrap();
    let times = async |name: &str| {
        let (model, version) = (meta.registered_model(name).await, meta.version(name, 1).await);
        (model.unwrap().updated.millis(), version.unwrap().updated.millis())
    };
    for what in [Tagged::Model("m".into()), Tagged::Version("m".into(), 1)] {
        meta.tag_registered(what.clone(), "k", Some("v"), Timestamp(3)).await.unwrap();
        meta.tag_registered(what, "k", None, Timestamp(4)).await.unwrap();
    }
    assert_eq!(times("m").await, (2, 2));
    meta.rename_model("m", "m", why(), Timestamp(5)).await.unwrap();
    assert_eq!(times("m").await, (5, 5));
    meta.rename_model("m", "n", why(), Timestamp(6)).await.unwrap();
    assert_eq!(times("n").await, (6, 6));
    assert!(meta.rename_model("m", "m", why(), Timestamp(7)).await.is_err());
}
