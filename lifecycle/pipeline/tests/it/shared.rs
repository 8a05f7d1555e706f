//! What one machine has made stands for another's steps: by whose word, and when not.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondo_pipeline::shared::{FROM, KeyPair, Shared};
use rondo_project::project::{SharedCache, Trust};
use rondo_remote::Remote;

use crate::lab::{Lab, outcomes};

const PROJECT: &str = r#"
project: shared
data: { flights: { source: flights.csv } }
steps:
  prepare:
    run: echo said; echo x >> ../prepare; mkdir $RONDO_OUTPUT_PARTS; cp $RONDO_INPUT_FLIGHTS $RONDO_OUTPUT_PARTS/a
    inputs: [data.flights]
    outputs: { parts: parts/ }
  train:
    run: echo x >> ../train; cat $RONDO_INPUT_PARTS/a > $RONDO_OUTPUT_MODEL; echo '{"auc":0.5}' > $RONDO_METRICS
    inputs: [prepare.parts]
    outputs: { model: model.txt }
    metrics: metrics.json
"#;

struct Team {
    folder: tempfile::TempDir,
    settings: SharedCache,
    ci: KeyPair,
    ada: KeyPair,
}

impl Team {
    fn new() -> Self {
        let (ci, ada) = (KeyPair::random().unwrap(), KeyPair::random().unwrap());
        let trust =
            |key: &KeyPair, branch: &str| Trust { key: key.public(), branches: vec![branch.to_owned()] };
        let settings = SharedCache {
            remote: "team".to_owned(),
            from: vec!["main".to_owned()],
            trust: vec![trust(&ci, "main"), trust(&ada, "*")],
        };
        Self { folder: tempfile::tempdir().unwrap(), settings, ci, ada }
    }

    /// A machine on a branch; with whose key it gives.
    async fn machine(&self, branch: &str, key: Option<&KeyPair>) -> Lab {
        let mut lab = Lab::new().await;
        lab.write("rondo.yaml", PROJECT);
        lab.add_data("flights", "a\nb\n").await;
        let caches = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        let remote = Remote::open(&self.bucket().display().to_string(), &[], &caches).unwrap();
        let key = key.map(|key| KeyPair::read(&key.secret()).unwrap());
        lab.shared = Some(Arc::new(Shared::new(
            remote,
            self.settings.clone(),
            Some(branch.to_owned()),
            key,
            lab.events.clone(),
        )));
        lab
    }

    fn bucket(&self) -> PathBuf {
        self.folder.path().join("bucket")
    }

    fn entries(&self, branch: &str) -> Vec<PathBuf> {
        let folder = self.bucket().join("notes/cache").join(branch);
        let files = fs::read_dir(folder).map(|files| files.map(|file| file.unwrap().path()).collect());
        files.unwrap_or_default()
    }
}

fn notes(lab: &Lab) -> String {
    lab.events.notes().join("\n")
}

#[tokio::test]
async fn what_one_machine_made_stands_for_the_steps_of_another() {
    let team = Team::new();
    let ci = team.machine("main", Some(&team.ci)).await;
    let made = ci.run().await;
    assert_eq!(outcomes(&made), "prepare:ran train:ran");
    assert_eq!(team.entries("main").len(), 2);

    let ada = team.machine("idea", Some(&team.ada)).await;
    let taken = ada.run().await;
    assert_eq!(outcomes(&taken), "prepare:cached train:cached", "{}", notes(&ada));
    assert_eq!((ada.count("prepare"), ada.read("model.txt").as_str()), (0, "a\nb\n"));
    assert!(notes(&ada).contains("from the shared cache of `main`"));
    // The run is here: with its metrics, its log, and where it came from.
    let run = taken.step("train").unwrap().run.unwrap();
    assert_eq!(Some(run), made.step("train").unwrap().run);
    let meta = ada.store.meta();
    assert_eq!(meta.latest_metrics(run).await.unwrap()[0].point.value, 0.5);
    assert_eq!(meta.run_tags(run).await.unwrap()[FROM], "main");
    let row = meta.run(taken.step("prepare").unwrap().run.unwrap()).await.unwrap().unwrap();
    assert_eq!(ada.store.objects().read(row.detail.log.unwrap()).unwrap(), b"said\n");
    // Nothing was made, so nothing is given; and from now on this store answers itself.
    assert!(team.entries("idea").is_empty());
    fs::remove_dir_all(team.bucket()).unwrap();
    assert_eq!(outcomes(&ada.run().await), "prepare:cached train:cached");
}

#[tokio::test]
async fn what_stands_for_no_step_here_is_given_to_nobody() {
    let team = Team::new();
    let ci = team.machine("main", Some(&team.ci)).await;
    let edits = "run: \"echo 'exit 0' > t.sh; sh t.sh\", code: [t.sh]";
    ci.write(
        "rondo.yaml",
        &format!("project: p\nsteps:\n  edits: {{ {edits} }}\n  now: {{ run: date, cache: false }}\n"),
    );
    ci.write("t.sh", "exit 1");
    assert_eq!(outcomes(&ci.run().await), "edits:ran now:ran");
    assert!(team.entries("main").is_empty());
    assert_eq!(outcomes(&ci.run().await), "edits:ran now:ran");
    assert_eq!(team.entries("main").len(), 1);
}

#[tokio::test]
async fn a_branch_gives_to_itself_and_never_to_main() {
    let team = Team::new();
    let ada = team.machine("idea", Some(&team.ada)).await;
    ada.run().await;
    assert_eq!(team.entries("idea").len(), 2);
    let main = team.machine("main", None).await;
    assert_eq!(outcomes(&main.run().await), "prepare:ran train:ran");
    assert!(team.entries("main").is_empty(), "without a key nothing is given");
    let friend = team.machine("idea", None).await;
    assert_eq!(outcomes(&friend.run().await), "prepare:cached train:cached");

    // A key for other branches on a machine that says it is of main.
    let other = team.machine("main", Some(&team.ada)).await;
    other.run().await;
    assert!(team.entries("main").is_empty() && notes(&other).contains("not trusted for the branch `main`"));
}

#[tokio::test]
async fn entries_that_were_moved_changed_or_signed_by_others_are_passed_over() {
    let team = Team::new();
    team.machine("idea", Some(&team.ada)).await.run().await;
    let main = team.bucket().join("notes/cache/main");
    fs::create_dir_all(&main).unwrap();
    let copy = |from: &Path, to: &Path| fs::copy(from, to).map(|_| ()).unwrap();
    // Who may write to the bucket copies entries of a branch to main.
    for entry in team.entries("idea") {
        copy(&entry, &main.join(entry.file_name().unwrap()));
    }
    let lab = team.machine("main", None).await;
    assert_eq!(outcomes(&lab.run().await), "prepare:ran train:ran");
    assert!(notes(&lab).contains("its key is not trusted for that branch"), "{}", notes(&lab));

    // Entries that are rightly signed, each in the place of the other, and one whose text was changed.
    fs::remove_dir_all(&main).unwrap();
    team.machine("main", Some(&team.ci)).await.run().await;
    let [one, two] = &team.entries("main")[..] else { panic!("two entries") };
    let spare = one.with_extension("spare");
    copy(one, &spare);
    copy(two, one);
    fs::rename(spare, two).unwrap();
    let lab = team.machine("main", None).await;
    assert_eq!(outcomes(&lab.run().await), "prepare:ran train:ran");
    assert!(notes(&lab).contains("signed for another branch or key"), "{}", notes(&lab));
    for entry in team.entries("main") {
        let text = fs::read_to_string(&entry).unwrap().replace("\"shared\"", "\"spoilt\"");
        fs::write(&entry, text.replacen("\"ada\"", "\"eve\"", 1)).unwrap();
    }
    let lab = team.machine("main", None).await;
    assert_eq!(outcomes(&lab.run().await), "prepare:ran train:ran");
    assert!(notes(&lab).contains("signature is not of its content"), "{}", notes(&lab));
}

#[tokio::test]
async fn a_remote_that_is_away_makes_no_run_fail() {
    let team = Team::new();
    let lab = team.machine("main", Some(&team.ci)).await;
    fs::remove_dir_all(team.bucket()).unwrap();
    fs::write(team.bucket(), "no folder").unwrap();
    assert_eq!(outcomes(&lab.run().await), "prepare:ran train:ran");
    assert!(notes(&lab).contains("not asked any more"), "{}", notes(&lab));
}

#[tokio::test]
async fn trials_of_a_sweep_are_given_and_taken_one_by_one() {
    let team = Team::new();
    let swept = |most: u32| {
        format!(
            r#"
project: shared
params: {{ n: 1 }}
steps:
  fit:
    run: echo x >> ../fit; echo $RONDO_PARAM_N > $RONDO_OUTPUT_M; echo "{{\"m\":$RONDO_PARAM_N}}" > $RONDO_METRICS
    outputs: {{ m: m.txt }}
    metrics: m.json
    sweep: {{ over: {{ n: {{ int: [1, {most}] }} }}, maximize: m }}
"#
        )
    };
    let ci = team.machine("main", Some(&team.ci)).await;
    ci.write("rondo.yaml", &swept(3));
    ci.run().await;
    assert_eq!((ci.count("fit"), team.entries("main").len()), (3, 4), "three trials and the sweep");

    // Another sweep with trials of its own takes what there is, and makes what there is not.
    let ada = team.machine("main", None).await;
    ada.write("rondo.yaml", &swept(4));
    let report = ada.run().await;
    assert_eq!((ada.count("fit"), ada.read("m.txt").as_str()), (1, "4\n"), "{}", notes(&ada));
    let sweep = report.step("fit").unwrap().sweep.clone().unwrap();
    let states: Vec<&str> = sweep.trials.iter().map(|trial| trial.state.text()).collect();
    assert_eq!(states.iter().filter(|state| **state == "cached").count(), 3, "{states:?}");
    assert_eq!(sweep.best().unwrap().value, Some(4.0));
}
