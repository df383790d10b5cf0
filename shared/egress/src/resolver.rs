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
use hickory_resolver::{Resolver, ResolverBuilder, TokioResolver};
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
        let builder = Resolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the system's resolver configuration, only the hosts file is left");
            let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            Resolver::builder_with_config(nobody, TokioRuntimeProvider::default())
        });
        Self::built_by(builder, guard)
    }

    fn built_by(
        mut builder: ResolverBuilder<TokioRuntimeProvider>,
        guard: Arc<AddressGuard>,
    ) -> Result<Self, EgressError> {
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hickory_resolver::config::NameServerConfig;
    use hickory_resolver::proto::op::{Message, MessageType};
    use hickory_resolver::proto::rr::{RData, Record, RecordType, rdata};
    use tokio::net::UdpSocket;

    use super::*;

    const PUBLIC: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
    const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

    /// A name server that answers its first question for an IPv4 address with the first of `answers`, and so on; the last stays. How
    /// many it was asked is counted. No answer may be kept.
    async fn name_server(answers: &'static [&'static [Ipv4Addr]]) -> (GuardedResolver, Arc<AtomicUsize>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut server = NameServerConfig::udp(IpAddr::from(Ipv4Addr::LOCALHOST));
        server.connections[0].port = socket.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut buffer = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let mut message = Message::from_vec(&buffer[..length]).unwrap();
                let question = message.queries[0].clone();
                message.metadata.message_type = MessageType::Response;
                if question.query_type() == RecordType::A {
                    let nth = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
                    let records = answers[nth].iter().map(|address| RData::A(rdata::A(*address)));
                    message.add_answers(records.map(|data| Record::from_rdata(question.name().clone(), 0, data)));
                }
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        (GuardedResolver::built_by(builder, Arc::new(AddressGuard::default())).unwrap(), asked)
    }

    #[tokio::test]
    async fn a_name_that_changes_its_answer_to_an_inner_address_is_refused_from_then_on() {
        let (resolver, asked) = name_server(&[&[PUBLIC], &[Ipv4Addr::LOCALHOST]]).await;
        assert_eq!(resolver.addresses("rebinding.example").await.unwrap(), [PUBLIC]);
        // An answer is believed for a second, however short its own life.
        let refused = async {
            loop {
                match resolver.addresses("rebinding.example").await {
                    Ok(addresses) => assert_eq!(addresses, [PUBLIC]),
                    Err(error) => return error,
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let refused = tokio::time::timeout(Duration::from_secs(30), refused).await.expect("the second answer");
        assert!(matches!(refused, ResolveError::Blocked), "{refused}");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn what_the_client_connects_to_is_what_was_checked_and_no_second_answer() {
        let (resolver, asked) = name_server(&[&[Ipv4Addr::LOCALHOST, PUBLIC, METADATA], &[]]).await;
        let given = resolver.resolve("mixed.example".parse().unwrap()).await.unwrap();
        assert_eq!(given.collect::<Vec<_>>(), [SocketAddr::from((PUBLIC, 0))]);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
