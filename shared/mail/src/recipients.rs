//! The addresses that endpoints may send to.

use lettre::Address;

/// Maximum number of bytes of an address (RFC 5321 section 4.5.3.1.3, without the brackets).
const ADDRESS_BYTES_MAX: usize = 254;

/// Why an endpoint cannot send to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecipientRefused {
    /// The deployment has no SMTP server.
    #[error("e-mail is not enabled on this deployment")]
    Off,
    /// The text is not an address.
    #[error("not an e-mail address such as alerts@example.com")]
    Invalid,
    /// The operator does not allow the domain.
    #[error("the operator does not allow e-mail to this domain")]
    Domain,
}

/// The domains that recipients may have. The default allows none: e-mail is off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipients {
    domains: Vec<String>,
}

impl Recipients {
    /// Allows addresses of these domains, not of their subdomains; `*` allows every domain.
    pub fn of_domains(domains: &[String]) -> Self {
        Self { domains: domains.iter().map(|domain| domain.to_ascii_lowercase()).collect() }
    }

    /// Whether e-mail is on.
    pub fn is_on(&self) -> bool {
        !self.domains.is_empty()
    }

    /// Checks an address.
    ///
    /// # Errors
    /// Why the address cannot be used.
    pub fn check(&self, address: &str) -> Result<(), RecipientRefused> {
        if !self.is_on() {
            return Err(RecipientRefused::Off);
        }
        let is_plain = address.is_ascii() && address.len() <= ADDRESS_BYTES_MAX && !address.contains(['"', '[', '(']);
        let parsed = address.parse::<Address>().ok().filter(|parsed| is_plain && parsed.domain().contains('.'));
        let domain = parsed.ok_or(RecipientRefused::Invalid)?.domain().to_ascii_lowercase();
        let is_allowed = self.domains.iter().any(|allowed| allowed == "*" || *allowed == domain);
        if is_allowed { Ok(()) } else { Err(RecipientRefused::Domain) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_of_allowed_domains_are_accepted() {
        let recipients = Recipients::of_domains(&["Example.com".into()]);
        for good in ["a@example.com", "first.last+tag@EXAMPLE.com"] {
            assert_eq!(recipients.check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a",
            "a@",
            "@example.com",
            "a b@example.com",
            "a@example.com\r\nBcc: b@example.com",
            "a@b@example.com",
            "\"a b\"@example.com",
            "a@[127.0.0.1]",
            "a@localhost",
            "ä@example.com",
            "A <a@example.com>",
            "a@example.com, b@example.com",
        ] {
            assert_eq!(recipients.check(bad), Err(RecipientRefused::Invalid), "{bad:?}");
        }
        let long = format!("{}@example.com", "x".repeat(300));
        assert_eq!(recipients.check(&long), Err(RecipientRefused::Invalid));
        for other in ["a@sub.example.com", "a@example.com.evil.example"] {
            assert_eq!(recipients.check(other), Err(RecipientRefused::Domain), "{other}");
        }
        assert_eq!(Recipients::of_domains(&["*".into()]).check("a@sub.example.org"), Ok(()));
        assert_eq!(Recipients::default().check("a@example.com"), Err(RecipientRefused::Off));
    }
}
