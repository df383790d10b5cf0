//! The demo tenants, one for each product. They are created through the API at the first start, and later starts use them
//! again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::{Api, text};
use super::keys;
use crate::report;

/// The content of `.postrider/demo.json`. Only the owner of the file can read it. The content is stored because the API shows
/// secrets and keys only once.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Demo {
    pub(super) tenants: Vec<DemoTenant>,
}

/// A tenant with an endpoint at the built-in receiver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DemoTenant {
    pub(super) profile: String,
    pub(super) tenant: String,
    pub(super) key: String,
    pub(super) endpoint: String,
    pub(super) url: String,
    pub(super) secret: String,
}

/// The profiles of the demo tenants. `up` prints the `curl` command of the first tenant.
const PROFILES: [&str; 6] = ["magnetite", "migma", "migomail", "metigan", "mumara", "standard"];

fn path(folder: &Path) -> PathBuf {
    folder.join("demo.json")
}

/// Removes the files of the demo tenants, so that the next start creates new tenants.
pub(super) fn forget(folder: &Path) -> Result<()> {
    keys::remove(&path(folder))?;
    keys::remove(&script_path(folder))
}

/// Returns the demo tenants. Uses tenants of an earlier start that are still in the database, creates the others, and waits
/// until the new tenants can be used.
pub(super) async fn find_or_make(folder: &Path, api: &Api, port: u16) -> Result<Demo> {
    let kept: Demo =
        std::fs::read(path(folder)).ok().and_then(|raw| serde_json::from_slice(&raw).ok()).unwrap_or_default();
    let mut demo = Demo::default();
    let mut created_version = None;
    for profile in PROFILES {
        let url = format!("http://127.0.0.1:{port}/{profile}");
        let earlier = kept.tenants.iter().find(|tenant| tenant.profile == profile && tenant.url == url);
        if let Some(earlier) = earlier
            && api.exists(&format!("/v1/endpoints/{}?tenant={}", earlier.endpoint, earlier.tenant)).await?
        {
            demo.tenants.push(earlier.clone());
            continue;
        }
        report::step(&format!("creating a demo tenant (profile {profile})"));
        let (tenant, version) = create(api, profile, url).await?;
        demo.tenants.push(tenant);
        created_version = Some(version);
    }
    if let Some(version) = created_version {
        keys::write_private(&path(folder), &serde_json::to_vec_pretty(&demo)?)?;
        api.wait_applied(version).await?;
    }
    Ok(demo)
}

/// Creates a tenant, its key and its endpoint. Returns the tenant and the configuration version of the last of these edits.
async fn create(api: &Api, profile: &str, url: String) -> Result<(DemoTenant, i64)> {
    let body = json!({"name": format!("Demo ({profile})"), "profile": profile});
    let tenant = text(&api.create("/v1/tenants", None, &body).await?, "id")?;
    let body = json!({"name": "demo", "scopes": ["publish", "read", "manage"]});
    let key = text(&api.create(&format!("/v1/tenants/{tenant}/keys"), None, &body).await?, "key")?;
    let body = json!({"name": "built-in receiver", "channel": "web", "url": url, "event_types": ["*"]});
    let endpoint = api.create("/v1/endpoints", Some(&key), &body).await?;
    let (id, secret) = (text(&endpoint, "id")?, text(&endpoint, "secret")?);
    let version = endpoint["version"].as_i64().context("an endpoint without a version")?;
    Ok((DemoTenant { profile: profile.to_owned(), tenant, key, endpoint: id, url, secret }, version))
}

/// Sends a test event to the endpoint of each tenant. The receiver prints the result of its check.
pub(super) async fn greet(api: &Api, demo: &Demo) {
    for tenant in &demo.tenants {
        let path = format!("/v1/endpoints/{}/test", tenant.endpoint);
        if let Err(error) = api.create(&path, Some(&tenant.key), &json!({})).await {
            report::line(format!("the test event of {} was not sent: {error:#}", tenant.profile));
        }
    }
}

/// Returns the shell command that publishes one event.
pub(super) fn curl(listen: SocketAddr, tenant: &DemoTenant) -> String {
    // The event is written as text, so that its members remain in the order in which a person would write them.
    let event = match tenant.profile.as_str() {
        "magnetite" => concat!(
            r#"{"type":"lead.created","data":{"email":"ada@example.com","name":"Ada"},"#,
            r#""metadata":{"organization_id":"org_1","project_id":"prj_1","lead_id":"lead_1"}}"#
        ),
        "migma" => concat!(
            r#"{"type":"subscriber.added","data":{"email":"ada@example.com","tags":["newsletter"]},"#,
            r#""metadata":{"projectId":"proj_1"}}"#
        ),
        "migomail" => {
            r#"{"type":"email.opened","data":{"message_id":"msg_1","subscriber":{"email":"ada@example.com"}}}"#
        }
        "metigan" => r#"{"type":"email.bounced","data":{"recipient":"ada@example.com","bounceType":"hard"}}"#,
        "mumara" => concat!(
            r#"{"type":"Newsletter Opened","data":{"email":"ada@example.com","message_id":"m-1"},"#,
            r#""attributes":{"sending_domain":"mail.example.com","sending_node":"smtp1"}}"#
        ),
        _ => r#"{"type":"user.created","data":{"email":"ada@example.com"}}"#,
    };
    format!(
        "curl -s http://{listen}/v1/publish -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' -d '{event}'",
        tenant.key
    )
}

/// Returns the path of the file that [`write_script`] writes.
pub(super) fn script_path(folder: &Path) -> PathBuf {
    folder.join("publish.sh")
}

/// Writes a script that publishes an event for any of the products, such as `sh publish.sh migma`. Only the owner can read the
/// file, because it contains keys.
pub(super) fn write_script(folder: &Path, listen: SocketAddr, demo: &Demo) -> Result<()> {
    keys::write_private(&script_path(folder), script(listen, demo).as_bytes())
}

fn script(listen: SocketAddr, demo: &Demo) -> String {
    let cases: String =
        demo.tenants.iter().map(|tenant| format!("{}) {} ;;\n", tenant.profile, curl(listen, tenant))).collect();
    let names: Vec<&str> = demo.tenants.iter().map(|tenant| tenant.profile.as_str()).collect();
    let usage = format!("*) echo 'one of: {}' >&2; exit 2 ;;", names.join(", "));
    format!(
        "# Publishes one event of a demo tenant; written by `cargo xtask up`.\ncase \"$1\" in\n{cases}{usage}\nesac\necho\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Demo {
        let tenant = |profile: &str| DemoTenant {
            profile: profile.into(),
            tenant: "ten_1".into(),
            key: "key".into(),
            endpoint: "ep_1".into(),
            url: format!("http://127.0.0.1:1/{profile}"),
            secret: "whsec_x".into(),
        };
        Demo { tenants: PROFILES.map(tenant).to_vec() }
    }

    #[track_caller]
    fn check_shell_syntax(text: &str) {
        assert!(std::process::Command::new("sh").args(["-n", "-c", text]).status().unwrap().success(), "{text}");
    }

    #[test]
    fn the_printed_command_is_one_valid_shell_line() {
        let listen = "127.0.0.1:8080".parse().unwrap();
        for tenant in &demo().tenants {
            let line = curl(listen, tenant);
            assert!(!line.contains('\n'));
            check_shell_syntax(&line);
            let event = line.split("-d '").nth(1).unwrap().trim_end_matches('\'');
            assert!(serde_json::from_str::<serde_json::Value>(event).unwrap()["type"].is_string(), "{event}");
        }
    }

    #[test]
    fn the_script_has_a_case_for_every_product_and_lists_them() {
        let text = script("127.0.0.1:8080".parse().unwrap(), &demo());
        check_shell_syntax(&text);
        assert!(PROFILES.iter().all(|profile| text.contains(&format!("\n{profile}) curl "))), "{text}");
        let output = std::process::Command::new("sh").args(["-c", &text, "sh", "nothing"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("magnetite, migma, migomail, metigan, mumara, standard")
        );
    }
}
