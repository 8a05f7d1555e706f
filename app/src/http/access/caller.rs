//! Who is calling, and what it may.
//!
//! The guard makes a [`Caller`] for each request and gives it the rule of the route. The handler names what
//! it is about to touch, `caller.experiment(id)?`, and gets no further where the caller lacks the right
//! that the rule names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use rondo_core::access::{Permission, Right, Role, Scope};
use rondo_core::journal::Because;
use rondo_core::{Code, Explain, RunId};
use rondo_store::meta::access::{Account, Maker, Subject};
use rondo_store::meta::search::{Attribute, Condition, Field, Room, Scalar, Test};

use super::Door;
use super::rule::{On, Rule};
use super::steps::Step;

/// The caller may not.
#[derive(Debug, thiserror::Error)]
#[error("permission denied")]
pub struct Denied;

impl Explain for Denied {
    fn code(&self) -> Code {
        Code::Denied
    }
}

/// A user, by a password or token, as of one generation of the book.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) account: Arc<Account>,
    pub(super) default: Permission,
    pub(super) scope: Scope,
    pub(super) only: Option<Subject>,
}

impl Pass {
    /// What was given, else what the role gives.
    fn permission(&self, subject: &Subject) -> Permission {
        let given = match subject {
            _ if self.account.role == Role::Admin => None,
            Subject::Experiment(id) => self.account.experiments.get(id),
            Subject::Model(name) => self.account.models.get(name),
        };
        given.copied().unwrap_or_else(|| self.account.role.permission(self.default))
    }

    fn may(&self, right: Right, subject: &Subject) -> bool {
        self.scope.leaves(right)
            && self.only.as_ref().is_none_or(|only| only == subject)
            && self.permission(subject).gives(right)
    }

    /// Whether it has the right on what belongs to no one thing.
    fn may_at_large(&self, right: Right) -> bool {
        let gives = self.account.role.permission(self.default).gives(right);
        self.only.is_none() && self.scope.leaves(right) && gives
    }

    fn makes(&self) -> bool {
        self.only.is_none() && self.scope.leaves(Right::Edit) && self.account.role.makes()
    }

    fn is_admin(&self) -> bool {
        self.only.is_none() && self.scope == Scope::Admin && self.account.role == Role::Admin
    }
}

#[derive(Debug, Clone)]
pub(super) enum Who {
    /// Somebody who was let in without a token.
    Anyone,
    /// A step's code.
    Step(Arc<Step>),
    /// A user.
    User(Arc<Pass>),
}

/// Who is calling, and what for.
#[derive(Clone)]
pub struct Caller {
    who: Who,
    rule: Rule,
    door: Door,
    /// Whether it was asked about anything; nothing where it may do everything anyway.
    asked: Option<Arc<AtomicBool>>,
}

/// What a caller may see of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight<T> {
    /// All of them.
    All,
    /// These.
    Only(Vec<T>),
    /// All but these.
    AllBut(Vec<T>),
}

impl<T: PartialEq> Sight<T> {
    /// Whether this is among them.
    pub fn holds(&self, one: &T) -> bool {
        match self {
            Self::All => true,
            Self::Only(these) => these.contains(one),
            Self::AllBut(others) => !others.contains(one),
        }
    }
}

impl Caller {
    pub(super) fn new(who: Who, rule: Rule, door: Door) -> Self {
        let asked = match who {
            Who::Anyone => None,
            Who::Step(_) | Who::User(_) => Some(Arc::default()),
        };
        Self { who, rule, door, asked }
    }

    /// Whether it may do everything, since nobody is asked who they are.
    pub const fn is_anyone(&self) -> bool {
        matches!(self.who, Who::Anyone)
    }

    /// Whether the handler should have asked about something and has not.
    pub(super) fn owes_a_question(&self) -> bool {
        let asked = self.asked.as_ref().is_none_or(|asked| asked.load(Ordering::Relaxed));
        self.rule.is_asked_by_the_handler() && !asked
    }

    /// Whether the rule lets it through to the handler. What only the handler can ask about is left to it.
    pub(super) fn passes(&self) -> bool {
        match (&self.who, self.rule) {
            (_, Rule::Public | Rule::Signed | Rule::Known) | (Who::Anyone, _) => true,
            (Who::Step(_), Rule::Admin | Rule::Manage(_)) => false,
            (Who::Step(_), Rule::Delete(on)) => on == On::Experiment,
            (Who::Step(_), _) => true,
            (Who::User(pass), Rule::Admin) => pass.is_admin(),
            (Who::User(pass), Rule::Make(_)) => pass.makes(),
            (Who::User(pass), rule) if !rule.is_asked_by_the_handler() => pass.may_at_large(rule.right()),
            (Who::User(pass), rule) => pass.scope.leaves(rule.right()),
        }
    }

    /// The step, where one is calling.
    pub fn step(&self) -> Option<&Step> {
        match &self.who {
            Who::Anyone | Who::User(_) => None,
            Who::Step(step) => Some(step),
        }
    }

    /// The user, where one is calling.
    pub fn user(&self) -> Option<&str> {
        match &self.who {
            Who::User(pass) => Some(&pass.account.name),
            Who::Anyone | Who::Step(_) => None,
        }
    }

    /// Whether it is this user, by its password or a token that stands for all of it.
    pub fn is_user(&self, name: &str) -> bool {
        match &self.who {
            Who::User(pass) => pass.account.name == name && pass.only.is_none() && pass.scope == Scope::Admin,
            Who::Anyone | Who::Step(_) => false,
        }
    }

    /// Whether it may say who may what on the whole server.
    pub fn is_admin(&self) -> bool {
        match &self.who {
            Who::User(pass) => pass.is_admin(),
            Who::Anyone | Who::Step(_) => false,
        }
    }

    /// What it is called in the journal.
    pub fn name(&self) -> String {
        match &self.who {
            Who::User(pass) => pass.account.name.clone(),
            Who::Anyone => "anyone".to_owned(),
            Who::Step(step) => format!("step of run {}", step.run()),
        }
    }

    /// Why something is changed on its behalf, for the journal.
    pub fn because(&self, why: &str) -> Because {
        match &self.who {
            Who::User(pass) => Because::new(&pass.account.name, why),
            Who::Anyone => Because::new("mlflow client", why),
            Who::Step(step) => Because::new("mlflow client", why).by_run(step.run()),
        }
    }

    /// It is about to touch this, for what the route is for.
    ///
    /// # Errors
    /// When it may not.
    pub fn on(&self, subject: &Subject) -> Result<(), Denied> {
        self.may(self.rule.right(), subject)
    }

    /// It is about to touch an experiment, for what the route is for. That what was given is no
    /// experiment's id is left to the handler to say.
    ///
    /// # Errors
    /// When it may not.
    pub fn experiment(&self, id: &str) -> Result<(), Denied> {
        match id.parse() {
            Ok(id) => self.on(&Subject::Experiment(id)),
            Err(_) => {
                self.mark();
                Ok(())
            }
        }
    }

    /// It is about to touch a registered model, for what the route is for.
    ///
    /// # Errors
    /// When it may not.
    pub fn model(&self, name: &str) -> Result<(), Denied> {
        match &self.who {
            Who::Anyone => Ok(()),
            Who::Step(_) | Who::User(_) => self.on(&Subject::Model(name.to_owned())),
        }
    }

    /// It is about to touch a run, for what the route is for. That there is no such run is left to the
    /// handler to say.
    ///
    /// # Errors
    /// When it may not, or the run cannot be looked up.
    pub async fn run(&self, id: &str) -> Result<(), NotLetIn> {
        self.run_for(self.rule.right(), id).await
    }

    /// It is about to touch several runs, for what the route is for.
    ///
    /// # Errors
    /// As for one.
    pub async fn runs(&self, ids: &[String]) -> Result<(), NotLetIn> {
        self.mark();
        for id in ids {
            self.run(id).await?;
        }
        Ok(())
    }

    /// The same for another right than the route's.
    ///
    /// # Errors
    /// When it may not, or the run cannot be looked up.
    pub async fn run_for(&self, right: Right, id: &str) -> Result<(), NotLetIn> {
        if matches!(self.who, Who::Anyone) {
            return Ok(());
        }
        let home = match id.parse::<RunId>() {
            Ok(run) => self.door.home(run).await?,
            Err(_) => None,
        };
        self.at_home(right, home)
    }

    /// It is about to touch a logged model, for what the route is for. That there is none is left to the
    /// handler to say.
    ///
    /// # Errors
    /// When it may not, or the model cannot be looked up.
    pub async fn logged_model(&self, id: &str) -> Result<(), NotLetIn> {
        self.logged_model_for(self.rule.right(), id).await
    }

    /// The same for another right than the route's.
    ///
    /// # Errors
    /// When it may not, or the model cannot be looked up.
    pub async fn logged_model_for(&self, right: Right, id: &str) -> Result<(), NotLetIn> {
        if matches!(self.who, Who::Anyone) {
            return Ok(());
        }
        let home = self.door.inner.meta.logged_model(id).await?.map(|model| model.experiment);
        self.at_home(right, home)
    }

    /// It is about to touch a trace, for what the route is for. That there is none is left to the handler to
    /// say.
    ///
    /// # Errors
    /// When it may not, or the trace cannot be looked up.
    pub async fn trace(&self, id: &str) -> Result<(), NotLetIn> {
        self.traces_for(self.rule.right(), &[id.to_owned()]).await
    }

    /// It is about to touch several traces, for what the route is for.
    ///
    /// # Errors
    /// As for one.
    pub async fn traces(&self, ids: &[String]) -> Result<(), NotLetIn> {
        self.traces_for(self.rule.right(), ids).await
    }

    /// The same for another right than the route's.
    ///
    /// # Errors
    /// As for one.
    pub async fn traces_for(&self, right: Right, ids: &[String]) -> Result<(), NotLetIn> {
        self.mark();
        if matches!(self.who, Who::Anyone) {
            return Ok(());
        }
        for trace in self.door.inner.meta.traces(ids).await? {
            self.may(right, &Subject::Experiment(trace.experiment))?;
        }
        Ok(())
    }

    /// It is about to touch artifacts: of a run, a logged model or a trace, or, with no such owner, of all.
    ///
    /// # Errors
    /// When it may not, or the owner cannot be looked up.
    pub async fn artifacts(&self, owner: &str) -> Result<(), NotLetIn> {
        self.artifacts_for(self.rule.right(), owner).await
    }

    /// The same for another right than the route's.
    ///
    /// # Errors
    /// When it may not, or the owner cannot be looked up.
    pub async fn artifacts_for(&self, right: Right, owner: &str) -> Result<(), NotLetIn> {
        if matches!(self.who, Who::Anyone) {
            return Ok(());
        }
        let meta = &self.door.inner.meta;
        if owner.starts_with("v-") {
            return match meta.model_of_files(owner).await? {
                Some(model) => Ok(self.may(right, &Subject::Model(model))?),
                // Of a version that is no more.
                None => Ok(self.at_large(Right::Manage)?),
            };
        }
        let home = if owner.starts_with("m-") {
            meta.logged_model(owner).await?.map(|model| model.experiment)
        } else if owner.starts_with("tr-") {
            meta.trace(owner).await?.map(|trace| trace.experiment)
        } else {
            match owner.parse() {
                Ok(run) => self.door.home(run).await?,
                Err(_) => None,
            }
        };
        match home {
            Some(experiment) => Ok(self.may(right, &Subject::Experiment(experiment))?),
            // What an owner that is no more has left is nobody's alone.
            None => Ok(self.at_large(right)?),
        }
    }

    /// It is about to use what can do more than the route says, and needs this right on the whole server
    /// for it; a step's code has it for nothing but looking.
    ///
    /// # Errors
    /// When it lacks it.
    pub fn at_desk(&self, right: Right) -> Result<(), Denied> {
        match &self.who {
            Who::Step(_) if right != Right::Read => Err(Denied),
            Who::Anyone | Who::Step(_) | Who::User(_) => self.at_large(right),
        }
    }

    /// The address that a request of it comes from, and whether the last proxy that is trusted got it by TLS.
    pub fn address<B>(&self, request: &axum::http::Request<B>) -> (std::net::IpAddr, bool) {
        super::guard::way(&self.door, request.extensions(), request.headers())
    }

    /// It is about to touch what belongs to no one thing.
    fn at_large(&self, right: Right) -> Result<(), Denied> {
        self.mark();
        let may = match &self.who {
            Who::Anyone => true,
            Who::Step(_) => matches!(right, Right::Read | Right::Edit),
            Who::User(pass) => pass.may_at_large(right),
        };
        if may { Ok(()) } else { Err(Denied) }
    }

    fn at_home(&self, right: Right, home: Option<i64>) -> Result<(), NotLetIn> {
        match home {
            Some(experiment) => Ok(self.may(right, &Subject::Experiment(experiment))?),
            None => {
                self.mark();
                Ok(())
            }
        }
    }

    /// It is about to touch this, and needs this right for it.
    ///
    /// # Errors
    /// When it lacks it.
    pub fn may(&self, right: Right, subject: &Subject) -> Result<(), Denied> {
        self.mark();
        let may = match &self.who {
            Who::Anyone => true,
            Who::Step(step) => step.may(right, subject),
            Who::User(pass) => pass.may(right, subject),
        };
        if may { Ok(()) } else { Err(Denied) }
    }

    /// Whether it may see this: for leaving out of a list what it may not.
    pub fn sees(&self, subject: &Subject) -> bool {
        self.may(Right::Read, subject).is_ok()
    }

    /// These experiments without those that it may not see. That one of them is no experiment's id is left to
    /// the handler to say.
    pub fn seen(&self, experiments: Vec<String>) -> Vec<String> {
        self.mark();
        if matches!(self.who, Who::Anyone) {
            return experiments;
        }
        let sees = |id: &String| id.parse().map_or(true, |id| self.sees(&Subject::Experiment(id)));
        experiments.into_iter().filter(sees).collect()
    }

    /// Which experiments it may see.
    pub fn sight_of_experiments(&self) -> Sight<i64> {
        self.sight(
            |account| &account.experiments,
            |only| match only {
                Subject::Experiment(id) => Some(*id),
                Subject::Model(_) => None,
            },
        )
    }

    /// Which registered models it may see.
    pub fn sight_of_models(&self) -> Sight<String> {
        self.sight(
            |account| &account.models,
            |only| match only {
                Subject::Model(name) => Some(name.clone()),
                Subject::Experiment(_) => None,
            },
        )
    }

    fn sight<T: Clone + Ord + std::hash::Hash>(
        &self,
        given: impl Fn(&Account) -> &std::collections::HashMap<T, Permission>,
        only: impl Fn(&Subject) -> Option<T>,
    ) -> Sight<T> {
        self.mark();
        let Who::User(pass) = &self.who else { return Sight::All };
        let at_large = pass.account.role.permission(pass.default).gives(Right::Read);
        let is_admin = pass.account.role == Role::Admin;
        let given = given(&pass.account);
        let reads = |key: &T| match given.get(key) {
            Some(permission) if !is_admin => permission.gives(Right::Read),
            Some(_) | None => at_large,
        };
        if let Some(subject) = &pass.only {
            return Sight::Only(only(subject).into_iter().filter(reads).collect());
        }
        if is_admin {
            return Sight::All;
        }
        let mut unlike: Vec<T> = given.keys().filter(|key| reads(key) != at_large).cloned().collect();
        unlike.sort();
        match (at_large, unlike.is_empty()) {
            (true, true) => Sight::All,
            (true, false) => Sight::AllBut(unlike),
            (false, _) => Sight::Only(unlike),
        }
    }

    /// A search's filter that finds only what the caller may see: experiments, models or versions.
    pub fn narrowed(&self, room: Room, filter: Condition) -> Condition {
        let named = |names: Vec<String>, attribute, test: fn(Vec<Scalar>) -> Test| {
            let names = names.into_iter().map(Scalar::Text).collect();
            Condition::Test(Field::Attribute(attribute), test(names))
        };
        let texts = |ids: Vec<i64>| ids.into_iter().map(|id| id.to_string()).collect::<Vec<_>>();
        let (sight, attribute) = match room {
            Room::Models | Room::Versions => (self.sight_of_models(), Attribute::Name),
            Room::Experiments | Room::Runs | Room::LoggedModels => {
                let sight = match self.sight_of_experiments() {
                    Sight::All => Sight::All,
                    Sight::Only(ids) => Sight::Only(texts(ids)),
                    Sight::AllBut(ids) => Sight::AllBut(texts(ids)),
                };
                (sight, Attribute::Id)
            }
        };
        let seen = match sight {
            Sight::All => return filter,
            Sight::Only(names) if names.is_empty() => Condition::Any(Vec::new()),
            Sight::Only(names) => named(names, attribute, Test::In),
            Sight::AllBut(names) => named(names, attribute, Test::NotIn),
        };
        Condition::All(vec![filter, seen])
    }

    /// It has changed something in the registry: who it was goes to the journal, where anybody is known. Moves
    /// of aliases have their own lines.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub async fn changed(
        &self,
        model: &str,
        version: Option<i64>,
        what: &str,
    ) -> Result<(), rondo_store::Error> {
        if self.is_anyone() {
            return Ok(());
        }
        let name = match version {
            Some(number) => format!("registry/{model}/{number}"),
            None => format!("registry/{model}"),
        };
        let inner = &self.door.inner;
        inner.meta.note(&name, self.because(what), inner.clock.now()).await
    }

    /// The user who may do everything with what it makes; nothing where nobody is asked for, or it may do
    /// everything anyway.
    pub fn maker(&self) -> Option<Maker> {
        match &self.who {
            Who::User(pass) if pass.account.role != Role::Admin => {
                Some(Maker { user: pass.account.name.clone(), because: self.because("made it") })
            }
            Who::Anyone | Who::Step(_) | Who::User(_) => None,
        }
    }

    /// It has made an experiment or model: what it may do with it counts from now on.
    ///
    /// # Errors
    /// When that cannot be read.
    pub async fn made(&self, subject: Subject) -> Result<(), rondo_store::Error> {
        match &self.who {
            Who::Anyone => Ok(()),
            Who::Step(step) => {
                if let Subject::Experiment(id) = subject {
                    step.choose(id);
                }
                Ok(())
            }
            Who::User(_) => match self.door.keeper().filter(|_| self.maker().is_some()) {
                Some(keeper) => keeper.refresh().await,
                None => Ok(()),
            },
        }
    }

    fn mark(&self) {
        if let Some(asked) = &self.asked {
            asked.store(true, Ordering::Relaxed);
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = super::refused::Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // Every route is behind the guard, which puts it there.
        parts.extensions.get::<Self>().cloned().ok_or(super::refused::Refused::NotAsked)
    }
}

/// Either the caller may not, or it cannot be found out.
#[derive(Debug, thiserror::Error)]
pub enum NotLetIn {
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It cannot be found out.
    #[error(transparent)]
    Store(#[from] rondo_store::Error),
}

impl Explain for NotLetIn {
    fn code(&self) -> Code {
        match self {
            Self::Denied(denied) => denied.code(),
            Self::Store(error) => error.code(),
        }
    }
}
