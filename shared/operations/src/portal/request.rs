//! The request for a portal link, and its checks.

use std::time::Duration;

use postrider_model::limits::{
    PORTAL_LANDING_BYTES_MAX, PORTAL_LINK_DEFAULT, PORTAL_LINK_MAX, PORTAL_SESSION_DEFAULT, PORTAL_SESSION_MAX,
    PORTAL_TIME_MIN,
};
use postrider_model::name::check_name;
use postrider_model::scope::Scope;
use postrider_store::portal::NewPortalLink;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{DashboardAddress, Framing};
use crate::error::{Error, Mistakes};

/// The scopes of a link if the request names no scopes.
const SCOPES_DEFAULT: [Scope; 2] = [Scope::Read, Scope::Manage];
const LANDING_DEFAULT: &str = "/webhooks";

/// A portal link to be created.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatePortalLink {
    /// The scopes of the link's session: `read`, or `read` and `manage`, which is the default. The caller must have these scopes.
    pub scopes: Option<Vec<Scope>>,
    /// The person for whom the link is, 1 to 200 bytes: your own id for the person, or an address. The audit log shows this text.
    #[schema(example = "jane@example.com")]
    pub user: Option<String>,
    /// The first page, as a path and query below the tenant's address, such as `/deliveries?status=failed`. Default: `/webhooks`.
    #[schema(example = "/webhooks")]
    pub landing: Option<String>,
    /// Whether the link can be opened in a frame, on the sites that `POSTRIDER_DASHBOARD_FRAME_ANCESTORS` lists.
    #[serde(default)]
    pub embed: bool,
    /// How long the link can be opened, in seconds: 60 to 3,600. Default: 300.
    #[schema(example = 300)]
    pub expires_in_seconds: Option<u32>,
    /// How long its session lasts, in seconds: 60 to 604,800. Default: 28,800.
    #[schema(example = 28_800)]
    pub session_seconds: Option<u32>,
}

impl CreatePortalLink {
    /// Checks the request, and returns the link to store and its scopes.
    pub(super) fn check(self, address: &DashboardAddress) -> Result<(NewPortalLink, Vec<Scope>), Error> {
        let mut mistakes = Mistakes::default();
        let scopes = self.scopes.unwrap_or_else(|| SCOPES_DEFAULT.to_vec());
        if !scopes.contains(&Scope::Read) || scopes.contains(&Scope::Publish) {
            mistakes.add("/scopes", "`read`, or `read` and `manage`");
        }
        if let Some(user) = &self.user {
            mistakes.check("/user", check_name(user));
        }
        let landing = self.landing.unwrap_or_else(|| LANDING_DEFAULT.to_owned());
        mistakes.check("/landing", check_landing(&landing));
        if self.embed && address.framing == Framing::Refused {
            let detail = "no site may embed the dashboard; the operator sets POSTRIDER_DASHBOARD_FRAME_ANCESTORS";
            mistakes.add("/embed", detail);
        }
        let mut time = |pointer: &str, seconds: Option<u32>, default: Duration, max: Duration| {
            let time = seconds.map_or(default, |seconds| Duration::from_secs(seconds.into()));
            if !(PORTAL_TIME_MIN..=max).contains(&time) {
                mistakes.add(pointer, format!("{} to {} seconds", PORTAL_TIME_MIN.as_secs(), max.as_secs()));
            }
            time
        };
        let expires_in = time("/expires_in_seconds", self.expires_in_seconds, PORTAL_LINK_DEFAULT, PORTAL_LINK_MAX);
        let session = time("/session_seconds", self.session_seconds, PORTAL_SESSION_DEFAULT, PORTAL_SESSION_MAX);
        mistakes.finish()?;
        let bits = scopes.iter().copied().collect();
        let new = NewPortalLink { scopes: bits, user: self.user, landing, embedded: self.embed, expires_in, session };
        Ok((new, scopes))
    }
}

/// Checks the path of a page below the tenant's address. It is appended to that address, so it cannot lead to another server;
/// without dot segments it cannot leave the tenant.
fn check_landing(landing: &str) -> Result<(), String> {
    let (path, _) = landing.split_once('?').unwrap_or((landing, ""));
    let safe = landing.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>#`{}|^".contains(&byte));
    let rest = path.strip_prefix('/').unwrap_or_default();
    let plain = rest.split('/').all(|segment| {
        let dots = segment.to_ascii_lowercase().replace("%2e", ".");
        !segment.is_empty() && dots != "." && dots != ".."
    });
    if safe && plain && landing.len() <= PORTAL_LANDING_BYTES_MAX {
        return Ok(());
    }
    Err(format!(
        "a path below the tenant's address, such as /webhooks or /deliveries?status=failed, of at most \
         {PORTAL_LANDING_BYTES_MAX} bytes, percent-encoded, without // and .."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_page_is_below_the_tenants_address() {
        for good in ["/webhooks", "/webhooks/new", "/deliveries?status=failed&type=a.b", "/events?x=//y/.."] {
            assert_eq!(check_landing(good), Ok(()), "{good}");
        }
        let long = format!("/{}", "x".repeat(PORTAL_LANDING_BYTES_MAX));
        for bad in [
            "",
            "/",
            "webhooks",
            "//evil.example",
            "/a//b",
            "/../operator/tenants",
            "/%2e%2E/x",
            "/./x",
            "/\\evil",
            "https://evil.example",
            "@evil.example",
            "/a#b",
            "/ä",
            "/a b",
            "/a\r\nset-cookie: x",
            &long,
        ] {
            assert!(check_landing(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_is_checked_as_a_whole() {
        let address = DashboardAddress::default();
        let (new, scopes) = CreatePortalLink::default().check(&address).unwrap();
        assert_eq!(
            (scopes, new.landing.as_str(), new.embedded),
            (vec![Scope::Read, Scope::Manage], "/webhooks", false)
        );
        assert_eq!((new.expires_in, new.session), (PORTAL_LINK_DEFAULT, PORTAL_SESSION_DEFAULT));
        let wrong = CreatePortalLink {
            scopes: Some(vec![Scope::Publish]),
            user: Some("\u{202e}".into()),
            landing: Some("//evil.example".into()),
            embed: true,
            expires_in_seconds: Some(3_601),
            session_seconds: Some(0),
        };
        let Err(Error::Invalid(errors)) = wrong.check(&address) else { panic!("accepted") };
        let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/scopes", "/user", "/landing", "/embed", "/expires_in_seconds", "/session_seconds"]);
    }
}
