//! Users, their permissions and tokens: kept, changed with a line in the journal, and read as one [`Book`].
//!
//! No password and no token is here, only what either hashes to, and nothing is decided here: what a
//! permission gives is in [`rondo_core::access`], who is calling is the server's to find out. Every change
//! counts a number up, in the database itself, so that a server sees also what another process changed.

use std::collections::HashMap;

use rondo_core::access::{NoWord, Permission, Role, Scope};
use rondo_core::journal::Because;
use rondo_core::{Code, Digest, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::Meta;
use super::journal::note;
use crate::Error;

/// What a permission or token can be about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An experiment with its runs, logged models and artifacts.
    Experiment(i64),
    /// A registered model with its versions.
    Model(String),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Experiment(id) => write!(f, "experiment/{id}"),
            Self::Model(name) => write!(f, "model/{name}"),
        }
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Counted up, never used again.
    pub id: i64,
    /// Unique.
    pub name: String,
    /// The password's argon2 hash; nothing for one who has tokens only.
    pub password: Option<String>,
    /// Its standing on the whole server.
    pub role: Role,
    /// When it was made.
    pub created: Timestamp,
    /// What it was given on experiments.
    pub experiments: HashMap<i64, Permission>,
    /// What it was given on registered models.
    pub models: HashMap<String, Permission>,
}

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What people call it by: it opens nothing.
    pub id: String,
    /// Of its text.
    pub digest: Digest,
    /// Whose it is.
    pub account: i64,
    /// What it is for, in its user's words.
    pub note: String,
    /// What it may at most.
    pub scope: Scope,
    /// What alone it may touch.
    pub only: Option<Subject>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// All of it, as it was at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// Which instant.
    pub generation: i64,
    /// The permission of members on what they were given none for.
    pub default: Permission,
    /// Users.
    pub accounts: Vec<Account>,
    /// Tokens, those that have ended too.
    pub tokens: Vec<Token>,
}

impl Book {
    /// A user by name.
    pub fn account(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == name)
    }

    /// Whether there is somebody who may do everything.
    pub fn has_admin(&self) -> bool {
        self.accounts.iter().any(|account| account.role == Role::Admin)
    }
}

impl Meta {
    /// The number that every change of users, permissions and tokens counts up.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn access_generation(&self) -> Result<i64, Error> {
        let row = sqlx::query("SELECT generation FROM access_state").fetch_one(self.readers()).await?;
        Ok(row.try_get(0)?)
    }

    /// Users, permissions and tokens, all of one instant.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn access_book(&self) -> Result<Book, Error> {
        let mut reading = self.readers().begin().await?;
        let conn = &mut *reading;
        let state =
            sqlx::query("SELECT generation, default_permission FROM access_state").fetch_one(&mut *conn);
        let state = state.await?;
        let mut accounts = HashMap::new();
        for row in sqlx::query("SELECT * FROM account").fetch_all(&mut *conn).await? {
            let account = read_account(&row)?;
            accounts.insert(account.id, account);
        }
        for row in sqlx::query("SELECT * FROM experiment_permission").fetch_all(&mut *conn).await? {
            if let Some(account) = accounts.get_mut(&row.try_get("account")?) {
                account.experiments.insert(row.try_get("experiment")?, word(&row, "permission")?);
            }
        }
        for row in sqlx::query("SELECT * FROM model_permission").fetch_all(&mut *conn).await? {
            if let Some(account) = accounts.get_mut(&row.try_get("account")?) {
                account.models.insert(row.try_get("model")?, word(&row, "permission")?);
            }
        }
        let tokens = sqlx::query("SELECT * FROM token ORDER BY created, id").fetch_all(&mut *conn).await?;
        let tokens = tokens.iter().map(read_token).collect::<Result<_, _>>()?;
        let mut accounts: Vec<Account> = accounts.into_values().collect();
        accounts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Book {
            generation: state.try_get("generation")?,
            default: word(&state, "default_permission")?,
            accounts,
            tokens,
        })
    }

    /// Makes a user; its id.
    ///
    /// # Errors
    /// When one of that name exists, or the database refuses.
    pub async fn create_account(
        &self,
        name: &str,
        password: Option<String>,
        role: Role,
        because: Because,
        at: Timestamp,
    ) -> Result<i64, Error> {
        let name = name.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let made = sqlx::query(
                    "INSERT INTO account (name, password, role, created, updated) VALUES ($1, $2, $3, $4, $4)
                     ON CONFLICT (name) DO NOTHING RETURNING id",
                )
                .bind(&name)
                .bind(password)
                .bind(role.text())
                .bind(at.millis())
                .fetch_optional(&mut *conn)
                .await?;
                let Some(made) = made else {
                    return Err(Error::Exists { kind: "user", name, code: Code::UserExists });
                };
                note(conn, &format!("user/{name}"), &because, at).await?;
                Ok(made.try_get("id")?)
            })
        })
        .await
    }

    /// Sets a user's password (its hash), which ends nothing else of the user's.
    ///
    /// # Errors
    /// When there is none of that name, or the database refuses.
    pub async fn set_password(
        &self,
        name: &str,
        password: String,
        because: Because,
        at: Timestamp,
    ) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let id = account_id(conn, &name).await?;
                sqlx::query("UPDATE account SET password = $2, updated = $3 WHERE id = $1")
                    .bind(id)
                    .bind(password)
                    .bind(at.millis())
                    .execute(&mut *conn)
                    .await?;
                note(conn, &format!("user/{name}"), &because, at).await
            })
        })
        .await
    }

    /// Sets a user's role.
    ///
    /// # Errors
    /// When there is none of that name, it is the last administrator, or the database refuses.
    pub async fn set_role(
        &self,
        name: &str,
        role: Role,
        because: Because,
        at: Timestamp,
    ) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let (id, before) = account_role(conn, &name).await?;
                sqlx::query("UPDATE account SET role = $2, updated = $3 WHERE id = $1")
                    .bind(id)
                    .bind(role.text())
                    .bind(at.millis())
                    .execute(&mut *conn)
                    .await?;
                keep_an_admin(conn, &name, before).await?;
                note(conn, &format!("user/{name}"), &because, at).await
            })
        })
        .await
    }

    /// Takes a user away, with its permissions and tokens.
    ///
    /// # Errors
    /// When there is none of that name, it is the last administrator, or the database refuses.
    pub async fn delete_account(&self, name: &str, because: Because, at: Timestamp) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let (id, before) = account_role(conn, &name).await?;
                sqlx::query("DELETE FROM account WHERE id = $1").bind(id).execute(&mut *conn).await?;
                keep_an_admin(conn, &name, before).await?;
                note(conn, &format!("user/{name}"), &because, at).await
            })
        })
        .await
    }

    /// Gives a user a permission on a subject, or takes back what was given; what it had before.
    ///
    /// # Errors
    /// When there is no such user or subject, or the database refuses.
    pub async fn set_permission(
        &self,
        user: &str,
        subject: Subject,
        permission: Option<Permission>,
        because: Because,
        at: Timestamp,
    ) -> Result<Option<Permission>, Error> {
        let user = user.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let account = account_id(conn, &user).await?;
                let before = put_permission(conn, account, &subject, permission).await?;
                if before != permission {
                    note(conn, &format!("permission/{user}/{subject}"), &because, at).await?;
                }
                Ok(before)
            })
        })
        .await
    }

    /// Sets the permission of members on what they were given none for.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_default_permission(
        &self,
        permission: Permission,
        because: Because,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query("UPDATE access_state SET default_permission = $1, generation = generation + 1")
                    .bind(permission.text())
                    .execute(&mut *conn)
                    .await?;
                note(conn, "permission/default", &because, at).await
            })
        })
        .await
    }

    /// Keeps a token.
    ///
    /// # Errors
    /// When its user or subject does not exist, or the database refuses.
    pub async fn create_token(&self, token: Token, because: Because) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                let name = account_name(conn, token.account).await?;
                let (experiment, model) = match &token.only {
                    Some(subject) => {
                        require(conn, subject).await?;
                        match subject {
                            Subject::Experiment(id) => (Some(*id), None),
                            Subject::Model(name) => (None, Some(name.clone())),
                        }
                    }
                    None => (None, None),
                };
                sqlx::query(
                    "INSERT INTO token (id, digest, account, note, scope, experiment, model, created, expires)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                )
                .bind(&token.id)
                .bind(token.digest.hex())
                .bind(token.account)
                .bind(&token.note)
                .bind(token.scope.text())
                .bind(experiment)
                .bind(model)
                .bind(token.created.millis())
                .bind(token.expires.map(Timestamp::millis))
                .execute(&mut *conn)
                .await?;
                note(conn, &format!("token/{name}/{}", token.id), &because, token.created).await
            })
        })
        .await
    }

    /// Ends a token.
    ///
    /// # Errors
    /// When there is none of that id, or the database refuses.
    pub async fn delete_token(&self, id: &str, because: Because, at: Timestamp) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let gone = sqlx::query("DELETE FROM token WHERE id = $1 RETURNING account")
                    .bind(&id)
                    .fetch_optional(&mut *conn)
                    .await?;
                let Some(gone) = gone else {
                    return Err(Error::NotFound { kind: "token", name: id, code: Code::TokenNotFound });
                };
                let name = account_name(conn, gone.try_get("account")?).await?;
                note(conn, &format!("token/{name}/{id}"), &because, at).await
            })
        })
        .await
    }
}

async fn account_id(conn: &mut SqliteConnection, name: &str) -> Result<i64, Error> {
    Ok(account_role(conn, name).await?.0)
}

async fn account_role(conn: &mut SqliteConnection, name: &str) -> Result<(i64, Role), Error> {
    let row = sqlx::query("SELECT id, role FROM account WHERE name = $1").bind(name);
    let row = row.fetch_optional(&mut *conn).await?.ok_or_else(|| no_user(name))?;
    Ok((row.try_get("id")?, word(&row, "role")?))
}

async fn account_name(conn: &mut SqliteConnection, id: i64) -> Result<String, Error> {
    let row =
        sqlx::query("SELECT name FROM account WHERE id = $1").bind(id).fetch_optional(&mut *conn).await?;
    let row = row.ok_or_else(|| no_user(&id.to_string()))?;
    Ok(row.try_get("name")?)
}

/// Who makes something, and is given everything on it by the same transaction.
#[derive(Debug, Clone)]
pub struct Maker {
    /// The user's name.
    pub user: String,
    /// The line in the journal.
    pub because: Because,
}

/// Gives the maker, where there is one to give it to, everything on what was just made.
pub(super) async fn give_to_maker(
    conn: &mut SqliteConnection,
    maker: Option<&Maker>,
    subject: &Subject,
    at: Timestamp,
) -> Result<(), Error> {
    let Some(Maker { user, because }) = maker else { return Ok(()) };
    let account = account_id(conn, user).await?;
    put_permission(conn, account, subject, Some(Permission::Manage)).await?;
    note(conn, &format!("permission/{user}/{subject}"), because, at).await
}

/// Sets a permission within a transaction; what it was before.
pub(super) async fn put_permission(
    conn: &mut SqliteConnection,
    account: i64,
    subject: &Subject,
    permission: Option<Permission>,
) -> Result<Option<Permission>, Error> {
    require(conn, subject).await?;
    let text = permission.map(Permission::text);
    let before = match subject {
        Subject::Experiment(experiment) => {
            let before = sqlx::query(
                "SELECT permission FROM experiment_permission WHERE account = $1 AND experiment = $2",
            );
            let before = before.bind(account).bind(experiment).fetch_optional(&mut *conn).await?;
            let change = match permission {
                Some(_) => sqlx::query(
                    "INSERT INTO experiment_permission (account, experiment, permission) VALUES ($1, $2, $3)
                     ON CONFLICT (account, experiment) DO UPDATE SET permission = excluded.permission",
                ),
                None => sqlx::query(
                    "DELETE FROM experiment_permission WHERE account = $1 AND experiment = $2 AND $3 IS NULL",
                ),
            };
            change.bind(account).bind(experiment).bind(text).execute(&mut *conn).await?;
            before
        }
        Subject::Model(model) => {
            let before =
                sqlx::query("SELECT permission FROM model_permission WHERE account = $1 AND model = $2");
            let before = before.bind(account).bind(model).fetch_optional(&mut *conn).await?;
            let change = match permission {
                Some(_) => sqlx::query(
                    "INSERT INTO model_permission (account, model, permission) VALUES ($1, $2, $3)
                     ON CONFLICT (account, model) DO UPDATE SET permission = excluded.permission",
                ),
                None => sqlx::query(
                    "DELETE FROM model_permission WHERE account = $1 AND model = $2 AND $3 IS NULL",
                ),
            };
            change.bind(account).bind(model).bind(text).execute(&mut *conn).await?;
            before
        }
    };
    before.map(|row| word(&row, "permission")).transpose()
}

async fn require(conn: &mut SqliteConnection, subject: &Subject) -> Result<(), Error> {
    let (found, missing) = match subject {
        Subject::Experiment(id) => {
            let found = sqlx::query("SELECT 1 FROM experiment WHERE id = $1").bind(id);
            let missing = ("experiment", id.to_string(), Code::ExperimentNotFound);
            (found.fetch_optional(conn).await?, missing)
        }
        Subject::Model(name) => {
            let found = sqlx::query("SELECT 1 FROM model WHERE name = $1").bind(name);
            (found.fetch_optional(conn).await?, ("model", name.clone(), Code::ModelNotFound))
        }
    };
    let (kind, name, code) = missing;
    if found.is_some() { Ok(()) } else { Err(Error::NotFound { kind, name, code }) }
}

/// A server without an administrator could not be given one over the wire: the last one stays.
async fn keep_an_admin(conn: &mut SqliteConnection, name: &str, before: Role) -> Result<(), Error> {
    let row = sqlx::query("SELECT COUNT(*) AS admins FROM account WHERE role = $1")
        .bind(Role::Admin.text())
        .fetch_one(conn)
        .await?;
    let admins: i64 = row.try_get("admins")?;
    if before == Role::Admin && admins == 0 {
        return Err(Error::LastAdmin { name: name.to_owned() });
    }
    Ok(())
}

fn no_user(name: &str) -> Error {
    Error::NotFound { kind: "user", name: name.to_owned(), code: Code::UserNotFound }
}

/// A word in a column. One that is not known was written by nobody.
fn word<T: std::str::FromStr<Err = NoWord>>(row: &SqliteRow, column: &str) -> Result<T, Error> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|source: NoWord| sqlx::Error::Decode(Box::new(source)).into())
}

fn read_account(row: &SqliteRow) -> Result<Account, Error> {
    Ok(Account {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        password: row.try_get("password")?,
        role: word(row, "role")?,
        created: Timestamp(row.try_get("created")?),
        experiments: HashMap::new(),
        models: HashMap::new(),
    })
}

fn read_token(row: &SqliteRow) -> Result<Token, Error> {
    let digest: String = row.try_get("digest")?;
    let (experiment, model): (Option<i64>, Option<String>) =
        (row.try_get("experiment")?, row.try_get("model")?);
    let id: String = row.try_get("id")?;
    Ok(Token {
        digest: digest.parse().map_err(|_| Error::NotFound {
            kind: "digest of token",
            name: id.clone(),
            code: Code::Corrupt,
        })?,
        id,
        account: row.try_get("account")?,
        note: row.try_get("note")?,
        scope: word(row, "scope")?,
        only: experiment.map(Subject::Experiment).or(model.map(Subject::Model)),
        created: Timestamp(row.try_get("created")?),
        expires: row.try_get::<Option<i64>, _>("expires")?.map(Timestamp),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    async fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        store.meta().ensure_default_experiment(Timestamp(1)).await.unwrap();
        (folder, store)
    }

    fn why() -> Because {
        Because::new("root", "because")
    }

    #[tokio::test]
    async fn every_change_counts_the_generation_up_and_is_in_the_journal() {
        let (_folder, store) = store().await;
        let meta = store.meta();
        let at = Timestamp(5);
        let mut last = meta.access_generation().await.unwrap();
        let mut moved = async || {
            let now = meta.access_generation().await.unwrap();
            assert!(now > last, "{now} after {last}");
            last = now;
        };
        let root = meta.create_account("root", None, Role::Admin, why(), at).await.unwrap();
        moved().await;
        meta.create_account("ada", Some("hash".into()), Role::Member, why(), at).await.unwrap();
        moved().await;
        meta.create_model("m", "", Vec::new(), at).await.unwrap();
        let on = |name: &str| Subject::Model(name.to_owned());
        for (subject, permission) in [
            (on("m"), Permission::Edit),
            (on("m"), Permission::Read),
            (Subject::Experiment(0), Permission::None),
        ] {
            meta.set_permission("ada", subject, Some(permission), why(), at).await.unwrap();
            moved().await;
        }
        let token = Token {
            id: "t1".into(),
            digest: Digest::of(b"secret"),
            account: root,
            note: String::new(),
            scope: Scope::Write,
            only: Some(on("m")),
            created: at,
            expires: None,
        };
        meta.create_token(token.clone(), why()).await.unwrap();
        moved().await;
        // What was given on a model follows its name.
        meta.rename_model("m", "n", why(), at).await.unwrap();
        moved().await;
        let book = meta.access_book().await.unwrap();
        assert_eq!(book.account("ada").unwrap().models, HashMap::from([("n".to_owned(), Permission::Read)]));
        assert_eq!(book.tokens[0].only, Some(on("n")));
        meta.delete_model("n", why(), at).await.unwrap();
        moved().await;
        let book = meta.access_book().await.unwrap();
        assert!(book.account("ada").unwrap().models.is_empty() && book.tokens.is_empty());
        meta.set_default_permission(Permission::None, why(), at).await.unwrap();
        moved().await;
        meta.delete_account("ada", why(), at).await.unwrap();
        moved().await;
        let book = meta.access_book().await.unwrap();
        assert_eq!((book.accounts.len(), book.default), (1, Permission::None));
        let lines: Vec<String> =
            meta.journal("", 100).await.unwrap().into_iter().map(|line| line.name).collect();
        for name in ["user/root", "token/root/t1", "permission/ada/model/m", "permission/default"] {
            assert!(lines.iter().any(|line| line == name), "{name} in {lines:?}");
        }
    }

    #[tokio::test]
    async fn the_last_administrator_stays() {
        let (_folder, store) = store().await;
        let meta = store.meta();
        let at = Timestamp(5);
        meta.create_account("root", None, Role::Admin, why(), at).await.unwrap();
        let gone = meta.delete_account("root", why(), at).await;
        assert!(matches!(gone, Err(Error::LastAdmin { .. })), "also as the only user");
        meta.create_account("ada", None, Role::Viewer, why(), at).await.unwrap();
        let gone = meta.delete_account("root", why(), at).await;
        assert!(matches!(gone, Err(Error::LastAdmin { .. })));
        assert!(matches!(meta.set_role("root", Role::Editor, why(), at).await, Err(Error::LastAdmin { .. })));
        assert!(meta.access_book().await.unwrap().has_admin(), "nothing of it stands");
        meta.set_role("ada", Role::Admin, why(), at).await.unwrap();
        meta.delete_account("root", why(), at).await.unwrap();
        let again = meta.create_account("ada", None, Role::Viewer, why(), at).await;
        assert!(matches!(again, Err(Error::Exists { code: Code::UserExists, .. })));
    }

    #[tokio::test]
    async fn nothing_is_given_on_what_is_not_there() {
        let (_folder, store) = store().await;
        let meta = store.meta();
        let at = Timestamp(5);
        meta.create_account("root", None, Role::Admin, why(), at).await.unwrap();
        for (user, subject, code) in [
            ("nobody", Subject::Experiment(0), Code::UserNotFound),
            ("root", Subject::Experiment(7), Code::ExperimentNotFound),
            ("root", Subject::Model("no".into()), Code::ModelNotFound),
        ] {
            let given = meta.set_permission(user, subject, Some(Permission::Read), why(), at).await;
            assert!(matches!(given, Err(Error::NotFound { code: found, .. }) if found == code), "{given:?}");
        }
    }
}
