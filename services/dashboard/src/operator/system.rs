//! The page about the system: what fails and what waits, the queues, the last audit and the running processes.

use maud::{Markup, html};
use postrider_operations::system::{Audit, QueueStatus, Service};

use super::fleet;
use crate::components::Column::{Number, Text};
use crate::components::{absent, head, time};
use crate::failure::Answer;
use crate::format::count;
use crate::page::OperatorPage;

/// `GET /dashboard/operator/system`
pub(super) async fn show(page: OperatorPage) -> Answer {
    let caller = page.visitor.caller;
    let (status, trouble) = tokio::join!(page.operations.read_system(caller), page.operations.read_trouble(caller));
    let (status, trouble) = (status?, trouble?);
    let content = html! {
        h1 { "System" }
        section #system aria-label="System" data-live data-every="5000" {
            (fleet::sections(&trouble, &status.waiting))
            (panel("queues", "Queues", queues(&status.queues)))
            (panel("audit", "Audit", audit(status.last_audit.as_ref())))
            (panel("services", "Processes", services(&status.services)))
        }
    };
    Ok(page.show("System", content))
}

/// A section with a title.
pub(super) fn panel(id: &str, title: &str, content: Markup) -> Markup {
    html! { section.panel aria-labelledby=(id) { h2 id=(id) { (title) } (content) } }
}

fn queues(queues: &[QueueStatus]) -> Markup {
    html! { table.rows.tight {
        caption {
            "The backlog of each queue. A message is a batch of up to 32 events, deliveries or reports; their number is an estimate."
        }
        (head(&[Text("Queue"), Number("Messages"), Number("Members"), Number("Consumers")]))
        tbody { @for queue in queues { tr {
            th.long scope="row" data-label="Queue" { code { (queue.name) } }
            @match (queue.messages, queue.members, queue.consumers) {
                (Some(messages), Some(members), Some(consumers)) => {
                    td.number data-label="Messages" { (count(u64::from(messages))) }
                    td.number data-label="Members" { (count(members)) }
                    td.number data-label="Consumers" { (consumers) }
                }
                _ => {
                    td data-label="Messages" { span.faint { "unknown: RabbitMQ does not answer" } }
                    td data-label="Members" { (absent()) }
                    td data-label="Consumers" { (absent()) }
                }
            }
        } } }
    } }
}

fn audit(audit: Option<&Audit>) -> Markup {
    html! { @match audit {
        None => { p.faint { "No audit yet. The recorder runs the first one when it starts." } }
        Some(audit) if audit.conserved => {
            p { "Every accepted event was accounted for at " (time(audit.ran_at)) "." }
        }
        Some(audit) => { p.warning role="note" {
            strong { "Events were missing" } " at " (time(audit.ran_at)) ". Run " code { "postrider audit" } " to list them."
        } }
    } }
}

fn services(services: &[Service]) -> Markup {
    html! { table.rows {
        caption { "Processes that reported in the last day. Each reports every 10 s and is removed when it stops normally." }
        (head(&["Service", "Instance", "Version", "Started", "Last seen"].map(Text)))
        tbody { @for service in services { tr {
            th scope="row" data-label="Service" { (service.name) }
            td.long data-label="Instance" { code { (service.instance) } }
            td data-label="Version" { (service.version) }
            td data-label="Started" { (time(service.started_at)) }
            td data-label="Last seen" { (time(service.last_seen_at)) }
        } } }
    } }
}
