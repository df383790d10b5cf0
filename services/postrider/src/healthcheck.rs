//! `postrider healthcheck`: requests `/readyz`. It is for images that contain no shell and no curl.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Maximum time until the response.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Returns exit code 0 if the service at `listen` is ready. Otherwise returns exit code 1 and prints the response to standard
/// error.
#[expect(clippy::print_stderr, reason = "a container runtime shows it for a failing check")]
pub(crate) async fn run(listen: SocketAddr) -> ExitCode {
    match tokio::time::timeout(ANSWER_MAX, ask(listen)).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => ExitCode::SUCCESS,
        Ok(Ok(answer)) => {
            eprintln!("{}", answer.rsplit("\r\n").next().unwrap_or(&answer));
            ExitCode::FAILURE
        }
        Ok(Err(error)) => {
            eprintln!("{listen}: {error}");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("{listen}: no answer within {ANSWER_MAX:?}");
            ExitCode::FAILURE
        }
    }
}

async fn ask(mut listen: SocketAddr) -> std::io::Result<String> {
    if listen.ip().is_unspecified() {
        listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let mut stream = TcpStream::connect(listen).await?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {listen}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
