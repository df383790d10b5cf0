//! Every limit that a user can meet, in one place. Each is named in the error it causes and in `docs/limits.md`.

use std::num::NonZeroU32;
use std::time::Duration;

/// Most bytes of a published event's JSON (`POST /v1/publish` body, or one member of a batch).
pub const EVENT_BYTES_MAX: usize = 256 * 1024;
/// Most events of one batch.
pub const BATCH_EVENTS_MAX: usize = 1_000;
/// Most bytes of a batch request.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes of request bodies that one ingest process has in hand at once. In memory a body costs up to five times its size
/// while its events are on their way to the broker.
pub const REQUEST_BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most bytes of one tenant's request bodies that one ingest process has in hand at once: two of the largest batches. The
/// same holds for a key that names no tenant before its body.
pub const REQUEST_BODIES_PER_TENANT_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;
/// Most tenants that a product key may list.
pub const PRODUCT_KEY_TENANTS_MAX: usize = 1_000;
/// Deepest nesting of objects and arrays in `data` or `metadata`.
pub const JSON_DEPTH_MAX: usize = 64;
/// Most bytes of an event type's name.
pub const EVENT_TYPE_BYTES_MAX: usize = 128;
/// Most attributes of an event.
pub const ATTRIBUTES_MAX: usize = 32;
/// Most bytes of an attribute's name.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
/// Most bytes of an attribute's value.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 512;
/// Most values of one attribute that are remembered for a tenant and day, for picking filters.
pub const ATTRIBUTE_VALUES_MAX: u32 = 1_000;
/// Most values of all attributes together that are remembered for a tenant and day.
pub const ATTRIBUTE_VALUES_PER_TENANT_MAX: u32 = 10_000;
/// Days that values of attributes are remembered, today included.
pub const ATTRIBUTE_VALUES_DAYS: i32 = 7;
/// Most bytes of `metadata`.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Days that an event's id or idempotency key still belongs to it after the log's retention: longer than interventions are kept,
/// so that none made for the event meets a later one of the same id.
pub const EVENT_ID_DAYS_AFTER_RETENTION: i32 = 10;
/// Most event types that a tenant says something about, its own and its profile's together.
pub const EVENT_TYPES_PER_TENANT_MAX: u32 = 200;
/// Most bytes of an event type's sample.
pub const EVENT_SAMPLE_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of an event type's JSON Schema.
pub const EVENT_SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of subschemas of a JSON Schema, references followed.
pub const EVENT_SCHEMA_DEPTH_MAX: usize = 32;
/// Most subschemas, values of `enum` and names of `required` of a JSON Schema, references followed.
pub const EVENT_SCHEMA_CHECKS_MAX: usize = 5_000;
/// Most patterns of a JSON Schema, references followed.
pub const EVENT_SCHEMA_PATTERNS_MAX: usize = 50;
/// Most bytes that a pattern of a JSON Schema may take, compiled.
pub const EVENT_SCHEMA_PATTERN_BYTES_MAX: usize = 128 * 1024;
/// Most mistakes that are named of data which does not fit its type's JSON Schema.
pub const EVENT_SCHEMA_ERRORS_MAX: usize = 20;
/// Most steps that checking data by its type's JSON Schema may take, counted before it begins. A step takes a few
/// nanoseconds: `cargo bench -p postrider-schema`.
pub const EVENT_SCHEMA_STEPS_MAX: u64 = 20_000_000;
/// Most steps that a JSON Schema may take for each value, and for each byte of text, of the data.
pub const EVENT_SCHEMA_STEPS_PER_VALUE_MAX: u64 = 200_000;
/// Data that is checked by JSON Schemas at once for one tenant, in each ingest.
pub const EVENT_SCHEMA_CHECKS_AT_ONCE: usize = 2;
/// Most bytes of samples and JSON Schemas that a tenant's event types may have together.
pub const EVENT_TYPES_BYTES_PER_TENANT_MAX: u64 = 4 * 1024 * 1024;
/// Most event-type patterns of an endpoint.
pub const EVENT_TYPES_MAX: usize = 100;
/// Most values of one filter.
pub const FILTER_VALUES_MAX: usize = 200;
/// Most filters of an endpoint.
pub const FILTERS_MAX: usize = 16;
/// Deepest nesting of a payload filter, its tests included.
pub const PAYLOAD_FILTER_DEPTH_MAX: usize = 5;
/// Most tests (`field`, `op`, `value`) of a payload filter.
pub const PAYLOAD_FILTER_TESTS_MAX: usize = 50;
/// Most values of all lists (`in`) of a payload filter together.
pub const PAYLOAD_FILTER_LIST_VALUES_MAX: usize = 1_000;
/// Most steps that the payload filters of a tenant may take over one event. A step is a comparison, or a look-up among the
/// values of a field or a list.
pub const PAYLOAD_FILTER_STEPS_MAX: u64 = 1_000_000;
/// Most bytes of a payload filter, as compact JSON.
pub const PAYLOAD_FILTER_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of a payload filter's field, such as `data.amount`.
pub const PAYLOAD_FILTER_FIELD_BYTES_MAX: usize = 256;
/// Most names of a payload filter's field, its first included.
pub const PAYLOAD_FILTER_FIELD_NAMES_MAX: usize = 10;
/// Most bytes of a text that a payload filter compares with.
pub const PAYLOAD_FILTER_TEXT_BYTES_MAX: usize = 512;
/// Values of one field that a payload filter looks at, when there are arrays on its way.
pub const PAYLOAD_FILTER_VALUES_MAX: usize = 1_000;
/// Most headers of its own that an endpoint may have.
pub const ENDPOINT_HEADERS_MAX: usize = 20;
/// Most bytes of an endpoint's header value.
pub const ENDPOINT_HEADER_VALUE_BYTES_MAX: usize = 2_048;
/// Most bytes of an endpoint's URL.
pub const URL_BYTES_MAX: usize = 2_048;
/// Most bytes of names given to tenants, keys and endpoints.
pub const NAME_BYTES_MAX: usize = 200;
/// How long the API knows the answer to a request with an `Idempotency-Key`.
pub const IDEMPOTENT_ANSWER_KEPT: Duration = Duration::from_secs(86_400);
/// Most signing secrets of an endpoint that are in force at once or planned: the current one, previous ones whose overlaps run, and the
/// next.
pub const SECRETS_IN_FORCE_MAX: usize = 5;
/// Endpoints that a tenant may have unless its limits say otherwise.
pub const ENDPOINTS_PER_TENANT_DEFAULT: u32 = 100;
/// Events a second that a tenant may publish unless its limits say otherwise; as many at once.
pub const EVENTS_PER_SECOND_DEFAULT: u32 = 2_000;
/// Deliveries of a tenant that may wait unless its limits say otherwise.
pub const WAITING_DELIVERIES_PER_TENANT_DEFAULT: u32 = 1_000_000;
/// Deliveries of all tenants that may wait.
pub const WAITING_DELIVERIES_MAX: u64 = 10_000_000;
/// Bytes that lanes, decisions and outcomes may hold in the broker, estimated from their messages.
pub const INNER_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Most delays of a retry schedule.
pub const RETRIES_MAX: usize = 20;
/// Longest single delay of a retry schedule, of a `Retry-After`, and of the ladder.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(86_400);
/// Longest attempt timeout that an endpoint may ask for.
pub const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Shortest attempt timeout that an endpoint may ask for.
pub const ATTEMPT_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// A delivery that is still pending this long after it was made is discarded.
pub const DELIVERY_LIFETIME: Duration = Duration::from_secs(7 * 86_400);
/// Bytes of a response's body that are kept with the attempt.
pub const RESPONSE_EXCERPT_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a response's body that are read at most; the rest is not waited for.
pub const RESPONSE_READ_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a response's status line and headers that are read at most.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of informational responses (1xx) before a response that are read at most.
pub const RESPONSE_INFORMATIONAL_BYTES_MAX: usize = 512 * 1024;
/// Longest time that the rest of a response is waited for after its status line, within the attempt's timeout.
pub const RESPONSE_REST_MAX: Duration = Duration::from_secs(5);
/// A larger body does not wait on the delay ladder: its message there has its length and hash, and it is rendered again.
pub const PARKED_BODY_BYTES_MAX: usize = 4 * 1024;
/// Longest time a delivery is held on the ladder at once for rate, concurrency or a slow endpoint.
pub const HOLD_MAX: Duration = Duration::from_secs(600);
/// Attempts that fail in a row before an endpoint counts as failing (`endpoint.failing`).
pub const FAILING_AFTER_ATTEMPTS: u32 = 5;
/// Most characters of a Pushover message's title: Pushover's own limit.
pub const PUSHOVER_TITLE_CHARS_MAX: usize = 250;
/// Most characters of a Pushover message: Pushover's own limit.
pub const PUSHOVER_MESSAGE_CHARS_MAX: usize = 1_024;
/// Pushover asks that a failed request is not repeated sooner.
pub const PUSHOVER_RETRY_DELAY_MIN: Duration = Duration::from_secs(5);
/// Requests a second that one tenant may make to the API in the long run, with all its keys together.
pub const API_REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// Requests that one tenant may make to the API at once.
pub const API_REQUESTS_BURST: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
/// Changes a second that one tenant may make through the API and the dashboard in the long run.
pub const EDITS_PER_SECOND: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// Changes that one tenant may make at once.
pub const EDITS_BURST: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// Most API keys of a tenant.
pub const KEYS_PER_TENANT_MAX: u32 = 50;
/// Most sessions of the dashboard that one key has open.
pub const SESSIONS_PER_KEY_MAX: u32 = 20;
/// Keys that do not exist which one address may try at the API and the dashboard a second in the long run.
pub const REFUSED_KEYS_PER_PEER_SECOND: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// Keys that do not exist which one address may try at once.
pub const REFUSED_KEYS_PER_PEER_BURST: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// Keys that do not exist which all together may try a second in the long run, at one process.
pub const REFUSED_KEYS_PER_SECOND: NonZeroU32 = NonZeroU32::new(50).unwrap();
/// Keys that do not exist which all together may try at once, at one process.
pub const REFUSED_KEYS_BURST: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
/// Rows of one page, when the caller does not say.
pub const PAGE_DEFAULT: u32 = 50;
/// Most rows of one page.
pub const PAGE_MAX: u32 = 200;
/// Most minutes or hours that one answer of stats covers.
pub const STATS_INTERVALS_MAX: u32 = 1_440;
/// Bytes of documents (schemas, samples, filters) after which a page of a list ends.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Most events that a dry run of a replay looks at.
pub const REPLAY_DRY_RUN_EVENTS_MAX: u64 = 1_000_000;
/// A producer's message that became a dead letter is kept whole up to this many bytes.
pub const DEAD_LETTER_WHOLE_BYTES_MAX: usize = 256 * 1024;
/// Bytes that are kept of a producer's dead letter that is larger.
pub const DEAD_LETTER_KEPT_BYTES: usize = 64 * 1024;
/// Dead letters of a tenant's producers that are kept a day; the others are counted.
pub const DEAD_LETTERS_PER_TENANT_AND_DAY_MAX: u32 = 1_000;
/// Bytes of a tenant's producers' dead letters that are kept a day.
pub const DEAD_LETTER_BYTES_PER_TENANT_AND_DAY_MAX: u64 = 64 * 1024 * 1024;
/// Most bytes of payloads that payload filters look at in a dry run of a replay.
pub const REPLAY_DRY_RUN_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most steps of payload filters in a dry run of a replay.
pub const REPLAY_DRY_RUN_STEPS_MAX: u64 = 5_000_000;
/// Bytes of payloads after which a replay, and a dry run, ends a step of its walk.
pub const REPLAY_STEP_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Dry runs of replays at once for one tenant, in each API.
pub const REPLAY_DRY_RUNS_AT_ONCE: usize = 1;
/// Most replays of one tenant that have not ended.
pub const REPLAYS_RUNNING_MAX: u32 = 5;
/// Test calls at once for one tenant, in each API.
pub const TEST_CALLS_AT_ONCE: usize = 4;
/// Most members of a bundle.
pub const BUNDLE_MEMBERS_MAX: usize = 32;
/// Most bytes of a bundle; a larger member travels alone.
pub const BUNDLE_BYTES_MAX: usize = 32 * 1024;
/// How long the result of a dashboard form can be read again: a secret, a test's answer, what was wrong with the form.
pub const FORM_RESULT_KEPT: Duration = Duration::from_secs(15 * 60);
/// Most results of dashboard forms that are kept for a session.
pub const FORM_RESULTS_MAX: u32 = 50;
/// Most bytes of a dashboard form's result that is kept.
pub const FORM_RESULT_BYTES_MAX: usize = 1024 * 1024;

/// The largest sign-in form. A stranger can make the API hold so many bytes a connection. It may carry the form that a visitor
/// sent after the session had ended.
pub const SIGN_IN_BODY_BYTES_MAX: usize = 16 * 1024;
