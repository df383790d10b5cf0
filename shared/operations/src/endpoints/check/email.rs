//! An endpoint of the channel e-mail.

use postrider_mail::{RecipientRefused, Recipients};
use postrider_model::limits::EMAIL_RECIPIENTS_MAX;
use postrider_store::config::EndpointDraft;

use super::{no_chat, only_web};
use crate::error::Mistakes;

/// Requires addresses that the operator allows, and refuses the fields of other channels.
pub(super) fn check(draft: &EndpointDraft, allowed: &Recipients, mistakes: &mut Mistakes) {
    only_web(draft, mistakes);
    no_chat(draft, mistakes);
    if !allowed.is_on() {
        return mistakes.add("/channel", RecipientRefused::Off.to_string());
    }
    let recipients = &draft.document.recipients;
    if recipients.is_empty() || recipients.len() > EMAIL_RECIPIENTS_MAX {
        return mistakes.add("/email/recipients", format!("1 to {EMAIL_RECIPIENTS_MAX} addresses"));
    }
    for (index, recipient) in recipients.iter().enumerate() {
        let pointer = || format!("/email/recipients/{index}");
        if let Err(refused) = allowed.check(recipient) {
            mistakes.add(pointer(), refused.to_string());
        } else if recipients[..index].iter().any(|before| before.eq_ignore_ascii_case(recipient)) {
            mistakes.add(pointer(), "given twice (case does not count)");
        }
    }
}
