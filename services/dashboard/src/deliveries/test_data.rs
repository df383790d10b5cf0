//! Erases the data that was entered for a test. The event of a test has no page, so the page of its delivery has the button.

use axum::response::Redirect;
use maud::html;
use postrider_operations::Error;

use crate::components::{Confirmation, time};
use crate::failure::Answer;
use crate::language::{t, tm};
use crate::page::{Id, Managed, Page};
use crate::texts::Notice;

/// `GET …/deliveries/{id}/expunge`: asks before the edited data of a test is erased. The event of a test has no page.
pub(super) async fn ask(Managed(page): Managed<Page>, Id(id): Id) -> Answer {
    let delivery = page.operations.read_delivery(page.caller, &id).await?.delivery;
    if !delivery.test {
        return Err(Error::NotFound("test").into());
    }
    let at = page.to(format!("/deliveries/{id}"));
    let confirmation = Confirmation {
        title: &t!("Expunge the data of this test?"),
        consequences: html! {
            p { (tm!("The test of {event}, created {time}.", event = delivery.event_type, time = time(delivery.created_at))) }
            p { (t!("The data that was entered for it is deleted from the history. This cannot be undone.")) }
        },
        action: &format!("{at}/expunge"),
        button: &t!("Expunge the data"),
        back: &at,
    };
    Ok(confirmation.page(&page))
}

/// `POST …/deliveries/{id}/expunge`
pub(super) async fn expunge(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    let delivery = page.operations.read_delivery(page.caller, &id).await?.delivery;
    if !delivery.test {
        return Err(Error::NotFound("test").into());
    }
    page.operations.expunge_payload(page.caller, delivery.event_id.as_str()).await?;
    Ok(page.redirect(format!("/deliveries/{id}"), Notice::PayloadExpunged))
}
