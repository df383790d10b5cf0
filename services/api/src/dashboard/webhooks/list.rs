//! The list: what there is, how it does, what can be done about it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;

use super::super::Dashboard;
use super::super::chart::spark;
use super::super::failure::Failure;
use super::super::layout::Section;
use super::super::page::Page;
use super::super::parts::{badge, breakable, empty, pager, time, types};
use super::super::words::count;
use super::target;
use crate::endpoints::breaker::BreakerState;
use crate::endpoints::model::{Endpoint, EndpointInList, EndpointPage, Status};
use crate::errors::store_problem;

/// Hours that a row's trend covers.
const HOURS: usize = 24;
const HOUR_MS: i64 = 3_600_000;

type Trends = HashMap<String, [(u64, u64); HOURS]>;

/// `GET …/webhooks`
pub(super) async fn show(State(dashboard): State<Arc<Dashboard>>, page: Page) -> Result<Markup, Failure> {
    let listed = super::endpoints(&dashboard.api, &page, page.query.params(&["limit", "cursor"])).await?;
    let trends = trends(&dashboard, &listed).await?;
    let full = listed.usage >= listed.limit;
    Ok(page.show(Section::Webhooks, "Webhooks", html! {
        div.heading {
            h1 { "Webhooks" }
            @if page.can_manage() && !full { a.button.primary href=(page.to("/webhooks/new")) { "Add webhook" } }
        }
        p.usage {
            (listed.usage) " of " (listed.limit) " webhooks used "
            meter min="0" max=(listed.limit.max(1)) low=(f64::from(listed.limit) * 0.8) high=(f64::from(listed.limit) - 0.5) optimum="0"
                value=(listed.usage) aria-label="Webhooks used" {}
        }
        @if full { (super::limit_reached(listed.usage.into(), listed.limit.into())) }
        @if listed.data.is_empty() && page.query.given("cursor").is_none() {
            (empty("No webhooks yet", html! {
                p { "A webhook is a URL that receives your events as they happen." }
                @if page.can_manage() { a.button.primary href=(page.to("/webhooks/new")) { "Add the first webhook" } }
            }))
        } @else {
            section #webhooks data-live aria-label="Webhooks" {
                table.rows.many {
                    caption.unseen { "Webhooks, newest first. Successes and failures are attempts within the retention." }
                    thead { tr {
                        th scope="col" { "Name" }
                        th scope="col" { "Endpoint" }
                        th scope="col" { "Events" }
                        th scope="col" { "Status" }
                        th scope="col" { "Attempts" }
                        th scope="col" { "24 hours" }
                        th scope="col" { "Created on" }
                        th scope="col" { "Actions" }
                    } }
                    tbody { @for item in &listed.data { (row(&page, item, &trends)) } }
                }
            }
            (pager(&page, listed.next_cursor.as_ref()))
        }
    }))
}

fn row(page: &Page, item: &EndpointInList, trends: &Trends) -> Markup {
    let endpoint = &item.endpoint;
    let at = page.to(format!("/webhooks/{}", endpoint.id));
    html! { tr {
        th scope="row" data-label="Name" { a href=(at) { (endpoint.name) } }
        td.long data-label="Endpoint" { (breakable(target(endpoint))) }
        td.types data-label="Events" { div { (types(&endpoint.event_types)) @if !endpoint.filters.is_empty() || endpoint.payload_filter.is_some() {
            span.tag.filtered { "filtered" }
        } } }
        td data-label="Status" { (toggle(page, &at, endpoint)) }
        td.counts data-label="Attempts" { div {
            span { (count(item.successes)) " succeeded" } " "
            @if item.failures > 0 {
                a href=(page.to(format!("/deliveries?endpoint_id={}&failed_attempts=true&test=false", endpoint.id))) { (count(item.failures)) " failed" }
            } @else { span.faint { "none failed" } }
        } }
        td data-label="24 hours" { (trends.get(&endpoint.id).map_or_else(|| spark(&[]), |hours| spark(hours))) }
        td.when data-label="Created on" { (time(&endpoint.created_at)) }
        td.actions data-label="Actions" { div {
            a href=(page.to(format!("/deliveries?endpoint_id={}", endpoint.id))) { "History" span.unseen { " of " (endpoint.name) } }
            @if page.can_manage() {
                a href={ (at) "/edit" } { "Edit" span.unseen { " " (endpoint.name) } }
                a href={ (at) "/test" } { "Test" span.unseen { " " (endpoint.name) } }
                a.danger href={ (at) "/delete" } { "Delete" span.unseen { " " (endpoint.name) } }
            }
        } }
    } }
}

/// The status, and a switch for it.
pub(super) fn toggle(page: &Page, at: &str, endpoint: &Endpoint) -> Markup {
    let (word, active) = match endpoint.status {
        Status::Active if matches!(endpoint.breaker.state, BreakerState::Open) => ("failing", true),
        Status::Active => ("active", true),
        Status::Inactive => ("inactive", false),
        Status::Disabled => ("disabled", false),
    };
    html! { @if page.can_manage() {
        form.inline method="post" action={ (at) "/status" } {
            (page.csrf())
            @if page.path() == at { input type="hidden" name="back" value="webhook"; }
            input type="hidden" name="status" value=(if active { "inactive" } else { "active" });
            button.switch type="submit" role="switch" aria-checked=(if active { "true" } else { "false" })
                aria-label={ "Active: " (endpoint.name) } title=(if active { "Switch off" } else { "Switch on" }) { span.knob {} }
            " " (badge(word))
        }
    } @else { (badge(word)) } }
}

async fn trends(dashboard: &Dashboard, listed: &EndpointPage) -> Result<Trends, Failure> {
    let ids: Vec<EndpointId> = listed.data.iter().filter_map(|item| item.endpoint.id.parse().ok()).collect();
    let hour = UnixMillis::now().0.div_euclid(HOUR_MS);
    let first = hour - HOURS as i64 + 1;
    let glances = dashboard.api.store.hourly_glance(&ids, UnixMillis(first * HOUR_MS)).await.map_err(store_problem)?;
    let mut trends = Trends::new();
    for glance in glances {
        let Ok(index) = usize::try_from(glance.at.0.div_euclid(HOUR_MS) - first) else { continue };
        let hours = trends.entry(glance.endpoint.to_string()).or_insert([(0, 0); HOURS]);
        if let Some(hour) = hours.get_mut(index) {
            *hour = (glance.successes, glance.failures);
        }
    }
    Ok(trends)
}
