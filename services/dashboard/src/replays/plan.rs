//! The form that plans a replay, its preview, and the start of the replay.
//!
//! The preview names the number of deliveries and has the button that starts the replay. The button submits the form with a
//! fingerprint of the selection in the preview. If the visitor changed the form after the preview, the fingerprints differ: no
//! replay starts, and the page shows a new preview.

use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_operations::replays::ReplayPreview;

use super::input::Requests;
use crate::components::{Form, WebhookOptions};
use crate::csrf::{CSRF_FIELD, ONCE_FIELD};
use crate::failure::Answer;
use crate::fields::{Fields, Sent};
use crate::format::{attribute, local};
use crate::language::{key, t, text, tm};
use crate::page::{Managed, Page};
use crate::texts::Notice;

/// Ranges that a button sets: the value of the parameter `preset`, the length in milliseconds, and the label.
const PRESETS: [(&str, i64, &str); 3] = [
    ("1h", 3_600_000, key!("Last hour")),
    ("24h", 86_400_000, key!("Last 24 hours")),
    ("7d", 604_800_000, key!("Last 7 days")),
];
/// Maximum number of characters of a one-time token.
const ONCE_CHARS_MAX: usize = 64;

/// `GET …/replays/new`: the form. With the parameter `count`, or with chosen events, also the preview.
pub(crate) async fn show(Managed(page): Managed<Page>) -> Answer<Response> {
    let query = page.visitor.restored().unwrap_or_else(|| page.visitor.query.clone());
    if let Some((_, ms, _)) = PRESETS.into_iter().find(|(name, ..)| *name == query.get("preset")) {
        let from = UnixMillis(UnixMillis::now().0 - ms).to_rfc3339_seconds();
        let others = Fields::read(query.without(&["preset", "count", "to"]).as_bytes());
        let address = format!("/replays/new?{}", others.query_with("from", Some(&local(&from))));
        return Ok(Redirect::to(&page.to(address)).into_response());
    }
    if !query.is_checked("count") && query.all("event_id").is_empty() {
        return show_form(&page, &query.into(), html! {}).await;
    }
    show_preview(&page, query, html! {}).await
}

/// The form, and below it `note` and the preview.
async fn show_preview(page: &Page, fields: Fields, note: Markup) -> Answer<Response> {
    let previewed = async {
        let requests = Requests::of(page, &fields)?;
        Ok((requests.preview(page).await?, requests))
    };
    match previewed.await {
        Ok((preview, requests)) => {
            let preview = html! { (note) (counts(page, &requests, &preview)) };
            show_form(page, &fields.into(), preview).await
        }
        Err(error) => show_form(page, &Form::refused(fields, error)?, html! {}).await,
    }
}

async fn show_form(page: &Page, form: &Form, preview: Markup) -> Answer<Response> {
    let webhooks = WebhookOptions::load(page, form.get("endpoint_id")).await?;
    let content = html! {
        h1 { (t!("Replay events")) }
        p { (t!("Sends events of the history again. First you see what it would do. Live events have priority over replays.")) }
        (form.summary())
        (plan(page, form, &webhooks))
        (preview)
    };
    Ok(form.answer(page.show(&form.title(&t!("Replay events")), content)))
}

fn plan(page: &Page, form: &Form, webhooks: &WebhookOptions) -> Markup {
    let modes = [
        ("redeliver", t!("the {webhooks} that received them")),
        ("rematch", t!("the {webhooks} that subscribe to them now")),
    ];
    let events = form.fields.all("event_id");
    html! {
        form.stack #plan method="get" action=(page.to("/replays/new#counted")) {
            // The return key presses the first button of a form.
            button.unseen type="submit" name="count" value="yes" tabindex="-1" aria-hidden="true" { (t!("Preview")) }
            @if events.is_empty() { (range(page, form)) } @else {
                fieldset #f-event_id tabindex="-1" {
                    legend { (t!("Chosen events")) }
                    @for id in &events {
                        label.check { input type="checkbox" name="event_id" value=(id) checked; " " code { (id) } }
                    }
                }
            }
            (form.field("endpoint_id", t!("{Webhook}")).select(webhooks.show(form.get("endpoint_id"), &t!("all matching {webhooks}"))))
            (form.field("mode", t!("Send to")).choice(modes))
            (form.checkbox("only_failed", t!("Only failed deliveries")))
            div.buttons {
                button type="submit" name="count" value="yes" { (t!("Preview")) }
                a.button.quiet href=(page.to("/replays")) { (t!("Back")) }
            }
        }
    }
}

fn range(page: &Page, form: &Form) -> Markup {
    let types_hint = tm!(
        "Separated by commas. {pattern} matches everything below the dot. Default: all.",
        pattern = html! { code { "email.*" } }
    );
    html! {
        fieldset {
            legend { (t!("Accepted between")) }
            p.presets { @for (value, _, label) in PRESETS {
                button.quiet type="submit" name="preset" value=(value) { (text(label)) }
            } }
            div.pair {
                (form.field("from", t!("From (UTC)")).time())
                (form.field("to", t!("To (UTC)")).hint(t!("Default: now.")).time())
            }
        }
        (form.field("event_types", t!("Event types")).hint(types_hint).wide().text())
        details open[!form.fields.by_suffix("attributes.").is_empty()] {
            summary { (t!("Attributes")) }
            @for name in page.profile.attributes.keys() {
                @let (id, label) = (format!("attributes.{name}"), attribute(name));
                (form.field_at(&format!("/attributes/{name}"), &id, &label).wide().text())
            }
        }
    }
}

/// The counts, and the button that starts the replay.
fn counts(page: &Page, requests: &Requests, preview: &ReplayPreview) -> Markup {
    let tokens = &page.visitor.tokens;
    let start = format!("{}?{ONCE_FIELD}={}&counted={}", page.to("/replays/new"), tokens.once, requests.fingerprint());
    html! {
        section.panel #counted aria-labelledby="counted-title" tabindex="-1" autofocus {
            h2 #counted-title { (t!(preview.deliveries, "This replay creates {count} delivery", "This replay creates {count} deliveries")) }
            p { (t!(preview.events, "It covers {count} event. Nothing has been sent yet.", "It covers {count} events. Nothing has been sent yet.")) }
            @if preview.deliveries > 0 {
                // This button belongs to the form above. The button itself has the token as its name and value, so that the
                // button "Preview", which sends the form by GET, does not put the token into the address.
                button.primary type="submit" form="plan" formmethod="post" name=(CSRF_FIELD) value=(tokens.csrf)
                    formaction=(start) { (t!("Replay now")) }
            } @else {
                p { (t!("No deliveries match. Deliveries that wait for a retry are not replayed.")) }
            }
        }
    }
}

/// `POST …/replays/new`
pub(crate) async fn start(Managed(page): Managed<Page>, Sent(fields): Sent) -> Answer<Response> {
    let query = &page.visitor.query;
    let requests = match Requests::of(&page, &fields) {
        Ok(requests) if requests.fingerprint() == query.get("counted") => requests,
        _ => {
            let note = html! { p.warning role="note" { (t!("The form changed after the preview, so this is a new preview.")) } };
            return show_preview(&page, fields, note).await;
        }
    };
    let once = query.optional(ONCE_FIELD).map(|once| once.chars().take(ONCE_CHARS_MAX).collect::<String>());
    match requests.start(&page, once.as_deref()).await {
        Ok(ids) => Ok(match ids.as_slice() {
            [only] => page.redirect(format!("/replays/{only}"), Notice::ReplayStarted),
            _ => page.redirect("/replays", Notice::ReplaysStarted),
        }
        .into_response()),
        Err(error) => show_form(&page, &Form::refused(fields, error)?, html! {}).await,
    }
}
