//! Replays: the list, the form that plans a replay, and the progress of a replay.

mod input;
mod plan;

use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::replay::{ReplayMode, ReplayStatus};
use postrider_model::timestamp::Timestamp;
use postrider_operations::Error;
use postrider_operations::replays::{Replay, ReplayAction};

use crate::Dashboard;
use crate::components::Column::{Number, Text};
use crate::components::{Confirmation, action, badge, empty, head, pager, time, time_if, webhook_name};
use crate::failure::Answer;
use crate::format::{attribute, count};
use crate::language::{key, t};
use crate::page::{EndpointNames, Id, Managed, Page};
use crate::texts::Notice;

/// The assumed length of the range of a replay without `from`, in milliseconds. It is only used to compute the progress.
const OPEN_RANGE_MS: f64 = 30.0 * 86_400_000.0;

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/replays", get(list))
        .route("/dashboard/{tenant}/replays/new", get(plan::show).post(plan::start))
        .route("/dashboard/{tenant}/replays/{id}", get(show))
        .route("/dashboard/{tenant}/replays/{id}/pause", get(show).post(pause))
        .route("/dashboard/{tenant}/replays/{id}/resume", get(show).post(resume))
        .route("/dashboard/{tenant}/replays/{id}/cancel", get(ask_cancel).post(cancel))
}

/// `GET …/replays`
async fn list(page: Page) -> Answer {
    let listed = page.operations.list_replays(page.caller, &page.visitor.query.page_query()).await?;
    let names = page.endpoint_names(listed.data.iter().filter_map(|replay| replay.endpoint_id)).await?;
    let content = html! {
        div.heading {
            h1 { (t!("Replays")) }
            @if page.can_manage() { a.button.primary href=(page.to("/replays/new")) { (t!("Replay events")) } }
        }
        @if listed.data.is_empty() {
            (empty(&t!("No replays yet"), html! { p {
                (t!(
                    "A replay sends events of the history again: one, several, or all of a date range. You see the counts before it starts."
                ))
            } }))
        } @else {
            section #replays aria-label=(t!("Replays")) data-live { (table(&page, &listed.data, &names)) }
            (pager(&page.visitor, listed.next_cursor.as_ref()))
        }
    };
    Ok(page.show(&t!("Replays"), content))
}

fn table(page: &Page, replays: &[Replay], names: &EndpointNames) -> Markup {
    let columns = [
        Text(key!("Selection")),
        Text(key!("Status")),
        Number(key!("Events")),
        Number(key!("Deliveries")),
        Text(key!("Started")),
        Text(key!("Ended")),
    ];
    html! {
        table.rows data-rows {
            caption.unseen { (t!("Replays, newest first")) }
            (head(&columns))
            tbody { @for replay in replays { tr {
                th.long scope="row" data-label=(t!("Selection")) {
                    a href=(page.to(format!("/replays/{}", replay.id))) { (selection(replay, names)) }
                }
                td data-label=(t!("Status")) { (badge(replay.status.as_str())) }
                td.number data-label=(t!("Events")) { (count(replay.progress.events)) }
                td.number data-label=(t!("Deliveries")) { (count(replay.progress.deliveries)) }
                td data-label=(t!("Started")) { (time(replay.created_at)) }
                td data-label=(t!("Ended")) { (time_if(replay.finished_at)) }
            } } }
        }
    }
}

/// The selection of a replay in one line.
fn selection(replay: &Replay, names: &EndpointNames) -> String {
    if let (ReplayMode::Recover, Some(endpoint)) = (replay.mode, replay.endpoint_id) {
        return t!("recovery of {name}", name = webhook_name(endpoint, names)).into_owned();
    }
    let events = match &replay.event_id {
        Some(event) => t!("event {id}", id = event).into_owned(),
        None if replay.event_types.is_empty() => t!("all types").into_owned(),
        None => replay.event_types.join(", "),
    };
    let mut parts = vec![events];
    if replay.only_failed {
        parts.push(t!("only failed deliveries").into_owned());
    }
    if let Some(endpoint) = replay.endpoint_id {
        parts.push(t!("to {name}", name = webhook_name(endpoint, names)).into_owned());
    }
    parts.extend(replay.attributes.iter().map(|(name, value)| format!("{} {value}", attribute(name).to_lowercase())));
    parts.join(", ")
}

async fn read(page: &Page, id: &str) -> Answer<(Replay, EndpointNames)> {
    let replay = page.operations.read_replay(page.caller, id).await?;
    let names = page.endpoint_names(replay.endpoint_id).await?;
    Ok((replay, names))
}

/// `GET …/replays/{id}`
async fn show(page: Page, Id(id): Id) -> Answer {
    let (replay, names) = read(&page, &id).await?;
    let live = if is_under_way(&replay) { "on" } else { "off" };
    let percent = percent(&replay);
    let title = t!("Replay: {selection}", selection = selection(&replay, &names));
    let content = html! {
        h1.long { (title) }
        div #replay data-live=(live) {
            p.lead { (badge(replay.status.as_str())) }
            div.progress {
                label for="progress" { (t!("{percent} % of the range", percent = percent)) }
                progress #progress max="100" value=(percent) { (percent) " %" }
            }
            (facts(&page, &replay))
            @if page.can_manage() { (buttons(&page, &replay)) }
        }
    };
    Ok(page.show(&title, content))
}

fn is_under_way(replay: &Replay) -> bool {
    matches!(replay.status, ReplayStatus::Running | ReplayStatus::Paused)
}

fn facts(page: &Page, replay: &Replay) -> Markup {
    let deliveries = page.to(format!("/deliveries?replay_id={}", replay.id));
    html! { dl.facts {
        dt { (t!("Events checked")) } dd { (count(replay.progress.walked)) }
        dt { (t!("Events sent again")) } dd { (count(replay.progress.events)) }
        dt { (t!("Deliveries created")) } dd { a href=(deliveries) { (count(created(replay))) } }
        @if replay.mode == ReplayMode::Recover {
            dt { (t!("Waiting deliveries attempted at once")) } dd { (count(replay.progress.retried)) }
        }
        @if let Some(reached) = replay.progress.reached_at { dt { (t!("Reached")) } dd { (time(reached)) } }
        @if let Some(from) = replay.from { dt { (t!("From")) } dd { (time(from)) } }
        dt { (t!("To")) } dd { (time(replay.to)) }
        dt { (t!("Started")) } dd { (time(replay.created_at)) }
        @if let Some(end) = replay.finished_at { dt { (t!("Ended")) } dd { (time(end)) } }
        dt { (t!("Id")) } dd { code { (replay.id) } }
    } }
}

fn buttons(page: &Page, replay: &Replay) -> Markup {
    let at = page.to(format!("/replays/{}", replay.id));
    let tokens = &page.visitor.tokens;
    html! { @if replay.status != ReplayStatus::Cancelled { div.buttons {
        @if replay.status == ReplayStatus::Running { (action(tokens, &format!("{at}/pause"), &t!("Pause"), "")) }
        @if replay.status == ReplayStatus::Paused { (action(tokens, &format!("{at}/resume"), &t!("Resume"), "primary")) }
        a.button.danger href={ (at) "/cancel" } {
            (if is_under_way(replay) { t!("Cancel") } else { t!("Cancel its pending deliveries") })
        }
    } } }
}

/// The progress of a replay through its range, in percent.
fn percent(replay: &Replay) -> u32 {
    if replay.status == ReplayStatus::Finished {
        return 100;
    }
    let at = |at: Timestamp| at.0.0 as f64;
    let (Some(reached), to) = (replay.progress.reached_at.map(at), at(replay.to)) else { return 0 };
    let from = replay.from.map_or(to - OPEN_RANGE_MS, at);
    let share = (reached - from) / (to - from).max(1.0);
    (share.clamp(0.0, 0.99) * 100.0) as u32
}

/// `POST …/replays/{id}/pause`
async fn pause(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    steer(&page, &id, ReplayAction::Pause, Notice::ReplayPaused).await
}

/// `POST …/replays/{id}/resume`
async fn resume(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    steer(&page, &id, ReplayAction::Resume, Notice::ReplayResumed).await
}

/// `POST …/replays/{id}/cancel`
async fn cancel(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    steer(&page, &id, ReplayAction::Cancel, Notice::ReplayCancelled).await
}

async fn steer(page: &Page, id: &str, to: ReplayAction, done: Notice) -> Answer<Redirect> {
    let notice = match page.operations.steer_replay(page.caller, id, to).await {
        Ok(_) => done,
        Err(Error::Conflict(_)) => Notice::ReplayAlreadyEnded,
        Err(error) => return Err(error.into()),
    };
    Ok(page.redirect(format!("/replays/{id}"), notice))
}

/// The number of deliveries that the replay created.
fn created(replay: &Replay) -> u64 {
    replay.progress.deliveries.saturating_sub(replay.progress.retried)
}

/// `GET …/replays/{id}/cancel`
async fn ask_cancel(Managed(page): Managed<Page>, Id(id): Id) -> Answer {
    let (replay, names) = read(&page, &id).await?;
    let at = page.to(format!("/replays/{id}"));
    let confirmation = Confirmation {
        title: &t!("Cancel this replay?"),
        consequences: html! {
            p.long { (selection(&replay, &names)) }
            p {
                (t!(created(&replay), "It has created {count} delivery so far.", "It has created {count} deliveries so far.")) " "
                (t!("It creates no further deliveries, and its pending deliveries are cancelled. A cancelled replay cannot be resumed."))
            }
        },
        action: &format!("{at}/cancel"),
        button: &t!("Cancel replay"),
        back: &at,
    };
    Ok(confirmation.page(&page))
}
