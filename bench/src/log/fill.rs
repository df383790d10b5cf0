//! Filling the log: thirty days of rows, written straight into the tables.

use anyhow::Context as _;
use tokio_postgres::{Client, NoTls};

use super::{DAYS, ENDPOINTS};
use crate::engine::Tenant;

/// Dead letters of a day.
const LETTERS: i64 = 100;

/// Thirty days of events for two endpoints each; returns the database's size in bytes.
pub(super) async fn fill(database_url: &str, tenant: &Tenant, attempts: i64) -> anyhow::Result<i64> {
    let (client, connection) = tokio_postgres::connect(database_url, NoTls).await.context("connect to PostgreSQL")?;
    let driving = tokio::task::spawn_local(connection);
    let owner = "SELECT tenant::text FROM endpoints ORDER BY created_at DESC LIMIT 1";
    let owner: String = client.query_one(owner, &[]).await?.get(0);
    let events = attempts / DAYS / 2;
    for ago in (0..DAYS).rev() {
        let day: String = client
            .query_one("SELECT ((now() AT TIME ZONE 'utc')::date - $1::int)::text", &[&(ago as i32)])
            .await?
            .get(0);
        partitions(&client, &day).await?;
        client
            .batch_execute(&rows(&owner, &day, events))
            .await
            .with_context(|| format!("fill {day} of {}", tenant.id))?;
    }
    client.batch_execute("VACUUM ANALYZE").await?;
    let bytes = client.query_one("SELECT pg_database_size(current_database())", &[]).await?.get(0);
    drop(client);
    driving.await?.context("the connection to PostgreSQL")?;
    Ok(bytes)
}

/// The day's partitions, as the recorder makes them.
async fn partitions(client: &Client, day: &str) -> anyhow::Result<()> {
    for (table, fill) in [("events", 100), ("decisions", 100), ("deliveries", 50), ("attempts", 100)] {
        let partition = format!("{table}_{}", day.replace('-', ""));
        let there: bool = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&partition]).await?.get(0);
        if there {
            continue;
        }
        let make = format!(
            "CREATE TABLE {partition} (LIKE {table} INCLUDING ALL) WITH (fillfactor = {fill});
             ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ('{day}') TO (date '{day}' + 1)"
        );
        client.batch_execute(&make).await.with_context(|| format!("make {partition}"))?;
    }
    Ok(())
}

/// What a day leaves in every table: 3% of the deliveries failed, one in 100,000 with a rare code.
fn rows(tenant: &str, day: &str, events: i64) -> String {
    let at = format!("(timestamptz '{day} 00:00:00+00' + n * interval '1 day' / ({events} + 1))");
    let targets = format!(
        "(SELECT id, row_number() OVER (ORDER BY created_at) - 1 AS number FROM endpoints WHERE tenant = '{tenant}') e"
    );
    let code = "CASE WHEN n % 50000 = 0 THEN 418 WHEN n % 33 = 0 THEN 503 ELSE 200 END";
    format!(
        "INSERT INTO events (accepted_at, occurred_at, instance, sequence, tenant, event_day, origin, lane, id, type,
             attributes, data)
         SELECT {at}, {at}, 1, n, '{tenant}', '{day}', 0, 0, 'evt_{day}_' || n, 'bench.event',
             jsonb_build_object('sending_domain', 'd' || n % 1000 || '.example.com'), convert_to(repeat('x', 200), 'UTF8')
         FROM generate_series(1, {events}) n;
         INSERT INTO decisions (config_version, decided_at, tenant, event_day, event_id, matched)
         SELECT 1, {at}, '{tenant}', '{day}', 'evt_{day}_' || n, '{{}}' FROM generate_series(1, {events}) n;
         INSERT INTO deliveries (id, tenant, endpoint, created_at, accepted_at, expires_at, reported_at, standing,
             first_attempt_at, delivery_day, event_day, epoch, status, number, status_code, event_id, type)
         SELECT md5('{day}' || n || '/' || side)::uuid, '{tenant}', e.id, {at}, {at}, {at}, {at}, 0, {at}, '{day}', '{day}', 0,
             CASE WHEN {code} = 200 THEN 4 ELSE 1 END, 1, {code}, 'evt_{day}_' || n, 'bench.event'
         FROM generate_series(1, {events}) n, (VALUES (0), (7)) sides (side), {targets}
         WHERE e.number = (n + side) % {ENDPOINTS};
         INSERT INTO attempts (delivery_id, send_id, endpoint, started_at, duration_us, held_ms, delivery_day, number,
             trigger, outcome, status_code, url, request_headers)
         SELECT id, id, endpoint, created_at, 20000, 0, delivery_day, 1, 0, CASE status WHEN 4 THEN 0 ELSE 1 END, status_code,
             'https://example.com/hook', '[[\"content-type\",\"application/json\"],[\"webhook-id\",\"' || event_id || '\"]]'
         FROM deliveries WHERE delivery_day = '{day}' AND tenant = '{tenant}';
         INSERT INTO endpoint_minutes (endpoint, minute, successes, failures, retries, duration_us, first_attempts,
             first_within_5s, first_within_30s)
         SELECT e.id, timestamptz '{day} 00:00:00+00' + minute * interval '1 minute', 10, 1, 1, 200000, 10, 9, 10
         FROM generate_series(0, 1439) minute, {targets};
         INSERT INTO endpoint_hours (endpoint, hour, successes, failures, retries, duration_us, first_attempts,
             first_within_5s, first_within_30s)
         SELECT e.id, timestamptz '{day} 00:00:00+00' + hour * interval '1 hour', 600, 60, 60, 12000000, 600, 540, 600
         FROM generate_series(0, 23) hour, {targets};
         INSERT INTO dead_letters (identity, received_at, source, reason, body, headers)
         SELECT convert_to('{day}' || n, 'UTF8'), {at}, 'postrider.outcomes', 'cannot be read', convert_to(repeat('x', 2000), 'UTF8'), '[]'
         FROM generate_series(1, {LETTERS}) n;"
    )
}
