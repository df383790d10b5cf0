//! A database and a virtual host for the test, the API's routes that use them, and functions that call the routes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use postrider_api::{Config, Deps, Service};
use postrider_broker::{Broker, BrokerConfig};
use postrider_egress::AddressGuard;
use postrider_mail::Recipients;
use postrider_operations::DashboardAddress;
use postrider_operations::portal::Framing;
use postrider_profiles::Profiles;
use postrider_store::crypto::MasterKeys;
use postrider_store::{Store, StoreConfig};
use postrider_telemetry::health::Health;
use postrider_telemetry::tasks::Tasks;
use postrider_testkit::engines::Scope;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

pub(crate) const OPERATOR: &str = "operator-key-of-the-tests";

/// The API with its database and broker.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) broker: Broker,
    _stop: DropGuard,
    _scope: Scope,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// A tenant, and a key of the tenant with every scope.
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) key: String,
}

impl Drop for World {
    fn drop(&mut self) {
        // Closes the connection properly. The virtual host remains (see `Scope`).
        let broker = self.broker.clone();
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(broker.close()));
    }
}

impl World {
    /// Starts the API without the dashboard.
    pub(crate) async fn new(name: &str) -> Self {
        Self::with_routes(name, |api, _, _| api.routes).await
    }

    /// Starts the API with the built-in profiles. `routes` returns the routes that the test calls.
    pub(crate) async fn with_routes(name: &str, routes: impl FnOnce(Service, Store, &Tasks) -> Router) -> Self {
        Self::with_profiles(name, Profiles::builtin(), routes).await
    }

    /// Like [`Self::with_routes`], but with these profiles.
    pub(crate) async fn with_profiles(
        name: &str,
        profiles: Profiles,
        routes: impl FnOnce(Service, Store, &Tasks) -> Router,
    ) -> Self {
        let scope = Scope::new(name).await;
        let keys = MasterKeys::parse(&MasterKeys::generate_text("k1")).unwrap();
        let store = Store::connect(StoreConfig::new(&scope.database_url), keys).unwrap();
        store.migrate().await.unwrap();
        let stop = CancellationToken::new();
        let broker = Broker::connect(BrokerConfig::new(&scope.amqp_url, "api test"), stop.clone()).await.unwrap();
        let health = Health::new();
        let deps = Deps {
            broker: broker.clone(),
            store: store.clone(),
            profiles: Arc::new(profiles),
            guard: AddressGuard { chat_hosts: vec!["chat.example.com".into()], ..AddressGuard::default() },
            recipients: Recipients::of_domains(&["example.com".into()]),
            ready: health.check("api"),
        };
        let public_url = Some("https://hooks.example.com".parse().unwrap());
        let address = DashboardAddress { public_url, framing: Framing::Allowed };
        let config = Config { operator_keys: vec![SecretString::from(OPERATOR)], address, ..Config::default() };
        let tasks = Tasks::new(stop.clone());
        let router = routes(postrider_api::start(config, deps, &tasks), store.clone(), &tasks);
        let world = Self { router, store, broker, _stop: stop.drop_guard(), _scope: scope };
        // Once the keys are loaded, an unknown key is answered with 401.
        while world.get("unknown", "/v1/profiles").await.status != 401 {
            tokio::task::yield_now().await;
        }
        world
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn call(&self, key: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.call_with(key, method, path, body, &[]).await
    }

    pub(crate) async fn call_with(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {key}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.header("content-type", "application/json").body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, key: &str, path: &str) -> Answer {
        self.call(key, "GET", path, None).await
    }

    pub(crate) async fn post(&self, key: &str, path: &str, body: Value) -> Answer {
        self.call(key, "POST", path, Some(&body)).await
    }

    /// Creates a tenant with this profile, and a key of the tenant with every scope.
    pub(crate) async fn tenant(&self, profile: &str) -> Tenant {
        let made = self.post(OPERATOR, "/v1/tenants", json!({"name": "Acme", "profile": profile})).await.ok(201);
        let id = made["id"].as_str().unwrap().to_owned();
        let key = self.key(&id, &["publish", "read", "manage"]).await;
        Tenant { id, key }
    }

    pub(crate) async fn key(&self, tenant: &str, scopes: &[&str]) -> String {
        let path = format!("/v1/tenants/{tenant}/keys");
        let made = self.post(OPERATOR, &path, json!({"name": "k", "scopes": scopes})).await.ok(201);
        made["key"].as_str().unwrap().to_owned()
    }

    /// Creates an endpoint of a tenant and returns the answer.
    pub(crate) async fn endpoint(&self, tenant: &Tenant) -> Value {
        self.post(&tenant.key, "/v1/endpoints", endpoint()).await.ok(201)
    }
}

/// The smallest endpoint.
pub(crate) fn endpoint() -> Value {
    json!({"name": "hook", "url": "https://example.com/hook", "event_types": ["*"]})
}

impl Answer {
    /// Whether the answer names an instance that had not applied the edit.
    pub(crate) fn is_lagging(&self) -> bool {
        self.headers.contains_key("postrider-lagging")
    }

    #[track_caller]
    pub(crate) fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        self.body
    }

    /// Checks that the answer is a problem with this status and one error, at this pointer; or without errors, if `pointer` is
    /// empty. Returns the problem.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, pointer: &str) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], json!(status));
        assert!(self.body["type"].is_string() && self.body["title"].is_string() && self.body["detail"].is_string());
        let pointers: Vec<&str> = self.body["errors"]
            .as_array()
            .map(|errors| errors.iter().filter_map(|error| error["pointer"].as_str()).collect())
            .unwrap_or_default();
        let expected: Vec<&str> = Some(pointer).filter(|pointer| !pointer.is_empty()).into_iter().collect();
        assert_eq!(pointers, expected, "{:#}", self.body);
        self.body
    }
}
