//! The dashboard through its router, with a real PostgreSQL and a real RabbitMQ. The API's tests use the same harness.

mod forms;
#[path = "../../../api/tests/it/harness.rs"]
#[expect(dead_code, reason = "shared with the tests of the API")]
mod harness;
mod pages;
#[path = "../../../api/tests/it/recorded.rs"]
mod recorded;

use postrider_dashboard::Dashboard;

use crate::harness::World;

/// The API with the dashboard.
async fn world(name: &str) -> World {
    let routes = |api: postrider_api::Service, store, tasks: &_| {
        let dashboard = Dashboard { operations: api.operations, store, served_by_https: false };
        api.routes.merge(postrider_dashboard::router(dashboard, tasks))
    };
    World::with_routes(name, routes).await
}
