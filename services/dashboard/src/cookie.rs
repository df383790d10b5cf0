//! The session cookies: one for pages in a separate tab, and one for pages in a frame of another site.
//!
//! The two cookies are separate: a frame cannot use the session of a tab, and a tab cannot use the session of a frame.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use postrider_operations::portal::Place;

/// The name of the cookie without TLS.
const PLAIN: &str = "postrider_session";
/// The name of the cookie over https. Browsers accept a cookie with the prefix `__Host-` only over https, from this host itself and
/// for the path `/`, so neither a page without TLS nor another host of the domain can set it. Over https no other name counts.
const SECURE: &str = "__Host-postrider_session";
/// The name of the cookie in a frame.
const FRAMED: &str = "__Host-postrider_framed";

/// The header with which scripts tell the server that their page is in a frame. Browsers tell the server only when they request a
/// page.
const FRAME_HEADER: &str = "x-postrider-frame";

/// Where the page of a request is shown.
pub(crate) fn place(headers: &HeaderMap) -> Place {
    if headers.contains_key(FRAME_HEADER) {
        return Place::Frame;
    }
    match headers.get("sec-fetch-dest").map(HeaderValue::as_bytes) {
        Some(b"iframe" | b"frame" | b"object" | b"embed") => Place::Frame,
        Some(_) => Place::Tab,
        None => Place::Unknown,
    }
}

/// The session's token, and where the page is shown. If the browser does not tell where the page is shown, this is the session of
/// a tab, or the session of a frame if there is none of a tab.
pub(crate) fn session(headers: &HeaderMap, transport: Transport) -> Option<(String, Place)> {
    let jar = CookieJar::from_headers(headers);
    let value = |name: &str| jar.get(name).map(Cookie::value).filter(|value| !value.is_empty()).map(str::to_owned);
    let tab = || value(transport.tab_cookie()).map(|token| (token, Place::Tab));
    let frame = || value(FRAMED).map(|token| (token, Place::Frame));
    match place(headers) {
        Place::Tab => tab(),
        Place::Frame => frame(),
        Place::Unknown => tab().or_else(frame),
    }
}

/// Where the page of a request is shown. If the browser does not tell, this is the place of the session, or a tab if there is no
/// session.
pub(crate) fn page_place(headers: &HeaderMap, transport: Transport) -> Place {
    match place(headers) {
        Place::Unknown => session(headers, transport).map_or(Place::Tab, |(_, place)| place),
        known => known,
    }
}

/// The session's token.
pub(crate) fn session_token(headers: &HeaderMap, transport: Transport) -> Option<String> {
    session(headers, transport).map(|(token, _)| token)
}

/// Whether the visitor uses https.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Https,
}

impl Transport {
    /// The transport of a request, which a proxy in front of the dashboard names in `X-Forwarded-Proto`. A client that sends a
    /// false header weakens only its own cookie.
    pub(crate) fn of_request(headers: &HeaderMap) -> Self {
        let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
        let first = proto.and_then(|proto| proto.split(',').next()).unwrap_or_default();
        if first.trim().eq_ignore_ascii_case("https") { Self::Https } else { Self::Plain }
    }

    /// The name of the session's cookie in a tab.
    fn tab_cookie(self) -> &'static str {
        if self == Self::Https { SECURE } else { PLAIN }
    }

    /// The path of a cookie: `/` for a name with the prefix `__Host-`, otherwise the narrower `path`.
    pub(crate) fn cookie_path(self, path: &'static str) -> &'static str {
        if self == Self::Https { "/" } else { path }
    }
}

/// The cookie of a new session. An empty token and a lifetime of zero delete the cookie.
pub(crate) fn session_cookie(token: &str, lifetime: Duration, transport: Transport) -> CookieJar {
    let max_age = lifetime.try_into().unwrap_or_default();
    let cookie = Cookie::build((transport.tab_cookie(), token.to_owned()))
        .path(transport.cookie_path("/dashboard"))
        .max_age(max_age)
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(transport == Transport::Https);
    CookieJar::new().add(cookie)
}

/// The cookie of a new session in a frame. Browsers send it only from frames within the same embedding site.
pub(crate) fn frame_cookie(token: &str, lifetime: Duration) -> CookieJar {
    let cookie = Cookie::build((FRAMED, token.to_owned()))
        .path("/")
        .max_age(lifetime.try_into().unwrap_or_default())
        .http_only(true)
        .same_site(SameSite::None)
        .secure(true)
        .partitioned(true);
    CookieJar::new().add(cookie)
}

#[cfg(test)]
mod tests {
    use axum::http::header;
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
        let secure = "__Host-postrider_session=abc; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=43200";
        assert_eq!(cookie(Transport::Https), secure);
    }

    #[test]
    fn the_cookie_of_a_frame_is_sent_to_frames_of_the_same_site_only() {
        let response = frame_cookie("abc", Duration::from_secs(60)).into_response();
        let cookie = "__Host-postrider_framed=abc; HttpOnly; SameSite=None; Partitioned; Secure; Path=/; Max-Age=60";
        assert_eq!(response.headers()[header::SET_COOKIE], cookie);
    }

    #[test]
    fn a_frame_and_a_tab_have_their_own_sessions() {
        let found = |dest: Option<&'static str>, cookies: &'static str| {
            let mut headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(cookies))]);
            if let Some(dest) = dest {
                headers.insert("sec-fetch-dest", HeaderValue::from_static(dest));
            }
            session(&headers, Transport::Https)
        };
        let (tab, frame) = (("t".to_owned(), Place::Tab), ("f".to_owned(), Place::Frame));
        let both = "__Host-postrider_framed=f; __Host-postrider_session=t";
        assert_eq!(found(Some("iframe"), both), Some(frame.clone()));
        assert_eq!(found(Some("document"), both), Some(tab.clone()));
        assert_eq!(found(Some("empty"), both), Some(tab.clone()));
        assert_eq!(found(None, both), Some(tab));
        assert_eq!(found(Some("iframe"), "postrider_session=t"), None);
        assert_eq!(found(Some("document"), "__Host-postrider_framed=f"), None);
        assert_eq!(found(None, "__Host-postrider_framed=f"), Some(frame.clone()));
        let mut scripts = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(both))]);
        scripts.insert("sec-fetch-dest", HeaderValue::from_static("empty"));
        scripts.insert(FRAME_HEADER, HeaderValue::from_static("yes"));
        assert_eq!(session(&scripts, Transport::Https), Some(frame));
    }

    #[test]
    fn over_https_only_the_cookie_that_this_host_alone_can_set_counts() {
        let token = |text, transport| {
            session_token(&HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(text))]), transport)
        };
        let both = "postrider_session=planted; __Secure-postrider_session=old; __Host-postrider_session=own";
        assert_eq!(token(both, Transport::Https).as_deref(), Some("own"));
        assert_eq!(token("postrider_session=planted; __Secure-postrider_session=old", Transport::Https), None);
        assert_eq!(token("a=b; postrider_session=abc", Transport::Plain).as_deref(), Some("abc"));
        assert_eq!(session_token(&HeaderMap::new(), Transport::Plain), None);
    }
}
