//! Prometheus metrics: the process has one recorder of metrics, which `/metrics` shows.
//!
//! Code updates metrics through the `metrics` macros. Names begin with `postrider_` and contain their unit. No label is an id
//! of an endpoint or a tenant. Histograms whose name ends in `_seconds` share one set of buckets; so do those in `_bytes` and
//! in `_members`.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Buckets in seconds, from half a millisecond (an attempt on this machine) to a minute (the maximum timeout of an attempt).
const SECONDS_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0];
/// Buckets in bytes: powers of four from 64 bytes to 16 MiB.
const BYTES_BUCKETS: &[f64] =
    &[64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];
/// Buckets for numbers of members of a bundle and of rows in a batch.
const MEMBERS_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

/// The interval at which samples are added to their histograms while nothing scrapes them.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The recorder of metrics could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("cannot install the metrics recorder")]
pub struct MetricsError(#[from] BuildError);

/// The installed recorder of metrics. Clones share the same recorder.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Installs the process's recorder of metrics. Call it once, and run [`Metrics::upkeep`].
    ///
    /// # Errors
    /// A recorder is already installed.
    pub fn install(service: &str) -> Result<Self, MetricsError> {
        let builder = builder()?.add_global_label("service", service);
        Ok(Self { handle: builder.install_recorder()? })
    }

    /// Adds samples to their histograms regularly, until the process ends.
    pub async fn upkeep(self) {
        let mut tick = tokio::time::interval(UPKEEP_EVERY);
        loop {
            tick.tick().await;
            self.handle.run_upkeep();
        }
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".into()), BYTES_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_members".into()), MEMBERS_BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_buckets_by_their_unit() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("postrider_attempt_seconds").record(0.0015);
            metrics::histogram!("postrider_bundle_members").record(32.0);
            metrics::counter!("postrider_events_total").increment(1);
        });
        let text = handle.render();
        assert!(text.contains("postrider_attempt_seconds_bucket{le=\"0.002\"} 1"), "{text}");
        assert!(text.contains("postrider_bundle_members_bucket{le=\"32\"} 1"), "{text}");
        assert!(text.contains("postrider_events_total 1"), "{text}");
    }
}
