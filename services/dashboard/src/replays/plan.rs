//! Planning a replay: the form, the counts, and the start.
//!
//! The button that starts a replay belongs to the form, so it sends the form as it is shown. The button carries a fingerprint of
//! the selection that was counted: a form that changed since is counted again instead of started.

use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_operations::replays::ReplayPreview;

use super::input::ReplayInput;
use crate::components::form::{FormErrors, option};
use crate::components::webhook::WebhookOptions;
use crate::csrf::{CSRF_FIELD, ONCE_FIELD};
use crate::failure::Failure;
use crate::fields::{Fields, Form};
use crate::format::{attribute, local, plural};
use crate::layout::Section;
use crate::page::{Managed, Page, form_error, refused};
use crate::texts::Notice;

/// Ranges that a button sets: value, milliseconds, label.
const PRESETS: [(&str, i64, &str); 3] =
    [("1h", 3_600_000, "Last hour"), ("24h", 86_400_000, "Last 24 hours"), ("7d", 604_800_000, "Last 7 days")];
/// Most characters of a one-time token.
const ONCE_CHARS_MAX: usize = 64;

/// `GET …/replays/new`; with `count`, the selection is counted and can be started.
pub(crate) async fn show(Managed(page): Managed<Page>) -> Result<Response, Failure> {
    let query = page.visitor.restored().unwrap_or(&page.visitor.query);
    if let Some((_, ms, _)) = PRESETS.into_iter().find(|(name, ..)| *name == query.get("preset")) {
        let from = UnixMillis(UnixMillis::now().0 - ms).to_rfc3339_seconds();
        let others = Fields::read(query.without(&["preset", "count", "to"]).as_bytes());
        let address = format!("/replays/new?{}", others.query_with("from", Some(local(&from))));
        return Ok(Redirect::to(&page.to(address)).into_response());
    }
    let input = ReplayInput::of(&page, query);
    if !query.is_checked("count") && input.events.is_empty() {
        return Ok(show_form(&page, &input, FormErrors(None), html! {}).await?.into_response());
    }
    show_counted(&page, &input, html! {}).await
}

/// The form with the counts, below `note`.
async fn show_counted(page: &Page, input: &ReplayInput, note: Markup) -> Result<Response, Failure> {
    match input.preview(page).await {
        Ok(preview) => {
            let counts = html! { (note) (counts(page, input, &preview)) };
            Ok(show_form(page, input, FormErrors(None), counts).await?.into_response())
        }
        Err(error) => {
            let error = form_error(error)?;
            Ok(refused(&error, show_form(page, input, FormErrors(Some(&error)), html! {}).await?))
        }
    }
}

async fn show_form(
    page: &Page,
    input: &ReplayInput,
    errors: FormErrors<'_>,
    counts: Markup,
) -> Result<Markup, Failure> {
    let webhooks = WebhookOptions::load(page, &input.endpoint).await?;
    let content = html! {
        h1 { "Replay events" }
        p { "Sends events of the log again. First you see what it would do. Live events have priority over replays." }
        (errors.summary())
        (form(page, input, &webhooks, errors))
        (counts)
    };
    Ok(page.show(Section::Replays, &errors.title("Replay events"), content))
}

fn form(page: &Page, input: &ReplayInput, webhooks: &WebhookOptions, errors: FormErrors<'_>) -> Markup {
    let mode = if input.rematch { "rematch" } else { "redeliver" };
    let modes = html! {
        (option("redeliver", mode, "the webhooks that received them"))
        (option("rematch", mode, "the webhooks that subscribe to them now"))
    };
    html! {
        form.stack #plan method="get" action=(page.to("/replays/new#counted")) {
            // The return key presses the first button of a form.
            button.unseen type="submit" name="count" value="yes" tabindex="-1" aria-hidden="true" { "Preview" }
            @if input.events.is_empty() { (range(page, input, errors)) } @else {
                fieldset #f-event_id tabindex="-1" {
                    legend { "Chosen events" }
                    @for id in &input.events {
                        label.check { input type="checkbox" name="event_id" value=(id) checked; " " code { (id) } }
                    }
                }
            }
            (errors.field("endpoint_id", "Webhook").select(webhooks.show(&input.endpoint, "all matching webhooks")))
            (errors.field("mode", "Send to").select(modes))
            label.check {
                input type="checkbox" name="only_failed" value="yes" checked[input.only_failed]; " Only failed deliveries"
            }
            div.buttons {
                button type="submit" name="count" value="yes" { "Preview" }
                a.button.quiet href=(page.to("/replays")) { "Back" }
            }
        }
    }
}

fn range(page: &Page, input: &ReplayInput, errors: FormErrors<'_>) -> Markup {
    let types_hint =
        html! { "Separated by commas. " code { "email.*" } " matches everything below the dot. Default: all." };
    html! {
        fieldset {
            legend { "Accepted between" }
            p.presets { @for (value, _, label) in PRESETS {
                button.quiet type="submit" name="preset" value=(value) { (label) }
            } }
            div.pair {
                (errors.field("from", "From (UTC)").time(&input.from))
                (errors.field("to", "To (UTC)").hint("Default: now.").time(&input.to))
            }
        }
        (errors.field("event_types", "Event types").hint(types_hint).wide().text(&input.event_types))
        details open[!input.attributes.is_empty()] {
            summary { "Attributes" }
            @for name in page.profile.attributes.keys() {
                @let (id, label) = (format!("attributes.{name}"), attribute(name));
                @let value = input.attributes.get(name).map_or("", String::as_str);
                (errors.field_at(&format!("/attributes/{name}"), &id, &label).wide().text(value))
            }
        }
    }
}

/// The counts, and the button that starts the replay.
fn counts(page: &Page, input: &ReplayInput, preview: &ReplayPreview) -> Markup {
    let tokens = &page.visitor.tokens;
    let start = format!("{}?{ONCE_FIELD}={}&counted={}", page.to("/replays/new"), tokens.once, input.fingerprint());
    html! {
        section.panel #counted aria-labelledby="counted-title" tabindex="-1" autofocus {
            h2 #counted-title { "This replay creates " (plural(preview.deliveries, "delivery", "deliveries")) }
            p { "of " (plural(preview.events, "event", "events")) ". Nothing has been sent yet." }
            @if preview.deliveries > 0 {
                // A button of the form above. As its name and value, the token stays out of the address when the form is counted.
                button.primary type="submit" form="plan" formmethod="post" name=(CSRF_FIELD) value=(tokens.csrf)
                    formaction=(start) { "Replay now" }
            } @else {
                p { "No deliveries match. Deliveries that wait for a retry are not replayed." }
            }
        }
    }
}

/// `POST …/replays/new`
pub(crate) async fn start(Managed(page): Managed<Page>, Form(fields): Form) -> Result<Response, Failure> {
    let input = ReplayInput::of(&page, &fields);
    let query = &page.visitor.query;
    if query.get("counted") != input.fingerprint() {
        let note = html! { p.warning role="note" { "The form changed after the preview, so this is a new preview." } };
        return show_counted(&page, &input, note).await;
    }
    let once = query.optional(ONCE_FIELD).map(|once| once.chars().take(ONCE_CHARS_MAX).collect::<String>());
    match input.start(&page, once.as_deref()).await {
        Ok(ids) => Ok(match ids.as_slice() {
            [only] => page.redirect(format!("/replays/{only}"), Notice::ReplayStarted),
            _ => page.redirect("/replays", Notice::ReplaysStarted),
        }
        .into_response()),
        Err(error) => {
            let error = form_error(error)?;
            Ok(refused(&error, show_form(&page, &input, FormErrors(Some(&error)), html! {}).await?))
        }
    }
}
