//! A trace collector: receives OTLP over HTTP with protobuf and keeps every span.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Timeout of waits for spans.
const PATIENCE: Duration = Duration::from_secs(120);

/// A span as it was exported. Ids are lower-case hexadecimal.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    /// `service.name` of the process.
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    /// Trace and span of every link.
    pub(crate) links: Vec<(String, String)>,
    /// Text attributes.
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Default)]
struct Shared {
    spans: Mutex<Vec<Span>>,
    news: Notify,
}

/// A listening collector. It stops when dropped.
pub(crate) struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Collector {
    /// Listens on a free loopback port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared::default());
        let router = Router::new().route("/v1/traces", post(export)).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, shared, task }
    }

    /// The environment variables that make a process export to this collector with a short delay.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", self.address)),
            ("OTEL_BSP_SCHEDULE_DELAY", "100".into()),
        ]
    }

    /// Every span so far.
    pub(crate) fn all(&self) -> Vec<Span> {
        self.shared.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the first span that meets a condition.
    pub(crate) async fn wait_for(&self, what: &str, fulfils: impl Fn(&Span) -> bool) -> Span {
        let found = async {
            loop {
                let news = self.shared.news.notified();
                if let Some(span) = self.all().into_iter().find(&fulfils) {
                    return span;
                }
                news.await;
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no span: {what}; there are {:#?}", self.all()))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn export(State(shared): State<Arc<Shared>>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("protobuf");
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|resource| texts(resource.attributes)).unwrap_or_default();
        let service = attributes.get("service.name").cloned().unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                service: service.clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
                attributes: texts(span.attributes),
            });
        }
    }
    shared.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
    shared.news.notify_waiters();
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| match attribute.value?.value? {
        Value::StringValue(text) => Some((attribute.key, text)),
        _ => None,
    };
    attributes.into_iter().filter_map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
