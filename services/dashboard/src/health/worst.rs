//! The webhooks of a tenant side by side, the lowest success rate first.

use maud::html;
use postrider_operations::stats::StatsQuery;

use crate::components::Column::{Number, Text, Unnamed};
use crate::components::{Range, head, webhook_link, webhook_name};
use crate::failure::Answer;
use crate::format::{count, percent};
use crate::language::{key, t};
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
        h2 #worst { (t!("{Webhooks} with failures, lowest success rate first")) }
        table.rows.tight {
            caption.unseen { (t!("{Webhooks} with failed attempts, the lowest success rate first")) }
            (head(&[
                Text(key!("{Webhook}")),
                Number(key!("Succeeded")),
                Number(key!("Attempts")),
                Number(key!("Failed")),
                Unnamed(key!("Figures")),
            ]))
            tbody { @for counts in &worst {
                @let attempts = counts.successes + counts.failures;
                tr {
                    th.long scope="row" data-label=(t!("{Webhook}")) { (webhook_link(page, counts.endpoint, &names)) }
                    td.number data-label=(t!("Succeeded")) { (percent(Some(counts.successes as f64 / attempts as f64))) }
                    td.number data-label=(t!("Attempts")) { (count(attempts)) }
                    td.number data-label=(t!("Failed")) { (count(counts.failures)) }
                    td data-label=(t!("Figures")) {
                        a href=(page.to(format!("/health?endpoint_id={}&range={}", counts.endpoint, range.name))) {
                            (t!("Figures")) span.unseen { " " (t!("of {name}", name = webhook_name(counts.endpoint, &names))) }
                        }
                    }
                }
            } }
        }
        p { a href=(page.to("/webhooks")) { (t!("All {webhooks}")) } }
    })
}
