//! The session cookie.

use std::time::Duration;

use axum::http::HeaderMap;
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};

const PLAIN: &str = "postrider_session";
/// The name over https: browsers accept a cookie with this prefix over https only, so a page without TLS cannot plant one.
/// (`__Host-` would require the path `/`; this cookie is sent to the dashboard alone.)
const SECURE: &str = "__Secure-postrider_session";

/// The session's token.
pub(crate) fn session_token(headers: &HeaderMap) -> Option<String> {
    let jar = CookieJar::from_headers(headers);
    let value = |name: &str| jar.get(name).map(Cookie::value).filter(|value| !value.is_empty());
    value(SECURE).or_else(|| value(PLAIN)).map(str::to_owned)
}

/// Whether the visitor uses https.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Https,
}

impl Transport {
    /// The transport of a request, which the proxy in front names in `X-Forwarded-Proto`. A client that sends a false header
    /// weakens only its own cookie.
    pub(crate) fn of_request(headers: &HeaderMap) -> Self {
        let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
        let first = proto.and_then(|proto| proto.split(',').next()).unwrap_or_default();
        if first.trim().eq_ignore_ascii_case("https") { Self::Https } else { Self::Plain }
    }
}

/// The cookie of a new session. With an empty token and a lifetime of zero it deletes the session's cookie.
pub(crate) fn session_cookie(token: &str, lifetime: Duration, transport: Transport) -> CookieJar {
    let name = if transport == Transport::Https { SECURE } else { PLAIN };
    let max_age = lifetime.try_into().unwrap_or_default();
    let cookie = Cookie::build((name, token.to_owned()))
        .path("/dashboard")
        .max_age(max_age)
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(transport == Transport::Https);
    CookieJar::new().add(cookie)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header};
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn the_cookie_is_closed_to_scripts_other_sites_and_plain_http() {
        let cookie = |transport| {
            let response = session_cookie("abc", Duration::from_secs(43_200), transport).into_response();
            response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned()
        };
        let plain = "postrider_session=abc; HttpOnly; SameSite=Lax; Path=/dashboard; Max-Age=43200";
        assert_eq!(cookie(Transport::Plain), plain);
        let secure = "__Secure-postrider_session=abc; HttpOnly; SameSite=Lax; Secure; Path=/dashboard; Max-Age=43200";
        assert_eq!(cookie(Transport::Https), secure);
    }

    #[test]
    fn the_secure_cookie_wins_over_a_planted_one() {
        let token = |text| session_token(&HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(text))]));
        assert_eq!(token("a=b; postrider_session=abc").as_deref(), Some("abc"));
        assert_eq!(session_token(&HeaderMap::new()), None);
        let both = "postrider_session=planted; __Secure-postrider_session=own";
        assert_eq!(token(both).as_deref(), Some("own"));
    }
}
