//! The list of webhooks with their recent results.

use std::collections::HashMap;

use maud::{Markup, html};
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_operations::endpoints::{EndpointInList, EndpointOrder, EndpointPage};

use super::status;
use crate::components::Column::Text;
use crate::components::{
    breakable, empty, failed_deliveries, head, is_severe, pager_with, spark, target, time, trouble_line, types,
};
use crate::failure::Answer;
use crate::language::{key, t};
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
            h1 { (t!("{Webhooks}")) }
            @if page.can_manage() && !full { a.button.primary href=(page.to("/webhooks/new")) { (t!("Add {webhook}")) } }
        }
        (usage(&listed))
        @if full { (super::limit_reached(listed.usage, listed.limit)) }
        @if listed.data.is_empty() && query.optional("cursor").is_none() {
            (empty(&t!("No {webhooks} yet"), html! {
                p { (t!("A {webhook} is a URL that receives your events when they happen.")) }
                @if page.can_manage() { a.button.primary href=(page.to("/webhooks/new")) { (t!("Add the first {webhook}")) } }
            }))
        } @else {
            @if listed.usage > 1 { (sorting(&page, order)) }
            section #webhooks data-live aria-label=(t!("{Webhooks}")) { (table(&page, &listed, &trends)) }
            (pager_with(&page.visitor, listed.next_cursor.as_ref(), [t!("First page"), t!("Next page")]))
        }
    };
    Ok(page.show(&t!("{Webhooks}"), content))
}

fn usage(listed: &EndpointPage) -> Markup {
    let (usage, limit) = (listed.usage, listed.limit);
    html! { p.usage {
        (t!("{usage} of {limit} {webhooks} used", usage = usage, limit = limit)) " "
        meter min="0" max=(limit.max(1)) low=(f64::from(limit) * 0.8) high=(f64::from(limit) - 0.5) optimum="0"
            value=(usage) aria-label=(t!("{Webhooks} used")) {}
    } }
}

fn sorting(page: &Page, order: EndpointOrder) -> Markup {
    let orders = [
        (EndpointOrder::Trouble, "", t!("Trouble first")),
        (EndpointOrder::Newest, "?sort=newest", t!("Newest first")),
        (EndpointOrder::Name, "?sort=name", t!("By name")),
    ];
    html! { nav.sorting aria-label=(t!("Order")) { @for (named, query, label) in orders {
        a href=(page.to(format!("/webhooks{query}"))) aria-current=[(named == order).then_some("true")] { (label) }
    } } }
}

fn table(page: &Page, listed: &EndpointPage, trends: &Trends) -> Markup {
    let columns = [
        key!("Name"),
        key!("{Endpoint}"),
        key!("Events"),
        key!("Status"),
        key!("Results"),
        key!("24 hours"),
        key!("Created on"),
        key!("Actions"),
    ]
    .map(Text);
    html! {
        table.rows.many data-rows {
            caption.unseen { (t!("{Webhooks}. Results are those within the retention.")) }
            (head(&columns))
            tbody { @for item in &listed.data {
                (row(page, item, trends))
                @if let Some(line) = trouble_line(page, &item.endpoint) {
                    tr.note-row { td colspan=(columns.len()) { div.trouble-line.calm[!is_severe(&item.endpoint)] { (line) } } }
                }
            } }
        }
    }
}

fn row(page: &Page, item: &EndpointInList, trends: &Trends) -> Markup {
    let endpoint = &item.endpoint;
    let filtered = !endpoint.filters.is_empty() || endpoint.payload_filter.is_some();
    html! { tr {
        th scope="row" data-label=(t!("Name")) { a href=(page.to(format!("/webhooks/{}", endpoint.id))) { (endpoint.name) } }
        td.long.target data-label=(t!("{Endpoint}")) title=(target(endpoint)) { div { (breakable(&target(endpoint))) } }
        td.types data-label=(t!("Events")) { div {
            (types(&endpoint.event_types)) @if filtered { span.tag.filtered { (t!("filtered")) } }
        } }
        td data-label=(t!("Status")) { (status::switch(page, endpoint)) }
        td.counts data-label=(t!("Results")) { (results(page, item)) }
        td data-label=(t!("24 hours")) { (trends.get(&endpoint.id).map_or_else(|| spark(&[]), |hours| spark(hours))) }
        td.when data-label=(t!("Created on")) { (time(endpoint.created_at)) }
        td.actions data-label=(t!("Actions")) { (actions(page, item)) }
    } }
}

/// The number of successful attempts, and the number of deliveries with a failed attempt, with a link to these deliveries.
fn results(page: &Page, item: &EndpointInList) -> Markup {
    html! { div {
        span { (t!(item.successes, "{count} success", "{count} successes")) } " "
        @if item.failed_deliveries > 0 {
            a href=(failed_deliveries(page, &item.endpoint)) {
                (t!(item.failed_deliveries, "{count} delivery with failures", "{count} deliveries with failures"))
            }
        } @else { span.faint { (t!("no failures")) } }
    } }
}

fn actions(page: &Page, item: &EndpointInList) -> Markup {
    let endpoint = &item.endpoint;
    let at = page.to(format!("/webhooks/{}", endpoint.id));
    html! { div {
        a href=(page.to(format!("/deliveries?endpoint_id={}", endpoint.id))) {
            (t!("History")) span.unseen { " " (t!("of {name}", name = endpoint.name)) }
        }
        @if page.can_manage() {
            a href={ (at) "/edit" } { (t!("Edit")) span.unseen { " " (endpoint.name) } }
            a href={ (at) "/test" } { (t!("Test")) span.unseen { " " (endpoint.name) } }
            a.danger href={ (at) "/delete" } { (t!("Delete")) span.unseen { " " (endpoint.name) } }
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
