//! Reading requests strictly: every mistake is answered with the place it was made at.

use std::ops::RangeInclusive;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use postrider_http::problem::{FieldError, Problem, check_content_encoding, read_json};
use postrider_model::limits::{PAGE_DEFAULT, PAGE_MAX};
use postrider_model::time::{InvalidTimestamp, UnixMillis};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};

/// Most bytes of a request body.
pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;

/// A JSON body, read strictly: unknown members, wrong types and missing ones are 422s with a pointer.
#[derive(Debug)]
pub(crate) struct StrictJson<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for StrictJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        check_content_encoding(request.headers())?;
        let is_json = is_json(request.headers());
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|_| Problem::payload_too_large(format!("a request body has at most {BODY_BYTES_MAX} bytes")))?;
        if !is_json {
            return Err(Problem::unsupported_media_type("send the body as application/json"));
        }
        read_json(&body).map(Self)
    }
}

/// Like [`StrictJson`], where an absent body means `{}`.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        check_content_encoding(request.headers())?;
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|_| Problem::payload_too_large(format!("a request body has at most {BODY_BYTES_MAX} bytes")))?;
        let body: &[u8] = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &body };
        read_json(body).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// One reference token of a JSON pointer (RFC 6901).
pub(crate) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// For PATCH: tells an absent member (`None`) from `null` (`Some(None)`), which clears the value.
pub(crate) fn clearable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// The query string, read strictly: unknown and repeated parameters are 422s that name the parameter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        Ok(Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()))
    }
}

impl Params {
    /// Refuses every parameter but `allowed`, `tenant` (which authentication reads) and those that begin with `prefix`.
    pub(crate) fn only(self, allowed: &[&str], prefix: Option<&str>) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        for (index, (name, _)) in self.0.iter().enumerate() {
            let known = name == "tenant"
                || allowed.contains(&name.as_str())
                || prefix.is_some_and(|prefix| name.len() > prefix.len() && name.starts_with(prefix));
            if !known {
                let prefixed = prefix.map(|prefix| format!("{prefix}<name>"));
                let names = allowed.iter().copied().chain(prefixed.as_deref()).chain(["tenant"]);
                let names: Vec<&str> = names.collect();
                errors.push(query_error(name, format!("unknown parameter; allowed: {}", names.join(", "))));
            } else if self.0[..index].iter().any(|(before, _)| before == name) {
                errors.push(query_error(name, "given more than once"));
            }
        }
        if errors.is_empty() { Ok(self) } else { Err(Problem::unprocessable(errors)) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Reads a parameter, if it is there, by its type's `FromStr`.
    pub(crate) fn parse<T>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let read = |text: &str| {
            text.parse::<T>().map_err(|error| Problem::unprocessable(vec![query_error(name, error.to_string())]))
        };
        self.get(name).map(read).transpose()
    }

    /// A time in RFC 3339. The `+` of its offset arrives as a blank where it was not written as `%2B`.
    fn time(&self, name: &str) -> Result<Option<UnixMillis>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let offset = text.len().checked_sub("+00:00".len()).and_then(|at| text.split_at_checked(at));
        let read = match offset {
            Some((time, offset)) if offset.starts_with(' ') => format!("{time}+{}", offset.trim_start()).parse(),
            _ => text.parse(),
        };
        read.map(Some)
            .map_err(|error: InvalidTimestamp| Problem::unprocessable(vec![query_error(name, error.to_string())]))
    }

    /// A whole number within `range`, if the parameter is there; `what` names it in the error.
    pub(crate) fn number(&self, name: &str, what: &str, range: RangeInclusive<u16>) -> Result<Option<u16>, Problem> {
        let read = |text: &str| match text.parse::<u16>() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => {
                let got: String = text.chars().take(80).collect();
                let detail = format!("expected {what} from {} to {}, got {got:?}", range.start(), range.end());
                Err(Problem::unprocessable(vec![query_error(name, detail)]))
            }
        };
        self.get(name).map(read).transpose()
    }

    /// `from` and `to`: RFC 3339, `from` inclusive, `to` exclusive.
    pub(crate) fn range(&self) -> Result<(Option<UnixMillis>, Option<UnixMillis>), Problem> {
        let (from, to) = (self.time("from")?, self.time("to")?);
        if matches!((from, to), (Some(from), Some(to)) if from >= to) {
            return Err(Problem::unprocessable(vec![query_error("from", "must lie before `to`")]));
        }
        Ok((from, to))
    }

    /// `limit`: 1 to 200, 50 when absent.
    pub(crate) fn limit(&self) -> Result<u32, Problem> {
        let wrong = || {
            Problem::unprocessable(vec![query_error("limit", format!("expected a whole number from 1 to {PAGE_MAX}"))])
        };
        match self.get("limit").map(str::parse::<u32>) {
            None => Ok(PAGE_DEFAULT),
            Some(Ok(limit)) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
            Some(_) => Err(wrong()),
        }
    }

    /// `cursor`, as an earlier page gave it.
    pub(crate) fn cursor(&self) -> Option<&str> {
        self.get("cursor").filter(|cursor| !cursor.is_empty())
    }

    /// All parameters `<prefix><name>=<value>` as `(name, value)`.
    pub(crate) fn prefixed<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }
}

/// What was read, or `None` with its mistakes added to `wrong`: an answer names every wrong parameter.
pub(crate) fn gather<T>(read: Result<T, Problem>, wrong: &mut Vec<FieldError>) -> Option<T> {
    read.map_err(|problem| wrong.extend(problem.errors)).ok()
}

/// A mistake in a query parameter; its pointer is the parameter's name.
pub(crate) fn query_error(name: &str, detail: impl Into<String>) -> FieldError {
    FieldError::new(name, detail.into())
}

/// What `If-Match` asks for: `None` when it is absent or `*`, else the version in `"v<version>"`.
///
/// # Errors
/// 412 for a tag that this API never gave out: it cannot match.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    text.strip_prefix("\"v")
        .and_then(|rest| rest.strip_suffix('"'))
        .and_then(|rest| rest.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            Problem::precondition_failed(
                "If-Match does not name a version of this resource; read it again for its ETag",
            )
        })
}

/// The ETag of a version.
pub(crate) fn etag(version: i64) -> String {
    format!("\"v{version}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    #[test]
    fn queries_are_read_strictly() {
        assert!(params("limit=5&tenant=x&attributes.bridge=b").only(&["limit"], Some("attributes.")).is_ok());
        assert!(params("limits=5").only(&["limit"], None).is_err());
        assert!(params("limit=5&limit=6").only(&["limit"], None).is_err());
        assert_eq!(params("").limit().ok(), Some(50));
        assert_eq!(params("limit=200").limit().ok(), Some(200));
        for bad in ["limit=0", "limit=201", "limit=x", "limit="] {
            assert!(params(bad).limit().is_err(), "{bad}");
        }
        assert!(params("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z").range().is_err());
        assert!(params("from=yesterday").range().is_err());
        let unknown = params("foo=1").only(&["limit"], Some("attributes.")).unwrap_err();
        assert!(unknown.detail.ends_with("allowed: limit, attributes.<name>, tenant"), "{unknown}");
        let class = params("status_code=5xx").number("status_code", "a status code", 100..=599).unwrap_err();
        assert_eq!(class.errors[0].detail, "expected a status code from 100 to 599, got \"5xx\"");
        assert_eq!(params("status_code=503").number("status_code", "a status code", 100..=599).ok(), Some(Some(503)));
    }

    #[test]
    fn the_plus_of_an_offset_may_arrive_as_a_blank() {
        let from = |query: &str| params(query).range().map(|(from, _)| from.unwrap().to_rfc3339_seconds()).ok();
        for written in ["+02:00", "%2B02:00", "%2b02:00", "%2002:00"] {
            let read = from(&format!("from=2026-01-02T03:04:05{written}"));
            assert_eq!(read.as_deref(), Some("2026-01-02T01:04:05Z"), "{written}");
        }
        assert_eq!(from("from=2026-01-02+03:04:05-02:00").as_deref(), Some("2026-01-02T05:04:05Z"));
        for bad in ["2026-01-02T03:04+02:00", "2026-01-02T03:04:05++02:00", "+02:00", "20260102T030405Z"] {
            assert_eq!(from(&format!("from={bad}")), None, "{bad}");
        }
    }

    #[test]
    fn an_if_match_that_cannot_match_is_refused() {
        let with =
            |text: &'static str| HeaderMap::from_iter([(header::IF_MATCH, axum::http::HeaderValue::from_static(text))]);
        assert_eq!(if_match(&HeaderMap::new()).ok(), Some(None));
        assert_eq!(if_match(&with("*")).ok(), Some(None));
        assert_eq!(if_match(&with("\"v7\"")).ok(), Some(Some(7)));
        assert!(if_match(&with("\"abc\"")).is_err());
        assert_eq!(etag(7), "\"v7\"");
    }
}
