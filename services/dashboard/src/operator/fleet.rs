//! What fails and what waits, for all tenants together: the first part of the page about the system.

use std::time::Duration;

use maud::{Markup, html};
use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
use postrider_operations::system::WaitingDeliveries;
use postrider_operations::trouble::{EndpointTrouble, HoldingBreaker, NamedEndpoint, TenantTrouble, Trouble};

use super::TENANTS;
use super::system::panel;
use crate::components::Column::{Number, Text};
use crate::components::{Tile, badge, cause, head, state_badge, success_tile, tile_list, time, time_if};
use crate::format::{count, duration, percent, plural};

/// If a delivery has waited longer than this for its first attempt, the page shows the wait in the colour of a problem.
const LONG_WAIT: Duration = Duration::from_secs(60);

/// The tiles, and the sections about webhooks, tenants, breakers and waiting deliveries.
pub(super) fn sections(trouble: &Trouble, waiting: &WaitingDeliveries) -> Markup {
    html! {
        (tiles(trouble, waiting))
        (panel("failing", "Webhooks with the most failures", endpoints(trouble)))
        (panel("tenants", "Tenants with the most failures", tenants(trouble)))
        (panel("breakers", "Circuit breakers", breakers(&trouble.breakers)))
        (panel("waiting", "Waiting deliveries", waiting_deliveries(waiting)))
    }
}

fn tiles(trouble: &Trouble, waiting: &WaitingDeliveries) -> Markup {
    let total = &trouble.throughput.total;
    let minutes = trouble.throughput.from.0.until(trouble.throughput.to.0).as_secs() / 60;
    let failing = trouble.failing_endpoints;
    tile_list([
        Tile {
            name: "Attempts a second",
            value: format!("{:.1}", total.attempts_per_second),
            class: "",
            note: html! { (count(total.attempts)) " in " (minutes) " minutes" },
        },
        success_tile(total),
        Tile {
            name: "First attempt within 5\u{a0}s",
            value: percent(total.promise.within_5s),
            class: "",
            note: html! { "of " (count(total.promise.first_attempts)) " first attempts" },
        },
        Tile {
            name: "Failing webhooks",
            value: count(failing),
            class: if failing > 0 { "is-bad" } else { "" },
            note: html! { "their last 5 attempts or more failed" },
        },
        Tile {
            name: "Waiting deliveries",
            value: count(waiting.deliveries),
            class: "",
            note: html! { "for an attempt, a retry or their turn" },
        },
        oldest(trouble),
    ])
}

/// The delivery that has waited longest for its first attempt.
fn oldest(trouble: &Trouble) -> Tile {
    let name = "Longest wait for a first attempt";
    let Some(oldest) = &trouble.oldest_waiting else {
        return Tile { name, value: "–".to_owned(), class: "", note: html! { "no delivery waits for one" } };
    };
    let waited = oldest.created_at.0.until(UnixMillis::now());
    let at = format!("/dashboard/{}/deliveries/{}", oldest.endpoint.tenant_id, oldest.delivery_id);
    let to = format!("{} of {}", oldest.endpoint.endpoint_name, oldest.endpoint.tenant_name);
    Tile {
        name,
        value: duration(waited.as_secs_f64() * 1_000.0),
        class: if waited > LONG_WAIT { "is-poor" } else { "" },
        note: html! { a href=(at) { "a delivery" } " to " (to) },
    }
}

fn webhook_link(endpoint: &NamedEndpoint) -> Markup {
    html! { a href={ "/dashboard/" (endpoint.tenant_id) "/webhooks/" (endpoint.endpoint_id) } { (endpoint.endpoint_name) } }
}

fn tenant_link(id: TenantId, name: &str) -> Markup {
    html! { a href={ (TENANTS) "/" (id) } { @if name.is_empty() { (id) } @else { (name) } } }
}

fn endpoints(trouble: &Trouble) -> Markup {
    html! { @if trouble.endpoints.is_empty() {
        p { "No attempt failed since " (time(trouble.failures_from)) "." }
    } @else { table.rows {
        caption { "Attempts since " (time(trouble.failures_from)) "." }
        (head(&[Text("Webhook"), Text("Tenant"), Number("Failed"), Text("State"), Text("Failing since"), Text("Cause")]))
        tbody { @for failing in &trouble.endpoints { (endpoint_row(failing)) } }
    } } }
}

fn endpoint_row(failing: &EndpointTrouble) -> Markup {
    let EndpointTrouble { endpoint, status, breaker, health, attempts, failures } = failing;
    let query = format!("endpoint_id={}&failed_attempts=true&test=false", endpoint.endpoint_id);
    let deliveries = format!("/dashboard/{}/deliveries?{query}", endpoint.tenant_id);
    html! { tr {
        th.long scope="row" data-label="Webhook" { (webhook_link(endpoint)) }
        td.long data-label="Tenant" { (tenant_link(endpoint.tenant_id, &endpoint.tenant_name)) }
        td.number data-label="Failed" { div {
            a href=(deliveries) { (count(*failures)) span.unseen { " failed attempts of " (endpoint.endpoint_name) } }
            " of " (count(*attempts))
        } }
        td data-label="State" { (state_badge(*status, health.state, breaker.state)) }
        td data-label="Failing since" { (time_if(health.failing_since)) }
        td.long data-label="Cause" { div { @if let Some(failure) = &health.last_failure { (cause(failure)) } } }
    } }
}

fn tenants(trouble: &Trouble) -> Markup {
    html! { @if trouble.tenants.is_empty() {
        p { "No attempt failed since " (time(trouble.failures_from)) "." }
    } @else { table.rows.tight {
        caption { "Attempts since " (time(trouble.failures_from)) "." }
        (head(&[Text("Tenant"), Number("Failed"), Number("Attempts"), Number("Webhooks with failures")]))
        tbody { @for tenant in &trouble.tenants { (tenant_row(tenant)) } }
    } } }
}

fn tenant_row(tenant: &TenantTrouble) -> Markup {
    html! { tr {
        th.long scope="row" data-label="Tenant" { (tenant_link(tenant.tenant_id, &tenant.tenant_name)) }
        td.number data-label="Failed" { (count(tenant.failures)) }
        td.number data-label="Attempts" { (count(tenant.attempts)) }
        td.number data-label="Webhooks with failures" { (count(tenant.endpoints_with_failures)) }
    } }
}

fn breakers(breakers: &[HoldingBreaker]) -> Markup {
    html! {
        p { "A webhook that keeps failing gets one attempt at a time until it succeeds again." }
        @if breakers.is_empty() { p { "All are closed." } } @else { table.rows.tight {
            caption.unseen { "Breakers that hold attempts back, open ones first" }
            (head(&["Webhook", "Tenant", "Breaker", "Since"].map(Text)))
            tbody { @for breaker in breakers { tr {
                th.long scope="row" data-label="Webhook" { (webhook_link(&breaker.endpoint)) }
                td.long data-label="Tenant" { (tenant_link(breaker.endpoint.tenant_id, &breaker.endpoint.tenant_name)) }
                td data-label="Breaker" { div { (badge(breaker.state.as_str())) } }
                td data-label="Since" { (time(breaker.since)) }
            } } }
        } }
    }
}

fn waiting_deliveries(waiting: &WaitingDeliveries) -> Markup {
    html! {
        p {
            (plural(waiting.deliveries, "delivery waits", "deliveries wait")) " for an attempt, a retry or their turn"
            @if let Some(at) = waiting.counted_at { ", counted at " (time(at)) }
            ". Each takes at most about 6 KiB in RabbitMQ."
        }
        @if !waiting.tenants.is_empty() { table.rows.tight {
            caption.unseen { "Tenants with the most waiting deliveries" }
            (head(&[Text("Tenant"), Number("Waiting")]))
            tbody { @for tenant in &waiting.tenants { tr {
                th.long scope="row" data-label="Tenant" { (tenant_link(tenant.tenant_id, &tenant.tenant_name)) }
                td.number data-label="Waiting" { (count(tenant.deliveries)) }
            } } }
        } }
    }
}
