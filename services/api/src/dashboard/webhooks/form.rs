//! The form of a webhook, for making and for editing one.

use std::sync::Arc;

use axum::extract::{Path, State};
use maud::{Markup, html};
use postrider_http::problem::Problem;
use postrider_model::endpoint::Channel;
use postrider_model::pushover::Sound;
use postrider_profiles::{Profile, UrlRule};

use super::super::failure::Failure;
use super::super::page::Page;
use super::super::parts::{errors, field, mistakes, summary};
use super::super::words::{attribute, count, schedule};
use super::fields::{Picked, Typed};
use crate::Api;
use crate::attributes::{self, AttributeValue};
use crate::endpoints::model::MASK;
use crate::event_types::model::EventType;
use crate::request::Params;

/// Values of an attribute that are offered.
const VALUES_OFFERED: &str = "30";

/// What a form is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    New,
    Edit,
}

/// What the form has boxes for.
pub(super) struct Offers {
    catalog: Vec<EventType>,
    seen: Seen,
}

/// The values that events had lately, by attribute.
type Seen = Vec<(String, Vec<AttributeValue>)>;

/// What can be picked from.
pub(super) async fn offers(api: &Arc<Api>, page: &Page) -> Result<Offers, Failure> {
    let mut seen = Seen::new();
    for name in page.profile.attributes.keys() {
        let params = Params::of([("limit".to_owned(), VALUES_OFFERED.to_owned())]);
        let values = attributes::values(State(Arc::clone(api)), page.caller, params, Path(name.clone())).await?;
        seen.push((name.clone(), values.0.data));
    }
    Ok(Offers { catalog: page.catalog(api).await?, seen })
}

impl Offers {
    /// Event types and patterns.
    pub(super) fn event_types(&self) -> Vec<String> {
        let patterns = groups(&self.catalog).into_iter().filter_map(|(group, _)| pattern(group));
        let names = self.catalog.iter().map(|info| info.name().to_owned());
        std::iter::once("*".to_owned()).chain(patterns).chain(names).collect()
    }
}

/// The catalog by group; those without one together.
fn groups(catalog: &[EventType]) -> Vec<(&str, Vec<&EventType>)> {
    let mut groups: Vec<(&str, Vec<&EventType>)> = Vec::new();
    for info in catalog {
        let group = info.group().unwrap_or_default();
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
pub(super) fn form(
    page: &Page,
    typed: &Typed,
    offers: &Offers,
    purpose: Purpose,
    action: &str,
    problem: Option<&Problem>,
) -> Markup {
    let profile = &page.profile;
    let wrong = |pointer: &str| mistakes(problem, pointer);
    html! {
        (summary(problem))
        form.stack.webhook method="post" action=(action) novalidate {
            (page.csrf())
            @if purpose == Purpose::Edit { input type="hidden" name="version" value=(typed.version); }
            @if typed.pushover { input type="hidden" name="channel" value="pushover"; }
            fieldset {
                legend { "Basics" }
                (field("name", "Name", html! { "For you, such as “CRM: opens”." }, &wrong("/name"), |described, invalid| html! {
                    input.wide #f-name type="text" name="name" value=(typed.name) maxlength="200" required autocomplete="off"
                        aria-describedby=(described) aria-invalid=[invalid];
                }))
                (field("description", "Description", html! {}, &wrong("/description"), |_, invalid| html! {
                    textarea.wide #f-description name="description" rows="2" aria-invalid=[invalid] { (typed.description) }
                }))
                label.check for="f-status" { input #f-status type="checkbox" name="active" value="yes" checked[!typed.inactive]; " Active: it takes events" }
            }
            fieldset {
                legend { "Where to" }
                (errors("channel", &wrong("/channel")))
                @if typed.pushover { (pushover(typed, problem)) } @else { (web(profile, typed, problem)) }
            }
            (event_types(page, &offers.catalog, typed, problem))
            (filters(typed, &offers.seen, problem))
            fieldset {
                legend { "Speed and retries" }
                (field("retry_schedule_seconds", "Retry after", html! {
                    "Delays between attempts, such as “10s, 1m, 5m, 2h”. Empty: " (schedule(profile.retry_schedule.seconds())) ". “none”: no retries."
                }, &wrong("/retry_schedule_seconds"), |described, invalid| html! {
                    input.wide #f-retry_schedule_seconds type="text" name="retry_schedule" value=(typed.retry_schedule) autocomplete="off"
                        aria-describedby=(described) aria-invalid=[invalid];
                }))
                div.pair {
                    (field("timeout_seconds", "Timeout in seconds", html! { "1 to 60. Empty: " (profile.timeout.as_secs()) "." }, &wrong("/timeout_seconds"), |described, invalid| html! {
                        input #f-timeout_seconds type="text" inputmode="numeric" name="timeout" value=(typed.timeout) autocomplete="off" aria-describedby=(described) aria-invalid=[invalid];
                    }))
                    (field("rate_per_second", "Most requests a second", html! {
                        "Empty: " @match profile.default_rate { Some(rate) => { (rate) "." }, None => "no limit." }
                    }, &wrong("/rate_per_second"), |described, invalid| html! {
                        input #f-rate_per_second type="text" inputmode="decimal" name="rate" value=(typed.rate) autocomplete="off" aria-describedby=(described) aria-invalid=[invalid];
                    }))
                }
            }
            div.buttons {
                button.primary type="submit" { (if purpose == Purpose::New { "Create webhook" } else { "Save" }) }
                a.button href=(page.to("/webhooks")) { "Back" }
            }
        }
    }
}

fn web(profile: &Profile, typed: &Typed, problem: Option<&Problem>) -> Markup {
    let wrong = |pointer: &str| mistakes(problem, pointer);
    let url_hint = match profile.url_rule {
        UrlRule::HttpsOnly => "An https URL of yours that is open to the outside.",
        UrlRule::HttpAllowed => "A URL of yours that is open to the outside; https is recommended.",
    };
    html! {
        (field("url", "Postback URL", html! { (url_hint) }, &wrong("/url"), |described, invalid| html! {
            input.wide #f-url type="url" name="url" value=(typed.url) required autocomplete="off" placeholder="https://example.com/webhooks"
                aria-describedby=(described) aria-invalid=[invalid];
        }))
        details open[!typed.headers.is_empty() || !typed.secret.is_empty() || typed.ascii_json || problem.is_some()] {
            summary { "Headers, secret and body" }
            (field("headers", "Headers of your own", html! {
                "One a line, “Name: value”. Values are not shown again; " code { (MASK) } " keeps one as it is."
            }, &wrong("/headers"), |described, invalid| html! {
                textarea.wide.code #f-headers name="headers" rows="3" spellcheck="false" aria-describedby=(described) aria-invalid=[invalid] { (typed.headers) }
            }))
            @if typed.version.is_empty() {
                (field("secret", "Secret", html! { "Empty: a new one is made and shown once. Or bring your own, 1 to 256 characters." }, &wrong("/secret"), |described, invalid| html! {
                    input.wide #f-secret type="text" name="secret" value=(typed.secret) autocomplete="off" spellcheck="false" aria-describedby=(described) aria-invalid=[invalid];
                }))
                @if profile.only_standard_signature() {
                    (field("signature_key", "Signed with", html! {}, &wrong("/signature_key"), |_, invalid| html! {
                        select #f-signature_key name="signature_key" aria-invalid=[invalid] {
                            option value="hmac" { "a shared secret (HMAC-SHA256)" }
                            option value="ed25519" selected[typed.ed25519] { "a key pair (Ed25519): you hold the public key" }
                        }
                    }))
                }
            }
            @if profile.sends_token() {
                (field("token_header", "Header that carries the secret", html! { "Empty: the usual one." }, &wrong("/token_header"), |described, invalid| html! {
                    input.wide #f-token_header type="text" name="token_header" value=(typed.token_header) autocomplete="off" aria-describedby=(described) aria-invalid=[invalid];
                }))
            }
            label.check for="f-ascii_json" { input #f-ascii_json type="checkbox" name="ascii_json" value="yes" checked[typed.ascii_json];
                " Escape everything that is not ASCII (for receivers in Python that re-encode the body)" }
        }
    }
}

fn pushover(typed: &Typed, problem: Option<&Problem>) -> Markup {
    let wrong = |pointer: &str| mistakes(problem, pointer);
    html! {
        (errors("pushover", &mistakes(problem, "/pushover").into_iter().filter(|m| !m.contains(": ")).collect::<Vec<_>>()))
        (field("user_key", "User key", html! { "Yours or a group's, from pushover.net." }, &wrong("/pushover/user_key"), |described, invalid| html! {
            input.wide #f-user_key type="text" name="user_key" value=(typed.user_key) autocomplete="off" spellcheck="false" aria-describedby=(described) aria-invalid=[invalid];
        }))
        (field("api_token", "API token", html! { "Of your application at Pushover." }, &wrong("/pushover/api_token"), |described, invalid| html! {
            input.wide #f-api_token type="text" name="api_token" value=(typed.api_token) autocomplete="off" spellcheck="false" aria-describedby=(described) aria-invalid=[invalid];
        }))
        (field("sound", "Sound", html! {}, &wrong("/pushover/sound"), |_, invalid| html! {
            select #f-sound name="sound" aria-invalid=[invalid] {
                @for sound in Sound::all() { option value=(sound.name) selected[sound.name == typed.sound] { (sound.name) } }
            }
        }))
    }
}

fn event_types(page: &Page, catalog: &[EventType], typed: &Typed, problem: Option<&Problem>) -> Markup {
    let ticked = |name: &str| typed.event_types.iter().any(|chosen| chosen == name);
    let wrong = mistakes(problem, "/event_types");
    html! {
        fieldset #f-event_types data-pick tabindex="-1" aria-describedby=[(!wrong.is_empty()).then_some("f-event_types-error")] {
            legend { "Event types" }
            (errors("event_types", &wrong))
            div.field hidden data-pick-search {
                label for="type-search" { "Search" }
                input.wide #type-search type="search" autocomplete="off" placeholder="opened, bounced, …";
                p.hint role="status" data-pick-count {}
            }
            label.check { input type="checkbox" name="event_types" value="*" checked[ticked("*")]; " All events, those of later types too" }
            div.groups { @for (group, members) in groups(catalog) {
                div.group role="group" aria-label=(if group.is_empty() { "Event types" } else { group }) {
                    @if let Some(pattern) = pattern(group) {
                        label.check.group-all { input type="checkbox" name="event_types" value=(pattern) checked[ticked(&pattern)]; " everything in " code { (group) } }
                    }
                    @for info in members {
                        label.check data-pick-item={ (info.name()) " " (info.description()) } {
                            input type="checkbox" name="event_types" value=(info.name()) checked[ticked(info.name())];
                            span { " " span.type-name { (info.name()) } " " span.faint { (info.description()) } }
                        }
                    }
                }
            } }
            @if page.profile.open_catalog || !typed.other_types.is_empty() || !wrong.is_empty() {
                div.field {
                    label for="f-other_types" { "Other types" }
                    p.hint #f-other_types-hint { "One a line. " code { "orders.*" } " takes everything below the dot." }
                    textarea.wide.code #f-other_types name="other_types" rows="2" spellcheck="false" aria-describedby="f-other_types-hint" { (typed.other_types) }
                }
            }
        }
    }
}

fn filters(typed: &Typed, seen: &Seen, problem: Option<&Problem>) -> Markup {
    let none = Picked::default();
    let wrong = mistakes(problem, "/filters");
    let payload_wrong = mistakes(problem, "/payload_filter");
    let any = typed.filters.values().any(|picked| !picked.ticked.is_empty() || !picked.typed.is_empty());
    html! {
        fieldset #f-filters tabindex="-1" {
            legend { "Filters" }
            p.hint { "Optional. Several values of one filter: any of them. Several filters: all of them." }
            (errors("filters", &wrong))
            div.filters { @for (name, values) in seen {
                @let picked = typed.filters.get(name).unwrap_or(&none);
                @let unseen = picked.ticked.iter().filter(|ticked| values.iter().all(|value| value.value != **ticked));
                details open[any && (!picked.ticked.is_empty() || !picked.typed.is_empty())] {
                    summary { (attribute(name)) @if !picked.ticked.is_empty() { " " span.tag { (picked.ticked.len()) " chosen" } } }
                    div role="group" aria-label=(attribute(name)) {
                        @for value in unseen {
                            label.check { input type="checkbox" name={ "filter." (name) } value=(value) checked; " " (value) }
                        }
                        @for value in values {
                            label.check {
                                input type="checkbox" name={ "filter." (name) } value=(value.value) checked[picked.ticked.contains(&value.value)];
                                span { " " (value.value) " " span.faint { "about " (count(value.events)) " events in 7 days" } }
                            }
                        }
                        @if values.is_empty() { p.hint { "No values were seen in the last 7 days." } }
                    }
                    div.field {
                        label for={ "f-typed-" (name) } { "Other values, one a line" }
                        @match name.as_str() {
                            "sending_domain" => p.hint { code { "*.example.com" } " takes all subdomains." },
                            "dedicated_ip" => p.hint { "Ranges such as " code { "203.0.113.0/24" } " work, IPv6 too." },
                            _ => {}
                        }
                        textarea.wide.code id={ "f-typed-" (name) } name={ "filter_typed." (name) } rows="2" spellcheck="false" { (picked.typed) }
                    }
                }
            } }
            details open[!typed.payload_filter.is_empty() || !payload_wrong.is_empty()] {
                summary { "On the payload" }
                (field("payload_filter", "Condition, as JSON", html! {
                    code { r#"{"field": "data.amount", "op": "gt", "value": 5}"# } ", joined by " code { "all" } ", " code { "any" } ", " code { "not" }
                    ". Operators: eq ne in prefix suffix gt gte lt lte exists."
                }, &payload_wrong, |described, invalid| html! {
                    textarea.wide.code #f-payload_filter name="payload_filter" rows="6" spellcheck="false" aria-describedby=(described) aria-invalid=[invalid] { (typed.payload_filter) }
                }))
            }
        }
    }
}

/// The choice of a channel, where the profile has more than one.
pub(super) fn channels(page: &Page, pushover: bool) -> Markup {
    html! { @if page.profile.channels.contains(&Channel::Pushover) {
        nav.tabs aria-label="Channel" {
            a href=(page.to("/webhooks/new")) aria-current=[(!pushover).then_some("page")] { "Web endpoint" }
            a href=(page.to("/webhooks/new?channel=pushover")) aria-current=[pushover.then_some("page")] { "Pushover" }
        }
    } }
}
