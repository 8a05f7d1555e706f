//! Approvals meet the requests that wait for them.
//!
//! An approved promotion has moved its alias already; endpoints follow it by themselves. What is left is to
//! say so in the retraining request that made the version.

use rondo_core::Timestamp;
use rondo_core::handoff::RequestState;
use rondo_registry::approval::{self, Approval, Decision};
use rondo_store::Store;

use super::Error;

/// A word about a version.
#[derive(Debug, Clone, Copy)]
pub struct Word<'w> {
    /// The model.
    pub model: &'w str,
    /// The version.
    pub version: i64,
    /// Who says it.
    pub by: &'w str,
    /// Why.
    pub why: &'w str,
}

/// Approves a version.
///
/// # Errors
/// As [`approval::approve`].
pub async fn approve(store: &Store, word: Word<'_>, force: bool, at: Timestamp) -> Result<Approval, Error> {
    let of = (word.model, word.version);
    let approved = approval::approve(store, of, word.by, word.why, force, at).await?;
    settle(store, &approved).await?;
    Ok(approved)
}

/// Rejects a version.
///
/// # Errors
/// As [`approval::reject`].
pub async fn reject(store: &Store, word: Word<'_>, at: Timestamp) -> Result<Approval, Error> {
    let rejected = approval::reject(store, (word.model, word.version), word.by, word.why, at).await?;
    settle(store, &rejected).await?;
    Ok(rejected)
}

/// Ends the request that waited for this.
async fn settle(store: &Store, approval: &Approval) -> Result<(), Error> {
    let id = approval.evidence.get("request").and_then(serde_json::Value::as_str);
    let requests = store.meta().requests(&approval.model).await?;
    let waiting = requests
        .into_iter()
        .find(|request| Some(request.id.as_str()) == id && request.state == RequestState::Pending);
    let Some(mut request) = waiting else { return Ok(()) };
    let Approval { version, by, why, .. } = approval;
    let approved = approval.decision == Decision::Approved;
    request.state = if approved { RequestState::Promoted } else { RequestState::Kept };
    request.outcome = Some(if approved {
        format!("version {version} is champion now: approved by {by}: {why}")
    } else {
        format!("version {version} was rejected by {by}: {why}")
    });
    Ok(store.meta().update_request(&request).await?)
}

#[cfg(test)]
mod tests {
    use rondo_core::handoff::RetrainRequest;
    use rondo_core::journal::Because;
    use rondo_store::meta::registered::ClientVersion;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(9);

    /// A store in which version 1 waits for its approval, with the request that made it.
    async fn waiting() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        store.meta().create_model("delay", "", vec![], NOW).await.unwrap();
        let said = ClientVersion {
            location: None,
            source: "mlflow-artifacts:/0/x/artifacts".into(),
            run: None,
            model_id: None,
            run_link: None,
            user: None,
        };
        store.meta().create_client_version("delay", said, "", vec![], NOW).await.unwrap();
        let request = RetrainRequest {
            id: "delay/drift/9".into(),
            model: "delay".into(),
            cause: "drift".into(),
            until: NOW,
            targets: vec![],
            params: Default::default(),
            promote: true,
            state: RequestState::Pending,
            run: None,
            outcome: None,
            created: NOW,
        };
        store.meta().request_retraining(&request).await.unwrap();
        let asked = Approval {
            model: "delay".into(),
            version: 1,
            decision: Decision::Pending,
            alias: Some("champion".into()),
            seen: None,
            evidence: json!({ "request": request.id }),
            by: "rondo".into(),
            why: "passes".into(),
            at: NOW,
        };
        approval::ask(&store, asked, Because::new("rondo", "passes")).await.unwrap();
        (folder, store)
    }

    fn word(why: &str) -> Word<'_> {
        Word { model: "delay", version: 1, by: "ada", why }
    }

    async fn request(store: &Store) -> (RequestState, String) {
        let request = store.meta().requests("delay").await.unwrap().remove(0);
        (request.state, request.outcome.unwrap_or_default())
    }

    #[tokio::test]
    async fn the_workers_promotion_goes_on_after_its_approval() {
        let (_folder, store) = waiting().await;
        approve(&store, word("fine"), false, NOW).await.unwrap();
        let (state, outcome) = request(&store).await;
        assert_eq!(state, RequestState::Promoted);
        assert_eq!(outcome, "version 1 is champion now: approved by ada: fine");
        assert!(store.meta().model_aliases("delay").await.unwrap().contains_key("champion"));
    }

    #[tokio::test]
    async fn the_champion_stays_after_a_rejection() {
        let (_folder, store) = waiting().await;
        reject(&store, word("unfair"), NOW).await.unwrap();
        let (state, outcome) = request(&store).await;
        assert_eq!(state, RequestState::Kept);
        assert_eq!(outcome, "version 1 was rejected by ada: unfair");
        assert!(store.meta().model_aliases("delay").await.unwrap().is_empty());
    }
}
