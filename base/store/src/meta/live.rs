//! Changes as they happen, whichever process made them.

use std::time::Duration;

use sqlx::Row;
use tokio::sync::watch;

use super::Meta;
use crate::Error;

/// How often it is looked whether something was committed.
const LOOK: Duration = Duration::from_millis(250);

impl Meta {
    /// A counter that goes up when anything was committed, by this process or another. The looking ends
    /// when nobody watches any more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn changes(&self) -> Result<watch::Receiver<u64>, Error> {
        // The number that is asked for is one connection's own view of the others' commits.
        let mut connection = self.readers().acquire().await?.detach();
        let (count, changes) = watch::channel(0_u64);
        tokio::spawn(async move {
            let mut seen = None;
            while !count.is_closed() {
                let row = sqlx::query("PRAGMA data_version").fetch_one(&mut connection).await;
                let Ok(version) = row.and_then(|row| row.try_get::<i64, _>(0)) else { break };
                if seen.replace(version).is_some_and(|before| before != version) {
                    count.send_modify(|count| *count = count.wrapping_add(1));
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = count.closed() => break,
                }
            }
        });
        Ok(changes)
    }
}
