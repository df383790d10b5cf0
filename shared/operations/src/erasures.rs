//! Erasures: they erase what a tenant's history holds of a value, such as a person's e-mail address. Operations only store the
//! request; the API's eraser carries it out.

use std::fmt;
use std::time::Duration;

use postrider_model::erasure::{ErasureCondition, ErasureStage, ErasureStatus, Extent, InvalidErasure};
use postrider_model::ids::{ErasureId, EventId, TenantId};
use postrider_model::scope::Scope;
use postrider_model::time::{InvalidTimestamp, UnixMillis};
use postrider_model::timestamp::Timestamp;
use postrider_store::erasures::{Erasure as StoredErasure, NewErasure};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::error::{Mistakes, parse_id};
use crate::page::{List, PageQuery};
use crate::{Caller, Error, Operations};

/// Maximum time from the start of a request until its erasure is stored.
const REQUEST_TOOK: Duration = Duration::from_secs(5);

/// What to erase. The value is compared exactly, upper and lower case included.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateErasure {
    /// Only events whose field holds the value: a field of `data`, `metadata` or `attributes`, as in a payload filter. An array
    /// stands for its elements. Without it, every text, number, member name and attribute is compared.
    #[schema(example = "data.recipient.email")]
    pub field: Option<String>,
    /// The value. It is encrypted while the erasure runs, and then removed.
    #[schema(min_length = 3, max_length = 1024, example = "jo@example.com")]
    pub value: String,
    /// Whether it is enough that a text contains the value; `false` if absent.
    pub anywhere: Option<bool>,
    /// Only events accepted at or after this time.
    #[schema(format = DateTime, example = "2026-01-01T00:00:00Z")]
    pub since: Option<String>,
    /// Only events accepted before this time. If it is absent or in the future, the current time is used.
    #[schema(format = DateTime, example = "2026-01-31T00:00:00Z")]
    pub until: Option<String>,
    /// Whether to count only, and erase nothing; `false` if absent.
    pub dry_run: Option<bool>,
}

impl fmt::Debug for CreateErasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateErasure").field("field", &self.field).finish_non_exhaustive()
    }
}

/// An erasure that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasureAccepted {
    /// The erasure.
    pub id: ErasureId,
}

/// An erasure, its progress and its result. It does not contain the value.
#[derive(Debug, Serialize, ToSchema)]
pub struct Erasure {
    /// Its id.
    pub id: ErasureId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its status.
    pub status: ErasureStatus,
    /// Whether it only counts.
    pub dry_run: bool,
    /// The field; absent: every field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "data.recipient.email")]
    pub field: Option<String>,
    /// Whether it is enough that a text contains the value.
    pub anywhere: bool,
    /// The start of the time in which the events were accepted, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The end (exclusive) of the time in which the events were accepted; at most the time of the request.
    pub until: Timestamp,
    /// A keyed hash of the value, with the id of the master key. While that key is the first, a tenant's equal values have equal hashes.
    #[schema(example = "k1:0f3a…")]
    pub value_hash: String,
    /// What it searches, or searched last.
    pub stage: ErasureStage,
    /// What it has examined.
    pub progress: ErasureProgress,
    /// What it found: in a dry run what it would erase, else what it has erased.
    pub found: ErasureFound,
    /// Ids of the first events that it found, at most 10.
    pub example_events: Vec<EventId>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// When it was requested.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

/// What an erasure has examined.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasureProgress {
    /// Events, oldest first.
    pub events: u64,
    /// Deliveries, with all of their attempts.
    pub deliveries: u64,
    /// Dead letters that name the tenant.
    pub dead_letters: u64,
    /// When the last examined event was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached_at: Option<Timestamp>,
}

/// What an erasure found.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasureFound {
    /// Events whose payload or attributes hold the value. The whole payload is erased, and the attributes that hold the value.
    pub events: u64,
    /// Pending deliveries of these events. They are discarded with the reason `expunged`.
    pub deliveries: u64,
    /// Test calls whose edited data holds the value.
    pub test_calls: u64,
    /// Attempts whose answer or request headers hold the value. Unless it is a dry run, also the answered attempts of the events.
    pub attempts: u64,
    /// Dead letters that hold the value.
    pub dead_letters: u64,
    /// Dead letters that hold the value and also name another tenant. They are left to the operator.
    pub dead_letters_shared: u64,
}

impl From<StoredErasure> for Erasure {
    fn from(erasure: StoredErasure) -> Self {
        let StoredErasure { examined, found, .. } = erasure;
        Self {
            id: erasure.id,
            tenant_id: erasure.tenant,
            status: erasure.status,
            dry_run: erasure.dry_run,
            field: erasure.field,
            anywhere: erasure.anywhere,
            since: erasure.since.map(Timestamp),
            until: erasure.until.into(),
            value_hash: erasure.value_hash,
            stage: erasure.stage,
            progress: ErasureProgress {
                events: examined.events,
                deliveries: examined.deliveries,
                dead_letters: examined.letters,
                reached_at: erasure.reached_at.map(Timestamp),
            },
            found: ErasureFound {
                events: found.events,
                deliveries: found.deliveries,
                test_calls: found.test_calls,
                attempts: found.attempts,
                dead_letters: found.letters,
                dead_letters_shared: found.letters_shared,
            },
            example_events: erasure.examples,
            failure: erasure.failure,
            created_at: erasure.created_at.into(),
            updated_at: erasure.updated_at.into(),
            finished_at: erasure.finished_at.map(Timestamp),
        }
    }
}

impl CreateErasure {
    /// Checks the request and converts it to an erasure of events that were accepted before `now`.
    fn checked(&self, now: UnixMillis) -> Result<NewErasure, Error> {
        let mut mistakes = Mistakes::default();
        let anywhere = self.anywhere.unwrap_or_default();
        let extent = if anywhere { Extent::Anywhere } else { Extent::Whole };
        if let Err(error) = ErasureCondition::new(self.field.as_deref(), &self.value, extent) {
            let pointer = if matches!(error, InvalidErasure::Field(_)) { "/field" } else { "/value" };
            mistakes.add(pointer, error.to_string());
        }
        let mut time = |text: Option<&str>, pointer: &str| -> Option<UnixMillis> {
            text?.parse().map_err(|error: InvalidTimestamp| mistakes.add(pointer, error.to_string())).ok()
        };
        let since = time(self.since.as_deref(), "/since");
        let until = time(self.until.as_deref(), "/until").map_or(now, |until| until.min(now));
        if let Some(since) = since.filter(|since| *since >= until) {
            mistakes.add("/since", format!("must lie before `until` and in the past, got {since}"));
        }
        mistakes.finish()?;
        let (field, value) = (self.field.clone(), Zeroizing::new(self.value.clone()));
        Ok(NewErasure { field, value, anywhere, since, until, dry_run: self.dry_run.unwrap_or_default() })
    }
}

/// Refuses a value with another keyed hash than the value that was counted.
fn check_counted(hash: &str, counted: &str) -> Result<(), Error> {
    let key = |hash: &str| hash.split_once(':').map(|(key, _)| key.to_owned());
    if key(hash) != key(counted) {
        return Err(Error::Conflict("the master key has changed since the dry run: count again".into()));
    }
    if hash != counted {
        return Err(Error::invalid("/value", "this is not the value that was counted"));
    }
    Ok(())
}

impl Operations {
    /// Stores an erasure. Requires the scope `manage`.
    ///
    /// # Errors
    /// [`Error::Conflict`] if too many erasures of the tenant have not ended.
    pub async fn start_erasure(&self, caller: Caller, request: &CreateErasure) -> Result<ErasureAccepted, Error> {
        let tenant = caller.tenant(Scope::Manage)?;
        let new = request.checked(UnixMillis::now())?;
        let id = self.edits_of(caller)?.create_erasure(tenant, &new).await?;
        Ok(ErasureAccepted { id })
    }

    /// Stores an erasure of what a finished dry run counted. `value` is the value once more, because the dry run no longer has it.
    /// If the dry run reached up to its own request, the erasure reaches up to now. Requires the scope `manage`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the dry run counted another value; [`Error::Conflict`] if it is not a finished dry run, if the master
    /// key has changed since, or if too many erasures of the tenant have not ended.
    pub async fn erase_counted(&self, caller: Caller, id: &str, value: &str) -> Result<ErasureAccepted, Error> {
        let tenant = caller.tenant(Scope::Manage)?;
        let id = parse_id("erasure", id)?;
        let counted = self.store.get_erasure(Some(tenant), id).await?.ok_or(Error::NotFound("erasure"))?;
        if !counted.dry_run || counted.status != ErasureStatus::Finished {
            return Err(Error::Conflict("only what a finished dry run counted can be erased".into()));
        }
        check_counted(&self.store.erasure_value_hash(tenant, value)?, &counted.value_hash)?;
        let reached_its_request = counted.until.plus(REQUEST_TOOK) >= counted.created_at;
        let until = if reached_its_request { UnixMillis::now() } else { counted.until };
        let (value, StoredErasure { field, anywhere, since, .. }) = (Zeroizing::new(value.to_owned()), counted);
        let new = NewErasure { field, value, anywhere, since, until, dry_run: false };
        Ok(ErasureAccepted { id: self.edits_of(caller)?.create_erasure(tenant, &new).await? })
    }

    /// Lists the erasures that the caller may see, newest first. Requires the scope `read`.
    pub async fn list_erasures(&self, caller: Caller, page: &PageQuery) -> Result<List<Erasure>, Error> {
        let visible = caller.visible(Scope::Read)?;
        let page = self.store.list_erasures(visible, &page.request("erasures")?).await?;
        Ok(List::of("erasures", page, Erasure::from))
    }

    /// Reads an erasure. Requires the scope `read`.
    pub async fn read_erasure(&self, caller: Caller, id: &str) -> Result<Erasure, Error> {
        let (visible, id) = (caller.visible(Scope::Read)?, parse_id("erasure", id)?);
        let erasure = self.store.get_erasure(visible, id).await?.ok_or(Error::NotFound("erasure"))?;
        Ok(erasure.into())
    }

    /// Cancels an erasure. What it has erased stays erased. Requires the scope `manage`.
    ///
    /// # Errors
    /// [`Error::Conflict`] for an erasure that has finished or failed.
    pub async fn cancel_erasure(&self, caller: Caller, id: &str) -> Result<ErasureAccepted, Error> {
        let (visible, id) = (caller.visible(Scope::Manage)?, parse_id("erasure", id)?);
        self.edits_of(caller)?.cancel_erasure(visible, id).await?;
        Ok(ErasureAccepted { id })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(body: Value) -> Result<NewErasure, Vec<String>> {
        let request: CreateErasure = serde_json::from_value(body).expect("a request");
        match request.checked("2026-01-31T00:00:00Z".parse().unwrap()) {
            Ok(new) => Ok(new),
            Err(Error::Invalid(errors)) => Err(errors.into_iter().map(|error| error.pointer).collect()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn each_mistake_is_reported_at_its_place() {
        for (body, pointers) in [
            (json!({"value": ""}), &["/value"][..]),
            (json!({"value": "ab"}), &["/value"]),
            (json!({"value": "abc", "field": "email"}), &["/field"]),
            (json!({"value": "abc", "since": "yesterday", "until": "now"}), &["/since", "/until"]),
            (json!({"value": "abc", "since": "2026-02-01T00:00:00Z"}), &["/since"]),
        ] {
            assert_eq!(checked(body.clone()).expect_err("a mistake"), pointers, "{body}");
        }
    }

    #[test]
    fn a_value_that_was_counted_with_another_master_key_must_be_counted_again() {
        assert!(check_counted("k1:ab", "k1:ab").is_ok());
        assert!(matches!(check_counted("k1:ab", "k1:cd"), Err(Error::Invalid(_))));
        let refused = check_counted("k2:ab", "k1:ab").expect_err("another key");
        assert_eq!(refused.to_string(), "the master key has changed since the dry run: count again");
    }

    #[test]
    fn an_erasure_never_concerns_future_events_and_its_debug_text_lacks_the_value() {
        let now: UnixMillis = "2026-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(checked(json!({"value": "abc"})).unwrap().until, now);
        assert_eq!(checked(json!({"value": "abc", "until": "2027-01-01T00:00:00Z"})).unwrap().until, now);
        let request: CreateErasure = serde_json::from_value(json!({"value": "jo@example.com"})).unwrap();
        assert!(!format!("{request:?}").contains("jo@"));
    }
}
