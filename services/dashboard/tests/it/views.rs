//! Saved views, and the search in payloads.

use axum::http::StatusCode;
use bytes::Bytes;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;
use postrider_wire::testing;
use serde_json::json;

use crate::harness::{Tenant, World};
use crate::pages::{Page, get, post, send_form, sign_in};
use crate::portal::{cookie_of, link, open};
use crate::recorded::recorded;

/// Sends the form of the page at `path`.
async fn submit(world: &World, cookie: &str, path: &str, fields: &[(&str, &str)]) -> Page {
    let csrf = get(world, cookie, path).await.csrf();
    let mut form = vec![("csrf", csrf.as_str()), ("once", fields.last().map_or("", |(_, value)| *value))];
    form.extend(fields);
    send_form(world, cookie, path.split('?').next().unwrap(), &form).await
}

/// The addresses and names of the views above a list; the current view is marked.
fn views(page: &Page) -> Vec<String> {
    let Some((_, nav)) = page.text.split_once("aria-label=\"Saved views\">") else { return Vec::new() };
    let links = nav.split_once("</nav>").unwrap().0.split("<a href=\"").skip(1);
    links.map(|link| link.replace("</a>", "").replace("&amp;", "&")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_a_link_above_the_list_for_everybody_of_the_tenant() {
    let world = crate::world("dash_views").await;
    let (tenant, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let at = format!("/dashboard/{}", tenant.id);
    // A visitor without a key saves a view.
    let editor = link(&world, &tenant, json!({"user": "Jane"})).await;
    let editor = cookie_of(&open(&world, "", &editor).await);
    let list = get(&world, &editor, &format!("{at}/deliveries?range=day&status=failed&cursor=&unknown=1")).await;
    let save = "/views/new?list=deliveries&amp;query=range%3Dday%26status%3Dfailed\">Save this view";
    assert!(list.text.contains(save), "{}", list.text);
    assert!(!get(&world, &editor, &format!("{at}/deliveries")).await.text.contains("Save this view"));
    assert!(!get(&world, &editor, &format!("{at}/deliveries?status_code=7xx")).await.text.contains("Save this view"));

    let new = format!("{at}/views/new?list=deliveries&query=range%3Dday%26status%3Dfailed");
    let query = ("query", "status=failed&range=day&unknown=1");
    let saved = submit(&world, &editor, &new, &[("list", "deliveries"), query, ("name", "Failed <CRM>")]).await;
    let address = format!("{at}/deliveries?range=day&status=failed");
    assert!(saved.header("location").starts_with(&format!("{address}&notice=view-saved")), "{:?}", saved.headers);
    let shown = get(&world, &editor, saved.header("location")).await;
    assert!(shown.text.contains("The view was saved."), "{}", shown.text);
    assert_eq!(views(&shown), [format!("{address}\" aria-current=\"true\">Failed &lt;CRM&gt;")]);
    assert!(shown.text.contains("Edit view") && !shown.text.contains("Save this view"));

    // A key that may only read sees the view and may not change it.
    let reader = sign_in(&world, &world.key(&tenant.id, &["read"]).await).await;
    let seen = get(&world, &reader, &format!("{at}/deliveries?status=delivered")).await;
    assert_eq!(views(&seen), [format!("{address}\">Failed &lt;CRM&gt;")]);
    assert!(!seen.text.contains("Save this view"));
    assert!(views(&get(&world, &reader, &format!("{at}/events")).await).is_empty(), "a view belongs to one list");
    assert_eq!(get(&world, &reader, &new).await.status, StatusCode::FORBIDDEN);
    let stranger = sign_in(&world, &other.key).await;
    assert!(views(&get(&world, &stranger, &format!("/dashboard/{}/deliveries", other.id)).await).is_empty());

    let edit = shown.text.split_once("/views/view_").unwrap().1.split('"').next().unwrap();
    let edit = format!("{at}/views/view_{edit}");
    assert_eq!(get(&world, &stranger, &edit.replace(&tenant.id, &other.id)).await.status, StatusCode::NOT_FOUND);
    let renamed = submit(&world, &editor, &edit, &[("name", "Opens")]).await;
    assert!(renamed.header("location").starts_with(&address));
    assert_eq!(views(&get(&world, &reader, &address).await), [format!("{address}\" aria-current=\"true\">Opens")]);
    let asked = get(&world, &editor, &format!("{edit}/delete")).await;
    assert!(asked.text.contains("Delete the view “Opens”?"), "{}", asked.text);
    let deleted = submit(&world, &editor, &format!("{edit}/delete"), &[]).await;
    assert!(deleted.header("location").starts_with(&format!("{at}/deliveries?notice=view-deleted")));
    assert!(views(&get(&world, &editor, &address).await).is_empty());
    let log = world.get(&tenant.key, "/v1/audit-log?action=saved_view.created").await.ok(200);
    assert_eq!(log["data"][0]["actor"]["name"], "Jane", "{log:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_filter_that_the_list_understands_is_saved() {
    let world = crate::world("dash_view_form").await;
    let tenant = world.tenant("standard").await;
    let cookie = sign_in(&world, &tenant.key).await;
    let new = format!("/dashboard/{}/views/new", tenant.id);
    let csrf = get(&world, &cookie, &format!("{new}?list=events&query=type%3Dlead.*")).await.csrf();
    let attempt = async |query: &str, name: &str| {
        let form = [("csrf", csrf.as_str()), ("once", query), ("list", "events"), ("query", query), ("name", name)];
        post(&world, &cookie, &new, &form).await
    };
    for (query, name, detail) in [
        ("payload=email", "x", "Payload: expected a field, = and a value"),
        ("from=yesterday", "x", "From: "),
        ("unknown=1&cursor=x", "x", "a view needs at least one filter"),
        (&*format!("type={}", "a".repeat(2_000)), "x", "Type: "),
        (&*format!("payload=a={}&attributes.bridge={}", "x".repeat(500), "b".repeat(1_600)), "x", "at most 2000 bytes"),
        ("type=lead.*", "", "1 to 100 bytes"),
        ("type=lead.*", &*"n".repeat(101), "1 to 100 bytes"),
    ] {
        let refused = attempt(query, name).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert!(refused.text.contains(detail) && refused.text.contains("Error: Save this view"), "{}", refused.text);
    }
    let query = "attributes.bridge=b1&order=oldest&payload=email%3Djo%40example.com&range=week&type=lead.*";
    assert_eq!(attempt(query, "Jo").await.status, StatusCode::SEE_OTHER);
    let again = attempt("type=lead.*", "Jo").await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(again.text.contains("another view of the events has this name"), "{}", again.text);
    let shown = get(&world, &cookie, &format!("/dashboard/{}/events?{query}", tenant.id)).await;
    assert_eq!(views(&shown), [format!("/dashboard/{}/events?{query}\" aria-current=\"true\">Jo", tenant.id)]);
    assert_eq!(get(&world, &cookie, &format!("{new}?list=webhooks&query=a%3Db")).await.status, StatusCode::NOT_FOUND);
}

/// Every filter that the form of a list offers can be saved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_keeps_every_filter_that_the_form_of_its_list_has() {
    let world = crate::world("dash_view_filters").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    recorded(&world, &tenant, &endpoint, DeliveryStatus::Failed).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let id = endpoint["id"].as_str().unwrap();
    let hex = "0194f6c0a1b27c3d8e9f001122334455";
    let values = [
        ("endpoint_id", id.to_owned()),
        ("status", "failed".into()),
        ("status_code", "5xx".into()),
        ("outcome", "timeout".into()),
        ("type", "lead.*".into()),
        ("failed_attempts", "true".into()),
        ("event_id", "evt_1".into()),
        ("replay_id", format!("rpl_{hex}")),
        ("from", "2026-01-02T03:04".into()),
        ("to", "2026-01-03T03:04".into()),
        ("order", "oldest".into()),
        ("payload", "a=b".into()),
        ("range", "day".into()),
        ("attributes.", "b1".into()),
    ];
    for list in ["deliveries", "events"] {
        let at = format!("/dashboard/{}/{list}", tenant.id);
        let form = get(&world, &cookie, &format!("{at}?range=day")).await.text;
        let bar = form.split_once("<form class=\"filter-bar\"").unwrap().1.split_once("</form>").unwrap().0;
        let names: Vec<&str> = bar.split(" name=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(names.len() >= 5, "{names:?}");
        for name in names {
            let kind = if name.starts_with("attributes.") { "attributes." } else { name };
            let (_, value) =
                values.iter().find(|(known, _)| *known == kind).unwrap_or_else(|| panic!("a value of {name}"));
            let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
            let text = get(&world, &cookie, &format!("{at}?{query}")).await.text;
            let saved: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
            assert!(text.contains(&format!("list={list}&amp;query={saved}\">Save this view")), "{list} {name}");
        }
    }
}

async fn record(world: &World, tenant: &Tenant, start: UnixMillis, data: Vec<Bytes>) {
    let tenant = tenant.id.parse().unwrap();
    let event = |n: usize| testing::accepted(tenant, "lead.created".parse().unwrap(), UnixMillis(start.0 - n as i64));
    let events = data.into_iter().enumerate().map(|(n, data)| (event(n), data)).collect();
    world.store.record().write(&RecordBatch { events, ..RecordBatch::default() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_of_a_payload_is_found_and_the_page_says_what_was_searched() {
    let world = crate::world("dash_payload").await;
    let tenant = world.tenant("standard").await;
    let cookie = sign_in(&world, &tenant.key).await;
    let at = format!("/dashboard/{}", tenant.id);
    let leads = async |query: &str| get(&world, &cookie, &format!("{at}/find?q={query}")).await;
    for (text, payload) in [
        ("email=jo%40example.com", "email%3Djo%40example.com"),
        ("data.amount:5", "data.amount%3A5"),
        ("jo%40example.com", "*%3Djo%40example.com"),
    ] {
        let found = leads(text).await;
        let expected = format!("{at}/events?payload={payload}");
        assert_eq!((found.status, found.header("location")), (StatusCode::SEE_OTHER, &*expected), "{text}");
    }
    let hook = json!({"name": "CRM: opens", "url": "https://example.com/?to=jo", "event_types": ["*"]});
    let made = world.post(&tenant.key, "/v1/endpoints", hook).await.ok(201);
    let webhook = format!("{at}/webhooks/{}", made["id"].as_str().unwrap());
    assert_eq!(leads("CRM%3A+opens").await.header("location"), webhook);
    assert_eq!(leads("https%3A%2F%2Fexample.com%2F%3Fto%3D").await.header("location"), webhook);
    let both = leads("to%3Djo").await.text;
    assert!(both.contains("CRM: opens") && both.contains("events?payload=to%3Djo"), "{both}");
    let nothing = leads("4711").await.text;
    assert!(nothing.contains("events?payload=*%3D4711\">Search payloads for this value"), "{nothing}");

    let start = UnixMillis(UnixMillis::now().day().start().0 + 20_000);
    let mut data = vec![Bytes::from_static(br#"{"email":"ann@example.com"}"#); 10_010];
    data[10_005] = Bytes::from_static(br#"{"email":"jo@example.com"}"#);
    record(&world, &tenant, start, data).await;
    let first = get(&world, &cookie, &format!("{at}/events?payload=email%3Djo%40example.com")).await.text;
    assert!(
        first.contains("Nothing found yet") && first.contains("the payloads of 10,000 events, back to <time"),
        "{first}"
    );
    assert!(
        first.contains("The search is not complete.") && first.contains("value=\"email=jo@example.com\""),
        "{first}"
    );
    let older = first.split_once("rel=\"next\">Search older").unwrap().0.rsplit_once("href=\"").unwrap().1;
    let older = older.split('"').next().unwrap().replace("&amp;", "&");
    let second = get(&world, &cookie, &older).await.text;
    assert!(second.contains("the payloads of 10 more events") && second.contains("There are no others in this time."));
    assert_eq!(second.matches("aria-label=\"Choose lead.created").count(), 1, "{second}");
    let none =
        get(&world, &cookie, &format!("{at}/events?payload=email%3Djo%40example.com&order=oldest&type=x")).await.text;
    assert!(none.contains("up to <time") && none.contains("Search newer"), "{none}");
    let wrong = get(&world, &cookie, &format!("{at}/events?payload=email")).await.text;
    assert!(wrong.contains("Payload: </strong>expected a field, = and a value"), "{wrong}");
}
