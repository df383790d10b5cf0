//! Sessions of people whom the identity provider signed in.

use std::time::Duration;

use postrider_model::ids::PersonId;
use postrider_model::limits::SESSIONS_PER_PERSON_MAX;
use postrider_store::audit_log::{Acting, Actor, AuditFilter, Via};
use postrider_store::history::PageRequest;
use postrider_store::people::Person;
use postrider_store::sessions::OpenedBy;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::Fixture;

const HOUR: Duration = Duration::from_secs(3_600);

fn person(subject: &str) -> Person {
    let issuer = "https://id.example.com";
    Person {
        id: PersonId::derive(issuer, subject),
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        email: Some("jane@example.com".to_owned()),
        name: "jane@example.com".to_owned(),
        claims: json!({"groups": ["operators", "nul \0"]}),
    }
}

async fn open(fixture: &Fixture, person: &Person) -> String {
    let acting = Acting { actor: Actor::Person(person.id), via: Some(Via::Dashboard), claim: None };
    let token = fixture.store.acting_as(acting).sessions().open_person_session(person, HOUR).await.unwrap();
    token.expose_secret().to_owned()
}

async fn opened_by(fixture: &Fixture, token: &str) -> Option<Person> {
    match fixture.store.sessions().session(token).await.unwrap() {
        Some(OpenedBy::Person(person)) => Some(*person),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_has_the_claims_of_the_persons_last_sign_in() {
    let fixture = Fixture::new("people_claims").await;
    let jane = person("1");
    let first = open(&fixture, &jane).await;
    assert_eq!(opened_by(&fixture, &first).await, Some(jane.clone()));
    let moved = Person { claims: json!({}), email: None, name: "1".to_owned(), ..jane };
    let second = open(&fixture, &moved).await;
    assert_eq!(opened_by(&fixture, &first).await, Some(moved.clone()), "also in the older session");
    fixture.store.sessions().close_session(&second).await.unwrap();
    assert_eq!(opened_by(&fixture, &second).await, None);

    let page = PageRequest { limit: 9, cursor: None };
    let log = fixture.store.history().list_audit_log(&AuditFilter::default(), &page).await.unwrap().items;
    let of = |at: usize| (log[at].action.as_str(), log[at].actor.as_str(), log[at].actor_name.as_deref());
    assert_eq!(of(0), ("session.opened", "operator", Some("1")));
    assert_eq!(of(1), ("session.opened", "operator", Some("jane@example.com")));
    assert_eq!(log[1].actor_id, Some(moved.id.to_string()));
}

#[tokio::test]
async fn the_oldest_sessions_end_at_the_limit_and_people_without_sessions_are_forgotten() {
    let fixture = Fixture::new("people_limit").await;
    let (jane, joe) = (person("1"), person("2"));
    let oldest = open(&fixture, &jane).await;
    let of_joe = open(&fixture, &joe).await;
    for _ in 0..SESSIONS_PER_PERSON_MAX {
        open(&fixture, &jane).await;
    }
    assert_eq!(opened_by(&fixture, &oldest).await, None);
    assert_eq!(opened_by(&fixture, &of_joe).await.map(|person| person.id), Some(joe.id), "of another person");
    let sessions = "SELECT count(*) FROM dashboard_sessions";
    assert_eq!(fixture.number(sessions).await, i64::from(SESSIONS_PER_PERSON_MAX) + 1);

    fixture.store.sessions().close_session(&of_joe).await.unwrap();
    let people = "SELECT count(*) FROM dashboard_people";
    open(&fixture, &jane).await;
    assert_eq!(fixture.number(people).await, 2, "for a day");
    let sql = fixture.sql().await;
    sql.execute("UPDATE dashboard_people SET signed_in_at = now() - interval '2 days'", &[]).await.unwrap();
    open(&fixture, &jane).await;
    assert_eq!(fixture.number(people).await, 1);
}
