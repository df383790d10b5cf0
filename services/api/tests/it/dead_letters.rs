//! Dead letters: their list with its filters, and requeueing and discarding several of them.

use std::time::Duration;

use bytes::Bytes;
use postrider_broker::Queue;
use postrider_model::time::UnixMillis;
use postrider_store::record::{DeadLetter, RecordBatch};
use serde_json::{Value, json};

use crate::harness::{OPERATOR, World};

/// Maximum time that a test waits for messages in a queue.
const PATIENCE: Duration = Duration::from_secs(60);

/// A dead letter without a producer, received `age_s` seconds ago. Its body is the text of its reason.
fn letter(source: &str, reason: &str, age_s: i64) -> DeadLetter {
    DeadLetter {
        received_at: UnixMillis(UnixMillis::now().0 - age_s * 1_000),
        source: source.to_owned(),
        reason: reason.to_owned(),
        body: Bytes::from(reason.to_owned()),
        whole_bytes: None,
        producer: None,
        headers: vec![("x-source".into(), source.into())],
        routing_key: String::new(),
        content_type: None,
        message_id: None,
    }
}

async fn record(world: &World, letters: Vec<DeadLetter>) {
    let rows = RecordBatch { dead_letters: letters, ..RecordBatch::default() };
    world.store.record().write(&rows).await.unwrap();
}

async fn list(world: &World, query: &str) -> Vec<Value> {
    let page = world.get(OPERATOR, &format!("/v1/dead-letters?{query}")).await.ok(200);
    page["data"].as_array().unwrap().clone()
}

fn reasons(letters: &[Value]) -> Vec<&str> {
    letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect()
}

async fn depth(world: &World, queue: Queue) -> u32 {
    world.broker.queue_depth(queue.name()).await.unwrap().messages
}

/// Waits until a queue has this many messages. Requeued messages may be published after the answer.
async fn wait_for_depth(world: &World, queue: Queue, expected: u32) {
    let waiting = async {
        while depth(world, queue).await < expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert_eq!(depth(world, queue).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_read_and_requeued_to_the_queue_that_it_may_return_to() {
    let world = World::new("api_dead_letters").await;
    let own = DeadLetter { body: Bytes::from(vec![b'x'; 5_000]), ..letter("postrider.fanout", "panic: oh no", 50) };
    // This dead letter has a producer, but its source is a queue of Postrider: a producer can forge the source in a message.
    let forged = DeadLetter {
        routing_key: "ten_operator.a.b".into(),
        producer: Some("ten_operator".into()),
        ..letter("postrider.fanout", "forged", 40)
    };
    let cut = DeadLetter { whole_bytes: Some(300_000), reason: "cut".into(), ..forged.clone() };
    record(&world, vec![own, forged, cut, letter("unknown", "unknown", 30)]).await;
    let shown = list(&world, "reason=panic").await.remove(0);
    assert_eq!((&shown["source"], &shown["reason"]), (&json!("postrider.fanout"), &json!("panic: oh no")));
    assert_eq!((&shown["body_bytes"], shown["body_excerpt"].as_str().unwrap().len()), (&json!(5_000), 4_096));
    let path = format!("/v1/dead-letters/{}", shown["id"].as_str().unwrap());
    assert_eq!(world.get(OPERATOR, &path).await.ok(200), shown);
    world.get(OPERATOR, "/v1/dead-letters/999999").await.problem(404, "");

    let requeue = async |reason: &str| {
        let found = list(&world, &format!("reason={reason}")).await;
        world.post(OPERATOR, &format!("/v1/dead-letters/{}/requeue", found[0]["id"].as_str().unwrap()), json!({})).await
    };
    requeue("unknown").await.problem(409, "");
    requeue("cut").await.problem(409, "");
    requeue("forged").await.ok(202);
    assert_eq!(
        (depth(&world, Queue::Intake).await, depth(&world, Queue::Fanout).await),
        (1, 0),
        "a producer's goes to the intake alone"
    );
    requeue("forged").await.problem(409, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_filtered_by_reason_source_time_and_state() {
    let world = World::new("api_letter_filter").await;
    let (one, two) =
        (letter("postrider.intake", "no such tenant", 3_600), letter("postrider.fanout", "panic: 50% of ü", 60));
    record(&world, vec![one, two.clone(), letter("unknown", "No Such reason", 30)]).await;
    let all = ["No Such reason", "panic: 50% of ü", "no such tenant"];
    let ago = |seconds: i64| UnixMillis(UnixMillis::now().0 - seconds * 1_000).to_rfc3339_millis();
    let cases: [(String, &[&str]); 10] = [
        (String::new(), &all),
        ("state=open".into(), &all),
        ("reason=NO%20SUCH".into(), &[all[0], all[2]]),
        ("reason=50%25%20of".into(), &all[1..2]),
        ("reason=_".into(), &[]),
        ("source=postrider.fanout".into(), &all[1..2]),
        (format!("from={}", ago(600)), &all[..2]),
        (format!("to={}", ago(600)), &all[2..]),
        (format!("from={}&source=unknown&reason=reason", ago(600)), &all[..1]),
        ("state=discarded".into(), &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(reasons(&list(&world, &query).await), expected, "{query}");
    }
    world.get(OPERATOR, "/v1/dead-letters?state=gone").await.problem(422, "state");
    let reversed = format!("/v1/dead-letters?from={}&to={}", ago(10), ago(20));
    world.get(OPERATOR, &reversed).await.problem(422, "from");

    let change = async |action: &str, reason: &str| {
        let body = json!({"filter": {"reason": reason}});
        let done = world.post(OPERATOR, &format!("/v1/dead-letters/{action}"), body).await.ok(200);
        assert_eq!((&done["changed"], &done["next_cursor"]), (&json!(1), &Value::Null), "{done:#}");
    };
    change("discard", "panic").await;
    change("requeue", "tenant").await;
    assert_eq!(reasons(&list(&world, "state=requeued").await), all[2..]);
    assert_eq!(reasons(&list(&world, "state=open").await), all[..1]);
    let discarded = list(&world, "state=discarded").await;
    assert_eq!(reasons(&discarded), all[1..2]);
    let log = world.get(OPERATOR, "/v1/audit-log?action=dead_letter.discarded").await.ok(200);
    assert_eq!((&log["data"][0]["target"], &log["data"][1]), (&discarded[0]["id"], &Value::Null), "{log:#}");
    assert!(discarded[0]["discarded_at"].is_string() && discarded[0]["discarded_by"] == log["data"][0]["actor"]["id"]);

    // If the same message fails again, it becomes another dead letter.
    record(&world, vec![two]).await;
    assert_eq!(reasons(&list(&world, "state=open").await), all[..2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_match_are_requeued_in_steps_and_what_cannot_be_requeued_is_told() {
    let world = World::new("api_letters_all").await;
    let mut letters: Vec<_> = (0..229).map(|n| letter("postrider.fanout", &format!("bad {n}"), n)).collect();
    letters.extend([letter("unknown", "bad source", 5), letter("postrider.fanout", "good", 5)]);
    record(&world, letters).await;
    let requeue = async |cursor: &Value, dry_run: bool| {
        let body = json!({"filter": {"reason": "bad"}, "cursor": cursor, "dry_run": dry_run});
        world.post(OPERATOR, "/v1/dead-letters/requeue", body).await.ok(200)
    };
    let preview = requeue(&Value::Null, true).await;
    assert_eq!((&preview["changed"], preview["refused"].as_array().unwrap().len()), (&json!(199), 1), "{preview:#}");
    assert_eq!(list(&world, "state=open&reason=bad&limit=200").await.len(), 200, "a dry run changes nothing");
    let first = requeue(&Value::Null, false).await;
    assert_eq!((&first["changed"], &first["refused"]), (&preview["changed"], &preview["refused"]));
    assert_eq!(first["refused"][0]["detail"], json!("cannot requeue: unknown is not a requeueable queue"));
    let second = requeue(&first["next_cursor"], false).await;
    assert_eq!((&second["changed"], &second["next_cursor"]), (&json!(30), &Value::Null), "{second:#}");
    wait_for_depth(&world, Queue::Fanout, 229).await;
    assert_eq!(reasons(&list(&world, "state=open").await), ["good", "bad source"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chosen_dead_letters_are_changed_and_the_others_are_told_with_the_reason() {
    let world = World::new("api_letters_chosen").await;
    record(&world, (0..3).map(|n| letter("postrider.fanout", &format!("r{n}"), n)).collect()).await;
    let ids: Vec<Value> = list(&world, "").await.iter().map(|letter| letter["id"].clone()).collect();
    let change = async |action: &str, ids: &[&Value]| {
        world.post(OPERATOR, &format!("/v1/dead-letters/{action}"), json!({"ids": ids})).await.ok(200)
    };
    assert_eq!(change("requeue", &[&ids[0]]).await["changed"], json!(1));
    let (unknown, text) = (json!("999999"), json!("x"));
    let done = change("discard", &[&ids[0], &ids[1], &ids[1], &unknown, &text]).await;
    assert_eq!(done["changed"], json!(1), "{done:#}");
    let refused = done["refused"].as_array().unwrap();
    let detail = |id: &Value| refused.iter().find(|one| one["id"] == *id).unwrap()["detail"].as_str().unwrap();
    assert!(detail(&ids[0]).starts_with("it was already requeued at 2"), "{done:#}");
    assert_eq!((detail(&unknown), detail(&text), refused.len()), ("no such dead letter", "no such dead letter", 3));
    assert!(change("requeue", &[&ids[1]]).await["refused"][0]["detail"].as_str().unwrap().contains("discarded at"));
    assert_eq!(reasons(&list(&world, "state=open").await), ["r2"]);

    let many: Vec<String> = (0..201).map(|n| n.to_string()).collect();
    let filter = json!({"reason": "r"});
    let mistakes = [
        (json!({}), "/ids"),
        (json!({"ids": []}), "/ids"),
        (json!({"ids": many}), "/ids"),
        (json!({"ids": ["1"], "filter": filter}), "/ids"),
        (json!({"ids": ["1"], "cursor": "x"}), "/cursor"),
        (json!({"filter": {"state": "requeued"}}), "/filter/state"),
        (json!({"filter": {"reasons": "r"}}), "/filter/reasons"),
        (json!({"filter": {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}}), "/filter/from"),
        (json!({"filter": filter, "cursor": "x"}), "cursor"),
    ];
    for (body, pointer) in mistakes {
        world.post(OPERATOR, "/v1/dead-letters/discard", body).await.problem(422, pointer);
    }
    let tenant = world.tenant("standard").await;
    world.post(&tenant.key, "/v1/dead-letters/discard", json!({"filter": {}})).await.problem(403, "");
    assert_eq!(list(&world, "state=open").await.len(), 1, "nothing else changed");
}
