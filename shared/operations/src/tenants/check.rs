//! Checks the fields of a tenant.

use postrider_model::limits::ATTEMPT_TIMEOUT_MAX;
use postrider_model::name::check_name;
use postrider_profiles::Profiles;
use postrider_store::config::TenantDraft;

use crate::error::{Error, Mistakes};

/// Maximum value of a limit on a rate.
const RATE_MAX: f64 = 1_000_000.0;
/// Maximum value of the limit on endpoints.
const ENDPOINTS_MAX: u32 = 1_000_000;
/// Maximum value of the limit on waiting deliveries.
const WAITING_DELIVERIES_LIMIT_MAX: u32 = 100_000_000;
/// Maximum value of the limit on bytes for paused endpoints: 1 TiB.
const PAUSED_BYTES_MAX: u64 = 1 << 40;
/// Maximum value of the limit on days for paused endpoints.
const PAUSED_DAYS_MAX: u32 = 365;
/// Maximum value of `disable_after_days`.
const DISABLE_DAYS_MAX: u32 = 365;

/// Checks a tenant before it is stored.
pub(super) fn check(draft: &TenantDraft, profiles: &Profiles) -> Result<(), Error> {
    let mut mistakes = Mistakes::default();
    mistakes.check("/name", check_name(&draft.name));
    if profiles.get(&draft.profile).is_none() {
        let names: Vec<&str> = profiles.names().collect();
        mistakes.add("/profile", format!("no such profile; there are: {}", names.join(", ")));
    }
    if let Some(external_id) = &draft.external_id {
        mistakes.check("/external_id", check_external_id(external_id));
    }
    let limits = &draft.limits;
    if limits.endpoints.is_some_and(|endpoints| endpoints > ENDPOINTS_MAX) {
        mistakes.add("/limits/endpoints", format!("0 to {ENDPOINTS_MAX}"));
    }
    if limits.waiting_deliveries.is_some_and(|waiting| !(1..=WAITING_DELIVERIES_LIMIT_MAX).contains(&waiting)) {
        mistakes.add("/limits/waiting_deliveries", format!("1 to {WAITING_DELIVERIES_LIMIT_MAX}"));
    }
    if limits.paused_bytes.is_some_and(|bytes| bytes > PAUSED_BYTES_MAX) {
        mistakes.add("/limits/paused_bytes", format!("0 to {PAUSED_BYTES_MAX}"));
    }
    if limits.paused_days.is_some_and(|days| !(1..=PAUSED_DAYS_MAX).contains(&days)) {
        mistakes.add("/limits/paused_days", format!("1 to {PAUSED_DAYS_MAX}"));
    }
    let rates = [
        ("/limits/events_per_second", limits.events_per_second),
        ("/limits/rate_per_second_max", limits.rate_per_second_max),
    ];
    for (pointer, rate) in rates {
        if rate.is_some_and(|rate| !(rate > 0.0 && rate <= RATE_MAX)) {
            mistakes.add(pointer, format!("more than 0, at most {RATE_MAX}"));
        }
    }
    let longest = ATTEMPT_TIMEOUT_MAX.as_secs();
    if limits.timeout_seconds_max.is_some_and(|seconds| !(1..=longest).contains(&seconds.into())) {
        mistakes.add("/limits/timeout_seconds_max", format!("1 to {longest} s"));
    }
    if draft.disable_after_days.is_some_and(|days| days > DISABLE_DAYS_MAX) {
        mistakes.add("/disable_after_days", format!("0 (never) to {DISABLE_DAYS_MAX}"));
    }
    for mistake in draft.brand.mistakes(&profiles.languages().tags()) {
        mistakes.add(format!("/brand/{}", mistake.field.replace('.', "/")), mistake.detail);
    }
    mistakes.finish()
}

/// Checks an external id. It is accepted wherever a tenant's id is, so it must not look like a tenant's id. It must not be
/// `postrider` either: routing keys that begin with `postrider.` are names of queues, not of a tenant.
fn check_external_id(external_id: &str) -> Result<(), String> {
    check_name(external_id)?;
    if external_id.starts_with("ten_") || external_id == "postrider" {
        return Err("must not begin with `ten_`, which ids do, and must not be `postrider`".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_id_cannot_be_mistaken_for_an_id_or_a_queue() {
        for good in ["acme", "4711", "org/7", "a.b", "tenant_1"] {
            assert_eq!(check_external_id(good), Ok(()), "{good}");
        }
        for bad in ["ten_operator", "ten_1", "postrider", ""] {
            assert!(check_external_id(bad).is_err(), "{bad}");
        }
    }
}
