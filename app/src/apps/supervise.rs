//! What is started, replaced and given up when: one loop an app.
//!
//! A process that dies is started again after a second, then two, four, and so on up to a minute; one that
//! has run for a minute counts as well again. After the stated number of times in a row it is given up until
//! somebody says `start` or what goes in has changed; at once where its program is not there. A new process
//! beside an old one takes its place when it is ready; where it does not get ready, the old one goes on and
//! the trouble is told.

use std::sync::Arc;
use std::time::Duration;

use rondo_core::error::causes;
use rondo_core::{Digest, Explain};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::App;
use super::bench::Bench;
use super::control::Verb;
use super::inputs::{self, Given};
use super::instance::{Ending, Instance};
use super::spec::What;
use super::status::State;
use crate::platform::Error;

/// How often it is looked whether what goes in has changed.
const LOOK: Duration = Duration::from_secs(1);
/// How long a process has to run to count as well.
const WELL: Duration = Duration::from_secs(60);
/// How long after its first death a process is started again; twice as long after each further one.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest of these times.
const LONGEST: Duration = Duration::from_secs(60);
/// How often a running process's health is asked for.
const PULSE: Duration = Duration::from_secs(10);
/// How many times in a row it may not answer: it may be busy.
const MISSED: u32 = 6;

/// Looks after an app until everything is to stop.
pub(super) async fn supervise(app: Arc<App>, bench: Bench, mut stopped: watch::Receiver<bool>) {
    let keeper = Keeper {
        app: app.clone(),
        bench,
        number: 0,
        deaths: 0,
        since: None,
        refused: None,
        draining: JoinSet::new(),
        missed: 0,
        pulse: Instant::now(),
    };
    // What it is about to start is dropped with it, and so told to stop.
    tokio::select! {
        () = Box::pin(keeper.run(stopped.clone())) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    app.put(None);
    app.end_all().await;
    app.change(|status| status.state = State::Stopped);
}

struct Keeper {
    app: Arc<App>,
    bench: Bench,
    /// How many processes there were.
    number: u64,
    /// How often in a row it died.
    deaths: u32,
    /// Since when the last process was ready, until its end was seen.
    since: Option<Instant>,
    /// What went in when a replacement did not get ready: it is not tried again with the same.
    refused: Option<Digest>,
    /// Old processes that finish what is open.
    draining: JoinSet<()>,
    /// How often in a row it did not answer.
    missed: u32,
    pulse: Instant,
}

impl Keeper {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut told = self.app.told.subscribe();
        let mut heard = told.borrow_and_update().number;
        while !*stopped.borrow() {
            let order = *told.borrow_and_update();
            let new = order.number != heard;
            heard = order.number;
            self.turn(order.verb, new).await;
            while self.draining.try_join_next().is_some() {}
            let current = self.app.current();
            let died = async {
                match &current {
                    Some(instance) => drop(instance.ended().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep(LOOK) => {}
                () = died => {}
                _ = told.changed() => {}
                _ = stopped.changed() => {}
            }
        }
    }

    /// Does what is to be done now.
    async fn turn(&mut self, verb: Verb, new: bool) {
        let app = self.app.clone();
        if verb == Verb::Stop {
            if new {
                self.halt().await;
            }
            return;
        }
        if new {
            (self.deaths, self.refused) = (0, None);
        }
        let state = app.status().state;
        if state == State::Stopped && !new {
            return;
        }
        if let Some(ending) = app.current().and_then(|instance| instance.ending()) {
            app.put(None);
            return self.died(ending).await;
        }
        let given = match self.gathered().await {
            Ok(given) => given,
            Err(why) => return self.waits(why),
        };
        match app.current() {
            None if App::is_over(state) && !new && self.refused == Some(given.identity()) => {}
            None => {
                if state == State::Failed {
                    // Something else goes in than when it was given up.
                    self.deaths = 0;
                }
                self.begin(&given).await;
            }
            Some(old) => {
                let changed = old.identity != given.identity() && self.refused != Some(given.identity());
                if changed || (new && verb == Verb::Restart) {
                    self.replace(old, &given).await;
                } else {
                    self.feel(&old).await;
                }
            }
        }
    }

    async fn gathered(&self) -> Result<Given, String> {
        let platform = &self.bench.platform;
        let Some(declared) = platform.project().apps.get(&self.app.spec.name) else {
            return Err("it is not declared any more".to_owned());
        };
        match inputs::gather(platform, declared).await {
            Ok(Ok(given)) => Ok(given),
            Ok(Err(missing)) => Err(missing.0),
            Err(error) => Err(told(&error)),
        }
    }

    fn waits(&self, why: String) {
        let running = self.app.current().is_some();
        let status = self.app.status();
        if status.error.as_ref() == Some(&why) && (running || status.state == State::Waiting) {
            return;
        }
        self.app.note(&self.bench.platform, format!("waits: {why}"));
        if !running {
            self.state(State::Waiting);
        }
        self.app.change(|status| status.error = Some(why));
    }

    fn state(&self, state: State) {
        let now = self.bench.platform.clock().now();
        self.app.change(|status| {
            if status.state != state {
                status.since = now;
            }
            status.state = state;
        });
    }

    async fn halt(&mut self) {
        if let Some(instance) = self.app.put(None) {
            instance.stop().await;
        }
        self.state(State::Stopped);
        self.app.change(|status| {
            status.error = None;
            status.tail.clear();
        });
        self.app.note(&self.bench.platform, "stopped".to_owned());
    }

    /// Starts a process where none runs.
    async fn begin(&mut self, given: &Given) {
        match self.started(given, true).await {
            Ok(instance) => self.live(instance),
            Err(ending) => {
                self.refused = Some(given.identity());
                match ending.lacking {
                    true => self.given_up(ending, "not started again").await,
                    false => self.died(ending).await,
                }
            }
        }
    }

    /// Starts a process beside the old one, which goes on until the new one is ready.
    async fn replace(&mut self, old: Arc<Instance>, given: &Given) {
        let (app, platform) = (self.app.clone(), self.bench.platform.clone());
        let what: Vec<String> = given.told().into_values().collect();
        app.note(&platform, format!("a new process starts beside the old one: {}", what.join(", ")));
        match self.started(given, false).await {
            Ok(instance) => {
                self.live(instance);
                self.draining.spawn(old.drain(app.spec.drain));
            }
            Err(ending) => {
                self.refused = Some(given.identity());
                let message = format!("the new process is no good, the old one goes on: {}", ending.cause);
                app.note(&platform, with_tail(&message, &ending.tail));
                app.change(|status| {
                    status.error = Some(message);
                    status.tail = ending.tail;
                });
            }
        }
    }

    fn live(&mut self, instance: Arc<Instance>) {
        let app = &self.app;
        let inputs = instance.inputs.clone();
        app.put(Some(instance));
        (self.since, self.refused) = (Some(Instant::now()), None);
        (self.missed, self.pulse) = (0, Instant::now());
        let now = self.bench.platform.clock().now();
        app.change(|status| {
            (status.state, status.since, status.inputs) = (State::Running, now, inputs);
            status.error = None;
            status.tail.clear();
        });
        app.note(&self.bench.platform, format!("runs at {}{}/", self.bench.url, app.spec.base));
    }

    /// A process that is ready. Where it does not get ready, it has ended.
    async fn started(&mut self, given: &Given, alone: bool) -> Result<Arc<Instance>, Ending> {
        let plain = |error: Error| Ending::of(told(&error));
        let app = self.app.clone();
        let platform = self.bench.platform.clone();
        let declared = platform.project().apps.get(&app.spec.name);
        let Some(declared) = declared else {
            return Err(Ending::of("it is not declared any more"));
        };
        let environment = match (&declared.environment, &app.spec.what) {
            (Some(name), What::Command(_)) => {
                if alone {
                    self.state(State::Preparing);
                }
                Some(platform.environment(name).await.map_err(plain)?)
            }
            _ => None,
        };
        if alone {
            self.state(State::Starting);
        }
        self.number += 1;
        let prepared = self.bench.prepare(&app.spec, declared, given, environment.as_ref(), self.number);
        let prepared = prepared.map_err(plain)?;
        let (log, now) = (&self.bench.log, platform.clock().now());
        log.say(&format!("{now} starts"));
        let instance = Instance::start(&app.spec, prepared, given, log, platform.store().objects());
        app.remember(&instance);
        let mut orders = app.told.subscribe();
        tokio::select! {
            ready = instance.ready(&app.spec) => ready.map(|()| instance.clone()),
            () = async { drop(orders.wait_for(|order| order.verb == Verb::Stop).await) } => Err(instance.stop().await),
        }
    }

    /// A process has died: it is started again after a while, or given up.
    async fn died(&mut self, ending: Ending) {
        let (app, platform) = (self.app.clone(), self.bench.platform.clone());
        if app.told.borrow().verb == Verb::Stop {
            // It was meant to end.
            return;
        }
        if self.since.take().is_some_and(|since| since.elapsed() >= WELL) {
            self.deaths = 0;
        }
        self.deaths += 1;
        if self.deaths > app.spec.restarts {
            let after = format!("given up after {} starts", self.deaths);
            return self.given_up(ending, &after).await;
        }
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(self.deaths - 1)).min(LONGEST);
        let message = format!("{}; started again in {pause:?}", ending.cause);
        app.note(&platform, with_tail(&message, &ending.tail));
        app.change(|status| {
            status.error = Some(ending.cause);
            status.tail = ending.tail;
            status.restarts += 1;
        });
        self.state(State::Restarting);
        let mut told = app.told.subscribe();
        tokio::select! {
            () = sleep(pause) => {}
            _ = told.changed() => {}
        }
    }

    /// Leaves it alone until somebody starts it or something else goes in.
    async fn given_up(&mut self, ending: Ending, how: &str) {
        let app = &self.app;
        let message = format!("{}; {how} (rondo app start {})", ending.cause, app.spec.name);
        app.note(&self.bench.platform, with_tail(&message, &ending.tail));
        app.change(|status| {
            status.error = Some(ending.cause);
            status.tail = ending.tail;
        });
        self.state(State::Failed);
        if self.refused.is_none() {
            // What it ran with to its end: it is started again when that changes.
            self.refused = self.gathered().await.ok().map(|given| given.identity());
        }
    }

    /// Asks a running process now and then whether it is well; stops it when it has not answered for long.
    async fn feel(&mut self, instance: &Arc<Instance>) {
        if matches!(self.app.spec.what, What::Files(_)) || self.pulse.elapsed() < PULSE {
            return;
        }
        let path = self.app.spec.health_path();
        let answer = instance.target.ask(&path, instance.authorization.as_ref()).await;
        self.pulse = Instant::now();
        self.missed = if answer.is_ok_and(|status| status < 500) { 0 } else { self.missed + 1 };
        if self.missed >= MISSED {
            self.app.put(None);
            let mut ending = instance.stop().await;
            ending.cause = format!("it did not answer at `{path}` {MISSED} times in a row, and was stopped");
            self.died(ending).await;
        }
    }
}

fn told(error: &Error) -> String {
    let mut text = error.to_string();
    causes(error).iter().for_each(|cause| text.push_str(&format!(": {cause}")));
    if let Some(hint) = error.hints().first() {
        text.push_str(&format!(" (hint: {hint})"));
    }
    text
}

/// A message with the last lines that a process said.
fn with_tail(message: &str, tail: &[String]) -> String {
    let mut text = message.to_owned();
    tail.iter().for_each(|line| text.push_str(&format!("\n             | {line}")));
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, RwLock};

    use super::super::spec::Spec;
    use super::super::status::{Board, Status};
    use super::super::{App, Order};
    use super::*;

    #[tokio::test]
    async fn what_finishes_while_a_socket_is_open_is_stopped_with_the_rest() {
        let declared = rondo_project::project::App {
            uses: None,
            with: Default::default(),
            run: Some("x {port}".into()),
            files: None,
            inputs: Default::default(),
            models: Default::default(),
            environment: None,
            care: Default::default(),
            drain: None,
            restarts: None,
            used: None,
            packaged: None,
        };
        let spec = Spec::new("a", &declared);
        let status = RwLock::new(Status::new(&spec, rondo_core::Timestamp(0)));
        let (told, _) = watch::channel(Order { number: 0, verb: Verb::Start });
        let (current, processes, board) = (RwLock::default(), Mutex::default(), Board::nowhere());
        let app = App { spec, key: String::new(), current, told, status, board, processes };
        let (old, new) = (Instance::until_stopped(), Instance::until_stopped());
        [&old, &new].into_iter().for_each(|instance| app.remember(instance));
        app.put(Some(new));
        let open = old.hold();
        let mut draining = JoinSet::new();
        draining.spawn(old.clone().drain(Duration::from_secs(600)));
        drop(draining);
        app.put(None);
        tokio::time::timeout(Duration::from_secs(20), app.end_all()).await.unwrap();
        assert_eq!(old.ending().unwrap().cause, "it was stopped");
        drop(open);
    }
}
