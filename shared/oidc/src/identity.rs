//! The person whom the provider has signed in.

use serde_json::{Map, Value};

use crate::id_token::Claims;
use crate::rule::OperatorRule;

/// Maximum number of characters of a name or an e-mail address; a longer one is not used.
const NAME_CHARACTERS_MAX: usize = 320;

/// The person whom the provider has signed in.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// The person's id at the provider, which never changes.
    pub subject: String,
    /// The e-mail address, if the provider has verified it.
    pub email: Option<String>,
    /// How to name the person: the verified e-mail address; without one, the user name at the provider, or the subject.
    pub name: String,
    /// The claims that the rule for operators reads.
    pub claims: Value,
}

impl Identity {
    /// Reads the claims of a verified ID token. Keeps the claims that `rule` reads.
    pub(crate) fn new(issuer: &str, claims: &Claims, rule: &OperatorRule) -> Self {
        let text = |name: &str| {
            let value = claims.get(name).and_then(Value::as_str).filter(|value| is_name(value));
            value.map(str::to_owned)
        };
        let email = text("email").filter(|_| is_verified(claims));
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        // People may be able to choose their user name, so that the audit log must not show it like a verified address.
        let user_name = || text("preferred_username").map(|name| format!("{name} (not verified)"));
        let name = email.clone().or_else(user_name).unwrap_or_else(|| subject.clone());
        let read = rule.claim.iter().filter_map(|rule| Some((rule.name.clone(), claims.get(&rule.name)?.clone())));
        let claims = Value::Object(read.collect::<Map<_, _>>());
        Self { issuer: issuer.to_owned(), subject, email, name, claims }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= NAME_CHARACTERS_MAX && !text.contains(is_unseen)
}

/// Whether a character is a control character or changes the direction of the text after it.
fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether the provider has verified the e-mail address. Some providers write the text `"true"`.
fn is_verified(claims: &Claims) -> bool {
    match claims.get("email_verified") {
        Some(Value::Bool(verified)) => *verified,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

/// Adds the claims of the UserInfo endpoint that the ID token does not have. The e-mail address and `email_verified` belong
/// together, so that both come from one of the two.
pub(crate) fn completed(mut claims: Claims, more: Claims) -> Claims {
    if ["email", "email_verified"].iter().any(|name| !claims.contains_key(*name)) && more.contains_key("email") {
        claims.remove("email");
        claims.remove("email_verified");
    }
    let has_email = claims.contains_key("email");
    for (name, value) in more {
        if !(has_email && name == "email_verified") {
            claims.entry(name).or_insert(value);
        }
    }
    claims
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    fn identity(value: Value) -> Identity {
        let rule = OperatorRule { emails: Default::default(), claim: "groups=ops".parse().ok() };
        Identity::new("https://id", &claims(value), &rule)
    }

    #[test]
    fn only_a_verified_address_is_used() {
        let email = |verified: Value| identity(json!({"sub": "1", "email": "a@b", "email_verified": verified})).email;
        assert_eq!(email(json!(true)).as_deref(), Some("a@b"));
        assert_eq!(email(json!("true")).as_deref(), Some("a@b"));
        for unverified in [json!(false), json!("false"), json!(null), json!(1), json!(["true"])] {
            assert_eq!(email(unverified), None);
        }
        assert_eq!(identity(json!({"sub": "1", "email": "a@b"})).email, None);
    }

    #[test]
    fn a_person_is_named_by_address_user_name_or_subject() {
        let name = |value: Value| identity(value).name;
        assert_eq!(name(json!({"sub": "1", "email": "a@b", "email_verified": true})), "a@b");
        assert_eq!(name(json!({"sub": "1", "email": "a@b", "preferred_username": "jane"})), "jane (not verified)");
        assert_eq!(name(json!({"sub": "1", "preferred_username": "line\nbreak"})), "1");
        let kept = identity(json!({"sub": "1", "groups": ["ops"], "phone": "+1"})).claims;
        assert_eq!(kept, json!({"groups": ["ops"]}), "other claims are not kept");
    }

    #[test]
    fn an_address_and_its_verification_come_from_one_document() {
        let both = |token: Value, info: Value| Value::Object(completed(claims(token), claims(info)));
        let token = json!({"email": "mallory@evil"});
        let info = json!({"email": "jane@b", "email_verified": true});
        assert_eq!(both(token.clone(), info.clone()), info);
        assert_eq!(both(token, json!({"email_verified": true})), json!({"email": "mallory@evil"}));
        let verified = json!({"email": "jane@b", "email_verified": true});
        assert_eq!(both(verified.clone(), json!({"email": "x@y", "email_verified": false})), verified);
        assert_eq!(both(json!({"sub": "1"}), json!({"groups": ["ops"]})), json!({"sub": "1", "groups": ["ops"]}));
    }
}
