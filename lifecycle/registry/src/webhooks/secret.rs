//! Secrets: sealed with a key that is in a file of its own, so that the database alone gives none away.

use std::io::Write;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

use crate::error::Error;

/// The key's file in the store's folder. A backup without it has no secrets.
pub const KEY_FILE: &str = "webhook.key";

/// What seals and opens secrets.
pub struct Vault {
    key: LessSafeKey,
}

impl Vault {
    /// Reads the key of a store, or makes one.
    ///
    /// # Errors
    /// When its file cannot be read or written, or is none.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let path = root.join(KEY_FILE);
        let fault = |action| {
            let path = path.clone();
            move |source| Error::Io { action, path, source }
        };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                make(root, &path).map_err(fault("write"))?;
                // Another process may have been first: its key counts.
                std::fs::read(&path).map_err(fault("read"))?
            }
            Err(error) => return Err(fault("read")(error)),
        };
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| Error::WebhookSecret)?;
        Ok(Self { key: LessSafeKey::new(key) })
    }

    /// Seals a secret.
    ///
    /// # Errors
    /// When it is too long for the cipher.
    pub fn seal(&self, secret: &str) -> Result<String, Error> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut bytes = secret.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes)
            .map_err(|_| Error::WebhookSecret)?;
        Ok(STANDARD.encode([&nonce, bytes.as_slice()].concat()))
    }

    /// Opens a sealed secret.
    ///
    /// # Errors
    /// When it was sealed with another key.
    pub fn unseal(&self, sealed: &str) -> Result<Vec<u8>, Error> {
        let refuse = || Error::WebhookSecret;
        let bytes = STANDARD.decode(sealed).map_err(|_| refuse())?;
        let (nonce, body) = bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(refuse)?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key.open_in_place(nonce, Aad::empty(), &mut body).map_err(|_| refuse())?;
        Ok(plain.to_vec())
    }
}

/// Writes a new key beside and links it to its place, so that it is there whole and never twice.
fn make(root: &Path, path: &Path) -> std::io::Result<()> {
    let key: [u8; 32] = rand::random();
    // Such a file can be read by its owner alone.
    let mut file = tempfile::NamedTempFile::new_in(root)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

/// The signature of a delivery as MLflow's receivers check it: HMAC-SHA256 over id, time and body.
pub fn signature(secret: &[u8], id: &str, time: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signed = hmac::sign(&key, format!("{id}.{time}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_back_with_its_key_only() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let vault = Vault::open(one.path()).unwrap();
        let sealed = vault.seal("hush").unwrap();
        assert!(!sealed.contains("hush"));
        assert_ne!(sealed, vault.seal("hush").unwrap());
        assert_eq!(Vault::open(one.path()).unwrap().unseal(&sealed).unwrap(), b"hush");
        assert!(Vault::open(other.path()).unwrap().unseal(&sealed).is_err());
        for odd in ["", "AAAA", "not base64"] {
            assert!(vault.unseal(odd).is_err(), "{odd}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_the_key() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        Vault::open(folder.path()).unwrap();
        let mode = std::fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }

    #[test]
    fn a_signature_is_the_one_that_python_computes() {
        // hmac.new(b"secret", b'id.1700000000.{"a": 1}', hashlib.sha256), in base64.
        let signed = signature(b"secret", "id", "1700000000", "{\"a\": 1}");
        assert_eq!(signed, "v1,38uVORQcsSdjatM9lCcMNO82Q89mMAbtl9RgUgq98/w=");
    }
}
