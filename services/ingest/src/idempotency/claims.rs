//! Claims ids, and later marks the claims as confirmed. The database statements are batched.

use std::collections::HashSet;
use std::time::Duration;

use postrider_store::Store;
use postrider_store::claims::{Claim, Claimed};
use postrider_telemetry::tasks::Tasks;
use tokio::sync::{mpsc, oneshot};

use super::EventKey;

/// Maximum number of claims or confirms in one statement.
const AT_ONCE_MAX: usize = 500;
/// Maximum number of claims that may wait. The same maximum applies to the confirms that may wait.
const WAITING_MAX: usize = 10_000;
/// Time without a response after which the database counts as unavailable. The producer also waits for the broker, at most 5 s
/// in total.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Time after which an unconfirmed claim counts as abandoned, because its publisher stopped waiting for a confirm.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time during which confirms are collected into a batch.
const GATHER: Duration = Duration::from_millis(20);

struct Request {
    claim: Claim,
    /// Whether to take over the id even if another process may be publishing the same event.
    insist: bool,
    answer: oneshot::Sender<Claimed>,
}

/// The claims of this process. The two tasks end when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Claims {
    asked: mpsc::Sender<Request>,
    confirmed: mpsc::Sender<EventKey>,
}

impl Claims {
    pub(crate) fn new(store: Store, tasks: &Tasks) -> Self {
        let ((asked, asking), (confirmed, confirming)) = (mpsc::channel(WAITING_MAX), mpsc::channel(WAITING_MAX));
        tasks.spawn("ingest.claims", claim(store.clone(), asking));
        tasks.spawn("ingest.confirms", confirm(store, confirming));
        Self { asked, confirmed }
    }

    /// Claims an id. Returns `None` if the database does not respond. With `insist`, takes over the claim of an event that is
    /// not known to be accepted, even if another process may be publishing the event.
    pub(crate) async fn claim(&self, claim: Claim, insist: bool) -> Option<Claimed> {
        let (answer, answered) = oneshot::channel();
        self.asked.try_send(Request { claim, insist, answer }).ok()?;
        tokio::time::timeout(ANSWER_MAX, answered).await.ok()?.ok()
    }

    /// Marks a claim as confirmed, after a short time. If this fails, the decision about the event confirms the claim later.
    pub(crate) fn confirm(&self, key: EventKey) {
        if self.confirmed.try_send(key).is_err() {
            tracing::debug!("too many confirms wait to be recorded; dropped one");
        }
    }
}

async fn claim(store: Store, mut asking: mpsc::Receiver<Request>) {
    let mut waiting = Vec::new();
    loop {
        if waiting.is_empty() && asking.recv_many(&mut waiting, AT_ONCE_MAX).await == 0 {
            return;
        }
        waiting.retain(|asked: &Request| !asked.answer.is_closed());
        // A statement contains each id at most once. A second request for the same id waits for the next statement.
        let mut named = HashSet::new();
        let insist = waiting.first().is_some_and(|asked: &Request| asked.insist);
        let fits =
            |asked: &Request| asked.insist == insist && named.insert((asked.claim.tenant, asked.claim.id.clone()));
        let (now, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(fits);
        waiting = later;
        answer(&store, now, if insist { Duration::ZERO } else { PATIENCE }).await;
    }
}

/// Claims ids and answers the requests. If the database fails, the requests are dropped, and their callers receive `None`.
async fn answer(store: &Store, asked: Vec<Request>, patience: Duration) {
    let claims: Vec<Claim> = asked.iter().map(|asked| asked.claim.clone()).collect();
    match store.claims().claim(&claims, patience).await {
        Ok(claimed) => {
            for (asked, claimed) in asked.into_iter().zip(claimed) {
                // The caller may have stopped waiting.
                let _ = asked.answer.send(claimed);
            }
        }
        Err(error) => {
            tracing::debug!(%error, claims = claims.len(), "cannot claim ids; their events are published unclaimed")
        }
    }
}

async fn confirm(store: Store, mut confirming: mpsc::Receiver<EventKey>) {
    let mut keys = Vec::new();
    while confirming.recv_many(&mut keys, AT_ONCE_MAX).await > 0 {
        if keys.len() < AT_ONCE_MAX {
            tokio::time::sleep(GATHER).await;
            while keys.len() < AT_ONCE_MAX
                && let Ok(key) = confirming.try_recv()
            {
                keys.push(key);
            }
        }
        if let Err(error) = store.claims().confirm_claims(&keys).await {
            tracing::debug!(%error, claims = keys.len(), "cannot record confirms; decisions show them later");
        }
        keys.clear();
    }
}
