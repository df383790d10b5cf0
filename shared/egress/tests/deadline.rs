//! Tests endpoints that stall an attempt before their answer (while the client connects, shakes hands or sends its body), and
//! an endpoint whose answer is labelled as compressed.

use std::time::Duration;

use bytes::Bytes;
use postrider_egress::{Egress, EgressConfig, Headers, Request, Response, Url};
use postrider_model::attempt::Outcome;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);

async fn post(url: &str, body: Bytes, within: Duration) -> Response {
    let allow = vec!["127.0.0.0/8".parse().expect("a range")];
    let egress = Egress::new(EgressConfig { allow, ..EgressConfig::default() }).expect("egress");
    egress
        .send(Request { url: &Url::parse(url).expect("a URL"), headers: Headers::default(), body, timeout: within })
        .await
}

#[track_caller]
fn cut_off(response: &Response) {
    assert_eq!((response.outcome, response.status_code), (Outcome::Timeout, None), "{:?}", response.error);
    assert!(response.duration >= SHORT, "{:?}", response.duration);
}

#[tokio::test]
async fn an_endpoint_that_does_not_take_the_connection_is_cut_off() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let listener = socket.listen(1).expect("listening");
    let address = listener.local_addr().expect("bound");
    // No connection is accepted, so the system does not answer after the queue is full.
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(SHORT, TcpStream::connect(address)).await {
        waiting.push(connected.expect("queued"));
    }
    cut_off(&post(&format!("http://{address}/"), Bytes::new(), SHORT).await);
}

#[tokio::test]
async fn an_endpoint_that_never_shakes_hands_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    // The system accepts the connection, but the endpoint sends no bytes.
    let url = format!("https://{}/", listener.local_addr().expect("bound"));
    cut_off(&post(&url, Bytes::new(), SHORT).await);
}

#[tokio::test]
async fn an_endpoint_that_does_not_take_the_body_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    // The body is larger than the buffers of the system for a peer that does not read.
    cut_off(&post(&url, Bytes::from(vec![b'a'; 32 * 1024 * 1024]), SHORT).await);
}

#[tokio::test]
async fn an_answer_labelled_as_compressed_is_kept_unchanged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    // This is the beginning of a gzip stream. A client that decompressed it would fail.
    let body = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff";
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).await.expect("answered");
    });
    let response = post(&url, Bytes::new(), LONG).await;
    assert_eq!((response.outcome, response.status_code), (Outcome::Success, Some(200)), "{:?}", response.error);
    assert_eq!(response.excerpt.as_ref(), body);
}
