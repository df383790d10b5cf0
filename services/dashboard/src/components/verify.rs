//! Code for visitors to copy that verifies a profile's deliveries. `docs/receiving.md` explains the code.

use maud::{Markup, html};
use postrider_profiles::{Encoding, Profile, SchemeKind, SignatureTemplate, SignedContent, TemplatePart};

use crate::components::listing;

/// A language and its snippet, for each language. Names between `@` in a snippet are placeholders.
type Snippets = [(&'static str, &'static str); 3];

macro_rules! snippets {
    ($kind:literal) => {
        [
            ("Node.js", include_str!(concat!("snippets/", $kind, ".node.txt"))),
            ("Python", include_str!(concat!("snippets/", $kind, ".python.txt"))),
            ("Rust", include_str!(concat!("snippets/", $kind, ".rust.txt"))),
        ]
    };
}

const BODY: Snippets = snippets!("body");
const TIMESTAMP: Snippets = snippets!("timestamp");
const TOKEN: Snippets = snippets!("token");
const STANDARD: Snippets = snippets!("standard");

/// The snippets of a profile. One snippet is open at a time.
pub(crate) fn verification(profile: &Profile) -> Markup {
    let advice = if profile.sends_token() {
        "Compare the token in constant time, so that timing does not reveal it."
    } else {
        "Compute the signature over the raw bytes of the body, before a JSON parser reads them."
    };
    html! {
        section.panel aria-labelledby="verify-title" {
            h2 #verify-title { "Verify what you receive" }
            p { (advice) }
            @for (index, (language, code)) in snippets(profile).iter().enumerate() {
                details name="verify" open[index == 0] {
                    summary { (language) }
                    div.copyable {
                        (listing(&format!("Verification in {language}"), code))
                        button.quiet type="button" hidden data-copy { "Copy" }
                    }
                }
            }
        }
    }
}

fn snippets(profile: &Profile) -> [(&'static str, String); 3] {
    let Some(scheme) = &profile.signature else {
        return STANDARD.map(|(language, code)| (language, code.to_owned()));
    };
    let mut values =
        vec![("header", scheme.header.to_string()), ("header_lowercase", scheme.header.as_str().to_ascii_lowercase())];
    let snippets = match &scheme.kind {
        SchemeKind::Token => TOKEN,
        SchemeKind::Hmac { encoding, signed, template } => {
            values.extend(encoding_values(*encoding));
            let signature = lead(template, TemplatePart::Signature);
            match signed {
                SignedContent::Body => {
                    values.push(("prefix", signature));
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
    snippets.map(|(language, code)| {
        let filled =
            values.iter().fold(code.to_owned(), |code, (name, value)| code.replace(&format!("@{name}@"), value));
        (language, filled)
    })
}

fn encoding_values(encoding: Encoding) -> [(&'static str, String); 3] {
    let (name, encoded, decode) = match encoding {
        Encoding::Hex => ("hex", "expected.hex()", "hex::decode(given).ok()"),
        Encoding::Base64 => ("base64", "base64.b64encode(expected).decode()", "STANDARD.decode(given).ok()"),
    };
    [("encoding", name.to_owned()), ("encoded", encoded.to_owned()), ("decode", decode.to_owned())]
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
mod tests {
    use postrider_profiles::Profiles;

    use super::*;

    #[test]
    fn each_product_has_its_own_snippets() {
        let profiles = Profiles::builtin();
        for (name, expected) in [
            ("migma", "headers['x-migma-signature']"),
            ("migomail", "'sha256=' + createHmac"),
            ("metigan", "part.startsWith('t=')"),
            ("magnetite", "headers['x-magnetite-signature']"),
            ("standard", "standardwebhooks"),
        ] {
            let all = snippets(profiles.get(name).unwrap());
            assert!(all[0].1.contains(expected), "{name}: {}", all[0].1);
            assert!(all.iter().all(|(_, code)| !code.contains('@')), "{name}: every name is replaced");
        }
        let [(_, node), ..] = snippets(profiles.get("mumara").unwrap());
        assert!(!node.contains("createHmac"), "{node}");
    }
}
