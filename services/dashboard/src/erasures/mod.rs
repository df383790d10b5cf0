//! Erasures: the list, the form that counts first, and the page of an erasure with its progress, from which a person erases what
//! was counted.

mod detail;
mod new;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use postrider_operations::erasures::Erasure;

use crate::Dashboard;
use crate::components::Column::{Number, Text};
use crate::components::{badge, empty, head, pager, time, time_if};
use crate::failure::Answer;
use crate::format::count;
use crate::language::{Text as Words, key, t};
use crate::page::Page;

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/erasures", get(list))
        .route("/dashboard/{tenant}/erasures/new", get(new::show).post(new::count))
        .route("/dashboard/{tenant}/erasures/{id}", get(detail::show))
        .route("/dashboard/{tenant}/erasures/{id}/erase", get(detail::show).post(detail::erase))
        .route("/dashboard/{tenant}/erasures/{id}/cancel", get(detail::ask_cancel).post(detail::cancel))
}

/// `GET …/erasures`
async fn list(page: Page) -> Answer {
    let listed = page.operations.list_erasures(page.caller, &page.visitor.query.page_query()).await?;
    let content = html! {
        div.heading {
            h1 { (t!("Erasures")) }
            @if page.can_manage() { a.button.primary href=(page.to("/erasures/new")) { (t!("Erase a person's data")) } }
        }
        @if listed.data.is_empty() {
            (empty(&t!("No erasures yet"), html! { p {
                (t!("An erasure erases everything in the history that holds a value, such as a person's e-mail address. First you see what it would erase."))
            } }))
        } @else {
            section #erasures aria-label=(t!("Erasures")) data-live { (table(&page, &listed.data)) }
            (pager(&page.visitor, listed.next_cursor.as_ref()))
        }
    };
    Ok(page.show(&t!("Erasures"), content))
}

fn table(page: &Page, erasures: &[Erasure]) -> Markup {
    let columns = [
        Text(key!("Searched")),
        Text(key!("Status")),
        Number(key!("Events")),
        Text(key!("Started")),
        Text(key!("Ended")),
    ];
    html! {
        table.rows data-rows {
            caption.unseen { (t!("Erasures, newest first")) }
            (head(&columns))
            tbody { @for erasure in erasures { tr {
                td data-label=(t!("Searched")) {
                    a href=(page.to(format!("/erasures/{}", erasure.id))) { (searched(erasure)) }
                }
                td data-label=(t!("Status")) { (badge(erasure.status.as_str())) }
                td.number data-label=(t!("Events")) { (count(erasure.found.events)) }
                td data-label=(t!("Started")) { (time(erasure.created_at)) }
                td data-label=(t!("Ended")) { (time_if(erasure.finished_at)) }
            } } }
        }
    }
}

/// What an erasure searches, in a few words. The value is not known any more.
fn searched(erasure: &Erasure) -> Words {
    match (&erasure.field, erasure.dry_run) {
        (Some(field), true) => t!("Count: {field}", field = field),
        (Some(field), false) => t!("Erase: {field}", field = field),
        (None, true) => t!("Count: all fields"),
        (None, false) => t!("Erase: all fields"),
    }
}
