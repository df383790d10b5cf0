//! The sign-in page.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_model::limits::SIGN_IN_BODY_BYTES_MAX;
use url::form_urlencoded;

use crate::document::{self, in_frame};
use crate::language::{english, t};
use crate::oidc::{BEGIN, fits};

/// The address of the page and of its form.
pub(crate) const SIGN_IN: &str = "/dashboard/sign-in";
/// Maximum number of bytes of a form in the hidden field. The body of the sign-in form is limited to [`SIGN_IN_BODY_BYTES_MAX`]
/// bytes, and encodes each byte of the field in at most three bytes.
const CARRIED_BYTES_MAX: usize = (SIGN_IN_BODY_BYTES_MAX - 1_024) / 3;

/// The path to continue to after sign-in: `next`, or the start page if `next` leads to another site or back to the sign-in.
pub(crate) fn safe_next(next: &str) -> &str {
    let inside = next == "/dashboard" || next.starts_with("/dashboard/");
    let harmless = !next.contains(['\\', '\r', '\n']) && !next.starts_with("/dashboard/sign-");
    if inside && harmless { next } else { "/dashboard" }
}

/// The page for a visitor whose session ended while they filled in a form. `form` is the form, URL-encoded; a form with more than
/// [`CARRIED_BYTES_MAX`] bytes is dropped. `provider` is the name of the identity provider.
pub(crate) fn session_ended(path: &str, form: &str, provider: Option<&str>) -> Response {
    let form = if form.len() <= CARRIED_BYTES_MAX { form } else { "" };
    let page = SignInPage { next: safe_next(path), form, provider, ..SignInPage::default() };
    (StatusCode::UNAUTHORIZED, page.show()).into_response()
}

/// The sign-in page.
#[derive(Default)]
pub(crate) struct SignInPage<'a> {
    /// The path to continue to after sign-in.
    pub(crate) next: &'a str,
    /// The form that was submitted after the session had ended, URL-encoded; empty if there is none. It becomes a hidden field.
    pub(crate) form: &'a str,
    /// Why the previous key was refused.
    pub(crate) key_error: Option<&'a str>,
    /// The name of the identity provider that signs operators in, if there is one.
    pub(crate) provider: Option<&'a str>,
    /// Why the sign-in with the provider failed.
    pub(crate) provider_error: Option<&'a str>,
}

impl SignInPage<'_> {
    /// The page. In a frame, it says how to continue instead, because visitors of a frame sign in to the product around it.
    pub(crate) fn show(&self) -> Markup {
        if in_frame() {
            return ended_in_frame();
        }
        let content = html! {
            h1 { (t!("Sign in")) }
            @if let Some(error) = self.provider_error { p.error role="alert" { (english(error)) } }
            p.lead { (t!("See where your events were delivered, why a delivery failed, and send events again.")) }
            @if !self.form.is_empty() {
                p.warning role="note" {
                    (t!("Your session has ended and nothing was saved.")) " "
                    (t!("Sign in with a key to see your form again; secrets and header values must be entered again.")) " "
                    (t!("A new link begins without the form."))
                }
            }
            (self.key_form())
            @if let Some(provider) = self.provider { (self.provider_form(provider)) }
            p.faint { (t!("If you came by a link without a key, ask for a new link, or open the page in the product again.")) }
        };
        document::bare(&t!("Sign in"), content)
    }

    fn key_form(&self) -> Markup {
        let error = self.key_error;
        html! { form.stack method="post" action=(SIGN_IN) {
            (self.hidden_fields())
            div.field {
                label for="key" { (t!("API key")) }
                p.hint #key-hint {
                    (t!("A key of your account with the scope “read”, or an operator key. This browser does not store it."))
                }
                @if let Some(error) = error { p.error #key-error role="alert" { (error) } }
                input.wide #key type="password" name="key" required autocomplete="current-password" spellcheck="false" autofocus
                    aria-invalid=[error.map(|_| "true")]
                    aria-describedby=(if error.is_some() { "key-hint key-error" } else { "key-hint" });
            }
            button.primary type="submit" { (t!("Sign in")) }
        } }
    }

    /// The sign-in with the provider: a link, or a form if there is a form to keep.
    fn provider_form(&self, provider: &str) -> Markup {
        let keeps = !self.form.is_empty() && fits(self.next, self.form);
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", self.next).finish();
        html! { section.provider aria-label=(t!("Operators")) {
            p.hint { (t!("Operators can also sign in without a key.")) }
            @if keeps {
                form.stack method="post" action=(BEGIN) {
                    (self.hidden_fields())
                    button type="submit" { (t!("Sign in with {provider}", provider = provider)) }
                }
            } @else {
                a.button href={ (BEGIN) "?" (query) } { (t!("Sign in with {provider}", provider = provider)) }
            }
            @if !self.form.is_empty() && !keeps {
                p.hint { (t!("Your form is too long to be kept this way. Sign in with a key to see it again.")) }
            }
        } }
    }

    fn hidden_fields(&self) -> Markup {
        html! {
            input type="hidden" name="next" value=(self.next);
            @if !self.form.is_empty() { input type="hidden" name="form" value=(self.form); }
        }
    }
}

/// The page for a visitor in a frame whose session has ended, or whose browser did not store the session's cookie.
fn ended_in_frame() -> Markup {
    let content = html! {
        h1 { (t!("Your session has ended")) }
        p { (t!("Nothing was saved. Reload the page to continue.")) }
        p.faint { (t!("If this text comes back, your browser refuses cookies in embedded pages.")) }
    };
    document::bare(&t!("Your session has ended"), content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_in_continues_to_pages_of_the_dashboard_only() {
        for good in ["/dashboard", "/dashboard/ten_1/events?type=a", "/dashboard/operator/tenants"] {
            assert_eq!(safe_next(good), good);
        }
        for bad in
            ["", "//evil.example", "https://evil.example", "/dashboard/\\evil", "/dashboardx", "/dashboard/sign-out"]
        {
            assert_eq!(safe_next(bad), "/dashboard", "{bad}");
        }
    }
}
