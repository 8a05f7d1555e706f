//! Apps: services of a project that people look at, each a process that is looked after.
//!
//! An app gets its artifacts as a step does, is started in its environment, and is ready when its health
//! route answers. When it dies it is started again, less and less often, and given up after a stated number
//! of times, at once where its program is not there; when what goes in changes (an alias moves, a step makes another output) a new process is
//! started beside the old one, which finishes what is open. Nothing here speaks to browsers: the proxy
//! (`http/apps`) asks for the process that answers now.
//!
//! | file | what it knows |
//! |---|---|
//! | `spec` | an app as declared, with all defaults |
//! | `inputs` | what goes in, as of now |
//! | `bench` | the folder, variables and command of one process |
//! | `instance` | one process from its start to its end |
//! | `lacking` | why one never began |
//! | `health` | whether a process answers, and the way to it |
//! | `supervise` | what is started, replaced and given up when |
//! | `status` | what is told of an app, here and to other processes |
//! | `control` | words from other processes |
//! | `log` | what an app says |

mod bench;
pub mod control;
pub mod health;
mod inputs;
pub mod instance;
mod lacking;
pub mod log;
pub mod spec;
pub mod status;
mod supervise;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use rondo_core::RunId;
use rondo_core::ports::Event;
use rondo_pipeline::execute::guard::Hold;
use rondo_pipeline::run::recover::WorkFolder;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::platform::{Error, Platform};
use control::{Control, Verb};
use instance::{Ending, Instance};
use spec::Spec;
use status::{Board, State, Status};

/// An app of this process.
pub struct App {
    /// What was declared.
    pub spec: Spec,
    /// What opens it, where nobody is asked who they are and not everybody may use it.
    pub key: String,
    current: RwLock<Option<Arc<Instance>>>,
    told: watch::Sender<Order>,
    status: RwLock<Status>,
    board: Board,
    /// All its processes, those that finish what is open too.
    processes: Mutex<Vec<Process>>,
}

/// A process that was started, and its end. Whoever uses it keeps it: one that nobody does stops by itself.
struct Process {
    instance: Weak<Instance>,
    ends: watch::Receiver<Option<Ending>>,
}

/// What was last asked of an app; the number tells one asking from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    number: u64,
    verb: Verb,
}

impl App {
    /// The process that answers now.
    pub fn current(&self) -> Option<Arc<Instance>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, instance: Option<Arc<Instance>>) -> Option<Arc<Instance>> {
        std::mem::replace(&mut *self.current.write().unwrap_or_else(PoisonError::into_inner), instance)
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let mut status = self.status.read().unwrap_or_else(PoisonError::into_inner).clone();
        status.open = self.current().map_or(0, |instance| instance.open());
        status
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        {
            let mut status = self.status.write().unwrap_or_else(PoisonError::into_inner);
            change(&mut status);
        }
        self.board.changed();
    }

    /// Remembers a process, so that its end can be waited for.
    fn remember(&self, instance: &Arc<Instance>) {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        processes.retain(|process| process.ends.borrow().is_none());
        processes.push(Process { instance: Arc::downgrade(instance), ends: instance.ends() });
    }

    /// Stops every process, those that finish what is open too, and waits until all have ended.
    async fn end_all(&self) {
        let processes = std::mem::take(&mut *self.processes.lock().unwrap_or_else(PoisonError::into_inner));
        // Open sockets hold theirs, so that it would not stop by itself.
        processes.iter().filter_map(|process| process.instance.upgrade()).for_each(|open| open.ask_to_stop());
        for mut process in processes {
            // An error means that its task is gone, and the process with it.
            let _ = process.ends.wait_for(Option::is_some).await;
        }
    }

    fn tell(&self, verb: Verb) {
        self.told.send_modify(|order| *order = Order { number: order.number + 1, verb });
    }
}

/// The apps of a project that is up. One process at a time has them.
pub struct Apps {
    apps: Vec<Arc<App>>,
    stop: watch::Sender<bool>,
    board: Board,
    /// What goes on until they are stopped.
    running: Mutex<Option<Running>>,
}

struct Running {
    tasks: Vec<JoinHandle<()>>,
    control: Control,
    hold: Hold,
    work: WorkFolder,
}

impl Apps {
    /// None at all.
    pub fn none() -> Self {
        let (stop, _) = watch::channel(false);
        let board = Board::nowhere();
        Self { apps: Vec::new(), stop, board, running: Mutex::default() }
    }

    /// Begins to look after the apps of a project; `url` is where this server is reached.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn start(platform: &Arc<Platform>, url: &str) -> Result<Self, Error> {
        if platform.project().apps.is_empty() {
            return Ok(Self::none());
        }
        // What a killed process left running is ended before its successor starts.
        platform.recover().await?;
        let work = WorkFolder::make(platform.store(), RunId::random())?;
        let hold = Hold::on(work.path());
        let folder = folder(platform);
        fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
        let board = Board::open(&folder, url)?;
        let sockets = Arc::new(bench::Sockets::new(work.path())?);
        let (stop, stopped) = watch::channel(false);
        let mut apps = Vec::new();
        for (name, declared) in platform.project().apps.iter() {
            let spec = Spec::new(name, declared);
            let (told, _) = watch::channel(Order { number: 0, verb: Verb::Start });
            let status = RwLock::new(Status::new(&spec, platform.clock().now()));
            let key = hex::encode(rand::random::<[u8; 20]>());
            let (current, processes, board) = (RwLock::default(), Mutex::default(), board.clone());
            apps.push(Arc::new(App { spec, key, current, told, status, board, processes }));
        }
        let listed = apps.clone();
        board.show(move || listed.iter().map(|app| (app.status(), app.key_needed())).collect());
        let told = apps.clone();
        let control = Control::listen(&folder, move |name, verb| {
            for app in told.iter().filter(|app| app.spec.name == name) {
                app.tell(verb);
            }
        })?;
        let tasks = apps
            .iter()
            .map(|app| {
                let bench = bench::Bench {
                    platform: platform.clone(),
                    work: work.path().to_owned(),
                    sockets: sockets.clone(),
                    url: url.to_owned(),
                    log: log::AppLog::new(&log_file(platform, &app.spec.name)),
                };
                tokio::spawn(supervise::supervise(app.clone(), bench, stopped.clone()))
            })
            .collect();
        Ok(Self { apps, stop, board, running: Mutex::new(Some(Running { tasks, control, hold, work })) })
    }

    /// The app of that name.
    pub fn find(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.iter().find(|app| app.spec.name == name)
    }

    /// All of them, in their order.
    pub fn all(&self) -> &[Arc<App>] {
        &self.apps
    }

    /// Asks something of an app; whether there is one of that name.
    pub fn tell(&self, name: &str, verb: Verb) -> bool {
        self.find(name).map(|app| app.tell(verb)).is_some()
    }

    /// Ends every process and waits for it.
    pub async fn stop(&self) {
        // No receiver means that all have ended.
        let _ = self.stop.send(true);
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { tasks, control, hold, work }) = running {
            drop(control);
            for task in tasks {
                // One that panicked has dropped its process, which ends it.
                let _ = task.await;
            }
            drop(hold);
            work.remove();
        }
        self.board.close();
    }
}

impl App {
    /// The key, where one is needed to open it when nobody is asked who they are.
    fn key_needed(&self) -> Option<String> {
        let everybody = self.spec.access == rondo_project::project::Audience::Viewer;
        (!everybody).then(|| self.key.clone())
    }

    /// The address that opens it to a browser.
    pub fn opens(&self, url: &str) -> String {
        opens(url, &self.spec.name, self.key_needed().as_deref())
    }

    fn note(&self, platform: &Platform, message: String) {
        let subject = format!("app {}", self.spec.name);
        platform.progress().report(Event::Note { subject, message });
    }

    /// Whether it is to be left alone.
    fn is_over(state: State) -> bool {
        matches!(state, State::Stopped | State::Failed)
    }
}

/// The address that opens an app to a browser.
pub fn opens(url: &str, name: &str, key: Option<&str>) -> String {
    let key = key.map(|key| format!("?rondo_key={key}")).unwrap_or_default();
    format!("{url}/apps/{name}/{key}")
}

/// Where the apps' logs are, and what other processes are told.
pub fn folder(platform: &Platform) -> PathBuf {
    platform.store().root().join("apps")
}

/// The log of an app.
pub fn log_file(platform: &Platform, name: &str) -> PathBuf {
    folder(platform).join(format!("{name}.log"))
}
