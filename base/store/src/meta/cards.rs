//! Cards: what was logged on an ended run, ready to be shown in a list.
//!
//! A list of a thousand runs would read some ten thousand small rows. A run that has ended seldom changes,
//! so its metrics, parameters and tags are kept once more as JSON: made when it ends, taken away by triggers
//! (see the migrations) when anything in it changes, and made again after a list has missed it. A card is
//! a copy: nothing is lost when it is missing.
//!
//! SQL that only SQLite has: `group_concat` and `json_quote` (`string_agg` and `to_json` elsewhere).

use super::Meta;

/// How many cards one piece of a writer's work makes, so that nobody waits for it long.
const CHUNK: usize = 100;

/// The SQL that gathers rows to a JSON list. The row's table is `x`.
macro_rules! list {
    (metrics) => {
        r#"'[' || COALESCE(group_concat('{"key":' || json_quote(x.key) || ',"value":' || x.shown || ',"timestamp":'
           || x.timestamp || ',"step":' || x.step || CASE x.context WHEN 0 THEN '' ELSE
             (SELECT CASE c.model WHEN '' THEN '' ELSE ',"model_id":' || json_quote(c.model) END
              || CASE c.dataset_name WHEN '' THEN '' ELSE ',"dataset_name":' || json_quote(c.dataset_name) END
              || CASE c.dataset_digest WHEN '' THEN '' ELSE ',"dataset_digest":' || json_quote(c.dataset_digest) END
              FROM metric_context c WHERE c.id = x.context) END || '}', ','), '') || ']'"#
    };
    (pairs) => {
        r#"'[' || COALESCE(group_concat('{"key":' || json_quote(x.key) || ',"value":' || json_quote(x.value)
           || '}', ','), '') || ']'"#
    };
}

/// The metrics of the run `$1`, as a JSON list of keys, values, timestamps and steps.
pub(super) const METRICS: &str = concat!("SELECT ", list!(metrics), " FROM metric_latest x WHERE x.run = $1");
/// The parameters of the run `$1`, as a JSON list of keys and values.
pub(super) const PARAMS: &str = concat!("SELECT ", list!(pairs), " FROM run_param x WHERE x.run = $1");
/// The tags of the run `$1`, as a JSON list of keys and values, but for the name, which is a column.
pub(super) const TAGS: &str =
    concat!("SELECT ", list!(pairs), " FROM run_tag x WHERE x.run = $1 AND x.key <> 'mlflow.runName'");

macro_rules! make {
    ($which:literal) => {
        concat!(
            "INSERT INTO run_card (run, metrics, params, tags) SELECT r.id, (SELECT ",
            list!(metrics),
            " FROM metric_latest x WHERE x.run = r.id), (SELECT ",
            list!(pairs),
            " FROM run_param x WHERE x.run = r.id), (SELECT ",
            list!(pairs),
            " FROM run_tag x WHERE x.run = r.id AND x.key <> 'mlflow.runName') FROM run r WHERE ",
            $which,
            " AND r.state IN ('FINISHED', 'FAILED', 'KILLED') ON CONFLICT (run) DO UPDATE
             SET metrics = excluded.metrics, params = excluded.params, tags = excluded.tags"
        )
    };
}

/// Makes the card of the run `$1`, where it has ended.
pub(super) const OF_RUN: &str = make!("r.id = $1");
/// Makes the cards of those runs of the JSON list `$1` that have ended.
pub(super) const OF_RUNS: &str = make!("r.id IN (SELECT value FROM json_each($1))");

impl Meta {
    /// Makes the cards of those of these runs that have ended, in the background and without a promise:
    /// what fails is tried again after the next list.
    pub(super) fn make_cards(&self, runs: Vec<String>) {
        if runs.is_empty() || !self.finder().begin_cards() {
            return;
        }
        let meta = self.clone();
        tokio::spawn(async move {
            for chunk in runs.chunks(CHUNK) {
                let Ok(list) = super::encode("runs", "list", &chunk) else { break };
                let made = meta.write(move |conn| {
                    Box::pin(async move {
                        sqlx::query(OF_RUNS).bind(list).execute(conn).await?;
                        Ok(())
                    })
                });
                if made.await.is_err() {
                    break;
                }
            }
            meta.finder().end_cards();
        });
    }
}
