//! Saved views: shared by a tenant, limited, recorded in the audit log, and deleted with the tenant.

use postrider_model::ids::TenantId;
use postrider_model::limits::SAVED_VIEWS_PER_TENANT_MAX;
use postrider_model::saved_view::SavedViewList;
use postrider_store::audit_log::AuditFilter;
use postrider_store::history::PageRequest;
use postrider_store::saved_views::{NewSavedView, SavedView};
use postrider_store::{Store, StoreError};
use serde_json::json;

use crate::support::Fixture;

fn view(list: SavedViewList, name: &str) -> NewSavedView {
    NewSavedView { list, name: name.into(), query: "status=failed".into() }
}

async fn names(store: &Store, tenant: TenantId, list: SavedViewList) -> Vec<String> {
    let views = store.sessions().list_saved_views(tenant, list).await.unwrap();
    views.into_iter().map(|view: SavedView| view.name).collect()
}

#[tokio::test]
async fn a_view_is_saved_renamed_and_deleted_under_a_name_of_its_own() {
    let fixture = Fixture::new("views").await;
    let (store, tenant, other) = (&fixture.store, fixture.tenant().await.id, fixture.tenant().await.id);
    let sessions = store.sessions();
    let (deliveries, events) = (SavedViewList::Deliveries, SavedViewList::Events);
    let failed = sessions.create_saved_view(tenant, &view(deliveries, "failed")).await.unwrap();
    let bounces = sessions.create_saved_view(tenant, &view(deliveries, "Bounces")).await.unwrap();
    sessions.create_saved_view(tenant, &view(events, "failed")).await.unwrap();
    let taken = sessions.create_saved_view(tenant, &view(deliveries, "failed")).await;
    assert!(matches!(taken, Err(StoreError::Conflict(detail)) if detail.contains("has this name")));
    let taken = sessions.rename_saved_view(tenant, bounces.id, "failed").await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))));
    assert_eq!(names(store, tenant, deliveries).await, ["Bounces", "failed"]);
    assert_eq!(names(store, tenant, events).await, ["failed"]);
    assert!(names(store, other, deliveries).await.is_empty());

    let not_found = |refused: Result<(), StoreError>| assert!(matches!(refused, Err(StoreError::NotFound { .. })));
    assert_eq!(sessions.get_saved_view(other, failed.id).await.unwrap(), None);
    not_found(sessions.rename_saved_view(other, failed.id, "x").await.map(drop));
    not_found(sessions.delete_saved_view(other, failed.id).await);
    let renamed = sessions.rename_saved_view(tenant, failed.id, "Failed opens").await.unwrap();
    assert_eq!(renamed, SavedView { name: "Failed opens".into(), ..failed.clone() });
    sessions.rename_saved_view(tenant, failed.id, "Failed opens").await.unwrap();
    assert_eq!(sessions.get_saved_view(tenant, failed.id).await.unwrap(), Some(renamed));
    sessions.delete_saved_view(tenant, failed.id).await.unwrap();
    not_found(sessions.delete_saved_view(tenant, failed.id).await);

    let filter = AuditFilter { target: Some(failed.id.to_string()), ..AuditFilter::default() };
    let log = store.history().list_audit_log(&filter, &PageRequest::default()).await.unwrap();
    let entries: Vec<_> = log.items.iter().map(|entry| (entry.action.as_str(), &entry.before, &entry.after)).collect();
    let whole = |name: &str| Some(json!({"list": "deliveries", "name": name}));
    let name = |name: &str| Some(json!({"name": name}));
    assert_eq!(
        entries,
        [
            ("saved_view.deleted", &whole("Failed opens"), &None),
            ("saved_view.renamed", &name("failed"), &name("Failed opens")),
            ("saved_view.created", &None, &whole("failed")),
        ]
    );
}

#[tokio::test]
async fn a_tenant_has_a_limited_number_of_views_which_end_with_it() {
    let fixture = Fixture::new("views_limit").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let most = SAVED_VIEWS_PER_TENANT_MAX;
    let creating = (0..most + 3).map(async |n| {
        let new = view(SavedViewList::Events, &format!("view {n}"));
        store.sessions().create_saved_view(tenant, &new).await
    });
    let refused = futures::future::join_all(creating).await.into_iter().filter_map(Result::err);
    let refused: Vec<String> = refused.map(|error| error.to_string()).collect();
    assert_eq!(refused.len(), 3);
    assert!(refused[0].contains("there are 50 of 50 saved views"), "{refused:?}");
    assert_eq!(names(store, tenant, SavedViewList::Events).await.len(), most as usize);
    store.config().delete_tenant(tenant, None).await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM saved_views").await, 0);
    let gone = store.sessions().create_saved_view(tenant, &view(SavedViewList::Events, "late")).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })));
}
