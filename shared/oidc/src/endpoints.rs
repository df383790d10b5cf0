//! The provider's configuration document (OpenID Connect Discovery 1.0, section 3).

use serde::Deserialize;
use url::{Host, Url};

use crate::error::{SignInError, shown};

/// The members of the configuration document that a sign-in uses.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Endpoints {
    issuer: String,
    pub(crate) authorization_endpoint: Url,
    pub(crate) token_endpoint: Url,
    pub(crate) jwks_uri: Url,
    pub(crate) userinfo_endpoint: Option<Url>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// How the client proves its identity to the token endpoint (OpenID Connect Core 1.0, section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientProof {
    /// The secret is in the header `Authorization`.
    Basic,
    /// The secret is in the body.
    Post,
}

impl Endpoints {
    /// The address of the document of an issuer.
    pub(crate) fn address(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
    }

    /// Checks that the document belongs to the issuer, and that its addresses are safe to use.
    pub(crate) fn checked(self, issuer: &str) -> Result<Self, SignInError> {
        if self.issuer != issuer {
            let detail = format!(
                "its issuer is `{}`, POSTRIDER_OIDC_ISSUER is `{}`; both must be the same text",
                shown(&self.issuer),
                shown(issuer)
            );
            return Err(SignInError::Misconfigured(detail));
        }
        let named = [
            ("authorization_endpoint", Some(&self.authorization_endpoint)),
            ("token_endpoint", Some(&self.token_endpoint)),
            ("jwks_uri", Some(&self.jwks_uri)),
            ("userinfo_endpoint", self.userinfo_endpoint.as_ref()),
        ];
        for (name, url) in named {
            if url.is_some_and(|url| !is_safe(url)) {
                return Err(SignInError::Misconfigured(format!(
                    "the `{name}` of its configuration is not an https URL"
                )));
            }
        }
        Ok(self)
    }

    /// How the client sends its secret. Providers that do not say accept `client_secret_basic`.
    pub(crate) fn client_proof(&self) -> ClientProof {
        let supports = |methods: &[String], method: &str| methods.iter().any(|known| known == method);
        match &self.token_endpoint_auth_methods_supported {
            Some(methods) if !supports(methods, "client_secret_basic") && supports(methods, "client_secret_post") => {
                ClientProof::Post
            }
            _ => ClientProof::Basic,
        }
    }
}

/// Whether a URL has https, or leads to this machine.
pub(crate) fn is_safe(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn document(change: Value) -> Endpoints {
        let mut document = json!({
            "issuer": "https://id.example.com",
            "authorization_endpoint": "https://id.example.com/authorize",
            "token_endpoint": "https://id.example.com/token",
            "jwks_uri": "https://id.example.com/keys",
        });
        document.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn a_document_belongs_to_its_issuer_and_has_https_addresses() {
        let issuer = "https://id.example.com";
        assert!(document(json!({})).checked(issuer).is_ok());
        let refused = |change, words: &str| {
            let error = document(change).checked(issuer).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        refused(json!({"issuer": "https://id.example.com/"}), "POSTRIDER_OIDC_ISSUER");
        refused(json!({"token_endpoint": "http://id.example.com/token"}), "`token_endpoint`");
        refused(json!({"userinfo_endpoint": "ftp://id.example.com"}), "`userinfo_endpoint`");
        assert_eq!(Endpoints::address("https://a/b/"), "https://a/b/.well-known/openid-configuration");
    }

    #[test]
    fn the_secret_is_sent_as_the_provider_supports_it() {
        let proof = |methods: Value| document(json!({"token_endpoint_auth_methods_supported": methods})).client_proof();
        assert_eq!(proof(json!(null)), ClientProof::Basic);
        assert_eq!(proof(json!(["client_secret_post", "client_secret_basic"])), ClientProof::Basic);
        assert_eq!(proof(json!(["client_secret_post"])), ClientProof::Post);
    }
}
