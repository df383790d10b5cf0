//! The client for the calls of Postrider's HTTP API that `up` makes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

/// The API of the running Postrider.
pub(super) struct Api {
    client: Client,
    base: String,
    operator: String,
}

impl Api {
    pub(super) fn new(listen: SocketAddr, operator: &str) -> Result<Self> {
        // If the service listens on all addresses, the loopback address is used.
        let host = if listen.ip().is_unspecified() { "127.0.0.1".into() } else { listen.ip().to_string() };
        let host = if listen.is_ipv6() && !listen.ip().is_unspecified() { format!("[{host}]") } else { host };
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
        Ok(Self { client, base: format!("http://{host}:{}", listen.port()), operator: operator.to_owned() })
    }

    /// Waits until every service is ready.
    pub(super) async fn wait_ready(&self) -> Result<()> {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.client.get(format!("{}/readyz", self.base)).send().await;
            if answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if Instant::now() > give_up {
                let last = match answer {
                    Ok(answer) => answer.text().await.unwrap_or_default(),
                    Err(error) => error.to_string(),
                };
                bail!("Postrider is not ready after a minute: {last}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until this configuration version or a later version is in force in ingest and fan-out.
    pub(super) async fn wait_applied(&self, version: i64) -> Result<()> {
        let give_up = Instant::now() + Duration::from_secs(20);
        loop {
            let metrics = self.client.get(format!("{}/metrics", self.base)).send().await?.text().await?;
            let behind = ["postrider_ingest_config_version", "postrider_fanout_config_version"]
                .into_iter()
                .find(|name| gauge(&metrics, name).is_none_or(|applied| applied < version));
            let Some(behind) = behind else { return Ok(()) };
            if Instant::now() > give_up {
                bail!("the configuration of the demo tenants is not applied: {behind} is below {version}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a request. Returns the status and the body of the response, even if the status is an error.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(key);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(serde_json::to_vec(body)?);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let bytes = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    /// Whether a GET with the operator key is successful.
    pub(super) async fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.ask(Method::GET, path, &self.operator, None).await?.0.is_success())
    }

    /// Sends a POST with the given key, or with the operator key if none is given. Any status except success is an error.
    pub(super) async fn create(&self, path: &str, key: Option<&str>, body: &Value) -> Result<Value> {
        let (status, answer) = self.ask(Method::POST, path, key.unwrap_or(&self.operator), Some(body)).await?;
        if !status.is_success() {
            bail!("POST {path}: {status} {answer}");
        }
        Ok(answer)
    }
}

/// Returns the first value of a gauge in the text of `/metrics`.
fn gauge(metrics: &str, name: &str) -> Option<i64> {
    metrics.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().last()?.parse().ok()
}

/// Returns a string member of a response.
pub(super) fn text(answer: &Value, member: &str) -> Result<String> {
    Ok(answer[member].as_str().with_context(|| format!("an answer without {member:?}: {answer}"))?.to_owned())
}
