//! After the master key is replaced and all values are resealed, the old key can be removed.

use postrider_store::crypto::{CryptoError, MasterKeys};
use postrider_store::{Store, StoreConfig, StoreError};
use secrecy::ExposeSecret;

use crate::support::{Fixture, new_endpoint};

#[tokio::test]
async fn what_an_old_key_sealed_is_sealed_by_the_first_and_the_old_one_can_go() {
    let fixture = Fixture::new("reseal").await;
    let (old, new) = (MasterKeys::generate_text("old"), MasterKeys::generate_text("new"));
    let with = |keys: &str| {
        Store::connect(StoreConfig::new(&fixture.scope.database_url), MasterKeys::parse(keys).unwrap()).unwrap()
    };
    let before = with(&old);
    let mut endpoints = Vec::new();
    // Creates more endpoints than fit into one batch.
    for _ in 0..3 {
        let tenant = fixture.tenant().await.id;
        for n in 0..70 {
            endpoints.push(before.config().create_endpoint(tenant, &new_endpoint(&n.to_string())).await.unwrap().id);
        }
    }
    before.config().delete_endpoint(None, endpoints[209], None).await.unwrap();
    let version = fixture.number("SELECT version FROM config_version").await;

    let both = with(&format!("{new},{old}"));
    let done = both.config().reseal().await.unwrap();
    // Each endpoint has two sealed values: a signing secret and a private part.
    assert_eq!((done.endpoints, done.kept), (209, 0));
    assert_eq!(done.resealed.into_iter().collect::<Vec<_>>(), [("old".to_owned(), 418)]);
    let again = both.config().reseal().await.unwrap();
    assert_eq!((again.kept, again.resealed.len()), (418, 0));
    assert_eq!(fixture.number("SELECT version FROM config_version").await, version);

    let after = with(&new);
    let endpoint = after.config().endpoint_for_dispatch(endpoints[0]).await.unwrap().unwrap();
    assert_eq!(endpoint.secrets.current.expose_secret(), "whsec_c2VjcmV0");
    let refused = before.config().reseal().await.unwrap_err();
    assert!(matches!(refused, StoreError::Crypto(CryptoError::UnknownKey { id }) if id == "new"));
}
