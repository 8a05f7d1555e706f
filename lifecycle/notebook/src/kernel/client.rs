//! Speaks the messaging protocol with one running kernel.
//!
//! A kernel is ready when it has answered `kernel_info_request` *and* something came on iopub: who subscribes
//! too late loses the first outputs. Death is seen by the process's end, not by missed heartbeats.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rondo_core::ports::Confinement;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use zeromq::{
    DealerRecvHalf, DealerSendHalf, DealerSocket, Socket, SocketOptions, SocketRecv, SocketSend, SubSocket,
    ZmqMessage,
};

use crate::error::{Error, LastWords};
use crate::kernel::connection::{Channel, Connection, Transport};
use crate::kernel::fork::ForkServer;
use crate::kernel::output::LineSink;
use crate::kernel::process::{self, Exit, Process};
use crate::kernel::spec::{InterruptMode, KernelSpec};
use crate::wire::Message;

/// How often a kernel that has not answered is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// How long a kernel that may not know Unix sockets gets to open one.
const IPC_PATIENCE: Duration = Duration::from_secs(10);
/// Lines of output in an error about the start.
const START_WORDS: usize = 12;
/// Messages that wait to be handled; more wait in the sockets.
const WAITING: usize = 1024;

/// Lets a crash (in native code, say) write its Python stack to the process's own stderr, which IPython's
/// kernel has put out of the way of what cells write. It names nothing in the notebook's own name space.
const TELL_CRASHES: &str = "(lambda fd, handler: handler.enable(fd) if isinstance(fd, int) else None)(\
    getattr(__import__('sys').stderr, '_original_stdstream_copy', None), __import__('faulthandler'));";

/// Lets IPython's kernel end itself; asked to exit alone, it waits a tenth of a second first.
const LEAVE: &str = "(lambda shell: (shell.ask_exit(), \
    shell.kernel.io_loop.add_callback(shell.kernel.io_loop.stop)))(get_ipython())";

/// How often it is looked whether a kernel that was started listens.
const LOOK: Duration = Duration::from_millis(3);

/// What a kernel is started with.
pub struct Launch<'a> {
    /// What starts it.
    pub spec: &'a KernelSpec,
    /// The folder it runs in: its own, this process stays where it is.
    pub cwd: &'a Path,
    /// Its variables.
    pub env: &'a BTreeMap<String, String>,
    /// Whether it has this process's own too; one that has not is never forked.
    pub inherits: bool,
    /// How long it may take to get ready.
    pub timeout: Duration,
    /// The most memory that it may take, in bytes.
    pub memory: Option<u64>,
    /// What it is kept to; such a kernel is never forked.
    pub confinement: Option<&'a dyn Confinement>,
    /// What it is forked from, if that is the same interpreter.
    pub fork: Option<&'a ForkServer>,
    /// Becomes true when the user wants to stop.
    pub cancel: watch::Receiver<bool>,
    /// Gets the lines that the process writes past its channels.
    pub lines: LineSink,
}

/// A message that came in.
#[derive(Debug)]
pub struct Incoming {
    /// Where.
    pub channel: Channel,
    /// What.
    pub message: Message,
}

/// A kernel that is ready.
pub struct Kernel {
    /// Its process; ended first when the kernel is dropped.
    pub process: Process,
    /// What came in, in the order of each channel.
    pub incoming: mpsc::Receiver<Incoming>,
    /// The content of its `kernel_info_reply`.
    pub info: Value,
    shell: DealerSendHalf,
    control: DealerSendHalf,
    session: String,
    interrupt: InterruptMode,
    _readers: JoinSet<()>,
    connection: Connection,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("process", &self.process).finish_non_exhaustive()
    }
}

/// Why a start failed.
enum Failure {
    Spawn(std::io::Error),
    Exited(Exit, Option<LastWords>),
    Silent,
    TimedOut(Option<LastWords>),
    Socket(String),
    Cancelled,
}

impl Kernel {
    /// Starts a kernel and waits until it is ready. A kernel that does not do with Unix sockets is started
    /// again on ports of the loopback address.
    ///
    /// # Errors
    /// [`Error::KernelStart`] with the kernel's last words; [`Error::Interrupted`] when cancelled.
    pub async fn launch(launch: Launch<'_>, notebook: &Path) -> Result<Self, Error> {
        let deadline = Instant::now() + launch.timeout;
        let start = |reason: String, last_words| Error::KernelStart {
            command: launch.spec.argv.join(" "),
            reason,
            last_words,
        };
        let mut ports_only = false;
        let mut clashes = 0;
        loop {
            let place = if ports_only { Connection::tcp() } else { Connection::new() };
            let place = place.map_err(|error| start(format!("no private folder for it: {error}"), None))?;
            let transport = place.transport();
            let failure = match Self::start(&launch, place, deadline).await {
                Ok(mut kernel) => {
                    if kernel.is_ipython() {
                        kernel.whisper(TELL_CRASHES).await;
                    }
                    return Ok(kernel);
                }
                Err(failure) => failure,
            };
            let unsure = transport == Transport::Ipc && !launch.spec.surely_ipc;
            match failure {
                Failure::Silent => ports_only = true,
                Failure::Exited(..) | Failure::Socket(_) if unsure => ports_only = true,
                Failure::Exited(_, Some(words))
                    if clashes < 3 && transport == Transport::Tcp && in_use(&words) =>
                {
                    clashes += 1;
                }
                Failure::Exited(exit, words) => {
                    return Err(start(format!("it {exit} before it was ready"), words));
                }
                Failure::TimedOut(words) => {
                    return Err(start(
                        format!("it was not ready after {} s", launch.timeout.as_secs_f64()),
                        words,
                    ));
                }
                Failure::Spawn(error) => return Err(start(error.to_string(), None)),
                Failure::Socket(reason) => return Err(start(reason, None)),
                Failure::Cancelled => return Err(Error::Interrupted { notebook: notebook.to_owned() }),
            }
        }
    }

    async fn start(launch: &Launch<'_>, mut place: Connection, deadline: Instant) -> Result<Self, Failure> {
        let argv = launch.spec.command(&place.file());
        let mut env = environment(launch, &place);
        let (name, value) = place.mark();
        let mark = format!("{name}={value}");
        env.insert(name, value);
        place.release();
        let fork = launch.fork.filter(|server| launch.spec.is_forked_by(server.python()));
        let fork = fork.filter(|_| launch.inherits && launch.confinement.is_none());
        let mut process = match fork {
            Some(server) => {
                let (folder, file) = (place.folder(), place.file());
                let forked = server.fork(folder, &file, launch.cwd, &env, mark, launch.lines.clone()).await;
                let mut process = forked.map_err(Failure::Spawn)?;
                process.limit_memory(launch.memory);
                process
            }
            None => {
                let own = [place.folder().to_owned()];
                let confinement = launch.confinement.map(|confinement| (confinement, &own[..]));
                let (cwd, inherits, memory) = (launch.cwd, launch.inherits, launch.memory);
                let (argv, env, mark) = (&argv, &env, Some(mark));
                let start = process::Start { argv, cwd, env, inherits, mark, memory, confinement };
                Process::spawn(start, launch.lines.clone()).map_err(Failure::Spawn)?
            }
        };
        place.belongs_to(process.id());
        match Self::reach(launch, &mut process, place, deadline).await {
            Ok(channels) => Ok(channels.with(process)),
            Err(failure) => {
                let words = process.exit().is_some() || matches!(failure, Failure::TimedOut(_));
                let words = if words { process.last_words(START_WORDS).await } else { None };
                // Before it is killed: that is no end of its own.
                let exit = process.exit();
                process.signal(libc::SIGKILL);
                Err(match (failure, exit) {
                    (Failure::Cancelled, _) => Failure::Cancelled,
                    (_, Some(exit)) => Failure::Exited(exit, words),
                    (Failure::TimedOut(_), None) => Failure::TimedOut(words),
                    (failure, None) => failure,
                })
            }
        }
    }

    /// Waits for the sockets, connects, and asks until the kernel answers.
    async fn reach(
        launch: &Launch<'_>,
        process: &mut Process,
        place: Connection,
        deadline: Instant,
    ) -> Result<Channels, Failure> {
        let mut cancel = launch.cancel.clone();
        let unsure = place.transport() == Transport::Ipc && !launch.spec.surely_ipc;
        let patience = if unsure { deadline.min(Instant::now() + IPC_PATIENCE) } else { deadline };
        tokio::select! {
            () = opened(&place) => {}
            exit = process.ended() => return Err(Failure::Exited(exit, None)),
            () = cancelled(&mut cancel) => return Err(Failure::Cancelled),
            () = sleep_until(patience) => {
                return Err(if unsure && patience < deadline { Failure::Silent } else { Failure::TimedOut(None) });
            }
        }
        let connecting = Channels::connect(place, launch.spec.interrupt);
        let mut channels = tokio::select! {
            channels = connecting => channels.map_err(|error| Failure::Socket(error.to_string()))?,
            exit = process.ended() => return Err(Failure::Exited(exit, None)),
            () = cancelled(&mut cancel) => return Err(Failure::Cancelled),
            () = sleep_until(deadline) => return Err(Failure::TimedOut(None)),
        };
        let mut again = tokio::time::interval(ASK_AGAIN);
        let mut heard = false;
        loop {
            tokio::select! {
                _ = again.tick() => {
                    let ask = Message::request("kernel_info_request", &channels.session, json!({}));
                    // Where sending fails the process is about to end, and that is seen here.
                    let _ = send(&mut channels.shell, &ask, channels.place.key()).await;
                }
                Some(Incoming { channel, message }) = channels.incoming.recv() => {
                    heard |= channel == Channel::Iopub;
                    if message.kind() == "kernel_info_reply" {
                        channels.info = Some(message.content);
                    }
                    if heard && channels.info.is_some() {
                        return Ok(channels);
                    }
                }
                exit = process.ended() => return Err(Failure::Exited(exit, None)),
                () = cancelled(&mut cancel) => return Err(Failure::Cancelled),
                () = sleep_until(deadline) => return Err(Failure::TimedOut(None)),
            }
        }
    }

    /// Whether somebody still listens on its channel for requests.
    pub async fn is_listening(&self) -> bool {
        self.connection.is_open(Channel::Shell).await
    }

    /// Sends a request to run code; its id, to which the answers refer.
    ///
    /// # Errors
    /// When the channel is closed.
    pub async fn run(&mut self, code: &str) -> Result<String, Error> {
        let content = json!({
            "code": code,
            "silent": false,
            "store_history": true,
            "user_expressions": {},
            "allow_stdin": false,
            // Cells are sent one by one: nothing waits that would have to be dropped after an error.
            "stop_on_error": false,
        });
        let request = Message::request("execute_request", &self.session, content);
        let id = request.id().to_owned();
        send(&mut self.shell, &request, self.connection.key())
            .await
            .map_err(|reason| Error::Channel { channel: "shell", reason })?;
        Ok(id)
    }

    /// Sets a part of a widget's state, before what is sent next runs. A kernel that cannot be reached is found out
    /// by that.
    pub async fn tell_widget(&mut self, id: &str, state: Value) {
        let data = json!({ "method": "update", "state": state, "buffer_paths": [] });
        let message = Message::request("comm_msg", &self.session, json!({ "comm_id": id, "data": data }));
        let _ = send(&mut self.shell, &message, self.connection.key()).await;
    }

    /// Interrupts the code that runs.
    pub async fn interrupt(&mut self) {
        match self.interrupt {
            InterruptMode::Signal => self.process.signal(libc::SIGINT),
            InterruptMode::Message => self.control("interrupt_request", json!({})).await,
        }
    }

    /// Lets the kernel end itself, so that it runs what its code left for the exit (files that are closed
    /// then, clients that flush); after the grace it is made to.
    ///
    /// IPython's kernel is asked by code: its answer to `shutdown_request` waits up to half a minute for
    /// child processes that have ended and that nobody has waited for, as joblib leaves them.
    /// The names of what it had left running.
    pub async fn shut_down(mut self, grace: Duration) -> Vec<String> {
        if self.is_ipython() {
            self.whisper(LEAVE).await;
        } else {
            self.control("shutdown_request", json!({ "restart": false })).await;
        }
        let Self { process, incoming, .. } = &mut self;
        let drained = async { while incoming.recv().await.is_some() {} };
        tokio::select! {
            _ = process.ended() => return process.left(),
            () = async { drained.await; std::future::pending().await } => {}
            () = sleep(grace) => {}
        }
        process.end(Duration::from_secs(1)).await;
        process.left()
    }

    /// Ends the kernel without asking; the names of what it had left running.
    pub async fn kill(self) -> Vec<String> {
        self.process.signal(libc::SIGKILL);
        let _ = tokio::time::timeout(Duration::from_secs(5), self.process.ended()).await;
        self.process.left()
    }

    fn is_ipython(&self) -> bool {
        self.info.get("implementation").is_some_and(|name| name == "ipython")
    }

    /// Sends code that leaves no trace in the notebook. A kernel that cannot be reached is found out by what
    /// comes next.
    async fn whisper(&mut self, code: &str) {
        let content = json!({ "code": code, "silent": true, "store_history": false, "allow_stdin": false });
        let request = Message::request("execute_request", &self.session, content);
        let _ = send(&mut self.shell, &request, self.connection.key()).await;
    }

    async fn control(&mut self, kind: &str, content: Value) {
        let request = Message::request(kind, &self.session, content);
        // A kernel that cannot be reached is ended by the caller's next means.
        let _ = send(&mut self.control, &request, self.connection.key()).await;
    }
}

/// The variables that are the kernel's own.
fn environment(launch: &Launch<'_>, place: &Connection) -> BTreeMap<String, String> {
    let mut env = launch.spec.env.clone();
    // The user's own IPython start-up files are no part of a reproducible run.
    env.insert("IPYTHONDIR".to_owned(), place.folder().join("ipython").to_string_lossy().into_owned());
    env.insert("PYDEVD_DISABLE_FILE_VALIDATION".to_owned(), "1".to_owned());
    // With it IPython's kernel ends itself when this process is killed.
    env.insert("JPY_PARENT_PID".to_owned(), std::process::id().to_string());
    env.extend(launch.env.iter().map(|(key, value)| (key.clone(), value.clone())));
    env
}

/// Waits until somebody listens on the channels that are used.
async fn opened(place: &Connection) {
    for channel in [Channel::Shell, Channel::Control, Channel::Iopub] {
        while !place.is_open(channel).await {
            sleep(LOOK).await;
        }
    }
}

fn in_use(words: &LastWords) -> bool {
    words.0.iter().any(|line| line.to_lowercase().contains("in use"))
}

/// Waits until the user wants to stop; for ever, where nobody can say so any more.
pub async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|wanted| *wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Channels that are connected, before their kernel is ready.
struct Channels {
    place: Connection,
    incoming: mpsc::Receiver<Incoming>,
    shell: DealerSendHalf,
    control: DealerSendHalf,
    session: String,
    interrupt: InterruptMode,
    readers: JoinSet<()>,
    info: Option<Value>,
}

impl Channels {
    async fn connect(place: Connection, interrupt: InterruptMode) -> Result<Self, zeromq::ZmqError> {
        let (tell, incoming) = mpsc::channel(WAITING);
        let key: Arc<[u8]> = place.key().into();
        let mut readers = JoinSet::new();
        let mut iopub = SubSocket::new();
        iopub.connect(&place.endpoint(Channel::Iopub)).await?;
        iopub.subscribe("").await?;
        readers.spawn(read(iopub, Channel::Iopub, key.clone(), tell.clone()));
        let (shell, replies) = dealer(&place, Channel::Shell).await?;
        readers.spawn(read(replies, Channel::Shell, key.clone(), tell.clone()));
        let (control, replies) = dealer(&place, Channel::Control).await?;
        readers.spawn(read(replies, Channel::Control, key, tell));
        let session = hex::encode(rand::random::<[u8; 16]>());
        Ok(Self { place, incoming, shell, control, session, interrupt, readers, info: None })
    }

    fn with(self, process: Process) -> Kernel {
        Kernel {
            process,
            incoming: self.incoming,
            info: self.info.unwrap_or(Value::Null),
            shell: self.shell,
            control: self.control,
            session: self.session,
            interrupt: self.interrupt,
            _readers: self.readers,
            connection: self.place,
        }
    }
}

async fn dealer(
    place: &Connection,
    channel: Channel,
) -> Result<(DealerSendHalf, DealerRecvHalf), zeromq::ZmqError> {
    let mut options = SocketOptions::default();
    options.connect_timeout(Duration::from_secs(10));
    let mut socket = DealerSocket::with_options(options);
    socket.connect(&place.endpoint(channel)).await?;
    Ok(socket.split())
}

/// Hands on what comes in on one channel. What is no message, or not signed with our key, is dropped.
async fn read(mut socket: impl SocketRecv, channel: Channel, key: Arc<[u8]>, tell: mpsc::Sender<Incoming>) {
    let mut failures = 0;
    while failures < 50 {
        match socket.recv().await {
            Ok(frames) => {
                failures = 0;
                if let Ok(message) = Message::decode(&frames.into_vec(), &key)
                    && tell.send(Incoming { channel, message }).await.is_err()
                {
                    return;
                }
            }
            Err(_) => {
                failures += 1;
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn send(socket: &mut DealerSendHalf, message: &Message, key: &[u8]) -> Result<(), String> {
    let frames = ZmqMessage::try_from(message.encode(key)).map_err(|error| error.to_string())?;
    socket.send(frames).await.map_err(|error| error.to_string())
}
