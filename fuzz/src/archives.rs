//! Archives from the network.

use std::io::{self, Write};

use rondo_data::fetch::Limits;
use rondo_data::fetch::archive::{self, Wanted};

/// Counts, and keeps nothing.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn take(ending: &str, bytes: &[u8]) {
    let Ok(mut file) = tempfile::Builder::new().suffix(ending).tempfile() else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    for wanted in [Wanted::Single, Wanted::At("a/b.csv")] {
        let mut out = Counted(0);
        let _taken = archive::take(file.path(), wanted, &mut out, Limits::default());
        let limits = Limits::default();
        let most = limits.free.max(limits.ratio.saturating_mul(bytes.len() as u64));
        assert!(out.0 <= most.saturating_add(1 << 20), "{} bytes out of {}", out.0, bytes.len());
    }
}

pub fn zip(bytes: &[u8]) {
    take(".zip", bytes);
}

pub fn tar(bytes: &[u8]) {
    take(".tar", bytes);
}

pub fn tgz(bytes: &[u8]) {
    take(".tar.gz", bytes);
}
