//! Saved views: named filters of the dashboard's lists of deliveries and events. Everybody who may read the tenant's pages sees
//! them; an address with the same query shows the same list.
//!
//! The dashboard checks that the list understands the filter, because the filter is the query of the list's address. The API has no
//! views.

use postrider_model::ids::SavedViewId;
use postrider_model::limits::{SAVED_VIEW_NAME_BYTES_MAX, SAVED_VIEW_QUERY_BYTES_MAX};
use postrider_model::name::check_name;
use postrider_model::scope::Scope;

use crate::error::{Error, Mistakes, parse_id};
use crate::{Caller, Operations};

pub use postrider_model::saved_view::SavedViewList;
pub use postrider_store::saved_views::{NewSavedView, SavedView};

fn check_view_name(name: &str) -> Result<(), String> {
    if name.trim().is_empty() || name.len() > SAVED_VIEW_NAME_BYTES_MAX {
        return Err(format!("1 to {SAVED_VIEW_NAME_BYTES_MAX} bytes, not only spaces"));
    }
    check_name(name)
}

fn check_query(query: &str) -> Result<(), String> {
    if query.is_empty() {
        return Err("a view needs at least one filter".to_owned());
    }
    if query.len() > SAVED_VIEW_QUERY_BYTES_MAX {
        return Err(format!("the filter has at most {SAVED_VIEW_QUERY_BYTES_MAX} bytes, got {}", query.len()));
    }
    Ok(())
}

impl Operations {
    /// Lists the views of a list of the caller's tenant, by name. Requires the scope `read`.
    pub async fn saved_views(&self, caller: Caller, list: SavedViewList) -> Result<Vec<SavedView>, Error> {
        let tenant = caller.tenant(Scope::Read)?;
        Ok(self.store.sessions().list_saved_views(tenant, list).await?)
    }

    /// Reads a view. Requires the scope `read`.
    pub async fn read_saved_view(&self, caller: Caller, id: &str) -> Result<SavedView, Error> {
        let (tenant, id) = (caller.tenant(Scope::Read)?, parse_id("view", id)?);
        self.store.sessions().get_saved_view(tenant, id).await?.ok_or(Error::NotFound("view"))
    }

    /// Saves a view, whose `query` is not empty. Requires the scope `manage`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a wrong name or query; [`Error::Conflict`] if another view of the list has the name, or if the tenant
    /// has the maximum number of views.
    pub async fn create_saved_view(&self, caller: Caller, new: &NewSavedView) -> Result<SavedView, Error> {
        let tenant = caller.tenant(Scope::Manage)?;
        let mut mistakes = Mistakes::default();
        mistakes.check("/name", check_view_name(&new.name));
        mistakes.check("/query", check_query(&new.query));
        mistakes.finish()?;
        Ok(self.edits_of(caller)?.sessions().create_saved_view(tenant, new).await?)
    }

    /// Renames a view. Requires the scope `manage`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a wrong name; [`Error::Conflict`] if another view of the list has the name.
    pub async fn rename_saved_view(&self, caller: Caller, id: &str, name: &str) -> Result<SavedView, Error> {
        let (tenant, id) = (caller.tenant(Scope::Manage)?, parse_id::<SavedViewId>("view", id)?);
        check_view_name(name).map_err(|detail| Error::invalid("/name", detail))?;
        Ok(self.edits_of(caller)?.sessions().rename_saved_view(tenant, id, name).await?)
    }

    /// Deletes a view. Requires the scope `manage`.
    pub async fn delete_saved_view(&self, caller: Caller, id: &str) -> Result<(), Error> {
        let (tenant, id) = (caller.tenant(Scope::Manage)?, parse_id("view", id)?);
        Ok(self.edits_of(caller)?.sessions().delete_saved_view(tenant, id).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_has_a_short_name_and_a_filter() {
        assert_eq!((check_view_name("Failed CRM opens"), check_query("status=failed")), (Ok(()), Ok(())));
        assert!(check_view_name(&"a".repeat(100)).is_ok() && check_query(&"a".repeat(2_000)).is_ok());
        for bad in [String::new(), " ".to_owned(), "a\nb".to_owned(), "a".repeat(101)] {
            assert!(check_view_name(&bad).is_err(), "{bad:?}");
        }
        assert!(check_query("").is_err() && check_query(&"a".repeat(2_001)).is_err());
    }
}
