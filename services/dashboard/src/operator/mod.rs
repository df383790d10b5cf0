//! The pages of operators.

mod dead_letters;
mod fleet;
mod keys;
mod profiles;
mod system;
mod tenant;
mod tenants;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::Dashboard;

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/operator/tenants", get(tenants::show).post(tenants::create))
        .route("/dashboard/operator/tenants/{id}", get(tenant::show).post(tenant::save))
        .route("/dashboard/operator/tenants/{id}/keys", get(tenant::show).post(keys::create))
        .route("/dashboard/operator/tenants/{id}/keys/{key}/delete", get(keys::ask_delete).post(keys::delete))
        .route("/dashboard/operator/profiles", get(profiles::list))
        .route("/dashboard/operator/system", get(system::show))
        .merge(dead_letters::routes())
}

/// The address of the list of tenants.
const TENANTS: &str = "/dashboard/operator/tenants";
