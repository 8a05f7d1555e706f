//! What an addition promises: all of it or nothing.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rondo_core::ports::{Clock, Unwatched};
use rondo_core::tree::Mode;
use rondo_core::{Code, Explain};
use rondo_remote::Remote;
use rondo_store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::diff::Compared;
use crate::profile::files::FolderProfile;
use crate::remote::{Beside, Wanted};
use crate::status::SourceState;
use crate::tags::{Tag, Taken};

mod commas;

/// A clock that moves on by a second each time it is looked at.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(1000, Ordering::Relaxed))
    }
}

struct House {
    folder: TempDir,
    datasets: Datasets,
    fetcher: Fetcher,
}

impl House {
    async fn open() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open(&folder.path().join(".rondo")).await.unwrap();
        // Far from any file's time, so that no stamp is taken to be racy.
        let clock = Arc::new(Ticking(AtomicI64::new(4_000_000_000_000)));
        let datasets = Datasets::new(store, clock, Arc::new(Unwatched));
        let fetcher = Fetcher::new(&folder.path().join("cache"), BTreeMap::new(), Arc::new(Unwatched));
        Self { folder, datasets, fetcher }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    async fn bring(&self, intake: &Intake, until: Option<&str>) -> Result<Vec<Added>, Error> {
        let until = until.map(|until| until.parse().unwrap());
        self.datasets.bring(&self.fetcher, intake, self.folder.path(), until).await
    }

    async fn state(&self) -> (usize, usize, Option<DatasetVersion>) {
        let meta = self.datasets.store().meta();
        let versions = meta.dataset_versions("flights").await.unwrap().len();
        let moves = meta.journal("", 100).await.unwrap().len();
        (versions, moves, self.datasets.latest("flights").await.unwrap())
    }
}

fn intake(source: &str, checks: Value, parts: Option<&str>) -> Intake {
    let parts =
        parts.map(|column| project::Parts { by: project::Period::Month, column: Some(column.into()) });
    let dataset = project::Dataset {
        source: source.to_owned(),
        parts,
        checks: checks.as_array().unwrap().clone(),
        ..project::Dataset::default()
    };
    Intake::declared("flights", &dataset, Because::new("ann", "test")).unwrap()
}

/// Days of 2013 from the first of a month, with a carrier each.
fn month(month: u32, days: u32, carrier: &str) -> String {
    let row = |day| format!("2013-{month:02}-{day:02},{carrier},{}\n", day * month);
    (1..=days).map(row).collect()
}

const HEADER: &str = "day,carrier,delay\n";

#[tokio::test]
async fn a_file_becomes_a_version_once_and_a_changed_one_the_next() {
    let house = House::open().await;
    house.write("flights.csv", &format!("{HEADER}{}", month(1, 20, "AA")));
    let intake = intake("flights.csv", json!([{"rows": {"min": 10}}]), None);
    let added = house.bring(&intake, None).await.unwrap().remove(0);
    assert_eq!(added.outcome, Outcome::Added);
    let version = &added.version;
    assert_eq!((version.rows, version.files, version.folder, version.parent), (Some(20), 1, false, None));
    assert_eq!(version.columns.len(), 3);
    let stored = house.datasets.store().objects().read(version.digest).unwrap();
    assert!(stored.starts_with(HEADER.as_bytes()), "content stays as it was given");
    assert_eq!(house.datasets.profile_of(version).await.unwrap().unwrap().rows, 20);

    let again = house.bring(&intake, None).await.unwrap().remove(0);
    assert_eq!((again.outcome, again.version.digest), (Outcome::Unchanged, version.digest));
    assert_eq!(house.state().await.1, 1, "nothing is journalled for it");

    house.write("flights.csv", &format!("{HEADER}{}", month(1, 25, "AA")));
    let next = house.bring(&intake, None).await.unwrap().remove(0);
    assert_eq!((next.outcome, next.version.parent), (Outcome::Added, Some(version.digest)));

    house.write("flights.csv", &format!("{HEADER}{}", month(1, 20, "AA")));
    let back = house.bring(&intake, None).await.unwrap().remove(0);
    assert_eq!((back.outcome, back.version.digest), (Outcome::Returned, version.digest));
    let log = house.datasets.log("flights", 10).await.unwrap();
    assert_eq!(log.iter().map(|entry| entry.number).collect::<Vec<_>>(), [Some(1), Some(2), Some(1)]);
    assert_eq!(log[0].entry.because.why, "test");
}

#[tokio::test]
async fn data_that_break_a_check_are_refused_and_nothing_changes() {
    let house = House::open().await;
    house.write("flights.csv", &format!("{HEADER}{}", month(1, 20, "AA")));
    let checks = json!([{"rows": {"min": 5}}, {"column": "carrier", "in_set": ["AA", "UA"]}]);
    let intake = intake("flights.csv", checks, None);
    house.bring(&intake, None).await.unwrap();
    let before = house.state().await;
    house.write("flights.csv", &format!("{HEADER}{}{}", month(1, 20, "AA"), month(2, 3, "ZZ")));
    let bad = house.folder.path().join("flights.csv");
    let bad = rondo_store::Objects::digest_path(&bad).unwrap().digest;
    let error = house.bring(&intake, None).await.unwrap_err();
    assert_eq!(error.code().text(), "checks-failed");
    let Error::ChecksFailed { dataset, reports } = &error else { panic!("{error}") };
    assert_eq!((dataset.as_str(), reports.len()), ("flights", 1));
    assert!(!reports[0].passed());
    let report = serde_json::to_string(&reports[0]).unwrap();
    assert!(report.contains("ZZ"), "the report shows failing rows: {report}");
    assert!(error.to_string().contains("carrier"), "{error}");
    assert_eq!(house.state().await, before);
    assert!(house.datasets.store().objects().path(bad).is_none(), "not even the object is kept");
}

#[tokio::test]
async fn a_dataset_grows_month_by_month_until_a_bad_one() {
    let house = House::open().await;
    let table =
        |third: &str| format!("{HEADER}{}{}{}", month(1, 20, "AA"), month(2, 21, "UA"), month(3, 22, third));
    house.write("flights.csv", &table("ZZ"));
    let checks = json!([{"rows": {"min": 20}}, {"column": "carrier", "in_set": ["AA", "UA"]}]);
    let intake = intake("flights.csv", checks, Some("day"));
    let parts = house.datasets.parts(&house.fetcher, &intake, house.folder.path()).await.unwrap();
    assert_eq!(parts.iter().map(|part| part.rows.unwrap()).collect::<Vec<_>>(), [20, 21, 22]);

    let added = house.bring(&intake, Some("2013-03-01")).await.unwrap();
    assert_eq!(added.len(), 2);
    assert_eq!(added[1].part.as_deref(), Some("2013-02.csv"));
    assert_eq!((added[1].version.rows, added[1].version.files), (Some(41), 2));
    assert_eq!(added[1].version.parent, Some(added[0].version.digest));
    let before = house.state().await;

    let error = house.bring(&intake, None).await.unwrap_err();
    assert!(error.to_string().contains("2013-03.csv"), "{error}");
    assert_eq!(house.state().await, before);

    house.write("flights.csv", &table("AA"));
    let added = house.bring(&intake, None).await.unwrap();
    let outcomes: Vec<Outcome> = added.iter().map(|added| added.outcome).collect();
    assert_eq!(outcomes, [Outcome::Unchanged, Outcome::Unchanged, Outcome::Added]);
    let latest = house.datasets.latest("flights").await.unwrap().unwrap();
    assert_eq!((latest.rows, latest.files, latest.folder), (Some(63), 3, true));

    let place = house.folder.path().join("out");
    house.datasets.store().objects().check_out(latest.digest, Mode::Folder, &place).unwrap();
    assert_eq!(
        fs::read_to_string(place.join("2013-01.csv")).unwrap(),
        format!("{HEADER}{}", month(1, 20, "AA"))
    );
}

#[tokio::test]
async fn the_profile_of_parts_is_that_of_the_whole_and_of_any_history() {
    let house = House::open().await;
    house.write("flights.csv", &format!("{HEADER}{}{}", month(1, 20, "AA"), month(2, 21, "UA")));
    let grown = house.bring(&intake("flights.csv", json!([]), Some("day")), None).await.unwrap();
    let merged = house.datasets.profile_of(&grown[1].version).await.unwrap().unwrap();

    let whole =
        table::profile("flights.csv", &house.folder.path().join("flights.csv"), &ReadOptions::default());
    let whole = whole.unwrap();
    assert_eq!(merged.rows, whole.rows);
    for (a, b) in merged.summary().iter().zip(whole.summary()) {
        assert_eq!(
            (&a.name, a.count, a.nulls, a.distinct, &a.top),
            (&b.name, b.count, b.nulls, b.distinct, &b.top)
        );
        let numbers = |summary: &rondo_table::profile::summary::ColumnSummary| {
            summary.numbers.as_ref().map(|numbers| (numbers.min, numbers.max, numbers.quantiles))
        };
        assert_eq!(numbers(a), numbers(&b), "{}", a.name);
    }

    // The same folder added at once: the same content, so the same version, and the same profile.
    let other = House::open().await;
    for part in house
        .datasets
        .parts(&house.fetcher, &intake("flights.csv", json!([]), Some("day")), house.folder.path())
        .await
        .unwrap()
    {
        other.write(&format!("data/{}", part.name), &fs::read_to_string(&part.path).unwrap());
    }
    let at_once = other.bring(&intake("data", json!([]), None), None).await.unwrap().remove(0);
    assert_eq!(at_once.version.digest, grown[1].version.digest);
    assert_eq!(at_once.version.profile, grown[1].version.profile);
}

#[tokio::test]
async fn a_new_part_leaves_the_old_parts_unread() {
    let house = House::open().await;
    house.write("flights.csv", &format!("{HEADER}{}{}", month(1, 20, "AA"), month(2, 21, "UA")));
    let intake = intake("flights.csv", json!([{"rows": {"min": 20}}]), Some("day"));
    let first = house.bring(&intake, Some("2013-02-01")).await.unwrap().remove(0);
    // Without the bytes of the first part nothing could read them again.
    let files = house.datasets.files_of(&first.version).unwrap();
    let object = house.datasets.store().objects().path(files["2013-01.csv"].digest).unwrap();
    fs::remove_file(object).unwrap();
    let added = house.bring(&intake, None).await.unwrap();
    assert_eq!((added[1].outcome, added[1].version.rows), (Outcome::Added, Some(41)));
    assert_eq!(added[1].checked.len(), 1);
    let diff = house.datasets.diff("flights", None, None).await.unwrap();
    assert_eq!((diff.compared, diff.files.added), (Compared::NewFiles, vec!["2013-02.csv".to_owned()]));
    assert_eq!(diff.drift.unwrap().current_rows, 21, "the new part alone is compared with what was there");
}

#[tokio::test]
async fn rules_about_the_whole_see_all_parts() {
    let house = House::open().await;
    house.write("flights.csv", &format!("{HEADER}{}{}", month(1, 20, "AA"), month(2, 21, "UA")));
    let checks = json!([{"rows": {"min": 20}}, {"rows": {"max": 30}, "scope": "whole"}]);
    let intake = intake("flights.csv", checks, Some("day"));
    let error = house.bring(&intake, None).await.unwrap_err();
    let Error::ChecksFailed { reports, .. } = &error else { panic!("{error}") };
    assert!(
        fs::read_dir(house.folder.path().join(".rondo/scratch")).unwrap().next().is_none(),
        "nothing is left"
    );
    assert_eq!(reports.iter().map(|report| report.file.as_str()).collect::<Vec<_>>(), ["flights"]);
    let (versions, _, latest) = house.state().await;
    let latest = latest.unwrap();
    assert_eq!((versions, latest.rows), (1, Some(20)));
    let reports = house.datasets.check(&latest, &intake.suite, &intake.options).await.unwrap();
    assert_eq!(
        reports.iter().map(|report| (report.file.as_str(), report.passed())).collect::<Vec<_>>(),
        [("2013-01.csv", true), ("flights", true)]
    );
    let fetched = house.fetcher.fetch(&intake.source, house.folder.path()).await.unwrap();
    let dry = house.datasets.check_fetched(&intake, &fetched).await.unwrap();
    assert_eq!(dry.iter().map(FileReport::passed).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn a_part_that_comes_again_takes_the_place_of_the_old_one() {
    let house = House::open().await;
    let first = house.write("a/2013-01.csv", &format!("{HEADER}{}", month(1, 20, "AA")));
    house.write("a/2013-02.csv", &format!("{HEADER}{}", month(2, 21, "AA")));
    let parts = Some(project::Parts { by: project::Period::Month, column: None });
    let intake = Intake { parts, ..intake("a/*.csv", json!([]), None) };
    house.bring(&intake, None).await.unwrap();
    fs::write(&first, format!("{HEADER}{}", month(1, 10, "AA"))).unwrap();
    let added = house.bring(&intake, None).await.unwrap();
    assert_eq!((added[0].outcome, added[0].version.rows), (Outcome::Added, Some(31)));
    assert_eq!(added[1].outcome, Outcome::Unchanged);
    let diff = house.datasets.diff("flights", None, None).await.unwrap();
    assert_eq!((diff.files.changed, diff.files.same), (vec!["2013-01.csv".to_owned()], 1));
    assert_eq!((diff.from.rows, diff.to.rows), (Some(41), Some(31)));
}

#[tokio::test]
async fn two_that_add_at_once_both_get_their_part_in() {
    let house = House::open().await;
    let part = |name: &str, text: String| {
        let path = house.write(name, &text);
        let day = Timestamp(0);
        Part { name: name.to_owned(), from: day, until: day, rows: None, path }
    };
    let parts = [
        part("1.csv", format!("{HEADER}{}", month(1, 20, "AA"))),
        part("2.csv", format!("{HEADER}{}", month(2, 20, "AA"))),
        part("3.csv", format!("{HEADER}{}", month(3, 20, "AA"))),
    ];
    let intake = intake("1.csv", json!([]), None);
    let (a, b, c) = tokio::join!(
        house.datasets.add_part(&intake, &parts[0], "x"),
        house.datasets.add_part(&intake, &parts[1], "x"),
        house.datasets.add_part(&intake, &parts[2], "x"),
    );
    for added in [a, b, c] {
        assert_eq!(added.unwrap().outcome, Outcome::Added);
    }
    let (versions, moves, latest) = house.state().await;
    assert_eq!((versions, moves), (3, 3));
    assert_eq!(latest.unwrap().rows, Some(60));
}

#[tokio::test]
async fn files_that_are_no_tables_are_versioned_without_rows() {
    let house = House::open().await;
    house.write("images/a.png", "\u{0}png");
    house.write("images/more/b.png", "\u{0}png2");
    let added = house.bring(&intake("images", json!([]), None), None).await.unwrap().remove(0);
    assert_eq!((added.version.rows, added.version.files, added.version.profile), (None, 2, None));
    let error =
        house.bring(&intake("images/a.png", json!([{"rows": {"min": 1}}]), None), None).await.unwrap_err();
    assert!(matches!(error, Error::NoTable { .. }), "{error}");
}

#[tokio::test]
async fn what_is_a_table_does_not_become_files_because_a_file_is_broken() {
    let house = House::open().await;
    let whole = format!("{HEADER}{}", month(1, 20, "AA"));
    house.write("flights.csv", &whole);
    let plain = intake("flights.csv", json!([]), None);
    house.bring(&plain, None).await.unwrap();
    let before = house.state().await;
    for (broken, told) in [
        (format!("{whole}2013-01-21,A"), "`flights` is a table, and what comes in is none: `"),
        (String::new(), "flights.csv"),
        (format!("{whole}1,2,3,4\n"), "line 22"),
    ] {
        house.write("flights.csv", &broken);
        let error = house.bring(&plain, None).await.unwrap_err();
        assert_eq!(error.code(), Code::TableInvalid);
        assert!(error.to_string().contains(told), "{error}");
        assert!(error.hints().iter().any(|hint| hint.contains("`format: files`")), "{:?}", error.hints());
        assert_eq!(house.state().await, before);
    }
    // It is to be files: then it is.
    let mut files = plain.clone();
    files.origin.format = Some("files".to_owned());
    let added = house.bring(&files, None).await.unwrap().remove(0);
    assert_eq!((added.outcome, added.version.rows), (Outcome::Added, None));
    // What was files may be anything.
    house.write("flights.csv", "a,b\n1\n");
    let added = house.bring(&plain, None).await.unwrap().remove(0);
    assert_eq!((added.outcome, added.version.rows), (Outcome::Added, None));
}

#[tokio::test]
async fn a_faulty_file_of_an_archive_is_named_as_the_source_is() {
    let house = House::open().await;
    let folder = house.folder.path().join("in");
    fs::create_dir(&folder).unwrap();
    let mut zip = zip::ZipWriter::new(fs::File::create(house.folder.path().join("z.zip")).unwrap());
    zip.start_file("in/t.csv", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut zip, b"a,b\n1,2\n3\n").unwrap();
    zip.finish().unwrap();
    let intake = intake("z.zip/in/t.csv", json!([{"rows": {"min": 1}}]), None);
    let told = house.bring(&intake, None).await.unwrap_err().to_string();
    assert!(told.contains("z.zip/in/t.csv`, line 3") && !told.contains("cache"), "{told}");
}

#[tokio::test]
async fn the_profile_of_a_folder_of_texts_is_stored_once_it_was_made_of_whole_files() {
    let house = House::open().await;
    for name in ["a", "b", "c"] {
        house.write(&format!("texts/{name}.txt"), &format!("one {name}\n"));
    }
    let added = house.bring(&intake("texts", json!([]), None), None).await.unwrap().remove(0);
    let objects = house.datasets.store().objects().clone();
    let gone = objects.path(Digest::of(b"one b\n")).unwrap();
    let kept = house.folder.path().join("kept");
    fs::rename(&gone, &kept).unwrap();
    let part = house.datasets.folder_profile_of(&added.version, None).await.unwrap().unwrap();
    assert_eq!(json!(part)["broken_count"], 1);
    // Other bytes under its name, which are a text too, and such as are none, are no better.
    for bytes in [b"one x\n".as_slice(), b"\0", b"longer than it was"] {
        fs::write(&gone, bytes).unwrap();
        let damaged = house.datasets.folder_profile_of(&added.version, None).await.unwrap().unwrap();
        let damaged = json!(damaged);
        assert_eq!(damaged["broken_count"], 1);
        assert_eq!(damaged["broken"][0], json!(["b.txt", "its bytes are not those that were added"]));
        fs::remove_file(&gone).unwrap();
    }
    // Nor is what is no file at all.
    fs::create_dir(&gone).unwrap();
    let _ = house.datasets.folder_profile_of(&added.version, None).await.unwrap().unwrap();
    fs::remove_dir(&gone).unwrap();
    fs::rename(&kept, &gone).unwrap();
    let whole = house.datasets.folder_profile_of(&added.version, None).await.unwrap().unwrap();
    assert_eq!((&json!(whole)["broken_count"], &json!(whole)["files"]), (&json!(0), &json!(3)));
    // Nothing is looked at any more, and a sample is another profile.
    fs::remove_file(&gone).unwrap();
    let again = house.datasets.folder_profile_of(&added.version, None).await.unwrap().unwrap();
    assert_eq!(again, whole);
    let few = house.datasets.folder_profile_of(&added.version, Some(1)).await.unwrap().unwrap();
    assert_eq!(json!(few)["looked_at"], 1);
    let reread: FolderProfile = serde_json::from_value(json!(few)).unwrap();
    assert_eq!(reread, few);
}

#[tokio::test]
async fn files_that_are_larger_than_a_source_may_be_are_not_taken_in() {
    let house = House::open().await;
    for (name, bytes) in [("d/a.bin", 600), ("d/b.bin", 500), ("one.bin", 1100)] {
        house.write(name, &"x".repeat(bytes));
    }
    let fetcher = |size| {
        let cache = house.folder.path().join("cache");
        Fetcher::new(&cache, BTreeMap::new(), Arc::new(Unwatched))
            .with_bounds(Bounds { size: Some(size), time: None })
    };
    for source in ["d", "d/*.bin", "one.bin"] {
        let intake = intake(source, json!([]), None);
        let small = house.datasets.bring(&fetcher(1099), &intake, house.folder.path(), None).await;
        assert!(matches!(small, Err(Error::TooLarge { size: 1100, bound: 1099, .. })), "{source}: {small:?}");
        assert_eq!(house.state().await.0, 0);
    }
    let intake = intake("d", json!([]), None);
    house.datasets.bring(&fetcher(1100), &intake, house.folder.path(), None).await.unwrap();
}

#[tokio::test]
async fn versions_are_called_by_number_word_or_digest() {
    let house = House::open().await;
    let missing = house.datasets.version("flights", "latest").await.unwrap_err();
    assert_eq!(missing.code().text(), "dataset-not-found");
    for days in [10, 11, 12] {
        house.write("flights.csv", &format!("{HEADER}{}", month(1, days, "AA")));
        house.bring(&intake("flights.csv", json!([]), None), None).await.unwrap();
    }
    let rows = async |called: &str| {
        house.datasets.version("flights", called).await.map(|version| version.rows.unwrap())
    };
    assert_eq!(rows("latest").await.unwrap(), 12);
    assert_eq!(rows("previous").await.unwrap(), 11);
    assert_eq!(rows("1").await.unwrap(), 10);
    let digest = house.datasets.version("flights", "2").await.unwrap().digest;
    assert_eq!(rows(&digest.short()).await.unwrap(), 11);
    for called in ["0", "4", "abc", "zzzzzzz", "-1"] {
        assert!(matches!(rows(called).await, Err(Error::VersionNotFound { .. })), "{called}");
    }
    let near = house.datasets.version("flight", "latest").await.unwrap_err();
    assert_eq!(near.hints(), ["did you mean `flights`?"]);
}

#[tokio::test]
async fn status_says_whether_a_source_has_changed() {
    let house = House::open().await;
    let path = house.write("flights.csv", &format!("{HEADER}{}", month(1, 20, "AA")));
    let whole = intake("flights.csv", json!([{"rows": {"min": 1}}]), None);
    let root = house.folder.path().to_owned();
    let state = async |intake: &Intake| house.datasets.status(intake, &root).await.unwrap().source_state;
    assert_eq!(state(&whole).await, SourceState::New);
    house.bring(&whole, None).await.unwrap();
    assert_eq!(state(&whole).await, SourceState::Unchanged);
    // The same bytes under another time: the digest decides.
    fs::write(&path, format!("{HEADER}{}", month(1, 20, "AA"))).unwrap();
    assert_eq!(state(&whole).await, SourceState::Unchanged);
    fs::write(&path, format!("{HEADER}{}", month(1, 20, "UA"))).unwrap();
    assert_eq!(
        state(&whole).await,
        SourceState::Changed {
            files: vec!["flights.csv".into()],
            added: 0,
            removed: 0,
            changed: 1,
            renamed: 0,
            version: None,
        }
    );
    fs::remove_file(&path).unwrap();
    assert_eq!(state(&whole).await, SourceState::Missing);
    let other = Intake { source: Source::parse("*.csv").unwrap(), ..whole.clone() };
    assert_eq!(state(&other).await, SourceState::Another);
    let status = house.datasets.status(&whole, &root).await.unwrap();
    assert_eq!((status.checks, status.versions), (1, 1));
    assert_eq!(status.last.unwrap().because.evidence["rows"], json!(20));
}

#[tokio::test]
async fn status_names_the_version_that_the_files_are() {
    let house = House::open().await;
    let root = house.folder.path().to_owned();
    let one = intake("flights.csv", json!([]), None);
    let several = Intake { dataset: "days".into(), ..intake("days/*.csv", json!([]), None) };
    for (declared, name) in [(&one, "flights.csv"), (&several, "days/a.csv")] {
        house.write(name, &format!("{HEADER}{}", month(1, 20, "AA")));
        house.bring(declared, None).await.unwrap();
        let first = house.datasets.latest(&declared.dataset).await.unwrap().unwrap();
        let tag = Tag { dataset: declared.dataset.clone(), tag: "paper".into(), digest: first.digest };
        house.datasets.tag(&tag, Taken::Refuse, Because::new("ada", "submitted")).await.unwrap();
        house.write(name, &format!("{HEADER}{}", month(1, 20, "UA")));
        house.bring(declared, None).await.unwrap();
        house.write(name, &format!("{HEADER}{}", month(1, 20, "AA")));
        let status = house.datasets.status(declared, &root).await.unwrap();
        let here = status.here.unwrap();
        assert_eq!(
            (here.digest, here.number, here.tags),
            (first.digest, 1, vec!["paper".to_owned()]),
            "{name}"
        );
        house.write(name, &format!("{HEADER}{}", month(1, 20, "DL")));
        assert_eq!(house.datasets.status(declared, &root).await.unwrap().here, None, "{name}");
    }
}

#[tokio::test]
async fn the_difference_of_two_versions_has_files_rows_and_drift() {
    let house = House::open().await;
    let rows =
        |from: u32| -> String { (0..200).map(|i| format!("2013-01-01,AA,{}\n", from + i % 50)).collect() };
    for from in [0, 100] {
        house.write("flights.csv", &format!("{HEADER}{}", rows(from)));
        house.bring(&intake("flights.csv", json!([]), None), None).await.unwrap();
    }
    let diff = house.datasets.diff("flights", None, None).await.unwrap();
    assert!(!diff.is_empty() && diff.schema.is_empty());
    let drift = diff.drift.unwrap();
    assert!(drift.column("delay").unwrap().drifted);
    assert!(!drift.column("carrier").unwrap().drifted);
    let same = house.datasets.diff("flights", Some("1"), Some("1")).await.unwrap();
    assert!(same.is_empty());
    let first = house.datasets.diff("flights", None, Some("1")).await.unwrap_err();
    assert!(matches!(first, Error::VersionNotFound { .. }));
}

/// Writes to a file as soon as the checks have read another one.
struct Meddler(PathBuf);

impl rondo_core::ports::Progress for Meddler {
    fn report(&self, event: Event) {
        if matches!(&event, Event::Advanced { message, .. } if message.starts_with("checked")) {
            fs::write(&self.0, "something else, and longer").unwrap();
        }
    }
}

#[tokio::test]
async fn a_file_that_changes_between_the_look_and_the_store_is_refused() {
    let mut house = House::open().await;
    house.write("flights/a.csv", &format!("{HEADER}{}", month(1, 20, "AA")));
    let note = house.write("flights/note.txt", "what it was");
    house.datasets.progress = Arc::new(Meddler(note));
    let intake = intake("flights", json!([{"rows": {"min": 10}}]), None);
    let before = house.state().await;
    let error = house.bring(&intake, None).await.unwrap_err();
    assert!(matches!(&error, Error::Changed { path } if path.ends_with("flights")), "{error}");
    assert_eq!(house.state().await, before, "no version names what was never stored");
    let added = house.bring(&intake, None).await.unwrap().remove(0);
    assert!(house.datasets.store().objects().holds(added.version.digest, true));
}

#[tokio::test]
async fn a_hint_that_cannot_be_written_takes_nothing_back() {
    let mut house = House::open().await;
    let heard = Arc::new(Listener::default());
    house.datasets.progress = heard.clone();
    let stat = house.folder.path().join(".rondo/stat");
    fs::remove_dir_all(&stat).or_else(|_| fs::remove_file(&stat)).ok();
    fs::write(&stat, "no folder").unwrap();
    house.write("flights.csv", &format!("{HEADER}{}", month(1, 20, "AA")));
    for parts in [None, Some("day")] {
        let intake =
            Intake { dataset: format!("d{}", parts.is_some()), ..intake("flights.csv", json!([]), parts) };
        let added = house.bring(&intake, None).await.unwrap().remove(0);
        assert_eq!(added.outcome, Outcome::Added);
        let notes = std::mem::take(&mut *heard.0.lock().unwrap());
        assert!(notes.iter().any(|note| note.contains("cannot be remembered")), "{notes:?}");
    }
}

/// Keeps the notes.
#[derive(Default)]
struct Listener(std::sync::Mutex<Vec<String>>);

impl rondo_core::ports::Progress for Listener {
    fn report(&self, event: Event) {
        if let Event::Note { message, .. } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

#[tokio::test]
async fn a_name_that_was_a_file_and_is_a_folder_is_put_back_either_way() {
    let house = House::open().await;
    let intake = intake("things", json!([]), None);
    let top = house.folder.path().join("things");
    let file = house.write("things/d", "a file");
    house.write("things/same", "same");
    let first = house.bring(&intake, None).await.unwrap().remove(0).version;
    fs::remove_file(&file).unwrap();
    house.write("things/d/e/f", "below");
    house.write("things/d/g", "below too");
    let second = house.bring(&intake, None).await.unwrap().remove(0).version;
    let get = async |version: &DatasetVersion, force: bool| {
        let request = crate::get::Request { to: None, only: Vec::new(), force, dry_run: false };
        house.datasets.get(version, Some(&intake), house.folder.path(), &request).await
    };
    let is = |version: &DatasetVersion| {
        let there = rondo_store::Objects::digest_path(&top).unwrap().digest;
        assert_eq!(there, version.digest);
    };
    // Nothing would be lost: no force is needed. What a killed command has left goes.
    let half = house.write("things/.same.2147483646.new", "ha");
    let got = get(&first, false).await.unwrap();
    assert_eq!((got.placed, got.kept, got.removed), (1, 1, vec!["d/e/f".to_owned(), "d/g".to_owned()]));
    assert!(!half.exists());
    is(&first);
    house.write("things/.same.2147483646.new", "ha");
    let added = house.bring(&intake, None).await.unwrap().remove(0);
    assert_eq!((added.outcome, added.version.digest), (Outcome::Returned, first.digest));
    let got = get(&second, false).await.unwrap();
    assert_eq!((got.placed, got.kept, got.removed), (2, 1, vec!["d".to_owned()]));
    is(&second);
    // A file of nobody's in the folder would be lost, and so would one that has changed.
    house.write("things/d/mine", "mine");
    let Error::InTheWay { paths, .. } = get(&first, false).await.unwrap_err() else { panic!() };
    assert_eq!(paths, [top.join("d/mine").display().to_string()]);
    assert!(top.join("d/g").is_file(), "nothing was done");
    get(&first, true).await.unwrap();
    is(&first);
    // It was put there write-protected, so it is written anew.
    fs::remove_file(&file).unwrap();
    fs::write(&file, "changed").unwrap();
    let Error::InTheWay { paths, .. } = get(&second, false).await.unwrap_err() else { panic!() };
    assert_eq!(paths, [file.display().to_string()]);
    get(&second, true).await.unwrap();
    is(&second);
}

#[tokio::test]
async fn a_dataset_that_was_a_file_and_is_a_folder_is_put_back_and_others_files_stay() {
    let house = House::open().await;
    let intake = intake("thing", json!([]), None);
    let top = house.write("thing", "a file");
    let first = house.bring(&intake, None).await.unwrap().remove(0).version;
    fs::remove_file(&top).unwrap();
    house.write("thing/a/b", "below");
    fs::create_dir(top.join("empty")).unwrap();
    let second = house.bring(&intake, None).await.unwrap().remove(0).version;
    let get = async |version: &DatasetVersion, force: bool| {
        let request = crate::get::Request { to: None, only: Vec::new(), force, dry_run: false };
        house.datasets.get(version, Some(&intake), house.folder.path(), &request).await
    };
    for version in [&first, &second, &first, &second] {
        get(version, false).await.unwrap();
        assert_eq!(rondo_store::Objects::digest_path(&top).unwrap().digest, version.digest);
    }
    house.write("thing/mine", "mine");
    for force in [false, true] {
        assert!(
            matches!(get(&first, force).await, Err(Error::InTheWay { .. })),
            "a whole folder is not given up"
        );
    }
    assert!(top.join("mine").is_file() && top.join("a/b").is_file());
}

#[test]
fn the_verbs_can_be_awaited_on_any_thread() {
    fn sent<T: Send>(_: &T) {}
    fn all(datasets: &Datasets, fetcher: &Fetcher, intake: &Intake, version: &DatasetVersion) {
        let root = Path::new("/");
        sent(&datasets.bring(fetcher, intake, root, None));
        sent(&datasets.diff("a", None, None));
        sent(&datasets.status(intake, root));
        sent(&datasets.check(version, &intake.suite, &intake.options));
    }
    let _ = all;
}

#[tokio::test]
async fn another_dataset_is_read_as_it_is_declared() {
    let house = House::open().await;
    house.write("codes.txt", "# all of them\ncode;name\nAA;American\nUA;United\n");
    let read = json!({ "delimiter": ";", "skip": 1 });
    let dataset = project::Dataset {
        source: "codes.txt".to_owned(),
        format: Some("csv".to_owned()),
        read: read.as_object().unwrap().clone(),
        ..project::Dataset::default()
    };
    let intake = Intake::declared("codes", &dataset, Because::new("ann", "test")).unwrap();
    house.bring(&intake, None).await.unwrap();
    let path = house.write("t.csv", "carrier\nAA\nXX\n");
    let rules = json!([{ "column": "carrier", "references": { "dataset": "codes", "column": "code" } }]);
    let around = crate::check::Around::at(house.folder.path()).with_datasets(house.datasets.clone());
    let suite = Suite::parse("t", rules.as_array().unwrap()).unwrap().within(around);
    let report = suite.check_given(&path, &ReadOptions::default()).await.unwrap();
    let rule = &report.report.rules[0];
    assert_eq!((rule.unexpected_count, rule.sample[0].row), (1, 2), "{rule:?}");
}

#[tokio::test]
async fn what_is_no_one_table_is_versioned_as_files_and_told_where_rows_are_asked_for() {
    let house = House::open().await;
    house.write("kag/train.csv", "a,b\n1,2\n");
    house.write("kag/labels.csv", "id,label\n1,x\n");
    house.write("ragged.csv", "a,b\n1,2\n3\n");
    house.write("empty.csv", "");
    house.write("twice.csv", "a,a\n1,2\n");
    for (source, said) in [
        ("kag", "train.csv"),
        ("ragged.csv", "`ragged.csv`, line 3"),
        ("empty.csv", "`empty.csv` is empty"),
        ("twice.csv", "twice.csv"),
    ] {
        let intake = Intake::plain("flights", source, Because::new("test", "test")).unwrap();
        let version = house.bring(&intake, None).await.unwrap().remove(0).version;
        assert_eq!((version.rows, version.profile), (None, None), "{source}");
        assert_eq!(version.source, source);
        let error = house.datasets.profile_now(&version).await.unwrap_err();
        assert_eq!(error.code(), Code::TableInvalid);
        assert!(error.to_string().contains(said), "{error}");
        // With checks it has to be a table.
        let checked =
            Intake { suite: self::intake(source, json!([{ "rows": { "min": 1 } }]), None).suite, ..intake };
        let other = Intake { dataset: "checked".to_owned(), ..checked };
        assert!(house.bring(&other, None).await.is_err(), "{source}");
    }
    let objects = house.datasets.store().objects().clone();
    assert!(objects.verify(Digest::of(b"a,b\n1,2\n3\n")).unwrap(), "all its bytes are there");
}

#[tokio::test]
async fn files_that_are_declared_as_such_are_not_looked_into() {
    let house = House::open().await;
    house.write("t.csv", "a,b\n1,2\n");
    let plain = Intake::plain("flights", "t.csv", Because::new("test", "test")).unwrap();
    let mut files = plain.clone();
    files.origin.format = Some("files".to_owned());
    let version = house.bring(&files, None).await.unwrap().remove(0).version;
    assert_eq!((version.rows, version.profile), (None, None));
    let reread = house.bring(&plain, None).await.unwrap().remove(0);
    assert_eq!((reread.outcome, reread.version.rows), (Outcome::Reread, Some(1)));
}

#[tokio::test]
async fn what_is_not_there_is_told_as_what_it_is() {
    let house = House::open().await;
    std::os::unix::fs::symlink("gone.csv", house.folder.path().join("link.csv")).unwrap();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(house.folder.path().join("pipe"))
            .status()
            .unwrap()
            .success()
    );
    for (source, said) in [
        ("link.csv", "`link.csv` is a link to `gone.csv`, and nothing is there"),
        ("pipe", "`pipe` is a pipe: a version holds files and folders"),
        ("zzz/*.csv", "no file matches `zzz/*.csv`"),
        ("no.csv", "there is no `no.csv`"),
    ] {
        let intake = Intake::plain("flights", source, Because::new("test", "test")).unwrap();
        assert_eq!(house.bring(&intake, None).await.unwrap_err().to_string(), said);
    }
}

#[tokio::test]
async fn one_lost_object_of_a_remote_keeps_no_other_dataset_from_coming() {
    let (here, there) = (House::open().await, House::open().await);
    let place = here.folder.path().join("remote").to_string_lossy().into_owned();
    let remote = |house: &House| Remote::open(&place, &[], &house.folder.path().join("remotes")).unwrap();
    let mut versions = Vec::new();
    for name in ["good", "bad"] {
        here.write(&format!("{name}.csv"), &format!("a\n{name}\n"));
        let intake = Intake::plain(name, &format!("{name}.csv"), Because::new("test", "test")).unwrap();
        let version = here.bring(&intake, None).await.unwrap().remove(0).version;
        here.datasets.push(&remote(&here), std::slice::from_ref(&version), &Beside::default()).await.unwrap();
        versions.push(version);
    }
    // The pack of what was pushed last.
    let packs = here.folder.path().join("remote/packs");
    let pack = walked(&packs).into_iter().max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    let pack = pack.unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 1);
    fs::write(&pack, bytes).unwrap();
    let wanted: Vec<(String, Wanted)> = [("good", Wanted::Any), ("bad", Wanted::Pinned(versions[1].digest))]
        .into_iter()
        .chain([("never", Wanted::Any)])
        .map(|(name, which)| (name.to_owned(), which))
        .collect();
    let pulled = there.datasets.pull(&remote(&there), &wanted, &Beside::default()).await.unwrap();
    let names: Vec<&str> = pulled.versions.iter().map(|one| one.version.dataset.as_str()).collect();
    assert_eq!((names, pulled.unpushed), (vec!["good"], vec!["never".to_owned()]));
    assert_eq!(pulled.lacking[0].dataset, "bad");
    assert_eq!(pulled.lacking[0].code, Code::DataBroken, "{:?}", pulled.lacking);
    let alone = there.datasets.pull(&remote(&there), &wanted[1..2], &Beside::default()).await.unwrap_err();
    assert_eq!(alone.code(), Code::DataBroken);
    // Found by reading, named by version, and mended from here.
    let found = here.datasets.verify_remote(&remote(&here), &[], false).await.unwrap();
    assert_eq!(found.lacking, [("bad".to_owned(), versions[1].digest)]);
    assert!(!found.broken.is_empty() && found.healed == 0);
    let found = here.datasets.verify_remote(&remote(&here), &[], true).await.unwrap();
    assert!(found.lacking.is_empty() && found.broken.is_empty() && found.healed > 0, "{found:?}");
    let pulled = there.datasets.pull(&remote(&there), &wanted, &Beside::default()).await.unwrap();
    assert!(pulled.lacking.is_empty() && pulled.versions.len() == 2);
}

fn walked(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walked(&path) } else { vec![path] }).collect()
}
