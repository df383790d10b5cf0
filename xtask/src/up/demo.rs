//! The demo tenants: made through the API at the first start, found again after that.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::{Api, text};
use super::keys;
use crate::report;

/// What `.postrider/demo.json` keeps, readable by its owner only: the API shows secrets and keys once.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Demo {
    pub(super) tenants: Vec<DemoTenant>,
}

/// One tenant with one endpoint at the built-in receiver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DemoTenant {
    pub(super) profile: String,
    pub(super) tenant: String,
    pub(super) key: String,
    pub(super) endpoint: String,
    pub(super) url: String,
    pub(super) secret: String,
}

/// The profiles that are shown. The first one's `curl` line is printed.
const PROFILES: [&str; 2] = ["magnetite", "standard"];

/// Configuration is in force everywhere within two seconds of its edit.
const IN_FORCE: Duration = Duration::from_secs(2);

fn path(folder: &Path) -> PathBuf {
    folder.join("demo.json")
}

/// New ones the next time.
pub(super) fn forget(folder: &Path) -> Result<()> {
    keys::remove(&path(folder))
}

/// The tenants of an earlier start that the database still knows; the others are made.
pub(super) async fn find_or_make(folder: &Path, api: &Api, port: u16) -> Result<Demo> {
    let kept: Demo =
        std::fs::read(path(folder)).ok().and_then(|raw| serde_json::from_slice(&raw).ok()).unwrap_or_default();
    let mut demo = Demo::default();
    let mut made = false;
    for profile in PROFILES {
        let url = format!("http://127.0.0.1:{port}/{profile}");
        let earlier = kept.tenants.iter().find(|tenant| tenant.profile == profile && tenant.url == url);
        if let Some(earlier) = earlier
            && api.exists(&format!("/v1/endpoints/{}?tenant={}", earlier.endpoint, earlier.tenant)).await?
        {
            demo.tenants.push(earlier.clone());
            continue;
        }
        report::step(&format!("making a demo tenant (profile {profile})"));
        demo.tenants.push(make(api, profile, url).await?);
        made = true;
    }
    if made {
        keys::write_private(&path(folder), &serde_json::to_vec_pretty(&demo)?)?;
        tokio::time::sleep(IN_FORCE).await;
    }
    for tenant in &demo.tenants {
        wait_known(api, &tenant.key).await?;
    }
    Ok(demo)
}

async fn make(api: &Api, profile: &str, url: String) -> Result<DemoTenant> {
    let body = json!({"name": format!("Demo ({profile})"), "profile": profile});
    let tenant = text(&api.create("/v1/tenants", None, &body).await?, "id")?;
    let body = json!({"name": "demo", "scopes": ["publish", "read", "manage"]});
    let key = text(&api.create(&format!("/v1/tenants/{tenant}/keys"), None, &body).await?, "key")?;
    let body = json!({"name": "built-in receiver", "channel": "web", "url": url, "event_types": ["*"]});
    let endpoint = api.create("/v1/endpoints", Some(&key), &body).await?;
    let (id, secret) = (text(&endpoint, "id")?, text(&endpoint, "secret")?);
    Ok(DemoTenant { profile: profile.to_owned(), tenant, key, endpoint: id, url, secret })
}

/// Waits until ingest knows the key, so that the printed line works at once.
async fn wait_known(api: &Api, key: &str) -> Result<()> {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        // Refused for what is missing in it, but only by somebody who knows the key.
        let (status, answer) = api.ask(Method::POST, "/v1/publish", key, Some(&json!({}))).await?;
        if status.as_u16() == 422 || status.as_u16() == 400 {
            return Ok(());
        }
        if Instant::now() > give_up {
            bail!("ingest does not know the demo tenant's key: {status} {answer}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The line that publishes one event, complete, for a shell.
pub(super) fn curl(listen: SocketAddr, tenant: &DemoTenant) -> String {
    // Written out, in the order that a person would write it.
    let event = match tenant.profile.as_str() {
        "magnetite" => concat!(
            r#"{"type":"lead.created","data":{"email":"ada@example.com","name":"Ada"},"#,
            r#""metadata":{"organization_id":"org_1","project_id":"prj_1","lead_id":"lead_1"}}"#
        ),
        _ => r#"{"type":"user.created","data":{"email":"ada@example.com"}}"#,
    };
    format!(
        "curl -s http://{listen}/v1/publish -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' -d '{event}'",
        tenant.key
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_line_is_one_line_that_a_shell_takes() {
        let tenant = DemoTenant {
            profile: "magnetite".into(),
            tenant: "ten_1".into(),
            key: "key".into(),
            endpoint: "ep_1".into(),
            url: "http://127.0.0.1:1/magnetite".into(),
            secret: "whsec_x".into(),
        };
        let line = curl("127.0.0.1:8080".parse().unwrap(), &tenant);
        assert!(!line.contains('\n'));
        assert!(std::process::Command::new("sh").args(["-n", "-c", &line]).status().unwrap().success());
    }
}
