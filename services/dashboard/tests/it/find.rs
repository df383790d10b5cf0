//! The search, and the filters of lists.

use axum::http::StatusCode;
use postrider_model::delivery::DeliveryStatus;
use serde_json::json;

use crate::pages::{get, sign_in};
use crate::recorded::recorded;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_leads_to_the_object_or_the_list_or_says_what_it_understands() {
    let world = crate::world("dash_find").await;
    let (tenant, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let hook = |name: &str, url: &str| json!({"name": name, "url": url, "event_types": ["user.created"]});
    let endpoint = world.post(&tenant.key, "/v1/endpoints", hook("CRM & co", "https://example.com/crm")).await.ok(201);
    world.post(&tenant.key, "/v1/endpoints", hook("Billing", "https://example.com/billing")).await.ok(201);
    let foreign = world.post(&other.key, "/v1/endpoints", hook("Foreign", "https://example.org/")).await.ok(201);
    let (event, delivery) = recorded(&world, &tenant, &endpoint, DeliveryStatus::Failed).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let at = format!("/dashboard/{}", tenant.id);
    let find = async |text: &str| {
        let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", text).finish();
        get(&world, &cookie, &format!("{at}/find?{query}")).await
    };
    let id = endpoint["id"].as_str().unwrap();
    let cases = [
        (event.to_string(), format!("/events/{event}")),
        (format!(" {delivery} "), format!("/deliveries/{delivery}")),
        (id.to_owned(), format!("/webhooks/{id}")),
        ("crm &".into(), format!("/webhooks/{id}")),
        ("EXAMPLE.com/crm".into(), format!("/webhooks/{id}")),
        ("404".into(), "/deliveries?status_code=404".into()),
        ("5xx".into(), "/deliveries?status_code=5xx".into()),
        ("timeout".into(), "/deliveries?outcome=timeout".into()),
        ("Failed".into(), "/deliveries?status=failed".into()),
        ("user.*".into(), "/events?type=user.*".into()),
        ("user.created".into(), "/events?type=user.created".into()),
    ];
    for (text, expected) in cases {
        let found = find(&text).await;
        assert_eq!(
            (found.status, found.header("location")),
            (StatusCode::SEE_OTHER, &*format!("{at}{expected}")),
            "{text}"
        );
    }
    let several = find("example").await;
    assert_eq!((several.status, several.text.matches("<li><span class=\"tag\">Webhook").count()), (StatusCode::OK, 2));
    assert!(several.text.contains("CRM &amp; co") && several.text.contains("value=\"example\""));
    for text in ["nothing like it", "evt_unknown", foreign["id"].as_str().unwrap(), "Foreign"] {
        let found = find(text).await;
        assert!(found.text.contains("Nothing was found") && found.text.contains("What you can search for"), "{text}");
    }
    assert!(find("").await.text.contains("What you can search for"));
    assert!(find(&"a".repeat(2_049)).await.text.contains("The search text has at most 2048 bytes, got 2049."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_filters_of_deliveries_live_in_the_address() {
    let world = crate::world("dash_filters").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    let (_, failed) = recorded(&world, &tenant, &endpoint, DeliveryStatus::Failed).await;
    let (event, delivered) = recorded(&world, &tenant, &endpoint, DeliveryStatus::Delivered).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let page =
        async |query: &str| get(&world, &cookie, &format!("/dashboard/{}/deliveries?{query}", tenant.id)).await.text;
    let (failed, delivered) = (format!("/deliveries/{failed}\""), format!("/deliveries/{delivered}\""));
    let cases = [
        ("", true, true),
        ("status_code=5xx", true, false),
        ("status_code=200", false, true),
        ("outcome=http_status", true, false),
        ("range=hour", true, true),
        ("range=hour&status_code=5xx", true, false),
        ("to=2020-01-01T00:00", false, false),
        ("range=day&from=2999-01-01T00:00", false, false),
        ("order=oldest", true, true),
    ];
    for (query, first, second) in cases {
        let text = page(query).await;
        assert_eq!((text.contains(&failed), text.contains(&delivered)), (first, second), "{query}");
    }
    let text = page(&format!("event_id={event}&range=day")).await;
    assert_eq!((text.contains(&failed), text.contains(&delivered)), (false, true));
    assert!(text.contains("<details class=\"more\" open>"), "a filter that is set is visible");
    assert!(text.contains("<input type=\"hidden\" name=\"range\" value=\"day\">"), "the form keeps the quick range");
    assert!(text.contains(&format!("?event_id={event}&amp;range=week")), "a quick range keeps the other filters");
    assert!(text.contains("From (UTC)"), "the zone of typed times is named");
    let oldest = page("order=oldest").await;
    assert!(oldest.find(&failed) < oldest.find(&delivered));
    assert!(oldest.contains("Deliveries, oldest first") && page("").await.contains("Deliveries, newest first"));
    let wrong = page("status_code=7xx").await;
    assert!(wrong.contains("expected a status code from 100 to 599 or a class such as 5xx"));
    let events = get(&world, &cookie, &format!("/dashboard/{}/events?order=oldest&range=week", tenant.id)).await.text;
    assert!(events.contains(&format!("/events/{event}\"")) && events.contains("bridge=b1"));
    assert!(events.contains("Events, oldest first"), "{events}");
}
