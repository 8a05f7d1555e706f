//! libFuzzer on one target, which `RONDO_FUZZ_TARGET` names; started by `run.sh`.
#![no_main]

use std::panic;
use std::sync::LazyLock;

use rondo_fuzz::Target;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("RONDO_FUZZ_TARGET").unwrap_or_default();
    let known: Vec<&str> = rondo_fuzz::TARGETS.iter().map(|target| target.name).collect();
    let target = rondo_fuzz::target(&name)
        .unwrap_or_else(|| panic!("RONDO_FUZZ_TARGET is `{name}`; the targets are {}", known.join(", ")));
    // The engine ends the process at every panic, also at those of foreign decoders that are caught where
    // they are called. One that comes out of a target ends it all the same.
    panic::set_hook(Box::new(|_| {}));
    target
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let target = *TARGET;
    let caught = panic::catch_unwind(|| (target.run)(bytes));
    if caught.is_err() {
        // Once more, so that it is said what it was.
        drop(panic::take_hook());
        (target.run)(bytes);
    }
});
