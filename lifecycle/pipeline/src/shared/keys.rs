//! Keys that sign entries: Ed25519, as `ring` has it.

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

const PUBLIC: &str = "ed25519:";
const SECRET: &str = "ed25519-secret:";

/// A key of one machine: its secret half signs, its public half is in `rondo.yaml`.
pub struct KeyPair {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

/// A text that is no secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no secret key: expected `ed25519-secret:` and 64 hex digits")]
pub struct NotAKey;

impl KeyPair {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn random() -> Result<Self, NotAKey> {
        let random = ring::rand::generate::<[u8; 32]>(&SystemRandom::new()).map_err(|_| NotAKey)?;
        Self::of(random.expose())
    }

    /// From the text of its secret half.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &str) -> Result<Self, NotAKey> {
        let hex = text.trim().strip_prefix(SECRET).ok_or(NotAKey)?;
        let mut seed = [0; 32];
        hex::decode_to_slice(hex, &mut seed).map_err(|_| NotAKey)?;
        Self::of(seed)
    }

    fn of(seed: [u8; 32]) -> Result<Self, NotAKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NotAKey)?;
        Ok(Self { seed, pair })
    }

    /// Its public half.
    pub fn public(&self) -> String {
        format!("{PUBLIC}{}", hex::encode(self.pair.public_key().as_ref()))
    }

    /// Its secret half.
    pub fn secret(&self) -> String {
        format!("{SECRET}{}", hex::encode(self.seed))
    }

    /// The signature of a text, in hex.
    pub fn sign(&self, text: &[u8]) -> String {
        hex::encode(self.pair.sign(text).as_ref())
    }
}

/// Whether a signature is of a public key and a text.
pub fn verifies(public: &str, text: &[u8], signature: &str) -> bool {
    let Some(Ok(key)) = public.strip_prefix(PUBLIC).map(hex::decode) else { return false };
    let Ok(signature) = hex::decode(signature) else { return false };
    UnparsedPublicKey::new(&ED25519, key).verify(text, &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_key_and_one_text() {
        let (ours, theirs) = (KeyPair::random().unwrap(), KeyPair::random().unwrap());
        let signature = ours.sign(b"text");
        assert!(verifies(&ours.public(), b"text", &signature));
        assert!(!verifies(&ours.public(), b"texT", &signature));
        assert!(!verifies(&theirs.public(), b"text", &signature));
        for (key, signature) in
            [("", &*signature), ("ed25519:zz", &signature), (&*ours.public(), "zz"), (&*ours.public(), "")]
        {
            assert!(!verifies(key, b"text", signature));
        }
        let again = KeyPair::read(&ours.secret()).unwrap();
        assert_eq!(again.public(), ours.public());
        assert!(KeyPair::read(&ours.public()).is_err() && KeyPair::read("ed25519-secret:00").is_err());
    }
}
