//! Saved views: named filters of the lists of deliveries and events.
//!
//! A view is an address: its filter is the query of the list. So a view can be passed on, and its name is all that is stored with
//! it. A relative range, such as the last 24 hours, stays relative.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use postrider_operations::Error;
use postrider_operations::saved_views::{NewSavedView, SavedView, SavedViewList};

use crate::components::{Confirmation, Form};
use crate::failure::Answer;
use crate::fields::{Fields, Sent};
use crate::format::attribute;
use crate::language::{t, tm};
use crate::page::{Id, Managed, Page};
use crate::texts::Notice;
use crate::{Dashboard, deliveries, events};
use postrider_model::time::UnixMillis;

/// The field with the name of the list.
const LIST: &str = "list";
/// The field with the filter, as the query of the list's address.
const FILTER: &str = "query";

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/views/new", get(show_new).post(create))
        .route("/dashboard/{tenant}/views/{id}", get(show_edit).post(rename))
        .route("/dashboard/{tenant}/views/{id}/delete", get(ask_delete).post(delete))
}

/// The saved views above a list, and the link that saves the present filter or edits the present view.
pub(crate) async fn bar(page: &Page, list: SavedViewList) -> Answer {
    let views = page.operations.saved_views(page.caller, list).await?;
    let shown = filter(page, list, &page.visitor.query);
    let query = shown.without(&[]);
    let current = views.iter().find(|view| stored_filter(page, view).without(&[]) == query).map(|view| view.id);
    let can_save = !query.is_empty() && check(page, list, &shown).is_ok();
    let save = Fields::default().with(LIST, list).with(FILTER, &query).without(&[]);
    let can_edit = page.can_manage() && (current.is_some() || can_save);
    Ok(html! { @if can_edit || !views.is_empty() { div.saved-views {
        @if !views.is_empty() { nav.ranges aria-label=(t!("Saved views")) { @for view in &views {
            a href=(address(page, view)) aria-current=[(current == Some(view.id)).then_some("true")] { (view.name) }
        } } }
        @if can_edit {
            @if let Some(id) = current { a href=(page.to(format!("/views/{id}"))) { (t!("Edit view")) } }
            @else { a href=(page.to(format!("/views/new?{save}"))) { (t!("Save this view")) } }
        }
    } } })
}

/// The filter in the query of a list's address: the parameters that the list knows, by name.
fn filter(page: &Page, list: SavedViewList, query: &Fields) -> Fields {
    let mut known = BTreeMap::new();
    for (name, value) in query.pairs().filter(|(_, value)| !value.trim().is_empty()) {
        let is_known = match list {
            SavedViewList::Deliveries => deliveries::FILTERS.contains(&name),
            SavedViewList::Events => events::is_filter(name, &page.profile),
        };
        if is_known {
            known.entry(name).or_insert(value.trim());
        }
    }
    known.into_iter().fold(Fields::default(), |fields, (name, value)| fields.with(name, value))
}

fn stored_filter(page: &Page, view: &SavedView) -> Fields {
    filter(page, view.list, &Fields::read(view.query.as_bytes()))
}

/// Checks that the list understands a filter.
fn check(page: &Page, list: SavedViewList, filter: &Fields) -> Result<(), Error> {
    let read = match list {
        SavedViewList::Deliveries => deliveries::read_filter(filter, UnixMillis::now()).map(drop),
        SavedViewList::Events => events::read_filter(filter, &page.profile).map(drop),
    };
    // The form has one field for the whole filter.
    read.map_err(|error| match error {
        Error::Invalid(errors) => {
            let details: Vec<String> =
                errors.iter().map(|error| format!("{}: {}", attribute(&error.pointer), error.detail)).collect();
            Error::invalid(format!("/{FILTER}"), details.join("; "))
        }
        error => error,
    })
}

/// The address of a view: the list with the view's filter.
fn address(page: &Page, view: &SavedView) -> String {
    page.to(path(view))
}

fn path(view: &SavedView) -> String {
    format!("/{}?{}", view.list, view.query)
}

fn list_of(fields: &Fields) -> Result<SavedViewList, Error> {
    fields.get(LIST).parse().map_err(|_| Error::NotFound("list"))
}

/// `GET …/views/new?list=<list>&query=<filter>`
async fn show_new(Managed(page): Managed<Page>) -> Answer<Response> {
    let fields = page.visitor.restored().unwrap_or_else(|| page.visitor.query.clone());
    show_new_form(&page, &fields.into())
}

fn show_new_form(page: &Page, form: &Form) -> Answer<Response> {
    let list = list_of(&form.fields)?;
    let query = filter(page, list, &Fields::read(form.get(FILTER).as_bytes())).without(&[]);
    let back = page.to(format!("/{list}?{query}"));
    let hidden = html! {
        input type="hidden" name=(LIST) value=(list);
        input type="hidden" name=(FILTER) value=(query);
    };
    let content = html! {
        h1 { (t!("Save this view")) }
        p { (match list {
            SavedViewList::Deliveries => {
                t!("The view keeps the filter of the list of deliveries, and shows what matches when it is opened.")
            }
            SavedViewList::Events => {
                t!("The view keeps the filter of the list of events, and shows what matches when it is opened.")
            }
        }) }
        (name_form(page, form, "/views/new", hidden, &query, &back))
    };
    Ok(form.answer(page.show(&form.title(&t!("Save this view")), content)))
}

/// The form with the name of a view. `query` is the view's filter, `back` the address of the list.
fn name_form(page: &Page, form: &Form, action: &str, hidden: Markup, query: &str, back: &str) -> Markup {
    let name = form.field("name", t!("Name")).hint(t!("Everybody in this account sees it above the list."));
    html! {
        (form.summary())
        form.stack method="post" action=(page.to(action)) {
            (page.visitor.tokens)
            (hidden)
            (name.required())
            p.long #f-query { (tm!("Filter: {query}", query = html! { code { (query) } })) }
            div.buttons {
                button.primary type="submit" { (t!("Save view")) }
                a.button href=(back) { (t!("Back to the list")) }
            }
        }
    }
}

/// `POST …/views/new`
async fn create(Managed(page): Managed<Page>, Sent(fields): Sent) -> Answer<Response> {
    let list = list_of(&fields)?;
    let filter = filter(&page, list, &Fields::read(fields.get(FILTER).as_bytes()));
    let new = NewSavedView { list, name: fields.get("name").to_owned(), query: filter.without(&[]) };
    let created = async {
        check(&page, list, &filter)?;
        page.operations.create_saved_view(page.caller, &new).await
    };
    match created.await {
        Ok(view) => Ok(page.redirect(path(&view), Notice::ViewSaved).into_response()),
        Err(error) => show_new_form(&page, &Form::refused(fields, error)?),
    }
}

/// `GET …/views/{id}`
async fn show_edit(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Response> {
    let view = page.operations.read_saved_view(page.caller, &id).await?;
    let fields = page.visitor.restored().unwrap_or_else(|| Fields::default().with("name", &view.name));
    Ok(show_edit_form(&page, &view, &fields.into()))
}

fn show_edit_form(page: &Page, view: &SavedView, form: &Form) -> Response {
    let at = format!("/views/{}", view.id);
    let content = html! {
        h1.long { (t!("View “{name}”", name = view.name)) }
        (name_form(page, form, &at, html! {}, &view.query, &address(page, view)))
        p { a.danger href=(page.to(format!("{at}/delete"))) { (t!("Delete view")) } }
    };
    form.answer(page.show(&form.title(&t!("View {name}", name = view.name)), content))
}

/// `POST …/views/{id}`
async fn rename(Managed(page): Managed<Page>, Id(id): Id, Sent(fields): Sent) -> Answer<Response> {
    match page.operations.rename_saved_view(page.caller, &id, fields.get("name")).await {
        Ok(view) => Ok(page.redirect(path(&view), Notice::Saved).into_response()),
        Err(error) => {
            let form = Form::refused(fields, error)?;
            let view = page.operations.read_saved_view(page.caller, &id).await?;
            Ok(show_edit_form(&page, &view, &form))
        }
    }
}

/// `GET …/views/{id}/delete`
async fn ask_delete(Managed(page): Managed<Page>, Id(id): Id) -> Answer {
    let view = page.operations.read_saved_view(page.caller, &id).await?;
    let at = page.to(format!("/views/{}", view.id));
    let confirmation = Confirmation {
        title: &t!("Delete the view “{name}”?", name = view.name),
        consequences: html! {
            p { (match view.list {
                SavedViewList::Deliveries => t!("It disappears from the list of deliveries for everybody in this account."),
                SavedViewList::Events => t!("It disappears from the list of events for everybody in this account."),
            }) }
            p { (t!("Its address still works, and what it shows is not deleted.")) }
        },
        action: &format!("{at}/delete"),
        button: &t!("Delete view"),
        back: &at,
    };
    Ok(confirmation.page(&page))
}

/// `POST …/views/{id}/delete`
async fn delete(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    let view = page.operations.read_saved_view(page.caller, &id).await?;
    page.operations.delete_saved_view(page.caller, &id).await?;
    Ok(page.redirect(format!("/{}", view.list), Notice::ViewDeleted))
}
