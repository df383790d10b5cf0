//! The server of remote calls.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use postrider_wire::bundle::{self, Member};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::consumer::engine::{self, Inbound, MessageSink};
use crate::topology::Queue;

impl Broker {
    /// Answers calls from `queue` until `stop`, then drains. Each call is answered in a separate task, at most `calls_max` at
    /// the same time. A request is acked after its answer was sent, so after a crash another process answers it. If the handler
    /// returns `None` or panics, the caller gets no answer.
    pub async fn serve_rpc<H, F>(&self, queue: Queue, calls_max: u16, handler: H, stop: CancellationToken)
    where
        H: Fn(Member) -> F + Send + Sync + 'static,
        F: Future<Output = Option<Member>> + Send + 'static,
    {
        let sink = Calls { broker: self.clone(), handler: Arc::new(handler) };
        engine::run(self, queue, calls_max, sink, stop).await;
    }
}

struct Calls<H> {
    broker: Broker,
    handler: Arc<H>,
}

impl<H, F> MessageSink for Calls<H>
where
    H: Fn(Member) -> F + Send + Sync + 'static,
    F: Future<Output = Option<Member>> + Send + 'static,
{
    async fn take(&mut self, inbound: Inbound) {
        let (broker, handler) = (self.broker.clone(), Arc::clone(&self.handler));
        tokio::spawn(async move {
            answer(&broker, handler.as_ref(), &inbound).await;
            inbound.settler.ack();
        });
    }
}

async fn answer<H, F>(broker: &Broker, handler: &H, inbound: &Inbound)
where
    H: Fn(Member) -> F,
    F: Future<Output = Option<Member>>,
{
    let properties = &inbound.delivery.properties;
    let (Some(reply_to), Some(correlation)) = (properties.reply_to().clone(), properties.correlation_id().clone())
    else {
        return;
    };
    let Some(request) = bundle::decode(&inbound.delivery.data).ok().and_then(|members| members.into_iter().next())
    else {
        return;
    };
    let work = AssertUnwindSafe(async move { handler(request).await });
    match work.catch_unwind().await {
        Ok(Some(answer)) => {
            let _ = broker.own_publisher().answer(reply_to, correlation, &answer).await;
        }
        Ok(None) => {}
        Err(_) => tracing::error!("the handler of a call panicked; the caller gets no answer"),
    }
}
