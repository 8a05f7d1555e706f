//! Who may what: the one door before every handler.
//!
//! A route is registered with a [`Rule`] or not at all: [`Routes`] takes nothing else. The rule says which
//! right its handler needs on what kind of thing; the handler finds out which thing that is (the experiment
//! of the run that was named) and asks its [`Caller`]. So no list of paths decides anything, and a handler
//! that forgets to ask answers nothing: the [`guard`] holds its answer back.
//!
//! | file | what it knows |
//! |---|---|
//! | `rule` | what a route can ask for |
//! | `routes` | the table of routes, each with its rules |
//! | `guard` | host, origin, caller, in this order, for every request |
//! | `caller` | what a caller may |
//! | `steps` | steps of a running pipeline, and their tokens |
//! | `keeper` | users, passwords and API tokens, checked and remembered for a while |
//! | `password` | the slow hash |
//! | `limits` | failed logins, and requests of one client at a time |
//! | `audit` | what was refused, for the journal |
//! | `refused` | the answers to those who are not let in |

pub mod audit;
pub mod caller;
pub mod guard;
pub mod keeper;
pub mod limits;
pub mod password;
mod proxies;
pub mod refused;
pub mod routes;
pub mod rule;
pub mod steps;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rondo_core::RunId;
use rondo_core::ports::Clock;
use rondo_store::Store;
use rondo_store::meta::Meta;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

pub use caller::{Caller, Denied};
pub use keeper::Keeper;
pub use routes::Routes;
pub use rule::{On, Rule};
pub use steps::StepAccess;

/// Who is let in without a step's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Anyone who reaches the address: a server on loopback that was started to be used.
    Open,
    /// Users with a password or token, each as far as its permissions go.
    Users,
    /// Nobody: a pipeline that listens for its own steps.
    StepsOnly,
}

/// How long it is remembered to which experiment a run belongs. Only a step's run ever moves.
const HOMES_LAST: Duration = Duration::from_secs(60);
/// Of how many runs.
const HOMES: usize = 100_000;

/// What the guard works with. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    inner: Arc<Inner>,
}

struct Inner {
    mode: Mode,
    meta: Meta,
    steps: Arc<steps::Steps>,
    hosts: Vec<String>,
    proxies: Vec<IpNet>,
    keeper: Option<Keeper>,
    crowd: Option<limits::Crowd>,
    audit: audit::Audit,
    clock: Arc<dyn Clock>,
    homes: Mutex<(Instant, HashMap<RunId, i64>)>,
}

/// How a door is set up.
pub struct Admission {
    /// Who is let in.
    pub mode: Mode,
    /// Names in the `Host` header that are answered beside localhost and addresses.
    pub hosts: Vec<String>,
    /// The networks of proxies whose word is taken for where a request comes from.
    pub proxies: Vec<IpNet>,
    /// How many requests of one client are worked on at a time; nothing for any number.
    pub at_once: Option<usize>,
}

impl Admission {
    /// For whom the mode lets in, with nothing more to say.
    pub const fn new(mode: Mode) -> Self {
        Self { mode, hosts: Vec::new(), proxies: Vec::new(), at_once: None }
    }
}

impl Door {
    /// A door as planned.
    pub fn new(store: &Store, clock: Arc<dyn Clock>, plan: Admission) -> Self {
        let meta = store.meta().clone();
        let keeper = (plan.mode == Mode::Users).then(|| Keeper::new(meta.clone(), clock.clone()));
        Self {
            inner: Arc::new(Inner {
                mode: plan.mode,
                steps: Arc::default(),
                hosts: plan.hosts,
                proxies: plan.proxies,
                keeper,
                crowd: plan.at_once.map(limits::Crowd::new),
                audit: audit::Audit::new(meta.clone(), clock.clone()),
                clock,
                homes: Mutex::new((Instant::now(), HashMap::new())),
                meta,
            }),
        }
    }

    /// What lets steps in: give it to the pipeline, with the root URL that is served.
    pub fn steps(&self, url: &str) -> StepAccess {
        StepAccess::new(self.inner.steps.clone(), url)
    }

    /// The users, where there are any.
    pub fn keeper(&self) -> Option<&Keeper> {
        self.inner.keeper.as_ref()
    }

    /// The experiment of a run, remembered for a while; nothing where there is no such run.
    async fn home(&self, run: RunId) -> Result<Option<i64>, rondo_store::Error> {
        let lock = || self.inner.homes.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut homes = lock();
            if homes.0.elapsed() > HOMES_LAST || homes.1.len() >= HOMES {
                *homes = (Instant::now(), HashMap::new());
            }
            if let Some(home) = homes.1.get(&run) {
                return Ok(Some(*home));
            }
        }
        let home = self.inner.meta.run(run).await?.map(|row| row.experiment);
        if let Some(home) = home {
            lock().1.insert(run, home);
        }
        Ok(home)
    }

    /// A run was filed under another experiment.
    pub fn moved(&self, run: RunId) {
        self.inner.homes.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&run);
    }
}

#[cfg(test)]
mod tests;
