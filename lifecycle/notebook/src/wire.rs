//! The Jupyter messaging envelope: frames, signature, and JSON that is taken as it comes.
//!
//! A message is `[identities…] <IDS|MSG> signature header parent metadata content [buffers…]`, signed with
//! HMAC-SHA256 over the four JSON frames. Content stays a JSON value: real kernels leave out fields that the
//! specification asks for, and a reader that insists loses their messages. Frames come from another process:
//! none of them can make this module panic.
//!
//! Source: *Messaging in Jupyter*, "The wire protocol"; HMAC as in RFC 2104.

use bytes::Bytes;
use rondo_core::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// What parts the identities from the message.
pub const DELIMITER: &[u8] = b"<IDS|MSG>";

/// The block length of SHA-256 in bytes.
const BLOCK: usize = 64;

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who and what: `msg_id`, `msg_type`, `session`, …
    pub header: Value,
    /// The header of the request that this answers; an empty object where there is none.
    pub parent: Value,
    /// Metadata.
    pub metadata: Value,
    /// The content; null where it could not be read.
    pub content: Value,
    /// Binary parts.
    pub buffers: Vec<Bytes>,
}

/// Why frames are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No delimiter among the frames.
    #[error("the frames hold no `<IDS|MSG>`")]
    NoDelimiter,
    /// Fewer frames than a message has.
    #[error("the message is cut short")]
    TooShort,
    /// The signature is not that of the content under the session's key.
    #[error("the signature does not fit")]
    BadSignature,
    /// The header is not JSON.
    #[error("the header is not JSON")]
    BadHeader,
}

impl Message {
    /// A request with a fresh id.
    pub fn request(kind: &str, session: &str, content: Value) -> Self {
        let id: [u8; 16] = rand::random();
        let header = json!({
            "msg_id": hex::encode(id),
            "session": session,
            "username": "rondo",
            "date": now().rfc3339(),
            "msg_type": kind,
            "version": "5.3",
        });
        let empty = || Value::Object(Map::new());
        Self { header, parent: empty(), metadata: empty(), content, buffers: Vec::new() }
    }

    /// The message's id, or an empty text.
    pub fn id(&self) -> &str {
        text(&self.header, "msg_id")
    }

    /// The kind of message, such as `execute_reply`, or an empty text.
    pub fn kind(&self) -> &str {
        text(&self.header, "msg_type")
    }

    /// The id of the request that this answers, or an empty text.
    pub fn parent_id(&self) -> &str {
        text(&self.parent, "msg_id")
    }

    /// The frames to send, signed. An empty key signs nothing, as the protocol has it.
    pub fn encode(&self, key: &[u8]) -> Vec<Bytes> {
        let parts = [&self.header, &self.parent, &self.metadata, &self.content].map(Value::to_string);
        let signature = sign(key, &parts.each_ref().map(|part| part.as_bytes()));
        let mut frames = vec![Bytes::from_static(DELIMITER), Bytes::from(signature)];
        frames.extend(parts.into_iter().map(Bytes::from));
        frames.extend(self.buffers.iter().cloned());
        frames
    }

    /// Reads frames that came in.
    ///
    /// # Errors
    /// When they are no message, or not one signed with the key.
    pub fn decode(frames: &[Bytes], key: &[u8]) -> Result<Self, WireError> {
        let start = frames.iter().position(|frame| frame == DELIMITER).ok_or(WireError::NoDelimiter)?;
        let rest = frames.get(start + 1..).unwrap_or_default();
        let [signature, header, parent, metadata, content, buffers @ ..] = rest else {
            return Err(WireError::TooShort);
        };
        let expected = sign(key, &[header, parent, metadata, content]);
        if !equal(expected.as_bytes(), signature) {
            return Err(WireError::BadSignature);
        }
        let header = lenient(header);
        if !header.is_object() {
            return Err(WireError::BadHeader);
        }
        Ok(Self {
            header,
            parent: lenient(parent),
            metadata: lenient(metadata),
            content: lenient(content),
            buffers: buffers.to_vec(),
        })
    }
}

/// Now, by the wall clock: for the header's date.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(0))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// JSON as it comes: bytes that are not UTF-8 are replaced, and what is no JSON is null.
fn lenient(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .or_else(|_| serde_json::from_str(&String::from_utf8_lossy(bytes)))
        .unwrap_or(Value::Null)
}

/// The signature in hex; empty for an empty key.
fn sign(key: &[u8], parts: &[&[u8]]) -> String {
    if key.is_empty() { String::new() } else { hex::encode(hmac_sha256(key, parts)) }
}

/// HMAC-SHA256 of parts one after the other (RFC 2104).
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0u8; BLOCK];
    let hashed;
    let key = if key.len() > BLOCK {
        hashed = Sha256::digest(key);
        hashed.as_slice()
    } else {
        key
    };
    for (slot, byte) in block.iter_mut().zip(key) {
        *slot = *byte;
    }
    let mut inner = Sha256::new();
    inner.update(block.map(|byte| byte ^ 0x36));
    for part in parts {
        inner.update(part);
    }
    let mut outer = Sha256::new();
    outer.update(block.map(|byte| byte ^ 0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

/// Compares in a time that does not tell where the texts differ.
fn equal(one: &[u8], two: &[u8]) -> bool {
    one.len() == two.len() && one.iter().zip(two).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hmac_gives_the_vectors_of_rfc_4231() {
        let cases: [(&[u8], &[u8], &str); 3] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, data, expected) in cases {
            assert_eq!(hex::encode(hmac_sha256(key, &[data])), expected);
            let (one, two) = data.split_at(3);
            assert_eq!(hex::encode(hmac_sha256(key, &[one, two])), expected);
        }
    }

    #[test]
    fn a_message_survives_the_wire_with_identities_before_it() {
        let message = Message::request("execute_request", "s", json!({"code": "x = 'é'"}));
        let mut frames = vec![Bytes::from_static(b"kernel.1.topic")];
        frames.extend(message.encode(b"key"));
        assert_eq!(Message::decode(&frames, b"key"), Ok(message));
    }

    #[test]
    fn another_key_or_a_changed_byte_is_refused() {
        let mut frames = Message::request("a", "s", json!({})).encode(b"key");
        assert_eq!(Message::decode(&frames, b"other"), Err(WireError::BadSignature));
        frames[5] = Bytes::from_static(b"{ }");
        assert_eq!(Message::decode(&frames, b"key"), Err(WireError::BadSignature));
    }

    #[test]
    fn unreadable_content_leaves_the_rest_of_the_message() {
        let message = Message::request("stream", "s", json!({}));
        let mut frames = message.encode(b"");
        frames[5] = Bytes::from_static(b"{\"a\": NaN}");
        let read = Message::decode(&frames, b"").unwrap();
        assert_eq!((read.kind(), &read.content), ("stream", &Value::Null));
    }

    proptest! {
        #[test]
        fn hostile_frames_never_panic(
            before in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..3),
            after in proptest::collection::vec("(\\{\"msg_id\":(1|\"a\"|null)\\}|\\[|.{0,6}|\u{fffd})", 0..8),
            signed in any::<bool>(),
        ) {
            let mut frames: Vec<Bytes> = before.into_iter().map(Bytes::from).collect();
            frames.push(Bytes::from_static(DELIMITER));
            frames.extend(after.into_iter().map(Bytes::from));
            let key: &[u8] = if signed { b"key" } else { b"" };
            if let Ok(message) = Message::decode(&frames, key) {
                let _ = (message.id(), message.kind(), message.parent_id());
            }
        }
    }
}
