//! Secrets stay secret: they are encrypted at rest. After a run with deliveries that arrive, fail and are parked, a rotation, a
//! dead letter and refused requests, no secret is in a log, a trace, an error, an API answer, or a file of broker or database.

use std::path::Path;
use std::time::{Duration, Instant};

use postrider_testkit::engines::{PrivatePostgres, PrivateRabbit};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{
    Answer, Cluster, Collector, Deployment, Message, OPERATOR_KEY, PROCESSES, Producer, Receiver, Urls,
};

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The secrets of an endpoint, which must not appear anywhere.
const SIGNING: &str = "whsec_c2VjcmV0LW9mLXRoZS1lbmRwb2ludC0wMTIzNDU2Nzg5";
const HEADER: &str = "value-of-the-endpoints-own-header-0123456789";
const CHAT: &str = "secret-path-of-a-chat-webhook-0123456789";
const BOT_TOKEN: &str = "123456789:key-of-a-telegram-bot-0123456789-0123456789";
const REFUSED: &str = "a-secret-in-a-request-that-is-refused-0123456789";
const WRONG_KEY: &str = "a-key-that-is-unknown-0123456789";

/// The forms of a text in files: unchanged, or as bytes in a dump.
struct Needle {
    what: &'static str,
    forms: [String; 2],
}

impl Needle {
    fn new(what: &'static str, secret: &str) -> Self {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        Self { what, forms: [secret.to_owned(), hex] }
    }

    fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form))
    }
}

/// Searches a file or everything below a folder.
fn search(path: &Path, needles: &[Needle], found: &mut Vec<String>) -> usize {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        return entries.map(|entry| search(&entry.path(), needles, found)).sum();
    }
    // Files may disappear while engines run.
    let Ok(bytes) = std::fs::read(path) else { return 0 };
    let text = String::from_utf8_lossy(&bytes);
    let hits = needles.iter().filter(|needle| needle.is_in(&text));
    found.extend(hits.map(|needle| format!("{} in {}", needle.what, path.display())));
    1
}

/// Guarantee (Secrets and tenants): No secret in logs, traces, answers, or files of broker and database after a whole run.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_found_after_a_whole_run() {
    let rabbit = PrivateRabbit::start().await.expect("RabbitMQ starts");
    let postgres = PrivatePostgres::start().await.expect("PostgreSQL starts");
    let collector = Collector::start().await;
    let mut settings = collector.settings();
    settings.push(("RUST_LOG", "info,postrider=trace".into()));
    let chat = Receiver::start().await;
    settings.push(("POSTRIDER_CHAT_HOSTS", chat.url("").replace("http://", "")));
    settings.push(("POSTRIDER_TELEGRAM_URL", chat.url("")));
    let urls = Urls { amqp: rabbit.amqp_url(), database: postgres.database_url() };
    let cluster = Cluster::start_with(urls, settings).await;
    let used = use_secrets(&cluster, &rabbit, &chat).await;
    collector.wait_for("a span of an attempt", |span| span.service.contains("dispatcher")).await;

    let needles = [
        Needle::new("the signing secret", SIGNING),
        Needle::new("the rotated signing secret", &used.rotated),
        Needle::new("the header's value", HEADER),
        Needle::new("the tenant's key", &used.key),
        Needle::new("the operator's key", OPERATOR_KEY),
        Needle::new("the master key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        Needle::new("a chat's webhook", CHAT),
        Needle::new("a bot's token", BOT_TOKEN),
        Needle::new("a refused secret", REFUSED),
        Needle::new("a wrong key", WRONG_KEY),
    ];
    let mut found = Vec::new();
    let mut look = |place: &str, text: &str| {
        assert!(!text.is_empty(), "{place} is empty");
        let hits = needles.iter().filter(|needle| needle.is_in(text));
        found.extend(hits.map(|needle| format!("{} in {place}", needle.what)));
    };
    for process in PROCESSES {
        look(&format!("the log of {process}"), &cluster.log(process));
    }
    look("the traces", &format!("{:?}", collector.all()));
    look("the API's answers", &used.answers);
    look("the dump", &dump(&postgres.database_url()).await);
    let files = search(rabbit.folder(), &needles, &mut found) + search(postgres.folder(), &needles, &mut found);
    assert!(files > 100, "only {files} files");
    assert!(found.is_empty(), "{found:#?}");
    // The search works: the event's type is on both disks.
    let (known, mut there) = ([Needle::new("a type", "a.b")], Vec::new());
    search(rabbit.folder(), &known, &mut there);
    search(postgres.folder(), &known, &mut there);
    assert!(!there.is_empty(), "nothing is ever found");
}

/// The secrets that exist only after [`use_secrets`], and the API's answers, which must not contain any secret.
struct Used {
    key: String,
    rotated: String,
    answers: String,
}

/// Uses every kind of secret: a rotation, refused requests, a delivery, a failed attempt with a parked retry, a test call and a
/// dead letter.
async fn use_secrets(cluster: &Cluster, rabbit: &PrivateRabbit, chat: &Receiver) -> Used {
    let receiver = Receiver::start().await;
    let publisher = cluster.tenant(&[(&receiver.url("/plain"), json!({}))]).await;
    let document = json!({
        "name": "secretive", "url": receiver.url("/"), "event_types": ["*"], "secret": SIGNING, "headers": {"x-own": HEADER},
    });
    let endpoint = cluster.post("api", "/v1/endpoints", &publisher.key, &document).await;
    let endpoint = format!("/v1/endpoints/{}", endpoint["id"].as_str().expect("an id"));
    let rotated = cluster.post("api", &format!("{endpoint}/rotate-secret"), &publisher.key, &json!({})).await;
    let rotated = rotated["secret"].as_str().expect("a new secret").to_owned();

    // A chat service that fails and repeats the secret in its response.
    let webhook = chat.url(&format!("/services/{CHAT}"));
    chat.answer_at(&format!("/services/{CHAT}"), Answer::status(500).header("x-url", &webhook).body(&webhook));
    let bot_path = format!("/bot{BOT_TOKEN}/sendMessage");
    let unknown = json!({"ok": false, "error_code": 500, "description": format!("no bot {BOT_TOKEN}")});
    chat.answer_at(&bot_path, Answer::status(500).body(&unknown.to_string()));
    for members in [
        json!({"name": "slack", "channel": "slack", "chat": {"webhook_url": webhook}, "event_types": ["*"]}),
        json!({"name": "bot", "channel": "telegram", "telegram": {"bot_token": BOT_TOKEN, "chat_id": "1"}, "event_types": ["*"]}),
    ] {
        cluster.post("api", "/v1/endpoints", &publisher.key, &members).await;
    }

    // The text of refused requests appears nowhere.
    let client = reqwest::Client::new();
    let mut answers = String::new();
    for (path, key, body) in [
        ("/v1/endpoints", &*publisher.key, json!({"name": "x", "url": "http://10.0.0.1/", "secret": REFUSED})),
        ("/v1/endpoints", &publisher.key, json!({"name": 1, "headers": {"content-length": REFUSED}})),
        (
            "/v1/endpoints",
            &publisher.key,
            json!({"name": "x", "channel": "slack", "event_types": ["*"],
                "chat": {"webhook_url": format!("https://hooks.example.com/services/{REFUSED}")}}),
        ),
        ("/v1/endpoints", WRONG_KEY, json!({"name": "x"})),
    ] {
        let request = client.post(cluster.base("api") + path).bearer_auth(key).body(body.to_string());
        let answer = request.header("content-type", "application/json").send().await.expect("an answer");
        assert!(answer.status().is_client_error(), "{body} was not refused");
        answers += &answer.text().await.expect("text");
    }

    // From here on: a delivery, a failed attempt with a parked retry, and a dead letter.
    receiver.answer_at("/", Answer::status(500));
    let started = Instant::now();
    let delivered = |requests: &[crate::harness::Received]| {
        requests.iter().any(|request| request.target == "/" && request.header("x-own") == HEADER)
    };
    let notified = || {
        [format!("/services/{CHAT}"), bot_path.clone()]
            .iter()
            .all(|path| chat.all().iter().any(|request| request.target == *path))
    };
    while !delivered(&receiver.all()) || !notified() {
        assert!(started.elapsed() < PATIENCE, "nothing is delivered");
        cluster.post_when_known("ingest", "/v1/publish", &publisher.key, &json!({"type": "a.b", "data": {}})).await;
        sleep(LOOK_EVERY).await;
    }
    cluster.post("api", &format!("{endpoint}/test"), &publisher.key, &json!({})).await;
    let producer = Producer::connect(&rabbit.amqp_url()).await;
    producer.publish(Message::new(format!("{}.a.b", publisher.id), "no JSON")).await;
    for path in ["/v1/dead-letters", "/v1/deliveries", "/v1/endpoints"] {
        let key = if path == "/v1/dead-letters" { OPERATOR_KEY } else { &publisher.key };
        answers += &first_page(&client, cluster.base("api") + path, key).await;
    }
    Used { key: publisher.key, rotated, answers }
}

/// The first page of a list, as soon as it holds something.
async fn first_page(client: &reqwest::Client, url: String, key: &str) -> String {
    let started = Instant::now();
    loop {
        let answer = client.get(&url).bearer_auth(key).send().await.expect("an answer");
        let text = answer.text().await.expect("text");
        let page: Value = serde_json::from_str(&text).expect("JSON");
        if page["data"].as_array().is_some_and(|data| !data.is_empty()) {
            return text;
        }
        assert!(started.elapsed() < PATIENCE, "{url} stays empty: {text}");
        sleep(LOOK_EVERY).await;
    }
}

/// Every row of every table, as text.
async fn dump(url: &str) -> String {
    let (database, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the database");
    tokio::spawn(connection);
    let tables = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'";
    let mut dump = String::new();
    for table in database.query(tables, &[]).await.expect("tables") {
        let sql = format!("SELECT t::text FROM {} t", table.get::<_, &str>(0));
        let rows = database.query(&sql, &[]).await.expect("rows");
        rows.iter().for_each(|row| dump.push_str(row.get(0)));
    }
    dump
}

/// Guarantee (Secrets and tenants): Secrets and header values are encrypted at rest.
#[tokio::test]
async fn secrets_and_header_values_are_encrypted_at_rest() {
    let deployment = Deployment::start("at-rest").await;
    let tenant = deployment.tenant("mumara").await;
    let secrets = [
        "my-imported-secret-4711",
        "my-header-value-4711",
        "uQiRzpo4DXghDmr9QzzfQu27cmVRsG",
        "azGDORePK8gMaC0QOYAMyEEuzJnyUi",
    ];
    let [secret, header, user_key, api_token] = secrets;
    let web = json!({"name": "w", "url": "https://example.com/", "event_types": ["*"], "secret": secret, "headers": {"X-Key": header}});
    tenant.post("/v1/endpoints", &web).await;
    let pushover = json!({"user_key": user_key, "api_token": api_token, "sound": "Bike"});
    tenant
        .post("/v1/endpoints", &json!({"name": "p", "channel": "pushover", "pushover": pushover, "event_types": ["*"]}))
        .await;

    let chats = deployment.tenant("standard").await;
    for members in [
        json!({"name": "s", "channel": "slack", "chat": {"webhook_url": format!("https://hooks.slack.com/services/{CHAT}")}}),
        json!({"name": "t", "channel": "telegram", "telegram": {"bot_token": BOT_TOKEN, "chat_id": "1"}}),
    ] {
        let mut members = members;
        members["event_types"] = json!(["*"]);
        chats.post("/v1/endpoints", &members).await;
    }

    let connected = tokio_postgres::connect(&deployment.scope().database_url, tokio_postgres::NoTls).await;
    let (database, connection) = connected.expect("the database");
    tokio::spawn(connection);
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
    let (mut rows, mut seen) = (0, 0);
    for table in database.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        // Bytes read as hex here.
        for row in database.query(&format!("SELECT row_to_json(t)::text FROM \"{table}\" t"), &[]).await.unwrap() {
            let text: String = row.get(0);
            rows += 1;
            seen += usize::from(text.contains("https://example.com/"));
            for secret in secrets.iter().copied().chain([tenant.key.as_str(), CHAT, BOT_TOKEN]) {
                let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
                assert!(!text.contains(secret) && !text.contains(&hex), "{table} holds {secret}");
            }
        }
    }
    assert!(seen > 0, "none of {rows} rows is the endpoint's");
}
