//! Replacing an endpoint's secret.

use std::time::Duration;

use postrider_model::endpoint::Channel;
use postrider_model::scope::Scope;
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_profiles::Profile;
use postrider_store::config::{NewSecret, Rotation};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::new_key::NewKey;
use super::view::previous_ends;
use crate::error::{Error, Mistakes};
use crate::{Caller, Operations};

/// How long both secrets sign by default.
const OVERLAP_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
/// Maximum overlap, and maximum time until a cut-over.
const ROTATION_MAX: Duration = Duration::from_secs(30 * 86_400);

/// How the secret is replaced. An empty object `{}` uses the defaults.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// For how long the old secret signs `webhook-signature` too; 24 h by default, at most 30 days. A header that can only hold
    /// one signature or token uses the new secret immediately.
    pub overlap_seconds: Option<u64>,
    /// The time at which the new secret replaces the old one, without an overlap; at most 30 days ahead. If absent, the new secret
    /// signs at once, and the old secret signs too until its overlap ends.
    pub effective_at: Option<Timestamp>,
    /// A secret of your own, 16 bytes to 256 characters: `whsec_` and the base64 of 16 to 64 bytes. A profile with another
    /// signature than `webhook-signature` accepts any text. Generated if absent; the keys of an `ed25519` endpoint are always
    /// generated.
    pub secret: Option<String>,
    /// Whether all previous secrets stop signing now and a planned secret is discarded, for example because a secret leaked.
    /// Otherwise each previous secret signs until the end of its own overlap.
    #[serde(default)]
    pub end_others: bool,
}

/// The new secret, or the public key of the new pair.
#[derive(Debug, Serialize, ToSchema)]
pub struct RotatedSecret {
    /// The endpoint's version now.
    #[serde(skip)]
    pub version: i64,
    /// The new secret. It is only shown in this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: Option<String>,
    /// The new public key of an `ed25519` endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// When each previous secret stops signing `webhook-signature`; the newest secret comes first.
    pub previous_secrets_until: Vec<Timestamp>,
    /// When the new secret starts signing; absent if it signs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_secret_from: Option<Timestamp>,
}

impl Operations {
    /// Replaces an endpoint's secret if the endpoint's version is `expected`. `None` accepts any version.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Conflict`] while another secret is planned, or for an endpoint of another channel than
    /// `web`.
    pub async fn rotate_secret(
        &self,
        caller: Caller,
        id: &str,
        expected: Option<i64>,
        request: RotateSecret,
    ) -> Result<RotatedSecret, Error> {
        let endpoint = self.stored_endpoint(caller, Scope::Manage, id).await?;
        let channel = endpoint.document.channel;
        if channel != Channel::Web {
            return Err(Error::Conflict(format!(
                "deliveries to {} have no signature; an edit of the endpoint replaces its credentials",
                channel.label()
            )));
        }
        let tenant = self.stored_tenant(endpoint.tenant).await?;
        let profile = self.profile(&tenant.draft.profile)?;
        let (mut mistakes, now) = (Mistakes::default(), UnixMillis::now());
        let rotation = rotation_of(&request, profile, now, &mut mistakes);
        let key = NewKey::new(endpoint.document.signature_key, request.secret, profile, &mut mistakes);
        mistakes.finish()?;
        let (secret, public_key) = (key.shown_once(), key.public.clone());
        let new = NewSecret { secret: key.secret, public_key: key.public, rotation, end_others: request.end_others };
        let visible = caller.visible(Scope::Manage)?;
        let endpoint = self.edits_of(caller)?.config().rotate_secret(visible, endpoint.id, expected, &new).await?;
        Ok(RotatedSecret {
            version: endpoint.version,
            secret,
            public_key,
            previous_secrets_until: previous_ends(&endpoint, now),
            next_secret_from: endpoint.next_secret_from.map(Timestamp),
        })
    }
}

fn rotation_of(request: &RotateSecret, profile: &Profile, now: UnixMillis, mistakes: &mut Mistakes) -> Rotation {
    let days = ROTATION_MAX.as_secs() / 86_400;
    if let Some(Timestamp(at)) = request.effective_at {
        if request.overlap_seconds.is_some() {
            mistakes.add("/overlap_seconds", "give overlap_seconds or effective_at, not both");
        }
        if at > now.plus(ROTATION_MAX) {
            mistakes.add("/effective_at", format!("at most {days} days ahead"));
        }
        return Rotation::CutOver { at };
    }
    if !profile.standard_headers {
        // No header of the profile can carry two signatures.
        if request.overlap_seconds.is_some() {
            let detail = "the tenant's profile sends no webhook-signature, and its own header holds one signature only: leave it out";
            mistakes.add("/overlap_seconds", detail);
        }
        return Rotation::CutOver { at: now };
    }
    let overlap = request.overlap_seconds.map_or(OVERLAP_DEFAULT, Duration::from_secs);
    if overlap > ROTATION_MAX {
        mistakes.add("/overlap_seconds", format!("0 to {} ({days} days)", ROTATION_MAX.as_secs()));
    }
    Rotation::Overlap { until: now.plus(overlap.min(ROTATION_MAX)) }
}
