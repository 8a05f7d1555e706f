//! Passwords: argon2id, with the crate's own parameters (19 MiB, two passes, as OWASP recommends).

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use rondo_core::{Code, Explain};

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub struct HashError(argon2::password_hash::Error);

impl Explain for HashError {
    fn code(&self) -> Code {
        Code::Internal
    }
}

/// The hash of nothing that anybody knows: random bytes in its place.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$RWqV6kGUsAk1ctUO9LcJpw$\
                      w5o1UW7K5jAo9bvP9n3xg5yXGqGBlVSuQu1G3A9V1nY";

/// What to keep of a password. Takes tens of milliseconds on purpose: not for an async thread.
///
/// # Errors
/// When the memory for it is not to be had.
pub fn hash(password: &str) -> Result<String, HashError> {
    let salt: [u8; 16] = rand::random();
    let hash: PasswordHash =
        Argon2::default().hash_password_with_salt(password.as_bytes(), &salt).map_err(HashError)?;
    Ok(hash.to_string())
}

/// Whether a password is the one that was hashed. Without a hash it takes as long, and is not: so that the
/// time does not tell who exists. Not for an async thread.
pub fn verify(password: &str, kept: Option<&str>) -> bool {
    let fits = PasswordHash::new(kept.unwrap_or(NOBODY))
        .is_ok_and(|kept| Argon2::default().verify_password(password.as_bytes(), &kept).is_ok());
    fits && kept.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_alone() {
        let kept = hash("correct horse").unwrap();
        assert!(kept.starts_with("$argon2id$") && !kept.contains("correct"), "{kept}");
        assert_ne!(kept, hash("correct horse").unwrap(), "each has a salt of its own");
        assert!(verify("correct horse", Some(&kept)));
        assert!(!verify("correct horsf", Some(&kept)));
        assert!(!verify("correct horse", None));
        assert!(!verify("correct horse", Some("plain text")));
        assert!(PasswordHash::new(NOBODY).is_ok(), "checking nobody's password takes as long");
    }
}
