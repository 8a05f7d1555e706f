//! The command line: nouns are the stages, verbs are ordinary English, one verb one file.

pub mod admin;
pub mod app;
pub mod completions;
pub mod data;
pub mod doctor;
pub mod export;
pub mod import;
pub mod models;
pub mod monitor;
pub mod new;
pub mod notebook;
pub mod package;
pub mod pipeline;
pub mod replay;
pub mod report;
pub mod repro;
pub mod run;
pub mod runs;
pub mod serve;
pub mod server;
pub mod status;
pub mod trace;
pub mod up;
pub mod why;

mod doorway;
pub mod failure;
pub mod output;
mod session;
mod signals;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use rondo_core::Code;
use tokio::signal::unix::{SignalKind, signal};

use failure::{Failure, Outcome};
use output::Printer;
pub use session::Session;

const EXIT_CODES: &str = "\
Exit codes:
  0 ok · 1 internal · 2 usage or invalid project · 3 not found · 4 conflict · 5 denied
  6 the verdict is negative (check, gate, drift, repro) · 7 a step failed · 8 unavailable · 130 interrupted";

/// Carries a machine-learning project through its whole life, and round again.
///
/// Business problem → data → pipeline → tracking → registry → serving → monitoring → retraining: one
/// binary, one project file (`rondo.yaml`), nothing else to install.
#[derive(Parser)]
#[command(name = "rondo", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(clap::Args, Clone)]
pub struct Global {
    /// Work on the project in this folder instead of the one here or above
    #[arg(short = 'C', long, global = true, value_name = "DIR", env = "RONDO_PROJECT")]
    project: Option<PathBuf>,

    /// Print JSON on standard output, and only JSON
    #[arg(long, global = true)]
    json: bool,

    /// Print results and errors only
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new project
    New(new::Args),
    /// Show the loop: each stage's state at a glance
    Status(status::Args),

    /// Data: add, check, profile and compare dataset versions
    #[command(subcommand)]
    Data(data::Verb),

    /// Run the pipeline: the steps that are not up to date, or the ones named
    Run(run::Args),
    /// Say why steps would run, or would not
    Why(why::Args),
    /// Pipeline: show its steps and their state
    #[command(subcommand)]
    Pipeline(pipeline::Verb),
    /// Packages: make, check, test and look at reusable steps
    #[command(subcommand)]
    Package(package::Verb),
    /// Notebooks: run with parameters, look into them, export them
    #[command(subcommand)]
    Notebook(notebook::Verb),

    /// Runs: what was done, with which result
    #[command(subcommand)]
    Runs(runs::Verb),

    /// Models: versions, aliases, promotion and rollback
    #[command(subcommand)]
    Models(models::Verb),

    /// Serve a model file over HTTP, without a project
    Serve(serve::Args),
    /// Bring the project up: server, endpoints, monitors, triggers, until Ctrl-C
    Up(up::Args),
    /// Apps of the project that is up: how they stand, what they say; start, stop, restart
    #[command(subcommand)]
    App(app::Verb),
    /// Send recorded events through an endpoint in the order of their time, with the truth as it came
    Replay(replay::Args),

    /// Monitoring: windows, drift, performance and alerts of an endpoint
    #[command(subcommand)]
    Monitor(monitor::Verb),
    /// Write the loop's report: performance by month, drift, alerts, promotions, lineage
    Report(report::Args),
    /// Trace a prediction, model version, dataset version or run back to where it came from
    Trace(trace::Args),
    /// Make a run again from what it recorded, and compare what comes out, digest by digest
    Repro(repro::Args),

    /// Run the tracking server and registry alone, for MLflow clients
    Server(server::Args),
    /// Look after a store: users and permissions, clean up, back up, restore
    #[command(subcommand)]
    Admin(admin::Verb),
    /// Bring in everything of an MLflow store: its database or its `mlruns` folder, artifacts included
    Import(import::Args),
    /// Write the store in the form of another program, such as MLflow's folder of files
    Export(export::Args),
    /// Look over the machine: what is there, what is missing, what to do
    Doctor(doctor::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let printer = Printer::new(cli.global.json, cli.global.quiet);
    // Half of the cores: what takes long (writes, searches, hashing, inference) has threads of its own, and
    // a worker more is one to be woken and found idle with each small request (measured on two cores: a
    // tenth of its time).
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads((cores / 2).max(1)).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let session = Session::new(cli.global, printer.clone());
            let outcome = runtime.block_on(async {
                // A file that may not grow (`ulimit -f`) is an error like a full disk: unheard, its signal would
                // end the process. Processes that are started have it as it was.
                let _heard = signal(SignalKind::from_raw(libc::SIGXFSZ));
                let outcome = Box::pin(dispatch(cli.command, &session)).await;
                session.close().await;
                outcome
            });
            let outcome = outcome.map_err(|failure| session.located(failure)).and_then(|()| whole(&printer));
            // What still runs in the background has nothing left to do.
            runtime.shutdown_timeout(std::time::Duration::from_millis(500));
            outcome
        }
        Err(error) => Err(Failure::new(Code::Internal, format!("start the run time: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if printer.json() && !failure.is_said() {
                printer.out(&format!("{}\n", failure.json()));
            }
            if !failure.is_said() && (!printer.json() || printer.lost().is_some()) {
                printer.err(&failure.text());
            }
            failure.exit()
        }
    }
}

/// That an answer is whole: half of one is worse than none, and its reader cannot tell.
fn whole(printer: &Printer) -> Outcome {
    match printer.lost() {
        Some(error) => {
            let code = match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Code::DiskFull,
                _ => Code::Io,
            };
            Err(Failure::new(code, format!("write to standard output: {error}")))
        }
        None => Ok(()),
    }
}

/// The command line's grammar, for completions and the reference.
pub fn grammar() -> clap::Command {
    Cli::command()
}

fn usage(error: &clap::Error) -> ExitCode {
    // Help and version are no errors; either way clap chooses the stream.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(Code::Usage.kind().exit_code()) } else { ExitCode::SUCCESS }
}

async fn dispatch(command: Command, session: &Session) -> Outcome {
    match command {
        Command::New(args) => new::run(&args, session),
        Command::Status(args) => status::run(&args, session).await,
        Command::Data(verb) => data::run(verb, session).await,
        Command::Run(args) => run::run(args, session).await,
        Command::Why(args) => why::run(&args, session).await,
        Command::Pipeline(verb) => pipeline::run(verb, session).await,
        Command::Package(verb) => package::run(verb, session).await,
        Command::Notebook(verb) => notebook::run(verb, session).await,
        Command::Runs(verb) => runs::run(verb, session).await,
        Command::Models(verb) => models::run(verb, session).await,
        Command::Serve(args) => serve::run(args, session).await,
        Command::Up(args) => up::run(args, session).await,
        Command::App(verb) => app::run(verb, session).await,
        Command::Replay(args) => replay::run(args, session).await,
        Command::Monitor(verb) => monitor::run(verb, session).await,
        Command::Report(args) => report::run(args, session).await,
        Command::Trace(args) => trace::run(&args, session).await,
        Command::Repro(args) => repro::run(args, session).await,
        Command::Server(args) => server::run(args, session).await,
        Command::Admin(verb) => admin::run(verb, session).await,
        Command::Import(args) => import::run(args, session).await,
        Command::Export(args) => export::run(args, session).await,
        Command::Doctor(args) => doctor::run(&args, session).await,
        Command::Completions(args) => completions::run(&args, session),
    }
}
