//! Brands: which product's name, logo and colours a page has.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use postrider_model::delivery::DeliveryStatus;
use postrider_profiles::Profiles;
use serde_json::{Value, json};

use crate::harness::{OPERATOR, Tenant, World, endpoint};
use crate::pages::{Page, get, post, routes, sign_in};
use crate::portal::{PORTAL, cookie_of, framed, link};
use crate::recorded::recorded;

/// A profile without a brand.
pub(crate) const PLAIN: &str = r#"description = "d"
[delivery]
url = "https_only"
timeout_seconds = 10
[[envelope]]
name = "data"
from = "data"
[catalog]
open = true
sample = { type = "a", data = "{}" }
"#;
const ACME: &str = r##"[brand]
name = "Acme <Parcels>"
accent = "#0a7d4f"
logo = "acme.svg"
docs_url = "https://docs.acme.example/webhooks"
support_url = "mailto:help@acme.example"
"##;
const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\"/>";
/// `SVG` with a space at its end, as a data URL.
const OTHER_LOGO: &str = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4g";

/// The built-in profiles, and a profile for each of these brands.
fn profiles(brands: &[(&str, &str)]) -> Profiles {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acme.svg"), SVG).unwrap();
    for (name, brand) in brands {
        std::fs::write(folder.path().join(format!("{name}.toml")), format!("{PLAIN}{brand}")).unwrap();
    }
    Profiles::load(Some(folder.path())).unwrap()
}

async fn world(name: &str, brands: &[(&str, &str)]) -> World {
    crate::world_of(name, profiles(brands), &["https://app.example.com"]).await
}

/// The addresses of the brand's files on a page: first the style sheet, then the logo.
fn files(page: &Page) -> Vec<String> {
    let files: BTreeSet<&str> =
        page.text.split('"').filter(|text| text.starts_with("/dashboard/assets/brand/")).collect();
    files.into_iter().map(str::to_owned).collect()
}

async fn set_brand(world: &World, tenant: &Tenant, brand: &Value) {
    world.call(OPERATOR, "PATCH", &format!("/v1/tenants/{}", tenant.id), Some(&json!({"brand": brand}))).await.ok(200);
}

/// A tenant whose pages are not empty: it has a disabled webhook, a delivery, a replay and changes in its audit log.
pub(crate) async fn busy_tenant(world: &World) -> (Tenant, impl Fn(&str) -> String) {
    let tenant = world.tenant("acme").await;
    let made = world.endpoint(&tenant).await;
    let webhook = made["id"].as_str().unwrap().to_owned();
    let (event, delivery) = recorded(world, &tenant, &made, DeliveryStatus::Failed).await;
    let replay = world.post(&tenant.key, "/v1/replays", json!({"only_failed": true})).await.ok(202);
    let replay = replay["id"].as_str().unwrap().to_owned();
    let erasure = world.post(&tenant.key, "/v1/erasures", json!({"value": "a value"})).await.ok(202);
    let erasure = erasure["id"].as_str().unwrap().to_owned();
    world.store.config().stop_endpoint(webhook.parse().unwrap(), "it answered 410").await.unwrap();
    let of = tenant.id.clone();
    let address = move |route: &str| {
        let id = match route {
            route if route.contains("/webhooks/") => webhook.clone(),
            route if route.contains("/replays/") => replay.clone(),
            route if route.contains("/erasures/") => erasure.clone(),
            route if route.contains("/deliveries/") => delivery.to_string(),
            route if route.contains("/events/") => event.to_string(),
            _ => of.clone(),
        };
        let path = route.replace("{tenant}", &of).replace("{id}", &id).replace("{name}", "user.created");
        path.replace("{key}", "key_1").replace("{*path}", "no/such/page")
    };
    (tenant, address)
}

fn assert_branded(path: &str, page: &Page) {
    assert!(!page.status.is_server_error(), "{path}: {}", page.text);
    assert!(!page.text.to_lowercase().contains("postrider"), "{path} names Postrider: {}", page.text);
    if page.header("content-type").starts_with("text/html") && !page.text.is_empty() {
        let name = " · Acme &lt;Parcels&gt;</title>";
        assert!(page.text.contains(name) && files(page).len() == 2, "{path} has no brand: {}", page.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_of_a_branded_product_names_postrider() {
    let world = world("brand_pages", &[("acme", ACME)]).await;
    let (tenant, address) = busy_tenant(&world).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let paths: Vec<String> =
        routes().iter().filter(|route| !route.contains("/assets/")).map(|route| address(route)).collect();
    let mut shown = 0;
    for path in &paths {
        let page = get(&world, &cookie, path).await;
        assert_branded(path, &page);
        shown += usize::from(page.status == StatusCode::OK);
    }
    assert!(shown > 25, "{shown} pages");

    for path in
        ["/audit-log", "/find?q=404", "/find?q=nothing", "/deliveries?status=failed", "/events/none", "/webhooks/none"]
    {
        let path = address(&format!("/dashboard/{{tenant}}{path}"));
        assert_branded(&path, &get(&world, &cookie, &path).await);
    }
    let off = get(&world, &cookie, &address("/dashboard/{tenant}/webhooks/{id}")).await;
    assert!(off.text.contains("Acme &lt;Parcels&gt; switched this webhook off"), "{}", off.text);
    let token = link(&world, &tenant, json!({})).await;
    assert_branded("the portal", &get(&world, "", &format!("{PORTAL}?link={token}")).await);
    for form in [("link", token.as_str()), ("link", token.as_str()), ("link", "unknown")] {
        assert_branded("the portal", &post(&world, "", PORTAL, &[form]).await);
    }

    // The answers to forms with a wrong session token have the brand, too.
    let mut refused = 0;
    for path in paths.iter().filter(|path| !path.ends_with("/sign-out")) {
        let page = post(&world, &cookie, path, &[("csrf", "wrong"), ("once", path.as_str())]).await;
        assert_branded(path, &page);
        refused += usize::from(page.status == StatusCode::FORBIDDEN);
    }
    assert!(refused > 10, "{refused} refused forms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_brand_overrides_its_profiles_field_by_field() {
    let world = world("brand_override", &[("acme", ACME)]).await;
    let (mine, other) = (world.tenant("acme").await, world.tenant("acme").await);
    let cookie = sign_in(&world, &mine.key).await;
    let webhooks = format!("/dashboard/{}/webhooks", mine.id);
    let page = get(&world, &cookie, &webhooks).await;
    let before = files(&page);
    assert!(page.text.contains("href=\"https://docs.acme.example/webhooks\""), "{}", page.text);
    assert!(page.text.contains("href=\"mailto:help@acme.example\"") && before.len() == 2, "{}", page.text);

    set_brand(&world, &mine, &json!({"accent": "#ffdd00", "logo": OTHER_LOGO})).await;
    let page = get(&world, &cookie, &webhooks).await;
    assert!(page.text.contains("<span class=\"brand-name\">Acme &lt;Parcels&gt;</span>"), "{}", page.text);
    let after = files(&page);
    assert!(after.len() == 2 && after.iter().all(|file| !before.contains(file)), "{before:?} {after:?}");
    let theirs = sign_in(&world, &other.key).await;
    assert_eq!(
        get(&world, &theirs, &format!("/dashboard/{}/webhooks", other.id)).await.text.matches("0a7d4f").count(),
        1
    );

    // An operator sees a customer's pages with the customer's brand, and the operator's pages with the brand of Postrider.
    let operator = sign_in(&world, OPERATOR).await;
    assert_eq!(files(&get(&world, &operator, &webhooks).await), after);
    let own = get(&world, &operator, &format!("/dashboard/operator/tenants/{}", mine.id)).await;
    assert!(own.text.contains("#ffdd00") && own.text.contains(" · Postrider</title>"), "{}", own.text);

    set_brand(&world, &mine, &Value::Null).await;
    assert_eq!(files(&get(&world, &cookie, &webhooks).await), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_brands_files_are_cacheable_and_only_under_their_own_names() {
    let world = world("brand_files", &[("acme", ACME)]).await;
    let tenant = world.tenant("acme").await;
    let cookie = sign_in(&world, &tenant.key).await;
    let page = get(&world, &cookie, &format!("/dashboard/{}/webhooks", tenant.id)).await;
    let signed_out = get(&world, "", "/dashboard/sign-in").await;
    let all = [files(&page), files(&signed_out)].concat();
    let sheet = all.iter().find(|file| file.ends_with(".css")).unwrap();
    let logos: Vec<&String> = all.iter().filter(|file| file.ends_with(".svg")).collect();
    assert_eq!(logos.len(), 2, "the tenant's and the deployment's: {all:?}");
    for (file, content_type, content) in [
        (sheet, "text/css; charset=utf-8", "--accent: light-dark(#0a7d4f, "),
        (logos[0], "image/svg+xml", SVG),
        (logos[1], "image/svg+xml", SVG),
    ] {
        let found = get(&world, "", file).await;
        assert!(found.status == StatusCode::OK && found.text.contains(content), "{file}: {}", found.text);
        assert_eq!(found.header("content-type"), content_type);
        assert_eq!(found.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(found.header("x-content-type-options"), "nosniff");
    }
    let policy = get(&world, "", logos[0]).await.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none';") && policy.contains("sandbox"), "{policy}");

    let stranger = world.tenant("standard").await;
    for wrong in [
        sheet.replace("0a7d4f", "0a7d4e"),
        sheet.replace("0a7d4f", "0A7D4F"),
        logos[0].replace(".svg", ".png"),
        logos[0].replace(&tenant.id, &stranger.id),
        logos[0].replace(&tenant.id, "ten_00000000000000000000000000000001"),
        logos[0].replace(&tenant.id, "x"),
        "/dashboard/assets/brand/logo".to_owned(),
        "/dashboard/assets/brand/accent-x.css".to_owned(),
    ] {
        let missing = get(&world, "", &wrong).await;
        assert_eq!((missing.status, missing.header("cache-control")), (StatusCode::NOT_FOUND, "no-store"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_without_a_visitor_have_the_brand_of_the_only_product() {
    let name =
        |page: &Page| page.text.split("brand-name\">").nth(1).map(|rest| rest.split('<').next().unwrap().to_owned());
    let sign_in_page = async |world: &World| get(world, "", "/dashboard/sign-in").await;

    let plain = world("brand_none", &[("plain", "")]).await;
    let page = sign_in_page(&plain).await;
    assert_eq!((name(&page).as_deref(), files(&page).len()), (Some("Postrider"), 0));

    // Two profiles with the same brand count as one product.
    let one = world("brand_one", &[("acme", ACME), ("acme-2", ACME)]).await;
    let page = sign_in_page(&one).await;
    assert_eq!((name(&page).as_deref(), files(&page).len()), (Some("Acme &lt;Parcels&gt;"), 2));

    let two = world("brand_two", &[("acme", ACME), ("bolt", "[brand]\nname = \"Bolt\"\n")]).await;
    let page = sign_in_page(&two).await;
    assert_eq!((name(&page), files(&page).len()), (None, 0));
    assert!(page.text.contains("<title>Sign in</title>") && !page.text.contains("Postrider"), "{}", page.text);
    // The page of a portal link has the brand of the link's tenant.
    let bolt = two.tenant("bolt").await;
    let link = link(&two, &bolt, json!({})).await;
    let page = get(&two, "", &format!("{PORTAL}?link={link}")).await;
    assert_eq!(name(&page).as_deref(), Some("Bolt"), "{}", page.text);
    assert!(page.text.contains("<link rel=\"icon\" href=\"data:,\">"), "no icon of another product");
    let plain = two.tenant("standard").await;
    let cookie = sign_in(&two, &plain.key).await;
    let page = get(&two, &cookie, &format!("/dashboard/{}/webhooks", plain.id)).await;
    assert_eq!(name(&page).as_deref(), Some("Postrider"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_in_a_frame_has_the_colours_and_links_but_no_name() {
    let world = world("brand_frame", &[("acme", ACME)]).await;
    let tenant = world.tenant("acme").await;
    world.post(&tenant.key, "/v1/endpoints", endpoint()).await.ok(201);
    let token = link(&world, &tenant, json!({"embed": true})).await;
    let cookie = cookie_of(&framed(&world, "POST", "", PORTAL, &format!("link={token}")).await);
    let page = framed(&world, "GET", &cookie, &format!("/dashboard/{}/webhooks", tenant.id), "").await;
    assert!(page.text.contains("<title>Webhooks</title>") && !page.text.contains("brand-name"), "{}", page.text);
    assert!(page.text.contains("/accent-0a7d4f.") && page.text.contains("target=\"_blank\""), "{}", page.text);
}
