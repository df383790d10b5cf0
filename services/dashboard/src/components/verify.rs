//! Code for visitors to copy that verifies a profile's deliveries. `docs/receiving.md` explains the code.

use maud::{Markup, html};
use postrider_profiles::{Encoding, Profile, SchemeKind, SignatureTemplate, SignedContent, TemplatePart};

use crate::components::listing;
use crate::language::t;

/// A language and its snippet, for each language. Names between `@` in a snippet are placeholders.
type Snippets = [(&'static str, &'static str); 7];

macro_rules! snippets {
    ($kind:literal) => {
        [
            ("Node.js", include_str!(concat!("snippets/", $kind, ".node.txt"))),
            ("Python", include_str!(concat!("snippets/", $kind, ".python.txt"))),
            ("PHP", include_str!(concat!("snippets/", $kind, ".php.txt"))),
            ("Go", include_str!(concat!("snippets/", $kind, ".go.txt"))),
            ("Ruby", include_str!(concat!("snippets/", $kind, ".ruby.txt"))),
            ("Java", include_str!(concat!("snippets/", $kind, ".java.txt"))),
            ("Rust", include_str!(concat!("snippets/", $kind, ".rust.txt"))),
        ]
    };
}

const BODY: Snippets = snippets!("body");
const TIMESTAMP: Snippets = snippets!("timestamp");
const TOKEN: Snippets = snippets!("token");
const STANDARD: Snippets = snippets!("standard");

/// The snippets of a profile. One snippet is open at a time; `language.js` opens the one in the visitor's language.
/// `token_header` is the header that the endpoint chose for its token.
pub(crate) fn verification(profile: &Profile, token_header: Option<&str>) -> Markup {
    let advice = if profile.sends_token() {
        t!("Compare the token in constant time, so that timing does not reveal it.")
    } else {
        t!("Compute the signature over the raw bytes of the body, before a JSON parser reads them.")
    };
    html! {
        section.panel aria-labelledby="verify-title" {
            h2 #verify-title { (t!("Verify what you receive")) }
            p { (advice) }
            @for (index, (language, code)) in snippets(profile, token_header).iter().enumerate() {
                details name="verify" data-language=(language) open[index == 0] {
                    summary { (language) }
                    div.copyable {
                        (listing(&t!("Verification in {language}", language = language), code))
                        button.quiet type="button" hidden data-copy { (t!("Copy")) }
                    }
                }
            }
        }
    }
}

fn snippets(profile: &Profile, token_header: Option<&str>) -> [(&'static str, String); 7] {
    let Some(scheme) = &profile.signature else {
        return STANDARD.map(|(language, code)| (language, code.to_owned()));
    };
    let mut header = scheme.header.as_str();
    let mut values = Vec::new();
    let snippets = match &scheme.kind {
        SchemeKind::Token => {
            header = token_header.unwrap_or(header);
            TOKEN
        }
        SchemeKind::Hmac { encoding, signed, template } => {
            values.extend(encoding_values(*encoding));
            let signature = lead(template, TemplatePart::Signature);
            match signed {
                SignedContent::Body => {
                    values.extend(prefix_values(&signature));
                    BODY
                }
                SignedContent::TimestampBody => {
                    let time = lead(template, TemplatePart::Timestamp);
                    let [time, signature] = [time, signature].map(|lead| lead.trim_matches(',').to_owned());
                    values.push(("time_length", time.len().to_string()));
                    values.push(("signature_length", signature.len().to_string()));
                    values.extend([("time", time), ("signature", signature)]);
                    TIMESTAMP
                }
            }
        }
    };
    values.extend([("header", header.to_owned()), ("header_lowercase", header.to_ascii_lowercase())]);
    snippets.map(|(language, code)| {
        let filled =
            values.iter().fold(code.to_owned(), |code, (name, value)| code.replace(&format!("@{name}@"), value));
        (language, filled)
    })
}

/// How each language encodes the bytes of a signature, and what it imports to do so. In Python and Ruby, `mac` is an object; in
/// PHP, Go and Java, the value is the name of a function.
fn encoding_values(encoding: Encoding) -> [(&'static str, String); 9] {
    let values = match encoding {
        Encoding::Hex => [
            ("encoding", "hex"),
            ("python", "mac.hexdigest()"),
            ("python_import", ""),
            ("php", "bin2hex"),
            ("go", "hex.EncodeToString"),
            ("ruby", "mac.hexdigest"),
            ("java", "HexFormat.of().formatHex"),
            ("java_import", "HexFormat"),
            ("rust", "hex::decode(given)"),
        ],
        Encoding::Base64 => [
            ("encoding", "base64"),
            ("python", "base64.b64encode(mac.digest()).decode()"),
            ("python_import", "base64, "),
            ("php", "base64_encode"),
            ("go", "base64.StdEncoding.EncodeToString"),
            ("ruby", "[mac.digest].pack('m0')"),
            ("java", "Base64.getEncoder().encodeToString"),
            ("java_import", "Base64"),
            ("rust", "base64::Engine::decode(&base64::prelude::BASE64_STANDARD, given)"),
        ],
    };
    values.map(|(name, value)| (name, value.to_owned()))
}

/// The text before a signature: as it is, and as the beginning of a sum in each syntax. An empty text needs no sum.
fn prefix_values(prefix: &str) -> [(&'static str, String); 4] {
    let sum = |quote: char, operator: char| match prefix {
        "" => String::new(),
        prefix => format!("{quote}{prefix}{quote} {operator} "),
    };
    [("prefix", prefix.to_owned()), ("plus", sum('\'', '+')), ("dot", sum('\'', '.')), ("double", sum('"', '+'))]
}

/// The literal text directly before `part` in the template; empty if there is no such text.
fn lead(template: &SignatureTemplate, part: TemplatePart) -> String {
    let mut before = String::new();
    for piece in template.parts() {
        match piece {
            TemplatePart::Text(text) => before.clone_from(text),
            piece if *piece == part => return before,
            _ => before.clear(),
        }
    }
    before
}

#[cfg(test)]
mod tests;
