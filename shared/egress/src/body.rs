//! Finds the end of an answer's body (RFC 9112 section 6.3) and removes its framing.

use bytes::{Buf, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use crate::response::Excerpt;

/// Maximum length of the line with a chunk's size, including its extensions.
const CHUNK_LINE_BYTES_MAX: usize = 4 * 1024;

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The body ends after this many more bytes.
    Length(u64),
    /// The body ends with its last chunk. The field is the position within the chunks.
    Chunked(Chunk),
    /// The body ends with the connection.
    UntilClose,
}

/// The part of a chunked body that is read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    /// The trailers, which end with an empty line.
    Trailers {
        line_is_empty: bool,
    },
    Done,
}

/// The reason why the body's framing is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl Framing {
    /// Returns the framing of the body of the answer to a POST, and whether the connection can be used after the body.
    pub(crate) fn of(code: u16, headers: &HeaderMap) -> Result<(Self, bool), Malformed> {
        if matches!(code, 100..=199 | 204 | 304) {
            return Ok((Self::Length(0), code >= 200));
        }
        let length = content_length(headers)?;
        match headers.get_all(TRANSFER_ENCODING).iter().next_back() {
            // If the answer has both headers, the length is ignored, and the connection is closed after the body.
            Some(codings) if is_chunked(codings.as_bytes()) => Ok((Self::Chunked(Chunk::Size), length.is_none())),
            Some(_) => Ok((Self::UntilClose, false)),
            None => Ok(length.map_or((Self::UntilClose, false), |length| (Self::Length(length), true))),
        }
    }

    /// Moves bytes of the body from `buffer` to `excerpt`, without framing. Returns whether the body is complete.
    pub(crate) fn decode(&mut self, buffer: &mut BytesMut, excerpt: &mut Excerpt) -> Result<bool, Malformed> {
        match self {
            Self::Length(left) => {
                take(buffer, left, excerpt);
                Ok(*left == 0)
            }
            Self::UntilClose => {
                excerpt.take(buffer);
                buffer.clear();
                Ok(false)
            }
            Self::Chunked(chunk) => {
                while *chunk != Chunk::Done {
                    match chunk.decode(buffer, excerpt)? {
                        Some(next) => *chunk = next,
                        None => return Ok(false),
                    }
                }
                Ok(true)
            }
        }
    }
}

impl Chunk {
    /// Reads bytes of this part from `buffer`. Returns the part that follows, or `None` if this part needs more bytes.
    fn decode(&mut self, buffer: &mut BytesMut, excerpt: &mut Excerpt) -> Result<Option<Self>, Malformed> {
        Ok(match self {
            Self::Size => match httparse::parse_chunk_size(buffer) {
                Ok(httparse::Status::Complete((line, size))) => {
                    buffer.advance(line);
                    Some(if size == 0 { Self::Trailers { line_is_empty: true } } else { Self::Data(size) })
                }
                Ok(httparse::Status::Partial) if buffer.len() <= CHUNK_LINE_BYTES_MAX => None,
                _ => return Err(Malformed("a chunk's size is not valid")),
            },
            Self::Data(left) => {
                take(buffer, left, excerpt);
                (*left == 0).then_some(Self::DataEnd)
            }
            Self::DataEnd => match buffer.as_ref() {
                [b'\r', b'\n', ..] => {
                    buffer.advance(2);
                    Some(Self::Size)
                }
                [] | [b'\r'] => None,
                _ => return Err(Malformed("a chunk is longer than its size")),
            },
            Self::Trailers { line_is_empty } => {
                while buffer.has_remaining() {
                    match buffer.get_u8() {
                        b'\n' if *line_is_empty => return Ok(Some(Self::Done)),
                        b'\n' => *line_is_empty = true,
                        b'\r' => {}
                        _ => *line_is_empty = false,
                    }
                }
                None
            }
            Self::Done => None,
        })
    }
}

/// Moves at most `left` bytes from `buffer` to `excerpt`, and subtracts them from `left`.
fn take(buffer: &mut BytesMut, left: &mut u64, excerpt: &mut Excerpt) {
    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    excerpt.take(&buffer[..here]);
    buffer.advance(here);
    *left -= here as u64;
}

/// Whether the last coding of the header is `chunked`.
fn is_chunked(codings: &[u8]) -> bool {
    codings.rsplit(|byte| *byte == b',').next().is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Returns the length in the `Content-Length` headers. All of them must contain the same length.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for text in value.as_bytes().split(|byte| *byte == b',') {
            let text = text.trim_ascii();
            let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
            let read = std::str::from_utf8(text).ok().filter(|_| digits).and_then(|text| text.parse().ok());
            let read: u64 = read.ok_or(Malformed("its Content-Length is not a number"))?;
            if length.is_some_and(|before| before != read) {
                return Err(Malformed("it has two different Content-Length headers"));
            }
            length = Some(read);
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn framing(code: u16, headers: &[(&'static str, &'static str)]) -> Result<(Framing, bool), Malformed> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Framing::of(code, &map)
    }

    #[test]
    fn the_end_of_a_body_follows_rfc_9112() {
        const LENGTH: &str = "content-length";
        const CODING: &str = "transfer-encoding";
        let chunked = Framing::Chunked(Chunk::Size);
        assert_eq!(framing(200, &[(LENGTH, "7")]), Ok((Framing::Length(7), true)));
        assert_eq!(framing(200, &[(LENGTH, "7, 7"), (LENGTH, "7")]), Ok((Framing::Length(7), true)));
        assert_eq!(framing(204, &[(LENGTH, "7")]), Ok((Framing::Length(0), true)));
        assert_eq!(framing(304, &[(CODING, "chunked")]), Ok((Framing::Length(0), true)));
        assert_eq!(framing(101, &[]), Ok((Framing::Length(0), false)));
        assert_eq!(framing(200, &[]), Ok((Framing::UntilClose, false)));
        assert_eq!(framing(200, &[(CODING, "gzip, Chunked")]), Ok((chunked, true)));
        assert_eq!(framing(200, &[(CODING, "chunked"), (CODING, "gzip")]), Ok((Framing::UntilClose, false)));
        assert_eq!(framing(200, &[(CODING, "chunked"), (LENGTH, "7")]), Ok((chunked, false)));
        for bad in ["", "-1", "+1", "0x1", "1 2", "18446744073709551616", "7,"] {
            assert!(framing(200, &[(LENGTH, bad)]).is_err(), "{bad:?}");
        }
        assert!(framing(200, &[(LENGTH, "7"), (LENGTH, "8")]).is_err());
    }

    /// Decodes `bytes` in pieces of `piece` bytes. Returns whether the body is complete, the body, and the bytes after it.
    fn decode(bytes: &[u8], piece: usize) -> Result<(bool, Vec<u8>, Vec<u8>), Malformed> {
        let mut framing = Framing::Chunked(Chunk::Size);
        let (mut buffer, mut excerpt, mut done) = (BytesMut::new(), Excerpt::default(), false);
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            done = done || framing.decode(&mut buffer, &mut excerpt)?;
        }
        Ok((done, excerpt.into_bytes().to_vec(), buffer.to_vec()))
    }

    #[test]
    fn chunks_are_joined_in_pieces_of_any_size() {
        let bytes = b"4\r\nRust\r\n0A;x=y\r\n0123456789\r\n0\r\nx-trailer: a\r\n\r\nnext";
        for piece in 1..bytes.len() {
            let expected = (true, b"Rust0123456789".to_vec(), b"next".to_vec());
            assert_eq!(decode(bytes, piece), Ok(expected), "{piece}");
        }
        assert_eq!(decode(b"4\r\nRust\r\n0\r\n", 3).map(|decoded| decoded.0), Ok(false));
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for bad in ["x\r\n", "4\r\nRusty\r\n", "-1\r\n", "fffffffffffffffff\r\n", "4\nRust\r\n"] {
            assert!(decode(bad.as_bytes(), 64).is_err(), "{bad:?}");
        }
        let endless = [b"4;".as_slice(), &[b'x'; CHUNK_LINE_BYTES_MAX]].concat();
        assert!(decode(&endless, 64).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1..50_usize) {
            if let Ok((_, body, _)) = decode(&bytes, piece) {
                prop_assert!(body.len() <= bytes.len());
            }
        }

        #[test]
        fn chunked_bodies_are_decoded(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..8), piece in 1..50_usize) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decode(&bytes, piece), Ok((true, chunks.concat(), Vec::new())));
        }
    }
}
