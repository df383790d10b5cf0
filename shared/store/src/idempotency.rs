//! Which ids were accepted already.

use std::collections::HashMap;

use postrider_model::ids::{EventId, TenantId};
use postrider_model::time::Day;

use crate::error::StoreError;
use crate::pool::Store;

impl Store {
    /// Of these events, those on record within the two days, with their content hash (`None`: accepted without one).
    /// One statement, whatever the number.
    ///
    /// # Errors
    /// The database's; the caller skips the check then.
    pub async fn seen(
        &self,
        events: &[(TenantId, EventId)],
        days: [Day; 2],
    ) -> Result<HashMap<(TenantId, EventId), Option<String>>, StoreError> {
        let _ = (events, days);
        todo!()
    }
}
