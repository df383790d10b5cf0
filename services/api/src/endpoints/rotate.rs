//! `POST /v1/endpoints/{id}/rotate-secret`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use postrider_http::problem::{FieldError, Problem};
use postrider_model::time::UnixMillis;
use postrider_profiles::Profile;
use postrider_store::config::{Channel, NewSecret, Rotation, Scope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::handlers::{NewKey, endpoint_id};
use super::model::previous_ends;
use crate::Api;
use crate::auth::Caller;
use crate::errors::store_problem;
use crate::request::{OptionalJson, Params, etag, if_match};
use crate::time::shown_if;

/// How long both secrets sign when the request does not say.
const OVERLAP_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
/// Longest overlap, and furthest cut-over.
const ROTATION_MAX: Duration = Duration::from_secs(30 * 86_400);

/// How the secret is to be replaced; `{}` for the usual way.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateSecret {
    /// How long the old secret signs `webhook-signature` beside the new one; 24 h unless said otherwise, at most 30 days.
    /// Headers that carry one value cut over at once.
    overlap_seconds: Option<u64>,
    /// Cut over at this moment instead, without an overlap; at most 30 days ahead.
    #[schema(format = DateTime)]
    effective_at: Option<String>,
    /// A secret of your own, 16 bytes to 256 characters: `whsec_` and base64 of 16 to 64 bytes; where the profile has a signature beside
    /// `webhook-signature`, any text. One is made when absent. Keys of `ed25519` are always made.
    secret: Option<String>,
    /// End the previous secrets now, and drop a planned one: for a secret that leaked. Without it each signs until the end that it
    /// was promised.
    #[serde(default)]
    end_others: bool,
}

/// The new secret, or the public key of the new pair.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RotatedSecret {
    /// Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub(crate) secret: Option<String>,
    /// Of an `ed25519` endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) public_key: Option<String>,
    /// When the previous secrets stop signing `webhook-signature`, the newest secret's end first.
    #[schema(example = json!(["2026-01-03T03:04:05Z"]))]
    pub(crate) previous_secrets_until: Vec<String>,
    /// When the new secret takes over; absent: it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) next_secret_from: Option<String>,
}

/// Replace an endpoint's secret
///
/// The new secret is shown this once. Each previous one signs `webhook-signature` until the end that it was promised, however many
/// rotations follow. 409 while another secret is planned, and when the endpoint would have more than 5 secrets.
#[utoipa::path(post, path = "/v1/endpoints/{id}/rotate-secret", tag = "endpoints",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)), request_body = RotateSecret,
    responses((status = 200, body = RotatedSecret, headers(("ETag" = String))), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn rotate_secret(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
    headers: HeaderMap,
    OptionalJson(request): OptionalJson<RotateSecret>,
) -> Result<Response, Problem> {
    params.only(&[], None)?;
    let (version, answer) = api.rotate_secret(caller, &id, if_match(&headers), request).await?;
    Ok(([(header::ETAG, etag(version))], Json(answer)).into_response())
}

impl Api {
    /// Replaces an endpoint's secret, while its version is the one expected, if one is. Returns the version that it has then.
    pub(crate) async fn rotate_secret(
        &self,
        caller: Caller,
        id: &str,
        expected: Result<Option<i64>, Problem>,
        request: RotateSecret,
    ) -> Result<(i64, RotatedSecret), Problem> {
        let (visible, id) = (caller.visible(Scope::Manage)?, endpoint_id(id)?);
        let endpoint = self.endpoint(visible, id).await?;
        if endpoint.document.channel == Channel::Pushover {
            return Err(Problem::conflict("nothing is signed for Pushover; its keys are replaced by an edit"));
        }
        let tenant = self.tenant(endpoint.tenant).await?;
        let profile = self.profile(&tenant.draft.profile)?;
        let (mut errors, now) = (Vec::new(), UnixMillis::now());
        let rotation = rotation_of(&request, profile, now, &mut errors);
        let key = NewKey::of(endpoint.document.signature_key, request.secret, profile, &mut errors);
        if !errors.is_empty() {
            return Err(Problem::unprocessable(errors));
        }
        let (shown, public_key) = (key.shown(), key.public.clone());
        let new = NewSecret { secret: key.secret, public_key: key.public, rotation, end_others: request.end_others };
        let endpoint =
            self.edits_of(caller)?.config().rotate_secret(visible, id, expected?, &new).await.map_err(store_problem)?;
        let answer = RotatedSecret {
            secret: shown,
            public_key,
            previous_secrets_until: previous_ends(&endpoint, now),
            next_secret_from: shown_if(endpoint.next_secret_from),
        };
        Ok((endpoint.version, answer))
    }
}

fn rotation_of(request: &RotateSecret, profile: &Profile, now: UnixMillis, errors: &mut Vec<FieldError>) -> Rotation {
    let mut wrong = |pointer: &str, detail: String| errors.push(FieldError::new(pointer, detail));
    let days = ROTATION_MAX.as_secs() / 86_400;
    if let Some(text) = &request.effective_at {
        if request.overlap_seconds.is_some() {
            wrong("/overlap_seconds", "an overlap or a moment of cut-over, not both".into());
        }
        let at = match text.parse::<UnixMillis>() {
            Ok(at) => at,
            Err(error) => {
                wrong("/effective_at", error.to_string());
                now
            }
        };
        if at > now.plus(ROTATION_MAX) {
            wrong("/effective_at", format!("at most {days} days ahead"));
        }
        return Rotation::CutOver { at };
    }
    if !profile.standard_headers {
        // No header could carry two signatures.
        if request.overlap_seconds.is_some() {
            wrong("/overlap_seconds", "the tenant's profile sends no webhook-signature, so nothing can overlap".into());
        }
        return Rotation::CutOver { at: now };
    }
    let overlap = request.overlap_seconds.map_or(OVERLAP_DEFAULT, Duration::from_secs);
    if overlap > ROTATION_MAX {
        wrong("/overlap_seconds", format!("0 to {} ({days} days)", ROTATION_MAX.as_secs()));
    }
    Rotation::Overlap { until: now.plus(overlap.min(ROTATION_MAX)) }
}
