//! Which undeclared files a step has asked for in vain, by what it said last.
//!
//! The kernel refuses and does not tell us what; nearly every program says which file it could not open. A
//! word of its last lines counts where it names a file that is there and not declared: of the project, or
//! elsewhere on the machine where the step has no root file system of its own.

use std::path::{Component, Path, PathBuf};

use super::Surroundings;

/// How many are named.
const NAMED: usize = 5;

/// The undeclared files that these lines name; those of the project relative to it.
pub(super) fn named(surroundings: &Surroundings, elsewhere: bool, lines: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for word in lines.iter().flat_map(|line| words(line)) {
        let Some(place) = normal(&surroundings.folder.join(word)) else { continue };
        let name = match place.strip_prefix(&surroundings.project) {
            Ok(name) => name,
            Err(_) if elsewhere && !is_tool(surroundings, &place) => &place,
            Err(_) => continue,
        };
        let name = name.to_string_lossy().into_owned();
        let counts = place.is_file() && !surroundings.knows(&place) && !names.contains(&name);
        if counts && names.len() < NAMED {
            names.push(name);
        }
    }
    names
}

/// What programs and the C library say, in lower case, where there is no network, no name is resolved or
/// nothing is reached.
const NETWORK: [&str; 11] = [
    "network is unreachable",
    "name or service not known",
    "temporary failure in name resolution",
    "could not resolve host",
    "failed to resolve",
    "nodename nor servname",
    "failed to establish a new connection",
    "failed to connect",
    "connection refused",
    "urlopen error",
    "in create_connection",
];

/// Whether a line is a complaint about a network.
pub(super) fn speaks_of_network(line: &str) -> bool {
    let line = line.to_lowercase();
    NETWORK.iter().any(|words| line.contains(words))
}

/// Whether a place belongs to the system or to a tool, as it is written or as it is; the kernel's own files
/// and devices do.
fn is_tool(surroundings: &Surroundings, place: &Path) -> bool {
    let real = place.canonicalize();
    let of = |place: &Path| {
        let kernel = ["/proc", "/sys", "/dev"].iter().any(|kernel| place.starts_with(kernel));
        kernel || surroundings.knows(place) || surroundings.tools.iter().any(|tool| place.starts_with(tool))
    };
    of(place) || real.is_ok_and(|real| of(&real))
}

/// The words of a line that may be paths: what stands between quotes, and what between blanks.
fn words(line: &str) -> Vec<&str> {
    let quoted = ['\'', '"', '`'].into_iter().flat_map(|quote| line.split(quote).skip(1).step_by(2));
    let curled = line.split('‘').skip(1).filter_map(|rest| rest.split('’').next());
    let edges = |c: char| "'\"`‘’()[]<>,:;.!?".contains(c);
    let plain = line.split(char::is_whitespace).flat_map(|word| {
        [word.trim_matches(edges), word.trim_end_matches(edges), word.split(':').next().unwrap_or(word)]
    });
    quoted.chain(curled).chain(plain).filter(|word| !word.is_empty() && word.len() < 4096).collect()
}

/// A path without `.` and `..`; nothing where it leads out of the root.
pub(super) fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop().then_some(())?),
            part => normal.push(part),
        }
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undeclared_files_are_found_in_what_programs_say() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("data/my rows")).unwrap();
        for file in ["data/extra.csv", "data/my rows/a.csv", "train.py", "secret"] {
            std::fs::write(root.join(file), "x").unwrap();
        }
        let surroundings = Surroundings {
            project: root.to_owned(),
            folder: root.to_owned(),
            readable: vec![root.join("train.py")],
            tools: vec!["/etc".into()],
            ..Surroundings::default()
        };
        let said = |line: &str| named(&surroundings, true, &[line.to_owned()]);
        for line in [
            "cat: data/extra.csv: Permission denied",
            "PermissionError: [Errno 13] Permission denied: 'data/extra.csv'",
            "sh: 1: cannot open ./data/extra.csv: Permission denied",
            "cannot open file ‘data/extra.csv’: Permission denied",
            &format!("open {}/data/../data/extra.csv.", root.display()),
        ] {
            assert_eq!(said(line), ["data/extra.csv"], "{line}");
        }
        for line in ["curl: (6) Could not resolve host: a.org", "OSError: [Errno 101] Network is unreachable"]
        {
            assert!(speaks_of_network(line), "{line}");
        }
        assert!(!speaks_of_network("PermissionError: [Errno 13] Permission denied: 'data/extra.csv'"));
        assert_eq!(said("no `data/my rows/a.csv`"), ["data/my rows/a.csv"]);
        for line in ["File \"train.py\", line 1", "data", "../x /etc/passwd", "data/none.csv", ""] {
            assert!(said(line).is_empty(), "{line}");
        }
    }
    #[test]
    fn a_file_beyond_the_project_is_named_where_the_step_has_the_machines_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for folder in ["project", "tool"] {
            std::fs::create_dir(root.join(folder)).unwrap();
        }
        for file in ["rows.csv", "tool/lib.py"] {
            std::fs::write(root.join(file), "x").unwrap();
        }
        let surroundings = Surroundings {
            project: root.join("project"),
            folder: root.join("project"),
            tools: vec![root.join("tool")],
            ..Surroundings::default()
        };
        let rows = root.join("rows.csv").to_string_lossy().into_owned();
        let lines = [
            format!("  File \"{}\", line 3, in read", root.join("tool/lib.py").display()),
            "cannot read /proc/self/status".to_owned(),
            "cat: ../rows.csv: Permission denied".to_owned(),
            format!("PermissionError: [Errno 13] Permission denied: '{rows}'"),
        ];
        assert_eq!(named(&surroundings, true, &lines), [rows]);
        assert!(named(&surroundings, false, &lines).is_empty());
    }
}
