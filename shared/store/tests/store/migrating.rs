//! Upgrades and rollbacks between releases.

use crate::support::Fixture;

#[tokio::test]
async fn a_schema_of_a_later_release_is_left_as_it_is() {
    let fixture = Fixture::new("later").await;
    let applied = "SELECT count(*) FROM refinery_schema_history";
    let ours = fixture.number(applied).await;
    fixture.store.migrate().await.unwrap();
    assert_eq!(fixture.number(applied).await, ours, "repeating changes nothing");
    let later = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
                 VALUES (9000, 'later', '2030-01-01T00:00:00Z', '1')";
    fixture.sql().await.batch_execute(later).await.unwrap();
    fixture.store.migrate().await.expect("an older build starts on it");
    assert_eq!(fixture.number(applied).await, ours + 1);
}
