//! Tests that the last report of a stopped ingest covers all events that it accepted.

use std::sync::Arc;
use std::time::Duration;

use postrider_broker::{Broker, BrokerConfig, ConsumeOptions, MessageRoute, ProducerMessage, Queue};
use postrider_ingest::{Config, Deps, start};
use postrider_model::time::UnixMillis;
use postrider_profiles::{Mappings, Profiles};
use postrider_store::config::TenantDraft;
use postrider_store::crypto::MasterKeys;
use postrider_store::{Store, StoreConfig};
use postrider_telemetry::health::Health;
use postrider_testkit::engines::Scope;
use postrider_wire::bundle::{self, Member};
use postrider_wire::messages::{AcceptedEvent, NumbersReport};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);
/// Several times the number of messages that the consumer processes at the same time.
const MESSAGES: usize = 1_000;
/// The `instance` of the last report that the test publishes. It marks the end of the messages to read.
const END: u64 = 1;

/// The contents of the event log's queue: the numbers of accepted events, and the number below which all numbers are settled.
#[derive(Default)]
struct Log {
    accepted: Vec<u64>,
    settled_below: u64,
    ended: bool,
}

impl Log {
    fn read(&mut self, body: &[u8]) {
        for member in bundle::decode(body).expect("a bundle") {
            match member.head::<NumbersReport>() {
                Ok(report) if report.instance == END => self.ended = true,
                Ok(report) => self.settled_below = report.settled_below,
                Err(_) => self.accepted.push(member.head::<AcceptedEvent>().expect("an event").sequence),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_report_of_numbers_follows_the_last_exchange_message() {
    let scope = Scope::new("ingest_stop").await;
    let store = Store::connect(StoreConfig::new(&scope.database_url), MasterKeys::none()).unwrap();
    store.migrate().await.unwrap();
    let tenant = store.config().create_tenant(&TenantDraft::new("Acme", "standard")).await.unwrap().id;
    let connected = CancellationToken::new();
    let broker = Broker::connect(BrokerConfig::new(&scope.amqp_url, "ingest test"), connected).await.unwrap();
    let deps = Deps {
        broker: broker.clone(),
        store,
        profiles: Arc::new(Profiles::builtin()),
        mappings: Arc::new(Mappings::load(None).unwrap()),
        ready: Health::new().check("ingest"),
    };
    let (_routes, role) = start(&Config::default(), deps);
    let stop = CancellationToken::new();
    let running = tokio::spawn(role.run(stop.clone()));

    let producer = broker.message_publisher();
    let publish = |number: usize| {
        let event = format!(r#"{{"tenant":"{tenant}","type":"order.paid","data":{{}},"id":"e{number}"}}"#);
        let message = ProducerMessage {
            routing_key: format!("{tenant}.order.paid"),
            body: event.into(),
            ..ProducerMessage::default()
        };
        let producer = producer.clone();
        async move { producer.requeue(Queue::Intake, &message).await }
    };
    futures::future::try_join_all((0..MESSAGES).map(publish)).await.unwrap();

    // The role is stopped while it works: some messages are accepted, and many messages are in flight.
    let read_until = CancellationToken::new();
    let options = ConsumeOptions { prefetch: 1_000, ..ConsumeOptions::default() };
    let mut reader = broker.consume_raw(Queue::EventLog, options, read_until.clone());
    let mut log = Log::default();
    let first = timeout(PATIENCE, reader.recv()).await.expect("in time").expect("a message");
    log.read(&first.body);
    first.ack();
    stop.cancel();
    timeout(PATIENCE, running).await.expect("in time").expect("no panic").expect("no task fails");

    // The broker confirmed every event and report before the role ended, so all of them precede this report in the queue.
    let end = NumbersReport { instance: END, settled_below: 0, given_up: Vec::new(), reported_at: UnixMillis(0) };
    let end = Member::new(&end, Default::default()).unwrap();
    producer.publish(MessageRoute::Queue(Queue::EventLog.name()), &[end]).await.unwrap();
    while !log.ended {
        let message = timeout(PATIENCE, reader.recv()).await.expect("in time").expect("a message");
        log.read(&message.body);
        message.ack();
    }
    read_until.cancel();
    let last = log.accepted.iter().max().copied().expect("events");
    assert!(log.settled_below > last, "settled below {}, accepted up to {last}", log.settled_below);
    broker.close().await;
}
