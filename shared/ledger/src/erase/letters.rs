//! Finds dead letters that name the tenant and hold the value.

use postrider_model::erasure::ErasureCondition;
use postrider_store::erasures::{ClaimedErasure, ErasureStep, Examined, Hits, LetterRow, StepEnd};
use postrider_store::{Store, StoreError};

use super::off_thread;

/// The beginning of the id of a tenant, and the number of hex digits after it.
const TENANT_PREFIX: &[u8] = b"ten_";
const TENANT_DIGITS: usize = 32;
/// What follows the beginning in the id of the operator's own tenant.
const OPERATOR: &[u8] = b"operator";

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
        let (shared, own): (Vec<&LetterRow>, Vec<&LetterRow>) = holding.partition(|letter| is_shared(letter, &tenant));
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
    let LetterRow { headers, routing_key, reason, message_id, .. } = letter;
    // A value after the tenant's id does not continue a longer name.
    let after_tenant = routing_key.split_once('.').map(|(_, rest)| rest);
    let texts = [Some(headers.as_str()), Some(routing_key), after_tenant, Some(reason), message_id.as_deref()];
    condition.text().is_in(&letter.body)
        || texts.into_iter().flatten().any(|text| condition.text().is_in(text.as_bytes()))
        // JSON may escape any character.
        || std::str::from_utf8(&letter.body).is_ok_and(|body| condition.is_in_json(body))
}

/// Whether a letter may contain events of another tenant or of the operator: it names one, or it was cut, so that the rest may name
/// one. A letter with the tenant's id at the beginning of its routing key was published by the tenant, because the broker verifies
/// the routing keys of producers.
fn is_shared(letter: &LetterRow, tenant: &str) -> bool {
    let LetterRow { headers, routing_key, reason, .. } = letter;
    let published_it = routing_key.strip_prefix(tenant).is_some_and(|rest| rest.starts_with('.'));
    let parts = [&letter.body[..], headers.as_bytes(), routing_key.as_bytes(), reason.as_bytes()];
    (letter.is_cut && !published_it) || parts.into_iter().any(|part| names_another(part, tenant))
}

/// Whether a text names a tenant other than this one.
fn names_another(text: &[u8], tenant: &str) -> bool {
    let is_id = |rest: &[u8]| {
        let is_customer = rest.get(..TENANT_DIGITS).is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit));
        is_customer || rest.starts_with(OPERATOR)
    };
    let mut at = 0;
    while let Some(found) = text[at..].windows(TENANT_PREFIX.len()).position(|window| window == TENANT_PREFIX) {
        let start = at + found;
        at = start + TENANT_PREFIX.len();
        if is_id(&text[at..]) && !text[start..].starts_with(tenant.as_bytes()) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_another_tenant_by_a_whole_id_or_the_operator() {
        let (own, other) = ("ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6", "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f7");
        for (body, expected) in [
            (format!(r#"{{"tenant":"{own}"}}"#), false),
            (format!("{own} ten_ ten_op often_asked {own}"), false),
            (format!("{own} ten_operator"), true),
            (format!("{own} and {other}"), true),
            (other.to_owned(), true),
            (other[..30].to_owned(), false),
        ] {
            assert_eq!(names_another(body.as_bytes(), own), expected, "{body}");
        }
    }

    #[test]
    fn a_letter_is_shared_if_any_part_names_another_tenant_or_it_was_cut() {
        let (own, other) = ("ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6", "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f7");
        let letter = LetterRow {
            id: 1,
            body: own.into(),
            headers: "[]".into(),
            routing_key: String::new(),
            reason: "no".into(),
            message_id: None,
            is_cut: false,
        };
        let published = LetterRow { routing_key: format!("{own}.a.b"), ..letter.clone() };
        for (letter, expected) in [
            (letter.clone(), false),
            (published.clone(), false),
            (LetterRow { routing_key: format!("{other}.a.b"), ..letter.clone() }, true),
            (LetterRow { routing_key: "ten_operator.a.b".into(), ..letter.clone() }, true),
            (LetterRow { headers: format!(r#"[["x-tenant","{other}"]]"#), ..letter.clone() }, true),
            (LetterRow { reason: format!("unknown tenant {other}"), ..letter.clone() }, true),
            (LetterRow { is_cut: true, ..letter.clone() }, true),
            (LetterRow { is_cut: true, routing_key: format!("{own}x.a"), ..letter }, true),
            (LetterRow { is_cut: true, ..published.clone() }, false),
            (LetterRow { headers: other.into(), ..published }, true),
        ] {
            assert_eq!(is_shared(&letter, own), expected, "{letter:?}");
        }
    }
}
