//! Converts a failure into an [`Outcome`] and a sentence for the endpoint's owner.
//!
//! A sentence tells the owner what to check, and reveals nothing about Postrider's network: no internal address, no secret, no
//! query string. It never contains a library's error text: each kind of error, and the last arm of each match, has its own
//! sentence.

use std::io;

use postrider_model::attempt::Outcome;
use postrider_model::time::UnixMillis;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, PeerIncompatible};

use crate::answer::NoAnswer;
use crate::guard::UrlRefused;
use crate::resolver::ResolveError;

/// Maximum number of names of a certificate in a sentence.
const NAMES_MAX: usize = 5;
/// Maximum number of bytes of each name.
const NAME_BYTES_MAX: usize = 100;

/// Why an attempt has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) outcome: Outcome,
    pub(crate) words: String,
}

impl Failure {
    fn new(outcome: Outcome, words: impl Into<String>) -> Self {
        Self { outcome, words: words.into() }
    }

    /// The attempt's deadline has passed.
    pub(crate) fn timed_out() -> Self {
        Self::new(Outcome::Timeout, "no answer in time")
    }

    /// The host is not a name that can be looked up.
    pub(crate) fn unresolved() -> Self {
        Self::from(&ResolveError::NotFound)
    }
}

impl From<&ResolveError> for Failure {
    fn from(error: &ResolveError) -> Self {
        let outcome = match error {
            ResolveError::Blocked => Outcome::AddressBlocked,
            ResolveError::NotFound | ResolveError::Unanswered => Outcome::DnsFailed,
        };
        Self::new(outcome, error.to_string())
    }
}

impl From<UrlRefused> for Failure {
    /// The URL was allowed when it was saved, but the operator has closed an address range since then.
    fn from(refused: UrlRefused) -> Self {
        Self::new(Outcome::AddressBlocked, refused.to_string())
    }
}

impl From<NoAnswer> for Failure {
    fn from(why: NoAnswer) -> Self {
        let words = match why {
            NoAnswer::TimedOut => return Self::timed_out(),
            NoAnswer::NotHttp(words) => words,
            NoAnswer::Cut => "the connection was closed within the first line of the answer",
            NoAnswer::Closed(Some(error)) if is_reset(&error) => "the connection was reset before an answer came",
            NoAnswer::Closed(Some(error)) if error.kind() == io::ErrorKind::InvalidData => {
                "the connection broke before an answer came: what arrived is not valid TLS"
            }
            NoAnswer::Closed(_) => "the connection was closed before an answer came",
        };
        Self::new(Outcome::ProtocolError, words)
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
}

/// Returns the sentence for a failed connection.
pub(crate) fn of_connecting(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection was refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => "the connection was reset",
        io::ErrorKind::HostUnreachable => "the host is unreachable",
        io::ErrorKind::NetworkUnreachable => "the network is unreachable",
        io::ErrorKind::TimedOut => "the connection timed out",
        _ => "no connection could be made",
    }
}

/// Describes a failed TLS handshake.
pub(crate) fn of_handshake(error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let words = match inner {
        Some(error) => of_tls(error),
        None if is_reset(error) => "the connection was reset during the TLS handshake".to_owned(),
        None => "the connection was closed during the TLS handshake".to_owned(),
    };
    Failure::new(Outcome::TlsFailed, words)
}

fn of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => of_certificate(error),
        rustls::Error::PeerIncompatible(error) => of_incompatible(error).to_owned(),
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::InvalidMessage(_) => "the port does not speak TLS".to_owned(),
        rustls::Error::NoCertificatesPresented => "the server sent no certificate".to_owned(),
        rustls::Error::PeerSentOversizedRecord => "the server sent a TLS record that is too large".to_owned(),
        rustls::Error::NoApplicationProtocol => "the server does not offer HTTP/1.1 (ALPN)".to_owned(),
        rustls::Error::DecryptError => "the server sent a TLS message that cannot be decrypted".to_owned(),
        _ => "the TLS handshake failed: the server broke the protocol".to_owned(),
    }
}

fn of_incompatible(error: &PeerIncompatible) -> &'static str {
    match error {
        PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "no common TLS version: TLS 1.2 or 1.3 is needed"
        }
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon => {
            "no common TLS cipher: ECDHE with AES-GCM or ChaCha20-Poly1305 is needed, on X25519, P-256 or P-384"
        }
        _ => "no common TLS version or cipher: TLS 1.2 or 1.3 is needed",
    }
}

/// Returns the sentence for an alert (RFC 8446 section 6): the registered name of the alert, and what to check.
fn of_alert(alert: AlertDescription) -> String {
    let (name, hint) = match alert {
        AlertDescription::HandshakeFailure => (
            "handshake_failure",
            "no TLS version, cipher or key type in common: TLS 1.2 or 1.3, ECDHE with AES-GCM or \
             ChaCha20-Poly1305, and a certificate with RSA, P-256, P-384 or Ed25519 are supported",
        ),
        AlertDescription::InsufficientSecurity => {
            ("insufficient_security", "it requires ciphers that are not supported")
        }
        AlertDescription::ProtocolVersion => ("protocol_version", "TLS 1.2 or 1.3 is needed"),
        AlertDescription::UnrecognisedName => ("unrecognized_name", "it has no site with this host name"),
        AlertDescription::CertificateRequired | AlertDescription::BadCertificate | AlertDescription::AccessDenied => {
            ("certificate_required", "it asks for a client certificate, which is not supported")
        }
        AlertDescription::NoApplicationProtocol => ("no_application_protocol", "it does not offer HTTP/1.1"),
        AlertDescription::InternalError => ("internal_error", "its TLS configuration is faulty"),
        AlertDescription::UnknownCA => ("unknown_ca", "it asks for a client certificate, which is not supported"),
        AlertDescription::DecodeError => ("decode_error", "it cannot read the TLS message"),
        AlertDescription::IllegalParameter => ("illegal_parameter", "it does not accept the TLS message"),
        AlertDescription::UnexpectedMessage => ("unexpected_message", "it does not accept the TLS message"),
        AlertDescription::CloseNotify => ("close_notify", "it closed the connection"),
        other => return format!("the server refused the TLS handshake with alert {}", u8::from(other)),
    };
    format!("the server refused the TLS handshake ({name}): {hint}")
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired => "the certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate expired at {}", instant(*not_after))
        }
        CertificateError::NotValidYet => "the certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}", instant(*not_before))
        }
        CertificateError::NotValidForName => "the certificate is for another host name".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => of_names(presented),
        CertificateError::UnknownIssuer => {
            "the certificate's issuer is not trusted (self-signed, or an intermediate certificate is missing)".to_owned()
        }
        CertificateError::Revoked => "the certificate is revoked".to_owned(),
        CertificateError::BadEncoding => "the certificate cannot be read".to_owned(),
        CertificateError::BadSignature => {
            "a signature of the certificate cannot be verified: its key is too short (RSA below 2048 bits), or it does not belong to \
             its issuer"
                .to_owned()
        }
        CertificateError::UnhandledCriticalExtension => {
            "the certificate has a critical extension that is not supported".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the certificate is signed with an algorithm that is not supported; use RSA with SHA-256, P-256, P-384 or Ed25519"
                .to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not for servers (its extended key usage lacks serverAuth)".to_owned()
        }
        CertificateError::Other(rustls::OtherError(error)) => {
            error.downcast_ref().map_or(INVALID, of_webpki).to_owned()
        }
        _ => INVALID.to_owned(),
    }
}

const INVALID: &str = "the certificate is not valid";

fn of_webpki(error: &webpki::Error) -> &'static str {
    match error {
        webpki::Error::CaUsedAsEndEntity => {
            "the certificate is a CA certificate (CA:TRUE), not a server's; `openssl req -x509` makes these unless it gets \
             `-addext basicConstraints=critical,CA:FALSE`"
        }
        webpki::Error::EndEntityUsedAsCa => "the certificate's issuer is not an authority (CA:FALSE)",
        webpki::Error::UnsupportedCertVersion => "the certificate has X.509 version 1; version 3 is needed",
        webpki::Error::InvalidCertValidity => "the certificate ends before it begins",
        webpki::Error::NameConstraintViolation => "the certificate's authority may not issue for this name",
        webpki::Error::PathLenConstraintViolated | webpki::Error::MaximumPathDepthExceeded => {
            "the certificate's chain is too long"
        }
        webpki::Error::MaximumSignatureChecksExceeded
        | webpki::Error::MaximumPathBuildCallsExceeded
        | webpki::Error::MaximumNameConstraintComparisonsExceeded => "the certificate's chain is too complex",
        webpki::Error::EmptyEkuExtension
        | webpki::Error::ExtensionValueInvalid
        | webpki::Error::MalformedExtensions => "the certificate has an extension that is not valid",
        webpki::Error::InvalidSerialNumber => "the certificate's serial number is not valid",
        webpki::Error::SignatureAlgorithmMismatch => "the certificate names two different signature algorithms",
        webpki::Error::MalformedDnsIdentifier | webpki::Error::MalformedNameConstraint => {
            "the certificate has a name that is not valid"
        }
        _ => INVALID,
    }
}

/// Returns the sentence with the certificate's names. The server chooses the names, so they are truncated and made printable.
fn of_names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "the certificate names no host (it has no subjectAltName)".to_owned();
    }
    let names: Vec<String> = presented.iter().take(NAMES_MAX).map(|name| plain_name(name)).collect();
    let more = presented.len().saturating_sub(NAMES_MAX);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("the certificate is for another host name: {}{more}", names.join(", "))
}

/// Returns a certificate's name without the library's debug form, such as `DnsName("example.com")`.
fn plain_name(presented: &str) -> String {
    let inner = presented.split('"').nth(1).unwrap_or(presented);
    inner.chars().filter(|c| c.is_ascii_graphic()).take(NAME_BYTES_MAX).collect()
}

fn instant(at: UnixTime) -> String {
    let millis = i64::try_from(at.as_secs().saturating_mul(1_000)).unwrap_or(i64::MAX);
    UnixMillis(millis).to_rfc3339_seconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(error: impl Into<rustls::Error>) -> String {
        of_handshake(&io::Error::new(io::ErrorKind::InvalidData, error.into())).words
    }

    fn other(error: webpki::Error) -> String {
        tls(CertificateError::Other(rustls::OtherError(std::sync::Arc::new(error))))
    }

    #[test]
    fn certificate_errors_are_sentences() {
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let expired = CertificateError::ExpiredContext { time: at(1_800_000_000), not_after: at(1_700_000_000) };
        assert_eq!(tls(expired), "the certificate expired at 2023-11-14T22:13:20Z");
        let early = CertificateError::NotValidYetContext { time: at(0), not_before: at(1_700_000_000) };
        assert_eq!(tls(early), "the certificate is not valid before 2023-11-14T22:13:20Z");
        assert!(other(webpki::Error::CaUsedAsEndEntity).contains("CA:TRUE"));
        assert!(other(webpki::Error::UnsupportedCertVersion).contains("version 1"));
        assert!(tls(CertificateError::BadSignature).contains("RSA below 2048"));
        assert_eq!(other(webpki::Error::UnknownRevocationStatus), INVALID);
    }

    #[test]
    fn a_certificate_for_another_name_is_described_by_its_names() {
        let names = |names: &[&str]| of_names(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            names(&["DnsName(\"a.example\")", "b.example"]),
            "the certificate is for another host name: a.example, b.example"
        );
        assert!(names(&[]).contains("no host"));
        let many = names(&["x\u{202e}\n"; 7]);
        assert_eq!(many, "the certificate is for another host name: x, x, x, x, x and 2 more");
        assert!(names(&[&"x".repeat(5_000)]).len() < 200);
    }

    /// Whether `words` contains the `Debug` text of an enum: a word with a capital letter after a small letter.
    fn has_debug_text(words: &str) -> bool {
        words.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
            let inner =
                word.as_bytes().windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
            inner && !["subjectAltName", "serverAuth", "basicConstraints", "ChaCha20"].contains(&word)
        })
    }

    #[test]
    fn no_sentence_contains_debug_text() {
        for code in 0..=u8::MAX {
            let words = tls(rustls::Error::AlertReceived(AlertDescription::from(code)));
            assert!(!has_debug_text(&words), "{words}");
        }
        for error in [
            rustls::Error::EncryptError,
            rustls::Error::DecryptError,
            rustls::Error::HandshakeNotComplete,
            rustls::Error::BadMaxFragmentSize,
            rustls::Error::General("SomeThing(Bad)".into()),
            rustls::Error::PeerMisbehaved(rustls::PeerMisbehaved::TooMuchEarlyDataReceived),
            rustls::Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon),
            CertificateError::InvalidOcspResponse.into(),
            CertificateError::UnknownRevocationStatus.into(),
        ] {
            let words = tls(error);
            assert!(!has_debug_text(&words), "{words}");
        }
        assert!(has_debug_text("Other(OtherError(CaUsedAsEndEntity))"));
    }
}
