//! Idempotency keys of the API: a change with a key is made once, regardless of when its request fails.

use postrider_store::StoreError;
use postrider_store::audit_log::Acting;
use postrider_store::config::TenantDraft;
use postrider_store::idempotency::{Claimed, IdempotentRequest};

use crate::support::Fixture;

const REQUEST: IdempotentRequest<'static> = IdempotentRequest { caller: "key:key_1", key: "my key", request: &[1; 32] };

#[tokio::test]
async fn a_key_is_claimed_answered_and_forgotten() {
    let fixture = Fixture::new("idemkeys").await;
    let store = &fixture.store;
    let claim = async |request| store.idempotency().claim_idempotency_key(request).await.unwrap();
    let Claimed::Now(first) = claim(&REQUEST).await else { panic!("an earlier claim exists") };
    assert!(matches!(claim(&REQUEST).await, Claimed::Running));
    let other = IdempotentRequest { request: &[2; 32], ..REQUEST };
    assert!(matches!(claim(&other).await, Claimed::OtherRequest));
    let elsewhere = IdempotentRequest { caller: "key:key_2", ..other };
    assert!(matches!(claim(&elsewhere).await, Claimed::Now(_)), "keys of different callers have nothing to do");

    store.idempotency().answer_idempotent_request(&REQUEST, first, b"whsec_once").await.unwrap();
    let Claimed::Answered(answer) = claim(&REQUEST).await else { panic!("it was answered") };
    assert_eq!(answer.as_slice(), b"whsec_once");
    assert!(matches!(claim(&other).await, Claimed::OtherRequest));
    let plain = "SELECT count(*) FROM idempotent_requests WHERE position('whsec'::bytea IN answer) > 0";
    assert_eq!(fixture.number(plain).await, 0, "an answer is sealed");

    let sql = fixture.sql().await;
    sql.execute("UPDATE idempotent_requests SET created_at = created_at - interval '25 hours'", &[]).await.unwrap();
    assert!(matches!(claim(&other).await, Claimed::Now(_)), "after a day it is another key");
}

#[tokio::test]
async fn a_request_that_died_acts_again_only_if_it_changed_nothing() {
    let fixture = Fixture::new("idemdied").await;
    let store = &fixture.store;
    let sql = fixture.sql().await;
    let later = || sql.execute("UPDATE idempotent_requests SET claimed_at = claimed_at - interval '3 minutes'", &[]);
    let acting = |claim| store.acting_as(Acting { claim: Some(claim), ..Acting::default() });
    let draft = TenantDraft::new("Acme", "standard");

    let Claimed::Now(first) = store.idempotency().claim_idempotency_key(&REQUEST).await.unwrap() else {
        panic!("the first")
    };
    store.idempotency().release_idempotency_key(first).await.unwrap();
    let Claimed::Now(second) = store.idempotency().claim_idempotency_key(&REQUEST).await.unwrap() else {
        panic!("it was refused")
    };
    later().await.unwrap();
    let Claimed::Now(third) = store.idempotency().claim_idempotency_key(&REQUEST).await.unwrap() else {
        panic!("it died")
    };
    // Another request took over the claim of the slow first request, so the first request must not change anything.
    let refused = acting(second).config().create_tenant(&draft).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    acting(third).config().create_tenant(&draft).await.unwrap();
    store.idempotency().release_idempotency_key(third).await.unwrap();
    assert!(matches!(store.idempotency().claim_idempotency_key(&REQUEST).await.unwrap(), Claimed::Running));
    later().await.unwrap();
    assert!(matches!(store.idempotency().claim_idempotency_key(&REQUEST).await.unwrap(), Claimed::AnswerLost));
    let made = fixture.number("SELECT count(*) FROM tenants WHERE name = 'Acme'").await;
    assert_eq!(made, 1);
}
