//! The form that creates and edits a webhook.

use maud::{Markup, html};
use postrider_model::endpoint::Channel;
use postrider_model::endpoint::UrlRule;
use postrider_model::pushover::Sound;
use postrider_operations::endpoints::MASK;
use postrider_operations::event_types::EventType;
use postrider_operations::events::AttributeValue;
use postrider_profiles::Profile;

use super::input::{FilterInput, WebhookInput};
use crate::components::form::{FormErrors, errors as field_errors, option};
use crate::failure::Failure;
use crate::format::{attribute, count, schedule};
use crate::page::Page;

/// Values of an attribute that are offered.
const VALUES_OFFERED: u32 = 30;

/// What the form does.
#[derive(Clone, Copy)]
pub(crate) enum Purpose<'a> {
    Create,
    Edit { id: &'a str },
}

/// The choices that the form offers.
pub(crate) struct Offers {
    catalog: Vec<EventType>,
    /// The values of recent events, by attribute.
    values: Vec<(String, Vec<AttributeValue>)>,
}

impl Offers {
    pub(crate) async fn load(page: &Page) -> Result<Self, Failure> {
        let mut values = Vec::new();
        for name in page.profile.attributes.keys() {
            let recent = page.operations.attribute_values(page.caller, name, VALUES_OFFERED).await?;
            values.push((name.clone(), recent.data));
        }
        Ok(Self { catalog: page.operations.catalog(page.caller).await?, values })
    }

    /// Event types and patterns.
    pub(crate) fn event_types(&self) -> Vec<String> {
        let patterns = groups(&self.catalog).into_iter().filter_map(|(group, _)| pattern(group));
        let names = self.catalog.iter().map(|info| info.name.clone());
        std::iter::once("*".to_owned()).chain(patterns).chain(names).collect()
    }
}

/// The catalog by group. Types without a group are together.
fn groups(catalog: &[EventType]) -> Vec<(&str, Vec<&EventType>)> {
    let mut groups: Vec<(&str, Vec<&EventType>)> = Vec::new();
    for info in catalog {
        let group = info.group.as_deref().unwrap_or_default();
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, members)) => members.push(info),
            None => groups.push((group, vec![info])),
        }
    }
    groups
}

fn pattern(group: &str) -> Option<String> {
    (!group.is_empty()).then(|| format!("{group}.*"))
}

/// The form.
pub(crate) fn form(
    page: &Page,
    input: &WebhookInput,
    offers: &Offers,
    purpose: Purpose<'_>,
    errors: FormErrors<'_>,
) -> Markup {
    let (action, button) = match purpose {
        Purpose::Create => ("/webhooks/new".to_owned(), "Create webhook"),
        Purpose::Edit { id } => (format!("/webhooks/{id}/edit"), "Save"),
    };
    html! {
        (errors.summary())
        form.stack.webhook method="post" action=(page.to(action)) novalidate {
            (page.visitor.tokens)
            @if matches!(purpose, Purpose::Edit { .. }) { input type="hidden" name="version" value=(input.version); }
            @if input.channel == Channel::Pushover { input type="hidden" name="channel" value="pushover"; }
            (basics(input, errors))
            fieldset {
                legend { "Destination" }
                (field_errors("channel", &errors.at("/channel")))
                @match input.channel {
                    Channel::Pushover => (pushover(input, errors)),
                    Channel::Web => {
                        (errors.field("url", "Postback URL").hint(url_hint(&page.profile)).wide().url(&input.url))
                        (web_details(&page.profile, input, purpose, errors))
                    }
                }
            }
            (event_types(page, &offers.catalog, input, errors))
            (filters(offers, input, errors))
            (pace(&page.profile, input, errors))
            div.buttons {
                button.primary type="submit" { (button) }
                a.button href=(page.to("/webhooks")) { "Back" }
            }
        }
    }
}

fn basics(input: &WebhookInput, errors: FormErrors<'_>) -> Markup {
    html! { fieldset {
        legend { "Basics" }
        (errors.field("name", "Name").hint("For people, such as “CRM: opens”.").wide().required(&input.name))
        (errors.field("description", "Description").area(2, &input.description))
        label.check for="f-status" {
            input #f-status type="checkbox" name="active" value="yes" checked[!input.inactive]; " Active: receives events"
        }
    } }
}

fn url_hint(profile: &Profile) -> &'static str {
    match profile.url_rule {
        UrlRule::HttpsOnly => "An https URL of yours that is publicly reachable.",
        UrlRule::HttpAllowed => "A URL of yours that is publicly reachable. We recommend https.",
    }
}

fn web_details(profile: &Profile, input: &WebhookInput, purpose: Purpose<'_>, errors: FormErrors<'_>) -> Markup {
    let used = !input.headers.is_empty() || !input.secret.is_empty() || input.ascii_json || errors.0.is_some();
    html! { details open[used] {
        summary { "Headers, secret and body" }
        (errors.field("headers", "Custom headers")
            .hint(html! { "One per line, “Name: value”. Values are not shown again. " code { (MASK) } " keeps the stored value." })
            .code().area(3, &input.headers))
        @if matches!(purpose, Purpose::Create) { (secret(profile, input, errors)) }
        @if profile.sends_token() {
            (errors.field("token_header", "Header that carries the secret").hint("Leave it empty for the default.").wide()
                .text(&input.token_header))
        }
        label.check for="f-ascii_json" {
            input #f-ascii_json type="checkbox" name="ascii_json" value="yes" checked[input.ascii_json];
            " Escape all characters outside ASCII (for receivers in Python that re-encode the body)"
        }
    } }
}

fn secret(profile: &Profile, input: &WebhookInput, errors: FormErrors<'_>) -> Markup {
    let hint = "Leave it empty to generate one, which is shown once. Your own has 16 bytes to 256 characters.";
    let keys = html! {
        option value="hmac" { "a shared secret (HMAC-SHA256)" }
        option value="ed25519" selected[input.ed25519] { "a key pair (Ed25519): you get the public key" }
    };
    html! {
        (errors.field("secret", "Secret").hint(hint).wide().code().text(&input.secret))
        @if profile.only_standard_signature() { (errors.field("signature_key", "Signed with").select(keys)) }
    }
}

fn pushover(input: &WebhookInput, errors: FormErrors<'_>) -> Markup {
    // Errors below `/pushover` are shown at their fields.
    let own: Vec<String> = errors.at("/pushover").into_iter().filter(|error| !error.contains(": ")).collect();
    let sounds = html! { @for sound in Sound::all() { (option(sound.name, &input.sound, sound.name)) } };
    html! {
        (field_errors("pushover", &own))
        (errors.field_at("/pushover/user_key", "user_key", "User key").hint("Your own or a group's, from pushover.net.")
            .wide().code().text(&input.user_key))
        (errors.field_at("/pushover/api_token", "api_token", "API token").hint("The token of your Pushover application.")
            .wide().code().text(&input.api_token))
        (errors.field_at("/pushover/sound", "sound", "Sound").select(sounds))
    }
}

fn event_types(page: &Page, catalog: &[EventType], input: &WebhookInput, errors: FormErrors<'_>) -> Markup {
    let wrong = errors.at("/event_types");
    let described_by = (!wrong.is_empty()).then_some("f-event_types-error");
    html! { fieldset #f-event_types data-pick tabindex="-1" aria-describedby=[described_by] {
        legend { "Event types" }
        (field_errors("event_types", &wrong))
        div.field hidden data-pick-search {
            label for="type-search" { "Search" }
            input.wide #type-search type="search" autocomplete="off" placeholder="opened, bounced, …";
            p.hint role="status" data-pick-count {}
        }
        label.check { (type_box("*", input)) " All events, including types that are added later" }
        div.groups { @for (group, members) in groups(catalog) { (type_group(group, &members, input)) } }
        @if page.profile.open_catalog || !input.other_types.is_empty() || !wrong.is_empty() {
            div.field {
                label for="f-other_types" { "Other types" }
                p.hint #f-other_types-hint { "One per line. " code { "orders.*" } " matches everything below the dot." }
                textarea.wide.code #f-other_types name="other_types" rows="2" spellcheck="false"
                    aria-describedby="f-other_types-hint" { (input.other_types) }
            }
        }
    } }
}

fn type_group(group: &str, members: &[&EventType], input: &WebhookInput) -> Markup {
    html! { div.group role="group" aria-label=(if group.is_empty() { "Event types" } else { group }) {
        @if let Some(pattern) = pattern(group) {
            label.check.group-all { (type_box(&pattern, input)) " everything in " code { (group) } }
        }
        @for info in members {
            label.check data-pick-item={ (info.name) " " (info.description) } {
                (type_box(&info.name, input))
                span { " " span.type-name { (info.name) } " " span.faint { (info.description) } }
            }
        }
    } }
}

fn type_box(name: &str, input: &WebhookInput) -> Markup {
    let checked = input.event_types.iter().any(|chosen| chosen == name);
    html! { input type="checkbox" name="event_types" value=(name) checked[checked]; }
}

fn filters(offers: &Offers, input: &WebhookInput, errors: FormErrors<'_>) -> Markup {
    let unused = FilterInput::default();
    html! { fieldset #f-filters tabindex="-1" {
        legend { "Filters" }
        p.hint { "Optional. An event must match one value of each filter that has values." }
        (field_errors("filters", &errors.at("/filters")))
        div.filters { @for (name, values) in &offers.values { (filter(name, values, input.filters.get(name).unwrap_or(&unused))) } }
        details open[!input.payload_filter.is_empty() || !errors.at("/payload_filter").is_empty()] {
            summary { "Payload filter" }
            (errors.field("payload_filter", "Condition in JSON").hint(html! {
                code { r#"{"field": "data.amount", "op": "gt", "value": 5}"# }
                ", combined with " code { "all" } ", " code { "any" } ", " code { "not" }
                ". Operators: eq ne in prefix suffix gt gte lt lte exists."
            }).code().area(6, &input.payload_filter))
        }
    } }
}

fn filter(name: &str, values: &[AttributeValue], input: &FilterInput) -> Markup {
    let offered = |chosen: &String| values.iter().any(|value| value.value == *chosen);
    let other = input.chosen.iter().filter(|chosen| !offered(chosen));
    let field = format!("filter.{name}");
    html! { details open[!input.chosen.is_empty() || !input.typed.is_empty()] {
        summary { (attribute(name)) @if !input.chosen.is_empty() { " " span.tag { (input.chosen.len()) " chosen" } } }
        div role="group" aria-label=(attribute(name)) {
            @for value in other { label.check { input type="checkbox" name=(field) value=(value) checked; " " (value) } }
            @for value in values { label.check {
                input type="checkbox" name=(field) value=(value.value) checked[input.chosen.contains(&value.value)];
                span { " " (value.value) " " span.faint { "about " (count(value.events)) " events in 7 days" } }
            } }
            @if values.is_empty() { p.hint { "The events of the last 7 days had no values." } }
        }
        div.field {
            label for={ "f-typed-" (name) } { "Other values, one per line" }
            (filter_hint(name))
            textarea.wide.code id={ "f-typed-" (name) } name={ "filter_typed." (name) } rows="2" spellcheck="false" { (input.typed) }
        }
    } }
}

fn filter_hint(attribute: &str) -> Markup {
    html! { @match attribute {
        "sending_domain" => p.hint { code { "*.example.com" } " matches all subdomains." },
        "dedicated_ip" => p.hint { "Ranges such as " code { "203.0.113.0/24" } " match, also for IPv6." },
        _ => {}
    } }
}

/// Retries, timeout and rate.
fn pace(profile: &Profile, input: &WebhookInput, errors: FormErrors<'_>) -> Markup {
    let retry_hint = format!(
        "Delays between attempts, such as “10s, 1m, 5m, 2h”; “none” disables retries. Default: {}.",
        schedule(profile.retry_schedule.seconds())
    );
    let rate = profile.default_rate.map_or("no limit".to_owned(), |rate| rate.to_string());
    html! { fieldset {
        legend { "Speed and retries" }
        (errors.field("retry_schedule_seconds", "Retry after").hint(retry_hint).wide().text(&input.retry_schedule))
        div.pair {
            (errors.field("timeout_seconds", "Timeout in seconds")
                .hint(format!("1 to 60. Default: {}.", profile.timeout.as_secs())).number(&input.timeout))
            (errors.field("rate_per_second", "Maximum requests per second")
                .hint(format!("Default: {rate}.")).number(&input.rate))
        }
    } }
}
