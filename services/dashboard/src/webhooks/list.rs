//! The list of webhooks with their recent results.

use std::collections::HashMap;

use maud::{Markup, html};
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_operations::endpoints::{EndpointInList, EndpointOrder, EndpointPage};

use super::status;
use crate::components::Column::Text;
use crate::components::{
    breakable, empty, failed_deliveries, head, pager_with, spark, target, time, trouble_line, types,
};
use crate::failure::Answer;
use crate::format::plural;
use crate::page::Page;

/// The number of hours that the chart of a row covers.
const HOURS: usize = 24;
const HOUR_MS: i64 = 3_600_000;

/// The numbers of successes and failures in each of the last hours, by endpoint.
type Trends = HashMap<EndpointId, [(u64, u64); HOURS]>;

/// `GET …/webhooks`
pub(crate) async fn show(page: Page) -> Answer {
    let query = &page.visitor.query;
    let order = match query.get("sort") {
        "newest" => EndpointOrder::Newest,
        "name" => EndpointOrder::Name,
        _ => EndpointOrder::Trouble,
    };
    let listed = page.operations.list_endpoints(page.caller, order, &query.page_query()).await?;
    let trends = trends(&page, &listed).await?;
    let full = listed.usage >= listed.limit;
    let content = html! {
        div.heading {
            h1 { "Webhooks" }
            @if page.can_manage() && !full { a.button.primary href=(page.to("/webhooks/new")) { "Add webhook" } }
        }
        (usage(&listed))
        @if full { (super::limit_reached(listed.usage, listed.limit)) }
        @if listed.data.is_empty() && query.optional("cursor").is_none() {
            (empty("No webhooks yet", html! {
                p { "A webhook is a URL that receives your events when they happen." }
                @if page.can_manage() { a.button.primary href=(page.to("/webhooks/new")) { "Add the first webhook" } }
            }))
        } @else {
            @if listed.usage > 1 { (sorting(&page, order)) }
            section #webhooks data-live aria-label="Webhooks" { (table(&page, &listed, &trends)) }
            (pager_with(&page.visitor, listed.next_cursor.as_ref(), ["First page", "Next page"]))
        }
    };
    Ok(page.show("Webhooks", content))
}

fn usage(listed: &EndpointPage) -> Markup {
    let (usage, limit) = (listed.usage, listed.limit);
    html! { p.usage {
        (usage) " of " (limit) " webhooks used "
        meter min="0" max=(limit.max(1)) low=(f64::from(limit) * 0.8) high=(f64::from(limit) - 0.5) optimum="0"
            value=(usage) aria-label="Webhooks used" {}
    } }
}

fn sorting(page: &Page, order: EndpointOrder) -> Markup {
    let orders = [
        (EndpointOrder::Trouble, "", "Trouble first"),
        (EndpointOrder::Newest, "?sort=newest", "Newest first"),
        (EndpointOrder::Name, "?sort=name", "By name"),
    ];
    html! { nav.sorting aria-label="Order" { @for (named, query, label) in orders {
        a href=(page.to(format!("/webhooks{query}"))) aria-current=[(named == order).then_some("true")] { (label) }
    } } }
}

fn table(page: &Page, listed: &EndpointPage, trends: &Trends) -> Markup {
    let columns = ["Name", "Endpoint", "Events", "Status", "Results", "24 hours", "Created on", "Actions"].map(Text);
    html! {
        table.rows.many data-rows {
            caption.unseen { "Webhooks. Results are those within the retention." }
            (head(&columns))
            tbody { @for item in &listed.data {
                (row(page, item, trends))
                @if let Some(line) = trouble_line(page, &item.endpoint) {
                    tr.note-row { td colspan=(columns.len()) { div.trouble-line { (line) } } }
                }
            } }
        }
    }
}

fn row(page: &Page, item: &EndpointInList, trends: &Trends) -> Markup {
    let endpoint = &item.endpoint;
    let filtered = !endpoint.filters.is_empty() || endpoint.payload_filter.is_some();
    html! { tr {
        th scope="row" data-label="Name" { a href=(page.to(format!("/webhooks/{}", endpoint.id))) { (endpoint.name) } }
        td.long data-label="Endpoint" { (breakable(target(endpoint))) }
        td.types data-label="Events" { div {
            (types(&endpoint.event_types)) @if filtered { span.tag.filtered { "filtered" } }
        } }
        td data-label="Status" { (status::switch(page, endpoint)) }
        td.counts data-label="Results" { (results(page, item)) }
        td data-label="24 hours" { (trends.get(&endpoint.id).map_or_else(|| spark(&[]), |hours| spark(hours))) }
        td.when data-label="Created on" { (time(endpoint.created_at)) }
        td.actions data-label="Actions" { (actions(page, item)) }
    } }
}

/// The number of successful attempts, and the number of deliveries with a failed attempt, with a link to these deliveries.
fn results(page: &Page, item: &EndpointInList) -> Markup {
    let failed = plural(item.failed_deliveries, "delivery", "deliveries");
    html! { div {
        span { (plural(item.successes, "success", "successes")) } " "
        @if item.failed_deliveries > 0 {
            a href=(failed_deliveries(page, &item.endpoint)) { (failed) " with failures" }
        } @else { span.faint { "no failures" } }
    } }
}

fn actions(page: &Page, item: &EndpointInList) -> Markup {
    let endpoint = &item.endpoint;
    let at = page.to(format!("/webhooks/{}", endpoint.id));
    html! { div {
        a href=(page.to(format!("/deliveries?endpoint_id={}", endpoint.id))) { "History" span.unseen { " of " (endpoint.name) } }
        @if page.can_manage() {
            a href={ (at) "/edit" } { "Edit" span.unseen { " " (endpoint.name) } }
            a href={ (at) "/test" } { "Test" span.unseen { " " (endpoint.name) } }
            a.danger href={ (at) "/delete" } { "Delete" span.unseen { " " (endpoint.name) } }
        }
    } }
}

async fn trends(page: &Page, listed: &EndpointPage) -> Answer<Trends> {
    let ids: Vec<EndpointId> = listed.data.iter().map(|item| item.endpoint.id).collect();
    let first = UnixMillis::now().0.div_euclid(HOUR_MS) - HOURS as i64 + 1;
    let counts = page.operations.hourly_counts(page.caller, &ids, UnixMillis(first * HOUR_MS)).await?;
    let mut trends = Trends::new();
    for count in counts {
        let Ok(index) = usize::try_from(count.at.0.div_euclid(HOUR_MS) - first) else { continue };
        let hours = trends.entry(count.endpoint).or_insert([(0, 0); HOURS]);
        if let Some(hour) = hours.get_mut(index) {
            *hour = (count.successes, count.failures);
        }
    }
    Ok(trends)
}
