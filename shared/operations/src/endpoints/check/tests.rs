//! Each mistake in an endpoint, and the place where it is reported.

use postrider_profiles::Profiles;

use super::*;
use crate::endpoints::request::{CreateEndpoint, MASK};

#[track_caller]
fn check_in(profile: &str, member: &str, value: serde_json::Value, expected: Option<&str>) {
    let profiles = Profiles::builtin();
    let profile = profiles.get(profile).unwrap();
    let limits = TenantLimits { rate_per_second_max: Some(50.0), ..TenantLimits::default() };
    let guard = AddressGuard::default();
    let mut json = serde_json::json!({"name": "n", "url": "https://example.com/", "event_types": ["*"]});
    json[member] = value.clone();
    let draft = serde_json::from_value::<CreateEndpoint>(json).unwrap().into_draft();
    let errors =
        Rules { profile, limits: &limits, guard: &guard, recipients: &Recipients::default(), event_types: &[] }
            .check(&draft);
    assert_eq!(errors.pointers(), expected.into_iter().collect::<Vec<_>>(), "{member}: {value}: {errors:?}");
}

#[track_caller]
fn good(member: &str, value: serde_json::Value) {
    check_in("magnetite", member, value, None);
}

#[track_caller]
fn bad(member: &str, value: serde_json::Value, pointer: &str) {
    check_in("magnetite", member, value, Some(pointer));
}

#[test]
fn each_mistake_has_its_pointer() {
    use serde_json::json;
    bad("name", json!(" "), "/name");
    bad("name", json!("x".repeat(201)), "/name");
    bad("description", json!("a\u{0}"), "/description");
    good("description", json!("two\nlines"));
    bad("metadata", json!({"a": ["\u{0}"]}), "/metadata");
    bad("metadata", json!({"a": "x".repeat(17_000)}), "/metadata");
    bad("channel", json!("pushover"), "/channel");
    bad("url", json!(null), "/url");
    for url in ["http://example.com/", "https://127.0.0.1/", "https://u:p@example.com/", "ftp://example.com/", "x"] {
        bad("url", json!(url), "/url");
    }
    bad("event_types", json!([]), "/event_types");
    bad("event_types", json!(["lead.created", "email*"]), "/event_types/1");
    bad("event_types", json!(["lead.created", "no.such"]), "/event_types/1");
    good("event_types", json!(["lead.*", "magnet.viewed"]));
    check_in("standard", "event_types", json!(["any.thing"]), None);
    bad("filters", json!({"colour": ["red"]}), "/filters/colour");
    bad("filters", json!({"bridge": []}), "/filters/bridge");
    bad("filters", json!({"bridge": ["ok", "\u{0}"]}), "/filters/bridge/1");
    bad("filters", json!({"dedicated_ip": ["10.0.0.0/8", "300.1.1.1"]}), "/filters/dedicated_ip/1");
    good("payload_filter", json!({"field": "data.amount", "op": "gt", "value": 5}));
    bad("payload_filter", json!({"all": []}), "/payload_filter/all");
    bad("signature_key", json!("ed25519"), "/signature_key");
    check_in("standard", "signature_key", json!("ed25519"), None);
    bad("token_header", json!("X-Token"), "/token_header");
    check_in("mumara", "token_header", json!("Authorization"), None);
    check_in("mumara", "token_header", json!("webhook-id"), Some("/token_header"));
    check_in("mumara", "url", json!("http://example.com/"), None);
    bad("pushover", json!({"sound": "Siren"}), "/pushover");
}

#[test]
fn an_ordered_endpoint_is_not_paused() {
    use postrider_model::ordering::Ordering;
    use postrider_store::config::EndpointPrivate;
    let profiles = Profiles::builtin();
    let (limits, guard) = (TenantLimits::default(), AddressGuard::default());
    let rules = Rules {
        profile: profiles.get("standard").unwrap(),
        limits: &limits,
        guard: &guard,
        recipients: &Recipients::default(),
        event_types: &[],
    };
    let mut ordered = EndpointDraft {
        document: EndpointDocument {
            name: "n".into(),
            url: Some("https://example.com/".into()),
            event_types: vec!["*".into()],
            ordering: Some(Ordering::default()),
            ..EndpointDocument::default()
        },
        status: EndpointStatus::Paused,
        private: EndpointPrivate::default(),
    };
    assert_eq!(rules.check(&ordered).pointers(), ["/status"]);
    ordered.status = EndpointStatus::Inactive;
    assert_eq!(rules.check(&ordered).pointers(), [""; 0]);
}

#[test]
fn a_batched_endpoint_has_values_in_their_ranges_and_no_order() {
    use postrider_model::batch::Batch;
    use postrider_model::ordering::Ordering;
    use postrider_store::config::EndpointPrivate;
    let profiles = Profiles::builtin();
    let (limits, guard) = (TenantLimits::default(), AddressGuard::default());
    let profile = profiles.get("standard").unwrap();
    let rules = Rules { profile, limits: &limits, guard: &guard, recipients: &Recipients::default(), event_types: &[] };
    let mut draft = EndpointDraft {
        document: EndpointDocument {
            name: "n".into(),
            url: Some("https://example.com/".into()),
            event_types: vec!["*".into()],
            batch: Some(Batch::default()),
            ..EndpointDocument::default()
        },
        status: EndpointStatus::Active,
        private: EndpointPrivate::default(),
    };
    assert_eq!(rules.check(&draft).pointers(), [""; 0]);
    draft.document.batch = Some(Batch { events_max: 0, bytes_max: 1, wait_ms_max: 100_000 });
    assert_eq!(rules.check(&draft).pointers(), ["/batch/events_max", "/batch/bytes_max", "/batch/wait_ms_max"]);
    draft.document.batch = Some(Batch::default());
    draft.document.ordering = Some(Ordering::default());
    assert_eq!(rules.check(&draft).pointers(), ["/batch"]);
    draft.document.ordering = None;
    draft.document.channel = Channel::Slack;
    assert!(rules.check(&draft).pointers().contains(&"/batch"));
}

#[test]
fn a_url_is_stored_as_it_is_sent() {
    let profiles = Profiles::builtin();
    let (limits, guard) = (TenantLimits::default(), AddressGuard::default());
    let rules = Rules {
        profile: profiles.get("standard").unwrap(),
        limits: &limits,
        guard: &guard,
        recipients: &Recipients::default(),
        event_types: &[],
    };
    let check = |written: &str, sent: &str| {
        let mut document = EndpointDocument { url: Some(written.into()), ..EndpointDocument::default() };
        rules.normalize_url(&mut document);
        assert_eq!(document.url.as_deref(), Some(sent), "{written}");
    };
    check("https://example.com", "https://example.com/");
    check("https://EXAMPLE.com/a/../b?q={x}", "https://example.com/b?q={x}");
    check("https://example.com/%2e%2e/é", "https://example.com/%C3%A9");
    check("https://0x8080808/", "https://8.8.8.8/");
    check("https://bücher.example/", "https://xn--bcher-kva.example/");
    // A signature in the query is not re-encoded.
    check("https://example.com/h?sig=a%2Fb%3d&x=%20", "https://example.com/h?sig=a%2Fb%3d&x=%20");
    bad("url", serde_json::json!("https://example.com/hook#part"), "/url");
}

#[test]
fn a_pushover_endpoint_has_keys_a_sound_and_no_url() {
    use serde_json::json;
    let key = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG";
    let check = |edit: fn(&mut serde_json::Value), expected: &[&str]| {
        let mut json = json!({"name": "n", "channel": "pushover", "event_types": ["*"],
            "pushover": {"user_key": key, "api_token": key, "sound": "Cash Register"}});
        edit(&mut json);
        let profiles = Profiles::builtin();
        let (limits, guard) = (TenantLimits::default(), AddressGuard::default());
        let rules = Rules {
            profile: profiles.get("mumara").unwrap(),
            limits: &limits,
            guard: &guard,
            recipients: &Recipients::default(),
            event_types: &[],
        };
        let errors = rules.check(&serde_json::from_value::<CreateEndpoint>(json).unwrap().into_draft());
        assert_eq!(errors.pointers(), expected, "{errors:?}");
    };
    check(|_| {}, &[]);
    check(|e| e["pushover"] = json!(null), &["/pushover"]);
    check(|e| e["pushover"] = json!({}), &["/pushover/user_key", "/pushover/api_token", "/pushover/sound"]);
    check(|e| e["pushover"]["user_key"] = json!("short"), &["/pushover/user_key"]);
    check(|e| e["pushover"]["api_token"] = json!(MASK), &["/pushover/api_token"]);
    check(|e| e["pushover"]["sound"] = json!("cashregister"), &["/pushover/sound"]);
    check(|e| e["url"] = json!("https://example.com/"), &["/url"]);
    check(|e| e["headers"] = json!({"X-A": "b"}), &["/headers"]);
}

#[test]
fn a_chat_endpoint_has_a_webhook_of_its_service_or_a_bot_and_a_chat() {
    use serde_json::json;
    let check = |channel: &str, members: serde_json::Value, expected: &[&str]| {
        let mut json = json!({"name": "n", "channel": channel, "event_types": ["*"]});
        json.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let profiles = Profiles::builtin();
        let guard = AddressGuard { chat_hosts: vec!["chat.example.com:8443".into()], ..AddressGuard::default() };
        let limits = TenantLimits::default();
        let rules = Rules {
            profile: profiles.get("standard").unwrap(),
            limits: &limits,
            guard: &guard,
            recipients: &Recipients::default(),
            event_types: &[],
        };
        let errors = rules.check(&serde_json::from_value::<CreateEndpoint>(json).unwrap().into_draft());
        assert_eq!(errors.pointers(), expected, "{channel}: {members}: {errors:?}");
        assert!(!format!("{errors:?}").contains("s3cret"), "{errors:?}");
    };
    let webhook = |url: &str| json!({"chat": {"webhook_url": url}});
    let slack = "https://hooks.slack.com/services/T0/B0/s3cret";
    let discord = "https://discord.com/api/webhooks/1/s3cret?thread_id=2";
    let workflow = "https://default1.2f.environment.api.powerplatform.com:443/powerautomate/workflows/x?sig=s3cret";
    check("slack", webhook(slack), &[]);
    check("slack", webhook("https://chat.example.com:8443/hooks/s3cret"), &[]);
    check("discord", webhook(discord), &[]);
    check("teams", webhook(workflow), &[]);
    check("teams", webhook("https://acme.webhook.office.com/webhookb2/s3cret"), &[]);
    for (channel, url) in [
        ("slack", "http://hooks.slack.com/services/T0/B0/s3cret"),
        ("slack", "https://hooks.slack.com.evil.example/services/s3cret"),
        ("slack", "https://hooks.slack.com/triggers/s3cret"),
        ("slack", "https://hooks.slack.com:8443/services/s3cret"),
        ("slack", "https://chat.example.com/hooks/s3cret"),
        ("slack", discord),
        ("discord", slack),
        ("discord", "https://discord.com/api/webhooks/1/s3cret/slack"),
        ("teams", "https://webhook.office.com.evil.example/s3cret"),
        ("teams", "https://127.0.0.1/s3cret"),
        ("teams", "s3cret"),
        ("slack", MASK),
        ("slack", ""),
    ] {
        check(channel, webhook(url), &["/chat/webhook_url"]);
    }
    check("slack", json!({}), &["/chat"]);
    check("slack", json!({"chat": {"webhook_url": slack}, "url": "https://example.com/"}), &["/url"]);
    check("slack", json!({"chat": {"webhook_url": slack}, "telegram": {}}), &["/telegram"]);
    check("web", json!({"url": "https://example.com/", "chat": {"webhook_url": slack}}), &["/chat"]);

    let token = format!("123456:{}", "s3cret_".repeat(5));
    let telegram = |token: &str, chat: &str| json!({"telegram": {"bot_token": token, "chat_id": chat}});
    for chat in ["-1001234567890", "42", "@alerts_of_acme"] {
        check("telegram", telegram(&token, chat), &[]);
    }
    for chat in ["", "0", "+42", "alerts", "@", "@a b", "-1e3", &format!("@{}", "x".repeat(128))] {
        check("telegram", telegram(&token, chat), &["/telegram/chat_id"]);
    }
    for token in ["", MASK, "s3cret", "123456:s3cret", &format!("{token}/../x"), &format!("x{token}")] {
        check("telegram", telegram(token, "42"), &["/telegram/bot_token"]);
    }
    check("telegram", json!({}), &["/telegram"]);
    check("telegram", json!({"telegram": {"bot_token": token, "chat_id": "1"}, "chat": {}}), &["/chat"]);
}

#[test]
fn an_email_endpoint_has_addresses_that_the_operator_allows() {
    use serde_json::json;
    let check = |allowed: &[&str], recipients: serde_json::Value, expected: &[&str]| {
        let email = json!({"recipients": recipients});
        let json = json!({"name": "n", "channel": "email", "event_types": ["*"], "email": email});
        let profiles = Profiles::builtin();
        let (limits, guard) = (TenantLimits::default(), AddressGuard::default());
        let domains: Vec<String> = allowed.iter().map(|domain| (*domain).to_owned()).collect();
        let recipients = Recipients::of_domains(&domains);
        let profile = profiles.get("standard").unwrap();
        let rules = Rules { profile, limits: &limits, guard: &guard, recipients: &recipients, event_types: &[] };
        let errors = rules.check(&serde_json::from_value::<CreateEndpoint>(json).unwrap().into_draft());
        assert_eq!(errors.pointers(), expected, "{errors:?}");
    };
    let allowed = ["example.com"];
    check(&allowed, json!(["a@example.com", "b@example.com"]), &[]);
    check(&[], json!(["a@example.com"]), &["/channel"]);
    check(&allowed, json!([]), &["/email/recipients"]);
    check(&allowed, json!(vec!["a@example.com"; 11]), &["/email/recipients"]);
    check(
        &allowed,
        json!(["a@example.com", "A@example.com", "b@example.org", "x"]),
        &["/email/recipients/1", "/email/recipients/2", "/email/recipients/3"],
    );
    bad("email", json!({"recipients": ["a@example.com"]}), "/email");
}

#[test]
fn headers_that_postrider_sets_are_refused_and_so_are_broken_values() {
    use serde_json::json;
    good("headers", json!({"Authorization": "Bearer x", "X-Team": ""}));
    for name in
        ["Content-Type", "webhook-id", "Postrider-Attempt", "Host", "x-magnetite-signature", "X-Magnetite-Event"]
    {
        bad("headers", json!({name: "x"}), &format!("/headers/{name}"));
    }
    bad("headers", json!({"a b": "x"}), "/headers/a b");
    bad("headers", json!({"X-A": "x\r\nX-B: y"}), "/headers/X-A");
    bad("headers", json!({"X-A": "x".repeat(2_049)}), "/headers/X-A");
    bad("headers", json!({"X-A": MASK}), "/headers/X-A");
    bad("headers", json!({"X-A": "1", "x-a": "2"}), "/headers/x-a");
    let many: serde_json::Map<_, _> = (0..21).map(|n| (format!("X-{n}"), json!("v"))).collect();
    bad("headers", many.into(), "/headers");
}

#[test]
fn pace_stays_within_the_limits() {
    use serde_json::json;
    good("retry_schedule_seconds", json!([]));
    bad("retry_schedule_seconds", json!([1, 0]), "/retry_schedule_seconds/1");
    bad("retry_schedule_seconds", json!(vec![1; 21]), "/retry_schedule_seconds");
    good("retry_schedule_seconds", json!(vec![86_400; 6]));
    bad("retry_schedule_seconds", json!(vec![86_400; 7]), "/retry_schedule_seconds");
    good("timeout_seconds", json!(60));
    bad("timeout_seconds", json!(0), "/timeout_seconds");
    bad("timeout_seconds", json!(61), "/timeout_seconds");
    good("rate_per_second", json!(50));
    bad("rate_per_second", json!(50.1), "/rate_per_second");
    bad("rate_per_second", json!(0), "/rate_per_second");
    bad("rate_per_second", json!(-1), "/rate_per_second");
}
