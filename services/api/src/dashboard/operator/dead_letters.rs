//! Dead letters: what Postrider could not process, and sending it back once its cause is mended.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Redirect;
use maud::{Markup, html};

use super::super::Dashboard;
use super::super::failure::Failure;
use super::super::layout::Section;
use super::super::parts::{empty, listing, time};
use super::super::words::count;
use super::Office;
use crate::dead_letters;
use crate::request::Params;

const AT: &str = "/dashboard/operator/dead-letters";

/// `GET /dashboard/operator/dead-letters`
pub(super) async fn list(State(dashboard): State<Arc<Dashboard>>, office: Office) -> Result<Markup, Failure> {
    let params = office.query.params(&["limit", "cursor"]);
    let page = dead_letters::list(State(Arc::clone(&dashboard.api)), office.visitor.caller, params).await?.0;
    Ok(office.show(Section::DeadLetters, "Dead letters", html! {
        h1 { "Dead letters" }
        p { "Messages that could not be processed. Fix the cause, then send each back to the queue it came from." }
        @if page.data.is_empty() { (empty("None: everything could be processed", html! {})) }
        @for letter in &page.data {
            article.panel aria-labelledby={ "letter-" (letter.id) } {
                div.heading {
                    h2.long id={ "letter-" (letter.id) } { (letter.reason) }
                    @match &letter.requeued_at {
                        Some(at) => span.faint { "sent back " (time(at)) },
                        None => form.inline method="post" action={ (AT) "/" (letter.id) "/requeue" } { (office.csrf()) button type="submit" { "Send back" span.unseen { " dead letter " (letter.id) } } },
                    }
                }
                dl.facts {
                    dt { "Came from" } dd.long { code { (letter.source) } }
                    dt { "Routing key" } dd.long { code { (letter.routing_key) } }
                    dt { "Received" } dd { (time(&letter.received_at)) }
                    @if let Some(id) = &letter.message_id { dt { "Message id" } dd.long { code { (id) } } }
                    dt { "Size" } dd { (count(letter.body_bytes)) " bytes" }
                }
                details { summary { "Message" }
                    @if !letter.headers.is_empty() { dl.facts { @for (name, value) in &letter.headers { dt { (name) } dd.long { (value) } } } }
                    (listing("The first 4 KiB of the message", &letter.body_excerpt))
                }
            }
        }
        (office.pager(AT, page.next_cursor.as_ref()))
    }))
}

/// `POST /dashboard/operator/dead-letters/{id}/requeue`
pub(super) async fn requeue(
    State(dashboard): State<Arc<Dashboard>>,
    office: Office,
    Path(id): Path<String>,
) -> Result<Redirect, Failure> {
    let _ =
        dead_letters::requeue(State(Arc::clone(&dashboard.api)), office.visitor.caller, Params::default(), Path(id))
            .await?;
    Ok(Redirect::to(&format!("{AT}?notice=requeued")))
}
