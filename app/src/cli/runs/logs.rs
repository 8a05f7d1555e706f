//! `rondo runs logs`.

use std::collections::VecDeque;

use rondo_pipeline::logs::lines::{Line, Lines};
use rondo_pipeline::logs::{Follower, LOOK, Said};
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::signals::stopped;

/// Show what a run says, also while another process has it under way
#[derive(clap::Args)]
pub struct Args {
    /// The run's id, or the first characters of it; of a pipeline's or a sweep's run its steps one by one
    run: String,

    /// Only so many of the last lines
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,

    /// Go on showing what comes until the run has ended, or Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

/// Shows it.
///
/// # Errors
/// When there is no such run, or its log cannot be read.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.looking().await?;
    let run = platform.find_run(&args.run).await?;
    let mut follower = Follower::open(platform.store(), &run, None).await?;
    let mut shown = Shown {
        session,
        lines: Lines::default(),
        step: None,
        last: args.lines.map(|most| (most, VecDeque::new())),
        all: String::new(),
        // One JSON text is made of all lines; who follows gets a text a line.
        gathers: session.printer().json() && !args.follow,
    };
    let stop = stopped();
    tokio::pin!(stop);
    loop {
        match follower.next().await? {
            Said::Begins { name, .. } => {
                shown.end_line();
                shown.step = Some(name);
            }
            Said::Bytes { from, bytes } => {
                for line in shown.lines.take(from, &bytes) {
                    shown.say(line);
                }
            }
            Said::LeftOut { bytes, .. } => {
                shown.end_line();
                shown.tell(format!("[{bytes} bytes were left out here]"), false);
            }
            Said::Waits if args.follow => {
                shown.caught_up();
                tokio::select! {
                    () = &mut stop => return Ok(()),
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
            Said::Waits | Said::Ends => break,
        }
    }
    shown.end_line();
    shown.caught_up();
    if shown.gathers {
        let value = json!({ "schema": 1, "run": run.id, "state": run.state.status(), "log": shown.all });
        session.printer().result(&value, "");
    }
    Ok(())
}

struct Shown<'a> {
    session: &'a Session,
    lines: Lines,
    step: Option<String>,
    /// The last lines, as long as only those are wanted and the end has not been come to.
    last: Option<(usize, VecDeque<String>)>,
    all: String,
    gathers: bool,
}

impl Shown<'_> {
    fn say(&mut self, line: Line) {
        self.tell(line.text, line.goes_on);
    }

    fn end_line(&mut self) {
        if let Some(line) = self.lines.flush() {
            self.say(line);
        }
    }

    fn tell(&mut self, text: String, goes_on: bool) {
        let json = self.session.printer().json() && !self.gathers;
        let end = if goes_on && !json { "" } else { "\n" };
        let line = match (&self.step, json) {
            (step, true) => format!("{}{end}", json!({ "step": step, "line": text })),
            (Some(step), false) => format!("{step:<12} | {text}{end}"),
            (None, false) => format!("{text}{end}"),
        };
        match &mut self.last {
            Some((most, last)) => {
                last.push_back(line);
                while last.len() > *most {
                    last.pop_front();
                }
            }
            None => self.put(&line),
        }
    }

    /// Shows the last lines, once all that was said before is known; from then on every line.
    fn caught_up(&mut self) {
        for line in self.last.take().into_iter().flat_map(|(_, last)| last) {
            self.put(&line);
        }
    }

    fn put(&mut self, line: &str) {
        if self.gathers {
            self.all.push_str(line);
        } else {
            self.session.printer().out(line);
        }
    }
}
