//! Reads the sections `headers` and `signature`.

use toml::Spanned;

use super::TomlDocument;
use super::schema::{Headers, SchemeName, Signature};
use crate::error::ProfileError;
use crate::header::{HeaderTemplate, HeaderValue, is_header_name, is_header_value, is_reserved_header};
use crate::signature_scheme::{Encoding, SchemeKind, SignatureScheme, SignatureTemplate, SignedContent};

pub(super) fn headers(
    doc: &TomlDocument<'_>,
    headers: &Headers,
    signature: Option<&SignatureScheme>,
) -> Result<Vec<HeaderTemplate>, ProfileError> {
    let mut checked: Vec<HeaderTemplate> = Vec::new();
    for at in &headers.extra {
        let header = at.get_ref();
        let name = header.name.get_ref();
        let refused = if !is_header_name(name) {
            Some("is not a header name")
        } else if is_reserved_header(name) {
            Some("is set by Postrider itself")
        } else if signature.is_some_and(|scheme| scheme.header.eq_ignore_ascii_case(name)) {
            Some("is the signature's header")
        } else if checked.iter().any(|other| other.name.eq_ignore_ascii_case(name)) {
            Some("is repeated")
        } else {
            None
        };
        if let Some(detail) = refused {
            return Err(doc.error(&header.name, "headers.extra.name", format!("{name:?} {detail}")));
        }
        let value = match (&header.value, &header.from) {
            (Some(value), None) if is_header_value(value.get_ref()) => HeaderValue::Constant(value.get_ref().clone()),
            (Some(value), None) => return Err(doc.error(value, "headers.extra.value", "visible ASCII only")),
            (None, Some(from)) => match from.get_ref().as_str() {
                "type" => HeaderValue::Type,
                "wire_type" => HeaderValue::WireType,
                "id" => HeaderValue::Id,
                "timestamp" => HeaderValue::Timestamp(header.format.unwrap_or_default()),
                _ => return Err(doc.error(from, "headers.extra.from", "type, wire_type, id or timestamp")),
            },
            _ => return Err(doc.error(at, "headers.extra", "either value or from")),
        };
        checked.push(HeaderTemplate { name: name.clone(), value });
    }
    Ok(checked)
}

pub(super) fn user_agent(
    doc: &TomlDocument<'_>,
    value: Option<Spanned<String>>,
) -> Result<Option<String>, ProfileError> {
    match value {
        Some(at) if at.get_ref().is_empty() || !is_header_value(at.get_ref()) => {
            Err(doc.error(&at, "headers.user_agent", "visible ASCII, not empty"))
        }
        other => Ok(other.map(Spanned::into_inner)),
    }
}

pub(super) fn scheme(doc: &TomlDocument<'_>, signature: &Signature) -> Result<SignatureScheme, ProfileError> {
    let header = signature.header.get_ref();
    if !is_header_name(header) || is_reserved_header(header) {
        return Err(doc.error(
            &signature.header,
            "signature.header",
            "a header name that Postrider does not use itself",
        ));
    }
    let kind = match signature.scheme {
        SchemeName::Token => {
            if signature.encoding.is_some() || signature.signed.is_some() || signature.template.is_some() {
                return Err(doc.error(&signature.header, "signature.scheme", "a token has a header and nothing else"));
            }
            SchemeKind::Token
        }
        SchemeName::HmacSha256 => {
            let template = match &signature.template {
                Some(at) if !is_header_value(at.get_ref()) => {
                    return Err(doc.error(at, "signature.template", "visible ASCII only"));
                }
                Some(at) => SignatureTemplate::parse(at.get_ref())
                    .map_err(|detail| doc.error(at, "signature.template", detail))?,
                None => return Err(doc.error(&signature.header, "signature.template", "such as \"{signature}\"")),
            };
            SchemeKind::Hmac {
                encoding: signature.encoding.unwrap_or(Encoding::Hex),
                signed: signature.signed.unwrap_or(SignedContent::Body),
                template,
            }
        }
    };
    Ok(SignatureScheme { header: header.clone(), kind })
}
