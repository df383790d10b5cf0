//! How a receiver verifies a profile's deliveries, as code to copy. Each snippet is a whole function over the bytes as they
//! came; docs/receiving.md has the same at length.

use maud::{Markup, html};
use postrider_profiles::{Encoding, Profile, SchemeKind, SignedContent, TemplatePart};

use super::parts::listing;

/// The snippets of a profile, one open at a time.
pub(super) fn how_to(profile: &Profile) -> Markup {
    let snippets = snippets(profile);
    html! {
        section.panel aria-labelledby="verify-title" {
            h2 #verify-title { "Verify what you receive" }
            p { @if profile.sends_token() { "Compare the token in constant time, so that nobody can guess it piece by piece." }
                @else { "Compute the signature over the body's bytes as they came, before any JSON parser touches them." } }
            @for (index, (language, code)) in snippets.iter().enumerate() {
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
    match &profile.signature {
        Some(scheme) => match &scheme.kind {
            SchemeKind::Token => token(&scheme.header),
            SchemeKind::Hmac { encoding, signed, template } => {
                let lead = |part: TemplatePart| -> String {
                    let mut before = String::new();
                    for piece in template.parts() {
                        match piece {
                            TemplatePart::Text(text) => before.clone_from(text),
                            piece if *piece == part => return before,
                            _ => before.clear(),
                        }
                    }
                    before
                };
                let (hex, header) = (*encoding == Encoding::Hex, scheme.header.as_str());
                match signed {
                    SignedContent::Body => over_body(header, &lead(TemplatePart::Signature), hex),
                    SignedContent::TimestampBody => {
                        let [t, v] = [lead(TemplatePart::Timestamp), lead(TemplatePart::Signature)];
                        over_time_and_body(header, t.trim_matches(','), v.trim_matches(','), hex)
                    }
                }
            }
        },
        None => standard(),
    }
}

fn over_body(header: &str, prefix: &str, hex: bool) -> [(&'static str, String); 3] {
    let (node, python) = if hex { ("hex", "hexdigest()") } else { ("base64", "digest()") };
    let python_encode =
        if hex { "".to_owned() } else { "    expected = base64.b64encode(expected).decode()\n".to_owned() };
    let rust = if hex { "hex::decode(given).ok()" } else { "STANDARD.decode(given).ok()" };
    let lower = header.to_ascii_lowercase();
    [
        (
            "Node.js",
            format!(
                "import {{ createHmac, timingSafeEqual }} from 'node:crypto';\n\nexport function verify(rawBody, headers, secret) {{\n  const given = Buffer.from(headers['{lower}'] ?? '');\n  const expected = Buffer.from('{prefix}' + createHmac('sha256', secret).update(rawBody).digest('{node}'));\n  return given.length === expected.length && timingSafeEqual(given, expected);\n}}\n"
            ),
        ),
        (
            "Python",
            format!(
                "import base64, hashlib, hmac\n\ndef verify(raw_body: bytes, headers, secret: str) -> bool:\n    expected = hmac.new(secret.encode(), raw_body, hashlib.sha256).{python}\n{python_encode}    return hmac.compare_digest(headers.get('{header}', ''), '{prefix}' + expected)\n"
            ),
        ),
        (
            "Rust",
            format!(
                "use hmac::{{Hmac, Mac}};\nuse sha2::Sha256;\n\nfn verify(raw_body: &[u8], header: &str, secret: &str) -> bool {{\n    // header: the value of {header}\n    let given = header.strip_prefix(\"{prefix}\").and_then(|given| {rust});\n    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {{ return false }};\n    mac.update(raw_body);\n    given.is_some_and(|given| mac.verify_slice(&given).is_ok())\n}}\n"
            ),
        ),
    ]
}

fn over_time_and_body(header: &str, t: &str, v: &str, hex: bool) -> [(&'static str, String); 3] {
    let (node, python) = if hex { ("hex", "hexdigest()") } else { ("base64", "digest()") };
    let rust = if hex { "hex::decode(given).ok()" } else { "STANDARD.decode(given).ok()" };
    let lower = header.to_ascii_lowercase();
    [
        (
            "Node.js",
            format!(
                "import {{ createHmac, timingSafeEqual }} from 'node:crypto';\n\nexport function verify(rawBody, headers, secret) {{\n  const parts = (headers['{lower}'] ?? '').split(',');\n  const time = parts.find((part) => part.startsWith('{t}'))?.slice({tl}) ?? '';\n  const given = Buffer.from(parts.find((part) => part.startsWith('{v}'))?.slice({vl}) ?? '');\n  const expected = Buffer.from(createHmac('sha256', secret).update(`${{time}}.`).update(rawBody).digest('{node}'));\n  const fresh = Math.abs(Date.now() / 1000 - Number(time)) < 300;\n  return fresh && given.length === expected.length && timingSafeEqual(given, expected);\n}}\n",
                tl = t.len(),
                vl = v.len()
            ),
        ),
        (
            "Python",
            format!(
                "import hashlib, hmac, time\n\ndef verify(raw_body: bytes, headers, secret: str) -> bool:\n    parts = headers.get('{header}', '').split(',')\n    sent = next((part[{tl}:] for part in parts if part.startswith('{t}')), '0')\n    given = next((part[{vl}:] for part in parts if part.startswith('{v}')), '')\n    expected = hmac.new(secret.encode(), sent.encode() + b'.' + raw_body, hashlib.sha256).{python}\n    return abs(time.time() - int(sent)) < 300 and hmac.compare_digest(given, expected)\n",
                tl = t.len(),
                vl = v.len()
            ),
        ),
        (
            "Rust",
            format!(
                "use hmac::{{Hmac, Mac}};\nuse sha2::Sha256;\n\nfn verify(raw_body: &[u8], header: &str, secret: &str) -> bool {{\n    // header: the value of {header}; check as well that the time is at most 300 s away\n    let part = |lead: &str| header.split(',').find_map(|part| part.strip_prefix(lead));\n    let (Some(time), Some(given)) = (part(\"{t}\"), part(\"{v}\")) else {{ return false }};\n    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {{ return false }};\n    mac.update(format!(\"{{time}}.\").as_bytes());\n    mac.update(raw_body);\n    {rust}.is_some_and(|given: Vec<u8>| mac.verify_slice(&given).is_ok())\n}}\n"
            ),
        ),
    ]
}

fn token(header: &str) -> [(&'static str, String); 3] {
    let lower = header.to_ascii_lowercase();
    [
        (
            "Node.js",
            format!(
                "import {{ timingSafeEqual }} from 'node:crypto';\n\nexport function verify(headers, secret) {{\n  const given = Buffer.from(headers['{lower}'] ?? '');\n  const expected = Buffer.from(secret);\n  return given.length === expected.length && timingSafeEqual(given, expected);\n}}\n"
            ),
        ),
        (
            "Python",
            format!(
                "import hmac\n\ndef verify(headers, secret: str) -> bool:\n    return hmac.compare_digest(headers.get('{header}', ''), secret)\n"
            ),
        ),
        (
            "Rust",
            format!(
                "use subtle::ConstantTimeEq;\n\nfn verify(header: &str, secret: &str) -> bool {{\n    // header: the value of {header}\n    header.as_bytes().ct_eq(secret.as_bytes()).into()\n}}\n"
            ),
        ),
    ]
}

fn standard() -> [(&'static str, String); 3] {
    [
        ("Node.js", "import { Webhook } from 'standardwebhooks'; // npm install standardwebhooks\n\nexport function verify(rawBody, headers, secret) {\n  return new Webhook(secret).verify(rawBody, headers); // throws if it is not genuine\n}\n".to_owned()),
        ("Python", "from standardwebhooks import Webhook  # pip install standardwebhooks\n\ndef verify(raw_body: bytes, headers, secret: str):\n    return Webhook(secret).verify(raw_body, headers)  # raises if it is not genuine\n".to_owned()),
        ("Rust", "use standardwebhooks::Webhook; // cargo add standardwebhooks\n\nfn verify(raw_body: &[u8], headers: &http::HeaderMap, secret: &str) -> bool {\n    Webhook::new(secret).is_ok_and(|webhook| webhook.verify(raw_body, headers).is_ok())\n}\n".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use postrider_profiles::Profiles;

    use super::*;

    #[test]
    fn each_product_has_its_own_snippets() {
        let profiles = Profiles::builtin();
        for (name, wanted) in [
            ("migma", "headers['x-migma-signature']"),
            ("migomail", "'sha256=' + createHmac"),
            ("metigan", "part.startsWith('t=')"),
            ("magnetite", "headers['x-magnetite-signature']"),
            ("standard", "standardwebhooks"),
        ] {
            let [(_, node), ..] = snippets(profiles.get(name).unwrap());
            assert!(node.contains(wanted), "{name}: {node}");
        }
        let [(_, node), ..] = snippets(profiles.get("mumara").unwrap());
        assert!(!node.contains("createHmac"), "{node}");
    }
}
