//! Where a program of the machine is.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The program of that name in a `PATH`.
pub fn find_program(name: &str, path: &str) -> Option<PathBuf> {
    path.split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| Path::new(folder).join(name))
        .find(|file| is_program(file))
}

/// Whether a file is there and may be executed.
pub fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The `PATH` of an environment; a usual one where it has none.
pub fn search_path(variables: &BTreeMap<String, String>) -> &str {
    variables.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_the_order_of_the_path() {
        assert_eq!(find_program("sh", "/nowhere::/bin"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find_program("no-such-program", "/bin:/usr/bin"), None);
    }
}
