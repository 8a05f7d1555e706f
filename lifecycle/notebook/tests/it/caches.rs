//! Results that stand for later runs.

use std::fs;
use std::sync::Arc;

use rondo_notebook::cache::run::{Keep, run};
use rondo_notebook::cache::{Cache, Environment};
use rondo_notebook::document::Notebook;
use rondo_notebook::execute::ExecuteRequest;

use crate::work::{Watcher, Work};

#[tokio::test]
async fn a_result_stands_for_later_runs_unless_what_it_depends_on_changed_while_it_ran() {
    let Some(work) = Work::new() else { return };
    let watcher = Watcher::default();
    let request = |source: &str| {
        let request = work.request(&[(source, &[])]);
        let notebook = Some(Notebook::read(&request.input).unwrap());
        ExecuteRequest { notebook, progress: Arc::new(watcher.clone()), ..request }
    };
    let (same, changes) = ("open('data').read()", "open('data', 'w').write('after')");
    let keep = Keep {
        cache: Cache::new(work.path("cache")),
        environment: {
            let request = request(same);
            Environment::of(&request, request.notebook.as_ref().unwrap()).unwrap()
        },
        inputs: vec![work.path("data")],
    };
    for (source, second) in [(same, true), (changes, false)] {
        for cached in [false, second] {
            fs::write(work.path("data"), "before").unwrap();
            assert_eq!(run(request(source), Some(&keep)).await.unwrap().cached, cached, "{source}");
        }
    }
    let told = watcher.notes();
    assert_eq!(told.iter().filter(|note| note.contains("changed while it ran")).count(), 2, "{told:?}");
}
