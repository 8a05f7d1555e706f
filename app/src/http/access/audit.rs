//! What was refused, for the journal: one line for a class of refusals and a client, with how often.
//!
//! A client that is refused a thousand times a second must not write a thousand lines: after its first line
//! the next one comes a minute later at the earliest, and counts what came in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Method, Uri};
use rondo_core::journal::Because;
use rondo_core::ports::Clock;
use rondo_store::meta::Meta;
use serde_json::json;

use super::refused::Refused;

/// How far apart the lines of one client and class are at least.
const APART: Duration = Duration::from_secs(60);
/// Of how many clients and classes it is known when their last line was.
const KNOWN: usize = 1000;

struct Line {
    last: Instant,
    since: u64,
}

/// Writes refusals down.
pub(super) struct Audit {
    meta: Meta,
    clock: Arc<dyn Clock>,
    lines: Mutex<HashMap<(&'static str, String), Line>>,
}

impl Audit {
    pub(super) fn new(meta: Meta, clock: Arc<dyn Clock>) -> Self {
        Self { meta, clock, lines: Mutex::default() }
    }

    /// A request was refused to somebody.
    pub(super) fn refused(&self, refused: Refused, who: &str, method: &Method, uri: &Uri) {
        let who: String = who.chars().take(255).collect();
        let Some(times) = self.count(refused.class(), &who, Instant::now()) else { return };
        let path: String = uri.path().chars().take(200).collect();
        let evidence = json!({ "method": method.as_str(), "path": path, "times": times });
        let because = Because::new(&who, "request refused").with_evidence(evidence);
        let (meta, at) = (self.meta.clone(), self.clock.now());
        let name = format!("denied/{}", refused.class());
        tokio::spawn(async move {
            // The request is refused whether or not that can be written down.
            let _ = meta.note(&name, because, at).await;
        });
    }

    /// How many refusals a line that is due now stands for; nothing when none is due.
    fn count(&self, class: &'static str, who: &str, now: Instant) -> Option<u64> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (class, who.to_owned());
        if let Some(line) = lines.get_mut(&key) {
            line.since += 1;
            if now.duration_since(line.last) < APART {
                return None;
            }
            line.last = now;
            return Some(std::mem::take(&mut line.since));
        }
        if lines.len() >= KNOWN {
            lines.retain(|_, line| now.duration_since(line.last) < APART);
        }
        if lines.len() >= KNOWN {
            // So many at once are one thing: it is written under no one's name, and seldom.
            let line = lines.entry((class, String::new())).or_insert(Line { last: now, since: 0 });
            line.since += 1;
            return None;
        }
        lines.insert(key, Line { last: now, since: 0 });
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use rondo_core::Timestamp;
    use rondo_store::Store;

    use super::*;

    struct Wall;

    impl Clock for Wall {
        fn now(&self) -> Timestamp {
            Timestamp(5)
        }
    }

    #[tokio::test]
    async fn a_flood_of_refusals_is_a_line_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let audit = Audit::new(store.meta().clone(), Arc::new(Wall));
        let start = Instant::now();
        assert_eq!(audit.count("forbidden", "ada", start), Some(1));
        for _ in 0..999 {
            assert_eq!(audit.count("forbidden", "ada", start), None);
        }
        assert_eq!(audit.count("forbidden", "eve", start), Some(1));
        assert_eq!(audit.count("forbidden", "ada", start + APART), Some(1000));
        for i in 0..5000 {
            audit.count("host", &format!("{i}"), start);
        }
        assert!(audit.lines.lock().unwrap().len() <= KNOWN + 1, "what is known is bounded");
    }
}
