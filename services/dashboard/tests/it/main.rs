//! The dashboard through its router, with a real PostgreSQL and a real RabbitMQ. The API's tests use the same harness.

mod all_forms;
mod brand;
mod dead_letters;
mod erasures;
mod failing;
mod find;
mod fleet;
mod forms;
#[path = "../../../api/tests/it/harness.rs"]
#[expect(dead_code, reason = "shared with the tests of the API")]
mod harness;
mod health;
mod held_keys;
mod language;
mod notify;
mod oidc;
mod pages;
mod paused;
mod portal;
#[path = "../../../api/tests/it/recorded.rs"]
mod recorded;
#[path = "../../../../shared/oidc/tests/it/stand_in/mod.rs"]
#[expect(dead_code, reason = "shared with the tests of postrider-oidc")]
mod stand_in;
mod testing;
mod understand;
mod views;

use postrider_dashboard::Dashboard;
use postrider_profiles::Profiles;

use crate::harness::World;

/// Starts the API with the dashboard.
async fn world(name: &str) -> World {
    world_with(name, &[]).await
}

/// Like [`world`], but pages of these origins may show the dashboard in a frame.
async fn world_with(name: &str, frame_ancestors: &[&str]) -> World {
    world_of(name, Profiles::builtin(), frame_ancestors).await
}

/// Like [`world_with`], but with these profiles.
async fn world_of(name: &str, profiles: Profiles, frame_ancestors: &[&str]) -> World {
    let frame_ancestors = frame_ancestors.iter().map(ToString::to_string).collect();
    let routes = |api: postrider_api::Service, store, tasks: &_| {
        let dashboard =
            Dashboard { operations: api.operations, store, served_by_https: false, frame_ancestors, oidc: None };
        api.routes.merge(postrider_dashboard::router(dashboard, tasks))
    };
    World::with_profiles(name, profiles, routes).await
}
