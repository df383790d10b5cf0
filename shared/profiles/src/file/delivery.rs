//! Reads the sections `delivery`, `statuses` and `filters`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use postrider_model::attempt::StatusClasses;
use postrider_model::event::is_attribute_name;
use postrider_model::limits::{ATTEMPT_TIMEOUT_MAX, RETRY_DELAY_MAX};
use postrider_model::retry_schedule::RetrySchedule;
use postrider_model::subscription::MatchKind;
use toml::Spanned;

use super::TomlDocument;
use super::schema::{Delivery, Statuses};
use crate::error::ProfileError;

/// Delays between attempts, in seconds, for profiles without a schedule of their own: seven retries.
const PLATFORM_SCHEDULE_SECONDS: [u32; 7] = [10, 60, 300, 1_800, 7_200, 18_000, 36_000];
/// Default jitter for profiles without a schedule. With a schedule, the default is 0, because the product promises exact times.
const PLATFORM_JITTER: f64 = 0.1;
/// The attributes by which events of every profile can be filtered, and how each is matched.
const COMMON_ATTRIBUTES: [(&str, MatchKind); 4] = [
    ("sending_domain", MatchKind::Domain),
    ("sending_node", MatchKind::Exact),
    ("bridge", MatchKind::Exact),
    ("dedicated_ip", MatchKind::Ip),
];

/// The values of the section `delivery`, after the checks.
pub(super) struct Checked {
    pub(super) schedule: RetrySchedule,
    pub(super) jitter_max: f64,
    pub(super) retry_after_max: Duration,
    pub(super) timeout: Duration,
    pub(super) rate: Option<f64>,
}

pub(super) fn delivery(doc: &TomlDocument<'_>, delivery: &Delivery) -> Result<Checked, ProfileError> {
    let (schedule, jitter_default) = match &delivery.retry_schedule_seconds {
        Some(seconds) => (
            RetrySchedule::from_seconds(seconds.get_ref().clone())
                .map_err(|error| doc.error(seconds, "delivery.retry_schedule_seconds", error))?,
            0.0,
        ),
        None => (RetrySchedule::from_seconds(PLATFORM_SCHEDULE_SECONDS.to_vec()).unwrap_or_default(), PLATFORM_JITTER),
    };
    if let Some(jitter) = delivery.jitter_max.as_ref().filter(|jitter| !(0.0..=1.0).contains(jitter.get_ref())) {
        return Err(doc.error(jitter, "delivery.jitter_max", "is a share: 0 to 1"));
    }
    let seconds = |at: Option<&Spanned<u64>>, default: u64, field: &str, most: Duration| match at {
        Some(at) if !(1..=most.as_secs()).contains(at.get_ref()) => {
            Err(doc.error(at, field, format!("1 to {} seconds", most.as_secs())))
        }
        Some(at) => Ok(Duration::from_secs(*at.get_ref())),
        None => Ok(Duration::from_secs(default)),
    };
    if let Some(rate) = delivery.rate_per_second.as_ref().filter(|rate| !(0.01..=100_000.0).contains(rate.get_ref())) {
        return Err(doc.error(rate, "delivery.rate_per_second", "0.01 to 100000"));
    }
    if let Some(days) = delivery.disable_after_days.as_ref().filter(|days| !(1..=365).contains(days.get_ref())) {
        return Err(doc.error(days, "delivery.disable_after_days", "1 to 365"));
    }
    if delivery.channels.get_ref().is_empty() {
        return Err(doc.error(
            &delivery.channels,
            "delivery.channels",
            "at least one of web, pushover, slack, discord, teams, telegram, email",
        ));
    }
    let longest = RETRY_DELAY_MAX;
    Ok(Checked {
        schedule,
        jitter_max: delivery.jitter_max.as_ref().map_or(jitter_default, |jitter| *jitter.get_ref()),
        retry_after_max: seconds(
            delivery.retry_after_max_seconds.as_ref(),
            longest.as_secs(),
            "delivery.retry_after_max_seconds",
            longest,
        )?,
        timeout: seconds(Some(&delivery.timeout_seconds), 0, "delivery.timeout_seconds", ATTEMPT_TIMEOUT_MAX)?,
        rate: delivery.rate_per_second.as_ref().map(|rate| *rate.get_ref()),
    })
}

pub(super) fn statuses(doc: &TomlDocument<'_>, statuses: &Statuses) -> Result<StatusClasses, ProfileError> {
    let ranges = |at: &Option<Spanned<Vec<String>>>, field: &str, default: &[RangeInclusive<u16>]| match at {
        None => Ok(default.to_vec()),
        Some(at) => {
            let read = |text: &String| status_range(text).ok_or(());
            at.get_ref().iter().map(read).collect::<Result<Vec<_>, _>>().map_err(|()| {
                doc.error(at, &format!("statuses.{field}"), "codes such as \"410\", \"4xx\" or \"500-599\", 100 to 599")
            })
        }
    };
    Ok(StatusClasses {
        success: ranges(&statuses.success, "success", &[200..=299])?,
        not_retried: ranges(&statuses.not_retried, "not_retried", &[])?,
        retried_anyway: ranges(&statuses.retried_anyway, "retried_anyway", &[])?,
        disables: ranges(&statuses.disable, "disable", &[])?,
    })
}

/// Parses `410`, `4xx` or `500-599` (both ends included).
fn status_range(text: &str) -> Option<RangeInclusive<u16>> {
    let code = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
    if let Some(class) = text.strip_suffix("xx") {
        let class = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class))?;
        return Some(class * 100..=class * 100 + 99);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (code(first)?, code(last)?);
    (first <= last).then_some(first..=last)
}

pub(super) fn filters(
    doc: &TomlDocument<'_>,
    own: BTreeMap<Spanned<String>, MatchKind>,
) -> Result<BTreeMap<String, MatchKind>, ProfileError> {
    let mut filters: BTreeMap<_, _> =
        COMMON_ATTRIBUTES.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    for (name, kind) in own {
        let field = format!("filters.{}", name.get_ref());
        if !is_attribute_name(name.get_ref()) {
            return Err(doc.error(
                &name,
                &field,
                "an attribute's name: 1 to 64 of a-z 0-9 _ -, beginning with a letter",
            ));
        }
        if filters.get(name.get_ref()).is_some_and(|common| *common != kind) {
            return Err(doc.error(&name, &field, "every profile has this filter, and it matches otherwise"));
        }
        filters.insert(name.into_inner(), kind);
    }
    Ok(filters)
}
