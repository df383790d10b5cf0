//! From the client's errors to an [`Outcome`] and a sentence for the endpoint's owner.
//!
//! The sentences tell what to look at and nothing of this side: no internal address, no secret, no query string.

use std::error::Error;
use std::io;
use std::time::Duration;

use postrider_model::attempt::Outcome;
use rustls::CertificateError;

use crate::resolver::ResolveError;

/// Outcome and words of a failed exchange.
pub(crate) fn classify(error: &reqwest::Error, https: bool, connect_timeout: Duration) -> (Outcome, String) {
    if let Some(resolve) = find::<ResolveError>(error) {
        return of_resolving(resolve);
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return (Outcome::TlsFailed, of_tls(tls));
    }
    let io = find::<io::Error>(error);
    if error.is_connect() {
        if error.is_timeout() {
            return (Outcome::ConnectFailed, format!("no connection within {} s", connect_timeout.as_secs_f32()));
        }
        // The peer hung up in the middle of the handshake: rustls has nothing to say about that.
        if https && io.is_some_and(|io| io.to_string().contains("handshake")) {
            return (Outcome::TlsFailed, "the connection was closed during the TLS handshake".to_owned());
        }
        return (Outcome::ConnectFailed, io.map_or("no connection could be made", of_connecting).to_owned());
    }
    let words = match find::<hyper::Error>(error) {
        Some(hyper) if hyper.is_parse_too_large() => "the answer's headers are too large",
        Some(hyper) if hyper.is_parse() => "the answer is not HTTP/1.1",
        Some(hyper) if hyper.is_incomplete_message() => "the connection was closed before the answer was complete",
        _ if io.is_some() => "the connection broke before the answer was complete",
        _ => "the exchange failed before the answer was complete",
    };
    (Outcome::ProtocolError, words.to_owned())
}

/// Outcome and words of a name that gives no address.
pub(crate) fn of_resolving(error: &ResolveError) -> (Outcome, String) {
    let outcome = match error {
        ResolveError::Blocked => Outcome::AddressBlocked,
        ResolveError::NotFound | ResolveError::Unanswered => Outcome::DnsFailed,
    };
    (outcome, error.to_string())
}

fn of_connecting(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection was refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => "the connection was reset",
        io::ErrorKind::HostUnreachable => "the host is unreachable",
        io::ErrorKind::NetworkUnreachable => "the network is unreachable",
        io::ErrorKind::TimedOut => "the connection timed out",
        _ => "no connection could be made",
    }
}

fn of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another host name".to_owned()
            }
            CertificateError::UnknownIssuer => {
                "the certificate's issuer is not trusted (self-signed, or an intermediate certificate is missing)"
                    .to_owned()
            }
            CertificateError::Revoked => "the certificate is revoked".to_owned(),
            other => format!("the certificate is not valid: {other}"),
        },
        rustls::Error::PeerIncompatible(_) => "no common TLS version or cipher: TLS 1.2 or 1.3 is needed".to_owned(),
        rustls::Error::AlertReceived(alert) => format!("the TLS handshake was refused with the alert {alert:?}"),
        rustls::Error::InvalidMessage(_) => "the port does not speak TLS".to_owned(),
        other => format!("the TLS handshake failed: {other}"),
    }
}

/// The first error of type `T` in the chain of causes. Looks into [`io::Error`]s, whose `source` skips the error inside.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next: Option<&'a (dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}
