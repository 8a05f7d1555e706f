//! `rondo app logs`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rondo_core::Code;
use serde_json::json;

use crate::apps::{log, log_file};
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::signals::stopped;

/// How often it is looked for more.
const LOOK: Duration = Duration::from_millis(200);

/// Show what an app says
#[derive(clap::Args)]
pub struct Args {
    /// Its name
    name: String,
    /// How many of the last lines
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    lines: usize,
    /// Go on showing what comes, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

/// Shows it.
///
/// # Errors
/// When there is no such app, or its log cannot be read.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    super::known(&platform, &args.name)?;
    let path = log_file(&platform, &args.name);
    let unreadable =
        |error: std::io::Error| Failure::new(Code::Io, format!("read `{}`: {error}", path.display()));
    let lines = log::last(&path, args.lines).map_err(unreadable)?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    session.printer().result(&json!({ "schema": 1, "app": args.name, "lines": lines }), &text);
    if !args.follow {
        return Ok(());
    }
    let stop = stopped();
    tokio::pin!(stop);
    let mut place = End::of(&path);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
        let more = place.more(&path);
        if !more.is_empty() {
            session.printer().out(&String::from_utf8_lossy(&more));
        }
    }
}

/// How far a file was read, and which file it was: a long log is turned over.
struct End {
    inode: u64,
    at: u64,
}

impl End {
    fn of(path: &Path) -> Self {
        let metadata = path.metadata().ok();
        let (inode, at) = metadata.map_or((0, 0), |metadata| (metadata.ino(), metadata.len()));
        Self { inode, at }
    }

    fn more(&mut self, path: &Path) -> Vec<u8> {
        let mut more = Vec::new();
        // What cannot be read now is read with the next look.
        let Ok(mut file) = File::open(path) else { return more };
        if let Ok(metadata) = file.metadata()
            && metadata.ino() != self.inode
        {
            (self.inode, self.at) = (metadata.ino(), 0);
        }
        if file.seek(SeekFrom::Start(self.at)).is_ok() && file.read_to_end(&mut more).is_ok() {
            self.at += more.len() as u64;
        }
        more
    }
}
