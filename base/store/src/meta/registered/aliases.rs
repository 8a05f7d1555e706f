//! Aliases and stages of a model: refs to its versions, moved with a line in the journal.

use std::collections::BTreeMap;

use rondo_core::journal::Because;
use rondo_core::reference::{self, alias as alias_ref};
use rondo_core::{Digest, Timestamp};
use sqlx::{Row, SqliteConnection};

use super::versions::no_version;
use crate::Error;
use crate::meta::Meta;
use crate::meta::journal::{Expect, Moved, digest, move_ref};

impl Meta {
    /// Points an alias at a version that exists, with its line in the journal.
    ///
    /// # Errors
    /// When there is no such version, the alias is not what the caller took it to be, or the database refuses.
    pub async fn point_alias(
        &self,
        (model, alias): (&str, &str),
        number: i64,
        expect: Expect,
        because: Because,
        at: Timestamp,
    ) -> Result<Moved, Error> {
        let (model, alias) = (model.to_owned(), alias.to_owned());
        let moved = self.write(move |conn| {
            Box::pin(async move {
                let row = sqlx::query("SELECT digest FROM model_version WHERE model = $1 AND version = $2")
                    .bind(&model)
                    .bind(number)
                    .fetch_optional(&mut *conn)
                    .await?
                    .ok_or_else(|| no_version(&model, number))?;
                let to = digest(&row, "digest")?;
                move_ref(conn, &alias_ref(&model, &alias), expect, Some(to), &because, at).await
            })
        });
        moved.await.inspect(|_| self.ring())
    }

    /// The aliases of a model with the digests of the versions that they point to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn model_aliases(&self, model: &str) -> Result<BTreeMap<String, Digest>, Error> {
        let prefix = alias_ref(model, "");
        let refs = self.refs(&prefix).await?.into_iter();
        let alias = |(name, target): (String, Digest)| Some((name.strip_prefix(&prefix)?.to_owned(), target));
        // A model's own name may have an @ in it; an alias may not.
        Ok(refs.filter_map(alias).filter(|(alias, _)| !alias.contains('@')).collect())
    }
}

/// Gives all that is named after a model another name: aliases and their protection, stages, approvals.
pub(super) async fn rename_refs(
    conn: &mut SqliteConnection,
    model: &str,
    to: &str,
    because: &Because,
    at: Timestamp,
) -> Result<(), Error> {
    for (prefix, new) in all_of(model).into_iter().zip(all_of(to)) {
        for (rest, target) in refs_of(conn, &prefix).await? {
            move_ref(conn, &format!("{prefix}{rest}"), Expect::Anything, None, because, at).await?;
            move_ref(conn, &format!("{new}{rest}"), Expect::Anything, Some(target), because, at).await?;
        }
    }
    Ok(())
}

/// Takes all that is named after a model away.
pub(super) async fn drop_refs(
    conn: &mut SqliteConnection,
    model: &str,
    because: &Because,
    at: Timestamp,
) -> Result<(), Error> {
    for prefix in all_of(model) {
        for (rest, _) in refs_of(conn, &prefix).await? {
            move_ref(conn, &format!("{prefix}{rest}"), Expect::Anything, None, because, at).await?;
        }
    }
    Ok(())
}

fn all_of(model: &str) -> [String; 4] {
    [
        alias_ref(model, ""),
        reference::protection(model, ""),
        reference::stage(model, ""),
        reference::approval(model, ""),
    ]
}

/// The aliases of a model with the digests of the versions that they point to.
pub(super) async fn aliases_of(
    conn: &mut SqliteConnection,
    model: &str,
) -> Result<Vec<(String, Digest)>, Error> {
    refs_of(conn, &alias_ref(model, "")).await
}

/// What stands after a prefix, with its target. A model's own name may have an @ in it; what stands after
/// one may not.
async fn refs_of(conn: &mut SqliteConnection, prefix: &str) -> Result<Vec<(String, Digest)>, Error> {
    let rows = sqlx::query("SELECT name, target FROM ref WHERE substr(name, 1, $2) = $1 ORDER BY name")
        .bind(prefix)
        .bind(prefix.chars().count() as i64)
        .fetch_all(conn)
        .await?;
    let mut refs = Vec::new();
    for row in &rows {
        let name: String = row.try_get("name")?;
        if let Some(rest) = name.strip_prefix(prefix).filter(|rest| !rest.contains(['@', '/'])) {
            refs.push((rest.to_owned(), digest(row, "target")?));
        }
    }
    Ok(refs)
}
