//! Notices about the state of endpoints: when they are due, and that each is sent once.

use std::time::Duration;

use bytes::Bytes;
use postrider_model::delivery::DeliveryStatus::{Delivered, Pending};
use postrider_model::delivery::EndpointStatus;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::notice::{NoticeState, Notify};
use postrider_model::time::UnixMillis;
use postrider_store::config::EndpointDraft;
use postrider_store::notices::{DueNotice, Settled};
use postrider_store::outbox::{OutboxEntry, PendingNotice};

use crate::support::{Fixture, batch, event, new_endpoint, outcome};

/// A tenant with an endpoint that notifies another one.
struct Told {
    fixture: Fixture,
    tenant: TenantId,
    addressee: EndpointId,
    endpoint: EndpointId,
}

impl Told {
    async fn new(name: &str) -> Self {
        let fixture = Fixture::new(name).await;
        let tenant = fixture.tenant().await.id;
        let config = fixture.store.config();
        let addressee = config.create_endpoint(tenant, &new_endpoint("told")).await.unwrap().id;
        let mut new = new_endpoint("e");
        new.draft.document.notify = Some(Notify { endpoint: addressee, on: NoticeState::ALL.to_vec() });
        let endpoint = config.create_endpoint(tenant, &new).await.unwrap().id;
        Self { fixture, tenant, addressee, endpoint }
    }

    /// Records attempts with these numbers that fail, or one that succeeds.
    async fn record(&self, numbers: std::ops::Range<u16>, code: u16) {
        let event = event(self.tenant, UnixMillis::now());
        let status = if code == 200 { Delivered } else { Pending };
        let outcomes = numbers.map(|number| outcome(&event, self.endpoint, number, status, Some(code))).collect();
        self.fixture.store.record().write(&batch(vec![], vec![], outcomes)).await.unwrap();
    }

    /// Settles the notices that are due, and tells them all.
    async fn settle(&self) -> Vec<DueNotice> {
        let mut due = Vec::new();
        let tell = |notice: &DueNotice| {
            assert!(due.is_empty() || notice.waiting.is_some(), "what is told is counted before the second call");
            due = vec![notice.clone()];
            Some(Bytes::from_static(b"{}"))
        };
        assert_eq!(self.fixture.store.settle_notice(tell).await.unwrap(), Some(Settled::Sent));
        let more = self.fixture.store.settle_notice(|_| panic!("one notice was due")).await.unwrap();
        assert_eq!(more, None);
        due
    }

    async fn nothing_is_due(&self) -> bool {
        self.fixture.store.settle_notice(|due| panic!("{due:?}")).await.unwrap().is_none()
    }

    /// The notices in the outbox.
    async fn sent(&self) -> Vec<PendingNotice> {
        let entries = self.fixture.store.outbox_claim(100, Duration::ZERO).await.unwrap().into_iter();
        entries.filter_map(|entry| if let OutboxEntry::Notice(notice) = entry { Some(notice) } else { None }).collect()
    }
}

#[tokio::test]
async fn a_change_of_state_is_due_at_once_and_again_an_hour_later() {
    let told = Told::new("notices").await;
    told.record(1..5, 500).await;
    assert!(told.nothing_is_due().await);
    told.record(5..8, 500).await;
    let [due] = told.settle().await.try_into().unwrap();
    assert_eq!((due.endpoint, due.tenant, due.state), (told.endpoint, told.tenant, NoticeState::Failing));
    assert_eq!((due.failing, due.failures, due.last_notice, due.is_loop), (true, 7, None, false));
    assert_eq!((due.addressee, due.waiting), (Some(EndpointStatus::Active), Some(2)));
    assert_eq!(due.last_failure.map(|last| last.status_code), Some(Some(500)));
    let [sent] = told.sent().await.try_into().unwrap();
    assert_eq!(
        (sent.tenant, sent.addressee, sent.event_type.as_str()),
        (told.tenant, told.addressee, "endpoint.failing")
    );

    told.record(8..9, 200).await;
    let [due] = told.settle().await.try_into().unwrap();
    assert_eq!((due.state, due.failing, due.last_notice), (NoticeState::Recovered, false, Some(NoticeState::Failing)));
    assert!(due.recovered_at.is_some());
    told.record(9..14, 500).await;
    assert!(told.nothing_is_due().await, "an hour has not passed");
    let later = "UPDATE endpoint_notices SET due_at = due_at - interval '1 hour'";
    told.fixture.sql().await.execute(later, &[]).await.unwrap();
    assert_eq!(told.settle().await[0].state, NoticeState::Failing);
}

#[tokio::test]
async fn a_status_that_postrider_or_a_person_sets_is_due() {
    let told = Told::new("noticesstatus").await;
    let config = told.fixture.store.config();
    let switch = async |status| {
        let edit = move |draft: &mut EndpointDraft| {
            draft.status = status;
            Ok::<_, ()>(())
        };
        config.edit_endpoint(None, told.endpoint, None, edit).await.unwrap();
    };
    switch(EndpointStatus::Paused).await;
    let [due] = told.settle().await.try_into().unwrap();
    assert_eq!((due.state, due.status, due.reason), (NoticeState::Paused, EndpointStatus::Paused, None));
    assert!(due.stopped_at.is_some());
    switch(EndpointStatus::Active).await;
    assert!(told.nothing_is_due().await);
    config.stop_endpoint(told.endpoint, "it answered 410").await.unwrap();
    let [due] = told.settle().await.try_into().unwrap();
    assert_eq!((due.state, due.reason.as_deref()), (NoticeState::Disabled, Some("it answered 410")));
    config.delete_endpoint(None, told.endpoint, None).await.unwrap();
    assert_eq!(told.fixture.sql().await.execute("SELECT FROM endpoint_notices", &[]).await.unwrap(), 0);
}

#[tokio::test]
async fn the_chain_of_notified_endpoints_ends_at_a_deleted_or_foreign_one_and_a_loop_is_found() {
    let told = Told::new("noticeschain").await;
    let config = told.fixture.store.config();
    let chain = async |tenant, endpoint| config.notified_chain(tenant, endpoint).await.unwrap();
    assert_eq!(chain(told.tenant, told.endpoint).await, [told.endpoint, told.addressee]);
    assert_eq!(chain(TenantId::OPERATOR, told.endpoint).await, []);
    let back = Notify { endpoint: told.endpoint, on: vec![NoticeState::Failing] };
    let edit = |draft: &mut EndpointDraft| {
        draft.document.notify = Some(back.clone());
        Ok::<_, ()>(())
    };
    config.edit_endpoint(None, told.addressee, None, edit).await.unwrap();
    assert_eq!(chain(told.tenant, told.endpoint).await.len(), 11, "a loop ends at the limit");
    told.record(1..6, 500).await;
    assert!(told.settle().await[0].is_loop);
    config.delete_endpoint(None, told.addressee, None).await.unwrap();
    assert_eq!(chain(told.tenant, told.endpoint).await, [told.endpoint]);
    assert_eq!(chain(told.tenant, told.addressee).await, []);
}

#[tokio::test]
async fn a_notice_that_is_not_told_is_not_counted_and_not_due_again() {
    let told = Told::new("noticesdropped").await;
    told.record(1..6, 500).await;
    let refuse = |notice: &DueNotice| {
        assert_eq!(notice.waiting, None);
        None
    };
    assert_eq!(told.fixture.store.settle_notice(refuse).await.unwrap(), Some(Settled::Dropped));
    assert!(told.nothing_is_due().await && told.sent().await.is_empty());
}

#[tokio::test]
async fn only_states_that_are_told_are_due() {
    let told = Told::new("noticeson").await;
    let config = told.fixture.store.config();
    let edit = |draft: &mut EndpointDraft| {
        draft.document.notify = Some(Notify { endpoint: told.addressee, on: vec![NoticeState::Recovered] });
        Ok::<_, ()>(())
    };
    config.edit_endpoint(None, told.endpoint, None, edit).await.unwrap();
    let pause = |draft: &mut EndpointDraft| {
        draft.status = EndpointStatus::Paused;
        Ok::<_, ()>(())
    };
    told.record(1..6, 500).await;
    config.edit_endpoint(None, told.endpoint, None, pause).await.unwrap();
    assert!(told.nothing_is_due().await);
    told.record(6..7, 200).await;
    assert_eq!(told.settle().await[0].state, NoticeState::Recovered);
}

#[tokio::test]
async fn the_notices_of_a_deleted_endpoint_are_deleted() {
    let told = Told::new("noticesdeleted").await;
    told.fixture.store.config().delete_endpoint(None, told.endpoint, None).await.unwrap();
    // A recorder that saw the endpoint before its deletion makes the row due after it.
    let late = "INSERT INTO endpoint_notices (endpoint, state, due_at) VALUES ($1, 0, now())";
    told.fixture.sql().await.execute(late, &[&told.endpoint.0]).await.unwrap();
    let settled = told.fixture.store.settle_notice(|due| panic!("{due:?}")).await.unwrap();
    assert_eq!(settled, Some(Settled::Dropped));
    assert_eq!(told.fixture.number("SELECT count(*) FROM endpoint_notices").await, 0);
}
