//! Who is signed in to the dashboard.
//!
//! A session stands for the key that it was opened with, and is worth no more: whoever reads it asks what the key may do now.
//! Its token is in the visitor's hands alone; the table has a hash of it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postrider_model::time::UnixMillis;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::config::KeyHash;
use crate::error::StoreError;
use crate::pool::Store;
use crate::sql::{RowExt, Ts};

impl Store {
    /// Opens a session for whoever holds the key, and forgets those that are over. Returns its token: 43 characters of URL-safe
    /// base64, 256 random bits.
    ///
    /// # Errors
    /// The database's.
    pub async fn open_session(&self, key: KeyHash, lasts: Duration) -> Result<SecretString, StoreError> {
        let random = Zeroizing::new(rand::random::<[u8; 32]>());
        let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
        let now = UnixMillis::now();
        let client = self.client().await?;
        client.execute("DELETE FROM dashboard_sessions WHERE expires_at <= $1", &[&Ts(now)]).await?;
        client
            .execute(
                "INSERT INTO dashboard_sessions (token_hash, key_hash, created_at, expires_at) VALUES ($1, $2, $3, $4)",
                &[&&KeyHash::of(&token).0[..], &&key.0[..], &Ts(now), &Ts(now.plus(lasts))],
            )
            .await?;
        Ok(SecretString::from(token.as_str()))
    }

    /// The hash of the key that a session stands for; `None` when there is no such session, or it is over.
    ///
    /// # Errors
    /// The database's.
    pub async fn session(&self, token: &str) -> Result<Option<KeyHash>, StoreError> {
        let sql = "SELECT key_hash FROM dashboard_sessions WHERE token_hash = $1 AND expires_at > $2";
        let found = self.client().await?.query_opt(sql, &[&&KeyHash::of(token).0[..], &Ts(UnixMillis::now())]).await?;
        let Some(row) = found else { return Ok(None) };
        Ok(<[u8; 32]>::try_from(row.col::<Vec<u8>>("key_hash")?).ok().map(KeyHash))
    }

    /// Ends a session; one that is over already stays so.
    ///
    /// # Errors
    /// The database's.
    pub async fn close_session(&self, token: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM dashboard_sessions WHERE token_hash = $1";
        self.client().await?.execute(sql, &[&&KeyHash::of(token).0[..]]).await?;
        Ok(())
    }
}
