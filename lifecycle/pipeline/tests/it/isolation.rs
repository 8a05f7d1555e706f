//! Steps that are kept to what they declare. What this machine cannot do is skipped, and said.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rondo_core::Explain;
use rondo_core::RunId;
use rondo_core::ports::{Event, TrackingAccess};
use rondo_pipeline::isolation::{Level, Machine};
use rondo_pipeline::{Error, RunReport, RunRequest, Runner};
use tokio::sync::watch;

use crate::lab::{Lab, all_good};

/// The levels of this machine that hold anything.
fn levels() -> Vec<&'static str> {
    let machine = Machine::probe(&std::env::var("PATH").unwrap());
    let there =
        [(Level::Landlock, machine.landlock.map(drop)), (Level::Bubblewrap, machine.bubblewrap.map(drop))];
    let said = |(level, there): (Level, Result<(), String>)| match there {
        Ok(()) => Some(level.text()),
        Err(reason) => {
            eprintln!("skipped: {}: {reason}", level.text());
            None
        }
    };
    there.into_iter().filter_map(said).collect()
}

/// A tracking server that answers whatever it is asked with one line.
struct Port(u16);

impl Port {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut asked = [0; 5];
                stream.read_exact(&mut asked).unwrap();
                stream.write_all(b"tracked\n").unwrap();
            }
        });
        Self(port)
    }
}

impl TrackingAccess for Port {
    fn admit(&self, _run: RunId, _experiment: &str) -> BTreeMap<String, String> {
        [("MLFLOW_TRACKING_URI".to_owned(), format!("http://127.0.0.1:{}", self.0))].into()
    }

    fn dismiss(&self, _run: RunId) {}
}

async fn run(lab: &Lab, tracking: Arc<Port>) -> RunReport {
    let runner = Runner { tracking, ..lab.runner() };
    let (_never, cancel) = watch::channel(false);
    runner.run(RunRequest { user: "ada".into(), ..RunRequest::default() }, cancel).await.unwrap()
}

fn cause(report: &RunReport, step: &str) -> String {
    let step = report.step(step).unwrap();
    format!("{} | {}", step.cause.clone().unwrap_or_default(), step.tail.join(" | "))
}

#[tokio::test]
async fn what_is_declared_works_and_is_recorded_at_each_level() {
    for level in levels() {
        let lab = Lab::new().await;
        lab.add_data("rows", "a\n1\n").await;
        lab.write("helper.py", "def double(x): return 2 * x\n");
        lab.write(
            "work.py",
            "import os, tempfile, helper, pathlib\n\
             n = int(pathlib.Path(os.environ['RONDO_INPUT_ROWS']).read_text().split()[1])\n\
             with tempfile.NamedTemporaryFile() as f: f.write(b'x'); f.flush()\n\
             pathlib.Path('~/.cache').expanduser().mkdir(parents=True)\n\
             os.makedirs(os.environ['RONDO_OUTPUT_FOLDER'])\n\
             open(os.environ['RONDO_OUTPUT_FOLDER'] + '/a', 'w').write(str(helper.double(n)))\n\
             open(os.environ['RONDO_METRICS'], 'w').write('{\"m\": 3}')\n\
             os.rename(os.environ['RONDO_OUTPUT_FOLDER'] + '/a', os.environ['RONDO_OUTPUT_FOLDER'] + '/b')\n\
             print('done', file=open('/dev/null', 'w'))\n",
        );
        lab.write(
            "rondo.yaml",
            &format!(
                "project: p\nisolation: {level}\ndata: {{ rows: {{ source: rows.csv }} }}\nsteps:\n  a: {{ run: python3 work.py, code: [helper.py], inputs: [data.rows], outputs: {{ folder: made/ }}, metrics: m.json }}\n  b: {{ run: 'cat $RONDO_INPUT_FOLDER/b > ${{{{ outputs.o }}}}', inputs: [a.folder], outputs: {{ o: o.txt }} }}\n"
            ),
        );
        lab.write("rows.csv", "a\n1\n");
        let report = lab.run().await;
        assert!(all_good(&report), "{level}: {report:#?}");
        assert_eq!(lab.read("o.txt"), "2", "{level}");
        let row = lab.store.meta().require_run(report.step("a").unwrap().run.unwrap()).await.unwrap();
        assert_eq!(row.detail.isolation.as_deref(), Some(level));
        assert!(row.detail.refused.is_empty(), "{level}: {:?}", row.detail.refused);
        let begins = |event: &Event| matches!(event, Event::Note { subject, message } if subject == "isolation" && message.starts_with(level));
        assert_eq!(lab.events.0.lock().unwrap().iter().filter(|event| begins(event)).count(), 1);
    }
}

#[tokio::test]
async fn an_input_that_is_a_link_into_the_store_is_read_too() {
    for level in levels() {
        let lab = Lab::new().await;
        lab.write(
            "rondo.yaml",
            &format!(
                "project: p\nisolation: {level}\nsteps:\n  big: {{ run: 'mkdir ${{{{ outputs.d }}}} && truncate -s 68000000 ${{{{ outputs.d }}}}/a && cp ${{{{ outputs.d }}}}/a ${{{{ outputs.f }}}}', outputs: {{ d: d/, f: f }} }}\n  read: {{ run: 'cat ${{{{ inputs.d }}}}/a ${{{{ inputs.f }}}} | wc -c > ${{{{ outputs.o }}}}', inputs: [big.d, big.f], outputs: {{ o: o }} }}\n"
            ),
        );
        let report = lab.run().await;
        assert!(all_good(&report), "{level}: {report:#?}");
        assert_eq!(lab.read("o").trim(), "136000000", "{level}");
    }
}

#[tokio::test]
async fn an_undeclared_file_is_refused_and_named() {
    for level in levels() {
        let lab = Lab::new().await;
        lab.write("data/extra.csv", "secret");
        lab.write("undeclared.py", "print(open('data/extra.csv').read())");
        lab.write(
            "rondo.yaml",
            &format!(
                "project: p\nisolation: {level}\nsteps:\n  cat: {{ run: cat data/extra.csv }}\n  python: {{ run: python3 undeclared.py }}\n  writes: {{ run: 'echo x > data/new.csv' }}\n  outside: {{ run: cat ../beside }}\n  free: {{ run: cat data/extra.csv, isolation: none }}\n"
            ),
        );
        std::fs::write(lab.root.join("../beside"), "secret").unwrap();
        let report = lab.run_with(RunRequest { keep_going: true, ..RunRequest::default() }).await;
        for step in ["cat", "python"] {
            let cause = cause(&report, step);
            let named =
                format!("`data/extra.csv` is not declared as an input of `{step}` (isolation: {level})");
            assert!(cause.contains(&named) && !cause.contains("secret"), "{level}: {cause}");
        }
        assert!(!lab.root.join("data/new.csv").exists());
        assert!(report.step("writes").unwrap().cause.is_some(), "{level}");
        assert!(report.step("outside").unwrap().cause.is_some(), "{level}");
        assert_eq!(report.step("free").unwrap().cause, None);
    }
}

#[tokio::test]
async fn what_a_link_leads_to_is_not_taken_where_the_step_may_not_read_it() {
    for level in levels() {
        let lab = Lab::new().await;
        lab.write("data/extra.json", r#"{"secret": 1}"#);
        lab.write("declared.csv", "rows");
        let extra = lab.root.join("data/extra.json");
        let extra = extra.display();
        lab.write(
            "rondo.yaml",
            &format!(
                "project: p\nisolation: {level}\nsteps:\n  \
                 made: {{ run: 'echo 1 > ${{{{ outputs.m }}}}', outputs: {{ m: m }} }}\n  \
                 file: {{ run: 'ln -s {extra} ${{{{ outputs.o }}}}', outputs: {{ o: o }} }}\n  \
                 folder: {{ run: 'mkdir -p ${{{{ outputs.d }}}}/a; ln -s {extra} ${{{{ outputs.d }}}}/a/b', outputs: {{ d: d/ }} }}\n  \
                 metrics: {{ run: 'ln -s {extra} $RONDO_METRICS', metrics: m.json }}\n  \
                 input: {{ run: 'ln -s ${{{{ inputs.rows }}}} ${{{{ outputs.i }}}}', inputs: {{ rows: made.m }}, outputs: {{ i: i }} }}\n"
            ),
        );
        let report = lab.run_with(RunRequest { keep_going: true, ..RunRequest::default() }).await;
        for (step, what) in [("file", "output `o`"), ("folder", "output `d`"), ("metrics", "file of metrics")]
        {
            let cause = cause(&report, step);
            assert!(cause.starts_with(&format!("its {what} leads by the link `")), "{level}: {cause}");
            assert!(cause.contains("data/extra.json`, which it may not read"), "{level}: {cause}");
        }
        assert_eq!(report.step("input").unwrap().cause, None, "{level}");
    }
}

#[tokio::test]
async fn a_step_that_goes_on_without_an_undeclared_file_is_told_of() {
    for level in levels() {
        let lab = Lab::new().await;
        lab.write("data/extra.csv", "secret");
        lab.write("data/known.csv", "known");
        lab.write(
            "swallow.py",
            "import subprocess\ntry: open('data/extra.csv')\nexcept OSError: pass\n\
             open('data/known.csv')\nsubprocess.run('cat extra.csv 2>/dev/null', shell=True, cwd='data')\n",
        );
        lab.write(
            "rondo.yaml",
            &format!(
                "project: p\nisolation: {level}\nsteps:\n  swallow: {{ run: python3 swallow.py, code: \
                 [data/known.csv] }}\n  silent: {{ run: 'cat data/extra.csv 2>/dev/null' }}\n"
            ),
        );
        let report = lab.run_with(RunRequest { keep_going: true, ..RunRequest::default() }).await;
        let swallow = report.step("swallow").unwrap();
        assert_eq!(swallow.cause, None, "{level}: {report:#?}");
        let row = lab.store.meta().require_run(swallow.run.unwrap()).await.unwrap();
        assert_eq!(row.detail.refused, ["data/extra.csv"], "{level}");
        let told = format!("`data/extra.csv` is not declared as an input of `swallow` (isolation: {level})");
        let is_told = |event: &Event| matches!(event, Event::Note { subject, message } if subject == "swallow" && message.ends_with(&told));
        assert!(lab.events.0.lock().unwrap().iter().any(is_told), "{level}");
        let silent = cause(&report, "silent");
        assert!(
            silent.contains("`data/extra.csv` is not declared as an input of `silent`"),
            "{level}: {silent}"
        );
    }
}

#[tokio::test]
async fn what_is_written_beside_the_outputs_fails_and_is_named() {
    for level in levels() {
        let lab = Lab::new().await;
        lab.write(
            "beside.sh",
            "echo 1 > hello.txt; echo \"exit $?\"; mkdir figs; : > $RONDO_OUTPUT_X; : > $TMPDIR/t\n",
        );
        lab.write(
            "rondo.yaml",
            &format!(
                "project: p\nisolation: {level}\nsteps:\n  goes: {{ run: bash beside.sh, outputs: {{ x: x.txt }} }}\n  \
                 fails: {{ run: 'echo 1 > hello.txt' }}\n"
            ),
        );
        let report = lab.run_with(RunRequest { keep_going: true, ..RunRequest::default() }).await;
        let goes = report.step("goes").unwrap();
        assert_eq!(goes.cause, None, "{level}: {report:#?}");
        let row = lab.store.meta().require_run(goes.run.unwrap()).await.unwrap();
        assert_eq!(row.detail.refused, ["figs", "hello.txt"], "{level}");
        let told = format!("`figs`, `hello.txt` are not declared as outputs of `goes` (isolation: {level})");
        let is_told = |event: &Event| matches!(event, Event::Note { subject, message } if subject == "goes" && message.ends_with(&told));
        assert!(lab.events.0.lock().unwrap().iter().any(is_told), "{level}");
        assert!(!lab.root.join("hello.txt").exists() && !lab.root.join("figs").exists());
        let fails = cause(&report, "fails");
        let named = format!("`hello.txt` is not declared as an output of `fails` (isolation: {level})");
        assert!(fails.contains(&named), "{level}: {fails}");
    }
}

#[tokio::test]
async fn a_sandbox_is_not_undone_from_within() {
    if !levels().contains(&"bubblewrap") {
        eprintln!("skipped: what only a sandbox holds");
        return;
    }
    let lab = Lab::new().await;
    lab.write(
        "rondo.yaml",
        "project: p\nisolation: bubblewrap\nsteps:\n  undo: { run: 'mount -o remount,bind,rw /usr' }\n  owns: { run: 'touch $TMPDIR/x && chown $(id -u):$(id -g) $TMPDIR/x && chmod 600 $TMPDIR/x' }\n",
    );
    let report = lab.run_with(RunRequest { keep_going: true, ..RunRequest::default() }).await;
    let refused = cause(&report, "undo");
    assert!(
        refused.contains("denied") || refused.contains("permitted") || refused.contains("root"),
        "{refused}"
    );
    assert_eq!(report.step("owns").unwrap().cause, None, "{report:#?}");
}

#[tokio::test]
async fn what_was_to_be_isolated_and_was_not_is_not_kept() {
    let lab = Lab::new().await;
    lab.write(
        "rondo.yaml",
        "project: p\nisolation: auto\nparams: { x: 1 }\nsteps:\n  a: { run: 'echo 1 > ${{ outputs.o }}', outputs: { o: o } }\n  b:\n    run: 'echo \"{\\\"m\\\": 1}\" > $RONDO_METRICS; echo 1 > ${{ outputs.p }}'\n    metrics: m.json\n    outputs: { p: p }\n    sweep: { strategy: grid, over: { x: [1, 2] }, maximize: m }\n",
    );
    let machine = Machine::probe("");
    let free = machine.landlock.is_err() && machine.bubblewrap.is_err();
    let mut runner = lab.runner();
    let empty = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/sh", empty.path().join("sh")).unwrap();
    runner.host_env.insert("PATH".to_owned(), empty.path().to_string_lossy().into_owned());
    let (_never, cancel) = watch::channel(false);
    for _ in 0..2 {
        let report = runner.run(RunRequest::default(), cancel.clone()).await.unwrap();
        assert!(all_good(&report), "{report:#?}");
        if !free {
            eprintln!("skipped: this kernel has Landlock");
            return;
        }
        for step in ["a", "b"] {
            assert_eq!(report.step(step).unwrap().outcome, rondo_pipeline::Outcome::Ran, "{step}");
        }
    }
}

#[tokio::test]
async fn the_tracking_port_is_reached_and_nothing_else_unless_it_is_asked_for() {
    for level in levels() {
        let lab = Lab::new().await;
        let (tracking, other) = (Arc::new(Port::open()), Port::open());
        lab.write(
            "ask.py",
            "import socket, sys\n\
             s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=20)\n\
             s.sendall(b'hello'); print(s.makefile().readline())\n",
        );
        lab.write(
            "rondo.yaml",
            &format!(
                "project: p\nisolation: {level}\nsteps:\n  own: {{ run: 'python3 ask.py ${{MLFLOW_TRACKING_URI##*:}} > ${{{{ outputs.o }}}}', outputs: {{ o: own.txt }} }}\n  other: {{ run: 'python3 ask.py {0}' }}\n  open: {{ run: 'python3 ask.py {0} > ${{{{ outputs.o }}}}', network: true, outputs: {{ o: open.txt }} }}\n",
                other.0
            ),
        );
        let runner = Runner { tracking: tracking.clone(), ..lab.runner() };
        let (_never, cancel) = watch::channel(false);
        let request = RunRequest { keep_going: true, user: "ada".into(), ..RunRequest::default() };
        let report = runner.run(request, cancel).await.unwrap();
        assert_eq!(report.step("own").unwrap().cause, None, "{level}: {report:#?}");
        assert_eq!(lab.read("own.txt").trim(), "tracked", "{level}");
        assert_eq!(report.step("open").unwrap().cause, None, "{level}: {report:#?}");
        let refused = cause(&report, "other");
        assert!(refused.contains("Permission denied") || refused.contains("refused"), "{level}: {refused}");
        let hints = &report.step("other").unwrap().hints;
        assert_eq!(*hints, ["`network: true` at step `other` lets it use the network"], "{level}");
    }
}

#[tokio::test]
async fn a_level_that_is_not_there_is_told_before_anything_runs() {
    let lab = Lab::new().await;
    let first = "  first: { run: ': > ${{ outputs.a }}', outputs: { a: a } }\n";
    lab.write(
        "rondo.yaml",
        &format!(
            "project: p\nsteps:\n{first}  a: {{ run: ':', inputs: [first.a], isolation: bubblewrap }}\n"
        ),
    );
    let mut runner = lab.runner();
    let empty = tempfile::tempdir().unwrap();
    runner.host_env.insert("PATH".to_owned(), empty.path().to_string_lossy().into_owned());
    let (_never, cancel) = watch::channel(false);
    let error = runner.run(RunRequest::default(), cancel.clone()).await.unwrap_err();
    assert!(error.to_string().contains("`bwrap` is not on the PATH"), "{error}");
    assert_eq!(error.objections()[0].path, "steps.a.isolation");
    assert_eq!(error.hints(), ["rondo doctor", "ask for what there is: `isolation: auto`"]);
    assert!(!lab.root.join("a").exists());
    let keep_going = RunRequest { keep_going: true, ..RunRequest::default() };
    let report = runner.run(keep_going, cancel).await.unwrap();
    assert!(cause(&report, "a").contains("`bwrap` is not on the PATH"), "{report:#?}");
    assert_eq!(report.step("a").unwrap().hints[0], "rondo doctor");
}

#[tokio::test]
async fn a_step_that_is_stopped_has_time_to_save() {
    for level in levels().into_iter().chain(["none"]) {
        let lab = Lab::new().await;
        lab.write(
            "train.sh",
            "trap 'sleep 0.5; echo saved; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done\n",
        );
        lab.write(
            "rondo.yaml",
            &format!("project: p\nisolation: {level}\nsteps:\n  a: {{ run: 'cd . && sh train.sh && echo after', timeout: 4s }}\n"),
        );
        let report = run(&lab, Arc::new(Port::open())).await;
        let step = report.step("a").unwrap();
        assert!(cause(&report, "a").contains("took longer"), "{level}");
        let last = step.tail.last().map(String::as_str);
        assert_eq!(last, Some("saved"), "{level}: {:?}", step.tail);
    }
}

#[tokio::test]
async fn a_confined_step_is_stopped_with_all_that_it_started() {
    for level in levels() {
        let lab = Lab::new().await;
        lab.write(
            "rondo.yaml",
            &format!("project: p\nisolation: {level}\nsteps:\n  a: {{ run: 'sleep 4242 & sleep 4242', timeout: 1s }}\n"),
        );
        let report = run(&lab, Arc::new(Port::open())).await;
        assert!(cause(&report, "a").contains("took longer"), "{level}");
        let work = lab.store.root().to_string_lossy().into_owned();
        let ours = |entry: std::fs::DirEntry| {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&environ).contains(&work)
                && String::from_utf8_lossy(&command).contains("4242")
        };
        let left = || std::fs::read_dir("/proc").unwrap().flatten().any(ours);
        let mut looks = 0;
        while left() && looks < 100 {
            looks += 1;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(looks < 100, "{level}: something is left");
    }
}

#[test]
fn errors_of_isolation_say_what_there_is() {
    let error = Error::IsolationMissing { level: "landlock", reason: "no".to_owned(), at: None };
    let hints = error.hints();
    assert!(hints.iter().any(|hint| hint.contains("isolation: auto")));
}
