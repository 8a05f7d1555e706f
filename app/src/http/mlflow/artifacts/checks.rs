//! The checksums that came with a body: what was received must be what was sent.
//!
//! Read are `Content-MD5`, `Digest` (RFC 3230), `Content-Digest` and `Repr-Digest` (RFC 9530), and
//! `X-Rondo-Digest`, the BLAKE3 in hex that an `ETag` of this server is. What is not known is passed over,
//! as the standards say; what is known and cannot be read is refused.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use rondo_core::Digest;
use sha2::{Digest as _, Sha256, Sha512};

use crate::http::mlflow::refusal::{Answer, Refusal};

/// The checksums to compare with; only those that were given are computed.
#[derive(Default)]
pub(in crate::http::mlflow) struct Checks {
    sums: Vec<Sum>,
    own: Option<String>,
}

struct Sum {
    header: &'static str,
    hasher: Hasher,
    expected: Vec<u8>,
}

enum Hasher {
    Md5(Md5),
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "md5" => Some(Self::Md5(Md5::new())),
            "sha-256" => Some(Self::Sha256(Sha256::new())),
            "sha-512" => Some(Self::Sha512(Box::default())),
            _ => None,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Md5(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
        }
    }
}

impl Checks {
    /// The checksums in the headers of a request.
    pub(in crate::http::mlflow) fn of(headers: &HeaderMap) -> Answer<Self> {
        let mut checks = Self::default();
        let text = |name: &'static str| {
            let read = |value: &axum::http::HeaderValue| value.to_str().map(str::to_owned);
            headers.get(name).map(read).transpose().map_err(|_| unreadable(name))
        };
        if let Some(sum) = text("content-md5")? {
            checks.add("content-md5", "md5", &sum)?;
        }
        for (name, bare) in [("digest", true), ("content-digest", false), ("repr-digest", false)] {
            let Some(list) = text(name)? else { continue };
            for one in list.split(',') {
                let (algorithm, sum) = one.trim().split_once('=').ok_or_else(|| unreadable(name))?;
                let inner = sum.trim().strip_prefix(':').and_then(|sum| sum.strip_suffix(':'));
                let sum = if bare { Some(sum.trim()) } else { inner };
                checks.add(name, algorithm, sum.ok_or_else(|| unreadable(name))?)?;
            }
        }
        if let Some(own) = text("x-rondo-digest")? {
            let own = own.trim().trim_matches('"').to_lowercase();
            own.parse::<Digest>().map_err(|_| unreadable("x-rondo-digest"))?;
            checks.own = Some(own);
        }
        Ok(checks)
    }

    fn add(&mut self, header: &'static str, algorithm: &str, sum: &str) -> Answer<()> {
        let Some(hasher) = Hasher::named(algorithm) else { return Ok(()) };
        let expected = STANDARD.decode(sum.trim()).map_err(|_| unreadable(header))?;
        self.sums.push(Sum { header, hasher, expected });
        Ok(())
    }

    /// Looks at bytes on their way.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        for sum in &mut self.sums {
            sum.hasher.update(bytes);
        }
    }

    /// Compares with what has come.
    pub(super) fn verify(self, digest: Digest) -> Answer<()> {
        let differs = |header: &str| {
            Refusal::invalid(format!("The body is not what was sent: its checksum differs from '{header}'"))
        };
        if self.own.is_some_and(|own| own != digest.hex()) {
            return Err(differs("x-rondo-digest"));
        }
        for sum in self.sums {
            if sum.hasher.finish() != sum.expected {
                return Err(differs(sum.header));
            }
        }
        Ok(())
    }
}

fn unreadable(header: &str) -> Refusal {
    Refusal::invalid(format!("The header '{header}' cannot be read"))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn check(name: &'static str, value: &'static str, body: &[u8]) -> Answer<()> {
        let header = (HeaderName::from_static(name), HeaderValue::from_static(value));
        let mut checks = Checks::of(&HeaderMap::from_iter([header]))?;
        body.chunks(2).for_each(|part| checks.update(part));
        checks.verify(Digest::of(body))
    }

    // Sums of `hello` by `openssl dgst`.
    const MD5: &str = "XUFAKrxLKna5cZ2REBfFkg==";
    const SHA256: &str = "sha-256=LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    const BOTH: &str = "unknown=:AA==:, sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";

    #[test]
    fn a_body_is_what_its_checksums_say() {
        for (name, value) in [("content-md5", MD5), ("digest", SHA256), ("content-digest", BOTH)] {
            assert!(check(name, value, b"hello").is_ok(), "{name}");
            assert!(check(name, value, b"hullo").is_err(), "{name}");
        }
        assert!(check("digest", "crc32c=AAAA", b"hello").is_ok(), "what is not known is passed over");
        for (name, odd) in [
            ("content-md5", "?"),
            ("digest", "sha-256"),
            ("content-digest", SHA256),
            ("x-rondo-digest", "ab"),
        ] {
            assert!(check(name, odd, b"hello").is_err(), "{name}: {odd}");
        }
    }
}
