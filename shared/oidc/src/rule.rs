//! Decides who is an operator.

use std::str::FromStr;

use postrider_settings::cut;
use serde_json::Value;

use crate::emails::OperatorEmails;

/// A claim with a value, such as `groups=postrider-operators`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRule {
    /// The name of the claim.
    pub name: String,
    /// The value: the claim is equal to it, or is a list that contains it.
    pub value: String,
}

impl FromStr for ClaimRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
                Ok(Self { name: name.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err(format!("`{}` is not CLAIM=VALUE; expected such as groups=postrider-operators", cut(text))),
        }
    }
}

impl ClaimRule {
    fn accepts(&self, claim: &Value) -> bool {
        match claim {
            Value::String(text) => *text == self.value,
            Value::Bool(flag) => flag.to_string() == self.value,
            Value::Number(number) => number.to_string() == self.value,
            Value::Array(values) => values.iter().any(|value| value.as_str() == Some(self.value.as_str())),
            Value::Null | Value::Object(_) => false,
        }
    }
}

/// The rule for operators. A person who meets one part is an operator; an empty rule admits no one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorRule {
    /// The e-mail addresses and domains of operators.
    pub emails: OperatorEmails,
    /// A claim that operators have.
    pub claim: Option<ClaimRule>,
}

impl OperatorRule {
    /// Whether a person with this verified e-mail address and these claims is an operator.
    pub fn admits(&self, verified_email: Option<&str>, claims: &Value) -> bool {
        let by_claim = |rule: &ClaimRule| claims.get(&rule.name).is_some_and(|claim| rule.accepts(claim));
        verified_email.is_some_and(|email| self.emails.contains(email)) || self.claim.as_ref().is_some_and(by_claim)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(emails: &str, claim: &str) -> OperatorRule {
        OperatorRule { emails: emails.parse().unwrap(), claim: claim.parse().ok() }
    }

    #[test]
    fn one_part_of_the_rule_is_enough_and_no_rule_admits_no_one() {
        let both = rule("jane@example.com", "groups=operators");
        assert!(both.admits(Some("jane@example.com"), &json!({})));
        assert!(both.admits(None, &json!({"groups": ["staff", "operators"]})));
        assert!(!both.admits(Some("joe@example.com"), &json!({"groups": ["staff"]})));
        assert!(!rule("", "").admits(Some("jane@example.com"), &json!({"groups": ["operators"]})));
    }

    #[test]
    fn a_claim_is_equal_to_the_value_or_contains_it() {
        let check = |claim: Value, expected: bool| {
            assert_eq!(rule("", "groups=operators").admits(None, &json!({"groups": claim})), expected, "{claim}");
        };
        check(json!("operators"), true);
        check(json!(["operators"]), true);
        check(json!("operators-not"), false);
        check(json!("staff operators"), false);
        check(json!([["operators"]]), false);
        check(json!({"operators": true}), false);
        check(json!(null), false);
        assert!(rule("", "admin=true").admits(None, &json!({"admin": true})));
        assert!(!rule("", "admin=true").admits(None, &json!({"admin": [true], "other": true})));
    }

    #[test]
    fn a_rule_without_name_or_value_is_refused() {
        for wrong in ["groups", "=x", "groups=", " = "] {
            assert!(wrong.parse::<ClaimRule>().unwrap_err().contains("CLAIM=VALUE"), "{wrong}");
        }
        let dn: ClaimRule = "memberOf=cn=ops,dc=example".parse().unwrap();
        assert_eq!((dn.name.as_str(), dn.value.as_str()), ("memberOf", "cn=ops,dc=example"));
    }
}
