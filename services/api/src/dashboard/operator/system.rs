//! The system: how much waits where.
//!
//! What services report of themselves, open breakers and the audit's findings belong on this page, too; [`show`] is where a
//! further panel goes.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use postrider_broker::Queue;
use postrider_model::delivery::Lane;

use super::super::Dashboard;
use super::super::failure::Failure;
use super::super::layout::Section;
use super::super::words::count;
use super::Office;

/// What can wait, in the order that an event goes.
const QUEUES: [Queue; 9] = [
    Queue::Intake,
    Queue::Fanout,
    Queue::EventLog,
    Queue::Lane(Lane::Live),
    Queue::Lane(Lane::Slow),
    Queue::Lane(Lane::Bulk),
    Queue::Decisions,
    Queue::Outcomes,
    Queue::DeadLetters,
];

/// `GET /dashboard/operator/system`
pub(super) async fn show(State(dashboard): State<Arc<Dashboard>>, office: Office) -> Result<Markup, Failure> {
    let queues = queues(&dashboard).await;
    Ok(office.show(
        Section::System,
        "System",
        html! {
            h1 { "System" }
            section #system aria-label="System" data-live { (queues) }
        },
    ))
}

async fn queues(dashboard: &Dashboard) -> Markup {
    let mut rows = Vec::new();
    for queue in QUEUES {
        rows.push((queue.name(), dashboard.api.broker.queue_depth(queue.name()).await.ok()));
    }
    html! {
        section.panel aria-labelledby="queues" {
            h2 #queues { "Queues" }
            table.rows {
                caption { "Messages that wait to be taken. A message may be a bundle of several members." }
                thead { tr { th scope="col" { "Queue" } th.number scope="col" { "Messages" } th.number scope="col" { "Consumers" } } }
                tbody { @for (name, depth) in rows { tr {
                    th.long scope="row" data-label="Queue" { code { (name) } }
                    @match depth {
                        Some(depth) => { td.number data-label="Messages" { (count(u64::from(depth.messages))) } td.number data-label="Consumers" { (depth.consumers) } }
                        None => { td data-label="Messages" { span.faint { "unknown: the broker does not answer" } } td data-label="Consumers" { span.faint { "–" } } }
                    }
                } } }
            }
        }
    }
}
