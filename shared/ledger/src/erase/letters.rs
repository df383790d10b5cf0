//! Finds dead letters that name the tenant and hold the value.

use postrider_model::erasure::ErasureCondition;
use postrider_store::erasures::{ClaimedErasure, ErasureStep, Examined, Hits, LetterRow, StepEnd};
use postrider_store::{Store, StoreError};

use super::off_thread;

/// The beginning of the id of a tenant, and the number of hex digits after it.
const TENANT_PREFIX: &[u8] = b"ten_";
const TENANT_DIGITS: usize = 32;

pub(super) async fn search(
    store: &Store,
    claimed: &ClaimedErasure,
    condition: ErasureCondition,
) -> Result<ErasureStep, StoreError> {
    let read = store.erasure_letters(&claimed.erasure, claimed.position.clone()).await?;
    let (letters, tenant) = (read.letters, claimed.erasure.tenant.to_string());
    let examined = Examined { letters: letters.len() as u64, ..Examined::default() };
    let search = move || {
        let holding = letters.iter().filter(|letter| holds(letter, &condition));
        let (shared, own): (Vec<&LetterRow>, Vec<&LetterRow>) =
            holding.partition(|letter| names_another(&letter.body, &tenant));
        (own.iter().map(|letter| letter.id).collect(), shared.len() as u64)
    };
    let (own, shared) = off_thread(search).await?;
    Ok(ErasureStep {
        hits: Hits::Letters(own, shared),
        examined,
        reached_at: None,
        end: read.next.map_or(StepEnd::Finish, |next| StepEnd::Continue(Some(next))),
    })
}

fn holds(letter: &LetterRow, condition: &ErasureCondition) -> bool {
    let texts = [Some(&letter.headers), Some(&letter.routing_key), Some(&letter.reason), letter.message_id.as_ref()];
    condition.text().is_in(&letter.body)
        || texts.into_iter().flatten().any(|text| condition.text().is_in(text.as_bytes()))
        // JSON may escape any character.
        || std::str::from_utf8(&letter.body).is_ok_and(|body| condition.is_in_json(body))
}

/// Whether a body names a tenant other than this one. Such a letter may contain another tenant's events.
fn names_another(body: &[u8], tenant: &str) -> bool {
    let is_id = |rest: &[u8]| rest.get(..TENANT_DIGITS).is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit));
    let mut at = 0;
    while let Some(found) = body[at..].windows(TENANT_PREFIX.len()).position(|window| window == TENANT_PREFIX) {
        let start = at + found;
        at = start + TENANT_PREFIX.len();
        if is_id(&body[at..]) && !body[start..].starts_with(tenant.as_bytes()) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_another_tenant_only_by_a_whole_id() {
        let (own, other) = ("ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6", "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f7");
        for (body, expected) in [
            (format!(r#"{{"tenant":"{own}"}}"#), false),
            (format!("{own} ten_ ten_operator often_asked {own}"), false),
            (format!("{own} and {other}"), true),
            (other.to_owned(), true),
            (other[..30].to_owned(), false),
        ] {
            assert_eq!(names_another(body.as_bytes(), own), expected, "{body}");
        }
    }
}
