//! Settings of the identity provider.

use std::path::PathBuf;

use postrider_settings::{CheckSettings, Optional, OptionalSecret, SettingError, check_file, cut};
use url::Url;

use crate::CALLBACK_PATH;
use crate::emails::OperatorEmails;
use crate::endpoints::is_safe;
use crate::provider::ProviderConfig;
use crate::rule::{ClaimRule, OperatorRule};

const ISSUER: &str = "POSTRIDER_OIDC_ISSUER";
const CLIENT_ID: &str = "POSTRIDER_OIDC_CLIENT_ID";
const SCOPES: &str = "POSTRIDER_OIDC_SCOPES";
const LABEL: &str = "POSTRIDER_OIDC_LABEL";
/// Maximum number of characters of the label.
const LABEL_CHARACTERS_MAX: usize = 40;

/// Settings of the OpenID Connect provider that signs operators in.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Operators' sign-in (OpenID Connect)")]
pub struct Settings {
    /// The issuer of an OpenID Connect provider with which operators sign in to the dashboard, exactly as the provider writes
    /// it. Requires a public URL. If empty, operators sign in with a key only.
    #[arg(
        id = "oidc-issuer",
        long = "oidc-issuer",
        env = "POSTRIDER_OIDC_ISSUER",
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    pub issuer: Optional<String>,
    /// The id of the client that is registered at the provider.
    #[arg(
        id = "oidc-client-id",
        long = "oidc-client-id",
        env = "POSTRIDER_OIDC_CLIENT_ID",
        value_name = "ID",
        default_value = "",
        hide_default_value = true
    )]
    pub client_id: Optional<String>,
    /// The secret of the client. If empty, the client is a public one, which PKCE alone protects.
    #[arg(
        id = "oidc-client-secret",
        long = "oidc-client-secret",
        env = "POSTRIDER_OIDC_CLIENT_SECRET",
        hide_env_values = true,
        value_name = "SECRET",
        default_value = "",
        hide_default_value = true
    )]
    pub client_secret: OptionalSecret,
    /// The scopes to request, separated by spaces. `openid` is required.
    #[arg(
        id = "oidc-scopes",
        long = "oidc-scopes",
        env = "POSTRIDER_OIDC_SCOPES",
        value_name = "SCOPES",
        default_value = "openid email profile"
    )]
    pub scopes: String,
    /// E-mail addresses and domains of operators, separated by commas, such as `jane@example.com,@ops.example.org`. Only
    /// addresses that the provider has verified count.
    #[arg(
        id = "oidc-operator-emails",
        long = "oidc-operator-emails",
        env = "POSTRIDER_OIDC_OPERATOR_EMAILS",
        value_name = "EMAIL,…",
        default_value = "",
        hide_default_value = true
    )]
    pub operator_emails: OperatorEmails,
    /// A claim of operators and its value, such as `groups=postrider-operators`. The claim is the value or a list that has it.
    #[arg(
        id = "oidc-operator-claim",
        long = "oidc-operator-claim",
        env = "POSTRIDER_OIDC_OPERATOR_CLAIM",
        value_name = "CLAIM=VALUE",
        default_value = "",
        hide_default_value = true
    )]
    pub operator_claim: Optional<ClaimRule>,
    /// The name of the provider in the button "Sign in with …".
    #[arg(
        id = "oidc-label",
        long = "oidc-label",
        env = "POSTRIDER_OIDC_LABEL",
        value_name = "TEXT",
        default_value = "single sign-on"
    )]
    pub label: String,
    /// A PEM file with root certificates for the provider, in addition to the system's.
    #[arg(
        id = "oidc-ca-file",
        long = "oidc-ca-file",
        env = "POSTRIDER_OIDC_CA_FILE",
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub ca_file: Optional<PathBuf>,
}

impl Settings {
    /// The settings of the provider; `None` if no issuer is set. `public_url` is the URL of the dashboard.
    pub fn provider(&self, public_url: Option<&Url>) -> Option<ProviderConfig> {
        let (issuer, client_id) = (self.issuer.0.clone()?, self.client_id.0.clone()?);
        Some(ProviderConfig {
            issuer,
            client_id,
            client_secret: self.client_secret.0.clone(),
            scopes: self.scopes.split_whitespace().collect::<Vec<_>>().join(" "),
            redirect_url: public_url?.join(CALLBACK_PATH).ok()?,
            ca_file: self.ca_file.0.clone(),
            rule: OperatorRule { emails: self.operator_emails.clone(), claim: self.operator_claim.0.clone() },
            label: self.label.trim().to_owned(),
        })
    }

    /// The first setting that is useless without an issuer.
    fn set_without_issuer(&self) -> Option<&'static str> {
        let set = [
            (CLIENT_ID, self.client_id.is_some()),
            ("POSTRIDER_OIDC_CLIENT_SECRET", self.client_secret.0.is_some()),
            ("POSTRIDER_OIDC_OPERATOR_EMAILS", !self.operator_emails.is_empty()),
            ("POSTRIDER_OIDC_OPERATOR_CLAIM", self.operator_claim.is_some()),
        ];
        set.into_iter().find_map(|(variable, is_set)| is_set.then_some(variable))
    }

    /// Checks the settings together with the public URL, which the redirect URL needs.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn check_with(&self, public_url: Option<&Url>) -> Result<(), SettingError> {
        self.check()?;
        if self.issuer.is_some() && public_url.is_none() {
            let detail = "requires POSTRIDER_PUBLIC_URL: the provider redirects the browser there";
            return Err(SettingError::new(ISSUER, detail));
        }
        Ok(())
    }
}

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        let Some(issuer) = &self.issuer.0 else {
            return match self.set_without_issuer() {
                Some(variable) => Err(SettingError::new(variable, format!("requires {ISSUER}"))),
                None => Ok(()),
            };
        };
        check_issuer(issuer)?;
        if self.client_id.is_none() {
            return Err(SettingError::new(CLIENT_ID, format!("required with {ISSUER}")));
        }
        if self.operator_emails.is_empty() && self.operator_claim.is_none() {
            let detail = "set it, or POSTRIDER_OIDC_OPERATOR_CLAIM, or both: without a rule no one is an operator";
            return Err(SettingError::new("POSTRIDER_OIDC_OPERATOR_EMAILS", detail));
        }
        if !self.scopes.split_whitespace().any(|scope| scope == "openid") {
            return Err(SettingError::new(SCOPES, format!("`{}` lacks the scope `openid`", cut(&self.scopes))));
        }
        let label = self.label.trim();
        if label.is_empty() || label.chars().count() > LABEL_CHARACTERS_MAX || label.contains(char::is_control) {
            return Err(SettingError::new(LABEL, format!("`{}` is not a text of 1 to 40 characters", cut(label))));
        }
        check_file("POSTRIDER_OIDC_CA_FILE", self.ca_file.as_ref())
    }
}

fn check_issuer(issuer: &str) -> Result<(), SettingError> {
    match Url::parse(issuer) {
        Ok(url) if is_safe(&url) && url.query().is_none() && url.fragment().is_none() => Ok(()),
        _ => {
            let detail = format!("`{}` is not an https URL without a query (http only on this machine)", cut(issuer));
            Err(SettingError::new(ISSUER, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn check(flags: &[&str], public_url: &str) -> Result<(), String> {
        let line = ["test"].iter().chain(flags);
        let settings = Line::try_parse_from(line).map_err(|error| error.to_string())?.settings;
        settings.check_with(Url::parse(public_url).ok().as_ref()).map_err(|error| error.to_string())
    }

    const ISSUER: &str = "--oidc-issuer=https://id.example.com/realms/a";
    const CLIENT: &str = "--oidc-client-id=postrider";
    const EMAILS: &str = "--oidc-operator-emails=jane@example.com";
    const URL: &str = "https://hooks.example.com";

    #[test]
    fn a_provider_needs_a_client_a_rule_and_a_public_url() {
        assert_eq!(check(&[], ""), Ok(()));
        assert_eq!(check(&[ISSUER, CLIENT, EMAILS], URL), Ok(()));
        assert_eq!(check(&[ISSUER, CLIENT, "--oidc-operator-claim=groups=ops"], URL), Ok(()));
        let refused = |flags: &[&str], url: &str, words: &[&str]| {
            let error = check(flags, url).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{flags:?}: {error}");
        };
        refused(&[ISSUER, CLIENT], URL, &["POSTRIDER_OIDC_OPERATOR_EMAILS", "without a rule no one is an operator"]);
        refused(&[ISSUER, EMAILS], URL, &["POSTRIDER_OIDC_CLIENT_ID: required"]);
        refused(&[ISSUER, CLIENT, EMAILS], "", &["requires POSTRIDER_PUBLIC_URL"]);
        refused(&[CLIENT], URL, &["POSTRIDER_OIDC_CLIENT_ID: requires POSTRIDER_OIDC_ISSUER"]);
        refused(&[EMAILS], URL, &["POSTRIDER_OIDC_OPERATOR_EMAILS: requires POSTRIDER_OIDC_ISSUER"]);
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        let with = |flag: &str| check(&[CLIENT, EMAILS, flag], URL).unwrap_err();
        for issuer in ["http://id.example.com", "id.example.com", "https://id.example.com?a=b", "ftp://localhost"] {
            assert!(with(&format!("--oidc-issuer={issuer}")).contains("is not an https URL"), "{issuer}");
        }
        assert_eq!(check(&["--oidc-issuer=http://127.0.0.1:9000", CLIENT, EMAILS], URL), Ok(()));
        let more = |flag: &str| check(&[ISSUER, CLIENT, EMAILS, flag], URL).unwrap_err();
        assert!(more("--oidc-scopes=email").contains("lacks the scope `openid`"));
        assert!(more("--oidc-label= ").contains("1 to 40 characters"));
        assert!(more("--oidc-operator-claim=groups").contains("CLAIM=VALUE"));
        assert!(more("--oidc-ca-file=/does/not/exist.pem").contains("POSTRIDER_OIDC_CA_FILE"));
    }
}
