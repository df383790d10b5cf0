//! What a workload publishes: how much, by which tenants, for how many endpoints.

use crate::engine::Tenant;

/// How much a generator publishes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// For how long, in seconds.
    pub(crate) seconds: f64,
    /// Events per second; `None`: as fast as 64 connections get answers.
    pub(crate) rate: Option<f64>,
    /// A number of events instead of a time.
    pub(crate) events: Option<u64>,
    /// Events per request; 1 publishes singly.
    pub(crate) batch: usize,
}

impl Load {
    /// At full speed, singly.
    pub(crate) fn full_speed(seconds: f64) -> Self {
        Self { seconds, rate: None, events: None, batch: 1 }
    }

    /// At a fixed rate, singly.
    pub(crate) fn at(rate: f64, seconds: f64) -> Self {
        Self { rate: Some(rate), ..Self::full_speed(seconds) }
    }

    /// The same load for another duration.
    pub(crate) fn lasting(self, seconds: f64) -> Self {
        Self { seconds, events: None, ..self }
    }

    /// The load as options of `generate`, and of `bare` if events are published singly.
    pub(crate) fn arguments(self) -> Vec<String> {
        let mut arguments = vec!["--seconds".to_owned(), self.seconds.to_string()];
        let mut add = |name: &str, value: Option<String>| {
            arguments.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
        };
        add("--rate", self.rate.map(|rate| rate.to_string()));
        add("--events", self.events.map(|events| events.to_string()));
        add("--batch", (self.batch > 1).then(|| self.batch.to_string()));
        arguments
    }
}

/// Events of one type that one generator publishes.
#[derive(Debug, Clone)]
pub(crate) struct Traffic<'a> {
    /// The tenants. Requests use their keys in turn.
    pub(crate) tenants: Vec<&'a Tenant>,
    /// Their type.
    pub(crate) event_type: &'static str,
    pub(crate) load: Load,
}

impl<'a> Traffic<'a> {
    /// The traffic of one tenant.
    pub(crate) fn of(tenant: &'a Tenant, event_type: &'static str, load: Load) -> Self {
        Self { tenants: vec![tenant], event_type, load }
    }
}

/// A workload.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    /// The row's name.
    pub(crate) name: String,
    /// What is measured.
    pub(crate) traffic: Traffic<'a>,
    /// How many endpoints (at the sink, numbered from 0) must get each event.
    pub(crate) endpoints: u16,
    /// Duration of the unmeasured warm-up with the same traffic; 0: none.
    pub(crate) warm_up_seconds: f64,
    /// What is published immediately before.
    pub(crate) before: Option<Traffic<'a>>,
    /// What is published at the same time. The workload then ends when its own deliveries have been received.
    pub(crate) beside: Option<Traffic<'a>>,
}

impl<'a> Plan<'a> {
    /// Traffic for endpoint 0 and nothing else.
    pub(crate) fn of(name: &str, traffic: Traffic<'a>, warm_up_seconds: f64) -> Self {
        Self { name: name.to_owned(), traffic, endpoints: 1, warm_up_seconds, before: None, beside: None }
    }
}

/// How long workloads take, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// At full speed.
    pub(crate) full_speed: f64,
    /// At a fixed rate.
    pub(crate) fixed_rate: f64,
    /// Of the unmeasured warm-up.
    pub(crate) warm_up: f64,
    /// Without traffic.
    pub(crate) idle: f64,
    /// The timeout of endpoints that do not answer.
    pub(crate) timeout: u32,
}

impl Times {
    /// How long an endpoint is measured beside a failing one, in seconds: three times the failing endpoint's timeout.
    pub(crate) fn beside_seconds(&self) -> f64 {
        f64::from(self.timeout) * 3.0
    }
}
