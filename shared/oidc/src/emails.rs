//! The list of e-mail addresses and domains of operators.

use std::collections::BTreeSet;
use std::str::FromStr;

use postrider_settings::cut;

/// E-mail addresses and domains, compared without regard to case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorEmails {
    addresses: BTreeSet<String>,
    domains: BTreeSet<String>,
}

impl FromStr for OperatorEmails {
    type Err = String;

    /// Reads addresses (`jane@example.com`) and domains (`@example.org`), separated by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut emails = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let lower = part.to_ascii_lowercase();
            let wrong = || {
                let shown = cut(part);
                format!(
                    "`{shown}` is neither an e-mail address nor a domain; expected such as jane@example.com,@example.org"
                )
            };
            let (local, domain) = lower.rsplit_once('@').ok_or_else(wrong)?;
            let valid = !domain.is_empty()
                && domain
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') || byte >= 0x80);
            if !valid || local.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
                return Err(wrong());
            }
            if local.is_empty() {
                emails.domains.insert(domain.to_owned());
            } else {
                emails.addresses.insert(lower);
            }
        }
        Ok(emails)
    }
}

impl OperatorEmails {
    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.domains.is_empty()
    }

    /// Whether the list has this address or its domain. A domain does not include its subdomains.
    pub(crate) fn contains(&self, email: &str) -> bool {
        let lower = email.to_ascii_lowercase();
        let domain = lower.rsplit_once('@').map_or("", |(_, domain)| domain);
        self.addresses.contains(&lower) || self.domains.contains(domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_domains_are_compared_whole_and_without_case() {
        let emails: OperatorEmails = "Jane@Example.com, @ops.example.org".parse().unwrap();
        for member in ["jane@example.com", "JANE@EXAMPLE.COM", "any@ops.example.org"] {
            assert!(emails.contains(member), "{member}");
        }
        for stranger in [
            "",
            "@",
            "example.com",
            "joe@example.com",
            "jane@example.com.evil.example",
            "evil-jane@example.com",
            "a@sub.ops.example.org",
            "a@example.org",
            "ops.example.org",
            "a@ops.example.org@evil.example",
        ] {
            assert!(!emails.contains(stranger), "{stranger}");
        }
        assert!(" , ".parse::<OperatorEmails>().unwrap().is_empty());
    }

    #[test]
    fn text_that_is_no_address_is_refused() {
        for wrong in ["example.com", "@", "jane@", "jane doe@example.com", "a@b c", "*@example.com/x"] {
            let error = wrong.parse::<OperatorEmails>().unwrap_err();
            assert!(error.contains("expected such as jane@example.com,@example.org"), "{error}");
        }
    }
}
