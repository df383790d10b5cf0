//! Resolves names and checks their addresses with the guard, so that a connection needs no second look-up.
//!
//! It uses the system's name servers and hosts file, which it reads once. Names are fully qualified, because with search
//! domains an endpoint's URL could reach names of the local network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Resolver, ResolverBuilder, TokioResolver};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::error::EgressError;
use crate::guard::AddressGuard;

/// Maximum number of cached names, and maximum number of silent questions.
const CACHE_MAX: u64 = 4_096;
/// Minimum time for which an answer is cached, even if its lifetime is zero.
const TTL_MIN: Duration = Duration::from_secs(1);
/// Maximum time for which an answer is cached.
const TTL_MAX: Duration = Duration::from_secs(300);
/// Maximum time for which a missing name is cached.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(10);
/// Timeout of one question to one server. A question is sent up to three times. The timeout is short, because it is part of an
/// attempt's timeout.
const QUESTION_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long to wait for the other address family after the first family has answered (RFC 8305 section 3, "Resolution Delay").
const OTHER_FAMILY_MAX: Duration = Duration::from_millis(50);
/// How long an address family that did not answer within `OTHER_FAMILY_MAX` is not asked, unless it answers later.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// Why a name has no address to which the client can connect. Tenants see these texts, so they reveal nothing about this
/// network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The name has no address.
    #[error("the name does not resolve")]
    NotFound,
    /// No name server answered.
    #[error("the name could not be resolved: no name server answered")]
    Unanswered,
    /// The guard refuses all addresses of the name.
    #[error("the name resolves to no address that deliveries may go to")]
    Blocked,
}

/// A resolver. Clones share the same cache.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    resolver: Arc<TokioResolver>,
    /// The guard; `None` allows every address, for the host of the operator's own proxy.
    guard: Option<Arc<AddressGuard>>,
    /// Questions that were not answered in time, and when they may be asked again.
    silent: Arc<Mutex<HashMap<Question, Instant>>>,
}

/// A name and an address family.
type Question = (Name, RecordType);

impl GuardedResolver {
    pub(crate) fn new(guard: Arc<AddressGuard>) -> Result<Self, EgressError> {
        let builder = Resolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the system's resolver configuration; only names of the hosts file resolve");
            let no_servers = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            Resolver::builder_with_config(no_servers, TokioRuntimeProvider::default())
        });
        Self::from_builder(builder, guard)
    }

    fn from_builder(
        mut builder: ResolverBuilder<TokioRuntimeProvider>,
        guard: Arc<AddressGuard>,
    ) -> Result<Self, EgressError> {
        let options = builder.options_mut();
        options.cache_size = CACHE_MAX;
        options.positive_min_ttl = Some(TTL_MIN);
        options.positive_max_ttl = Some(TTL_MAX);
        options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
        options.timeout = QUESTION_TIMEOUT;
        let resolver = builder.build().map_err(|error| EgressError::Client(error.to_string()))?;
        Ok(Self { resolver: Arc::new(resolver), guard: Some(guard), silent: Arc::default() })
    }

    /// Returns this resolver without the guard, for the operator's own hosts.
    pub(crate) fn unguarded(&self) -> Self {
        Self { guard: None, ..self.clone() }
    }

    /// Returns the allowed addresses of `host` in the order in which to try them. The families alternate. IPv4 is first,
    /// because some networks cannot reach IPv6.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut name = Name::from_utf8(host).map_err(|_| ResolveError::NotFound)?;
        name.set_fqdn(true);
        let questions = [(name.clone(), RecordType::A), (name, RecordType::AAAA)];
        let (silent, asked): (Vec<_>, Vec<_>) = questions.into_iter().partition(|question| self.is_silent(question));
        match self.first_of(asked).await {
            Err(error) if !silent.is_empty() => self.first_of(silent).await.map_err(|other| error.max(other)),
            found => found,
        }
    }

    /// Asks all questions at the same time. After the first successful answer, waits up to [`OTHER_FAMILY_MAX`] for the other
    /// answers.
    async fn first_of(&self, questions: Vec<Question>) -> Result<Vec<IpAddr>, ResolveError> {
        let mut waiting = questions.clone();
        let mut answers = JoinSet::new();
        for question in questions {
            let this = self.clone();
            answers.spawn(async move { (this.family(&question).await, question) });
        }
        let mut found = Vec::new();
        let mut error = ResolveError::NotFound;
        let mut until = None;
        loop {
            let answer = match until {
                None => answers.join_next().await,
                Some(until) => match timeout_at(until, answers.join_next()).await {
                    Ok(answer) => answer,
                    Err(_) => break,
                },
            };
            let Some(answer) = answer else { break };
            let Ok((answer, question)) = answer else { continue };
            waiting.retain(|waiting| *waiting != question);
            match answer {
                Ok(addresses) => {
                    found.push(addresses);
                    until.get_or_insert_with(|| Instant::now() + OTHER_FAMILY_MAX);
                }
                Err(other) => error = error.max(other),
            }
        }
        // The other look-ups continue, so that a late answer is cached for the next call.
        self.remember_silent(waiting);
        answers.detach_all();
        if found.is_empty() { Err(error) } else { Ok(alternate(found)) }
    }

    /// Returns the allowed addresses of one family.
    async fn family(&self, question: &Question) -> Result<Vec<IpAddr>, ResolveError> {
        let (name, family) = question.clone();
        let found = self.resolver.lookup(name, family).await;
        let found = found.map_err(|error| {
            tracing::debug!(host = %question.0, family = %question.1, %error, "name look-up failed");
            if error.is_no_records_found() || error.is_nx_domain() {
                ResolveError::NotFound
            } else {
                ResolveError::Unanswered
            }
        });
        if !matches!(found, Err(ResolveError::Unanswered)) {
            self.silent.lock().remove(question);
        }
        let found = found?;
        let addresses = found.answers().iter().filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::from(address.0)),
            RData::AAAA(address) => Some(IpAddr::from(address.0)),
            _ => None,
        });
        let mut addresses: Vec<IpAddr> = addresses.collect();
        if addresses.is_empty() {
            return Err(ResolveError::NotFound);
        }
        if let Some(guard) = &self.guard {
            addresses.retain(|address| guard.check_address(*address).is_ok());
            if addresses.is_empty() {
                return Err(ResolveError::Blocked);
            }
        }
        Ok(addresses)
    }

    fn is_silent(&self, question: &Question) -> bool {
        self.silent.lock().get(question).is_some_and(|until| *until > Instant::now())
    }

    fn remember_silent(&self, questions: Vec<Question>) {
        if questions.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut silent = self.silent.lock();
        if silent.len() as u64 >= CACHE_MAX {
            silent.retain(|_, until| *until > now);
        }
        if (silent.len() as u64) < CACHE_MAX {
            silent.extend(questions.into_iter().map(|question| (question, now + SILENT_FOR)));
        }
    }
}

/// Merges the addresses of both families alternately (RFC 8305 section 4), IPv4 first.
fn alternate(mut families: Vec<Vec<IpAddr>>) -> Vec<IpAddr> {
    families.sort_by_key(|addresses| addresses.first().is_some_and(IpAddr::is_ipv6));
    let longest = families.iter().map(Vec::len).max().unwrap_or_default();
    let turn = |at: usize| families.iter().filter_map(move |addresses| addresses.get(at));
    (0..longest).flat_map(turn).copied().collect()
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

    /// Starts a name server that answers the nth IPv4 question with the nth item of `answers`, and later questions with the
    /// last item. It counts the questions. Its answers have a lifetime of zero.
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
        (GuardedResolver::from_builder(builder, Arc::new(AddressGuard::default())).unwrap(), asked)
    }

    #[tokio::test]
    async fn a_name_that_changes_to_a_private_address_is_refused() {
        let (resolver, asked) = name_server(&[&[PUBLIC], &[Ipv4Addr::LOCALHOST]]).await;
        assert_eq!(resolver.addresses("rebinding.example").await.unwrap(), [PUBLIC]);
        // Each answer is cached for a second.
        let refused = async {
            loop {
                match resolver.addresses("rebinding.example").await {
                    Ok(addresses) => assert_eq!(addresses, [PUBLIC]),
                    Err(error) => return error,
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let refused = tokio::time::timeout(Duration::from_secs(60), refused).await.expect("the second answer");
        assert!(matches!(refused, ResolveError::Blocked), "{refused}");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_checked_answer_is_the_one_to_connect_to() {
        let (resolver, asked) = name_server(&[&[Ipv4Addr::LOCALHOST, PUBLIC, METADATA], &[]]).await;
        assert_eq!(resolver.addresses("mixed.example").await.unwrap(), [PUBLIC]);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    /// Starts a name server that answers IPv4 questions only. The receiver gets the type of each question.
    async fn silent_about_ipv6() -> (GuardedResolver, tokio::sync::mpsc::UnboundedReceiver<RecordType>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut server = NameServerConfig::udp(IpAddr::from(Ipv4Addr::LOCALHOST));
        server.connections[0].port = socket.local_addr().unwrap().port();
        let (asked_tx, asked) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut buffer = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let mut message = Message::from_vec(&buffer[..length]).unwrap();
                let question = message.queries[0].clone();
                let _ = asked_tx.send(question.query_type());
                if question.query_type() == RecordType::A {
                    message.metadata.message_type = MessageType::Response;
                    message.add_answer(Record::from_rdata(question.name().clone(), 60, RData::A(rdata::A(PUBLIC))));
                    socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
                }
            }
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        (GuardedResolver::from_builder(builder, Arc::new(AddressGuard::default())).unwrap(), asked)
    }

    #[tokio::test]
    async fn a_silent_address_family_is_waited_for_once_and_briefly() {
        let (resolver, mut asked) = silent_about_ipv6().await;
        assert_eq!(resolver.addresses("half.example").await.unwrap(), [PUBLIC]);
        let question = (Name::from_utf8("half.example.").unwrap(), RecordType::AAAA);
        assert!(resolver.is_silent(&question));
        let mut first = [asked.recv().await.unwrap(), asked.recv().await.unwrap()];
        first.sort();
        assert_eq!(first, [RecordType::A, RecordType::AAAA]);
        // The second call does not ask the IPv6 question, so the cached IPv4 answer is returned immediately.
        assert_eq!(resolver.addresses("half.example").await.unwrap(), [PUBLIC]);
        assert!(resolver.is_silent(&question));
    }

    #[test]
    fn address_families_alternate() {
        let v4: Vec<IpAddr> = vec![[8, 8, 8, 8].into(), [8, 8, 4, 4].into()];
        let v6: Vec<IpAddr> = vec!["2001:db8::1".parse().unwrap()];
        assert_eq!(alternate(vec![v6.clone(), v4.clone()]), [v4[0], v6[0], v4[1]]);
        assert_eq!(alternate(vec![v6.clone()]), v6);
    }
}
