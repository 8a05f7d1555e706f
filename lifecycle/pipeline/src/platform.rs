//! What the machine is, as far as results may depend on it.

use std::path::Path;
use std::sync::LazyLock;

/// Operating system, processor and C library, such as `linux-x86_64-gnu`: a part of every step's key.
pub fn platform() -> String {
    static PLATFORM: LazyLock<String> =
        LazyLock::new(|| format!("{}-{}{}", std::env::consts::OS, std::env::consts::ARCH, libc_suffix()));
    PLATFORM.clone()
}

/// Which C library the machine's own programs use: that of the steps, not the one Rondo was linked with.
fn libc_suffix() -> &'static str {
    if std::env::consts::OS != "linux" {
        return "";
    }
    let musl = format!("/lib/ld-musl-{}.so.1", std::env::consts::ARCH);
    if Path::new(&musl).exists() { "-musl" } else { "-gnu" }
}
