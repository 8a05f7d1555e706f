//! libFuzzer on one target, which `RONDO_FUZZ_TARGET` names; started by `run.sh`.
#![no_main]

use std::sync::LazyLock;

use rondo_fuzz::Target;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("RONDO_FUZZ_TARGET").unwrap_or_default();
    let known: Vec<&str> = rondo_fuzz::TARGETS.iter().map(|target| target.name).collect();
    rondo_fuzz::target(&name)
        .unwrap_or_else(|| panic!("RONDO_FUZZ_TARGET is `{name}`; the targets are {}", known.join(", ")))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
