//! Limits on the bytes of request bodies in memory, per process and per tenant.
//!
//! A body is in memory from its first byte until the response to its request. It needs a multiple of its size while its events
//! are published. Bytes are counted when they arrive, so a request that announces many bytes and sends none does not reduce the
//! room for other requests. No request waits for room: a request that exceeds a limit is refused immediately, and its bytes are
//! freed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header;
use bytes::Bytes;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use postrider_model::ids::{KeyId, TenantId};

use crate::refused::Refused;

/// The account to which a body is charged. It is known before the first byte of the body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Payer {
    /// The tenant of the key, or the tenant that the query specifies.
    Tenant(TenantId),
    /// The key, if it publishes for several tenants and the query specifies no tenant.
    Key(KeyId),
    /// All operator keys, if the query specifies no tenant.
    Operator,
}

/// The request bodies in memory. Clones share their counts.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    held: Arc<Mutex<Held>>,
    limits: BodyLimits,
}

/// Maximum number of bytes of bodies in memory at the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) process: usize,
    pub(crate) payer: usize,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    /// The bytes of each payer with bodies in memory.
    by_payer: HashMap<Payer, usize>,
}

/// A body in memory. Its bytes are freed when it is dropped.
#[derive(Debug)]
pub(crate) struct HeldBody {
    bytes: Bytes,
    _charge: Charge,
}

impl std::ops::Deref for HeldBody {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// The bytes of one body that are charged to its payer.
#[derive(Debug)]
struct Charge {
    bodies: Bodies,
    payer: Payer,
    bytes: usize,
}

impl Bodies {
    pub(crate) fn new(limits: BodyLimits) -> Self {
        Self { held: Arc::default(), limits }
    }

    /// Reads a whole body.
    ///
    /// # Errors
    /// The body is larger than `bytes_max`, ends early, or exceeds the limit of its payer or of this process.
    pub(crate) async fn read(
        &self,
        payer: Payer,
        headers: &HeaderMap,
        mut body: Body,
        bytes_max: usize,
    ) -> Result<HeldBody, Refused> {
        let too_large = || Refused::TooLarge(format!("the request has at most {bytes_max} bytes"));
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > bytes_max) {
            return Err(too_large());
        }
        let mut charge = Charge { bodies: self.clone(), payer, bytes: 0 };
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refused::Malformed("the request's body broke off".to_owned()))?;
            let Ok(chunk) = frame.into_data() else { continue };
            if bytes.len() + chunk.len() > bytes_max {
                return Err(too_large());
            }
            charge.grow(chunk.len())?;
            if bytes.is_empty() {
                bytes.reserve_exact(announced.unwrap_or(chunk.len()));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(HeldBody { bytes: bytes.into(), _charge: charge })
    }
}

impl Charge {
    fn grow(&mut self, bytes: usize) -> Result<(), Refused> {
        let BodyLimits { process, payer } = self.bodies.limits;
        let mut held = self.bodies.held.lock();
        let paid = held.by_payer.get(&self.payer).copied().unwrap_or_default();
        let retry_after = Duration::from_secs(1);
        if paid + bytes > payer {
            let whose = if matches!(self.payer, Payer::Tenant(_)) { "tenant" } else { "key" };
            let detail = format!(
                "the {whose}'s requests in progress have {paid} bytes, at most {payer} at once are allowed; nothing was accepted"
            );
            return Err(Refused::limited(detail, retry_after));
        }
        if held.total + bytes > process {
            let detail = format!(
                "the requests in progress in this process have {} bytes, at most {process} at once are allowed; \
                 nothing was accepted",
                held.total
            );
            return Err(Refused::later(detail, retry_after));
        }
        held.total += bytes;
        *held.by_payer.entry(self.payer).or_default() += bytes;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut held = self.bodies.held.lock();
        held.total -= self.bytes;
        if let Some(paid) = held.by_payer.get_mut(&self.payer) {
            *paid -= self.bytes;
            if *paid == 0 {
                held.by_payer.remove(&self.payer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use postrider_http::problem::Problem;

    use super::*;

    const LIMITS: BodyLimits = BodyLimits { process: 100, payer: 60 };

    async fn read(bodies: &Bodies, payer: Payer, bytes: usize) -> Result<HeldBody, Refused> {
        bodies.read(payer, &HeaderMap::new(), Body::from(vec![b'x'; bytes]), 80).await
    }

    #[tokio::test]
    async fn a_payer_beyond_its_bytes_is_429_and_a_full_process_is_503_until_a_request_is_answered() {
        let bodies = Bodies::new(LIMITS);
        let (one, other) = (Payer::Tenant(TenantId::generate()), Payer::Operator);
        let first = read(&bodies, one, 40).await.unwrap();
        assert_eq!(first.len(), 40);
        let refused = Problem::from(read(&bodies, one, 21).await.unwrap_err());
        assert_eq!((refused.status, refused.retry_after_seconds), (429, Some(1)));
        assert!(refused.detail.contains("have 40 bytes, at most 60"), "{}", refused.detail);
        let second = read(&bodies, other, 50).await.unwrap();
        let refused = Problem::from(read(&bodies, one, 15).await.unwrap_err());
        assert_eq!(refused.status, 503);
        assert!(refused.detail.contains("have 90 bytes, at most 100"), "{}", refused.detail);
        drop(first);
        assert!(read(&bodies, one, 50).await.is_ok());
        drop(second);
        assert_eq!(bodies.held.lock().total, 0);
        assert!(bodies.held.lock().by_payer.is_empty());
    }

    #[tokio::test]
    async fn only_bytes_that_came_are_charged_and_a_refused_body_frees_its_own() {
        let bodies = Bodies::new(LIMITS);
        let chunks = [30, 40].map(|bytes| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; bytes])));
        let body = Body::from_stream(stream::iter(chunks));
        let refused = bodies.read(Payer::Operator, &HeaderMap::new(), body, 80).await.unwrap_err();
        assert!(matches!(refused, Refused::Limited { .. }));
        assert_eq!(bodies.held.lock().total, 0);
        assert!(read(&bodies, Payer::Operator, 60).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_413_with_and_without_its_length() {
        let bodies = Bodies::new(BodyLimits { process: 1_000, payer: 1_000 });
        assert!(matches!(read(&bodies, Payer::Operator, 81).await, Err(Refused::TooLarge(_))));
        let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, 81.into())]);
        let unread = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert!(matches!(bodies.read(Payer::Operator, &headers, unread, 80).await, Err(Refused::TooLarge(_))));
    }
}
