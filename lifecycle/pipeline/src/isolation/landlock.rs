//! The level `landlock`: rules that the kernel holds a process and all its children to.
//!
//! The rules are put together before the process is forked; between fork and exec it only binds itself to
//! them, with two system calls that are safe there.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, NetPort, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, Scope, path_beneath_rules,
};

use super::Surroundings;

/// The newest version whose rules were tried; an older kernel holds what it can.
const KNOWN: ABI = ABI::V7;

/// Asks the kernel for a version instead of a ruleset.
const ASK_VERSION: libc::c_uint = 1;

/// The version of the kernel's Landlock, or why it has none.
pub(super) fn version() -> Result<i32, String> {
    // SAFETY: with this flag and without a structure the call only answers a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, ASK_VERSION)
    };
    match i32::try_from(version) {
        Ok(version) if version > 0 => Ok(version),
        Ok(_) | Err(_) => {
            let error = io::Error::last_os_error();
            Err(match error.raw_os_error() {
                Some(libc::EOPNOTSUPP) => {
                    "this kernel has Landlock switched off: add `landlock` to `lsm=` at its start".to_owned()
                }
                _ => "this kernel has no Landlock (Linux 5.13 or newer is needed)".to_owned(),
            })
        }
    }
}

/// Binds the process that a command will be to what it may see. `own` are further places that are its own.
pub(super) fn confine(command: &mut Command, surroundings: &Surroundings, own: &[PathBuf]) -> io::Result<()> {
    let rules: Option<OwnedFd> = ruleset(surroundings, own).map_err(io::Error::other)?.into();
    let rules = rules.ok_or_else(|| io::Error::other("this kernel has no Landlock"))?;
    // SAFETY: the closure makes two system calls and allocates nothing; the descriptor is its own.
    unsafe {
        command.pre_exec(move || {
            // Without this, a program with more rights than its caller could be started.
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) != 0
            {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    Ok(())
}

fn ruleset(surroundings: &Surroundings, own: &[PathBuf]) -> Result<RulesetCreated, RulesetError> {
    let all = AccessFs::from_all(KNOWN);
    let read = AccessFs::from_read(KNOWN);
    let devices = read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let mut rules = Ruleset::default().handle_access(all)?.scope(Scope::from_all(KNOWN))?;
    if !surroundings.network {
        rules = rules.handle_access(AccessNet::from_all(KNOWN))?;
    }
    let mut rules = rules
        .create()?
        .add_rules(path_beneath_rules(surroundings.system(), read))?
        .add_rules(path_beneath_rules(["/proc", "/sys"], read))?
        .add_rules(path_beneath_rules(["/dev"], devices))?
        .add_rules(path_beneath_rules(["/dev/shm"], all))?
        .add_rules(path_beneath_rules(&surroundings.readable, read))?
        .add_rules(path_beneath_rules(&surroundings.linked, read & !make_list()))?
        .add_rules(path_beneath_rules(&surroundings.listed, make_list()))?
        .add_rules(path_beneath_rules(surroundings.writable.iter().chain(own), all))?;
    if let Some(port) = surroundings.tracking.filter(|_| !surroundings.network) {
        rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    Ok(rules)
}

/// The right to see the names in a folder.
fn make_list() -> ::landlock::BitFlags<AccessFs> {
    AccessFs::ReadDir.into()
}
