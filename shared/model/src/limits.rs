//! Every limit that a user can reach. The error message and `docs/limits.md` name the limit.

use std::num::NonZeroU32;
use std::time::Duration;

/// Maximum number of bytes of a published event's JSON (`POST /v1/publish` body, or one member of a batch).
pub const EVENT_BYTES_MAX: usize = 256 * 1024;
/// Maximum number of events of one batch.
pub const BATCH_EVENTS_MAX: usize = 1_000;
/// Maximum number of bytes of a batch request.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Maximum number of bytes of request bodies in the memory of one ingest process. A body uses up to 5 times its size until its
/// events are confirmed.
pub const REQUEST_BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Maximum number of bytes of one tenant's request bodies in the memory of one ingest process: two batches of the maximum size.
/// The same limit applies to a key whose tenant is known only from the body.
pub const REQUEST_BODIES_PER_TENANT_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;
/// Maximum number of tenants that a product key may list.
pub const PRODUCT_KEY_TENANTS_MAX: usize = 1_000;
/// Maximum nesting depth of objects and arrays in `data` or `metadata`.
pub const JSON_DEPTH_MAX: usize = 64;
/// Maximum number of bytes of an event type's name.
pub const EVENT_TYPE_BYTES_MAX: usize = 128;
/// Maximum number of attributes of an event.
pub const ATTRIBUTES_MAX: usize = 32;
/// Maximum number of bytes of an attribute's name.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
/// Maximum number of bytes of an attribute's value.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 512;
/// Maximum number of values of an attribute that are kept per tenant and day, for choosing filters.
pub const ATTRIBUTE_VALUES_MAX: u32 = 1_000;
/// Maximum number of values of all attributes together that are kept per tenant and day.
pub const ATTRIBUTE_VALUES_PER_TENANT_MAX: u32 = 10_000;
/// Number of days for which values of attributes are kept, including today.
pub const ATTRIBUTE_VALUES_DAYS: i32 = 7;
/// Maximum number of bytes of `metadata`.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Maximum number of bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Number of days after the history's retention until an event's id or idempotency key can be used again. Interventions are
/// kept for fewer days, so that none of them applies to a later event with the same id.
pub const EVENT_ID_DAYS_AFTER_RETENTION: i32 = 10;
/// Maximum number of event types that a tenant defines or overrides.
pub const EVENT_TYPES_PER_TENANT_MAX: u32 = 200;
/// Maximum number of bytes of an event type's sample, and of the edited sample of a test call.
pub const EVENT_SAMPLE_BYTES_MAX: usize = 16 * 1024;
/// Maximum number of bytes of an event type's JSON Schema.
pub const EVENT_SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Maximum nesting depth of the subschemas of a JSON Schema, with references followed.
pub const EVENT_SCHEMA_DEPTH_MAX: usize = 32;
/// Maximum total number of subschemas, values of `enum` and names in `required` of a JSON Schema, with references followed.
pub const EVENT_SCHEMA_CHECKS_MAX: usize = 5_000;
/// Maximum number of patterns of a JSON Schema, with references followed.
pub const EVENT_SCHEMA_PATTERNS_MAX: usize = 50;
/// Maximum number of bytes of a compiled pattern of a JSON Schema.
pub const EVENT_SCHEMA_PATTERN_BYTES_MAX: usize = 128 * 1024;
/// Maximum number of mistakes reported for data that does not match its type's JSON Schema.
pub const EVENT_SCHEMA_ERRORS_MAX: usize = 20;
/// Maximum number of steps of checking data with the JSON Schema of its type, computed before the check. A step takes a few
/// nanoseconds: `cargo bench -p postrider-schema`.
pub const EVENT_SCHEMA_STEPS_MAX: u64 = 20_000_000;
/// Maximum number of steps of a JSON Schema for each value and each byte of text in the data.
pub const EVENT_SCHEMA_STEPS_PER_VALUE_MAX: u64 = 200_000;
/// Maximum number of concurrent checks with JSON Schemas for one tenant, in each ingest process.
pub const EVENT_SCHEMA_CHECKS_AT_ONCE: usize = 2;
/// Maximum total number of bytes of the samples and JSON Schemas of a tenant's event types.
pub const EVENT_TYPES_BYTES_PER_TENANT_MAX: u64 = 4 * 1024 * 1024;
/// Maximum number of event-type patterns of an endpoint.
pub const EVENT_TYPES_MAX: usize = 100;
/// Maximum number of values of one filter.
pub const FILTER_VALUES_MAX: usize = 200;
/// Maximum number of filters of an endpoint.
pub const FILTERS_MAX: usize = 16;
/// Maximum nesting depth of a payload filter, including its tests.
pub const PAYLOAD_FILTER_DEPTH_MAX: usize = 5;
/// Maximum number of tests of a payload filter; a test has `field`, `op` and `value`.
pub const PAYLOAD_FILTER_TESTS_MAX: usize = 50;
/// Maximum total number of values in the lists (`in`) of a payload filter.
pub const PAYLOAD_FILTER_LIST_VALUES_MAX: usize = 1_000;
/// Maximum number of steps of a tenant's payload filters for one event. A step is a comparison, or a look-up in the values of a
/// field or list.
pub const PAYLOAD_FILTER_STEPS_MAX: u64 = 1_000_000;
/// Maximum number of bytes of a payload filter, as compact JSON.
pub const PAYLOAD_FILTER_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of bytes of a payload filter's field, such as `data.amount`.
pub const PAYLOAD_FILTER_FIELD_BYTES_MAX: usize = 256;
/// Maximum number of names in a payload filter's field, including the first name.
pub const PAYLOAD_FILTER_FIELD_NAMES_MAX: usize = 10;
/// Maximum number of bytes of a text in a payload filter.
pub const PAYLOAD_FILTER_TEXT_BYTES_MAX: usize = 512;
/// Maximum number of values of a field that a payload filter evaluates, if there are arrays on its path.
pub const PAYLOAD_FILTER_VALUES_MAX: usize = 1_000;
/// Maximum number of headers of an endpoint.
pub const ENDPOINT_HEADERS_MAX: usize = 20;
/// Maximum number of bytes of an endpoint's header value.
pub const ENDPOINT_HEADER_VALUE_BYTES_MAX: usize = 2_048;
/// Maximum number of bytes of an endpoint's URL.
pub const URL_BYTES_MAX: usize = 2_048;
/// Maximum number of bytes of names given to tenants, keys and endpoints.
pub const NAME_BYTES_MAX: usize = 200;
/// Maximum number of bytes of the logo of a brand.
pub const BRAND_LOGO_BYTES_MAX: usize = 16 * 1024;
/// Maximum number of bytes of each word in the terms of a brand.
pub const BRAND_TERM_BYTES_MAX: usize = 40;
/// How long the API keeps the response to a request with an `Idempotency-Key`.
pub const IDEMPOTENT_ANSWER_KEPT: Duration = Duration::from_secs(86_400);
/// Maximum number of signing secrets of an endpoint: the current secret, previous secrets whose overlap has not ended, and the
/// planned secret.
pub const SECRETS_IN_FORCE_MAX: usize = 5;
/// Maximum number of endpoints of a tenant, unless its limits set another number.
pub const ENDPOINTS_PER_TENANT_DEFAULT: u32 = 100;
/// Maximum number of events per second of a tenant, unless its limits set another number. The burst has the same number.
pub const EVENTS_PER_SECOND_DEFAULT: u32 = 2_000;
/// Maximum number of pending deliveries of a tenant, unless its limits set another number.
pub const WAITING_DELIVERIES_PER_TENANT_DEFAULT: u32 = 1_000_000;
/// Maximum number of bytes of deliveries that wait for paused endpoints of a tenant, unless its limits set another number. A
/// delivery counts with its event's payload and [`SET_ASIDE_OVERHEAD_BYTES`].
pub const PAUSED_BYTES_PER_TENANT_DEFAULT: u64 = 1024 * 1024 * 1024;
/// Number of bytes with which each delivery that waits for a paused endpoint counts in addition to its event's payload.
pub const SET_ASIDE_OVERHEAD_BYTES: u64 = 1024;
/// Number of days after the acceptance of an event until its delivery to a paused endpoint is discarded, unless the tenant's
/// limits set another number. At most one day less than the history's retention.
pub const PAUSED_DAYS_DEFAULT: u32 = 7;
/// Maximum number of pending deliveries of all tenants.
pub const WAITING_DELIVERIES_MAX: u64 = 10_000_000;
/// Maximum number of bytes of lanes, decisions and outcomes in the broker, estimated from the numbers of their messages.
pub const INNER_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Maximum number of delays of a retry schedule.
pub const RETRIES_MAX: usize = 20;
/// Maximum delay of a retry schedule, of a `Retry-After`, and of the ladder.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(86_400);
/// Maximum timeout of an attempt.
pub const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Minimum timeout of an attempt.
pub const ATTEMPT_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// How long a delivery may be pending after it was created. After this time it is discarded.
pub const DELIVERY_LIFETIME: Duration = Duration::from_secs(7 * 86_400);
/// How far ahead an event's `deliver_at` may be. The rest of [`DELIVERY_LIFETIME`] is left for the attempts.
pub const DELIVER_AT_AHEAD_MAX: Duration = Duration::from_secs(6 * 86_400);
const _: () = assert!(DELIVER_AT_AHEAD_MAX.as_secs() < DELIVERY_LIFETIME.as_secs());
/// Maximum `ttl_seconds` of an event or an event type; the minimum is 1 s.
pub const EVENT_TTL_MAX: Duration = DELIVERY_LIFETIME;
/// Number of bytes from the start of a response's body that are stored with the attempt.
pub const RESPONSE_EXCERPT_BYTES_MAX: usize = 4 * 1024;
/// Maximum number of bytes of a response's body that are read; the rest is ignored.
pub const RESPONSE_READ_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of bytes of a response's status line and headers.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of bytes of informational responses (1xx) before a response.
pub const RESPONSE_INFORMATIONAL_BYTES_MAX: usize = 512 * 1024;
/// Maximum wait for the rest of a response after its status line. The attempt's timeout also applies.
pub const RESPONSE_REST_MAX: Duration = Duration::from_secs(5);
/// Maximum number of bytes of a body that is parked with its delivery. A larger body is replaced by its length and hash, and is
/// rendered again later.
pub const PARKED_BODY_BYTES_MAX: usize = 4 * 1024;
/// Maximum duration of a hold: one wait on the ladder for rate, concurrency or a slow endpoint.
pub const HOLD_MAX: Duration = Duration::from_secs(600);
/// Number of attempts that fail in a row before an endpoint counts as failing (`endpoint.failing`).
pub const FAILING_AFTER_ATTEMPTS: u32 = 5;
/// Minimum time between two notices about the same state of an endpoint.
pub const NOTICE_PAUSE: Duration = Duration::from_secs(3_600);
/// Maximum number of endpoints that notify one after the other: the target of an endpoint, the target of that target, and so on.
pub const NOTICE_CHAIN_MAX: u32 = 10;
/// Maximum number of waiting deliveries that a notice counts.
pub const NOTICE_WAITING_MAX: u32 = 10_000;
/// Maximum number of characters of a Pushover message's title: Pushover's own limit.
pub const PUSHOVER_TITLE_CHARS_MAX: usize = 250;
/// Maximum number of characters of a Pushover message: Pushover's own limit.
pub const PUSHOVER_MESSAGE_CHARS_MAX: usize = 1_024;
/// Minimum delay before a retry to Pushover: Pushover's own rule.
pub const PUSHOVER_RETRY_DELAY_MIN: Duration = Duration::from_secs(5);
/// Maximum number of characters of a notification's title.
pub const NOTIFICATION_TITLE_CHARS_MAX: usize = 150;
/// Maximum number of characters of a notification's text.
pub const NOTIFICATION_TEXT_CHARS_MAX: usize = 1_000;
/// Maximum number of facts of a notification: values of the event, each with its name.
pub const NOTIFICATION_FACTS_MAX: usize = 16;
/// Maximum number of characters of a fact's value in a notification.
pub const NOTIFICATION_FACT_CHARS_MAX: usize = 300;
/// Maximum number of characters of a Slack message. Slack's own limit of a text is 3,000.
pub const SLACK_MESSAGE_CHARS_MAX: usize = 3_000;
/// Maximum number of characters of a Discord message: Discord's own limit.
pub const DISCORD_MESSAGE_CHARS_MAX: usize = 2_000;
/// Maximum number of characters of a card for Microsoft Teams. Teams accepts 28 KB, counted in UTF-16.
pub const TEAMS_CARD_CHARS_MAX: usize = 14_000;
/// Maximum number of characters of a Telegram message: Telegram's own limit.
pub const TELEGRAM_MESSAGE_CHARS_MAX: usize = 4_096;
/// Maximum number of bytes of a Telegram bot's token, and of the id of a chat.
pub const TELEGRAM_FIELD_BYTES_MAX: usize = 128;
/// Maximum number of recipients of an e-mail endpoint.
pub const EMAIL_RECIPIENTS_MAX: usize = 10;
/// Maximum number of connections to the SMTP server, in each process.
pub const SMTP_CONNECTIONS_MAX: usize = 4;
/// Maximum number of requests per second of a tenant to the API, with all of its keys together.
pub const API_REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// The burst of a tenant's requests to the API.
pub const API_REQUESTS_BURST: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
/// Maximum number of changes per second of a tenant, through the API and the dashboard.
pub const EDITS_PER_SECOND: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// The burst of a tenant's changes.
pub const EDITS_BURST: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// Maximum number of API keys of a tenant.
pub const KEYS_PER_TENANT_MAX: u32 = 50;
/// Maximum number of open sessions of the dashboard per key.
pub const SESSIONS_PER_KEY_MAX: u32 = 20;
/// Maximum number of open sessions of the dashboard per person whom an identity provider signed in.
pub const SESSIONS_PER_PERSON_MAX: u32 = 20;
/// Maximum time for one request to the identity provider.
pub const OIDC_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of bytes of an answer of the identity provider.
pub const OIDC_ANSWER_BYTES_MAX: usize = 512 * 1024;
/// Maximum number of bytes of an ID token.
pub const OIDC_ID_TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of sign-ins per process for which the identity provider is asked at the same time.
pub const OIDC_EXCHANGES_MAX: usize = 32;
/// Maximum number of returns from the identity provider per second and client address, in each API process.
pub const OIDC_EXCHANGES_PER_PEER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Maximum number of such returns at once.
pub const OIDC_EXCHANGES_PER_PEER_BURST: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// Maximum time between the click on "Sign in with …" and the return from the identity provider.
pub const OIDC_SIGN_IN_MAX: Duration = Duration::from_secs(10 * 60);
/// Maximum number of bytes of the cookie that a browser keeps while its visitor is at the identity provider. The cookie contains
/// the form that a visitor submitted after the session ended.
pub const OIDC_COOKIE_BYTES_MAX: usize = 3_900;
/// How long a portal link can be opened, by default.
pub const PORTAL_LINK_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// Maximum time for which a portal link can be opened.
pub const PORTAL_LINK_MAX: Duration = Duration::from_secs(3_600);
/// How long a portal session lasts, by default.
pub const PORTAL_SESSION_DEFAULT: Duration = Duration::from_secs(8 * 3_600);
/// Maximum duration of a portal session.
pub const PORTAL_SESSION_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Minimum time for which a portal link can be opened, and minimum duration of a portal session.
pub const PORTAL_TIME_MIN: Duration = Duration::from_secs(60);
/// Maximum number of portal links of a tenant that are not opened.
pub const PORTAL_LINKS_PER_TENANT_MAX: u32 = 1_000;
/// Maximum number of opened portal links of a tenant. If an opened link is deleted, its session ends.
pub const PORTAL_SESSIONS_PER_TENANT_MAX: u32 = 1_000;
/// Maximum number of bytes of the first page that a portal link names.
pub const PORTAL_LANDING_BYTES_MAX: usize = 1_024;
/// Maximum number of requests with unknown keys per second from one address, to the API and the dashboard.
pub const REFUSED_KEYS_PER_PEER_SECOND: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// The burst of requests with unknown keys from one address.
pub const REFUSED_KEYS_PER_PEER_BURST: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// Maximum number of requests with unknown keys per second from all addresses, per process.
pub const REFUSED_KEYS_PER_SECOND: NonZeroU32 = NonZeroU32::new(50).unwrap();
/// The burst of requests with unknown keys from all addresses, per process.
pub const REFUSED_KEYS_BURST: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
/// Default number of rows of a page.
pub const PAGE_DEFAULT: u32 = 50;
/// Maximum number of rows of a page.
pub const PAGE_MAX: u32 = 200;
/// Maximum number of minutes or hours in one response with stats.
pub const STATS_INTERVALS_MAX: u32 = 1_440;
/// Number of bytes of documents (schemas, samples, filters) at which a page of a list ends.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Maximum number of events that a dry run of a replay reads.
pub const REPLAY_DRY_RUN_EVENTS_MAX: u64 = 1_000_000;
/// Maximum number of bytes of a producer's dead letter that is kept whole.
pub const DEAD_LETTER_WHOLE_BYTES_MAX: usize = 256 * 1024;
/// Number of bytes that are kept from the start of a producer's dead letter that is too large to be kept whole.
pub const DEAD_LETTER_KEPT_BYTES: usize = 64 * 1024;
/// Maximum number of dead letters of a tenant's producers that are kept per day. Further dead letters are counted but not kept.
pub const DEAD_LETTERS_PER_TENANT_AND_DAY_MAX: u32 = 1_000;
/// Maximum number of bytes of dead letters of a tenant's producers that are kept per day.
pub const DEAD_LETTER_BYTES_PER_TENANT_AND_DAY_MAX: u64 = 64 * 1024 * 1024;
/// Maximum number of bytes of payloads that payload filters evaluate in a dry run of a replay.
pub const REPLAY_DRY_RUN_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Maximum number of steps of payload filters in a dry run of a replay.
pub const REPLAY_DRY_RUN_STEPS_MAX: u64 = 5_000_000;
/// Number of bytes of payloads at which a step of a replay or a dry run ends.
pub const REPLAY_STEP_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Maximum number of concurrent dry runs of replays of a tenant, in each API process.
pub const REPLAY_DRY_RUNS_AT_ONCE: usize = 1;
/// Maximum number of pending deliveries that a recovery attempts immediately. Later deliveries are attempted by their schedule.
/// Each immediate attempt needs an entry in the memory of every dispatcher for 8 days.
pub const RECOVERY_RETRIES_MAX: u64 = 100_000;
/// Maximum number of unfinished replays of a tenant.
pub const REPLAYS_RUNNING_MAX: u32 = 5;
/// Minimum number of bytes of the value of an erasure. A shorter value would be in most events.
pub const ERASURE_VALUE_BYTES_MIN: usize = 3;
/// Maximum number of bytes of the value of an erasure.
pub const ERASURE_VALUE_BYTES_MAX: usize = 1_024;
/// Maximum number of erasures of a tenant that have not ended. One of them runs, the others wait.
pub const ERASURES_OPEN_MAX: u32 = 10;
/// Maximum number of events that one erasure expunges. Each expunged event needs an entry in the memory of every dispatcher for
/// 8 days.
pub const ERASURE_EVENTS_MAX: u64 = 100_000;
/// Number of bytes of payloads at which a step of an erasure ends.
pub const ERASURE_STEP_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Maximum number of deliveries that one call retries or cancels by a filter.
pub const DELIVERIES_CHANGED_AT_ONCE: u32 = 50;
/// Maximum number of deliveries that a dry run of such calls counts.
pub const DELIVERIES_COUNTED_MAX: u32 = 10_000;
/// Maximum number of concurrent searches of a tenant in its history, in each API process. A search is a list with a filter that
/// no index serves, or a search for endpoints by text. A search reads at most 20,000 rows.
pub const SEARCHES_AT_ONCE: usize = 2;
/// Maximum number of events that a search in payloads examines for one page.
pub const PAYLOAD_SEARCH_EVENTS_MAX: u32 = 10_000;
/// Maximum number of bytes of payloads that a search in payloads reads for one page. The event that reaches it is read whole.
pub const PAYLOAD_SEARCH_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Maximum number of saved views of a tenant.
pub const SAVED_VIEWS_PER_TENANT_MAX: u32 = 50;
/// Maximum number of bytes of the name of a saved view.
pub const SAVED_VIEW_NAME_BYTES_MAX: usize = 100;
/// Maximum number of bytes of the filter of a saved view, as the query of an address.
pub const SAVED_VIEW_QUERY_BYTES_MAX: usize = 2_000;
/// Maximum number of concurrent test calls of a tenant, in each API process.
pub const TEST_CALLS_AT_ONCE: usize = 4;
/// Number of test calls of a tenant whose edited samples are kept, so that the history shows their bodies.
pub const TEST_DATA_KEPT: u32 = 100;
/// Maximum number of deliveries of a tenant that wait in the lines of ordered endpoints. Further ones are discarded.
pub const IN_LINES_PER_TENANT_MAX: u64 = 500_000;
/// Maximum number of bytes of bodies of a tenant that wait in the lines of ordered endpoints.
pub const IN_LINES_BYTES_PER_TENANT_MAX: u64 = 512 * 1024 * 1024;
/// Maximum number of events in a request to a batched endpoint.
pub const BATCHED_EVENTS_MAX: u32 = 1_000;
/// Maximum number of events in a request to a batched endpoint, unless the endpoint sets another number.
pub const BATCHED_EVENTS_DEFAULT: u32 = 100;
/// Largest value of a batched endpoint's `bytes_max`.
pub const BATCHED_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// Smallest value of a batched endpoint's `bytes_max`.
pub const BATCHED_BYTES_MIN: u32 = 1024;
/// Maximum number of bytes of a request's body to a batched endpoint, unless the endpoint sets another number.
pub const BATCHED_BYTES_DEFAULT: u32 = 1024 * 1024;
/// Largest value of a batched endpoint's `wait_ms_max`.
pub const BATCHED_WAIT_MS_MAX: u32 = 60_000;
/// Smallest value of a batched endpoint's `wait_ms_max`.
pub const BATCHED_WAIT_MS_MIN: u32 = 10;
/// Maximum number of milliseconds for which the first event of a batch waits for more, unless the endpoint sets another number.
pub const BATCHED_WAIT_MS_DEFAULT: u32 = 1_000;
/// Maximum number of deliveries of a batched endpoint that a dispatcher gathers and sends at the same time, in each lane, unless
/// the endpoint's `events_max` is larger.
pub const BATCH_MEMBERS_PER_ENDPOINT_MAX: usize = 512;
/// Maximum number of deliveries in a run of an ordered endpoint.
pub const RUN_DELIVERIES_MAX: usize = 16;
/// Number of bytes of bodies at which a run ends.
pub const RUN_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of members of a bundle.
pub const BUNDLE_MEMBERS_MAX: usize = 32;
/// Maximum number of bytes of a bundle. A larger member is published as a single message.
pub const BUNDLE_BYTES_MAX: usize = 32 * 1024;
/// How long the result of a dashboard form can be read again. A result is a secret, the outcome of a test or the mistakes in
/// the form.
pub const FORM_RESULT_KEPT: Duration = Duration::from_secs(15 * 60);
/// Maximum number of kept results of dashboard forms per session.
pub const FORM_RESULTS_MAX: u32 = 50;
/// Maximum number of bytes of a kept result of a dashboard form.
pub const FORM_RESULT_BYTES_MAX: usize = 1024 * 1024;

/// Maximum number of bytes of a sign-in form, which needs no session. The form may contain another form that a visitor
/// submitted after the session ended.
pub const SIGN_IN_BODY_BYTES_MAX: usize = 16 * 1024;
