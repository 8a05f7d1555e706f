//! How a process ended, in words: what a person wants to read first after a failure.

use std::time::Duration;

use rondo_core::Explain;
use rondo_core::run::Exit;

use super::outputs::chain;
use super::process::{Ended, Stopped};

/// How a process ended. `memory` tells whether the kernel has ended processes for lack of memory meanwhile,
/// where the system says; it is asked only where that matters.
pub fn exit(ended: &Ended, limit: Option<Duration>, memory: impl Fn() -> Option<bool>) -> Exit {
    let cause = match (ended.stopped, ended.code, ended.signal) {
        (Some(Stopped::TimedOut), _, _) => Some(too_long(limit)),
        (Some(Stopped::Cancelled), _, _) => Some("it was interrupted".to_owned()),
        (None, Some(0), _) => None,
        (None, Some(126), _) => Some("it exited with code 126: a command cannot be executed".to_owned()),
        (None, Some(127), _) => Some("it exited with code 127: a command was not found".to_owned()),
        (None, Some(code), _) => Some(match code.checked_sub(128).and_then(name) {
            Some("SIGKILL") => format!(
                "it exited with code {code}: a program of it was killed (SIGKILL){}",
                because(memory(), ended.peak_memory)
            ),
            Some(signal) => format!("it exited with code {code}: a program of it was ended by {signal}"),
            None => format!("it exited with code {code}"),
        }),
        (None, None, Some(libc::SIGKILL)) => {
            Some(format!("it was killed (SIGKILL){}", because(memory(), ended.peak_memory)))
        }
        (None, None, signal) => {
            let signal = signal.unwrap_or(0);
            let named = name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned);
            Some(format!("it was ended by {named}"))
        }
    };
    Exit {
        code: ended.code,
        signal: ended.signal,
        cause,
        hints: Vec::new(),
        cpu_seconds: Some(ended.cpu_seconds),
        peak_memory: Some(ended.peak_memory),
    }
}

/// How what never was a process of its own has failed.
pub fn failed(cause: impl Into<String>) -> Exit {
    Exit { cause: Some(cause.into()), ..Exit::default() }
}

/// The same by an error, with what to do about it.
pub fn failed_by(error: &dyn Explain) -> Exit {
    Exit { hints: error.hints(), ..failed(chain(error)) }
}

/// What is known of why something was killed.
fn because(memory: Option<bool>, peak: u64) -> String {
    let peak = peak as f64 / 1e6;
    match memory {
        Some(true) => format!(": the machine ran out of memory; it had {peak:.0} MB at its peak"),
        Some(false) => " by another program; the machine did not run out of memory".to_owned(),
        None => format!(": perhaps the machine ran out of memory; it had {peak:.0} MB at its peak"),
    }
}

/// The cause of a step that was stopped at its time limit.
pub fn too_long(limit: Option<Duration>) -> String {
    format!("it took longer than {:?}", limit.unwrap_or_default())
}

/// The name of a signal.
pub const fn name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(code: Option<i32>, signal: Option<i32>, memory: Option<bool>) -> Option<String> {
        let ended =
            Ended { code, signal, cpu_seconds: 0.0, peak_memory: 5_000_000, stopped: None, left: Vec::new() };
        exit(&ended, None, || memory).cause
    }

    #[test]
    fn causes_name_signals_and_say_what_is_known_of_memory() {
        assert_eq!(cause(Some(0), None, None), None);
        assert_eq!(cause(Some(3), None, None).unwrap(), "it exited with code 3");
        assert_eq!(cause(None, Some(libc::SIGSEGV), None).unwrap(), "it was ended by SIGSEGV");
        assert_eq!(
            cause(Some(139), None, None).unwrap(),
            "it exited with code 139: a program of it was ended by SIGSEGV"
        );
        assert_eq!(
            cause(None, Some(9), Some(true)).unwrap(),
            "it was killed (SIGKILL): the machine ran out of memory; it had 5 MB at its peak"
        );
        assert!(cause(Some(137), None, Some(false)).unwrap().ends_with("did not run out of memory"));
    }
}
