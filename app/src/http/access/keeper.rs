//! Users: who a password or token belongs to, and changes of all that.
//!
//! The book of users is held in memory and read anew when its generation has moved on, which is looked at
//! once a second at most: what `rondo admin` changes beside a running server holds within that time, and
//! what is changed through the server at once. What a client sends to say who it is has been checked is
//! remembered for a minute, so that the slow hash is not taken for every request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rondo_core::access::{Permission, Role, Scope, misnomer, weakness};
use rondo_core::journal::Because;
use rondo_core::ports::Clock;
use rondo_core::{Code, Digest, Explain, Timestamp};
use rondo_store::meta::Meta;
use rondo_store::meta::access::{Account, Book, Subject, Token};
use tokio::sync::Semaphore;

use super::caller::Pass;
use super::limits::Failures;
use super::password::{self, HashError};
use super::refused::Refused;

/// How long it is remembered that a password or token was right.
const REMEMBER: Duration = Duration::from_secs(60);
/// Of how many of them.
const REMEMBERED: usize = 10_000;
/// How often the book's generation is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How many passwords are hashed at a time: each takes a core and 19 MiB.
const HASHING: usize = 2;

/// What an API token begins with.
pub const TOKEN_PREFIX: &str = "rondo-token-";

/// What can go wrong with a user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// A name that is not taken.
    #[error("the user's name `{name}` is not taken: {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A password that is not taken.
    #[error("the password is not taken: {reason}")]
    Password {
        /// Why not.
        reason: &'static str,
    },
    /// A password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] rondo_store::Error),
}

impl Explain for UserError {
    fn code(&self) -> Code {
        match self {
            Self::Name { .. } | Self::Password { .. } => Code::ValueInvalid,
            Self::Hash(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Name { .. } | Self::Password { .. } | Self::Hash(_) => Vec::new(),
            Self::Store(error) => error.hints(),
        }
    }
}

/// What may be kept of a user's password.
///
/// # Errors
/// When it is too weak, or cannot be hashed.
pub async fn hashed(name: &str, password: String) -> Result<String, UserError> {
    if let Some(reason) = weakness(name, &password) {
        return Err(UserError::Password { reason });
    }
    let hashed = tokio::task::spawn_blocking(move || password::hash(&password)).await;
    Ok(hashed.map_err(|_| UserError::Store(rondo_store::Error::Closed))??)
}

/// Checks a user's name.
///
/// # Errors
/// When it cannot be one.
pub fn named(name: &str) -> Result<(), UserError> {
    misnomer(name).map_or(Ok(()), |reason| Err(UserError::Name { name: name.to_owned(), reason }))
}

/// A new token of a user: its text, which is shown once, and what is kept of it.
pub fn new_token(
    account: i64,
    note: &str,
    scope: Scope,
    only: Option<Subject>,
    now: Timestamp,
) -> (String, Token) {
    let (id, secret): ([u8; 5], [u8; 32]) = (rand::random(), rand::random());
    let text = format!("{TOKEN_PREFIX}{}", hex::encode(secret));
    let digest = Digest::of(text.as_bytes());
    let id = hex::encode(id);
    let token =
        Token { id, digest, account, note: note.to_owned(), scope, only, created: now, expires: None };
    (text, token)
}

/// The book, ready to be looked into.
struct Index {
    generation: i64,
    default: Permission,
    by_name: HashMap<String, Arc<Account>>,
    by_id: HashMap<i64, Arc<Account>>,
    tokens: HashMap<Digest, Token>,
}

impl Index {
    fn of(book: Book) -> Self {
        let accounts: Vec<Arc<Account>> = book.accounts.into_iter().map(Arc::new).collect();
        Self {
            generation: book.generation,
            default: book.default,
            by_name: accounts.iter().map(|account| (account.name.clone(), account.clone())).collect(),
            by_id: accounts.into_iter().map(|account| (account.id, account)).collect(),
            tokens: book.tokens.into_iter().map(|token| (token.digest, token)).collect(),
        }
    }
}

/// Somebody whose password or token was right a short while ago.
struct Held {
    pass: Arc<Pass>,
    generation: i64,
    until: Instant,
}

/// The users of a server.
pub struct Keeper {
    meta: Meta,
    clock: Arc<dyn Clock>,
    index: RwLock<Option<Arc<Index>>>,
    looked: Mutex<Option<Instant>>,
    looking: tokio::sync::Mutex<()>,
    held: RwLock<HashMap<Digest, Held>>,
    /// What is remembered of a password is useless without it.
    key: [u8; 32],
    hashing: Semaphore,
    failures: Failures,
}

impl Keeper {
    pub(super) fn new(meta: Meta, clock: Arc<dyn Clock>) -> Self {
        Self {
            meta,
            clock,
            index: RwLock::default(),
            looked: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            held: RwLock::default(),
            key: rand::random(),
            hashing: Semaphore::new(HASHING),
            failures: Failures::default(),
        }
    }

    /// Who an `Authorization` header belongs to.
    pub(super) async fn authenticate(&self, header: &str, from: IpAddr) -> Result<Arc<Pass>, Refused> {
        let index = self.index().await.map_err(|_| Refused::Unreadable)?;
        let digest = keyed(&self.key, header.as_bytes());
        let now = Instant::now();
        {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(held) = held.get(&digest)
                && held.generation == index.generation
                && now < held.until
            {
                return Ok(held.pass.clone());
            }
        }
        let (pass, until) = self.check(&index, header, from, now).await?;
        let pass = Arc::new(pass);
        self.remember(digest, Held { pass: pass.clone(), generation: index.generation, until });
        Ok(pass)
    }

    async fn check(
        &self,
        index: &Index,
        header: &str,
        from: IpAddr,
        now: Instant,
    ) -> Result<(Pass, Instant), Refused> {
        let (scheme, value) = header.split_once(' ').ok_or(Refused::Unauthenticated)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.token(index, value.trim(), None, from, now);
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Refused::Unauthenticated);
        }
        let pair = STANDARD.decode(value.trim()).ok().and_then(|pair| String::from_utf8(pair).ok());
        let pair = pair.ok_or(Refused::Unauthenticated)?;
        let (name, password) = pair.split_once(':').ok_or(Refused::Unauthenticated)?;
        if password.starts_with(TOKEN_PREFIX) {
            return self.token(index, password, Some(name), from, now);
        }
        self.password(index, name, password, from, now).await
    }

    /// Whose a token is. As a password it goes with its user's name, or with `token`.
    fn token(
        &self,
        index: &Index,
        text: &str,
        name: Option<&str>,
        from: IpAddr,
        now: Instant,
    ) -> Result<(Pass, Instant), Refused> {
        if let Some(wait) = self.failures.wait(from, "", now) {
            return Err(Refused::TooManyFailures(wait.as_secs().max(1)));
        }
        let wall = self.clock.now();
        let ends = |token: &Token| token.expires.map(|expires| expires.millis() - wall.millis());
        let found = index
            .tokens
            .get(&Digest::of(text.as_bytes()))
            .filter(|token| ends(token).is_none_or(|left| left > 0))
            .and_then(|token| Some((token, index.by_id.get(&token.account)?)))
            .filter(|(_, account)| name.is_none_or(|name| name == account.name || name == "token"));
        let Some((token, account)) = found else {
            self.failures.failed(from, "", now);
            return Err(Refused::UnknownToken);
        };
        let left = ends(token).and_then(|left| u64::try_from(left).ok()).map(Duration::from_millis);
        let pass = Pass {
            account: account.clone(),
            default: index.default,
            scope: token.scope,
            only: token.only.clone(),
        };
        Ok((pass, now + left.map_or(REMEMBER, |left| left.min(REMEMBER))))
    }

    async fn password(
        &self,
        index: &Index,
        name: &str,
        password: &str,
        from: IpAddr,
        now: Instant,
    ) -> Result<(Pass, Instant), Refused> {
        let waits = || match self.failures.wait(from, name, Instant::now()) {
            Some(wait) => Err(Refused::TooManyFailures(wait.as_secs().max(1))),
            None => Ok(()),
        };
        waits()?;
        let account = index.by_name.get(name);
        let (kept, given) = (account.and_then(|account| account.password.clone()), password.to_owned());
        let permit = self.hashing.acquire().await.map_err(|_| Refused::Unreadable)?;
        // Others of the same who were in the queue may have failed in the meantime.
        waits()?;
        let checked = tokio::task::spawn_blocking(move || password::verify(&given, kept.as_deref()));
        let fits = checked.await.unwrap_or(false);
        drop(permit);
        match account.filter(|_| fits) {
            Some(account) => {
                self.failures.succeeded(from, name);
                let pass = Pass {
                    account: account.clone(),
                    default: index.default,
                    scope: Scope::Admin,
                    only: None,
                };
                Ok((pass, now + REMEMBER))
            }
            None => {
                self.failures.failed(from, name, Instant::now());
                Err(Refused::WrongPassword)
            }
        }
    }

    fn remember(&self, digest: Digest, new: Held) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= REMEMBERED {
            let now = Instant::now();
            held.retain(|_, held| held.generation == new.generation && now < held.until);
        }
        if held.len() >= REMEMBERED {
            held.clear();
        }
        held.insert(digest, new);
    }

    /// The book as it is, or was a second ago.
    async fn index(&self) -> Result<Arc<Index>, rondo_store::Error> {
        if let Some(index) = self.fresh() {
            return Ok(index);
        }
        let _one = self.looking.lock().await;
        if let Some(index) = self.fresh() {
            return Ok(index);
        }
        let known = self.index.read().unwrap_or_else(PoisonError::into_inner).clone();
        let generation = self.meta.access_generation().await?;
        match known.filter(|known| known.generation == generation) {
            Some(known) => {
                self.look_again_later();
                Ok(known)
            }
            None => self.read().await,
        }
    }

    fn fresh(&self) -> Option<Arc<Index>> {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.filter(|looked| looked.elapsed() < LOOK)?;
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look_again_later(&self) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    async fn read(&self) -> Result<Arc<Index>, rondo_store::Error> {
        let index = Arc::new(Index::of(self.meta.access_book().await?));
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Some(index.clone());
        self.look_again_later();
        Ok(index)
    }

    /// Something has changed that the book depends on, such as a model's name: it is read anew.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn refresh(&self) -> Result<(), rondo_store::Error> {
        let _one = self.looking.lock().await;
        self.read().await.map(drop)
    }

    /// All users, with what they were given.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn users(&self) -> Result<Vec<Account>, rondo_store::Error> {
        Ok(self.meta.access_book().await?.accounts)
    }

    /// One user.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn user(&self, name: &str) -> Result<Account, rondo_store::Error> {
        let found = self.users().await?.into_iter().find(|account| account.name == name);
        found.ok_or_else(|| rondo_store::Error::NotFound {
            kind: "user",
            name: name.to_owned(),
            code: Code::UserNotFound,
        })
    }

    /// Makes a user.
    ///
    /// # Errors
    /// When the name or password is not taken.
    pub async fn create(&self, name: &str, password: String, because: Because) -> Result<(), UserError> {
        named(name)?;
        let hash = hashed(name, password).await?;
        let now = self.clock.now();
        self.meta.create_account(name, Some(hash), Role::Member, because, now).await?;
        Ok(self.refresh().await?)
    }

    /// Sets a user's password.
    ///
    /// # Errors
    /// When there is no such user or the password is not taken.
    pub async fn set_password(
        &self,
        name: &str,
        password: String,
        because: Because,
    ) -> Result<(), UserError> {
        self.user(name).await?;
        let hash = hashed(name, password).await?;
        self.meta.set_password(name, hash, because, self.clock.now()).await?;
        Ok(self.refresh().await?)
    }

    /// Sets a user's role.
    ///
    /// # Errors
    /// When there is no such user, or it is the last administrator.
    pub async fn set_role(&self, name: &str, role: Role, because: Because) -> Result<(), rondo_store::Error> {
        self.meta.set_role(name, role, because, self.clock.now()).await?;
        self.refresh().await
    }

    /// Takes a user away.
    ///
    /// # Errors
    /// When there is no such user, or it is the last administrator.
    pub async fn delete(&self, name: &str, because: Because) -> Result<(), rondo_store::Error> {
        self.meta.delete_account(name, because, self.clock.now()).await?;
        self.refresh().await
    }

    /// Gives a user a permission.
    ///
    /// # Errors
    /// When there is no such user or subject.
    pub async fn give(
        &self,
        name: &str,
        subject: Subject,
        permission: Permission,
        because: Because,
    ) -> Result<(), rondo_store::Error> {
        let now = self.clock.now();
        self.meta.set_permission(name, subject, Some(permission), because, now).await?;
        self.refresh().await
    }

    /// Takes back what a user was given on a subject; what that was.
    ///
    /// # Errors
    /// When there is no such user or subject.
    pub async fn take_back(
        &self,
        name: &str,
        subject: Subject,
        because: Because,
    ) -> Result<Option<Permission>, rondo_store::Error> {
        let before = self.meta.set_permission(name, subject, None, because, self.clock.now()).await?;
        self.refresh().await?;
        Ok(before)
    }
}

/// A digest that nobody without the key can make.
fn keyed(key: &[u8; 32], bytes: &[u8]) -> Digest {
    Digest::of(&[key.as_slice(), bytes].concat())
}
