//! People whom the identity provider signs in as operators, and their sessions.
//!
//! The row of a person has the claims of the last sign-in. The caller decides by them, at each request, whether the person is
//! an operator. A row is deleted some time after the person's last session has ended.

use std::time::Duration;

use postrider_model::ids::{PersonId, TenantId};
use postrider_model::limits::SESSIONS_PER_PERSON_MAX;
use postrider_model::time::UnixMillis;
use secrecy::SecretString;
use serde_json::Value;

use crate::audit_log::{AuditAction, Change};
use crate::config::KeyHash;
use crate::error::StoreError;
use crate::sessions::new_token;
use crate::sql::{Ts, clean, from_row};
use crate::store::SessionStore;

/// How long the row of a person without sessions is kept. A sign-in at the same time changes `signed_in_at`, so that a person
/// who signs in is not deleted.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// A person whom the identity provider signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The id, which [`PersonId::derive`] derives from issuer and subject.
    pub id: PersonId,
    /// The identity provider.
    pub issuer: String,
    /// The person's id at the identity provider.
    pub subject: String,
    /// The e-mail address, if the identity provider has verified it.
    pub email: Option<String>,
    /// How the audit log names the person.
    pub name: String,
    /// The claims that decide whether the person is an operator.
    pub claims: Value,
}

from_row!(Person { id: "person", issuer, subject, email, name, claims });

impl SessionStore {
    /// Deletes a person and ends their sessions. Does nothing if the person is unknown.
    ///
    /// # Errors
    /// An error of the database.
    pub async fn forget_person(&self, id: PersonId) -> Result<(), StoreError> {
        // The sessions are deleted with the row that they refer to.
        self.0.client().await?.execute("DELETE FROM dashboard_people WHERE id = $1", &[&id.0]).await?;
        Ok(())
    }

    /// Saves a person and opens a session for them. Deletes the person's oldest sessions above [`SESSIONS_PER_PERSON_MAX`], all
    /// expired sessions, and people who have had no session for a day. Returns the session's token: 256 random bits as 43
    /// characters of URL-safe base64.
    pub async fn open_person_session(&self, person: &Person, lasts: Duration) -> Result<SecretString, StoreError> {
        let (token, now) = (new_token(), UnixMillis::now());
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        tx.execute("DELETE FROM dashboard_sessions WHERE expires_at <= $1", &[&Ts(now)]).await?;
        let idle = "DELETE FROM dashboard_people p WHERE signed_in_at <= $1
                      AND NOT EXISTS (SELECT 1 FROM dashboard_sessions s WHERE s.person = p.id)";
        tx.execute(idle, &[&Ts(now.minus(KEPT))]).await?;
        tx.execute(
            "INSERT INTO dashboard_people (id, issuer, subject, email, name, claims, signed_in_at)
             VALUES ($1, $2, $3, $4, $5, $6::text::json, $7)
             ON CONFLICT (id) DO UPDATE SET email = excluded.email, name = excluded.name, claims = excluded.claims,
                 signed_in_at = excluded.signed_in_at",
            &[
                &person.id.0,
                &clean(&person.issuer),
                &clean(&person.subject),
                &person.email.as_deref().map(clean),
                &clean(&person.name),
                &person.claims.to_string(),
                &Ts(now),
            ],
        )
        .await?;
        let (token_hash, no_key) = (KeyHash::of(&token), KeyHash::of(&person.id.to_string()));
        tx.execute(
            "INSERT INTO dashboard_sessions (token_hash, key_hash, person, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
            &[&&token_hash.0[..], &&no_key.0[..], &person.id.0, &Ts(now), &Ts(now.plus(lasts))],
        )
        .await?;
        let oldest = "DELETE FROM dashboard_sessions WHERE token_hash IN (
                          SELECT token_hash FROM dashboard_sessions WHERE person = $1
                          ORDER BY created_at DESC, token_hash = $3 DESC OFFSET $2)";
        tx.execute(oldest, &[&person.id.0, &i64::from(SESSIONS_PER_PERSON_MAX), &&token_hash.0[..]]).await?;
        let change = Change { tenant: None, ..Change::of(TenantId::OPERATOR, AuditAction::SignedIn, person.id) };
        self.0.log_change(&tx, change).await?;
        tx.commit().await?;
        Ok(SecretString::from(token.as_str()))
    }
}
