//! Replays: what to send again, counted before it can be sent; how far each has come.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use postrider_model::ids::EventId;
use postrider_model::time::UnixMillis;
use postrider_runtime::problem::{Problem, read_json};
use postrider_store::replay::Steer;
use serde_json::{Map, Value};

use super::Dashboard;
use super::failure::Failure;
use super::form::{Fields, Form};
use super::layout::Section;
use super::page::{Page, about_fields};
use super::parts::{action, badge, empty, field, local, mistakes, pager, summary, time, time_if, utc};
use super::webhooks::names;
use super::words::{attribute, count};
use crate::page::List;
use crate::replays::handlers;
use crate::replays::model::{CreateReplay, Replay, ReplayPreview};
use crate::request::Params;

/// Most events that one form replays one by one.
const CHOSEN_MAX: usize = 50;

pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/replays", get(list).post(start))
        .route("/dashboard/{tenant}/replays/new", get(plan))
        .route("/dashboard/{tenant}/replays/{id}", get(show))
        .route("/dashboard/{tenant}/replays/{id}/{steer}", post(steer))
}

/// `GET …/replays`
async fn list(State(dashboard): State<Arc<Dashboard>>, page: Page) -> Result<Markup, Failure> {
    let api = &dashboard.api;
    let params = page.query.params(&["limit", "cursor"]);
    let listed: List<Replay> = handlers::list(State(Arc::clone(api)), page.caller, params).await?.0;
    let names = names(api, &page).await?;
    Ok(page.show(Section::Replays, "Replays", html! {
        div.heading { h1 { "Replays" } @if page.can_manage() { a.button.primary href=(page.to("/replays/new")) { "Replay events" } } }
        @if listed.data.is_empty() {
            (empty("Nothing was replayed yet", html! { p { "A replay sends events of the log again: one, some, or all of a date range. What it would do is counted first." } }))
        } @else {
            section #replays aria-label="Replays" data-live {
                table.rows {
                    caption.unseen { "Replays, newest first" }
                    thead { tr { th scope="col" { "What" } th scope="col" { "Status" } th.number scope="col" { "Events" } th.number scope="col" { "Deliveries" } th scope="col" { "Begun" } th scope="col" { "Ended" } } }
                    tbody { @for replay in &listed.data { tr {
                        th.long scope="row" data-label="What" { a href=(page.to(format!("/replays/{}", replay.id))) { (selection(replay, &names)) } }
                        td data-label="Status" { (badge(&replay.status)) }
                        td.number data-label="Events" { (count(replay.progress.events)) }
                        td.number data-label="Deliveries" { (count(replay.progress.deliveries)) }
                        td data-label="Begun" { (time(&replay.created_at)) }
                        td data-label="Ended" { (time_if(replay.finished_at.as_ref())) }
                    } } }
                }
            }
            (pager(&page, listed.next_cursor.as_ref()))
        }
    }))
}

/// What a replay is about, in a line.
fn selection(replay: &Replay, names: &HashMap<String, String>) -> String {
    let mut parts = Vec::new();
    match &replay.event_id {
        Some(event) => parts.push(format!("event {event}")),
        None if replay.event_types.is_empty() => parts.push("all types".to_owned()),
        None => parts.push(replay.event_types.join(", ")),
    }
    if replay.only_failed {
        parts.push("only what failed".to_owned());
    }
    if let Some(endpoint) = &replay.endpoint_id {
        parts.push(format!("to {}", names.get(endpoint).unwrap_or(endpoint)));
    }
    parts.extend(replay.attributes.iter().map(|(name, value)| format!("{} {value}", attribute(name).to_lowercase())));
    parts.join(", ")
}

/// `GET …/replays/new`: with `count`, what it would do is counted, and the button to do it is there.
async fn plan(State(dashboard): State<Arc<Dashboard>>, page: Page) -> Result<Response, Failure> {
    let chosen = page.query.all("event_id");
    let asked = page.query.ticked("count") || !chosen.is_empty();
    let counted = if asked { Some(count_all(&dashboard, &page, &page.query).await) } else { None };
    let (preview, problem) = match counted {
        None => (None, None),
        Some(Ok(preview)) => (Some(preview), None),
        Some(Err(problem)) => (None, Some(about_fields(problem)?)),
    };
    let status = problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status_code);
    let shown = planned(&dashboard, &page, &page.query, preview.as_ref(), problem.as_ref()).await?;
    Ok((status, shown).into_response())
}

async fn planned(
    dashboard: &Dashboard,
    page: &Page,
    query: &Fields,
    preview: Option<&ReplayPreview>,
    problem: Option<&Problem>,
) -> Result<Markup, Failure> {
    let names = names(&dashboard.api, page).await?;
    Ok(page.show(Section::Replays, "Replay events", html! {
        h1 { "Replay events" }
        p { "Each event is delivered again as a new delivery with the same " code { "webhook-id" } ", so that a receiver that dedupes is not confused. Replays give way to live events." }
        (summary(problem))
        (plan_form(page, query, &names, problem))
        @if let Some(preview) = preview { (counted(page, query, preview)) }
    }))
}

fn plan_form(page: &Page, query: &Fields, names: &HashMap<String, String>, problem: Option<&Problem>) -> Markup {
    let wrong = |pointer: &str| mistakes(problem, pointer);
    let mut endpoints: Vec<_> = names.iter().collect();
    endpoints.sort_by(|a, b| a.1.cmp(b.1));
    let chosen = query.all("event_id");
    let ranges = [(3_600_000, "Last hour"), (86_400_000, "Last 24 hours"), (604_800_000, "Last 7 days")];
    html! {
        form.stack method="get" action=(page.to("/replays/new")) {
            input type="hidden" name="count" value="yes";
            @if !chosen.is_empty() {
                fieldset #f-event_id tabindex="-1" { legend { "Chosen events" }
                    @for id in &chosen { label.check { input type="checkbox" name="event_id" value=(id) checked; " " code { (id) } } }
                }
            } @else {
                fieldset { legend { "Accepted between" }
                    p.presets { @for (ms, name) in ranges {
                        a href={ (page.to("/replays/new")) "?" (query.query_with("from", Some(&UnixMillis(UnixMillis::now().0 - ms).to_rfc3339_seconds()[..16]))) } { (name) }
                    } }
                    div.pair {
                        (field("from", "From (UTC)", html! {}, &wrong("/from"), |described, invalid| html! {
                            input #f-from type="datetime-local" name="from" value=(local(query.get("from"))) aria-describedby=(described) aria-invalid=[invalid];
                        }))
                        (field("to", "To (UTC)", html! { "Empty: now." }, &wrong("/to"), |described, invalid| html! {
                            input #f-to type="datetime-local" name="to" value=(local(query.get("to"))) aria-describedby=(described) aria-invalid=[invalid];
                        }))
                    }
                }
                (field("event_types", "Event types", html! { "With commas between; " code { "email.*" } " takes everything below the dot. Empty: all." }, &wrong("/event_types"), |described, invalid| html! {
                    input.wide #f-event_types type="text" name="event_types" value=(query.get("event_types")) autocomplete="off" aria-describedby=(described) aria-invalid=[invalid];
                }))
                details open[page.profile.attributes.keys().any(|name| query.given(&format!("attributes.{name}")).is_some())] { summary { "Attributes" }
                    @for name in page.profile.attributes.keys() {
                        @let key = format!("attributes.{name}");
                        (field(&key, &attribute(name), html! {}, &wrong(&format!("/attributes/{name}")), |_, invalid| html! {
                            input.wide id={ "f-" (key) } type="text" name=(key) value=(query.get(&key)) autocomplete="off" aria-invalid=[invalid];
                        }))
                    }
                }
            }
            (field("endpoint_id", "To", html! {}, &wrong("/endpoint_id"), |_, invalid| html! {
                select #f-endpoint_id name="endpoint_id" aria-invalid=[invalid] {
                    option value="" { "all webhooks that are concerned" }
                    @for (id, name) in endpoints { option value=(id) selected[query.get("endpoint_id") == id] { (name) } }
                }
            }))
            (field("mode", "Who gets them", html! {}, &wrong("/mode"), |_, invalid| html! {
                select #f-mode name="mode" aria-invalid=[invalid] {
                    option value="redeliver" { "the webhooks that got them then" }
                    option value="rematch" selected[query.get("mode") == "rematch"] { "whoever subscribes to them today" }
                }
            }))
            label.check { input type="checkbox" name="only_failed" value="yes" checked[query.ticked("only_failed")]; " Only where delivering failed" }
            div.buttons { button type="submit" { "Count what it would do" } a.button.quiet href=(page.to("/replays")) { "Back" } }
        }
    }
}

/// What a dry run found, and the button for the real one.
fn counted(page: &Page, query: &Fields, preview: &ReplayPreview) -> Markup {
    html! {
        section.panel #counted aria-labelledby="counted-title" tabindex="-1" {
            h2 #counted-title { "It would make " (count(preview.deliveries)) (if preview.deliveries == 1 { " delivery" } else { " deliveries" }) }
            p { "of " (count(preview.events)) (if preview.events == 1 { " event" } else { " events" }) ". Nothing has been sent yet." }
            form method="post" action=(page.to("/replays")) {
                (page.csrf())
                // Two clicks make one replay.
                input type="hidden" name="once" value=(EventId::generate());
                @for name in ["from", "to", "event_types", "endpoint_id", "mode", "only_failed"] { @if let Some(value) = query.given(name) {
                    input type="hidden" name=(name) value=(value);
                } }
                @for name in page.profile.attributes.keys() { @let key = format!("attributes.{name}"); @if let Some(value) = query.given(&key) {
                    input type="hidden" name=(key) value=(value);
                } }
                @for id in query.all("event_id") { input type="hidden" name="event_id" value=(id); }
                @if preview.deliveries > 0 { button.primary type="submit" { "Replay now" } }
                @else { p { "Nobody would get anything, so there is nothing to start." } }
            }
        }
    }
}

/// What a form asks for: one replay, or one for each chosen event.
fn requests(page: &Page, fields: &Fields) -> Result<Vec<CreateReplay>, Problem> {
    let mut body = Map::new();
    for name in ["from", "to"] {
        if let Some(at) = fields.given(name) {
            body.insert(name.into(), utc(&at).into());
        }
    }
    for name in ["endpoint_id", "mode"] {
        if let Some(value) = fields.given(name) {
            body.insert(name.into(), value.into());
        }
    }
    if fields.ticked("only_failed") {
        body.insert("only_failed".into(), true.into());
    }
    let types = fields.get("event_types");
    let types: Vec<&str> = types.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if !types.is_empty() {
        body.insert("event_types".into(), types.into());
    }
    let attributes = page.profile.attributes.keys();
    let attributes =
        attributes.filter_map(|name| Some((name.clone(), fields.given(&format!("attributes.{name}"))?.into())));
    let attributes: Map<String, Value> = attributes.collect();
    if !attributes.is_empty() {
        body.insert("attributes".into(), Value::Object(attributes));
    }
    let read = |body: &Map<String, Value>| -> Result<CreateReplay, Problem> {
        read_json(&serde_json::to_vec(body).map_err(|_| Problem::internal())?)
    };
    let chosen = fields.all("event_id");
    if chosen.len() > CHOSEN_MAX {
        return Err(Problem::invalid_field(
            "/event_id",
            format!("at most {CHOSEN_MAX} at once; replay a date range instead"),
        ));
    }
    if chosen.is_empty() {
        return Ok(vec![read(&body)?]);
    }
    let one = |event: String| {
        let mut body = body.clone();
        body.insert("event_id".into(), event.into());
        read(&body)
    };
    chosen.into_iter().map(one).collect()
}

async fn count_all(dashboard: &Dashboard, page: &Page, fields: &Fields) -> Result<ReplayPreview, Problem> {
    let mut sum = ReplayPreview { events: 0, deliveries: 0 };
    for request in requests(page, fields)? {
        let counted = dashboard.api.preview_replay(page.caller, &request).await?;
        sum.events += counted.events;
        sum.deliveries += counted.deliveries;
    }
    Ok(sum)
}

/// `POST …/replays`
async fn start(State(dashboard): State<Arc<Dashboard>>, page: Page, Form(fields): Form) -> Result<Response, Failure> {
    match start_all(&dashboard, &page, &fields).await {
        Ok(ids) => {
            let to = match ids.as_slice() {
                [only] => page.to(format!("/replays/{only}?notice=replaying")),
                _ => page.to("/replays?notice=replaying-several"),
            };
            Ok(Redirect::to(&to).into_response())
        }
        Err(problem) => {
            let problem = about_fields(problem)?;
            let again = planned(&dashboard, &page, &fields, None, Some(&problem)).await?;
            Ok((problem.status_code(), again).into_response())
        }
    }
}

async fn start_all(dashboard: &Dashboard, page: &Page, fields: &Fields) -> Result<Vec<String>, Problem> {
    let once = fields.given("once").map(|once| once.chars().take(64).collect::<String>());
    let mut ids = Vec::new();
    for (index, request) in requests(page, fields)?.iter().enumerate() {
        let key = once.as_ref().map(|once| format!("dashboard-{once}-{index}"));
        ids.push(dashboard.api.start_replay(page.caller, request, key).await?.id);
    }
    Ok(ids)
}

/// `GET …/replays/{id}`
async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Path<(String, String)>,
) -> Result<Markup, Failure> {
    let api = &dashboard.api;
    let replay = handlers::read(State(Arc::clone(api)), page.caller, Params::default(), Path(id.clone())).await?.0;
    let names = names(api, &page).await?;
    let at = page.to(format!("/replays/{id}"));
    let under_way = matches!(replay.status.as_str(), "running" | "paused");
    let percent = reached(&replay);
    Ok(page.show(Section::Replays, "Replay", html! {
        h1.long { "Replay: " (selection(&replay, &names)) }
        div #replay data-live=(if under_way { "on" } else { "off" }) {
            p.lead { (badge(&replay.status)) }
            div.progress {
                label for="progress" { (percent) " % of the way" }
                progress #progress max="100" value=(percent) { (percent) " %" }
            }
            dl.facts {
                dt { "Events looked at" } dd { (count(replay.progress.walked)) }
                dt { "Events sent again" } dd { (count(replay.progress.events)) }
                dt { "Deliveries made" } dd { (count(replay.progress.deliveries)) }
                @if let Some(reached) = &replay.progress.reached_at { dt { "Reached" } dd { (time(reached)) } }
                @if let Some(from) = &replay.from { dt { "From" } dd { (time(from)) } }
                dt { "To" } dd { (time(&replay.to)) }
                dt { "Begun" } dd { (time(&replay.created_at)) }
                @if let Some(end) = &replay.finished_at { dt { "Ended" } dd { (time(end)) } }
                dt { "Id" } dd { code { (replay.id) } }
            }
            @if page.can_manage() && replay.status != "cancelled" { div.buttons {
                @if replay.status == "running" { (action(&page, &format!("{at}/pause"), "Pause", "")) }
                @if replay.status == "paused" { (action(&page, &format!("{at}/resume"), "Resume", "primary")) }
                (action(&page, &format!("{at}/cancel"), if under_way { "Cancel" } else { "Cancel what is pending" }, "danger"))
            } }
        }
        p { a href=(page.to("/deliveries")) { "See its deliveries in the history" } }
    }))
}

/// How far through its range a replay is, in percent.
fn reached(replay: &Replay) -> u32 {
    if replay.status == "finished" {
        return 100;
    }
    let at = |text: &str| text.parse::<UnixMillis>().ok().map(|at| at.0 as f64);
    let (Some(reached), Some(to)) = (replay.progress.reached_at.as_deref().and_then(at), at(&replay.to)) else {
        return 0;
    };
    // Without a beginning it is as old as the log, of which nothing is known here: a month.
    let from = replay.from.as_deref().and_then(at).unwrap_or(to - 30.0 * 86_400_000.0);
    let share = (reached - from) / (to - from).max(1.0);
    (share.clamp(0.0, 0.99) * 100.0) as u32
}

/// `POST …/replays/{id}/{pause|resume|cancel}`
async fn steer(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id, to)): Path<(String, String, String)>,
    _form: Form,
) -> Result<Redirect, Failure> {
    let (to, notice) = match to.as_str() {
        "pause" => (Steer::Pause, "paused"),
        "resume" => (Steer::Resume, "resumed"),
        "cancel" => (Steer::Cancel, "replay-cancelled"),
        _ => return Err(Problem::not_found("a replay can be paused, resumed and cancelled").into()),
    };
    let _ = dashboard.api.steer(page.caller, Params::default(), &id, to).await?;
    Ok(Redirect::to(&page.to(format!("/replays/{id}?notice={notice}"))))
}
