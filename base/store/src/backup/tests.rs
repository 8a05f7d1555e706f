//! What a backup promises: what was saved comes back, and what is lost or damaged is told and mended.

use rondo_core::ports::Unwatched;
use rondo_core::{Explain, Span};

use super::*;
use crate::objects::Stamp;

async fn filled(folder: &Path) -> (Store, Digest) {
    let store = Store::open(&folder.join("store")).await.unwrap();
    store.meta().ensure_default_experiment(Timestamp(1)).await.unwrap();
    assert!(store.meta().lease("worker", "here", Timestamp(1), Span(100)).await.unwrap());
    let stored = store.objects().put_bytes(b"a model").unwrap();
    store.meta().put_artifact("r", "model", stored.digest, stored.size, Timestamp(1)).await.unwrap();
    let log = store.root().join("log/deep");
    fs::create_dir_all(&log).unwrap();
    fs::write(log.join("0.log"), "frames").unwrap();
    (store, stored.digest)
}

#[tokio::test]
async fn what_was_saved_comes_back_and_only_what_is_new_is_copied_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, model) = filled(folder.path()).await;
    let backup = Backup::create(&folder.path().join("backup")).unwrap();
    let other = Lock::take(store.root()).unwrap();
    let refused = backup.save(&store, &[], Timestamp(1_000), &Unwatched).await.unwrap_err();
    assert_eq!(refused.code(), Code::Busy);
    drop(other);
    let first = backup.save(&store, &["log", "none"], Timestamp(1_000), &Unwatched).await.unwrap();
    assert_eq!((first.copied, first.snapshot.objects, first.snapshot.files.len()), (1, 1, 1));

    store.meta().ensure_experiment("later", Timestamp(2)).await.unwrap();
    let second = backup.save(&store, &["log"], Timestamp(2_000), &Unwatched).await.unwrap();
    assert_eq!(second.copied, 0);
    assert_eq!(backup.names().unwrap(), [first.name.clone(), second.name]);

    for (name, experiments) in [(Some(first.name.as_str()), 1), (None, 2)] {
        let data = folder.path().join(format!("restored-{experiments}"));
        let (_, snapshot) = backup.snapshot(name).unwrap();
        assert!(backup.verify(&snapshot, &Unwatched).await.unwrap().is_empty());
        backup.restore(&snapshot, &data, &Unwatched).await.unwrap();
        let restored = Store::open(&data).await.unwrap();
        assert_eq!(restored.meta().experiments().await.unwrap().len(), experiments);
        assert_eq!(restored.objects().read(model).unwrap(), b"a model");
        assert_eq!(fs::read_to_string(data.join("log/deep/0.log")).unwrap(), "frames");
        assert!(restored.meta().lease("worker", "x", Timestamp(1), Span(100)).await.unwrap());
    }
}

/// Looks at what lies in a folder while something goes on.
struct Onlooker {
    folder: PathBuf,
    seen: std::sync::Mutex<HashSet<String>>,
}

impl Onlooker {
    fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), seen: Default::default() }
    }

    /// The names that were seen.
    fn seen(self) -> Vec<String> {
        let mut seen: Vec<String> = self.seen.into_inner().unwrap().into_iter().collect();
        seen.sort_unstable();
        seen
    }
}

impl Progress for Onlooker {
    fn report(&self, _: Event) {
        let names = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().file_name());
        self.seen.lock().unwrap().extend(names.map(|name| name.into_string().unwrap()));
    }
}

#[tokio::test]
async fn what_a_killed_backup_or_restore_left_goes_with_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = filled(folder.path()).await;
    let root = folder.path().join("backup");
    let backup = Backup::create(&root).unwrap();
    let onlooker = Onlooker::of(&root);
    let saved = backup.save(&store, &[], Timestamp(1_000), &onlooker).await.unwrap();
    assert_eq!(onlooker.seen(), ["objects", "snapshots"], "all else lies where it is swept");

    let beside = folder.path().join("beside");
    fs::create_dir(&beside).unwrap();
    let onlooker = Onlooker::of(&beside);
    backup.restore(&saved.snapshot, &beside.join("a"), &onlooker).await.unwrap();
    let [unfinished] = onlooker.seen().try_into().unwrap();
    let dead = beside.join(&unfinished);
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join(METADATA), "half").unwrap();
    let living = Scratch::within(&beside, UNFINISHED).unwrap();
    backup.restore(&saved.snapshot, &beside.join("b"), &Unwatched).await.unwrap();
    assert!(!dead.exists() && living.path().exists());
}

#[tokio::test]
async fn a_store_in_use_is_not_overwritten_and_a_damaged_backup_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, model) = filled(folder.path()).await;
    let backup = Backup::create(&folder.path().join("backup")).unwrap();
    let saved = backup.save(&store, &[], Timestamp(1_000), &Unwatched).await.unwrap();
    let refused = backup.restore(&saved.snapshot, store.root(), &Unwatched).await.unwrap_err();
    assert_eq!(refused.code(), Code::StoreExists);

    let object = backup.objects.path(model).unwrap();
    fs::remove_file(&object).unwrap();
    fs::write(&object, "not it").unwrap();
    let found = backup.verify(&saved.snapshot, &Unwatched).await.unwrap();
    assert_eq!(found, Damage { damaged: vec![model], ..Damage::default() });
    let data = folder.path().join("restored");
    let refused = backup.restore(&saved.snapshot, &data, &Unwatched).await.unwrap_err();
    assert_eq!(refused.code(), Code::Corrupt);
    assert!(!data.exists());
    assert!(refused.to_string().contains(&format!("1 damaged: {model}")), "{refused}");
    fs::remove_file(&object).unwrap();
    let found = backup.verify(&saved.snapshot, &Unwatched).await.unwrap();
    assert_eq!(found, Damage { missing: vec![model], ..Damage::default() });
    let refused = backup.restore(&saved.snapshot, &data, &Unwatched).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("1 missing: {model}")), "{refused}");
    fs::remove_file(backup.objects.path(saved.snapshot.metadata).unwrap()).unwrap();
    let found = backup.verify(&saved.snapshot, &Unwatched).await.unwrap();
    assert_eq!(found, Damage { missing: vec![saved.snapshot.metadata], ..Damage::default() });
}

/// Other bytes of the same length where an object of a backup was, as a disk does it: what is noted of
/// the file holds.
fn rot(backup: &Backup, digest: Digest) {
    let place = backup.objects.path(digest).unwrap();
    let metadata = fs::metadata(&place).unwrap();
    let mut bytes = fs::read(&place).unwrap();
    bytes[0] ^= 1;
    fs::remove_file(&place).unwrap();
    fs::write(&place, bytes).unwrap();
    fs::set_permissions(&place, metadata.permissions()).unwrap();
    let stamp = Stamp::of(&fs::metadata(&place).unwrap());
    let noted = format!("1 {} {} {} {}\n", stamp.inode, stamp.size, stamp.modified, stamp.changed);
    let note = backup.root.join("objects/noted").join(digest.hex());
    if note.exists() {
        fs::write(note, noted).unwrap();
        backup.objects.sound(digest).unwrap();
    }
}

#[tokio::test]
async fn the_next_backup_mends_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (store, model) = filled(folder.path()).await;
    let large = store.objects().put_bytes(&vec![7; 300 << 10]).unwrap();
    store.meta().put_artifact("r", "large", large.digest, large.size, Timestamp(1)).await.unwrap();
    let backup = Backup::create(&folder.path().join("backup")).unwrap();
    let first = backup.save(&store, &["log"], Timestamp(1_000), &Unwatched).await.unwrap();
    assert_eq!((first.copied, first.mended), (2, 0));

    let longer = backup.objects.path(model).unwrap();
    fs::remove_file(&longer).unwrap();
    fs::write(&longer, "a model and more").unwrap();
    rot(&backup, large.digest);
    for (_, log) in &first.snapshot.files {
        rot(&backup, *log);
    }
    let found = backup.verify(&first.snapshot, &Unwatched).await.unwrap();
    assert_eq!((found.missing.len(), found.damaged.len()), (0, 3));
    let second = backup.save(&store, &["log"], Timestamp(2_000), &Unwatched).await.unwrap();
    assert_eq!((second.copied, second.mended), (0, 2));
    for snapshot in [&first.snapshot, &second.snapshot] {
        assert!(backup.verify(snapshot, &Unwatched).await.unwrap().is_empty());
    }
    let third = backup.save(&store, &["log"], Timestamp(3_000), &Unwatched).await.unwrap();
    assert_eq!((third.copied, third.mended), (0, 0));
}

#[tokio::test]
async fn only_what_a_snapshot_had_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (store, model) = filled(folder.path()).await;
    let never = Digest::of(b"the key of a step");
    let swept = store.objects().put_bytes(b"swept").unwrap().digest;
    store.meta().put_record("test", &serde_json::json!({ "a": never, "b": swept })).await.unwrap();
    fs::remove_file(store.objects().path(swept).unwrap()).unwrap();
    let backup = Backup::create(&folder.path().join("backup")).unwrap();
    let saved = backup.save(&store, &[], Timestamp(1_000), &Unwatched).await.unwrap();
    assert_eq!(saved.snapshot.objects, 1);
    let Absent::Named(absent) = &saved.snapshot.absent else { panic!("{:?}", saved.snapshot) };
    assert!(absent.contains(&never) && absent.contains(&swept));

    let (_, read) = backup.snapshot(None).unwrap();
    assert_eq!(read, saved.snapshot);
    let counted = Snapshot { absent: Absent::Counted(absent.len() as u64), ..read.clone() };
    let path = backup.root.join("snapshots").join(format!("{}.json", saved.name));
    let mut first_format: serde_json::Value = serde_json::to_value(&read).unwrap();
    first_format["format"] = 1.into();
    first_format["missing"] = absent.len().into();
    fs::write(path, first_format.to_string()).unwrap();
    assert_eq!(backup.snapshot(None).unwrap().1, Snapshot { format: 1, ..counted.clone() });

    for snapshot in [&read, &counted] {
        assert_eq!(backup.verify(snapshot, &Unwatched).await.unwrap(), Damage::default());
    }
    fs::remove_file(backup.objects.path(model).unwrap()).unwrap();
    assert_eq!(backup.verify(&read, &Unwatched).await.unwrap().missing, [model]);
    assert!(backup.verify(&counted, &Unwatched).await.unwrap().missing.contains(&model));
}

#[tokio::test]
async fn a_folder_without_backups_and_a_snapshot_that_it_has_not_are_not_found() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Backup::open(folder.path()).err().unwrap().code(), Code::BackupNotFound);
    let empty = Backup::create(folder.path()).unwrap();
    let told = format!("backup `{}` ", folder.path().display());
    let none = empty.snapshot(None).unwrap_err();
    assert_eq!(none.to_string(), format!("{told}does not exist"));
    let other = empty.snapshot(Some("nosuch")).unwrap_err();
    assert_eq!(other.code(), Code::BackupNotFound);
    assert_eq!(other.to_string(), format!("{told}has no snapshot `nosuch`"));
    assert_eq!(other.hints(), [format!("rondo admin backup '{}' --list", folder.path().display())]);
}

#[test]
fn of_much_damage_a_part_is_named() {
    let missing: Vec<Digest> = (0..7_u8).map(|byte| Digest::of(&[byte])).collect();
    let damage = Damage { missing, damaged: vec![Digest::of(b"x")] };
    let said = damage.to_string();
    assert!(said.starts_with("7 missing: ") && said.contains(" and 2 more"), "{said}");
    assert!(said.ends_with(&format!("; 1 damaged: {}", Digest::of(b"x"))), "{said}");
}
