//! Tests how the bytes of complete and incomplete answers are interpreted.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use std::time::Duration;

use super::*;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\n\r\n";

/// Reads an answer whose bytes arrive in pieces of `piece` bytes, followed by the end of the connection.
async fn read_in_pieces(bytes: &[u8], piece: usize) -> Result<Answer, NoAnswer> {
    let (mut ours, mut theirs) = tokio::io::duplex(64);
    let bytes = bytes.to_vec();
    let server = tokio::spawn(async move {
        let mut request = vec![0; HEAD.len()];
        theirs.read_exact(&mut request).await.unwrap();
        for piece in bytes.chunks(piece) {
            if theirs.write_all(piece).await.is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let answer = exchange(&mut ours, (Bytes::from_static(HEAD), Bytes::new()), deadline, Kind::Post).await;
    drop(ours);
    server.await.unwrap();
    answer
}

async fn read(bytes: &[u8]) -> Result<Answer, NoAnswer> {
    read_in_pieces(bytes, 64).await
}

#[track_caller]
fn check(answer: Result<Answer, NoAnswer>, code: u16, missing: Option<&str>) {
    let answer = answer.unwrap();
    assert_eq!(answer.status_code, Some(code));
    match (&answer.incomplete, missing) {
        (None, None) => {}
        (Some(words), Some(missing)) => {
            assert!(words.starts_with("answer incomplete: ") && words.contains(missing), "{words}")
        }
        other => panic!("{other:?}"),
    }
    assert!(answer.incomplete.is_none() || answer.reusable.is_none());
}

#[tokio::test]
async fn a_complete_answer_leaves_the_connection_for_the_next_request() {
    for (bytes, announced) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK", None),
        ("HTTP/1.1 204 No\r\n\r\n", None),
        ("\r\nHTTP/1.1 200\r\ncontent-length: 0\r\nKeep-Alive: max=9, timeout=5\r\n\r\n", Some(5)),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\ncontent-length: 0\n\n",
            None,
        ),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n", None),
    ] {
        for piece in [1, 2, 3, 7, 64] {
            let answer = read_in_pieces(bytes.as_bytes(), piece).await.unwrap();
            let expected = Some(Reusable { keep_alive: announced.map(Duration::from_secs) });
            assert_eq!((answer.reusable, &answer.incomplete), (expected, &None), "{bytes}");
        }
    }
}

#[tokio::test]
async fn a_connection_with_leftover_bytes_is_not_used_again() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: foo, Close\r\n\r\nOK",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nOK",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOKHTTP/1.1 500 No\r\n",
        "HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nOK",
        "HTTP/1.1 101 Switching\r\n\r\n",
    ] {
        let answer = read(bytes.as_bytes()).await.unwrap();
        assert_eq!((answer.reusable, &answer.incomplete), (None, &None), "{bytes}");
    }
}

#[tokio::test]
async fn a_status_line_keeps_its_meaning() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    check(read(cut.as_bytes()).await, 200, Some("closed after 3 of 10 bytes"));
    check(read(b"HTTP/1.1 202 OK\r\n").await, 202, Some("closed within its headers"));
    check(read(b"HTTP/1.1 410 Gone\r\nx: y\r\nz").await, 410, Some("closed within its headers"));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    check(read(format!("{chunked}5\r\nab").as_bytes()).await, 200, Some("closed within its body"));
    check(read(format!("{chunked}oops\r\n").as_bytes()).await, 200, Some("chunk's size"));
    let lengths = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab";
    check(read(lengths.as_bytes()).await, 200, Some("two different Content-Length"));
    check(read(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n").await, 200, Some("not HTTP/1.1"));
    let many: String = (0..101).map(|index| format!("x-{index}: v\r\n")).collect();
    check(read(format!("HTTP/1.1 200 OK\r\n{many}\r\n").as_bytes()).await, 200, Some("more than 100 headers"));
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(RESPONSE_HEAD_BYTES_MAX));
    check(read(large.as_bytes()).await, 200, Some("larger than 64 KiB"));
    check(read(b"HTTP/1.1 503 No\r\n\r\nuntil the end").await, 503, None);
}

#[tokio::test]
async fn headers_before_a_cut_are_kept() {
    let answer = read(b"HTTP/1.1 429 Slow\r\nRetry-After: 17\r\ncontent-le").await.unwrap();
    assert_eq!((answer.status_code, answer.retry_after.as_deref()), (Some(429), Some("17")));
    assert_eq!(answer.headers, [("retry-after".to_owned(), "17".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_an_answer_is_awaited_for_a_bounded_time() {
    let (mut ours, mut theirs) = tokio::io::duplex(64);
    theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
    let started = Instant::now();
    let answer =
        exchange(&mut ours, (Bytes::from_static(HEAD), Bytes::new()), started + Duration::from_secs(60), Kind::Post)
            .await;
    assert_eq!(started.elapsed().as_secs(), RESPONSE_REST_MAX.as_secs());
    check(answer, 200, Some("did not arrive within 5.0 s"));

    let (mut ours, mut theirs) = tokio::io::duplex(64);
    theirs.write_all(b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\n").await.unwrap();
    let answer = exchange(
        &mut ours,
        (Bytes::from_static(HEAD), Bytes::new()),
        Instant::now() + Duration::from_secs(1),
        Kind::Post,
    )
    .await;
    assert_eq!(answer.as_ref().unwrap().retry_after.as_deref(), Some("7"));
    check(answer, 429, Some("did not arrive within 1.0 s"));
    drop(theirs);

    let (mut ours, theirs) = tokio::io::duplex(64);
    let answer = exchange(
        &mut ours,
        (Bytes::from_static(HEAD), Bytes::new()),
        Instant::now() + Duration::from_secs(1),
        Kind::Post,
    )
    .await;
    assert!(matches!(answer, Err(NoAnswer::TimedOut)));
    drop(theirs);
}

#[tokio::test]
async fn missing_answers_are_distinguished() {
    assert!(matches!(read(b"").await, Err(NoAnswer::Closed(_))));
    assert!(matches!(read(b"HTTP/1.1 2").await, Err(NoAnswer::Cut)));
    assert!(matches!(read(b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n").await, Err(NoAnswer::Cut)));
    for bytes in
        ["SSH-2.0-OpenSSH_9.6\r\n", "ICY 200 OK\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 xyz\r\n\r\n", "\0\0\0"]
    {
        assert!(matches!(read(bytes.as_bytes()).await, Err(NoAnswer::NotHttp(_))), "{bytes:?}");
    }
    let line = format!("HTTP/1.1 200 {}", "x".repeat(STATUS_LINE_BYTES_MAX));
    assert!(matches!(read(line.as_bytes()).await, Err(NoAnswer::NotHttp(_))));
}

#[tokio::test]
async fn informational_answers_are_bounded() {
    let hints = "HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n".repeat(RESPONSE_INFORMATIONAL_BYTES_MAX / 20);
    assert!(matches!(read_in_pieces(hints.as_bytes(), 10_000).await, Err(NoAnswer::NotHttp(_))));
    let large = format!("HTTP/1.1 103 Hints\r\nx: {}", "x".repeat(RESPONSE_HEAD_BYTES_MAX));
    assert!(matches!(read_in_pieces(large.as_bytes(), 10_000).await, Err(NoAnswer::NotHttp(_))));
}

const ANSWERS: [&str; 8] = [
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nkeep-alive: timeout=5, max=3\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n",
    "HTTP/1.1 429 Too Many Requests\r\nretry-after: 120\r\ncontent-length: 0, 0\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
    "HTTP/1.0 503 Service Unavailable\r\n\r\nbusy",
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    "HTTP/1.1 200\ncontent-length: 18446744073709551615\n\n",
    "\r\n\r\nHTTP/1.1 410 Gone\r\nset-cookie: a=b\r\n\r\n",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_of_a_server_are_read_within_bounds(text in postrider_fuzz::text(ANSWERS)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let answer = runtime.block_on(async {
            let (mut ours, mut theirs) = tokio::io::duplex(text.len() + 1_024);
            theirs.write_all(text.as_bytes()).await.unwrap();
            drop(theirs);
            exchange(&mut ours, (Bytes::from_static(HEAD), Bytes::new()), Instant::now() + Duration::from_secs(9), Kind::Post).await
        });
        if let Ok(answer) = answer {
            let code = answer.status_code.unwrap();
            proptest::prop_assert!((100..1_000).contains(&code) && text.contains(&code.to_string()), "{}", code);
            proptest::prop_assert!(answer.headers.len() <= crate::RESPONSE_HEADERS_MAX);
            proptest::prop_assert!(answer.reusable.is_none() || answer.incomplete.is_none());
            proptest::prop_assert!(answer.incomplete.is_none_or(|words| words.len() < 200));
        }
    }
}
