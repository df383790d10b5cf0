//! The number of recipients that a tenant may still reach in this hour and on this day, in this process.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Counts recipients by tenant, in each hour and each day of the clock.
#[derive(Debug)]
pub(crate) struct Budget {
    hour: Mutex<Period>,
    day: Mutex<Period>,
}

/// Why a message cannot be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tenant's limit of {recipients_max} e-mail recipients per {period} is reached")]
pub(crate) struct UsedUp {
    recipients_max: u32,
    period: &'static str,
    /// The time until the next period.
    pub(crate) wait: Duration,
}

/// The counts of one hour or one day.
#[derive(Debug)]
struct Period {
    name: &'static str,
    length_ms: i64,
    recipients_max: u32,
    /// The number of the period since 1970.
    number: i64,
    by_tenant: HashMap<TenantId, u32>,
}

impl Period {
    fn new(name: &'static str, length_ms: i64, recipients_max: u32) -> Mutex<Self> {
        Mutex::new(Self { name, length_ms, recipients_max, number: 0, by_tenant: HashMap::new() })
    }

    /// The count of a tenant with further recipients.
    fn with(&mut self, tenant: TenantId, recipients: u32, now: UnixMillis) -> Result<u32, UsedUp> {
        let number = now.0.div_euclid(self.length_ms);
        if self.number != number {
            (self.number, self.by_tenant) = (number, HashMap::new());
        }
        let count = self.by_tenant.get(&tenant).copied().unwrap_or_default().saturating_add(recipients);
        if count <= self.recipients_max {
            return Ok(count);
        }
        let left = self.length_ms - now.0.rem_euclid(self.length_ms);
        let wait = Duration::from_millis(u64::try_from(left).unwrap_or_default());
        Err(UsedUp { recipients_max: self.recipients_max, period: self.name, wait })
    }
}

impl Budget {
    pub(crate) fn new(per_hour: u32, per_day: u32) -> Self {
        Self { hour: Period::new("hour", HOUR_MS, per_hour), day: Period::new("day", DAY_MS, per_day) }
    }

    /// Takes `recipients` from the tenant's budgets, or nothing.
    ///
    /// # Errors
    /// A budget is used up.
    pub(crate) fn take(&self, tenant: TenantId, recipients: usize, now: UnixMillis) -> Result<(), UsedUp> {
        let recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
        let (mut hour, mut day) = (self.hour.lock(), self.day.lock());
        let of_day = day.with(tenant, recipients, now)?;
        let of_hour = hour.with(tenant, recipients, now)?;
        day.by_tenant.insert(tenant, of_day);
        hour.by_tenant.insert(tenant, of_hour);
        Ok(())
    }

    /// Gives back `recipients` that were taken at `taken` and not reached. A period that has ended gets nothing.
    pub(crate) fn give_back(&self, tenant: TenantId, recipients: usize, taken: UnixMillis) {
        let recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
        for period in [&self.day, &self.hour] {
            let mut period = period.lock();
            if period.number == taken.0.div_euclid(period.length_ms)
                && let Some(count) = period.by_tenant.get_mut(&tenant)
            {
                *count = count.saturating_sub(recipients);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> UnixMillis {
        UnixMillis(500 * DAY_MS + minutes * 60_000)
    }

    #[test]
    fn each_tenant_has_its_own_number_of_recipients_per_hour() {
        let (budget, one, two) = (Budget::new(3, 100), TenantId::generate(), TenantId::generate());
        let wait = |tenant, recipients, minutes| budget.take(tenant, recipients, at(minutes)).map_err(|used| used.wait);
        assert_eq!(wait(one, 2, 0), Ok(()));
        assert_eq!(wait(one, 2, 15), Err(Duration::from_secs(45 * 60)));
        assert_eq!(wait(one, 1, 15), Ok(()));
        assert_eq!(wait(two, 3, 15), Ok(()));
        assert_eq!(wait(two, 1, 59), Err(Duration::from_secs(60)));
        assert_eq!(wait(two, 3, 60), Ok(()));
    }

    #[test]
    fn a_refused_message_uses_up_no_budget_and_the_day_has_its_own_limit() {
        let (budget, tenant) = (Budget::new(3, 4), TenantId::generate());
        assert_eq!(budget.take(tenant, 3, at(0)), Ok(()));
        let refused = budget.take(tenant, 3, at(60)).unwrap_err();
        assert_eq!(refused.wait, Duration::from_secs(23 * 3_600));
        assert_eq!(refused.to_string(), "the tenant's limit of 4 e-mail recipients per day is reached");
        assert_eq!(budget.take(tenant, 1, at(60)), Ok(()));
        assert_eq!(budget.take(tenant, 3, at(24 * 60)), Ok(()));
    }

    #[test]
    fn recipients_are_given_back_to_the_periods_that_they_were_taken_from() {
        let (budget, tenant) = (Budget::new(3, 6), TenantId::generate());
        assert_eq!(budget.take(tenant, 3, at(59)), Ok(()));
        budget.give_back(tenant, 3, at(59));
        assert_eq!(budget.take(tenant, 3, at(59)), Ok(()));
        assert_eq!(budget.take(tenant, 3, at(60)), Ok(()));
        // Of the hour before: only the day gets it.
        budget.give_back(tenant, 3, at(59));
        assert!(budget.take(tenant, 1, at(61)).unwrap_err().to_string().ends_with("per hour is reached"));
        assert_eq!(budget.take(tenant, 3, at(120)), Ok(()));
    }
}
