//! The system: who runs, how much waits where, which endpoints are down, whether the log adds up.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use super::super::Dashboard;
use super::super::failure::Failure;
use super::super::layout::Section;
use super::super::parts::time;
use super::super::words::count;
use super::Office;
use crate::request::Params;
use crate::system::{self, Audit, BreakersOpen, QueueStatus, Service};

/// `GET /dashboard/operator/system`
pub(super) async fn show(State(dashboard): State<Arc<Dashboard>>, office: Office) -> Result<Markup, Failure> {
    let now = system::read(State(Arc::clone(&dashboard.api)), office.visitor.caller, Params::default()).await?.0;
    Ok(office.show(
        Section::System,
        "System",
        html! {
            h1 { "System" }
            section #system aria-label="System" data-live {
                (queues(&now.queues))
                (breakers(&now.breakers))
                (audit(now.last_audit.as_ref()))
                (services(&now.services))
            }
        },
    ))
}

fn queues(queues: &[QueueStatus]) -> Markup {
    html! {
        section.panel aria-labelledby="queues" {
            h2 #queues { "Queues" }
            table.rows.tight {
                caption { "What waits to be taken. A message is a bundle of up to 32 events, deliveries or reports; how many is an estimate." }
                thead { tr {
                    th scope="col" { "Queue" } th.number scope="col" { "Messages" } th.number scope="col" { "Members" } th.number scope="col" { "Consumers" }
                } }
                tbody { @for queue in queues { tr {
                    th.long scope="row" data-label="Queue" { code { (queue.name) } }
                    @match (queue.messages, queue.members, queue.consumers) {
                        (Some(messages), Some(members), Some(consumers)) => {
                            td.number data-label="Messages" { (count(u64::from(messages))) }
                            td.number data-label="Members" { (count(members)) }
                            td.number data-label="Consumers" { (consumers) }
                        }
                        _ => {
                            td data-label="Messages" { span.faint { "unknown: the broker does not answer" } }
                            td data-label="Members" { span.faint { "–" } }
                            td data-label="Consumers" { span.faint { "–" } }
                        }
                    }
                } } }
            }
        }
    }
}

fn breakers(breakers: &BreakersOpen) -> Markup {
    html! {
        section.panel aria-labelledby="breakers" {
            h2 #breakers { "Breakers" }
            p { "Endpoints that fail get one attempt at a time until they answer again." }
            dl.facts { dt { "Open" } dd { (count(breakers.open)) } dt { "About to close" } dd { (count(breakers.half_open)) } }
        }
    }
}

fn audit(audit: Option<&Audit>) -> Markup {
    html! {
        section.panel aria-labelledby="audit" {
            h2 #audit { "Audit" }
            @match audit {
                None => { p.faint { "None has run yet: a recorder makes the first one when it starts." } }
                Some(audit) if audit.conserved => { p { "Everything that was accepted is accounted for, as of " (time(&audit.ran_at)) "." } }
                Some(audit) => { p.warning role="note" {
                    strong { "Something is missing" } " as of " (time(&audit.ran_at)) ": run " code { "postrider audit" } ", which names it."
                } }
            }
        }
    }
}

fn services(services: &[Service]) -> Markup {
    html! {
        section.panel aria-labelledby="services" {
            h2 #services { "Processes" }
            table.rows {
                caption { "Those heard of within a day; each reports every 10 s, and one that stops in order is not listed." }
                thead { tr {
                    th scope="col" { "Service" } th scope="col" { "Instance" } th scope="col" { "Version" } th scope="col" { "Started" } th scope="col" { "Last seen" }
                } }
                tbody { @for service in services { tr {
                    th scope="row" data-label="Service" { (service.name) }
                    td.long data-label="Instance" { code { (service.instance) } }
                    td data-label="Version" { (service.version) }
                    td data-label="Started" { (time(&service.started_at)) }
                    td data-label="Last seen" { (time(&service.last_seen_at)) }
                } } }
            }
        }
    }
}
