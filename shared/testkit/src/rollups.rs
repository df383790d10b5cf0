//! Counts of attempts by tenant and by day, for tests and benchmarks that insert counts by endpoint and hour themselves.

/// SQL that replaces the rows of `tenant_hours`, `endpoint_days`, `tenant_failures` and `endpoint_failure_days` with the sums of the
/// rows of `endpoint_hours` and `endpoint_failures`.
///
/// # Panics
/// If migration V15 has no `INSERT`.
pub fn replace_rollups() -> String {
    let migration = include_str!("../../store/migrations/V15__rollups.sql");
    let (_, inserts) = migration.split_once("INSERT INTO").expect("migration V15 has an INSERT");
    format!("TRUNCATE tenant_hours, endpoint_days, tenant_failures, endpoint_failure_days; INSERT INTO{inserts}")
}
