//! The events that a workload publishes: how many, by which tenants, and for how many endpoints.

use crate::engine::Tenant;

/// The load of a generator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Duration in seconds.
    pub(crate) seconds: f64,
    /// Events per second. `None` means as many as 64 connections can send, each waiting for its responses.
    pub(crate) rate: Option<f64>,
    /// Number of events after which to stop, instead of a duration.
    pub(crate) events: Option<u64>,
    /// Events per request. With 1, each event is published in its own request.
    pub(crate) batch: usize,
}

impl Load {
    /// Returns a load at full speed with one event per request.
    pub(crate) fn full_speed(seconds: f64) -> Self {
        Self { seconds, rate: None, events: None, batch: 1 }
    }

    /// Returns a load at a fixed rate with one event per request.
    pub(crate) fn at(rate: f64, seconds: f64) -> Self {
        Self { rate: Some(rate), ..Self::full_speed(seconds) }
    }

    /// Returns the same load with another duration.
    pub(crate) fn lasting(self, seconds: f64) -> Self {
        Self { seconds, events: None, ..self }
    }

    /// Returns the load as arguments of `generate`. With one event per request, they are also arguments of `bare`.
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
    /// The tenants that publish. Requests use their keys in turn.
    pub(crate) tenants: Vec<&'a Tenant>,
    /// The type of the events.
    pub(crate) event_type: &'static str,
    pub(crate) load: Load,
}

impl<'a> Traffic<'a> {
    /// Creates the traffic of one tenant.
    pub(crate) fn of(tenant: &'a Tenant, event_type: &'static str, load: Load) -> Self {
        Self { tenants: vec![tenant], event_type, load }
    }
}

/// A workload.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    /// The name of the workload's row.
    pub(crate) name: String,
    /// The traffic that is measured.
    pub(crate) traffic: Traffic<'a>,
    /// Number of endpoints at the sink that must receive each event. They are numbered from 0.
    pub(crate) endpoints: u16,
    /// Duration of the warm-up with the same traffic, which is not measured. With 0, there is no warm-up.
    pub(crate) warm_up_seconds: f64,
    /// Traffic that is published immediately before the measured traffic.
    pub(crate) before: Option<Traffic<'a>>,
    /// Traffic that is published at the same time as the measured traffic. The workload then ends when the measured deliveries
    /// have been received.
    pub(crate) beside: Option<Traffic<'a>>,
}

impl<'a> Plan<'a> {
    /// Creates a plan with traffic for endpoint 0 and no other traffic.
    pub(crate) fn of(name: &str, traffic: Traffic<'a>, warm_up_seconds: f64) -> Self {
        Self { name: name.to_owned(), traffic, endpoints: 1, warm_up_seconds, before: None, beside: None }
    }
}

/// Durations of workloads in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Duration at full speed.
    pub(crate) full_speed: f64,
    /// Duration at a fixed rate.
    pub(crate) fixed_rate: f64,
    /// Duration of the warm-up, which is not measured.
    pub(crate) warm_up: f64,
    /// Duration without traffic.
    pub(crate) idle: f64,
    /// Timeout of endpoints that do not answer.
    pub(crate) timeout: u32,
}

impl Times {
    /// Returns the duration of a measurement with a bad neighbour, in seconds: three times the timeout of the bad endpoints.
    pub(crate) fn beside_seconds(&self) -> f64 {
        f64::from(self.timeout) * 3.0
    }
}
