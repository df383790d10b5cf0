//! Dead letters: messages that Postrider could not process.

use axum::response::Redirect;
use maud::{Markup, html};
use postrider_operations::dead_letters::DeadLetter;

use crate::components::{empty, listing, pager, time};
use crate::failure::Answer;
use crate::format::count;
use crate::page::{Id, OperatorPage, redirect_with};
use crate::texts::Notice;

const AT: &str = "/dashboard/operator/dead-letters";

/// `GET /dashboard/operator/dead-letters`
pub(super) async fn list(page: OperatorPage) -> Answer {
    let listed = page.operations.list_dead_letters(page.visitor.caller, &page.visitor.query.page_query()).await?;
    let content = html! {
        h1 { "Dead letters" }
        p { "Messages that could not be processed. Fix the cause, then send each message back to its queue." }
        @if listed.data.is_empty() { (empty("No dead letters", html! {})) }
        @for letter in &listed.data { (dead_letter(&page, letter)) }
        (pager(&page.visitor, listed.next_cursor.as_ref()))
    };
    Ok(page.show("Dead letters", content))
}

fn dead_letter(page: &OperatorPage, letter: &DeadLetter) -> Markup {
    let title = format!("letter-{}", letter.id);
    html! { article.panel aria-labelledby=(title) {
        div.heading {
            h2.long id=(title) { (letter.reason) }
            @match letter.requeued_at {
                Some(at) => span.faint { "sent back " (time(at)) },
                None => form.inline method="post" action={ (AT) "/" (letter.id) "/requeue" } {
                    (page.visitor.tokens)
                    button type="submit" { "Send back" span.unseen { " dead letter " (letter.id) } }
                },
            }
        }
        dl.facts {
            dt { "Source" } dd.long { code { (letter.source) } }
            dt { "Routing key" } dd.long { code { (letter.routing_key) } }
            dt { "Received" } dd { (time(letter.received_at)) }
            @if let Some(id) = &letter.message_id { dt { "Message id" } dd.long { code { (id) } } }
            dt { "Size" } dd { (count(letter.body_bytes)) " bytes" }
        }
        details { summary { "Message" }
            @if !letter.headers.is_empty() {
                dl.facts { @for (name, value) in &letter.headers { dt { (name) } dd.long { (value) } } }
            }
            (listing("The first 4 KiB of the message", &letter.body_excerpt))
        }
    } }
}

/// `POST /dashboard/operator/dead-letters/{id}/requeue`
pub(super) async fn requeue(page: OperatorPage, Id(id): Id) -> Answer<Redirect> {
    page.operations.requeue_dead_letter(page.visitor.caller, &id).await?;
    Ok(redirect_with(AT, Notice::DeadLetterRequeued))
}
