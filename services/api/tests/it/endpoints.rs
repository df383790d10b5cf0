//! Endpoints through the routes. (A table next to the code tests which values are valid.)

use serde_json::json;

use crate::harness::{OPERATOR, World, endpoint};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_endpoint_has_the_given_members_and_shows_its_secret_once() {
    let world = World::new("api_endpoint").await;
    let tenant = world.tenant("magnetite").await;
    let body = json!({"name": "hook", "description": "d", "metadata": {"team": 7}, "channel": "web",
        "url": "https://example.com/hook", "event_types": ["lead.*"], "filters": {"dedicated_ip": ["2001:db8::/32"]},
        "headers": {"X-Team": "blue"}, "status": "inactive", "signature_key": "hmac", "retry_schedule_seconds": [],
        "timeout_seconds": 5, "rate_per_second": 2.5, "ascii_json": true});
    let made = world.post(&tenant.key, "/v1/endpoints", body.clone()).await;
    let etag = made.headers["etag"].to_str().unwrap().to_owned();
    let made = made.ok(201);
    for (name, value) in body.as_object().unwrap() {
        if name != "headers" {
            assert_eq!(&made[name], value, "{name}");
        }
    }
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"));
    assert_eq!(made["headers"], json!({"X-Team": "********"}));
    assert_eq!(etag, format!("\"v{}\"", made["version"]));

    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    let read = world.get(&tenant.key, &path).await.ok(200);
    assert_eq!(read.get("secret"), None);
    assert!(!read.to_string().contains(secret) && !read.to_string().contains("blue"));
    let list = world.get(&tenant.key, "/v1/endpoints").await.ok(200);
    assert_eq!((&list["usage"], &list["limit"], &list["next_cursor"]), (&json!(1), &json!(100), &json!(null)));
    assert_eq!((&list["data"][0]["successes"], &list["data"][0]["failures"]), (&json!(0), &json!(0)));
    assert!(!list.to_string().contains(secret));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_changes_only_given_members_and_needs_the_current_version() {
    let world = World::new("api_endpoint_edit").await;
    let tenant = world.tenant("magnetite").await;
    let mut body = endpoint();
    body["headers"] = json!({"X-Team": "blue", "X-Other": "1"});
    body["timeout_seconds"] = json!(5);
    let made = world.post(&tenant.key, "/v1/endpoints", body).await;
    let etag = made.headers["etag"].to_str().unwrap().to_owned();
    let made = made.ok(201);
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());

    let edit = json!({"name": "renamed", "timeout_seconds": null, "headers": {"X-Team": "********", "X-New": "2"},
        "status": "inactive"});
    let if_match = [("if-match", etag.as_str())];
    let edited = world.call_with(&tenant.key, "PATCH", &path, Some(&edit), &if_match).await.ok(200);
    assert_eq!((&edited["name"], edited.get("timeout_seconds")), (&json!("renamed"), None));
    assert_eq!(edited["headers"], json!({"X-New": "********", "X-Team": "********"}));
    assert_eq!((&edited["status"], &edited["url"]), (&json!("inactive"), &made["url"]));
    world.call_with(&tenant.key, "PATCH", &path, Some(&edit), &if_match).await.problem(412, "");

    let id = made["id"].as_str().unwrap().parse().unwrap();
    let stored = world.store.config().endpoint_for_dispatch(id).await.unwrap().unwrap();
    let values: Vec<(&str, &str)> = stored
        .private
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), secrecy::ExposeSecret::expose_secret(value)))
        .collect();
    assert_eq!(values, [("X-New", "2"), ("X-Team", "blue")]);

    // Stored header values are not sent to another host: an edit that changes the host must contain the values again.
    let headers = json!({"X-New": "2", "X-Team": "blue"});
    let cases = [
        (json!({"url": "http://example.com/", "headers": headers}), "/url"),
        (json!({"url": "https://10.0.0.1/", "headers": headers}), "/url"),
        (json!({"url": "https://elsewhere.example.com/"}), "/headers"),
        (json!({"event_types": ["no.such"]}), "/event_types/0"),
        (json!({"filters": {"colour": ["red"]}}), "/filters/colour"),
        (json!({"secret": "mine"}), "/secret"),
        (json!({"status": "disabled"}), "/status"),
        (json!({"channel": "pushover"}), "/channel"),
        (json!({"pushover": {"sound": "Siren"}}), "/pushover"),
        (json!({"headers": {"X-Unknown": "********"}}), "/headers/X-Unknown"),
    ];
    for (edit, pointer) in cases {
        let answer = world.call(&tenant.key, "PATCH", &path, Some(&edit)).await;
        let pointers: Vec<_> =
            answer.body["errors"].as_array().into_iter().flatten().map(|e| e["pointer"].clone()).collect();
        assert!(answer.status == 422 && pointers == [json!(pointer)], "{edit}: {:#}", answer.body);
    }
    world.call(&tenant.key, "DELETE", &path, None).await.ok(204);
    world.get(&tenant.key, &path).await.problem(404, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creation_errors_name_every_mistake_or_the_usage_and_limit() {
    let world = World::new("api_endpoint_limit").await;
    let tenant = world.tenant("magnetite").await;
    let body = json!({"name": "", "url": "http://x", "event_types": [], "secret": "whsec_!", "pushover": {}});
    let problem = world.post(&tenant.key, "/v1/endpoints", body).await;
    assert_eq!(problem.status, 422);
    let mut pointers: Vec<&str> =
        problem.body["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/event_types", "/name", "/pushover", "/secret", "/url"]);
    world.post(&tenant.key, "/v1/endpoints", json!({"name": "n", "colour": 1})).await.problem(422, "/colour");
    world.post(&tenant.key, "/v1/endpoints", json!({"name": "n"})).await.problem(422, "/event_types");
    world.post(OPERATOR, "/v1/endpoints", endpoint()).await.problem(422, "tenant");

    let path = format!("/v1/tenants/{}", tenant.id);
    world.call(OPERATOR, "PATCH", &path, Some(&json!({"limits": {"endpoints": 1}}))).await.ok(200);
    world.endpoint(&tenant).await;
    let refused = world.post(&tenant.key, "/v1/endpoints", endpoint()).await.problem(409, "");
    assert!(refused["detail"].as_str().unwrap().contains("1 of 1"), "{refused:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_secrets_can_be_rotated_and_are_never_shown_again() {
    let world = World::new("api_rotate").await;
    let tenant = world.tenant("standard").await;
    let mut body = endpoint();
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    body["secret"] = json!(own);
    let made = world.post(&tenant.key, "/v1/endpoints", body).await.ok(201);
    assert_eq!(made["secret"], json!(own));
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    let rotate = format!("{path}/rotate-secret");

    let rotated = world.post(&tenant.key, &rotate, json!({})).await.ok(200);
    assert!(rotated["secret"].as_str().unwrap().starts_with("whsec_"));
    let read = world.get(&tenant.key, &path).await.ok(200);
    assert!(read["previous_secret_until"].is_string() && read["version"].as_i64() > made["version"].as_i64());

    let later = json!({"effective_at": "2999-01-01T00:00:00Z"});
    world.post(&tenant.key, &rotate, later).await.problem(422, "/effective_at");
    world.post(&tenant.key, &rotate, json!({"effective_at": "soon"})).await.problem(422, "/effective_at");
    world.post(&tenant.key, &rotate, json!({"secret": ""})).await.problem(422, "/secret");
    for (pasted, word) in
        [(format!("v1,{own}"), "v1,"), (format!("SECRET={own}"), "NAME=value"), ("whsec_AAAA".into(), "16")]
    {
        let refused = world.post(&tenant.key, &rotate, json!({"secret": pasted})).await.problem(422, "/secret");
        assert!(refused["detail"].as_str().unwrap().contains(word), "{refused:#}");
    }
    world.post(&tenant.key, &rotate, json!({"overlap_seconds": 99_999_999})).await.problem(422, "/overlap_seconds");
    let both = json!({"overlap_seconds": 1, "effective_at": "2020-01-01T00:00:00Z"});
    world.post(&tenant.key, &rotate, both).await.problem(422, "/overlap_seconds");
    world.post(&tenant.key, &rotate, json!({"overlap": 1})).await.problem(422, "/overlap");

    let stale = [("if-match", "\"v1\"")];
    world.call_with(&tenant.key, "POST", &rotate, Some(&json!({})), &stale).await.problem(412, "");
    let another = "whsec_plJ3nmyCDGBKInavdOK15jsl";
    let own = json!({"secret": another, "overlap_seconds": 0});
    let rotated = world.post(&tenant.key, &rotate, own).await.ok(200);
    assert_eq!(rotated["secret"], json!(another));
    assert_eq!(rotated["previous_secrets_until"].as_array().unwrap().len(), 1, "{rotated:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_secret_signs_until_its_promised_end_and_a_planned_one_stays() {
    let world = World::new("api_rotations").await;
    let tenant = world.tenant("standard").await;
    let path = format!("/v1/endpoints/{}", world.endpoint(&tenant).await["id"].as_str().unwrap());
    let rotate = format!("{path}/rotate-secret");
    // A repeated rotation, as by a double click, does not end the overlap of the first secret.
    let (one, two) = tokio::join!(
        world.post(&tenant.key, &rotate, json!({"overlap_seconds": 3600})),
        world.post(&tenant.key, &rotate, json!({"overlap_seconds": 7200})),
    );
    let answers = [one.ok(200), two.ok(200)];
    let ends = |answer: &serde_json::Value| answer["previous_secrets_until"].as_array().unwrap().len();
    let mut counts: Vec<usize> = answers.iter().map(ends).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2]);
    let read = world.get(&tenant.key, &path).await.ok(200);
    assert_eq!(ends(&read), 2);

    let in_an_hour = postrider_model::time::UnixMillis::now().plus(std::time::Duration::from_secs(3_600));
    let planned = world.post(&tenant.key, &rotate, json!({"effective_at": in_an_hour.to_string()})).await.ok(200);
    assert!(planned["next_secret_from"].is_string() && ends(&planned) == 2, "{planned:#}");
    for request in [json!({}), json!({"effective_at": "2020-01-01T00:00:00Z"})] {
        let refused = world.post(&tenant.key, &rotate, request).await.problem(409, "");
        assert!(refused["detail"].as_str().unwrap().contains("another secret is planned for"), "{refused:#}");
    }
    let all = world.post(&tenant.key, &rotate, json!({"overlap_seconds": 0, "end_others": true})).await.ok(200);
    assert!(ends(&all) == 0 && all.get("next_secret_from").is_none(), "{all:#}");

    for n in 1..=4 {
        assert_eq!(ends(&world.post(&tenant.key, &rotate, json!({})).await.ok(200)), n);
    }
    let refused = world.post(&tenant.key, &rotate, json!({})).await.problem(409, "");
    assert!(refused["detail"].as_str().unwrap().contains("at most 5 secrets"), "{refused:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ed25519_endpoint_shows_its_public_key_only() {
    let world = World::new("api_ed25519").await;
    let tenant = world.tenant("standard").await;
    let mut body = endpoint();
    body["signature_key"] = json!("ed25519");
    let made = world.post(&tenant.key, "/v1/endpoints", body.clone()).await.ok(201);
    let first = made["public_key"].as_str().unwrap().to_owned();
    assert!(first.starts_with("whpk_") && made.get("secret").is_none(), "{made:#}");
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    assert_eq!(world.get(&tenant.key, &path).await.ok(200)["public_key"], json!(first));
    let stored = world
        .store
        .config()
        .endpoint_for_dispatch(made["id"].as_str().unwrap().parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    let private = secrecy::ExposeSecret::expose_secret(&stored.secrets.current).to_owned();
    assert!(private.starts_with("whsk_"));

    let rotate = format!("{path}/rotate-secret");
    let rotated = world.post(&tenant.key, &rotate, json!({})).await.ok(200);
    let second = rotated["public_key"].as_str().unwrap().to_owned();
    assert!(second.starts_with("whpk_") && second != first && rotated.get("secret").is_none(), "{rotated:#}");
    let read = world.get(&tenant.key, &path).await.ok(200);
    assert_eq!(read["public_key"], json!(second));
    assert!(read["previous_secret_until"].is_string() && read.get("next_public_key").is_none(), "{read:#}");

    // The public key of a planned rotation can be read before it is in force.
    let in_an_hour = postrider_model::time::UnixMillis::now().plus(std::time::Duration::from_secs(3_600));
    let planned = world.post(&tenant.key, &rotate, json!({"effective_at": in_an_hour.to_string()})).await.ok(200);
    let read = world.get(&tenant.key, &path).await.ok(200);
    assert_eq!((&read["public_key"], &read["next_public_key"]), (&json!(second), &planned["public_key"]));
    assert!(!read.to_string().contains("whsk_") && !planned.to_string().contains("whsk_"));

    world.post(&tenant.key, &rotate, json!({"secret": "mine"})).await.problem(422, "/secret");
    let edit = json!({"signature_key": "hmac"});
    world.call(&tenant.key, "PATCH", &path, Some(&edit)).await.problem(422, "/signature_key");
    world.call(&tenant.key, "PATCH", &path, Some(&json!({"signature_key": "ed25519", "name": "n"}))).await.ok(200);
    body["secret"] = json!("mine");
    world.post(&tenant.key, "/v1/endpoints", body.clone()).await.problem(422, "/secret");
    body["secret"] = json!(null);
    let other = world.tenant("magnetite").await;
    body["event_types"] = json!(["*"]);
    world.post(&other.key, "/v1/endpoints", body).await.problem(422, "/signature_key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_values_do_not_follow_a_url_to_another_origin() {
    let world = World::new("api_origin").await;
    let tenant = world.tenant("standard").await;
    let mut body = endpoint();
    body["headers"] = json!({"X-Api-Key": "hunter2", "X-Team": "7"});
    let made = world.post(&tenant.key, "/v1/endpoints", body).await.ok(201);
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    let patch = async |edit: serde_json::Value| world.call(&tenant.key, "PATCH", &path, Some(&edit)).await;
    patch(json!({"url": "https://example.com/other"})).await.ok(200);
    for url in ["https://evil.example/hook", "https://example.com:8443/hook"] {
        patch(json!({"url": url})).await.problem(422, "/headers");
        let kept = json!({"url": url, "headers": {"X-Api-Key": "********", "X-Team": "8"}});
        patch(kept).await.problem(422, "/headers");
    }
    let given = json!({"url": "https://new.example/hook", "headers": {"X-Api-Key": "again"}});
    assert_eq!(patch(given).await.ok(200)["url"], json!("https://new.example/hook"));
    patch(json!({"url": "https://newer.example/hook", "headers": {}})).await.ok(200);
    assert_eq!(patch(json!({"url": "https://newest.example"})).await.ok(200)["url"], json!("https://newest.example/"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_read_strictly() {
    let world = World::new("api_bodies").await;
    let tenant = world.tenant("standard").await;
    let raw = |content_type: &str, body: String| {
        axum::http::Request::post("/v1/endpoints")
            .header("authorization", format!("Bearer {}", tenant.key))
            .header("content-type", content_type)
            .body(axum::body::Body::from(body))
            .unwrap()
    };
    world.send(raw("application/json", "{".into())).await.problem(400, "");
    world.send(raw("application/json", String::new())).await.problem(400, "");
    world.send(raw("text/plain", "{}".into())).await.problem(415, "");
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(300_000));
    world.send(raw("application/json", large)).await.problem(413, "");
}
