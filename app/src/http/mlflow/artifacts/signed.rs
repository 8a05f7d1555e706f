//! Addresses that carry their own right: to send one part of one upload, or to get one file, for a while.
//!
//! The client asks these with nothing but the address, so what may be done is in the address itself, with
//! a code that only this server can make. The right is exactly that of the words in it, whoever asks.

use axum::http::{HeaderMap, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rondo_core::{Digest, Timestamp};

use crate::http::mlflow::MlflowState;
use crate::http::mlflow::refusal::{Answer, Refusal};

/// What the routes below the proxy's prefix begin with.
const ROOT: &str = "/api/2.0/mlflow-artifacts";
/// Where parts are sent.
pub(in crate::http::mlflow) const PART: &str = "/mpu/part/";
/// Where files are got.
pub(in crate::http::mlflow) const FILE: &str = "/presigned-download/";

/// Bytes of the code at the end of a token.
const CODE: usize = 32;

/// What an address lets its bearer do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Right {
    /// Send a part of an upload.
    Part { upload: String, number: u32 },
    /// Get a file by its path in the proxy.
    File { path: String },
}

impl MlflowState {
    /// An address for a right that ends at some time.
    pub(super) fn sign(&self, base: &str, right: &Right, until: Timestamp) -> String {
        let (route, text, end) = match right {
            Right::Part { upload, number } => {
                (PART, format!("part\n{}\n{upload}\n{number}", until.millis()), "")
            }
            Right::File { path } => (
                FILE,
                format!("file\n{}\n{path}", until.millis()),
                path.rsplit('/').next().unwrap_or_default(),
            ),
        };
        let mut token = text.into_bytes();
        token.extend_from_slice(&self.code(&token));
        let token = URL_SAFE_NO_PAD.encode(token);
        let end = if end.is_empty() { String::new() } else { format!("/{}", coded(end)) };
        format!("{base}{}{ROOT}{route}{token}{end}", self.prefix)
    }

    /// The right that a token gives.
    pub(super) fn right(&self, token: &str) -> Answer<Right> {
        let refused = || Refusal::denied("The address is not one of this server's, or its time is over");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
        let (text, code) = bytes.split_at_checked(bytes.len().saturating_sub(CODE)).ok_or_else(refused)?;
        // Compared by digest: how long it takes tells nothing of the code.
        if Digest::of(code) != Digest::of(&self.code(text)) {
            return Err(refused());
        }
        let text = str::from_utf8(text).map_err(|_| refused())?;
        let mut words = text.splitn(3, '\n');
        let (kind, until, rest) = (words.next(), words.next(), words.next().unwrap_or_default());
        let until: i64 = until.and_then(|until| until.parse().ok()).ok_or_else(refused)?;
        if self.tracking.now().millis() > until {
            return Err(refused());
        }
        match kind {
            Some("part") => {
                let (upload, number) = rest.split_once('\n').ok_or_else(refused)?;
                let number = number.parse().map_err(|_| refused())?;
                Ok(Right::Part { upload: upload.to_owned(), number })
            }
            Some("file") => Ok(Right::File { path: rest.to_owned() }),
            Some(_) | None => Err(refused()),
        }
    }

    /// BLAKE3 of the key and the words: its outputs give away nothing that a longer text could go on from.
    fn code(&self, text: &[u8]) -> [u8; CODE] {
        let keyed = [self.key.as_slice(), text].concat();
        let mut code = [0; CODE];
        // The text of a digest is the hex of its 32 bytes.
        let _ = hex::decode_to_slice(Digest::of(&keyed).hex(), &mut code);
        code
    }
}

/// The scheme and host under which the asker knows this server. A proxy that speaks TLS says so.
pub(super) fn base(headers: &HeaderMap, uri: &Uri) -> Answer<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST.as_str()).or_else(|| uri.authority().map(|host| host.as_str()));
    let host = host.ok_or_else(|| Refusal::invalid("The request does not say which host it is for"))?;
    let forwarded = text("x-forwarded-proto").and_then(|list| list.split(',').next()).map(str::trim);
    let scheme =
        if forwarded.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) { "https" } else { "http" };
    Ok(format!("{scheme}://{host}"))
}

/// A name as a part of an address.
pub(super) fn coded(name: &str) -> String {
    let mut coded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            coded.push(char::from(byte));
        } else {
            coded.push_str(&format!("%{byte:02X}"));
        }
    }
    coded
}
