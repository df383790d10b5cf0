//! Remote calls and their answers.

use std::time::Duration;

use bytes::Bytes;
use postrider_broker::Queue;
use postrider_broker::rpc::RpcError;
use postrider_wire::bundle::Member;
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, Vhost, eventually, member};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_answered_or_times_out_without_a_server() {
    let vhost = Vhost::new("rpc").await;
    let (api, dispatcher) = (vhost.broker().await, vhost.broker().await);
    let client = api.rpc_client(&CancellationToken::new()).await.unwrap();
    let unanswered = client.call(Queue::RpcTest, member(0), Duration::from_millis(300)).await;
    assert_eq!(unanswered, Err(RpcError::Timeout(Duration::from_millis(300))));

    let stop = CancellationToken::new();
    let (token, serving) = (stop.clone(), dispatcher.clone());
    let server = tokio::spawn(async move {
        let handler = |request: Member| async move { Some(Member { payload: Bytes::from_static(b"done"), ..request }) };
        serving.serve_rpc(Queue::RpcTest, 8, handler, token).await;
    });
    let calls = (1..20).map(|n| client.call(Queue::RpcTest, member(n), PATIENCE));
    for (n, answer) in futures::future::join_all(calls).await.into_iter().enumerate() {
        let answer = answer.unwrap();
        assert_eq!((answer.head, &answer.payload[..]), (member(n as u64 + 1).head, &b"done"[..]));
    }
    vhost.cut("rpc").await;
    eventually("calls to work again", async || {
        client.call(Queue::RpcTest, member(1), Duration::from_secs(5)).await.is_ok()
    })
    .await;
    stop.cancel();
    server.await.unwrap();
    assert_eq!(dispatcher.queue_depth(Queue::RpcTest.name()).await.unwrap().messages, 0);
    vhost.finish().await;
}
