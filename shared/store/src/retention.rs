//! Deletes expired rows of tables that have no daily partitions.

use postrider_model::limits::IDEMPOTENT_ANSWER_KEPT;
use postrider_model::time::{Day, UnixMillis};
use tokio_postgres::Client;

use crate::error::StoreError;
use crate::people::KEPT as PERSON_KEPT;
use crate::sql::Ts;

/// Maximum age in days of the configuration version that fan-out uses for a decision.
const VERSION_SLACK_DAYS: i32 = 1;

/// Deletes expired entries of the audit log, expired responses, expired data of test calls, old erasures that have ended, people
/// without a session, and endpoint versions that no decision on record used.
pub(crate) async fn delete_expired(client: &Client, oldest_kept: Day) -> Result<(), StoreError> {
    client.execute("DELETE FROM audit_log WHERE at < $1", &[&Ts(oldest_kept.start())]).await?;
    client.execute("DELETE FROM test_data WHERE created_at < $1", &[&Ts(oldest_kept.start())]).await?;
    let ended = "DELETE FROM erasures WHERE created_at < $1 AND status NOT IN (0, 1)";
    client.execute(ended, &[&Ts(oldest_kept.start())]).await?;
    let idle = "DELETE FROM dashboard_people p WHERE signed_in_at <= $1
                  AND NOT EXISTS (SELECT 1 FROM dashboard_sessions s WHERE s.person = p.id AND s.expires_at > $2)";
    let now = UnixMillis::now();
    client.execute(idle, &[&Ts(now.minus(PERSON_KEPT)), &Ts(now)]).await?;
    let kept = i64::try_from(IDEMPOTENT_ANSWER_KEPT.as_millis()).unwrap_or(i64::MAX);
    let before = Ts(UnixMillis(UnixMillis::now().0.saturating_sub(kept)));
    client.execute("DELETE FROM idempotent_requests WHERE created_at < $1", &[&before]).await?;
    versions(client, Ts(oldest_kept.plus_days(-VERSION_SLACK_DAYS).start())).await
}

/// Deletes endpoint versions that no decision since `oldest` used: all versions of an endpoint that a newer version replaced
/// before `oldest`, and all versions of endpoints that were deleted before `oldest`. Also erases the documents in the
/// tombstones of these endpoints, because a document contains a URL.
async fn versions(client: &Client, oldest: Ts) -> Result<(), StoreError> {
    let superseded = "DELETE FROM endpoint_versions v WHERE v.created_at < $1 AND EXISTS (
                          SELECT 1 FROM endpoint_versions n
                          WHERE n.endpoint = v.endpoint AND n.version > v.version AND n.created_at < $1)";
    client.execute(superseded, &[&oldest]).await?;
    let deleted = "DELETE FROM endpoint_versions v USING endpoints e
                   WHERE e.id = v.endpoint AND e.deleted_at < $1 AND v.created_at < $1";
    client.execute(deleted, &[&oldest]).await?;
    let bare = r#"UPDATE endpoints SET document = '{"name": "deleted", "event_types": []}'
                  WHERE deleted_at < $1 AND document::text <> '{"name": "deleted", "event_types": []}'"#;
    client.execute(bare, &[&oldest]).await?;
    Ok(())
}
