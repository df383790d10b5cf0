//! The form that creates and edits a webhook.

use maud::{Markup, html};
use postrider_model::endpoint::Channel;
use postrider_model::endpoint::UrlRule;
use postrider_model::ids::EndpointId;
use postrider_model::limits::{
    BATCHED_BYTES_DEFAULT, BATCHED_BYTES_MAX, BATCHED_EVENTS_DEFAULT, BATCHED_EVENTS_MAX, BATCHED_WAIT_MS_DEFAULT,
    BATCHED_WAIT_MS_MAX,
};
use postrider_model::notice::NoticeState;
use postrider_model::pushover::Sound;
use postrider_operations::endpoints::MASK;
use postrider_operations::event_types::EventType;
use postrider_operations::events::AttributeValue;
use postrider_profiles::Profile;

use crate::components::{Form, WebhookOptions, field_errors};
use crate::failure::Answer;
use crate::format::{attribute, count, schedule};
use crate::language::{Text, t, tm};
use crate::page::Page;

/// Maximum number of values of an attribute that the form offers.
const VALUES_OFFERED: u32 = 30;

/// What the form does.
#[derive(Clone, Copy)]
pub(crate) enum Purpose<'a> {
    Create,
    Edit { id: &'a str },
}

/// The event types and attribute values that the form offers.
pub(crate) struct Offers {
    catalog: Vec<EventType>,
    /// The values of recent events, by attribute.
    values: Vec<(String, Vec<AttributeValue>)>,
    /// The webhooks that can get notices about this one.
    notified: WebhookOptions,
}

impl Offers {
    /// `notified` is the id of the webhook that gets notices about this one, or empty; `own` is the webhook that is edited.
    pub(crate) async fn load(page: &Page, notified: &str, own: Option<EndpointId>) -> Answer<Self> {
        let webhooks = WebhookOptions::load(page, notified).await?;
        let notified = match own {
            Some(own) => webhooks.without(own),
            None => webhooks,
        };
        let mut values = Vec::new();
        for name in page.profile.attributes.keys() {
            let recent = page.operations.attribute_values(page.caller, name, VALUES_OFFERED).await?;
            values.push((name.clone(), recent.data));
        }
        Ok(Self { catalog: page.operations.catalog(page.caller).await?, values, notified })
    }

    /// The event types and patterns that the form offers.
    pub(crate) fn event_types(&self) -> Vec<String> {
        let patterns = groups(&self.catalog).into_iter().filter_map(|(group, _)| pattern(group));
        let names = self.catalog.iter().map(|info| info.name.clone());
        std::iter::once("*".to_owned()).chain(patterns).chain(names).collect()
    }
}

/// The types of the catalog by group. Types without a group are in the group with an empty name.
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

pub(crate) fn form(page: &Page, form: &Form, offers: &Offers, purpose: Purpose<'_>, channel: Channel) -> Markup {
    let (action, button) = match purpose {
        Purpose::Create => ("/webhooks/new".to_owned(), t!("Create {webhook}")),
        Purpose::Edit { id } => (format!("/webhooks/{id}/edit"), t!("Save")),
    };
    html! {
        (form.summary())
        form.stack.webhook method="post" action=(page.to(action)) novalidate {
            (page.visitor.tokens)
            @if matches!(purpose, Purpose::Edit { .. }) { input type="hidden" name="version" value=(form.get("version")); }
            @if channel != Channel::Web { input type="hidden" name="channel" value=(channel.as_str()); }
            (basics(form))
            fieldset {
                legend { (t!("Destination")) }
                (field_errors("channel", &form.errors_at("/channel")))
                @match channel {
                    Channel::Pushover => (pushover(form)),
                    Channel::Slack | Channel::Discord | Channel::Teams => (chat(form, channel)),
                    Channel::Telegram => (telegram(form)),
                    Channel::Email => (email(form)),
                    Channel::Web => {
                        (form.field("url", t!("Postback URL")).hint(url_hint(&page.profile)).wide().url())
                        (web_details(&page.profile, form, purpose))
                    }
                }
            }
            (event_types(page, &offers.catalog, form))
            (filters(offers, form))
            (pace(&page.profile, form, channel))
            (notify(offers, form))
            div.buttons {
                button.primary type="submit" { (button) }
                a.button href=(page.to("/webhooks")) { (t!("Back")) }
            }
        }
    }
}

fn basics(form: &Form) -> Markup {
    html! { fieldset {
        legend { (t!("Basics")) }
        (form.field("name", t!("Name")).hint(t!("For people, such as “CRM: opens”.")).wide().required())
        (form.field("description", t!("Description")).area(2))
        (form.checkbox("active", t!("Active: receives events")))
    } }
}

fn url_hint(profile: &Profile) -> Text {
    match profile.url_rule {
        UrlRule::HttpsOnly => t!("An https URL of yours that is publicly reachable."),
        UrlRule::HttpAllowed => t!("A URL of yours that is publicly reachable. We recommend https."),
    }
}

fn web_details(profile: &Profile, form: &Form, purpose: Purpose<'_>) -> Markup {
    let used = form.is_refused() || ["headers", "secret", "ascii_json"].iter().any(|name| form.fields.is_checked(name));
    html! { details open[used] {
        summary { (t!("Headers, secret and body")) }
        (form.field("headers", t!("Custom headers"))
            .hint(tm!(
                "One per line, “Name: value”. Values are not shown again. {mask} keeps the stored value.",
                mask = html! { code { (MASK) } }
            ))
            .code().area(3))
        @if matches!(purpose, Purpose::Create) { (secret(profile, form)) }
        @if profile.sends_token() {
            (form.field("token_header", t!("Header that carries the secret")).hint(t!("Leave it empty for the default.")).wide()
                .text())
        }
        (form.checkbox("ascii_json", t!("Escape all characters outside ASCII (for receivers in Python that re-encode the body)")))
    } }
}

fn secret(profile: &Profile, form: &Form) -> Markup {
    let hint = t!("Leave it empty to generate one, which is shown once. Your own has 16 bytes to 256 characters.");
    let keys = [
        ("hmac", t!("a shared secret (HMAC-SHA256)")),
        ("ed25519", t!("a key pair (Ed25519): you get the public key")),
    ];
    html! {
        (form.field("secret", t!("Secret")).hint(hint).wide().code().text())
        @if profile.only_standard_signature() { (form.field("signature_key", t!("Signed with")).choice(keys)) }
    }
}

fn pushover(form: &Form) -> Markup {
    // The errors of single fields, such as `/pushover/sound`, are shown at the fields.
    let own = own_errors(form, "/pushover");
    let sounds = Sound::all().map(|sound| (sound.name, sound.name));
    html! {
        (field_errors("pushover", &own))
        (form.field_at("/pushover/user_key", "user_key", t!("User key")).hint(t!("Your own or a group's, from pushover.net."))
            .wide().code().text())
        (form.field_at("/pushover/api_token", "api_token", t!("API token")).hint(t!("The token of your Pushover application."))
            .wide().code().text())
        (form.field_at("/pushover/sound", "sound", t!("Sound")).choice(sounds))
    }
}

/// The errors of a channel that are not about one of its fields.
fn own_errors(form: &Form, pointer: &str) -> Vec<String> {
    form.errors_at(pointer).into_iter().filter(|error| !error.contains(": ")).collect()
}

fn chat(form: &Form, channel: Channel) -> Markup {
    let hint = match channel {
        Channel::Slack => t!(
            "The URL of an incoming webhook, from the settings of a Slack app. It is a secret and is not shown again."
        ),
        Channel::Discord => {
            t!("The URL of a webhook, from the settings of a Discord channel. It is a secret and is not shown again.")
        }
        _ => t!(
            "The URL of a workflow that posts to a channel or chat of Microsoft Teams. It is a secret and is not shown again."
        ),
    };
    html! {
        (field_errors("chat", &own_errors(form, "/chat")))
        (form.field_at("/chat/webhook_url", "webhook_url", t!("Webhook URL")).hint(hint).wide().code().text())
    }
}

fn telegram(form: &Form) -> Markup {
    html! {
        (field_errors("telegram", &own_errors(form, "/telegram")))
        (form.field_at("/telegram/bot_token", "bot_token", t!("Bot token"))
            .hint(t!("From @BotFather. It is a secret and is not shown again.")).wide().code().text())
        (form.field_at("/telegram/chat_id", "chat_id", t!("Chat"))
            .hint(t!("The id of the chat, such as -1001234567890, or its public name, such as @alerts. Add the bot to it first."))
            .code().text())
    }
}

fn email(form: &Form) -> Markup {
    let hint = t!("1 to 10 e-mail addresses, one per line. Each sees the others.");
    html! { (form.field_at("/email/recipients", "recipients", t!("Recipients")).hint(hint).code().area(3)) }
}

fn event_types(page: &Page, catalog: &[EventType], form: &Form) -> Markup {
    let (wrong, chosen) = (form.errors_at("/event_types"), form.fields.all("event_types"));
    let other_types = form.fields.lines("other_types");
    let described_by = (!wrong.is_empty()).then_some("f-event_types-error");
    html! { fieldset #f-event_types data-pick tabindex="-1" aria-describedby=[described_by] {
        legend { (t!("Event types")) }
        (field_errors("event_types", &wrong))
        div.field hidden data-pick-search {
            label for="type-search" { (t!("Search")) }
            input.wide #type-search type="search" autocomplete="off" placeholder=(t!("opened, bounced, …"));
            p.hint role="status" data-pick-count {}
        }
        label.check { (type_box("*", &chosen)) " " (t!("All events, including types that are added later")) }
        div.groups { @for (group, members) in groups(catalog) { (type_group(group, &members, &chosen)) } }
        @if page.profile.open_catalog || !other_types.is_empty() || !wrong.is_empty() {
            div.field {
                label for="f-other_types" { (t!("Other types")) }
                p.hint #f-other_types-hint {
                    (tm!("One per line. {pattern} matches everything below the dot.", pattern = html! { code { "orders.*" } }))
                }
                textarea.wide.code #f-other_types name="other_types" rows="2" spellcheck="false"
                    aria-describedby="f-other_types-hint" { (other_types) }
            }
        }
    } }
}

fn type_group(group: &str, members: &[&EventType], chosen: &[String]) -> Markup {
    html! { div.group role="group" aria-label=(if group.is_empty() { t!("Event types") } else { group.to_owned().into() }) {
        @if let Some(pattern) = pattern(group) {
            label.check.group-all { (type_box(&pattern, chosen)) " " (tm!("everything in {group}", group = html! { code { (group) } })) }
        }
        @for info in members {
            label.check data-pick-item={ (info.name) " " (info.description) } {
                (type_box(&info.name, chosen))
                span { " " span.type-name { (info.name) } " " span.faint { (info.description) } }
            }
        }
    } }
}

fn type_box(name: &str, chosen: &[String]) -> Markup {
    html! { input type="checkbox" name="event_types" value=(name) checked[chosen.iter().any(|chosen| chosen == name)]; }
}

fn filters(offers: &Offers, form: &Form) -> Markup {
    html! { fieldset #f-filters tabindex="-1" {
        legend { (t!("Filters")) }
        p.hint { (t!("Optional. An event must match one value of each filter that has values.")) }
        (field_errors("filters", &form.errors_at("/filters")))
        div.filters { @for (name, values) in &offers.values { (filter(name, values, form)) } }
        details open[!form.get("payload_filter").is_empty() || !form.errors_at("/payload_filter").is_empty()] {
            summary { (t!("Payload filter")) }
            (form.field("payload_filter", t!("Condition in JSON")).hint(tm!(
                "{example}, combined with {all}, {any}, {not}. Operators: {operators}.",
                example = html! { code { r#"{"field": "data.amount", "op": "gt", "value": 5}"# } },
                all = html! { code { "all" } },
                any = html! { code { "any" } },
                not = html! { code { "not" } },
                operators = html! { span translate="no" { "eq ne in prefix suffix gt gte lt lte exists" } }
            )).code().area(6))
        }
    } }
}

fn filter(name: &str, values: &[AttributeValue], form: &Form) -> Markup {
    let field = format!("filter.{name}");
    let (chosen, typed) = (form.fields.all(&field), form.fields.lines(&format!("filter_typed.{name}")));
    let offered = |chosen: &String| values.iter().any(|value| value.value == *chosen);
    let other = chosen.iter().filter(|chosen| !offered(chosen));
    html! { details open[!chosen.is_empty() || !typed.is_empty()] {
        summary { (attribute(name)) @if !chosen.is_empty() { " " span.tag { (t!("{number} chosen", number = chosen.len())) } } }
        div role="group" aria-label=(attribute(name)) {
            @for value in other { label.check { input type="checkbox" name=(field) value=(value) checked; " " (value) } }
            @for value in values { label.check {
                input type="checkbox" name=(field) value=(value.value) checked[chosen.contains(&value.value)];
                span { " " (value.value) " " span.faint { (t!("about {number} events in 7 days", number = count(value.events))) } }
            } }
            @if values.is_empty() { p.hint { (t!("The events of the last 7 days had no values.")) } }
        }
        div.field {
            label for={ "f-typed-" (name) } { (t!("Other values, one per line")) }
            (filter_hint(name))
            textarea.wide.code id={ "f-typed-" (name) } name={ "filter_typed." (name) } rows="2" spellcheck="false" { (typed) }
        }
    } }
}

fn filter_hint(attribute: &str) -> Markup {
    html! { @match attribute {
        "sending_domain" => p.hint { (tm!("{pattern} matches all subdomains.", pattern = html! { code { "*.example.com" } })) },
        "dedicated_ip" => p.hint { (tm!("Ranges such as {range} match, also for IPv6.", range = html! { code { "203.0.113.0/24" } })) },
        _ => {}
    } }
}

/// Retries, timeout and rate.
fn pace(profile: &Profile, form: &Form, channel: Channel) -> Markup {
    let retry_hint = t!(
        "Delays between attempts, such as “10s, 1m, 5m, 2h”; “none” disables retries. Default: {schedule}.",
        schedule = schedule(profile.retry_schedule.seconds())
    );
    let rate = channel.rate_per_second(profile.rate_per_second).map_or(t!("no limit"), |rate| rate.to_string().into());
    html! { fieldset {
        legend { (t!("Speed and retries")) }
        (form.field("retry_schedule_seconds", t!("Retry after")).hint(retry_hint).wide().text())
        div.pair {
            (form.field("timeout_seconds", t!("Timeout in seconds"))
                .hint(t!("1 to 60. Default: {seconds}.", seconds = profile.timeout.as_secs())).number())
            (form.field("rate_per_second", t!("Maximum requests per second"))
                .hint(t!("Default: {rate}.", rate = rate)).number())
        }
        (ordering(form))
        @if channel == Channel::Web { (batch(form)) }
    } }
}

/// How many events are sent in one request.
fn batch(form: &Form) -> Markup {
    let choices = [("", t!("each event alone")), ("yes", t!("several events in one request"))];
    let range = |most: u32, default: u32| {
        t!("At most {number}. Default: {default}.", number = count(most.into()), default = count(default.into()))
    };
    html! {
        div.pair {
            (form.field("batch", t!("Send")).choice(choices))
            (form.field_at("/batch/events_max", "events_max", t!("Events in a request"))
                .hint(range(BATCHED_EVENTS_MAX, BATCHED_EVENTS_DEFAULT)).number())
        }
        div.pair {
            (form.field_at("/batch/wait_ms_max", "wait_ms_max", t!("Wait for more events, in milliseconds"))
                .hint(range(BATCHED_WAIT_MS_MAX, BATCHED_WAIT_MS_DEFAULT)).number())
            (form.field_at("/batch/bytes_max", "bytes_max", t!("Bytes of a request"))
                .hint(range(BATCHED_BYTES_MAX, BATCHED_BYTES_DEFAULT)).number())
        }
    }
}

/// The choice of the webhook that gets notices about this one.
fn notify(offers: &Offers, form: &Form) -> Markup {
    let hint = t!("Gets a message when this {webhook} fails, stops or works again, at most one an hour for each.");
    let chosen = form.fields.all("notify_on");
    let states = NoticeState::ALL.map(|state| (state.as_str(), notice_state(state)));
    html! { fieldset {
        legend { (t!("Tell when it fails")) }
        (form.field_at("/notify/endpoint", "notify", t!("Tell")).hint(hint)
            .select(offers.notified.show(form.get("notify"), &t!("nobody"))))
        (field_errors("notify-on", &form.errors_at("/notify/on")))
        @for (name, text) in states { label.check {
            input type="checkbox" name="notify_on" value=(name) checked[chosen.iter().any(|state| state == name)]; " " (text)
        } }
    } }
}

/// The text for a state that causes a notice.
pub(crate) fn notice_state(state: NoticeState) -> Text {
    match state {
        NoticeState::Failing => t!("when deliveries fail"),
        NoticeState::Disabled => t!("when it is switched off because of failures"),
        NoticeState::Paused => t!("when it is paused"),
        NoticeState::Recovered => t!("when it works again"),
    }
}

/// The order of deliveries.
fn ordering(form: &Form) -> Markup {
    let choices = [
        ("", t!("in no order, as soon as possible")),
        ("continue", t!("in order; after a failure, go on with the next")),
        ("hold", t!("in order; after a failure, wait for a decision")),
    ];
    html! { div.pair {
        (form.field("ordering", t!("Deliver")).choice(choices))
        (form.field_at("/ordering/key", "ordering_key", t!("Order by"))
            .hint(t!("A field of the event, such as “metadata.subscriber_id”. Empty: all events are in one order.")).code().text())
    } }
}
