//! Claims of ids, as many as wait in one statement, and the confirms that follow.

use std::collections::HashSet;
use std::time::Duration;

use postrider_store::Store;
use postrider_store::claims::{Claim, Claimed};
use postrider_telemetry::tasks::Tasks;
use tokio::sync::{mpsc, oneshot};

use super::EventKey;

/// Most claims or confirms of one statement.
const AT_ONCE_MAX: usize = 500;
/// Claims and confirms that may wait.
const WAITING_MAX: usize = 10_000;
/// After this the database counts as away: the producer waits for the broker's confirm besides, 5 s in all at most.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(1);
/// A publisher that was not heard of for this long has given up: no confirm is waited for any longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long confirms gather: other processes that ask meanwhile ask again.
const GATHER: Duration = Duration::from_millis(20);

struct Asked {
    claim: Claim,
    /// Whether to take the id over from whoever may be publishing the same event now.
    insist: bool,
    answer: oneshot::Sender<Claimed>,
}

/// What this process claims. Its two tasks end with the last clone.
#[derive(Clone)]
pub(crate) struct Claims {
    asked: mpsc::Sender<Asked>,
    confirmed: mpsc::Sender<EventKey>,
}

impl Claims {
    pub(crate) fn new(store: Store, tasks: &Tasks) -> Self {
        let ((asked, asking), (confirmed, confirming)) = (mpsc::channel(WAITING_MAX), mpsc::channel(WAITING_MAX));
        tasks.spawn("ingest.claims", claim(store.clone(), asking));
        tasks.spawn("ingest.confirms", confirm(store, confirming));
        Self { asked, confirmed }
    }

    /// Claims an id. `None`: the database does not answer. With `insist` an event that is not known to be safe is taken over at
    /// once, whoever publishes it now.
    pub(crate) async fn claim(&self, claim: Claim, insist: bool) -> Option<Claimed> {
        let (answer, answered) = oneshot::channel();
        self.asked.try_send(Asked { claim, insist, answer }).ok()?;
        tokio::time::timeout(ANSWER_MAX, answered).await.ok()?.ok()
    }

    /// Notes, soon, that the broker has an event. When that is lost its decision tells the same later.
    pub(crate) fn confirm(&self, key: EventKey) {
        if self.confirmed.try_send(key).is_err() {
            tracing::debug!("too many confirms wait to be noted");
        }
    }
}

async fn claim(store: Store, mut asking: mpsc::Receiver<Asked>) {
    let mut waiting = Vec::new();
    loop {
        if waiting.is_empty() && asking.recv_many(&mut waiting, AT_ONCE_MAX).await == 0 {
            return;
        }
        waiting.retain(|asked: &Asked| !asked.answer.is_closed());
        // A statement names an id once: one that was asked for twice (its first asker gave up) waits for the next.
        let mut named = HashSet::new();
        let insist = waiting.first().is_some_and(|asked: &Asked| asked.insist);
        let fits = |asked: &Asked| asked.insist == insist && named.insert((asked.claim.tenant, asked.claim.id.clone()));
        let (now, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(fits);
        waiting = later;
        answer(&store, now, if insist { Duration::ZERO } else { PATIENCE }).await;
    }
}

/// Claims, and tells those who asked. When the database does not answer their senders are dropped.
async fn answer(store: &Store, asked: Vec<Asked>, patience: Duration) {
    let claims: Vec<Claim> = asked.iter().map(|asked| asked.claim.clone()).collect();
    match store.claims().claim(&claims, patience).await {
        Ok(claimed) => {
            for (asked, claimed) in asked.into_iter().zip(claimed) {
                // An asker that gave up no longer listens.
                let _ = asked.answer.send(claimed);
            }
        }
        Err(error) => tracing::debug!(%error, claims = claims.len(), "claiming ids skipped"),
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
            tracing::debug!(%error, claims = keys.len(), "noting confirms skipped");
        }
        keys.clear();
    }
}
