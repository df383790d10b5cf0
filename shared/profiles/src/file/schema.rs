//! The schema of a profile file, as serde reads it. Values that need further checks keep their position in the file.

use std::collections::BTreeMap;

use postrider_model::brand::Terms;
use postrider_model::endpoint::{Channel, UrlRule};
use postrider_model::event::Origin;
use postrider_model::subscription::MatchKind;
use serde::Deserialize;
use toml::Spanned;

use crate::batch::BatchItems;
use crate::envelope::{BodyStyle, JsonKind, TimestampFormat};
use crate::profile::Promise;
use crate::signature_scheme::{Encoding, SignedContent};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) description: Spanned<String>,
    pub(super) delivery: Delivery,
    #[serde(default)]
    pub(super) statuses: Statuses,
    #[serde(default)]
    pub(super) body: BodyStyle,
    pub(super) envelope: Spanned<Vec<Spanned<Field>>>,
    #[serde(default)]
    pub(super) batch: Batch,
    #[serde(default)]
    pub(super) headers: Headers,
    pub(super) signature: Option<Spanned<Signature>>,
    #[serde(default)]
    pub(super) filters: BTreeMap<Spanned<String>, MatchKind>,
    pub(super) catalog: Spanned<Catalog>,
    pub(super) test_event: Option<Spanned<FixedTest>>,
    #[serde(default)]
    pub(super) origins: Vec<Origins>,
    #[serde(default)]
    pub(super) promise: Promise,
    #[serde(default)]
    pub(super) brand: BrandFields,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delivery {
    pub(super) url: UrlRule,
    #[serde(default = "web")]
    pub(super) channels: Spanned<Vec<Channel>>,
    pub(super) timeout_seconds: Spanned<u64>,
    pub(super) retry_schedule_seconds: Option<Spanned<Vec<u32>>>,
    pub(super) jitter_max: Option<Spanned<f64>>,
    pub(super) retry_after_max_seconds: Option<Spanned<u64>>,
    pub(super) rate_per_second: Option<Spanned<f64>>,
    pub(super) disable_after_days: Option<Spanned<u32>>,
}

fn web() -> Spanned<Vec<Channel>> {
    Spanned::new(0..0, vec![Channel::Web])
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Statuses {
    pub(super) success: Option<Spanned<Vec<String>>>,
    pub(super) not_retried: Option<Spanned<Vec<String>>>,
    pub(super) retried_anyway: Option<Spanned<Vec<String>>>,
    pub(super) disable: Option<Spanned<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    pub(super) name: Option<Spanned<String>>,
    pub(super) from: Option<Spanned<String>>,
    pub(super) format: Option<Spanned<TimestampFormat>>,
    pub(super) flatten: Option<Spanned<String>>,
    pub(super) default: Option<Spanned<String>>,
    pub(super) required: Option<Spanned<Required>>,
    pub(super) kind: Option<Spanned<JsonKind>>,
}

/// `required = true` on a field, or `required = { email = "string" }` on flattened `data`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Required {
    Flag(bool),
    Members(BTreeMap<String, JsonKind>),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Batch {
    pub(super) items: BatchItems,
    pub(super) member: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Headers {
    pub(super) standard: Spanned<bool>,
    pub(super) traceparent: bool,
    pub(super) user_agent: Option<Spanned<String>>,
    pub(super) extra: Vec<Spanned<Header>>,
}

impl Default for Headers {
    fn default() -> Self {
        Self { standard: Spanned::new(0..0, true), traceparent: true, user_agent: None, extra: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) name: Spanned<String>,
    pub(super) value: Option<Spanned<String>>,
    pub(super) from: Option<Spanned<String>>,
    pub(super) format: Option<TimestampFormat>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signature {
    pub(super) header: Spanned<String>,
    pub(super) scheme: SchemeName,
    pub(super) encoding: Option<Encoding>,
    pub(super) signed: Option<SignedContent>,
    pub(super) template: Option<Spanned<String>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SchemeName {
    HmacSha256,
    Token,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalog {
    #[serde(default)]
    pub(super) open: bool,
    pub(super) sample: Option<Spanned<Sample>>,
    /// The `metadata` of samples that have no `metadata` of their own.
    pub(super) sample_metadata: Option<Spanned<String>>,
    /// Lines that follow the lines of each type's own Pushover message.
    pub(super) pushover_message: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) types: Vec<TypeEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sample {
    pub(super) r#type: Spanned<String>,
    pub(super) data: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypeEntry {
    pub(super) name: Spanned<String>,
    pub(super) wire_name: Option<Spanned<String>>,
    pub(super) description: String,
    pub(super) sample: Spanned<String>,
    pub(super) sample_metadata: Option<Spanned<String>>,
    pub(super) pushover_title: Option<Spanned<String>>,
    pub(super) pushover_message: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FixedTest {
    pub(super) r#type: Spanned<String>,
    pub(super) body_id: Option<Spanned<String>>,
    pub(super) timestamp: Option<Spanned<String>>,
    pub(super) data: Spanned<String>,
    pub(super) metadata: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Origins {
    pub(super) types: Spanned<Vec<String>>,
    pub(super) fire: Vec<Origin>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BrandFields {
    pub(super) name: Option<Spanned<String>>,
    pub(super) accent: Option<Spanned<String>>,
    /// The name of an image file next to the profile, or a data URL.
    pub(super) logo: Option<Spanned<String>>,
    pub(super) docs_url: Option<Spanned<String>>,
    pub(super) support_url: Option<Spanned<String>>,
    pub(super) language: Option<Spanned<String>>,
    pub(super) terms: Option<Spanned<Terms>>,
}
