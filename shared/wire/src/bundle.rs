//! The bundle: several members in one broker message. The broker's cost depends more on the number of messages than on their
//! size.
//!
//! ```text
//! "PRB" version:u8  ( head_length:u32 payload_length:u32 head payload )*
//! ```
//! Integers are big-endian. A payload length of `u32::MAX` means that the member has the same payload as the previous member,
//! so that one event for ten endpoints is sent with one body.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format version that this build writes. It reads no other version.
pub const VERSION: u8 = 1;
/// The AMQP `content_type` of a bundle.
pub const CONTENT_TYPE: &str = "application/vnd.postrider.bundle";

const MAGIC: [u8; 4] = [b'P', b'R', b'B', VERSION];
const SAME_AS_PREVIOUS: u32 = u32::MAX;
/// Initial capacity for a head, so that writing a head of usual size does not reallocate.
const HEAD_BYTES: usize = 1_024;

/// One member of a bundle: a JSON head and payload bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The head, as JSON.
    pub head: Bytes,
    /// The payload: bytes that this crate does not read.
    pub payload: Bytes,
}

/// Why bytes are not a bundle, or a head is not of the expected type.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The first bytes are not the first bytes of a bundle.
    #[error("not a bundle")]
    NotABundle,
    /// The bundle has a version that this build does not read.
    #[error("bundle version {0}, this build reads version {VERSION}")]
    Version(u8),
    /// The bytes end within a member.
    #[error("the bundle ends within member {0}")]
    Truncated(usize),
    /// The head is not valid.
    #[error("invalid head: {0}")]
    Head(#[from] serde_json::Error),
}

impl Member {
    /// A member with `head` as its JSON head.
    ///
    /// # Errors
    /// JSON cannot express the head, for example a map whose keys are not strings.
    pub fn new(head: &impl Serialize, payload: Bytes) -> Result<Self, serde_json::Error> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        serde_json::to_writer(&mut bytes, head)?;
        Ok(Self { head: bytes.into(), payload })
    }

    /// Reads the head.
    ///
    /// # Errors
    /// The head is not a valid `T`.
    pub fn head<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        Ok(serde_json::from_slice(&self.head)?)
    }

    /// The number of bytes of the member in a bundle, including its two lengths, if its payload is not shared.
    pub fn encoded_bytes(&self) -> usize {
        8 + self.head.len() + self.payload.len()
    }
}

/// Encodes members as one bundle.
pub fn encode(members: &[Member]) -> Vec<u8> {
    let bytes: usize = members.iter().map(Member::encoded_bytes).sum();
    let mut out = Vec::with_capacity(MAGIC.len() + bytes);
    out.put_slice(&MAGIC);
    let mut previous: Option<&Bytes> = None;
    for member in members {
        // Compares buffers, not contents: a shared payload is one buffer, and comparing contents would cost time.
        let same = previous
            .is_some_and(|b| !b.is_empty() && b.as_ptr() == member.payload.as_ptr() && b.len() == member.payload.len());
        out.put_u32(u32::try_from(member.head.len()).unwrap_or(u32::MAX));
        if same {
            out.put_u32(SAME_AS_PREVIOUS);
            out.put_slice(&member.head);
        } else {
            out.put_u32(u32::try_from(member.payload.len()).unwrap_or(u32::MAX));
            out.put_slice(&member.head);
            out.put_slice(&member.payload);
        }
        previous = Some(&member.payload);
    }
    out
}

/// The number of members in a message, counted without decoding them; 1 for bytes that are not a bundle.
pub fn count(message: &[u8]) -> usize {
    let Some(mut rest) = message.strip_prefix(&MAGIC) else { return 1 };
    let mut members = 0;
    while let Some((frame, tail)) = rest.split_at_checked(8) {
        let head_bytes = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        let payload_bytes = match u32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]) {
            SAME_AS_PREVIOUS => 0,
            bytes => bytes as usize,
        };
        let Some(next) = tail.get(head_bytes.saturating_add(payload_bytes)..) else { break };
        (rest, members) = (next, members + 1);
    }
    members.max(1)
}

/// Decodes a bundle. Heads and payloads are copied, with one allocation per member, so that a member that is kept for long (a
/// slow delivery) does not keep its whole bundle in memory. A shared payload remains shared.
///
/// # Errors
/// The bytes are not a bundle, have another version, or end within a member.
pub fn decode(message: &[u8]) -> Result<Vec<Member>, DecodeError> {
    let mut rest = match message {
        [b'P', b'R', b'B', VERSION, rest @ ..] => rest,
        [b'P', b'R', b'B', version, ..] => return Err(DecodeError::Version(*version)),
        _ => return Err(DecodeError::NotABundle),
    };
    let mut members: Vec<Member> = Vec::new();
    while !rest.is_empty() {
        let truncated = DecodeError::Truncated(members.len());
        let Some((frame, tail)) = rest.split_at_checked(8) else { return Err(truncated) };
        let head_bytes = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        let payload_length = u32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
        let Some((head, tail)) = tail.split_at_checked(head_bytes) else { return Err(truncated) };
        if payload_length == SAME_AS_PREVIOUS {
            let Some(payload) = members.last().map(|member| member.payload.clone()) else { return Err(truncated) };
            members.push(Member { head: Bytes::copy_from_slice(head), payload });
            rest = tail;
            continue;
        }
        let Some((payload, tail)) = tail.split_at_checked(payload_length as usize) else { return Err(truncated) };
        let mut copy = BytesMut::with_capacity(head.len() + payload.len());
        copy.put_slice(head);
        copy.put_slice(payload);
        let mut head_part = copy.freeze();
        let payload = head_part.split_off(head.len());
        members.push(Member { head: head_part, payload });
        rest = tail;
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(head: &str, payload: &Bytes) -> Member {
        Member { head: Bytes::copy_from_slice(head.as_bytes()), payload: payload.clone() }
    }

    #[test]
    fn a_decoded_bundle_equals_the_encoded_one_and_shares_bodies() {
        let body = Bytes::from_static(b"{\"a\":1}");
        let other = Bytes::from_static(b"");
        let members = vec![member("{}", &body), member("{\"n\":2}", &body), member("{}", &other), member("{}", &other)];
        let bytes = encode(&members);
        assert_eq!(bytes.windows(body.len()).filter(|w| *w == &body[..]).count(), 1);
        let decoded = decode(&bytes).unwrap();
        assert_eq!(decoded, members);
        assert_eq!(decoded[0].payload.as_ptr(), decoded[1].payload.as_ptr());
    }

    #[test]
    fn invalid_bytes_are_errors() {
        let whole = encode(&[member("{\"head\":true}", &Bytes::from_static(b"payload"))]);
        for cut in 5..whole.len() {
            assert!(matches!(decode(&whole[..cut]), Err(DecodeError::Truncated(0))), "{cut}");
        }
        assert!(matches!(decode(b"PRB\x09"), Err(DecodeError::Version(9))));
        assert!(matches!(decode(b"{}"), Err(DecodeError::NotABundle)));
        let mut shares_nothing = b"PRB\x01\0\0\0\0".to_vec();
        shares_nothing.extend(u32::MAX.to_be_bytes());
        assert!(matches!(decode(&shares_nothing), Err(DecodeError::Truncated(0))));
    }
}
