//! The sign-in page.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_model::limits::SIGN_IN_BODY_BYTES_MAX;

use crate::document::{self, in_frame};
use crate::language::t;

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
/// [`CARRIED_BYTES_MAX`] bytes is dropped.
pub(crate) fn session_ended(path: &str, form: &str) -> Response {
    let form = if form.len() <= CARRIED_BYTES_MAX { form } else { "" };
    (StatusCode::UNAUTHORIZED, sign_in_page(safe_next(path), form, None)).into_response()
}

/// The sign-in page. In a frame, it says how to continue instead, because visitors of a frame sign in to the product around it.
/// `form` becomes a hidden field. `error` says why the previous key was refused.
pub(crate) fn sign_in_page(next: &str, form: &str, error: Option<&str>) -> Markup {
    if in_frame() {
        return ended_in_frame();
    }
    let content = html! {
        h1 { (t!("Sign in")) }
        p.lead { (t!("See where your events were delivered, why a delivery failed, and send events again.")) }
        @if !form.is_empty() {
            p.warning role="note" {
                (t!("Your session has ended and nothing was saved.")) " "
                (t!("Sign in with a key to see your form again; secrets and header values must be entered again.")) " "
                (t!("A new link begins without the form."))
            }
        }
        form.stack method="post" action=(SIGN_IN) {
            input type="hidden" name="next" value=(next);
            @if !form.is_empty() { input type="hidden" name="form" value=(form); }
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
        }
        p.faint { (t!("If you came by a link without a key, ask for a new link, or open the page in the product again.")) }
    };
    document::bare(&t!("Sign in"), content)
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
