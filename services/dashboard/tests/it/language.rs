//! Languages: which texts the pages have, and that every text of a page can be translated.

mod html;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::time::UnixMillis;
use postrider_profiles::{Piece, Profiles, is_term, pieces};
use serde_json::{Value, json};

use crate::brand::{PLAIN, busy_tenant};
use crate::harness::{OPERATOR, Tenant, World};
use crate::pages::{Page, get, post, routes, send_form, sign_in};
use crate::portal::{PORTAL, link};
use crate::recorded::recorded;

/// The brand of the profile `acme`. `qps` is a language tag for private use.
const BRAND: &str = "[brand]\nname = \"Acme\"\nlanguage = \"qps\"\n\
                     [brand.terms]\nwebhook = \"<hook>\"\nwebhooks = \"<hooks>\"\nendpoint = \"<place>\"\nendpoints = \"<places>\"\n";
/// Addresses whose pages have texts that cannot be translated yet, by their beginning below the tenant's address.
const NOT_TRANSLATED: [&str; 0] = [];
/// Words that are the same in every language: units, methods, and the names of products, formats and the tests' objects.
const WORDS: [&str; 22] = [
    "ms", "s", "min", "h", "KiB", "MiB", "UTC", "POST", "Acme", "acme", "hook", "k", "Pushover", "Python", "Rust",
    "Go", "PHP", "Ruby", "Java", "a", "OpenAPI", "AsyncAPI",
];

/// A language that shows each text in brackets. The values of placeholders are outside of the brackets.
fn pseudo_language() -> String {
    let translation = |english: &str| {
        let (mut out, mut part) = (String::new(), String::new());
        let flush = |out: &mut String, part: &mut String| {
            let has_words = part.chars().any(char::is_alphabetic);
            out.push_str(&if has_words { format!("⟦{part}⟧") } else { part.clone() });
            part.clear();
        };
        for piece in pieces(english) {
            match piece {
                Piece::Literal(text) => part.push_str(text),
                Piece::Placeholder(name) if is_term(name) => part.push_str(&format!("{{{name}}}")),
                Piece::Placeholder(name) => {
                    flush(&mut out, &mut part);
                    out.push_str(&format!("{{{name}}}"));
                }
            }
        }
        flush(&mut out, &mut part);
        out
    };
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let lines =
        source::texts().into_iter().map(|text| format!("{} = {}\n", quoted(&text), quoted(&translation(&text))));
    format!("[texts]\n{}", lines.collect::<String>())
}

/// The built-in profiles, the profile `acme`, and the language `qps`.
fn profiles() -> Profiles {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acme.toml"), format!("{PLAIN}{BRAND}")).unwrap();
    std::fs::create_dir(folder.path().join("languages")).unwrap();
    std::fs::write(folder.path().join("languages/qps.toml"), pseudo_language()).unwrap();
    Profiles::load(Some(folder.path())).unwrap()
}

async fn set_brand(world: &World, tenant: &Tenant, brand: Value) {
    world.call(OPERATOR, "PATCH", &format!("/v1/tenants/{}", tenant.id), Some(&json!({"brand": brand}))).await.ok(200);
}

/// The texts of a page that are neither a translation nor data.
fn untranslated(page: &Page, data: &BTreeSet<String>) -> Vec<String> {
    let mut data: Vec<&String> = data.iter().collect();
    data.sort_by_key(|text| std::cmp::Reverse(text.len()));
    let is_wrong = |text: &str| {
        let mut rest = String::new();
        // Values stand between the translated parts.
        for (index, part) in text.split(['⟦', '⟧']).enumerate() {
            rest.push_str(if index % 2 == 0 { part } else { " " });
        }
        for known in &data {
            rest = rest.replace(known.as_str(), " ");
        }
        let mut words =
            rest.split(|c: char| !c.is_alphanumeric() && !"_-.".contains(c)).map(|word| word.trim_matches('.'));
        // A word with a digit is an id, a status code or a number with its unit. A word with a dot is an event type or a host.
        let is_data = |c: char| c.is_ascii_digit() || c == '.';
        let is_text = |word: &str| word.chars().any(char::is_alphabetic) && !word.contains(is_data);
        words.any(|word| is_text(word) && !WORDS.contains(&word))
    };
    html::texts(&page.text)
        .into_iter()
        .filter(|(_, text)| is_wrong(text))
        .map(|(at, text)| format!("<{at}> {text}"))
        .collect()
}

/// Walks pages and collects the texts that cannot be translated.
struct Walk<'a> {
    world: &'a World,
    /// Texts of the deployment's data: names, descriptions, reason phrases.
    data: BTreeSet<String>,
    /// The texts that cannot be translated, each with the last page that shows it.
    wrong: BTreeMap<String, String>,
    pages: usize,
}

impl<'a> Walk<'a> {
    async fn new(world: &'a World) -> Self {
        let mut data: BTreeSet<String> = [
            "Service Unavailable",
            "OK",
            "No Content",
            "https://example.com/hook",
            "https://example.com/webhooks",
            "https:/",
            "com/",
            "example.",
            "no such type",
            "(webhooks)",
            "Acme <Parcels>",
        ]
        .map(str::to_owned)
        .into();
        let listed = world.get(OPERATOR, "/v1/profiles").await.ok(200);
        for profile in listed["data"].as_array().unwrap() {
            data.extend([text_of(&profile["name"])]);
            for name in profile["attributes"].as_object().unwrap().keys() {
                let words = name.replace('_', " ");
                let first = words[..1].to_ascii_uppercase();
                data.extend([format!("{first}{}", &words[1..]), words, name.clone()]);
            }
        }
        Self { world, data, wrong: BTreeMap::new(), pages: 0 }
    }

    /// Adds the texts of a tenant's catalog to the data.
    async fn know_catalog(&mut self, tenant: &Tenant) {
        let listed = self.world.get(&tenant.key, "/v1/event-types").await.ok(200);
        for of in listed["data"].as_array().unwrap() {
            self.data.extend(["name", "description", "wire_name", "group"].map(|field| text_of(&of[field])));
        }
        self.data.remove("");
    }

    async fn get(&mut self, cookie: &str, path: &str) -> Page {
        let page = get(self.world, cookie, path).await;
        self.check(path, &page);
        page
    }

    async fn post(&mut self, cookie: &str, path: &str, form: &[(&str, &str)]) -> Page {
        let page = post(self.world, cookie, path, form).await;
        self.check(path, &page);
        page
    }

    fn check(&mut self, path: &str, page: &Page) {
        assert!(!page.status.is_server_error(), "{path}: {}", page.text);
        let below = path.splitn(4, '/').nth(3).unwrap_or_default();
        let is_page = page.header("content-type").starts_with("text/html") && !page.text.is_empty();
        if !is_page || NOT_TRANSLATED.iter().any(|begin: &&str| below.starts_with(begin)) {
            return;
        }
        assert!(page.text.contains("<html lang=\"qps\""), "{path}: {}", page.text);
        self.pages += 1;
        self.wrong.extend(untranslated(page, &self.data).into_iter().map(|text| (text, below.to_owned())));
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_of_every_page_can_be_translated() {
    let world = crate::world_of("language_pages", profiles(), &["https://app.example.com"]).await;
    let mut walk = Walk::new(&world).await;
    let (tenant, address) = busy_tenant(&world).await;
    walk.know_catalog(&tenant).await;
    let cookie = sign_in(&world, &tenant.key).await;
    let own = address("/dashboard/{tenant}");
    let paths: Vec<String> = routes()
        .iter()
        .filter(|route| !route.contains("/assets/") && !route.contains("/operator/"))
        .map(|route| address(route))
        .collect();
    for path in &paths {
        walk.get(&cookie, path).await;
        if !path.ends_with("/sign-out") {
            walk.post(&cookie, path, &[("csrf", "wrong"), ("once", path.as_str())]).await;
        }
    }
    walk_forms(&mut walk, &tenant, &own).await;
    walk_states(&mut walk, &tenant, &own).await;
    let token = link(&world, &tenant, json!({})).await;
    for cookie in ["", cookie.as_str()] {
        walk.get(cookie, &format!("{PORTAL}?link={token}")).await;
    }
    for token in [token.as_str(), token.as_str(), "unknown"] {
        walk.post("", PORTAL, &[("link", token)]).await;
    }
    for profile in ["magnetite", "migma", "migomail", "metigan", "mumara", "standard"] {
        let empty = world.tenant(profile).await;
        set_brand(&world, &empty, json!({"name": "Acme", "language": "qps"})).await;
        walk.know_catalog(&empty).await;
        let cookie = sign_in(&world, &empty.key).await;
        let own = format!("/dashboard/{}", empty.id);
        let pages =
            ["/webhooks", "/webhooks/new", "/webhooks/new?channel=pushover", "/deliveries", "/events", "/event-types"];
        let chats =
            ["slack", "discord", "teams", "telegram", "email"].map(|chat| format!("/webhooks/new?channel={chat}"));
        for path in chats.iter().map(String::as_str).chain(pages).chain([
            "/replays",
            "/replays/new",
            "/erasures",
            "/erasures/new",
            "/health",
            "/audit-log",
            "/find",
        ]) {
            walk.get(&cookie, &format!("{own}{path}")).await;
        }
        world.endpoint(&empty).await;
        let listed = world.get(&empty.key, "/v1/endpoints").await.ok(200);
        let id = text_of(&listed["data"][0]["id"]);
        for path in ["", "/edit", "/rotate", "/test"] {
            walk.get(&cookie, &format!("{own}/webhooks/{id}{path}")).await;
        }
    }
    assert!(walk.pages > 120, "{} pages", walk.pages);
    let wrong: Vec<String> = walk.wrong.iter().map(|(text, page)| format!("{text}  ({page})")).collect();
    assert!(wrong.is_empty(), "{} texts are not in a language file:\n{}", wrong.len(), wrong.join("\n"));
}

/// Sends forms with mistakes and without.
async fn walk_forms(walk: &mut Walk<'_>, tenant: &Tenant, own: &str) {
    let cookie = sign_in(walk.world, &tenant.key).await;
    let csrf = get(walk.world, &cookie, &format!("{own}/webhooks/new")).await.csrf();
    let mut once = 0;
    let mut form = |fields: &[(&'static str, &'static str)]| -> Vec<(&'static str, String)> {
        once += 1;
        let tokens = [("csrf", csrf.clone()), ("once", format!("form {once}"))];
        tokens.into_iter().chain(fields.iter().map(|(name, value)| (*name, (*value).to_owned()))).collect()
    };
    let wrong = [("name", ""), ("url", "x"), ("timeout_seconds", "soon"), ("headers", "x"), ("payload_filter", "{")];
    let right = [("name", "hook"), ("url", "https://example.com/hook"), ("event_types", "*"), ("active", "yes")];
    let id = text_of(&walk.world.endpoint(tenant).await["id"]);
    let at = format!("/webhooks/{id}");
    let forms = [
        ("/webhooks/new".to_owned(), form(&wrong)),
        ("/webhooks/new".to_owned(), form(&right)),
        (format!("{at}/edit"), form(&wrong)),
        (format!("{at}/edit"), form(&[("name", "hook"), ("version", "999")])),
        (format!("{at}/rotate"), form(&[("overlap_hours", "x")])),
        (format!("{at}/rotate"), form(&[])),
        (format!("{at}/test"), form(&[("event_type", "no such type")])),
        (format!("{at}/recover"), form(&[("since", "soon")])),
        (format!("{at}/status"), form(&[("status", "inactive"), ("back", "webhook")])),
        (format!("{at}/delete"), form(&[])),
        ("/replays/new".to_owned(), form(&[("only_failed", "yes"), ("endpoint_id", "x")])),
        ("/erasures/new".to_owned(), form(&[("value", "x"), ("field", "y"), ("until", "never")])),
        ("/erasures/new".to_owned(), form(&[("value", "a value")])),
        ("/several-deliveries".to_owned(), form(&[])),
    ];
    for (path, form) in &forms {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let to = send_form(walk.world, &cookie, &format!("{own}{path}"), &form).await.header("location").to_owned();
        assert!(to.starts_with(own), "{path}: {to}");
        walk.get(&cookie, &to).await;
    }
}

/// Opens the questions before all deliveries that match are changed, and the results.
async fn walk_matching(walk: &mut Walk<'_>, cookie: &str, csrf: &str, own: &str) {
    for action in ["cancel", "retry"] {
        let at = format!("{own}/matching-deliveries/{action}");
        for query in ["", "?status=delivered", "?event_id=evt_none", "?status=failed"] {
            walk.get(cookie, &format!("{at}{query}")).await;
        }
        let now = UnixMillis::now().to_rfc3339_millis();
        for back in ["status_code=5xx", "status=failed"] {
            let once = format!("{action} {back}");
            let form = [("csrf", csrf), ("once", &once), ("back", back), ("until", &now), ("total", "3")];
            walk.post(cookie, &at, &form).await;
        }
    }
}

/// Opens pages with queries, and with deliveries in every state.
async fn walk_states(walk: &mut Walk<'_>, tenant: &Tenant, own: &str) {
    let cookie = sign_in(walk.world, &tenant.key).await;
    let csrf = get(walk.world, &cookie, &format!("{own}/webhooks/new")).await.csrf();
    let made = walk.world.endpoint(tenant).await;
    let webhook = format!("{own}/webhooks/{}", text_of(&made["id"]));
    for status in [
        DeliveryStatus::Failed,
        DeliveryStatus::Pending,
        DeliveryStatus::Delivered,
        DeliveryStatus::Cancelled,
        DeliveryStatus::Discarded,
    ] {
        let (event, delivery) = recorded(walk.world, tenant, &made, status).await;
        let at = format!("{own}/deliveries/{delivery}");
        for path in
            [format!("{own}/events/{event}"), format!("{at}/cancel"), format!("{own}/events/{event}/expunge"), at]
        {
            walk.get(&cookie, &path).await;
        }
        for action in ["retry", "cancel"] {
            let once = format!("{action} {status:?}");
            let form =
                [("csrf", csrf.as_str()), ("once", &once), ("action", action), ("delivery_id", &delivery.to_string())];
            walk.post(&cookie, &format!("{own}/several-deliveries"), &form).await;
            let form = [&form[..], &[("confirmed", "yes")]].concat();
            walk.post(&cookie, &format!("{own}/several-deliveries"), &form).await;
        }
    }
    walk_matching(walk, &cookie, &csrf, own).await;
    for path in ["", "/delete", "/recover", "/held-keys"] {
        walk.get(&cookie, &format!("{webhook}{path}")).await;
    }
    let form = [("csrf", csrf.as_str()), ("once", "pause"), ("status", "paused"), ("back", "webhook")];
    walk.post(&cookie, &format!("{webhook}/status"), &form).await;
    for path in ["", "/skip"] {
        walk.get(&cookie, &format!("{webhook}{path}")).await;
    }
    for (list, query) in [("deliveries", "status=failed"), ("events", "type=user.created")] {
        for name in ["", "hook"] {
            let form = [("csrf", csrf.as_str()), ("once", list), ("list", list), ("query", query), ("name", name)];
            walk.post(&cookie, &format!("{own}/views/new"), &form).await;
        }
        let listed = walk.get(&cookie, &format!("{own}/{list}?{query}")).await;
        let id = listed.text.split("/views/view_").nth(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        let view = format!("{own}/views/view_{}", id.expect("a link to the view"));
        walk.get(&cookie, &view).await;
        walk.get(&cookie, &format!("{view}/delete")).await;
    }
    for path in [
        "/webhooks?sort=newest",
        "/webhooks/none",
        "/deliveries?status=failed",
        "/deliveries?status=nonsense",
        "/deliveries?type=nothing",
        "/deliveries?order=oldest&range=hour",
        "/deliveries?status_code=299",
        "/events?type=nothing",
        "/events?order=oldest",
        "/events/none",
        "/event-types?q=nothing",
        "/event-types/user.created",
        "/replays/new?count=yes&only_failed=yes",
        "/replays/new?count=yes",
        "/health?range=30d",
        "/health?range=1h",
        "/audit-log?action=nonsense",
        "/find?q=404",
        "/find?q=n0thing",
        "/find?q=hook",
        "/find",
        "/find?q=n0thing=1",
        "/events?payload=n0thing",
        "/webhooks?sort=name",
        "/views/new?list=deliveries&query=status%3Dfailed",
        "/views/new?list=events&query=type%3Duser.created",
    ] {
        walk.get(&cookie, &format!("{own}{path}")).await;
    }
}

#[test]
fn the_german_file_has_every_text_of_the_pages_and_no_other() {
    let profiles = Profiles::builtin();
    let german: BTreeSet<String> = profiles.languages().get("de").unwrap().texts().map(str::to_owned).collect();
    let pages = source::texts();
    let missing: Vec<&String> = pages.difference(&german).collect();
    let left_over: Vec<&String> = german.difference(&pages).collect();
    assert!(missing.is_empty(), "add to shared/profiles/languages/de.toml: {missing:#?}");
    assert!(left_over.is_empty(), "remove from shared/profiles/languages/de.toml: {left_over:#?}");
    let (scripts, unmarked) = source::texts_of_scripts();
    assert!(unmarked.is_empty(), "put into translated('…'): {unmarked:#?}");
    let untranslated: Vec<String> = scripts.difference(&pages).cloned().collect();
    assert!(untranslated.is_empty(), "add to services/dashboard/src/language/scripts.rs: {untranslated:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_chooses_the_language_and_the_words_of_its_pages() {
    let world = crate::world("language_tenant").await;
    let tenant = world.tenant("standard").await;
    let cookie = sign_in(&world, &tenant.key).await;
    let webhooks = format!("/dashboard/{}/webhooks", tenant.id);
    let shows = async |lang: &str, texts: &[&str]| {
        let page = get(&world, &cookie, &webhooks).await;
        assert_eq!(page.status, StatusCode::OK);
        for text in [format!("<html lang=\"{lang}\"").as_str()].iter().chain(texts) {
            assert!(page.text.contains(text), "no {text} in {}", page.text);
        }
        page
    };
    let page = shows("en", &["<h1>Webhooks</h1>", ">Add webhook</a>", "0 of 100 webhooks used"]).await;
    assert!(!page.text.contains("data-texts"), "scripts have their texts in English");

    set_brand(&world, &tenant, json!({"language": "de"})).await;
    let german = [
        "<h1>Webhooks</h1>",
        ">Webhook hinzufügen</a>",
        "Noch keine Webhooks",
        "&quot;Copied&quot;:&quot;Kopiert&quot;",
    ];
    shows("de", &german).await;
    let problem = get(&world, &cookie, &format!("{webhooks}/none")).await;
    assert!(problem.text.contains("<h1>Nicht gefunden</h1>"), "{}", problem.text);
    assert!(
        problem.text.contains("<span lang=\"en\">"),
        "an error of an operation is English, and says so: {}",
        problem.text
    );

    let terms = json!({"webhook": "postback", "webhooks": "postbacks <1>"});
    set_brand(&world, &tenant, json!({"terms": terms})).await;
    let words = [
        "<h1>Postbacks &lt;1&gt;</h1>",
        ">Add postback</a>",
        "0 of 100 postbacks &lt;1&gt; used",
        "A postback is a URL",
    ];
    let page = shows("en", &words).await;
    assert!(!page.text.to_lowercase().replace("/webhooks", "").contains(">webhook"), "{}", page.text);
    set_brand(&world, &tenant, json!({"terms": terms, "language": "de"})).await;
    shows("de", &[">Postback hinzufügen</a>"]).await;

    // Numbers have the marks of the language.
    let endpoint = world.endpoint(&tenant).await;
    for status in [DeliveryStatus::Failed, DeliveryStatus::Failed, DeliveryStatus::Delivered] {
        recorded(&world, &tenant, &endpoint, status).await;
    }
    let health = get(&world, &cookie, &format!("/dashboard/{}/health", tenant.id)).await.text;
    assert!(health.contains(">33,3 %<") && !health.contains("33.3"), "{health}");

    let path = format!("/v1/tenants/{}", tenant.id);
    let refused = async |brand: Value, pointer: &str| {
        world.call(OPERATOR, "PATCH", &path, Some(&json!({"brand": brand}))).await.problem(422, pointer)
    };
    let unknown = refused(json!({"language": "tlh"}), "/brand/language").await;
    assert!(unknown.to_string().contains("no such language; there are: de, en"), "{unknown:#}");
    refused(json!({"terms": {"webhook": "postback"}}), "/brand/terms/webhooks").await;
    refused(json!({"terms": {"hook": "x"}}), "/brand/terms/hook").await;
}
