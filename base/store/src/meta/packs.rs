//! Packs: what filters ask of ended runs, by column.
//!
//! A filter by a parameter, a tag or the name would look at each run of an experiment by itself. A pack has
//! the values of up to [`RUNS`] ended runs of an experiment, each key's in one piece, so that
//! [`narrow`](super::search::narrow) finds the few runs that can match without touching the others. Nothing
//! is packed when it is logged: a filter that has missed the packs has them made in the background. A run
//! leaves its pack by a trigger when anything in it changes (see the migration), and a pack that names a run
//! which has left it or is gone names it in vain, since whatever a pack finds is tested once more.
//!
//! The cells of a field are words and places: how many different values there are, each with its length, and
//! then, for each run that has one, how many runs on from the one before it stands and which value it has.
//!
//! SQL that only SQLite has: `INDEXED BY`, `json_group_array`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use sqlx::{Row, SqliteConnection};

use super::metrics::points::{number, take};
use super::search::PATIENCE;
use super::search::narrow::loose_runs;
use super::{Meta, cards};
use crate::Error;

/// Runs of a pack, at most. (Tests have small ones, so that there are several.)
pub(super) const RUNS: usize = if cfg!(test) { 8 } else { 512 };
/// Bytes of cards that are packed at once, at most: that keeps the writer busy for some milliseconds.
const TEXT: usize = 1 << 20;
/// Packs that are taken apart at once, at most.
const DROPPED: i64 = 16;
/// The field that is a run's name.
pub(super) const NAME: &str = "name";

/// The field of a parameter.
pub(super) fn param(key: &str) -> String {
    format!("p/{key}")
}

/// The field of a tag.
pub(super) fn tag(key: &str) -> String {
    format!("t/{key}")
}

/// A key and its value on a card.
#[derive(Deserialize)]
struct Pair<'c> {
    #[serde(borrow)]
    key: Cow<'c, str>,
    #[serde(borrow)]
    value: Cow<'c, str>,
}

impl Meta {
    /// Packs what can be packed of these experiments, in the background and without a promise. With each
    /// comes how many runs of it have no pack.
    pub(super) fn make_packs(&self, experiments: Vec<(i64, usize)>) {
        let experiments = self.finder().begin_packs(experiments, RUNS);
        if experiments.is_empty() {
            return;
        }
        let meta = self.clone();
        tokio::spawn(async move {
            let mut left = Vec::new();
            for experiment in experiments {
                // What fails is tried again after the next filter.
                let _ = meta.drop_packs(experiment).await;
                while let Ok(true) = meta.make_pack(experiment, RUNS).await {}
                if let Ok(count) = meta.unpacked(experiment).await {
                    left.push((experiment, count));
                }
            }
            meta.finder().end_packs(left);
        });
    }

    /// Takes away packs that most of their runs have left; the others of these are packed again.
    async fn drop_packs(&self, experiment: i64) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE run SET pack = NULL WHERE pack IN (SELECT p.id FROM pack p WHERE p.experiment = $1
                     AND (SELECT COUNT(*) FROM run r WHERE r.pack = p.id) * 2 < length(p.runs) / 16 LIMIT $2)",
                )
                .bind(experiment)
                .bind(DROPPED)
                .execute(&mut *conn)
                .await?;
                // After that: a run that names a pack which is gone would never be looked at.
                sqlx::query(
                    "DELETE FROM pack WHERE experiment = $1
                     AND NOT EXISTS (SELECT 1 FROM run r WHERE r.pack = pack.id)",
                )
                .bind(experiment)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    async fn unpacked(&self, experiment: i64) -> Result<usize, Error> {
        self.finder().read(PATIENCE, move |connection| loose_runs(connection, experiment)).await
    }

    /// Makes a pack of an experiment where there are so many runs for it; whether there were.
    pub(super) async fn make_pack(&self, experiment: i64, least: usize) -> Result<bool, Error> {
        self.write(move |conn| Box::pin(pack(conn, experiment, least))).await
    }
}

async fn pack(conn: &mut SqliteConnection, experiment: i64, least: usize) -> Result<bool, Error> {
    let bare: String = sqlx::query(
        "SELECT json_group_array(id) FROM (SELECT r.id,
         NOT EXISTS (SELECT 1 FROM run_card c WHERE c.run = r.id) AS bare FROM run r INDEXED BY run_unpacked
         WHERE r.experiment = $1 AND r.pack IS NULL AND r.state IN ('FINISHED', 'FAILED', 'KILLED')
         LIMIT $2) WHERE bare",
    )
    .bind(experiment)
    .bind(RUNS as i64)
    .fetch_one(&mut *conn)
    .await?
    .try_get(0)?;
    sqlx::query(cards::OF_RUNS).bind(bare).execute(&mut *conn).await?;
    let rows = sqlx::query(
        "SELECT r.id, r.name, c.params, c.tags FROM run r INDEXED BY run_unpacked
         CROSS JOIN run_card c ON c.run = r.id WHERE r.experiment = $1 AND r.pack IS NULL LIMIT $2",
    )
    .bind(experiment)
    .bind(RUNS as i64)
    .fetch_all(&mut *conn)
    .await?;
    if rows.len() < least.max(1) {
        return Ok(false);
    }
    let mut columns = Columns::default();
    let (mut ids, mut runs, mut bytes) = (Vec::new(), Vec::new(), 0);
    for row in &rows {
        let (id, name): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        let (params, tags): (&str, &str) = (row.try_get(2)?, row.try_get(3)?);
        let place = ids.len() as u64;
        columns.put(NAME.to_owned(), place, Cow::Borrowed(name));
        for Pair { key, value } in pairs(id, params)? {
            columns.put(param(&key), place, value);
        }
        for Pair { key, value } in pairs(id, tags)? {
            columns.put(tag(&key), place, value);
        }
        runs.extend(hex::decode(id).unwrap_or_default());
        ids.push(id);
        bytes += params.len() + tags.len();
        if bytes >= TEXT {
            break;
        }
    }
    let made = sqlx::query("INSERT INTO pack (experiment, runs) VALUES ($1, $2) RETURNING id")
        .bind(experiment)
        .bind(runs)
        .fetch_one(&mut *conn)
        .await?;
    let number: i64 = made.try_get(0)?;
    for (field, column) in columns.0 {
        sqlx::query("INSERT INTO pack_column (pack, field, cells) VALUES ($1, $2, $3)")
            .bind(number)
            .bind(field)
            .bind(column.cells())
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query("UPDATE run SET pack = $1 WHERE id IN (SELECT value FROM json_each($2))")
        .bind(number)
        .bind(super::encode("runs", "list", &ids)?)
        .execute(conn)
        .await?;
    Ok(true)
}

/// The pairs of a list on a card.
fn pairs<'c>(run: &str, card: &'c str) -> Result<Vec<Pair<'c>>, Error> {
    serde_json::from_str(card).map_err(|source| Error::Record {
        kind: "run card",
        name: run.to_owned(),
        source,
    })
}

/// Columns by their fields.
#[derive(Default)]
struct Columns<'c>(BTreeMap<String, Column<'c>>);

impl<'c> Columns<'c> {
    fn put(&mut self, field: String, place: u64, value: Cow<'c, str>) {
        let column = self.0.entry(field).or_default();
        let next = column.words.len() as u64;
        let word = *column.words.entry(value).or_insert(next);
        column.cells.push((place, word));
    }
}

/// The values of a field on its way into a pack.
#[derive(Default)]
struct Column<'c> {
    words: HashMap<Cow<'c, str>, u64>,
    cells: Vec<(u64, u64)>,
}

impl Column<'_> {
    fn cells(&self) -> Vec<u8> {
        let mut words: Vec<(&u64, &str)> = self.words.iter().map(|(text, word)| (word, &**text)).collect();
        words.sort_unstable();
        let mut bytes = Vec::new();
        number(&mut bytes, words.len() as u64);
        for (_, text) in words {
            number(&mut bytes, text.len() as u64);
            bytes.extend_from_slice(text.as_bytes());
        }
        let mut next = 0;
        for (place, word) in &self.cells {
            number(&mut bytes, place - next);
            number(&mut bytes, *word);
            next = place + 1;
        }
        bytes
    }
}

/// Which of so many runs have a value that passes; nothing when the bytes are no cells.
pub(super) fn passing(mut cells: &[u8], runs: usize, passes: impl Fn(&str) -> bool) -> Option<Vec<bool>> {
    let mut verdicts = Vec::new();
    for _ in 0..take(&mut cells)? {
        let length = usize::try_from(take(&mut cells)?).ok()?;
        let (text, rest) = cells.split_at_checked(length)?;
        cells = rest;
        verdicts.push(passes(std::str::from_utf8(text).ok()?));
    }
    let mut found = vec![false; runs];
    let mut next = 0usize;
    while !cells.is_empty() {
        let place = next.checked_add(usize::try_from(take(&mut cells)?).ok()?)?;
        let word = usize::try_from(take(&mut cells)?).ok()?;
        *found.get_mut(place)? = *verdicts.get(word)?;
        next = place.checked_add(1)?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cells_come_back_as_they_went(values in prop::collection::vec(prop::option::of("[ab]{0,2}"), 0..40)) {
            let mut columns = Columns::default();
            for (place, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    columns.put(param("k"), place as u64, Cow::Borrowed(value));
                }
            }
            let cells = columns.0.remove("p/k").unwrap_or_default().cells();
            for wanted in ["", "a", "ab"] {
                let expected: Vec<bool> = values.iter().map(|value| value.as_deref() == Some(wanted)).collect();
                prop_assert_eq!(passing(&cells, values.len(), |text| text == wanted), Some(expected));
            }
        }

        #[test]
        fn bytes_that_are_no_cells_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = passing(&bytes, 10, |_| true);
        }
    }
}
