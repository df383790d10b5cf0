//! Saved views: named filters of the dashboard's lists.

use crate::text::names;

/// A list of the dashboard whose filter can be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SavedViewList {
    /// The deliveries of a tenant.
    Deliveries,
    /// The events of a tenant.
    Events,
}

names!(SavedViewList { Deliveries => "deliveries", Events => "events" });
