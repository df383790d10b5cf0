//! Failures by cause: which status codes and errors attempts ended with, and the deliveries behind them.

use maud::{Markup, html};
use postrider_operations::failures::{Cause, Failures};

use crate::components::Column::{Number, Text, Unnamed};
use crate::components::{ago, head, time};
use crate::format::{count, percent};
use crate::language::{key, t, tm};
use crate::page::Page;
use crate::texts::{cause_advice, cause_name};

/// Maximum number of causes on the page of a webhook.
const TOP: usize = 3;

/// The causes of the failures in a range. `endpoint` is the id of the webhook that the visitor chose; empty for all webhooks.
pub(crate) fn cause_table(page: &Page, failures: &Failures, endpoint: &str) -> Markup {
    let all = endpoint.is_empty();
    let mut columns = vec![Text(key!("Cause")), Number(key!("Failed attempts")), Number(key!("Share"))];
    columns.extend(all.then_some(Number(key!("{Webhooks}"))));
    columns.extend([Text(key!("First")), Text(key!("Last")), Unnamed(key!("Deliveries"))]);
    html! {
        table.rows {
            caption.unseen { (t!("Failed attempts by cause, the most frequent first")) }
            (head(&columns))
            tbody { @for cause in &failures.causes {
                @let name = cause_name(cause.outcome, cause.status_code);
                tr {
                    th.long scope="row" data-label=(t!("Cause")) { div {
                        (name) " " span.cause-hint { (cause_advice(cause.outcome, cause.status_code)) }
                    } }
                    td.number data-label=(t!("Failed attempts")) { (count(cause.attempts)) }
                    td.number data-label=(t!("Share")) { (percent(Some(cause.share))) }
                    @if all { td.number data-label=(t!("{Webhooks}")) { (count(cause.endpoints)) } }
                    td data-label=(t!("First")) { (ago(cause.first_at)) }
                    td data-label=(t!("Last")) { (ago(cause.last_at)) }
                    td data-label=(t!("Deliveries")) { (deliveries_link(page, failures, cause, endpoint)) }
                }
            } }
        }
        @if failures.other > 0 { p { (t!(
            failures.other,
            "{count} more attempt failed with rarer causes.",
            "{count} more attempts failed with rarer causes."
        )) } }
        p.hint {
            (t!("Each retry that fails counts.")) " "
            (t!("“Deliveries” lists those created in this time whose last attempt ended so;")) " "
            (t!("a delivery that succeeded later, or failed later with another cause, is not in that list."))
        }
    }
}

/// The most frequent causes in a line each, for the page of a webhook. Empty without failures.
pub(crate) fn top_causes(page: &Page, failures: &Failures, endpoint: &str) -> Markup {
    html! { @if !failures.causes.is_empty() {
        h3 #causes { (t!("Why attempts failed")) }
        ul aria-labelledby="causes" { @for cause in failures.causes.iter().take(TOP) { li {
            (cause_name(cause.outcome, cause.status_code)) ": "
            (tm!(
                cause.attempts,
                "{count} failed attempt ({share}), last {time}.",
                "{count} failed attempts ({share}), last {time}.",
                share = percent(Some(cause.share)),
                time = time(cause.last_at)
            ))
            " " (deliveries_link(page, failures, cause, endpoint))
        } } }
    } }
}

/// A link to the deliveries whose last attempt failed with a cause. It has no number, because attempts are counted, and a list of
/// deliveries filters by the last attempt only. Empty for a status code by which lists do not filter.
fn deliveries_link(page: &Page, failures: &Failures, cause: &Cause, endpoint: &str) -> Markup {
    let code = match cause.status_code {
        Some(code) if !(100..600).contains(&code) => return html! {},
        Some(code) => format!("&status_code={code}"),
        None => String::new(),
    };
    let webhook = if endpoint.is_empty() { String::new() } else { format!("endpoint_id={endpoint}&") };
    let query = format!(
        "{webhook}outcome={}{code}&from={}&to={}&test=false",
        cause.outcome,
        failures.from.0.to_rfc3339_seconds(),
        failures.to.0.to_rfc3339_seconds()
    );
    html! { a href=(page.to(format!("/deliveries?{query}"))) {
        (t!("Deliveries")) span.unseen {
            " " (t!("whose last attempt ended so: {cause}", cause = cause_name(cause.outcome, cause.status_code)))
        }
    } }
}
