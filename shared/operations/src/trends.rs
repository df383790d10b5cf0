//! Results of endpoints side by side: hour by hour, and the worst first.

use postrider_model::ids::EndpointId;
use postrider_model::scope::Scope;
use postrider_model::time::UnixMillis;
use postrider_store::stats::{EndpointCounts, HourlyCounts};

use crate::stats::StatsQuery;
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

    /// Counts the successes and failures of the endpoints of the caller's tenant that have a failed attempt in the range of the
    /// query: at most `limit`, the lowest share of successes first. Leaves out deleted endpoints. Requires the scope `read`.
    pub async fn worst_endpoints(
        &self,
        caller: Caller,
        query: &StatsQuery,
        limit: u32,
    ) -> Result<Vec<EndpointCounts>, Error> {
        let range = query.range(UnixMillis::now())?;
        Ok(self.store.history().worst_endpoints(caller.tenant(Scope::Read)?, query.by, range, limit).await?)
    }
}
