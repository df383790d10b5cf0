//! A product's own signature, in addition to the Standard Webhooks headers or instead of them.

use serde::{Deserialize, Serialize};

/// A product's own signature: one header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureScheme {
    /// The header's name as the product writes it. An endpoint may rename a token's header.
    pub header: String,
    /// The kind of its value.
    pub kind: SchemeKind,
}

/// The kind of value of the signature header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemeKind {
    /// An HMAC-SHA256 signature; its key is the secret's text.
    Hmac {
        /// The encoding of the signature's 32 bytes.
        encoding: Encoding,
        /// The content that is signed.
        signed: SignedContent,
        /// The text around the signature.
        template: SignatureTemplate,
    },
    /// The secret itself.
    Token,
}

/// The encoding of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Lowercase hexadecimal.
    Hex,
    /// Base64 with the standard alphabet and padding.
    Base64,
}

/// The content that a signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedContent {
    /// The body as it is sent.
    Body,
    /// The attempt's time in Unix seconds, a dot, and the body.
    TimestampBody,
}

/// The template of a signature header: text around `{signature}` and, if the time is signed, `{timestamp}` (Unix seconds).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureTemplate(Vec<TemplatePart>);

/// A part of a [`SignatureTemplate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// Constant text.
    Text(String),
    /// The encoded signature.
    Signature,
    /// The attempt's time in Unix seconds.
    Timestamp,
}

impl SignatureTemplate {
    /// Returns the parts in order.
    pub fn parts(&self) -> &[TemplatePart] {
        &self.0
    }

    /// Parses a template.
    ///
    /// # Errors
    /// The text has a brace outside a known placeholder, no `{signature}`, a repeated placeholder, or two placeholders without
    /// text between them, which no receiver could separate.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(open) = rest.find(['{', '}']) {
            if open > 0 {
                parts.push(TemplatePart::Text(rest[..open].to_owned()));
            }
            rest = &rest[open..];
            let (part, length) = [("{signature}", TemplatePart::Signature), ("{timestamp}", TemplatePart::Timestamp)]
                .into_iter()
                .find(|(name, _)| rest.starts_with(name))
                .map(|(name, part)| (part, name.len()))
                .ok_or("the placeholders are {signature} and {timestamp}")?;
            if parts.contains(&part) {
                return Err("a placeholder is repeated".into());
            }
            if parts.last().is_some_and(|last| !matches!(last, TemplatePart::Text(_))) {
                return Err("text must stand between the placeholders".into());
            }
            parts.push(part);
            rest = &rest[length..];
        }
        if !rest.is_empty() {
            parts.push(TemplatePart::Text(rest.to_owned()));
        }
        if !parts.contains(&TemplatePart::Signature) {
            return Err("{signature} is missing".into());
        }
        Ok(Self(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_text_around_known_placeholders() {
        let parsed = SignatureTemplate::parse("t={timestamp},v1={signature}").unwrap();
        let text = |text: &str| TemplatePart::Text(text.into());
        assert_eq!(parsed.parts(), [text("t="), TemplatePart::Timestamp, text(",v1="), TemplatePart::Signature]);
        assert_eq!(SignatureTemplate::parse("{signature}").unwrap().parts(), [TemplatePart::Signature]);
        for bad in ["", "sha256=", "{sig}", "{signature}}", "{signature}{signature}", "{timestamp}{signature}"] {
            assert!(SignatureTemplate::parse(bad).is_err(), "{bad}");
        }
    }
}
