//! The cookie that a browser keeps while its visitor is at the identity provider.
//!
//! It has the secret of the flow, and the page and the form to continue with. The server stores nothing, so a sign-in that is
//! never completed costs nothing. Without https the path of the cookie limits it to the
//! sign-in; with https its name allows only the path `/`. A visitor who changes it changes only their own
//! sign-in: the page is checked again, and the form is shown and not processed.

use std::time::Duration;

use axum::http::HeaderMap;
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postrider_model::limits::{OIDC_COOKIE_BYTES_MAX, OIDC_SIGN_IN_MAX};
use postrider_oidc::Flow;

use crate::cookie::Transport;
use crate::sign_in_page::{SIGN_IN, safe_next};

const PLAIN: &str = "postrider_sign_in";
/// The name over https, see the session's cookie.
const SECURE: &str = "__Host-postrider_sign_in";

fn name(transport: Transport) -> &'static str {
    if transport == Transport::Https { SECURE } else { PLAIN }
}

/// A sign-in that a browser has started.
pub(crate) struct FlowCookie {
    pub(crate) flow: Flow,
    /// The page to continue with.
    pub(crate) next: String,
    /// The form that was submitted after the session had ended, URL-encoded; empty if there is none.
    pub(crate) form: String,
}

impl FlowCookie {
    /// Starts a sign-in. A form for which the cookie has no room is dropped.
    pub(crate) fn begin(next: &str, form: &str) -> Self {
        let next = if fits(next, "") { next } else { "/dashboard" };
        let form = if fits(next, form) { form } else { "" };
        Self { flow: Flow::begin(), next: next.to_owned(), form: form.to_owned() }
    }

    /// Reads the cookie of a request.
    pub(crate) fn of(headers: &HeaderMap, transport: Transport) -> Option<Self> {
        let jar = CookieJar::from_headers(headers);
        let value = jar.get(name(transport)).map(Cookie::value).filter(|value| !value.is_empty());
        let mut parts = value?.split('.');
        let flow = Flow::of_secret(parts.next()?)?;
        let mut text = || String::from_utf8(URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok();
        let (next, form) = (text()?, text()?);
        Some(Self { flow, next: safe_next(&next).to_owned(), form })
    }

    /// The cookie to set.
    pub(crate) fn cookie(&self, transport: Transport) -> Cookie<'static> {
        let text = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let value = format!("{}.{}.{}", self.flow.secret(), text(&self.next), text(&self.form));
        build(value, OIDC_SIGN_IN_MAX, transport)
    }
}

/// The cookie that deletes the cookie of a sign-in.
pub(crate) fn ended(transport: Transport) -> Cookie<'static> {
    build(String::new(), Duration::ZERO, transport)
}

fn build(value: String, lifetime: Duration, transport: Transport) -> Cookie<'static> {
    Cookie::build((name(transport), value))
        .path(transport.cookie_path(SIGN_IN))
        .max_age(lifetime.try_into().unwrap_or_default())
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(transport == Transport::Https)
        .build()
}

/// Whether the cookie has room for this page and this form.
pub(crate) fn fits(next: &str, form: &str) -> bool {
    let encoded = |bytes: usize| bytes.div_ceil(3) * 4;
    43 + 2 + encoded(next.len()) + encoded(form.len()) <= OIDC_COOKIE_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header};

    use super::*;

    fn read(cookie: &str) -> Option<FlowCookie> {
        let transport = if cookie.starts_with("__Host-") { Transport::Https } else { Transport::Plain };
        FlowCookie::of(&HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookie).unwrap())]), transport)
    }

    #[test]
    fn a_flow_comes_back_with_its_page_and_form_and_is_closed_to_scripts() {
        let started = FlowCookie::begin("/dashboard/ten_1/webhooks?a=b", "name=x&url=%2F");
        let cookie = started.cookie(Transport::Https).to_string();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=600");
        let back = read(pair).unwrap();
        assert_eq!((back.flow.secret(), back.next, back.form), (started.flow.secret(), started.next, started.form));
        assert!(ended(Transport::Plain).to_string().contains("Max-Age=0"));
        assert!(read("postrider_sign_in=x.y.z").is_none() && read("a=b").is_none());
    }

    #[test]
    fn a_form_without_room_is_dropped_and_a_foreign_page_is_not_followed() {
        let long = FlowCookie::begin("/dashboard/a", &"x".repeat(4_000));
        assert_eq!((long.next.as_str(), long.form.as_str()), ("/dashboard/a", ""));
        assert_eq!(FlowCookie::begin(&format!("/dashboard/{}", "x".repeat(4_000)), "").next, "/dashboard");
        let secret = long.flow.secret();
        let planted = format!("postrider_sign_in={secret}.{}.", URL_SAFE_NO_PAD.encode("https://evil.example"));
        assert_eq!(read(&planted).unwrap().next, "/dashboard");
        let full = FlowCookie::begin("/dashboard", &"x".repeat(2_800));
        assert!(!full.form.is_empty() && full.cookie(Transport::Https).to_string().len() < 4_096);
    }
}
