//! A database that this process can write nothing beside: on a read-only mount, or in a folder that it has no
//! right to. To read one with a write-ahead log SQLite writes an index of that log. Where no log is there
//! either, nobody is writing, all is in the one file, and it can be read as one that does not change.

use std::fs::symlink_metadata;
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Access, access};

/// Whether the database in a store's folder is such a one.
pub(super) fn is_frozen(root: &Path) -> bool {
    let log = symlink_metadata(root.join("metadata.db-wal"));
    access(root, Access::WRITE_OK).is_err() && log.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// The address by which SQLite opens a file as one that does not change.
pub(super) fn address(file: &Path) -> String {
    let mut address = "file:".to_owned();
    for byte in file.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'_' | b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                address.push(char::from(*byte));
            }
            other => address.push_str(&format!("%{other:02X}")),
        }
    }
    address + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn any_path_has_an_address() {
        assert_eq!(address(Path::new("/a b/c?d#é/m.db")), "file:/a%20b/c%3Fd%23%C3%A9/m.db?immutable=1");
    }

    #[test]
    fn a_folder_that_can_be_written_or_has_a_log_is_not_frozen() {
        let folder = tempfile::tempdir().unwrap();
        let with_mode = |mode| {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            is_frozen(folder.path())
        };
        assert!(!with_mode(0o700));
        let frozen = with_mode(0o500);
        // A superuser may write in every folder.
        assert_eq!(frozen, tempfile::tempfile_in(folder.path()).is_err());
        with_mode(0o700);
        std::fs::write(folder.path().join("metadata.db-wal"), "").unwrap();
        assert!(!with_mode(0o500));
        with_mode(0o700);
    }
}
