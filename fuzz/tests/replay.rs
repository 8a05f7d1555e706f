//! Every seed and every input that once was a fault, and small damages of each, without the engine.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use rondo_fuzz::{TARGETS, Target};

/// Damaged copies of each input. The engine tries millions; these hold the ground between its runs.
const DAMAGES: u64 = 60;

/// Inputs above this size are replayed, and not damaged.
const SMALL: usize = 64 << 10;

fn inputs(target: &Target) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = ["seeds", "regressions"]
        .iter()
        .filter_map(|kind| {
            fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target.name)).ok()
        })
        .flat_map(|folder| folder.flatten().map(|entry| entry.path()))
        .collect();
    paths.sort();
    paths
}

/// A number that looks random and is the same on every machine (SplitMix64).
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Flips, cuts, doubles or overwrites a part.
fn damaged(bytes: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=draw(state) % 3 {
        if bytes.is_empty() {
            return bytes;
        }
        let at = (draw(state) % bytes.len() as u64) as usize;
        let length = (draw(state) % 16) as usize;
        let end = (at + length).min(bytes.len());
        match draw(state) % 5 {
            0 => bytes[at] ^= 1 << (draw(state) % 8),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, bytes[at..end].to_vec()).count()),
            3 => drop(bytes.drain(at..end).count()),
            _ => bytes[at..end].fill([0, 0xff, b'"', b'\n', b'9'][(draw(state) % 5) as usize]),
        }
    }
    bytes
}

fn replay(target: &Target) {
    let paths = inputs(target);
    assert!(!paths.is_empty(), "the target `{}` has no seed", target.name);
    for path in paths {
        let bytes = fs::read(&path).expect("read a seed");
        let mut state = bytes.len() as u64;
        let damages = if bytes.len() <= SMALL { DAMAGES } else { 0 };
        for round in 0..=damages {
            let input = if round == 0 { bytes.clone() } else { damaged(&bytes, &mut state) };
            if panic::catch_unwind(|| (target.run)(&input)).is_err() {
                let kept = std::env::temp_dir().join(format!("rondo-fuzz-{}-{round}", target.name));
                fs::write(&kept, &input).expect("keep the input");
                panic!(
                    "`{}` on {} damaged {round} times: kept as {}",
                    target.name,
                    path.display(),
                    kept.display()
                );
            }
        }
    }
}

macro_rules! each {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            replay(rondo_fuzz::target(stringify!($name)).expect("a target of that name"));
        })*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),*];
            let targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(targets, replayed);
        }
    };
}

each!(
    project, package, lock, condition, source, csv, json, parquet, arrow, sheet, ods, xlsx, xlsb, studio,
    cvat, profile, folder, checks, suite, rule, zip, tar, tgz, listing, segment, pack, note, notebook,
    percent, filter, onnx,
);
