//! Replays: which events to send again, counted before they can be sent; how far each replay has come.
//!
//! The button that starts a replay belongs to the form, so it sends what the form shows. It carries a fingerprint of what was
//! counted: a form that was changed since is counted again instead.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use postrider_http::problem::{Problem, read_json};
use postrider_model::time::UnixMillis;
use postrider_store::replay::Steer;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Dashboard;
use super::failure::Failure;
use super::form::{CSRF_FIELD, Fields, Form};
use super::layout::Section;
use super::page::{Page, about_fields};
use super::parts::{
    Question, action, ask, badge, empty, field, local, mistakes, pager, summary, time, time_if, titled, utc,
};
use super::webhooks::{Named, Names, Offered, names, refuse_readers};
use super::words::{attribute, count};
use crate::page::List;
use crate::replays::handlers;
use crate::replays::model::{CreateReplay, Replay, ReplayPreview};
use crate::request::Params;

/// Most events that one form replays one by one.
const CHOSEN_MAX: usize = 50;

/// Ranges that a button sets: value, milliseconds, label.
const PRESETS: [(&str, i64, &str); 3] =
    [("1h", 3_600_000, "Last hour"), ("24h", 86_400_000, "Last 24 hours"), ("7d", 604_800_000, "Last 7 days")];

pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/replays", get(list))
        .route("/dashboard/{tenant}/replays/new", get(plan).post(start))
        .route("/dashboard/{tenant}/replays/{id}", get(show))
        .route("/dashboard/{tenant}/replays/{id}/pause", get(show).post(pause))
        .route("/dashboard/{tenant}/replays/{id}/resume", get(show).post(resume))
        .route("/dashboard/{tenant}/replays/{id}/cancel", get(ask_cancel).post(cancel))
}

/// `GET …/replays`
async fn list(State(dashboard): State<Arc<Dashboard>>, page: Page) -> Result<Markup, Failure> {
    let api = &dashboard.api;
    let params = page.query.params(&["limit", "cursor"]);
    let listed: List<Replay> = handlers::list(State(Arc::clone(api)), page.caller, params).await?.0;
    let names = names(api, &page, listed.data.iter().filter_map(|replay| replay.endpoint_id.as_deref())).await?;
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
fn selection(replay: &Replay, names: &Names) -> String {
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
        parts.push(format!("to {}", names.get(endpoint).map_or(endpoint.clone(), Named::shown)));
    }
    parts.extend(replay.attributes.iter().map(|(name, value)| format!("{} {value}", attribute(name).to_lowercase())));
    parts.join(", ")
}

/// `GET …/replays/new`: with `count`, what it would do is counted, and the button to do it is there.
async fn plan(State(dashboard): State<Arc<Dashboard>>, page: Page) -> Result<Response, Failure> {
    let query = page.restored.as_ref().unwrap_or(&page.query);
    if let Some(preset) = query.given("preset") {
        let ms = PRESETS.iter().find(|(name, ..)| *name == preset).map_or(0, |(_, ms, _)| *ms);
        let from = UnixMillis(UnixMillis::now().0 - ms).to_rfc3339_seconds();
        let rest = query.with("preset", None).with("count", None).with("to", None);
        let to = page.to(format!("/replays/new?{}", rest.query_with("from", Some(local(&from)))));
        return Ok(Redirect::to(&to).into_response());
    }
    if !query.ticked("count") && query.all("event_id").is_empty() {
        return Ok(planned(&dashboard, &page, query, None, None).await?.into_response());
    }
    count_and_show(&dashboard, &page, query, html! {}).await
}

/// Counts what the form would do and shows it, with `first` above it.
async fn count_and_show(
    dashboard: &Dashboard,
    page: &Page,
    query: &Fields,
    first: Markup,
) -> Result<Response, Failure> {
    match count_all(dashboard, page, query).await {
        Ok(preview) => {
            let counted = html! { (first) (counted(page, query, &preview)) };
            Ok(planned(dashboard, page, query, Some(counted), None).await?.into_response())
        }
        Err(problem) => {
            let problem = about_fields(problem)?;
            let again = planned(dashboard, page, query, None, Some(&problem)).await?;
            Ok((problem.status_code(), again).into_response())
        }
    }
}

async fn planned(
    dashboard: &Dashboard,
    page: &Page,
    query: &Fields,
    counted: Option<Markup>,
    problem: Option<&Problem>,
) -> Result<Markup, Failure> {
    let offered = Offered::load(&dashboard.api, page, query.get("endpoint_id")).await?;
    Ok(page.show(Section::Replays, &titled("Replay events", problem), html! {
        h1 { "Replay events" }
        p { "Each event is delivered again as a new delivery with the same " code { "webhook-id" } ", so that a receiver that dedupes is not confused. Replays give way to live events." }
        (summary(problem))
        (plan_form(page, query, &offered, problem))
        @if let Some(counted) = counted { (counted) }
    }))
}

fn plan_form(page: &Page, query: &Fields, offered: &Offered, problem: Option<&Problem>) -> Markup {
    let wrong = |pointer: &str| mistakes(problem, pointer);
    let chosen = query.all("event_id");
    html! {
        form.stack #plan method="get" action=(page.to("/replays/new#counted")) {
            // The return key takes the first button of a form.
            button.unseen type="submit" name="count" value="yes" tabindex="-1" aria-hidden="true" { "Count" }
            @if !chosen.is_empty() {
                fieldset #f-event_id tabindex="-1" { legend { "Chosen events" }
                    @for id in &chosen { label.check { input type="checkbox" name="event_id" value=(id) checked; " " code { (id) } } }
                }
            } @else {
                fieldset { legend { "Accepted between" }
                    p.presets { @for (value, _, label) in PRESETS {
                        button.quiet type="submit" name="preset" value=(value) { (label) }
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
            (field("endpoint_id", "Webhook", html! {}, &wrong("/endpoint_id"), |_, invalid| html! {
                select #f-endpoint_id name="endpoint_id" aria-invalid=[invalid] {
                    (offered.options(query.get("endpoint_id"), "all matching webhooks"))
                }
            }))
            (field("mode", "Who gets them", html! {}, &wrong("/mode"), |_, invalid| html! {
                select #f-mode name="mode" aria-invalid=[invalid] {
                    option value="redeliver" { "the webhooks that got them then" }
                    option value="rematch" selected[query.get("mode") == "rematch"] { "whoever subscribes to them today" }
                }
            }))
            label.check { input type="checkbox" name="only_failed" value="yes" checked[query.ticked("only_failed")]; " Only where delivering failed" }
            div.buttons { button type="submit" name="count" value="yes" { "Count what it would do" } a.button.quiet href=(page.to("/replays")) { "Back" } }
        }
    }
}

/// What a dry run found, and the button for the real one.
fn counted(page: &Page, query: &Fields, preview: &ReplayPreview) -> Markup {
    html! {
        section.panel #counted aria-labelledby="counted-title" tabindex="-1" autofocus {
            h2 #counted-title { "It would make " (count(preview.deliveries)) (if preview.deliveries == 1 { " delivery" } else { " deliveries" }) }
            p { "of " (count(preview.events)) (if preview.events == 1 { " event" } else { " events" }) ". Nothing has been sent yet." }
            @if preview.deliveries > 0 {
                // A button of the form above. Its name and value keep the proof out of the address when the form is counted.
                button.primary type="submit" form="plan" formmethod="post" name=(CSRF_FIELD) value=(page.visitor.csrf)
                    formaction={ (page.to("/replays/new")) "?once=" (page.visitor.once) "&counted=" (fingerprint(page, query)) } { "Replay now" }
            } @else { p { "No deliveries match, so there is nothing to start. Deliveries that still wait for a retry are not replayed." } }
        }
    }
}

/// What a form asks for, in a few characters.
fn fingerprint(page: &Page, fields: &Fields) -> String {
    let mut digest = Sha256::new();
    let attributes = page.profile.attributes.keys().map(|name| format!("attributes.{name}"));
    let names = ["from", "to", "event_types", "endpoint_id", "only_failed"].map(str::to_owned);
    for name in names.into_iter().chain(attributes) {
        let value = fields.get(&name);
        // As the form shows it.
        let value = if matches!(name.as_str(), "from" | "to") { local(value) } else { value };
        digest.update(format!("{name}={value}\n"));
    }
    digest.update(if fields.get("mode") == "rematch" { "rematch" } else { "redeliver" });
    for id in fields.all("event_id") {
        digest.update(format!("\n{id}"));
    }
    hex::encode(&digest.finalize()[..8])
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
    if chosen.is_empty() && body.keys().all(|name| name == "mode") {
        return Err(Problem::invalid_field(
            "",
            "Choose at least a date range, a webhook, an event type or an attribute.",
        ));
    }
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

/// `POST …/replays/new`
async fn start(State(dashboard): State<Arc<Dashboard>>, page: Page, Form(fields): Form) -> Result<Response, Failure> {
    if page.query.get("counted") != fingerprint(&page, &fields) {
        let changed =
            html! { p.warning role="note" { "The form was changed after it was counted, so it was counted again." } };
        return count_and_show(&dashboard, &page, &fields, changed).await;
    }
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
    let once = page.query.given("once").map(|once| once.chars().take(64).collect::<String>());
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
    let names = names(api, &page, replay.endpoint_id.as_deref()).await?;
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
                a.button.danger href={ (at) "/cancel" } { (if under_way { "Cancel" } else { "Cancel what is pending" }) }
            } }
        }
        p { a href=(page.to(format!("/deliveries?replay_id={id}"))) { "See its deliveries" } }
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

type OneReplay = Path<(String, String)>;

/// `POST …/replays/{id}/pause`
async fn pause(dashboard: State<Arc<Dashboard>>, page: Page, Path((_, id)): OneReplay) -> Result<Redirect, Failure> {
    steer(&dashboard, &page, &id, Steer::Pause, "paused").await
}

/// `POST …/replays/{id}/resume`
async fn resume(dashboard: State<Arc<Dashboard>>, page: Page, Path((_, id)): OneReplay) -> Result<Redirect, Failure> {
    steer(&dashboard, &page, &id, Steer::Resume, "resumed").await
}

/// `POST …/replays/{id}/cancel`
async fn cancel(dashboard: State<Arc<Dashboard>>, page: Page, Path((_, id)): OneReplay) -> Result<Redirect, Failure> {
    steer(&dashboard, &page, &id, Steer::Cancel, "replay-cancelled").await
}

async fn steer(dashboard: &Dashboard, page: &Page, id: &str, to: Steer, done: &str) -> Result<Redirect, Failure> {
    let notice = match dashboard.api.steer(page.caller, Params::default(), id, to).await {
        Ok(_) => done,
        Err(problem) if problem.status == 409 => "replay-ended",
        Err(problem) => return Err(problem.into()),
    };
    Ok(Redirect::to(&page.to(format!("/replays/{id}?notice={notice}"))))
}

/// `GET …/replays/{id}/cancel`
async fn ask_cancel(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): OneReplay,
) -> Result<Markup, Failure> {
    refuse_readers(&page)?;
    let api = &dashboard.api;
    let replay = handlers::read(State(Arc::clone(api)), page.caller, Params::default(), Path(id.clone())).await?.0;
    let names = names(api, &page, replay.endpoint_id.as_deref()).await?;
    let lost = html! {
        p.long { (selection(&replay, &names)) }
        p { "It made " (count(replay.progress.deliveries)) " deliveries so far. No further ones are made, and those that are still pending are cancelled. A cancelled replay cannot be resumed." }
    };
    let (action, back) = (page.to(format!("/replays/{id}/cancel")), page.to(format!("/replays/{id}")));
    let question =
        Question { title: "Cancel this replay?", lost, action: &action, button: "Cancel replay", back: &back };
    Ok(page.show(Section::Replays, "Cancel this replay?", ask(&question, &page.csrf())))
}
