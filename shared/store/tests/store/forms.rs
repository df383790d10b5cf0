//! Forms of the dashboard: claimed once, with sealed results, and deleted when they expire.

use std::time::Duration;

use postrider_model::limits::FORM_RESULTS_MAX;
use postrider_model::time::UnixMillis;
use postrider_store::config::KeyHash;
use postrider_store::forms::{Claim, FormHash};
use secrecy::ExposeSecret;

use crate::support::Fixture;

const KEEP: Duration = Duration::from_secs(900);

async fn session(fixture: &Fixture) -> String {
    let opened =
        fixture.store.sessions().open_session(KeyHash::of("key"), None, Duration::from_secs(3_600)).await.unwrap();
    opened.expose_secret().to_owned()
}

fn form(number: u8) -> FormHash {
    FormHash([number; 32])
}

#[tokio::test]
async fn of_many_identical_forms_one_is_claimed_and_all_see_its_result() {
    let fixture = Fixture::new("forms").await;
    let (store, mine) = (&fixture.store, session(&fixture).await);
    let claims = futures::future::join_all((0..8).map(|_| store.sessions().claim_form(&mine, form(1), KEEP))).await;
    let new = claims.iter().filter(|claim| matches!(claim, Ok(Claim::New))).count();
    let running = claims.iter().filter(|claim| matches!(claim, Ok(Claim::Running))).count();
    assert_eq!((new, running), (1, 7));
    assert_eq!(store.sessions().form_result(&mine, form(1)).await.unwrap(), None);
    store.sessions().finish_form(&mine, form(1), b"whsec_plain").await.unwrap();
    let again = store.sessions().claim_form(&mine, form(1), KEEP).await.unwrap();
    assert!(matches!(again, Claim::Finished(result) if result.as_slice() == b"whsec_plain"));
    let readable =
        fixture.number("SELECT count(*) FROM dashboard_forms WHERE position('whsec_plain'::bytea in result) > 0");
    assert_eq!(readable.await, 0, "sealed");

    let other = session(&fixture).await;
    assert_eq!(store.sessions().form_result(&other, form(1)).await.unwrap(), None);
    assert_eq!(store.sessions().claim_form(&other, form(1), KEEP).await.unwrap(), Claim::New, "another visitor's form");
    store.sessions().release_form(&other, form(1)).await.unwrap();
    assert_eq!(store.sessions().claim_form(&other, form(1), KEEP).await.unwrap(), Claim::New, "released");
    assert_eq!(store.sessions().claim_form("unknown", form(1), KEEP).await.unwrap(), Claim::NoSession);
}

#[tokio::test]
async fn results_end_with_their_time_their_session_and_the_newest_that_follow() {
    let fixture = Fixture::new("forms_end").await;
    let (store, mine) = (&fixture.store, session(&fixture).await);
    for number in 0..=u8::try_from(FORM_RESULTS_MAX).unwrap() {
        store.sessions().claim_form(&mine, form(number), KEEP).await.unwrap();
        store.sessions().finish_form(&mine, form(number), b"result").await.unwrap();
    }
    let rows = "SELECT count(*) FROM dashboard_forms";
    assert_eq!(fixture.number(rows).await, i64::from(FORM_RESULTS_MAX));
    let later = UnixMillis::now().plus(KEEP + Duration::from_secs(60));
    assert_eq!(store.sessions().delete_expired_forms(later).await.unwrap(), u64::from(FORM_RESULTS_MAX));
    assert_eq!(store.sessions().claim_form(&mine, form(1), Duration::ZERO).await.unwrap(), Claim::New);
    store.sessions().finish_form(&mine, form(1), b"result").await.unwrap();
    assert_eq!(store.sessions().form_result(&mine, form(1)).await.unwrap(), None, "expired");
    store.sessions().claim_form(&mine, form(2), KEEP).await.unwrap();
    store.sessions().close_session(&mine).await.unwrap();
    assert_eq!(fixture.number(rows).await, 0);
}
