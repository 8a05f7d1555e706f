//! One process of an app, from its start to its end, and what is open to it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rondo_core::Digest;
use rondo_pipeline::execute::{cause, process};
use rondo_store::Objects;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::bench::Prepared;
use super::health::{Owner, Target};
use super::lacking;
use super::log::AppLog;
use super::spec::Spec;

/// How often it is looked whether a process is ready.
const LOOK: Duration = Duration::from_millis(100);

/// The cause of an end that somebody wanted.
const STOPPED: &str = "it was stopped";

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Why, in words.
    pub cause: String,
    /// The last lines that it said.
    pub tail: Vec<String>,
    /// Whether its shell did not find a program, or could not execute it.
    pub lacking: bool,
}

impl Ending {
    /// One of which no more is known than why.
    pub fn of(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), tail: Vec::new(), lacking: false }
    }
}

/// A process of an app; files that are shown as they are have none, and never end.
pub struct Instance {
    /// Where it listens.
    pub target: Target,
    /// What requests are passed on with.
    pub authorization: Option<HeaderValue>,
    /// What it was given, in one word.
    pub identity: Digest,
    /// What it was given, for people.
    pub inputs: BTreeMap<String, String>,
    open: watch::Sender<usize>,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<Option<Ending>>,
}

/// A request or socket that is open; counted as long as it is held.
pub struct Held(Arc<Instance>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Nobody can reach it any more.
        let _ = self.stop.send(true);
    }
}

impl Instance {
    /// Starts it.
    pub(super) fn start(
        spec: &Spec,
        prepared: Prepared,
        given: &super::inputs::Given,
        log: &AppLog,
        objects: &Objects,
    ) -> Arc<Self> {
        let (stop, mut stopped) = watch::channel(false);
        let (end, ended) = watch::channel(None);
        let authorization = spec.authorization.as_ref().and_then(|text| {
            let basic = STANDARD.encode(format!("rondo:{}", prepared.token));
            let text = text.replace("{token}", &prepared.token).replace("{basic}", &basic);
            let mut value = HeaderValue::from_str(&text).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let Prepared { command, text, environment, target, folder, lent, mut mask, .. } = prepared;
        let (log, objects, socket) = (log.clone(), objects.clone(), target.clone());
        tokio::spawn(async move {
            let mut ending = match &command {
                Some(command) => {
                    let mut take = |bytes: &[u8]| log.take(&mask.pass(bytes));
                    let ended = process::run(command, None, &mut stopped, &mut take).await;
                    log.take(&mask.rest());
                    match ended {
                        Ok(ended) if ended.stopped.is_some() => Ending::of(STOPPED),
                        Ok(ended) => {
                            let exit = cause::exit(&ended, None, || None);
                            let lacking = lacking::says_so(ended.code);
                            let named =
                                lacking.then(|| lacking::told(command, &text, environment.as_deref()));
                            let cause = named.flatten().or(exit.cause);
                            let cause = cause.unwrap_or_else(|| "it exited by itself with code 0".to_owned());
                            Ending { lacking, ..Ending::of(cause) }
                        }
                        Err(error) => Ending::of(format!("it cannot be started: {error}")),
                    }
                }
                None => {
                    // An error means that nobody can stop it any more.
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                    Ending::of(STOPPED)
                }
            };
            log.say(&ending.cause);
            for lent in &lent {
                // What the app changed of the store's is thrown out there; who needs it makes it again.
                let _ = objects.take_back(lent);
            }
            // What stays behind goes with the work folder.
            let _ = fs::remove_dir_all(&folder);
            if let Target::Unix(path) = socket {
                let _ = fs::remove_file(path);
            }
            ending.tail = log.take_tail();
            end.send_replace(Some(ending));
        });
        let (open, _) = watch::channel(0);
        let (identity, inputs) = (given.identity(), given.told());
        Arc::new(Self { target, authorization, identity, inputs, open, stop, ended })
    }

    /// Something that listens there already; it ends when it is told to.
    #[cfg(test)]
    pub(crate) fn at(target: Target) -> (Arc<Self>, watch::Sender<Option<Ending>>) {
        let (stop, _) = watch::channel(false);
        let (open, _) = watch::channel(0);
        let (end, ended) = watch::channel(None);
        let (authorization, inputs) = (Some(HeaderValue::from_static("token t")), BTreeMap::new());
        let identity = Digest::of(b"");
        let instance = Self { target, authorization, identity, inputs, open, stop, ended };
        (Arc::new(instance), end)
    }

    /// Something that runs until it is stopped.
    #[cfg(test)]
    pub(super) fn until_stopped() -> Arc<Self> {
        let (stop, mut stopped) = watch::channel(false);
        let (instance, end) = Self::at(Target::Unix("/nowhere".into()));
        let Ok(mut instance) = Arc::try_unwrap(instance).map_err(drop) else { unreachable!("it is new") };
        instance.stop = stop;
        tokio::spawn(async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
            end.send_replace(Some(Ending::of(STOPPED)));
        });
        Arc::new(instance)
    }

    /// Counts a request or socket as open.
    pub fn hold(self: &Arc<Self>) -> Held {
        self.open.send_modify(|open| *open += 1);
        Held(self.clone())
    }

    /// How many requests and sockets are open.
    pub fn open(&self) -> usize {
        *self.open.borrow()
    }

    /// What tells of its end.
    pub(super) fn ends(&self) -> watch::Receiver<Option<Ending>> {
        self.ended.clone()
    }

    /// How it ended, where it has.
    pub fn ending(&self) -> Option<Ending> {
        self.ended.borrow().clone()
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> Ending {
        let mut ended = self.ended.clone();
        let ending = ended.wait_for(Option::is_some).await.ok().and_then(|ending| ending.clone());
        ending.unwrap_or_else(|| Ending::of("it was dropped"))
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// How it ended, or that it took too long; then it is stopped.
    pub async fn ready(&self, spec: &Spec) -> Result<(), Ending> {
        if matches!(self.target, Target::Files { .. }) {
            return Ok(());
        }
        let (path, until) = (spec.health_path(), Instant::now() + spec.start);
        let mut last = "nobody listens there".to_owned();
        loop {
            if let Some(ending) = self.ending() {
                return Err(ending);
            }
            match self.target.owner() {
                // It is asked with what only it may know.
                Owner::Ours => match self.target.ask(&path, self.authorization.as_ref()).await {
                    Ok(status) if (200..400).contains(&status) => return Ok(()),
                    Ok(status) => last = format!("it answers {status}"),
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                    Err(error) => last = error.to_string(),
                },
                Owner::Another => last = "its port was taken by another user's program".to_owned(),
                Owner::Nobody => {}
            }
            if Instant::now() >= until {
                let cause = format!("it was not ready at `{path}` within {:?}: {last}", spec.start);
                let tail = self.stop().await.tail;
                return Err(Ending { tail, ..Ending::of(cause) });
            }
            sleep(LOOK).await;
        }
    }

    /// Stops it and waits until it has ended: it is asked, and after a while killed.
    pub async fn stop(&self) -> Ending {
        self.ask_to_stop();
        self.ended().await
    }

    /// Stops it, and waits for nothing.
    pub(super) fn ask_to_stop(&self) {
        // No receiver means that it has ended.
        let _ = self.stop.send(true);
    }

    /// Lets it finish what is open, as long as that may take, and stops it.
    pub async fn drain(self: Arc<Self>, limit: Duration) {
        let mut open = self.open.subscribe();
        let idle = async { drop(open.wait_for(|open| *open == 0).await) };
        tokio::select! {
            _ = tokio::time::timeout(limit, idle) => {}
            _ = self.ended() => {}
        }
        self.stop().await;
    }
}
