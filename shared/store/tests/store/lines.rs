//! Lines of ordered endpoints, compared with a model: dispatchers that deliver, fail, give runs back, repeat messages and die.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bytes::Bytes;
use postrider_model::ids::{DeliveryId, EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use postrider_store::lines::{LineChanges, ReleasedRun};
use postrider_wire::messages::{DeliveryTask, Enqueued, Line, RunReport};
use postrider_wire::testing::first_task;
use uuid::Uuid;

use crate::support::{Fixture, event, new_endpoint};

/// A sequence of numbers that looks random and is the same in every run of a test.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % end.max(1)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a dispatcher has of a line.
#[derive(Debug, Clone)]
struct InFlight {
    line: Line,
    run: i64,
    deliveries: VecDeque<DeliveryId>,
    ended: Vec<DeliveryId>,
    /// Whether it is a delivery that waits for its retry alone.
    is_retry: bool,
}

/// Endpoints, dispatchers and the broker.
struct World {
    store: Store,
    owner: Uuid,
    draw: Draw,
    tenant: TenantId,
    endpoints: Vec<EndpointId>,
    /// The positions of deliveries, by the order in which they were accepted.
    accepted: HashMap<DeliveryId, usize>,
    in_flight: Vec<InFlight>,
    /// Reports that are not applied yet, and messages that may be repeated.
    reports: VecDeque<RunReport>,
    /// The first attempts of each line, in order.
    first_attempts: BTreeMap<Line, Vec<DeliveryId>>,
    attempted: HashSet<DeliveryId>,
    ended: HashSet<DeliveryId>,
}

impl World {
    async fn new(fixture: &Fixture, seed: u64) -> Self {
        Self {
            store: fixture.store.clone(),
            owner: Uuid::new_v4(),
            draw: Draw(seed),
            tenant: TenantId::generate(),
            endpoints: (0..3).map(|_| EndpointId::generate()).collect(),
            accepted: HashMap::new(),
            in_flight: Vec::new(),
            reports: VecDeque::new(),
            first_attempts: BTreeMap::new(),
            attempted: HashSet::new(),
            ended: HashSet::new(),
        }
    }

    fn new_delivery(&mut self) -> (Enqueued, Bytes) {
        let endpoint = self.endpoints[self.draw.below(self.endpoints.len())];
        let task = first_task(&event(self.tenant, UnixMillis::now()), endpoint);
        self.accepted.insert(task.delivery.id, self.accepted.len());
        let key = format!("k{}", self.draw.below(4));
        (Enqueued { key, generation: 0, task: Box::new(task) }, vec![b'x'; self.draw.below(20_000)].into())
    }

    /// Takes released runs to dispatchers. A run must not be released while another delivery of its line is in flight.
    fn take(&mut self, released: Vec<ReleasedRun>) {
        for run in released {
            let deliveries: VecDeque<_> = run.deliveries.iter().map(|(task, _)| task.delivery.id).collect();
            assert!(!deliveries.is_empty());
            let other = self.in_flight.iter().find(|other| other.line == run.line);
            assert!(other.is_none(), "two in flight: {run:?} and {other:?}");
            self.in_flight.push(InFlight {
                line: run.line,
                run: run.run,
                deliveries,
                ended: Vec::new(),
                is_retry: false,
            });
        }
    }

    fn attempt(&mut self, line: &Line, id: DeliveryId) {
        assert!(!self.ended.contains(&id), "attempted after its end");
        if self.attempted.insert(id) {
            self.first_attempts.entry(line.clone()).or_default().push(id);
        }
    }

    /// Lets one dispatcher make one attempt.
    fn step(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let at = self.draw.below(self.in_flight.len());
        let mut one = self.in_flight.swap_remove(at);
        let report = |one: &InFlight, waits| RunReport {
            line: one.line.clone(),
            run: one.run,
            ended: one.ended.clone(),
            waits,
            holds: None,
        };
        let id = *one.deliveries.front().expect("a delivery");
        // A dispatcher that stops gives the rest of its run back.
        if !one.ended.is_empty() && self.draw.one_in(10) {
            self.reports.push_back(report(&one, None));
            return;
        }
        self.attempt(&one.line, id);
        if self.draw.one_in(4) {
            // It failed and waits for its retry. The rest of the run is given back.
            if !one.is_retry {
                self.reports.push_back(report(&one, Some(id)));
            }
            let retry = InFlight { deliveries: [id].into(), ended: Vec::new(), is_retry: true, ..one };
            self.in_flight.push(retry);
            return;
        }
        one.deliveries.pop_front();
        one.ended.push(id);
        self.ended.insert(id);
        if one.deliveries.is_empty() {
            self.reports.push_back(report(&one, None));
        } else {
            self.in_flight.push(one);
        }
    }

    /// Applies what has gathered; sometimes twice, as after a crash before the ack.
    async fn apply(&mut self, enqueued: Vec<(Enqueued, Bytes)>) {
        let count = self.draw.below(self.reports.len() + 1);
        let changes = LineChanges { enqueued, reports: self.reports.drain(..count).collect() };
        let released = self.store.lines().advance(self.owner, &changes).await.unwrap();
        self.take(released);
        // The ends of a run in `changes` may already have led to a new run, so only the same messages are repeated.
        if self.draw.one_in(5) {
            let repeated: Vec<_> =
                changes.enqueued.into_iter().filter(|(new, _)| !self.ended.contains(&new.task.delivery.id)).collect();
            let again = LineChanges { enqueued: repeated, reports: changes.reports };
            let released = self.store.lines().advance(self.owner, &again).await.unwrap();
            self.take(released);
        }
    }

    fn check(&self, deliveries: usize) {
        assert_eq!((self.accepted.len(), self.ended.len()), (deliveries, deliveries), "lost");
        for (line, attempts) in &self.first_attempts {
            let positions: Vec<_> = attempts.iter().map(|id| self.accepted[id]).collect();
            assert!(positions.is_sorted(), "{line:?}: {positions:?}");
        }
    }
}

async fn run_model(fixture: &Fixture, seed: u64, deliveries: usize) {
    let mut world = World::new(fixture, seed).await;
    while world.ended.len() < deliveries || !world.reports.is_empty() {
        let new = world.draw.below(12).min(deliveries - world.accepted.len());
        let enqueued = (0..new).map(|_| world.new_delivery()).collect();
        for _ in 0..world.draw.below(60) {
            world.step();
        }
        world.apply(enqueued).await;
    }
    world.check(deliveries);
    assert_eq!(fixture.number("SELECT count(*) FROM ordered_deliveries").await, 0);
    assert_eq!(fixture.number("SELECT count(*) FROM ordered_lines").await, 0);
}

#[tokio::test]
async fn lines_are_attempted_in_order_one_at_a_time_and_none_is_lost() {
    let fixture = Fixture::new("lines-model").await;
    for seed in 1..=3 {
        run_model(&fixture, seed, 300).await;
    }
}

fn task(endpoint: EndpointId) -> DeliveryTask {
    first_task(&event(TenantId::OPERATOR, UnixMillis::now()), endpoint)
}

pub(crate) fn enqueued(key: &str, generation: u32, task: &DeliveryTask) -> (Enqueued, Bytes) {
    (Enqueued { key: key.into(), generation, task: Box::new(task.clone()) }, Bytes::from_static(b"body"))
}

pub(crate) fn ids(run: &ReleasedRun) -> Vec<DeliveryId> {
    run.deliveries.iter().map(|(task, _)| task.delivery.id).collect()
}

pub(crate) async fn advance(
    store: &Store,
    enqueued: Vec<(Enqueued, Bytes)>,
    reports: Vec<RunReport>,
) -> Vec<ReleasedRun> {
    store.lines().advance(Uuid::nil(), &LineChanges { enqueued, reports }).await.unwrap()
}

pub(crate) fn report(run: &ReleasedRun, ended: &[DeliveryId]) -> RunReport {
    RunReport { line: run.line.clone(), run: run.run, ended: ended.to_vec(), waits: None, holds: None }
}

#[tokio::test]
async fn a_held_line_waits_until_its_failed_delivery_is_skipped() {
    let fixture = Fixture::new("lines-held").await;
    // The endpoint of a held line must be active; otherwise the line continues by itself.
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("hook")).await.unwrap().id;
    let [first, second, other] = std::array::from_fn(|_| task(endpoint));
    let new = [enqueued("k", 0, &first), enqueued("k", 0, &second), enqueued("other", 0, &other)];
    let runs = advance(store, new.into(), vec![]).await;
    let [of_key, of_other] = &runs[..] else { panic!("{runs:?}") };
    assert_eq!((ids(of_key), ids(of_other)), (vec![first.delivery.id, second.delivery.id], vec![other.delivery.id]));

    let holds = RunReport { holds: Some(first.delivery.id), ..report(of_key, &[]) };
    assert_eq!(advance(store, vec![], vec![holds]).await, []);
    let held = store.lines().held_lines(None, endpoint, 10).await.unwrap();
    assert_eq!((held.len(), held[0].key.as_str(), held[0].held, held[0].waiting), (1, "k", first.delivery.id, 1));
    assert_eq!(store.lines().sweep(Uuid::nil(), &[], &[]).await.unwrap(), Some(vec![]), "it waits for a person");
    let behind = store.lines().waiting_for_turn(&[first.delivery.id, second.delivery.id]).await.unwrap();
    assert_eq!(behind, [(second.delivery.id, first.delivery.id)]);

    assert_eq!(store.lines().skip_held(TenantId::generate(), endpoint, "k").await.unwrap(), None);
    let skipped = store.lines().skip_held(TenantId::OPERATOR, endpoint, "k").await.unwrap();
    assert_eq!(skipped, Some(first.delivery.id));
    let runs = store.lines().sweep(Uuid::nil(), &[], &[]).await.unwrap().unwrap();
    assert_eq!((runs.len(), ids(&runs[0])), (1, vec![second.delivery.id]));
}

#[tokio::test]
async fn lines_of_an_edited_ordering_wait_for_all_earlier_deliveries() {
    let fixture = Fixture::new("lines-generations").await;
    let (store, endpoint) = (&fixture.store, EndpointId::generate());
    let [before, other, after] = std::array::from_fn(|_| task(endpoint));
    let new = [enqueued("a", 1, &before), enqueued("b", 1, &other), enqueued("x", 2, &after)];
    let runs = advance(store, new.into(), vec![]).await;
    let [a, b] = &runs[..] else { panic!("{runs:?}") };
    assert_eq!(advance(store, vec![], vec![report(a, &ids(a))]).await, []);
    assert_eq!(store.lines().sweep(Uuid::nil(), &[], &[]).await.unwrap(), Some(vec![]));
    assert_eq!(advance(store, vec![], vec![report(b, &ids(b))]).await, []);
    let runs = store.lines().sweep(Uuid::nil(), &[], &[]).await.unwrap().unwrap();
    assert_eq!(runs.iter().map(ids).collect::<Vec<_>>(), [[after.delivery.id]]);
}

#[tokio::test]
async fn a_run_that_was_not_published_is_published_again_by_one_process() {
    let fixture = Fixture::new("lines-unpublished").await;
    let (store, endpoint, task) = (&fixture.store, EndpointId::generate(), task(EndpointId::generate()));
    assert_ne!(endpoint, task.delivery.endpoint);
    let runs = advance(store, vec![enqueued("k", 0, &task)], vec![]).await;
    let other = Uuid::new_v4();
    assert_eq!(store.lines().sweep(other, &[], &[]).await.unwrap(), None, "another process has the lease");
    let sql = fixture.sql().await;
    sql.batch_execute("UPDATE ordered_lines SET released_at = now() - interval '1 minute'").await.unwrap();
    assert_eq!(store.lines().sweep(Uuid::nil(), &[], &[runs[0].run]).await.unwrap(), Some(vec![]), "it is publishing");
    sql.batch_execute("UPDATE ordered_sequencer SET until = now() - interval '1 s'").await.unwrap();
    assert_eq!(store.lines().sweep(other, &[], &[]).await.unwrap(), Some(runs.clone()));
    let confirmed = [(runs[0].line.clone(), runs[0].run)];
    assert_eq!(store.lines().sweep(other, &confirmed, &[]).await.unwrap(), Some(vec![]));
}
