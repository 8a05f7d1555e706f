//! A store with a model: versions of a pipeline, judged as a test needs them, and versions of clients.

use rondo_core::evaluation::{Evaluation, Task};
use rondo_core::handoff::{Lineage, ModelVersion};
use rondo_core::journal::Because;
use rondo_core::signature::Signature;
use rondo_core::{Digest, RunId, Timestamp};
use rondo_store::Store;
use rondo_store::meta::registered::ClientVersion;

pub struct House {
    _folder: tempfile::TempDir,
    pub store: Store,
}

pub const MODEL: &str = "delay";
pub const NOW: Timestamp = Timestamp(1_000);

impl House {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        store.meta().create_model(MODEL, "", vec![], Timestamp(1)).await.unwrap();
        Self { _folder: folder, store }
    }

    /// A version that a pipeline registers; its number.
    pub async fn judged(&self, passed: bool) -> i64 {
        let (run, file) = (RunId::random(), Digest::of(b"onnx"));
        let version = ModelVersion {
            model: MODEL.into(),
            version: 0,
            file,
            run,
            pipeline_run: run,
            task: Task::Binary,
            target: "late".into(),
            positive: None,
            threshold: None,
            signature: Signature::default(),
            evaluation: Evaluation::default(),
            verdicts: vec![],
            gate_passed: passed,
            gate_reason: "because".into(),
            reference: None,
            trained_until: None,
            lineage: Lineage::default(),
            created: NOW,
        };
        self.store.meta().register_version(version).await.unwrap().1.version.into()
    }

    /// A version that a client makes; its number.
    pub async fn made(&self) -> i64 {
        let said = ClientVersion {
            location: None,
            source: "mlflow-artifacts:/0/x/artifacts/model".into(),
            run: None,
            model_id: None,
            run_link: None,
            user: None,
        };
        self.store.meta().create_client_version(MODEL, said, "", vec![], NOW).await.unwrap()
    }

    /// The number of the version that an alias points to.
    pub async fn at(&self, alias: &str) -> Option<i64> {
        let target = *self.store.meta().model_aliases(MODEL).await.unwrap().get(alias)?;
        let versions = self.store.meta().versions(MODEL).await.unwrap();
        versions.into_iter().find(|version| version.digest == target).map(|version| version.number)
    }
}

pub fn why(text: &str) -> Because {
    Because::new("ada", text)
}
