//! Recent results of endpoints, hour by hour.

use postrider_model::ids::EndpointId;
use postrider_model::scope::Scope;
use postrider_model::time::UnixMillis;
use postrider_store::stats::HourlyCounts;

use crate::{Caller, Error, Operations};

impl Operations {
    /// Counts the successes and failures of these endpoints of the caller's tenant, for each hour from `from` on. Requires the
    /// scope `read`.
    pub async fn hourly_counts(
        &self,
        caller: Caller,
        endpoints: &[EndpointId],
        from: UnixMillis,
    ) -> Result<Vec<HourlyCounts>, Error> {
        caller.tenant(Scope::Read)?;
        Ok(self.store.history().hourly_counts(endpoints, from).await?)
    }
}
