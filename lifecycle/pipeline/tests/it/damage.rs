//! What is damaged in the store: outputs are made again or fetched, and what nobody can make is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rondo_core::ports::Unwatched;
use rondo_core::{Code, Digest, Explain};
use rondo_pipeline::RunRequest;
use rondo_pipeline::request::Forecast;
use rondo_remote::{Need, Remote};

use crate::lab::{Lab, outcomes};

const PROJECT: &str = r#"
project: damage
data: { flights: { source: flights.csv } }
steps:
  make:
    run: echo x >> ../make; mkdir $RONDO_OUTPUT_PARTS; sort $RONDO_INPUT_FLIGHTS > $RONDO_OUTPUT_PARTS/sorted
    inputs: [data.flights]
    outputs: { parts: parts/ }
  use:
    run: echo x >> ../use; cat $RONDO_INPUT_PARTS/sorted > $RONDO_OUTPUT_OUT; echo used >> $RONDO_OUTPUT_OUT
    inputs: [make.parts]
    outputs: { out: out.txt }
"#;

/// The object of the file that `make` makes.
fn made() -> Digest {
    Digest::of(b"a\nb\n")
}

async fn lab() -> Lab {
    let lab = Lab::new().await;
    lab.write("rondo.yaml", PROJECT);
    lab.add_data("flights", "b\na\n").await;
    assert_eq!(outcomes(&lab.run().await), "make:ran use:ran");
    lab
}

/// Damages an object as a disk does: same size, same permissions.
fn spoil(lab: &Lab, digest: Digest) {
    let place = lab.store.objects().require(digest).unwrap();
    let mut bytes = fs::read(&place).unwrap();
    bytes[0] ^= 1;
    // Another file: those that share its blocks or its inode stay as they are.
    fs::remove_file(&place).unwrap();
    fs::write(&place, bytes).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o440)).unwrap();
}

fn is_sound(lab: &Lab, digest: Digest) -> bool {
    lab.store.objects().verify(digest).unwrap()
}

fn notes(lab: &Lab) -> String {
    lab.events.notes().join("\n")
}

/// A remote that holds objects of a lab, which is given to the lab.
async fn with_remote(lab: &mut Lab, needs: &[Need]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (bucket, caches) = (folder.path().join("bucket"), folder.path().join("caches"));
    let remote = Remote::open(&bucket.display().to_string(), &[], &caches).unwrap();
    remote.push(lab.store.objects(), needs, Vec::new(), &Unwatched).await.unwrap();
    lab.remotes = Some(Arc::new(move || vec![remote.clone()]));
    folder
}

#[tokio::test]
async fn a_damaged_output_of_the_cache_is_a_miss_and_is_made_sound_again() {
    let lab = lab().await;
    spoil(&lab, made());
    let why = lab.runner().why("make").await.unwrap().remove(0);
    assert_eq!(why.forecast, Forecast::Runs);
    assert_eq!(why.reason, "output `parts` of the cached run is damaged in the store");
    let plan = lab.runner().plan(&RunRequest::default()).await.unwrap();
    assert_eq!((plan.steps[0].forecast, &plan.steps[0].reason), (Forecast::Runs, &why.reason));
    assert_eq!(plan.steps[1].forecast, Forecast::Waits);

    assert_eq!(outcomes(&lab.run().await), "make:ran use:cached");
    assert!(
        notes(&lab).contains("output `parts` of the cached run is damaged in the store: run again"),
        "{}",
        notes(&lab)
    );
    assert_eq!((lab.count("make"), lab.count("use")), (2, 1));
    assert!(is_sound(&lab, made()));
    assert_eq!(outcomes(&lab.run().await), "make:cached use:cached");
    // What is damaged below is no reason to make what is above again.
    spoil(&lab, Digest::of(b"a\nb\nused\n"));
    assert_eq!(outcomes(&lab.run().await), "make:cached use:ran");
    assert_eq!(lab.read("out.txt"), "a\nb\nused\n");
}

#[tokio::test]
async fn what_a_remote_has_whole_is_fetched_and_nothing_is_made_again() {
    let mut lab = lab().await;
    let parts = lab.run().await.step("make").unwrap().outputs[0].digest;
    let flights = Digest::of(b"b\na\n");
    let _folder = with_remote(&mut lab, &[Need::folder(parts), Need::file(flights)]).await;
    for spoilt in [made(), parts] {
        spoil(&lab, spoilt);
        assert_eq!(outcomes(&lab.run().await), "make:cached use:cached", "{}", notes(&lab));
        assert!(is_sound(&lab, spoilt));
    }
    assert!(notes(&lab).contains("what was damaged in the store was fetched from"), "{}", notes(&lab));
    // A dataset too, whose object nobody here could make.
    spoil(&lab, flights);
    lab.write("rondo.yaml", &PROJECT.replace("sort $", "sort -r $"));
    assert_eq!(outcomes(&lab.run().await), "make:ran use:ran", "{}", notes(&lab));
    assert!(is_sound(&lab, flights));
}

#[tokio::test]
async fn a_damaged_dataset_that_nobody_has_is_refused() {
    let lab = lab().await;
    spoil(&lab, Digest::of(b"b\na\n"));
    // While nothing reads it, it keeps nothing from standing.
    assert_eq!(outcomes(&lab.run().await), "make:cached use:cached");
    lab.write(
        "rondo.yaml",
        &PROJECT.replace("sort $", "sort -r $").replace("  make:\n", "  make:\n    retries: 3\n"),
    );
    let report = lab.run().await;
    assert_eq!(outcomes(&report), "make:failed use:skipped");
    let failure = report.failure().unwrap();
    assert_eq!(failure.code(), Code::Corrupt);
    assert!(failure.to_string().contains("its input `flights` is damaged in the store"), "{failure}");
    let step = report.step("make").unwrap();
    assert!(step.damaged && step.hints[0].contains("--heal"), "{:?}", step.hints);
    assert_eq!(lab.count("make"), 1);
    assert!(!notes(&lab).contains("trying again"), "{}", notes(&lab));
}

#[tokio::test]
async fn the_trial_of_a_sweep_whose_output_is_damaged_runs_again() {
    let lab = Lab::new().await;
    lab.write(
        "rondo.yaml",
        r#"
project: damage
params: { n: 1 }
steps:
  fit:
    run: echo x >> ../fit; echo $RONDO_PARAM_N > $RONDO_OUTPUT_M; echo "{\"m\":$RONDO_PARAM_N}" > $RONDO_METRICS
    outputs: { m: m.txt }
    metrics: m.json
    sweep: { over: { n: { int: [1, 3] } }, maximize: m }
"#,
    );
    lab.run().await;
    assert_eq!(lab.count("fit"), 3);
    spoil(&lab, Digest::of(b"3\n"));
    assert_eq!(outcomes(&lab.run().await), "fit:ran", "{}", notes(&lab));
    assert_eq!((lab.count("fit"), lab.read("m.txt").as_str()), (4, "3\n"), "{}", notes(&lab));
    assert_eq!(outcomes(&lab.run().await), "fit:cached");
}

#[tokio::test]
async fn a_sweep_whose_input_is_damaged_is_refused_as_a_step_is() {
    let lab = lab().await;
    let sweep = "params: { n: 1 }\nsteps:\n  fit:\n    run: ':'\n    inputs: [data.flights]\n    params: [n]\n    \
                 metrics: m.json\n    retries: 3\n    sweep: { over: { n: [1, 2] }, maximize: m }\n";
    let head = PROJECT.split("steps:").next().unwrap();
    lab.write("rondo.yaml", &format!("{head}{sweep}"));
    spoil(&lab, Digest::of(b"b\na\n"));
    let report = lab.run().await;
    assert_eq!(report.failure().unwrap().code(), Code::Corrupt, "{report:#?}");
    let step = report.step("fit").unwrap();
    assert!(step.damaged && step.hints[0].contains("--heal"), "{:?}", step.hints);
}
