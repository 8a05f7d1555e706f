//! The signals by which a command is asked to stop: the one place that hears them.

use std::mem::MaybeUninit;
use std::ptr;

use futures::future::OptionFuture;
use rondo_core::Code;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Waits until the command is to stop: for Ctrl-C, SIGTERM, or the end of its terminal (SIGHUP), unless it was
/// started to outlive that. They are heard from the call on.
pub fn stopped() -> impl Future<Output = ()> {
    let asked = insisted();
    let hung_up = (!is_ignored(SignalKind::hangup())).then(|| signal(SignalKind::hangup()));
    async {
        tokio::select! {
            () = asked => {}
            Some(()) = OptionFuture::from(hung_up.map(heard)) => {}
        }
    }
}

/// Waits for Ctrl-C or SIGTERM, for those who were asked already: a terminal's end is told more than once, by the
/// shell and by the system.
pub fn insisted() -> impl Future<Output = ()> {
    let (interrupted, terminated) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async {
        tokio::select! {
            () = heard(interrupted) => {}
            () = heard(terminated) => {}
        }
    }
}

/// Becomes true when the command is to stop. Whoever insists ends the process.
pub fn cancelled() -> watch::Receiver<bool> {
    let (cancel, receiver) = watch::channel(false);
    tokio::spawn(async move {
        stopped().await;
        // Nobody listening any more is as good.
        let _ = cancel.send(true);
        tokio::select! {
            () = cancel.closed() => {}
            // Whoever asks twice does not want to wait for steps that do not listen: their guard ends them,
            // and the next command that looks at runs closes what this one leaves open.
            () = insisted() => {
                super::output::last_words("stopped at once: what did not listen is killed, and where runs are \
                                           left open, the next `rondo runs` or `rondo run` closes them");
                std::process::exit(i32::from(Code::Interrupted.kind().exit_code()))
            }
        }
    });
    receiver
}

/// Waits for a signal; where it has no handler the other ones have to do.
async fn heard(signal: std::io::Result<Signal>) {
    match signal {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}

/// Whether this process was started with a signal ignored, as `nohup` does.
fn is_ignored(signal: SignalKind) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the old one is only written, to a place that is as large; all zeros are one too.
    unsafe {
        libc::sigaction(signal.as_raw_value(), ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}
