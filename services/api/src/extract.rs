//! Types that read a request's headers or add headers to an answer.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use postrider_http::problem::Problem;
use serde::Serialize;
use utoipa::IntoParams;

/// The version in the header `If-Match`, such as 7 in `"v7"`; `None` if the header is absent or `*`. A tag in another format
/// matches no version, so it is refused with 412.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IfMatch(pub(crate) Option<i64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let version =
            text.strip_prefix("\"v").and_then(|rest| rest.strip_suffix('"')).and_then(|rest| rest.parse().ok());
        version.map(|version| Self(Some(version))).ok_or_else(|| {
            let detail = "If-Match does not name a version of this resource; read it again for its ETag";
            Problem::precondition_failed(detail)
        })
    }
}

/// An answer with a version, which is sent as the ETag.
pub(crate) struct Versioned<T>(pub(crate) i64, pub(crate) T);

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        ([(header::ETAG, format!("\"v{}\"", self.0))], Json(self.1)).into_response()
    }
}

/// The header `If-Match`.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described here, read by `IfMatch`")]
pub(crate) struct IfMatchHeader {
    /// The ETag of the version to edit; 412 if another version is current. The version is not checked if this is absent.
    #[param(rename = "If-Match", value_type = String, required = false, example = "\"v7\"")]
    if_match: Option<String>,
}

/// The header `Idempotency-Key`.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described here, read by the layer `once`")]
pub(crate) struct IdempotencyKey {
    /// 1 to 256 visible ASCII characters of your own. For 24 hours the request takes effect once, and a repeat under the same key
    /// gets the first answer, with `Idempotency-Replayed: true`. 409 while the first request is in progress; 422 if the key was
    /// used for a different request.
    #[param(rename = "Idempotency-Key", value_type = String, required = false, example = "order-4711-paid")]
    idempotency_key: Option<String>,
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[tokio::test]
    async fn an_if_match_that_cannot_match_is_refused() {
        let read = async |tag: Option<&str>| {
            let request = tag.into_iter().fold(Request::builder(), |request, tag| request.header("if-match", tag));
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            IfMatch::from_request_parts(&mut parts, &()).await.map_err(|problem| problem.status)
        };
        assert_eq!(read(None).await, Ok(IfMatch(None)));
        assert_eq!(read(Some("*")).await, Ok(IfMatch(None)));
        assert_eq!(read(Some("\"v7\"")).await, Ok(IfMatch(Some(7))));
        assert_eq!(read(Some("\"abc\"")).await, Err(412));
        assert_eq!(Versioned(7, "x").into_response().headers()["etag"], "\"v7\"");
    }
}
