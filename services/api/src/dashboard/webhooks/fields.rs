//! What the form of a webhook holds: text as it was typed. It comes from an endpoint or from a form, and becomes the JSON that
//! the API's own operations read and check.

use std::collections::BTreeMap;

use postrider_http::problem::FieldError;
use postrider_profiles::Profile;
use serde_json::{Map, Value, json};

use super::super::form::Fields;
use super::super::words;
use crate::endpoints::model::{Channel, Endpoint, MASK};

/// The form, field by field.
#[derive(Debug, Clone, Default)]
pub(super) struct Typed {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) inactive: bool,
    pub(super) pushover: bool,
    pub(super) url: String,
    pub(super) user_key: String,
    pub(super) api_token: String,
    pub(super) sound: String,
    /// Ticked in the catalog, patterns among them.
    pub(super) event_types: Vec<String>,
    /// Typed, one a line.
    pub(super) other_types: String,
    /// By attribute.
    pub(super) filters: BTreeMap<String, Picked>,
    pub(super) payload_filter: String,
    /// `Name: value`, one a line.
    pub(super) headers: String,
    pub(super) retry_schedule: String,
    pub(super) timeout: String,
    pub(super) rate: String,
    pub(super) ascii_json: bool,
    pub(super) token_header: String,
    pub(super) ed25519: bool,
    pub(super) secret: String,
    /// The version that is edited.
    pub(super) version: String,
}

/// Values of one filter.
#[derive(Debug, Clone, Default)]
pub(super) struct Picked {
    pub(super) ticked: Vec<String>,
    /// One a line.
    pub(super) typed: String,
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// A form's lines end as HTTP has them.
fn unix(text: &str) -> String {
    text.replace("\r\n", "\n")
}

impl Typed {
    /// A new webhook of a channel.
    pub(super) fn new(pushover: bool) -> Self {
        Self { pushover, sound: "Pushover".to_owned(), ..Self::default() }
    }

    /// What a form sent.
    pub(super) fn sent(fields: &Fields, profile: &Profile, pushover: bool) -> Self {
        let filters = profile.attributes.keys().map(|name| {
            let picked = Picked {
                ticked: fields.all(&format!("filter.{name}")),
                typed: unix(fields.get(&format!("filter_typed.{name}"))),
            };
            (name.clone(), picked)
        });
        Self {
            name: fields.get("name").to_owned(),
            description: unix(fields.get("description")),
            inactive: !fields.ticked("active"),
            pushover,
            url: fields.get("url").to_owned(),
            user_key: fields.get("user_key").to_owned(),
            api_token: fields.get("api_token").to_owned(),
            sound: fields.get("sound").to_owned(),
            event_types: fields.all("event_types"),
            other_types: unix(fields.get("other_types")),
            filters: filters.collect(),
            payload_filter: unix(fields.get("payload_filter")),
            headers: unix(fields.get("headers")),
            retry_schedule: fields.get("retry_schedule").to_owned(),
            timeout: fields.get("timeout").to_owned(),
            rate: fields.get("rate").to_owned(),
            ascii_json: fields.ticked("ascii_json"),
            token_header: fields.get("token_header").to_owned(),
            ed25519: fields.get("signature_key") == "ed25519",
            secret: fields.get("secret").to_owned(),
            version: fields.get("version").to_owned(),
        }
    }

    /// What an endpoint is now.
    pub(super) fn of(endpoint: &Endpoint, offered: &[String]) -> Self {
        let (event_types, other): (Vec<_>, Vec<_>) =
            endpoint.event_types.iter().cloned().partition(|name| offered.contains(name));
        let filters = endpoint
            .filters
            .iter()
            .map(|(name, values)| (name.clone(), Picked { ticked: values.clone(), typed: String::new() }));
        let number = |number: Option<String>| number.unwrap_or_default();
        let pushover = endpoint.channel == Channel::Pushover;
        Self {
            name: endpoint.name.clone(),
            description: endpoint.description.clone().unwrap_or_default(),
            inactive: !matches!(endpoint.status, crate::endpoints::model::Status::Active),
            pushover,
            url: endpoint.url.clone().unwrap_or_default(),
            user_key: if pushover { MASK.to_owned() } else { String::new() },
            api_token: if pushover { MASK.to_owned() } else { String::new() },
            sound: endpoint.pushover.as_ref().and_then(|pushover| pushover.sound.clone()).unwrap_or_default(),
            event_types,
            other_types: other.join("\n"),
            filters: filters.collect(),
            payload_filter: endpoint
                .payload_filter
                .as_ref()
                .and_then(|filter| serde_json::to_string_pretty(filter).ok())
                .unwrap_or_default(),
            headers: endpoint.headers.keys().map(|name| format!("{name}: {MASK}")).collect::<Vec<_>>().join("\n"),
            retry_schedule: endpoint.retry_schedule_seconds.as_deref().map(words::schedule).unwrap_or_default(),
            timeout: number(endpoint.timeout_seconds.map(|seconds| seconds.to_string())),
            rate: number(endpoint.rate_per_second.map(|rate| rate.to_string())),
            ascii_json: endpoint.ascii_json,
            token_header: endpoint.token_header.clone().unwrap_or_default(),
            ed25519: false,
            secret: String::new(),
            version: endpoint.version.to_string(),
        }
    }

    /// The body of a creation.
    ///
    /// # Errors
    /// What only this form can get wrong.
    pub(super) fn creation(&self) -> Result<Value, Vec<FieldError>> {
        let mut body = self.common()?;
        // What is not given is left out: absent means the profile's own.
        body.retain(|_, value| !value.is_null());
        let channel = if self.pushover { "pushover" } else { "web" };
        body.insert("channel".into(), channel.into());
        if self.ed25519 {
            body.insert("signature_key".into(), "ed25519".into());
        }
        if !self.secret.is_empty() {
            body.insert("secret".into(), self.secret.as_str().into());
        }
        Ok(Value::Object(body))
    }

    /// The body of an edit: all that the form shows.
    ///
    /// # Errors
    /// What only this form can get wrong.
    pub(super) fn edit(&self, disabled: bool) -> Result<Value, Vec<FieldError>> {
        let mut body = self.common()?;
        // A webhook that the engine switched off stays so until somebody ticks the box.
        if disabled && self.inactive {
            body.remove("status");
        }
        Ok(Value::Object(body))
    }

    fn common(&self) -> Result<Map<String, Value>, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        let text = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
        put("name", self.name.as_str().into());
        put("description", text(&self.description));
        put("status", if self.inactive { "inactive" } else { "active" }.into());
        let types = self.event_types.iter().map(String::as_str).chain(lines(&self.other_types));
        put("event_types", types.map(Value::from).collect());
        put("filters", Value::Object(self.filters()));
        put(
            "payload_filter",
            self.filter_json().unwrap_or_else(|error| {
                errors.push(error);
                Value::Null
            }),
        );
        put("retry_schedule_seconds", schedule(&self.retry_schedule));
        put("timeout_seconds", number(&self.timeout));
        put("rate_per_second", number(&self.rate));
        if self.pushover {
            let credentials = json!({"user_key": self.user_key, "api_token": self.api_token, "sound": self.sound});
            put("pushover", credentials);
        } else {
            put("url", text(&self.url).as_str().unwrap_or_default().into());
            put(
                "headers",
                self.header_map().unwrap_or_else(|error| {
                    errors.push(error);
                    Value::Null
                }),
            );
            put("ascii_json", self.ascii_json.into());
            put("token_header", text(&self.token_header));
        }
        if errors.is_empty() { Ok(body) } else { Err(errors) }
    }

    fn filters(&self) -> Map<String, Value> {
        let values = |picked: &Picked| -> Vec<Value> {
            let mut all: Vec<&str> = picked.ticked.iter().map(String::as_str).chain(lines(&picked.typed)).collect();
            all.dedup();
            all.into_iter().map(Value::from).collect()
        };
        let all = self.filters.iter().map(|(name, picked)| (name.clone(), values(picked)));
        all.filter(|(_, values)| !values.is_empty()).map(|(name, values)| (name, Value::Array(values))).collect()
    }

    fn filter_json(&self) -> Result<Value, FieldError> {
        if self.payload_filter.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&self.payload_filter).map_err(|error| {
            let at = format!("line {}, column {}", error.line(), error.column());
            FieldError::new("/payload_filter", format!("not valid JSON: look at {at}"))
        })
    }

    fn header_map(&self) -> Result<Value, FieldError> {
        let mut map = Map::new();
        for line in lines(&self.headers) {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| FieldError::new("/headers", format!("write “Name: value”, got “{line}”")))?;
            let before = map.insert(name.trim().to_owned(), value.trim().into());
            if before.is_some() {
                return Err(FieldError::new("/headers", format!("the header {} is given twice", name.trim())));
            }
        }
        Ok(Value::Object(map))
    }
}

/// A number, or the text as it is, for the API to refuse; empty: the profile's own.
fn number(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => match text.parse::<u64>() {
            Ok(whole) => whole.into(),
            Err(_) => text.parse::<f64>().map_or_else(|_| text.into(), Value::from),
        },
    }
}

/// `1m, 5m, 2h, 90` as seconds; what cannot be read stays text, for the API to refuse; empty: the profile's own.
fn schedule(text: &str) -> Value {
    match text.trim() {
        "" => Value::Null,
        "none" => json!([]),
        text => {
            let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
            words.map(|word| seconds(word).map_or_else(|| Value::from(word), Value::from)).collect()
        }
    }
}

fn seconds(word: &str) -> Option<u32> {
    let (digits, unit) = word.split_at(word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len()));
    let times = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    digits.parse::<u32>().ok()?.checked_mul(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_people_write_them() {
        assert_eq!(schedule("1m, 5m  15min 2h 1d 7"), json!([60, 300, 900, 7200, 86400, 7]));
        assert_eq!(schedule(" none "), json!([]));
        assert_eq!(schedule(""), Value::Null);
        assert_eq!(schedule("1m, soon"), json!([60, "soon"]));
    }

    #[test]
    fn a_creation_leaves_out_what_was_not_given_and_an_edit_clears_it() {
        let typed = Typed {
            name: "n".into(),
            url: "https://example.com/".into(),
            event_types: vec!["a.b".into()],
            other_types: "c.*\n\n".into(),
            headers: "X-A: 1\nX-B: a:b".into(),
            filters: BTreeMap::from([("bridge".into(), Picked { ticked: vec!["b1".into()], typed: "b2\n".into() })]),
            ..Typed::default()
        };
        let made = typed.creation().unwrap();
        let expected = json!({"name": "n", "status": "active", "channel": "web", "url": "https://example.com/", "event_types": ["a.b", "c.*"],
            "filters": {"bridge": ["b1", "b2"]}, "headers": {"X-A": "1", "X-B": "a:b"}, "ascii_json": false});
        assert_eq!(made, expected);
        let edit = typed.edit(false).unwrap();
        assert_eq!((&edit["description"], &edit["retry_schedule_seconds"]), (&Value::Null, &Value::Null));
        assert!(edit.as_object().unwrap().contains_key("payload_filter") && edit.get("channel").is_none());
    }

    #[test]
    fn what_only_the_form_can_get_wrong_has_its_pointer() {
        let wrong = |typed: Typed| typed.creation().unwrap_err().remove(0).pointer;
        assert_eq!(wrong(Typed { payload_filter: "{".into(), ..Typed::default() }), "/payload_filter");
        assert_eq!(wrong(Typed { headers: "nonsense".into(), ..Typed::default() }), "/headers");
        assert_eq!(wrong(Typed { headers: "A: 1\nA: 2".into(), ..Typed::default() }), "/headers");
    }
}
