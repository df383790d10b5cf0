//! How a product signs, next to the Standard Webhooks headers.

use serde::{Deserialize, Serialize};

/// A product's own signature: one header with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureScheme {
    /// The header, as the product writes it. An endpoint may rename the header of a token.
    pub header: String,
    /// Its value.
    pub kind: SchemeKind,
}

/// The value of the signature header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemeKind {
    /// HMAC-SHA256, keyed with the secret's text as shown.
    Hmac {
        /// The encoding of the 32 bytes.
        encoding: Encoding,
        /// What is signed.
        signed: SignedContent,
        /// The header's value around the signature.
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
    /// Standard alphabet, padded.
    Base64,
}

/// What a signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedContent {
    /// The body as it is sent.
    Body,
    /// The attempt's Unix seconds, a dot, the body.
    TimestampBody,
}

/// The value of a signature header: text around `{signature}` and, if it is signed, `{timestamp}` (Unix seconds).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureTemplate(Vec<TemplatePart>);

/// A piece of a [`SignatureTemplate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// Text.
    Text(String),
    /// The encoded signature.
    Signature,
    /// The attempt's time, Unix seconds.
    Timestamp,
}

impl SignatureTemplate {
    /// The parts in order.
    pub fn parts(&self) -> &[TemplatePart] {
        &self.0
    }

    /// Reads a template.
    ///
    /// # Errors
    /// A brace outside a known placeholder, no `{signature}`, a repeated placeholder, or two placeholders without text between
    /// them, which no receiver could separate.
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
