//! Name resolution with the guard built in: what comes out may be connected to, and nothing is looked up again.
//!
//! Asks the servers of the system's configuration and its hosts file (read once). Names are taken as complete: search
//! domains would let an endpoint's URL reach names of the local network.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::{Resolver, TokioResolver};
use reqwest::dns::{Addrs, Resolve, Resolving};

use crate::{AddressGuard, EgressError};

/// Names remembered.
const CACHE_MAX: u64 = 4_096;
/// An answer is believed at least this long, for endpoints without keep-alive whose names have no lifetime at all ...
const TTL_MIN: Duration = Duration::from_secs(1);
/// ... and at most this long, whatever its lifetime.
const TTL_MAX: Duration = Duration::from_secs(300);
/// A name that does not exist is asked for again after this.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(10);
/// One question to one server.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a name gives no address to connect to. Its words reach tenants, so they tell nothing of this network.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ResolveError {
    /// It has addresses, and the guard refuses every one.
    #[error("the name resolves to no address that deliveries may go to")]
    Blocked,
    /// It has none.
    #[error("the name does not resolve")]
    NotFound,
    /// No name server answered.
    #[error("the name could not be resolved: no name server answered")]
    Unanswered,
}

/// A resolver; clones share its cache.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    resolver: Arc<TokioResolver>,
    /// None: every address passes (the operator's own proxy).
    guard: Option<Arc<AddressGuard>>,
}

impl GuardedResolver {
    pub(crate) fn new(guard: Arc<AddressGuard>) -> Result<Self, EgressError> {
        let mut builder = Resolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the system's resolver configuration, only the hosts file is left");
            let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            Resolver::builder_with_config(nobody, TokioRuntimeProvider::default())
        });
        let options = builder.options_mut();
        options.cache_size = CACHE_MAX;
        options.positive_min_ttl = Some(TTL_MIN);
        options.positive_max_ttl = Some(TTL_MAX);
        options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
        options.timeout = QUESTION_TIMEOUT;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let resolver = builder.build().map_err(|error| EgressError::Client(error.to_string()))?;
        Ok(Self { resolver: Arc::new(resolver), guard: Some(guard) })
    }

    /// The same resolver for the operator's own hosts.
    pub(crate) fn unguarded(&self) -> Self {
        Self { resolver: Arc::clone(&self.resolver), guard: None }
    }

    /// The addresses of `host` that may be connected to; IPv4 first, since not every host has a way to IPv6.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut name = Name::from_utf8(host).map_err(|_| ResolveError::NotFound)?;
        name.set_fqdn(true);
        let found = self.resolver.lookup_ip(name).await.map_err(|error| {
            tracing::debug!(host, %error, "name look-up failed");
            if error.is_no_records_found() || error.is_nx_domain() {
                ResolveError::NotFound
            } else {
                ResolveError::Unanswered
            }
        })?;
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err(ResolveError::NotFound);
        }
        if let Some(guard) = &self.guard {
            addresses.retain(|address| guard.check_address(*address).is_ok());
            if addresses.is_empty() {
                return Err(ResolveError::Blocked);
            }
        }
        addresses.sort_by_key(IpAddr::is_ipv6);
        Ok(addresses)
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.addresses(name.as_str()).await?;
            // Port 0: the client puts the URL's port in.
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
