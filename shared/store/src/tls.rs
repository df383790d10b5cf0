//! TLS to the database, with rustls. The certificate and the name are always verified.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::StoreError;

/// How a connection is encrypted.
#[derive(Clone)]
pub(crate) enum Tls {
    /// No encryption: plain TCP, or a Unix socket.
    Off,
    /// TLS with verification.
    On(MakeRustlsConnect),
}

/// Parses the URL. `tokio_postgres` does not support libpq's `verify-ca` and `verify-full`; here TLS always verifies the
/// certificate and the name.
pub(crate) fn settings(url: &str, ca_file: Option<&Path>) -> Result<(tokio_postgres::Config, Tls), StoreError> {
    let url = url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require");
    // The parser's error never contains the URL. The URL contains the password.
    let mut config: tokio_postgres::Config =
        url.parse().map_err(|error: tokio_postgres::Error| StoreError::Settings(crate::error::describe(&error)))?;
    let wanted = config.get_ssl_mode() == SslMode::Require || ca_file.is_some();
    if !wanted {
        config.ssl_mode(SslMode::Disable);
        return Ok((config, Tls::Off));
    }
    config.ssl_mode(SslMode::Require);
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let shown = path.display();
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
                .map_err(|error| StoreError::Settings(format!("CA file {shown}: {error}")))?;
            if certificates.is_empty() {
                return Err(StoreError::Settings(format!("CA file {shown}: no certificate in it")));
            }
            for certificate in certificates {
                roots.add(certificate).map_err(|e| StoreError::Settings(format!("CA file {shown}: {e}")))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Settings(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((config, Tls::On(MakeRustlsConnect::new(client))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_on(url: &str) -> bool {
        matches!(settings(url, None).unwrap().1, Tls::On(_))
    }

    #[test]
    fn the_url_says_whether_there_is_tls_and_tls_always_verifies() {
        for url in ["postgres://u:p@h/db", "postgres://u@h/db?sslmode=disable", "postgres://u@h/db?sslmode=prefer"] {
            assert!(!is_on(url), "{url}");
        }
        for mode in ["require", "verify-ca", "verify-full"] {
            assert!(is_on(&format!("postgres://u:p@h/db?sslmode={mode}")), "{mode}");
        }
    }

    #[test]
    fn mistakes_name_the_file_and_never_the_password() {
        let missing = settings("postgres://u@h/db", Some(Path::new("/nonexistent/ca.pem"))).err().unwrap();
        assert!(missing.to_string().contains("/nonexistent/ca.pem"), "{missing}");
        let empty = settings("postgres://u@h/db", Some(Path::new("/dev/null"))).err().unwrap();
        assert!(empty.to_string().contains("no certificate"), "{empty}");
        let url = settings("postgres://u:s3cret@h/db?sslmode=sometimes", None).err().unwrap();
        assert!(!url.to_string().contains("s3cret"), "{url}");
    }
}
