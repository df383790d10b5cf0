//! The operator's pages about dead letters: the filters, and sending back or discarding several letters.

use axum::http::StatusCode;
use bytes::Bytes;
use postrider_broker::Queue;
use postrider_model::time::UnixMillis;
use postrider_store::record::{DeadLetter, RecordBatch};

use crate::harness::{OPERATOR, World};
use crate::pages::{Page, get, post, sign_in};

const LIST: &str = "/dashboard/operator/dead-letters";
const SEVERAL: &str = "/dashboard/operator/several-dead-letters";

pub(crate) async fn record(world: &World, letters: impl IntoIterator<Item = (&str, String)>) {
    let letter = |(source, reason): (&str, String)| DeadLetter {
        received_at: UnixMillis::now(),
        source: source.to_owned(),
        body: Bytes::from(format!(r#"{{"says": "<b>{reason}"}}"#)),
        reason,
        whole_bytes: None,
        producer: None,
        headers: Vec::new(),
        routing_key: String::new(),
        content_type: None,
        message_id: None,
    };
    let rows = RecordBatch { dead_letters: letters.into_iter().map(letter).collect(), ..RecordBatch::default() };
    world.store.record().write(&rows).await.unwrap();
}

/// The ids of the checkboxes on a page.
fn ids(page: &Page) -> Vec<String> {
    let found = page.text.split("name=\"ids\" value=\"").skip(1);
    found.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

/// The hidden fields of the form on a page that confirms a change, or continues with the next letters.
fn hidden(page: &Page) -> Vec<(String, String)> {
    let form = page.text.split("<form").find(|form| form.contains("name=\"confirmed\"")).expect("a form");
    let fields = form.split("<input type=\"hidden\" name=\"").skip(1).map(|rest| {
        let (name, rest) = rest.split_once("\" value=\"").unwrap();
        (name.to_owned(), rest.split('"').next().unwrap().replace("&amp;", "&").replace("&lt;", "<"))
    });
    fields.collect()
}

async fn submit(world: &World, cookie: &str, form: &[(String, String)]) -> Page {
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    post(world, cookie, SEVERAL, &form).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chosen_dead_letters_are_sent_back_or_discarded_after_a_question() {
    let world = crate::world("dash_letters").await;
    let sources = [("postrider.fanout", "one <i>"), ("postrider.fanout", "two"), ("unknown", "three")];
    record(&world, sources.map(|(source, reason)| (source, reason.to_owned()))).await;
    let cookie = sign_in(&world, OPERATOR).await;
    let list = get(&world, &cookie, LIST).await;
    assert_eq!(ids(&list).len(), 3);
    assert!(list.text.contains("one &lt;i&gt;") && list.text.len() < 300_000);
    let of = async |query: &str| ids(&get(&world, &cookie, &format!("{LIST}?{query}")).await);
    let (fanout, one, three) = (of("source=postrider.fanout").await, of("reason=ONE").await, of("reason=three").await);
    assert_eq!((fanout.len(), one.len(), of("to=2020-01-01T00:00").await.len()), (2, 1, 0));
    let nothing = get(&world, &cookie, &format!("{LIST}?reason=nothing")).await.text;
    assert!(nothing.contains("No dead letters match") && !nothing.contains("Send back all"), "{nothing}");

    let csrf = list.csrf();
    let form = |action: &str, ids: &[String]| -> Vec<(String, String)> {
        let fixed = [("csrf", csrf.as_str()), ("action", action), ("back", "reason=x")];
        let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
        fixed.into_iter().chain(ids.iter().map(|id| ("ids".to_owned(), id.clone()))).collect()
    };
    assert!(submit(&world, &cookie, &form("requeue", &[])).await.text.contains("No dead letter selected"));
    let sent = submit(&world, &cookie, &form("requeue", &[one.clone(), three.clone()].concat())).await.text;
    assert!(sent.contains("1 dead letter sent back") && sent.contains("1 dead letter not sent back: "), "{sent}");
    assert!(sent.contains("unknown is not a requeueable queue") && sent.contains("dead-letters?reason=x"), "{sent}");
    assert_eq!(world.broker.queue_depth(Queue::Fanout.name()).await.unwrap().messages, 1);

    let asked = submit(&world, &cookie, &form("discard", &three)).await;
    assert!(asked.text.contains("Discard 1 dead letter?"), "{}", asked.text);
    assert_eq!(of("").await.len(), 2, "nothing is discarded before the answer");
    let done = submit(&world, &cookie, &hidden(&asked)).await.text;
    assert!(done.contains("1 dead letter discarded"), "{done}");
    assert_eq!((of("").await.len(), of("state=discarded").await.len()), (1, 0));

    // The page of a letter shows its message, and what was done with the letter.
    let at = format!("{LIST}/{}", one[0]);
    let gone = get(&world, &cookie, &at).await.text;
    assert!(gone.contains("sent back") && !gone.contains("/requeue") && gone.contains("audit-log?target="), "{gone}");
    assert!(gone.contains("&lt;b&gt;one"), "{gone}");
    let last = of("").await.remove(0);
    let at = format!("{LIST}/{last}");
    let shown = get(&world, &cookie, &at).await;
    assert!(shown.text.contains("j-key"), "the message is shown as JSON: {}", shown.text);
    assert!(get(&world, &cookie, &format!("{at}/discard")).await.text.contains("Discard this dead letter?"));
    let done = post(&world, &cookie, &format!("{at}/discard"), &[("csrf", &shown.csrf())]).await;
    assert_eq!((done.status, of("").await.len()), (StatusCode::SEE_OTHER, 0), "{}", done.text);
    assert!(get(&world, &cookie, &format!("{LIST}?state=all")).await.text.contains("discarded"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_dead_letters_that_match_are_discarded_step_by_step() {
    let world = crate::world("dash_letters_all").await;
    record(&world, (0..210).map(|n| ("postrider.fanout", format!("bad {n}")))).await;
    record(&world, [("postrider.fanout", "good".to_owned())]).await;
    let cookie = sign_in(&world, OPERATOR).await;
    let list = get(&world, &cookie, &format!("{LIST}?reason=bad&range=day")).await;
    assert!(list.text.len() < 300_000, "{} bytes", list.text.len());
    let form = [("csrf", list.csrf().as_str()), ("action", "discard-all"), ("back", "reason=bad&range=day")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let asked = submit(&world, &cookie, &form).await;
    assert!(asked.text.contains("Discard the first 200 dead letters?"), "{}", asked.text);
    assert!(asked.text.contains("Received before"), "letters that arrive later are not included: {}", asked.text);
    // This letter arrives after the question, so it is not discarded.
    record(&world, [("postrider.fanout", "bad but late".to_owned())]).await;
    let first = submit(&world, &cookie, &hidden(&asked)).await;
    assert!(
        first.text.contains("200 dead letters discarded") && first.text.contains("the next ones"),
        "{}",
        first.text
    );
    let second = submit(&world, &cookie, &hidden(&first)).await.text;
    assert!(second.contains("10 dead letters discarded") && !second.contains("the next ones"), "{second}");
    let left = get(&world, &cookie, LIST).await;
    assert_eq!(ids(&left).len(), 2);
    assert!(left.text.contains("bad but late") && left.text.contains("good"), "{}", left.text);
}
