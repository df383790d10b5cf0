//! The webhooks of a tenant side by side, the lowest success rate first.

use maud::html;
use postrider_operations::stats::StatsQuery;

use crate::components::Column::{Number, Text, Unnamed};
use crate::components::{Range, head, webhook_link, webhook_name};
use crate::failure::Answer;
use crate::format::{count, percent};
use crate::page::Page;

/// Maximum number of webhooks in the table.
const LISTED: u32 = 10;

/// The webhooks with the lowest success rates in a range. Empty if no attempt failed, or if the visitor chose one webhook.
pub(super) async fn worst_webhooks(page: &Page, endpoint: &str, range: &Range, query: &StatsQuery) -> Answer {
    if !endpoint.is_empty() {
        return Ok(html! {});
    }
    let worst = page.operations.worst_endpoints(page.caller, query, LISTED).await?;
    if worst.is_empty() {
        return Ok(html! {});
    }
    let names = page.endpoint_names(worst.iter().map(|counts| counts.endpoint)).await?;
    Ok(html! {
        h2 #worst { "Webhooks with failures, lowest success rate first" }
        table.rows.tight {
            caption.unseen { "Webhooks with failed attempts, the lowest success rate first" }
            (head(&[Text("Webhook"), Number("Succeeded"), Number("Attempts"), Number("Failed"), Unnamed("Figures")]))
            tbody { @for counts in &worst {
                @let attempts = counts.successes + counts.failures;
                tr {
                    th.long scope="row" data-label="Webhook" { (webhook_link(page, counts.endpoint, &names)) }
                    td.number data-label="Succeeded" { (percent(Some(counts.successes as f64 / attempts as f64))) }
                    td.number data-label="Attempts" { (count(attempts)) }
                    td.number data-label="Failed" { (count(counts.failures)) }
                    td data-label="Figures" {
                        a href=(page.to(format!("/health?endpoint_id={}&range={}", counts.endpoint, range.name))) {
                            "Figures" span.unseen { " of " (webhook_name(counts.endpoint, &names)) }
                        }
                    }
                }
            } }
        }
        p { a href=(page.to("/webhooks")) { "All webhooks" } }
    })
}
