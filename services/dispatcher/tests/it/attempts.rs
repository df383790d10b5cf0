//! Tests what an attempt sends and records, and when it is retried.

use std::time::Duration;

use postrider_broker::Queue;
use postrider_model::attempt::Outcome;
use postrider_model::delivery::{DeliveryStatus, EndpointStatus, Trigger};
use postrider_model::ids::{DeliveryId, Generation, RetryId};
use postrider_model::time::UnixMillis;
use postrider_wire::bundle::Member;
use postrider_wire::messages::{DeliveryTask, OutcomeReport, TestCall};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::receiver::{Receiver, Reply};
use crate::world::{BODY, PATIENCE, World, member};

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_sent_signed_and_reported() {
    let mut world = World::new("success", "magnetite").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint =
        world.endpoint(&receiver.url(), |draft| draft.private.headers = vec![("x-team".into(), "hush".into())]).await;
    world.dispatch().await;
    let task = world.task(&endpoint);
    world.publish(std::slice::from_ref(&task)).await;

    let received = receiver.wait_for(1).await.remove(0);
    assert_eq!(&received.body[..], BODY);
    assert_eq!(received.header("webhook-id"), task.delivery.event.as_str());
    assert_eq!(received.header("postrider-delivery"), task.delivery.id.to_string());
    assert_eq!(received.header("postrider-attempt"), "1");
    assert_eq!(received.header("user-agent"), "Magnetite-Webhooks/1.0");
    assert_eq!(received.header("x-team"), "hush");
    assert!(received.header("x-magnetite-signature").starts_with("sha256="));

    let id = task.delivery.id;
    let (report, excerpt) = world.report(|report| report.delivery.id == id).await;
    assert_eq!((report.status, &excerpt[..]), (DeliveryStatus::Delivered, &b"thanks"[..]));
    assert_eq!(report.delivery, task.delivery);
    let attempt = report.attempt.unwrap();
    assert_eq!((attempt.number, attempt.status_code, attempt.outcome), (1, Some(200), Outcome::Success));
    assert_eq!((attempt.url, attempt.held_ms, attempt.late_ms), (receiver.url(), 0, None));
    assert!(attempt.first_byte_us.unwrap() <= attempt.duration_us);
    let headers = attempt.request_headers.pairs();
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    assert_eq!(header("x-team"), Some("***"));
    assert_eq!(header("webhook-id"), Some(task.delivery.event.as_str()));
    world.finish().await;
}

/// Starts a server that responds to every connection with these bytes and closes the connection. Returns the server's URL.
async fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 16_384];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_answer_keeps_its_status() {
    let mut world = World::new("cut", "standard").await;
    world.dispatch().await;
    for (answer, status, disables) in [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789".as_slice(), DeliveryStatus::Delivered, false),
        (b"HTTP/1.1 410 Gone\r\ncontent-length: 100\r\n\r\n0123456789".as_slice(), DeliveryStatus::Failed, true),
    ] {
        let endpoint = world.endpoint(&answering(answer).await, |_| {}).await;
        let task = world.task(&endpoint);
        world.publish(std::slice::from_ref(&task)).await;
        let (report, excerpt) = world.report(|report| report.delivery.id == task.delivery.id).await;
        assert_eq!((report.status, report.disable_endpoint, &excerpt[..]), (status, disables, &b"0123456789"[..]));
        let error = report.attempt.unwrap().error.unwrap();
        assert!(error.starts_with("answer incomplete: "), "{error}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_retried_by_the_schedule_with_the_same_bytes() {
    let mut world = World::new("retries", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(500)).await;
    let schedule = |seconds: &[u32]| Some(seconds.to_vec());
    let endpoint =
        world.endpoint(&receiver.url(), |draft| draft.document.retry_schedule_seconds = schedule(&[1, 2])).await;
    world.dispatch().await;
    let task = world.task(&endpoint);
    world.publish(std::slice::from_ref(&task)).await;

    let received = receiver.wait_for(3).await;
    let gap = |n: usize| received[n].at.0 - received[n - 1].at.0;
    // The standard profile's jitter lengthens a delay by at most 10%. The ladder lengthens a delay by at most 1 s or 5%.
    assert!((1_000..3_500).contains(&gap(1)) && (2_000..4_500).contains(&gap(2)), "{} {}", gap(1), gap(2));
    let mut numbers = Vec::new();
    let mut send_ids = Vec::new();
    for expected in [DeliveryStatus::Pending, DeliveryStatus::Pending, DeliveryStatus::Failed] {
        let report = world.report_of(&task).await;
        let attempt = report.attempt.unwrap();
        assert_eq!(report.status, expected);
        assert_eq!(report.next_attempt_at.is_some(), expected == DeliveryStatus::Pending);
        assert_eq!(attempt.trigger, if attempt.number == 1 { Trigger::First } else { Trigger::Retry });
        assert_eq!(attempt.late_ms.is_some(), attempt.number > 1);
        numbers.push(attempt.number);
        send_ids.push(attempt.send_id);
    }
    assert_eq!(numbers, [1, 2, 3]);
    send_ids.dedup();
    assert_eq!(send_ids.len(), 3);
    assert!(
        received
            .iter()
            .all(|r| r.body == received[0].body && r.header("webhook-id") == received[0].header("webhook-id"))
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_lengthens_the_delay() {
    let mut world = World::new("retry_after", "magnetite").await;
    let replies = |n| if n == 0 { Reply::RetryAfter(503, "3") } else { Reply::Status(200) };
    let receiver = Receiver::start(replies).await;
    let endpoint = world.endpoint(&receiver.url(), |_| {}).await;
    world.dispatch().await;
    let task = world.task(&endpoint);
    world.publish(std::slice::from_ref(&task)).await;
    let received = receiver.wait_for(2).await;
    let gap = received[1].at.0 - received[0].at.0;
    assert!(gap >= 3_000, "{gap} ms");
    assert_eq!(world.report_of(&task).await.status, DeliveryStatus::Pending);
    assert_eq!(world.report_of(&task).await.status, DeliveryStatus::Delivered);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_attempts_in_flight() {
    let mut world = World::new("drain", "standard").await;
    let receiver = Receiver::start(|_| Reply::After(Duration::from_millis(700), 200)).await;
    let endpoint = world.endpoint(&receiver.url(), |_| {}).await;
    let stop = world.dispatch().await;
    let task = world.task(&endpoint);
    world.publish(std::slice::from_ref(&task)).await;
    receiver.wait_for(1).await;
    stop.cancel();
    assert_eq!(world.report_of(&task).await.status, DeliveryStatus::Delivered);
    let broker = world.broker.clone();
    world.finish_dispatchers().await;
    assert_eq!(broker.queue_depth("postrider.lane.live").await.unwrap().messages, 0);
    assert_eq!(receiver.received().len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_member_alone_becomes_a_dead_letter() {
    let mut world = World::new("poison", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let endpoint = world.endpoint(&receiver.url(), |_| {}).await;
    let tasks: Vec<DeliveryTask> = (0..31).map(|_| world.task(&endpoint)).collect();
    let mut members: Vec<Member> = tasks.iter().map(member).collect();
    members.insert(17, Member { head: "{\"delivery\":7}".into(), payload: "x".into() });
    world.publish_members(members).await;
    world.dispatch().await;
    for task in &tasks {
        assert_eq!(world.report_of(task).await.status, DeliveryStatus::Delivered);
    }
    world.wait_for_depth("postrider.dead-letters", 1).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_call_works_while_the_endpoint_is_inactive() {
    let mut world = World::new("test_call", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(418)).await;
    let endpoint = world.endpoint(&receiver.url(), |draft| draft.status = EndpointStatus::Inactive).await;
    world.dispatch().await;
    let mut task = DeliveryTask { trigger: Trigger::Test, ..world.task(&endpoint) };
    let generation = Generation::Test(RetryId::generate());
    task.delivery.id = DeliveryId::derive(world.tenant, &task.delivery.event, endpoint.id, &generation);
    task.delivery.generation = generation;
    let call = TestCall { task: task.clone(), answer_by: UnixMillis::now().plus(PATIENCE) };
    let client = world.broker.rpc_client(&CancellationToken::new()).await.unwrap();
    let request = Member::new(&call, BODY.into()).unwrap();
    let answer = client.call(Queue::RpcTest, request, PATIENCE).await.unwrap();
    let report: OutcomeReport = answer.head().unwrap();
    assert_eq!(report.status, DeliveryStatus::Failed);
    assert_eq!(report.attempt.as_ref().unwrap().status_code, Some(418));
    assert_eq!(&answer.payload[..], b"thanks");
    assert_eq!(world.report_of(&task).await, report);
    assert_eq!(receiver.received().len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_to_postrider_itself_is_refused_and_its_attempt_says_so() {
    let mut world = World::new("loop", "standard").await;
    // This is one of Postrider's own servers, without routes.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/publish", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let serving = tokio::spawn(postrider_http::server::serve(listener, Default::default(), stop.clone()));
    let endpoint = world.endpoint(&url, |_| {}).await;
    world.dispatch().await;
    let task = world.task(&endpoint);
    world.publish(std::slice::from_ref(&task)).await;

    let report = world.report_of(&task).await;
    assert_eq!(report.status, DeliveryStatus::Pending, "retried like any failure");
    let attempt = report.attempt.unwrap();
    assert_eq!((attempt.status_code, attempt.outcome), (Some(508), Outcome::HttpStatus));
    assert!(attempt.error.as_ref().is_some_and(|error| error.starts_with("loop refused")), "{:?}", attempt.error);
    stop.cancel();
    serving.await.unwrap();
    world.finish().await;
}
