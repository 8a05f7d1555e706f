//! A root file system as an environment: a tar file of the project, such as mmdebstrap makes one. Its lock is
//! the digest of the file; it is unpacked once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rondo_store::objects::Take;
use tar::{Archive, EntryType};

use super::Environments;
use super::lock::EnvironmentLock;
use super::provision::Provisioned;
use crate::Error;

/// The folder in an environment's own in which its root file system is.
pub const ROOT: &str = "root";

impl Environments {
    /// The unpacked file system.
    pub(super) async fn make_rootfs(&self, lock: &EnvironmentLock) -> Result<Provisioned, Error> {
        let folder = self
            .once(lock, async |folder| {
                let archive = self.archive(lock)?;
                self.started(&lock.name, "unpacking it");
                let root = folder.join(ROOT);
                tokio::task::spawn_blocking(move || unpack(&archive, &root)).await?
            })
            .await?;
        Ok(Provisioned::of(lock, folder))
    }

    /// The archive of a lock: an object of the store, so that it is there also when the file has changed.
    fn archive(&self, lock: &EnvironmentLock) -> Result<PathBuf, Error> {
        let gone = || format!("its archive {} is not in the store any more", lock.version);
        let place = match lock.version.parse() {
            Ok(digest) => self.store.objects().sound(digest).map_err(|error| match error {
                rondo_store::Error::ObjectNotFound(_) => gone(),
                error => format!("its archive: {error}"),
            }),
            Err(_) => Err(gone()),
        };
        place.map_err(|reason| self.failed(&lock.name, "provision", reason))
    }

    /// Takes an archive into the store.
    pub(super) fn keep_archive(&self, archive: &Path) -> Result<rondo_core::Digest, Error> {
        Ok(self.store.objects().put_path(archive, Take::Keep)?.digest)
    }
}

/// Unpacks an archive. Devices are left out: a sandbox has its own.
fn unpack(archive: &Path, root: &Path) -> Result<(), Error> {
    fs::create_dir_all(root).map_err(Error::io("make", root))?;
    let file = File::open(archive).map_err(Error::io("read", archive))?;
    let mut archive_file = Archive::new(file);
    archive_file.set_preserve_permissions(true);
    // SAFETY: `geteuid` has no arguments and cannot fail.
    archive_file.set_preserve_ownerships(unsafe { libc::geteuid() } == 0);
    let mut folders = Vec::new();
    for entry in archive_file.entries().map_err(Error::io("unpack", archive))? {
        let mut entry = entry.map_err(Error::io("unpack", archive))?;
        match entry.header().entry_type() {
            EntryType::Char | EntryType::Block | EntryType::Fifo => {}
            // A folder that may not be written to would refuse what lies in it.
            EntryType::Directory => folders.push(entry),
            _ => drop(entry.unpack_in(root).map_err(Error::io("unpack", archive))?),
        }
    }
    for mut folder in folders.into_iter().rev() {
        folder.unpack_in(root).map_err(Error::io("unpack", archive))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_links_and_folders_are_unpacked_and_devices_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("box.tar");
        let mut builder = tar::Builder::new(File::create(&place).unwrap());
        let mut add = |kind: EntryType, path: &str, link: Option<&str>, mode: u32, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(bytes.len() as u64);
            if let Some(link) = link {
                header.set_link_name(link).unwrap();
            }
            builder.append_data(&mut header, path, bytes).unwrap();
        };
        add(EntryType::Directory, "usr/", None, 0o555, b"");
        add(EntryType::Regular, "usr/x", None, 0o755, b"#!/bin/sh\n");
        add(EntryType::Symlink, "bin", Some("usr"), 0o777, b"");
        add(EntryType::Char, "dev/null", None, 0o666, b"");
        builder.into_inner().unwrap();
        let root = folder.path().join("root");
        unpack(&place, &root).unwrap();
        assert_eq!(fs::read_to_string(root.join("bin/x")).unwrap(), "#!/bin/sh\n");
        assert!(!root.join("dev/null").exists());
        fs::write(&place, "no archive").unwrap();
        assert!(unpack(&place, &folder.path().join("other")).is_err());
    }
}
