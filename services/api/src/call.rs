//! The call of an operation: who calls, and the parameters of the query string.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use postrider_access::bearer;
use postrider_http::problem::Problem;
use postrider_http::server::Peer;
use postrider_operations::{Caller, Error, Interface, Operations};
use postrider_store::config::KeyHash;

use crate::Api;
use crate::query::{NoParams, Query};

/// The result of a route: its answer, or a problem.
pub(crate) type Answer<T> = Result<T, Problem>;

/// The call of an operation, as a handler receives it. `Q` reads the query string; the default allows only the parameter
/// `tenant`.
pub(crate) struct Call<Q = Query<NoParams>> {
    pub(crate) caller: Caller,
    pub(crate) operations: Arc<Operations>,
    pub(crate) query: Q,
}

impl<Q: FromRequestParts<Arc<Api>, Rejection = Problem>> FromRequestParts<Arc<Api>> for Call<Q> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Answer<Self> {
        let Auth(caller) = Auth::from_request_parts(parts, api).await?;
        let query = Q::from_request_parts(parts, api).await?;
        Ok(Self { caller, operations: Arc::clone(&api.operations), query })
    }
}

/// The caller identified by a request's key, with the tenant that the parameter `tenant` names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Auth(pub(crate) Caller);

impl FromRequestParts<Arc<Api>> for Auth {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Answer<Self> {
        // A layer in front of the handler may have found the caller already. The request must count only once against the request
        // budget.
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(*known);
        }
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key =
            bearer(authorization).ok_or_else(|| Problem::unauthorized("send a key: `Authorization: Bearer <key>`"))?;
        let Some(caller) = api.operations.find_caller(KeyHash::of(key))? else {
            api.operations.count_unknown_key(Interface::Api, parts.extensions.get::<Peer>().map(|peer| peer.0))?;
            return Err(Problem::unauthorized("no such key"));
        };
        let named = match tenant_param(parts) {
            Some(name) => Some(api.operations.find_tenant(&name).await?),
            None => None,
        };
        match caller {
            Caller::Operator { acting, .. } => Ok(Self(Caller::Operator { tenant: named, acting })),
            Caller::Tenant { tenant, .. } if named.is_some_and(|named| named != tenant) => {
                Err(Error::NotFound("tenant").into())
            }
            caller => Ok(Self(caller)),
        }
    }
}

fn tenant_param(parts: &Parts) -> Option<String> {
    let query = parts.uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "tenant").map(|(_, tenant)| tenant.into_owned())
}
