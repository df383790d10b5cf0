//! The values with which each form is sent.

use super::crawl::Key;
use super::html::{Field, Kind, Submission};

/// How a form is sent.
pub(super) struct Entry {
    /// The routes to which the form is sent, as in the source of the dashboard.
    route: &'static str,
    /// Values for fields that people fill in. A field that the form does not have is left out. The other fields keep the values of
    /// the page.
    values: &'static [(&'static str, &'static str)],
    /// Names of checkboxes that are all checked.
    checked: &'static [&'static str],
    /// Whether an old copy of the form may replace what was saved later. This is harmless only for a single value.
    pub(super) last_wins: bool,
}

const fn entry(route: &'static str) -> Entry {
    Entry { route, values: &[], checked: &[], last_wins: false }
}

/// The values that make a form succeed. A new form needs an entry; if the values on its page are enough, [`entry`] alone will do.
const FORMS: &[Entry] = &[
    entry("/dashboard/sign-out"),
    Entry {
        values: &[
            ("name", "Typed name"),
            ("description", "typed <b>text</b>"),
            ("url", "https://example.com/typed"),
            ("user_key", "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"),
            ("api_token", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            // The tests' guard allows this host for every chat service.
            ("webhook_url", "https://chat.example.com/services/typed-secret"),
            ("bot_token", "123456:tttttttttttttttttttttttttttttttttt"),
            ("chat_id", "-1001"),
            ("recipients", "typed@example.com"),
            ("event_types", "*"),
            ("retry_schedule_seconds", "1m, 1h"),
            ("timeout_seconds", "7"),
            ("filter_typed.bridge", "typed-bridge"),
        ],
        ..entry("/dashboard/{tenant}/webhooks/new")
    },
    Entry {
        values: &[("name", "Typed name"), ("description", "typed <b>text</b>"), ("timeout_seconds", "7")],
        ..entry("/dashboard/{tenant}/webhooks/{id}/edit")
    },
    entry("/dashboard/{tenant}/webhooks/{id}/status"),
    entry("/dashboard/{tenant}/webhooks/{id}/delete"),
    entry("/dashboard/{tenant}/webhooks/{id}/test"),
    entry("/dashboard/{tenant}/webhooks/{id}/recover"),
    entry("/dashboard/{tenant}/webhooks/{id}/skip"),
    entry("/dashboard/{tenant}/webhooks/{id}/held-keys"),
    Entry { values: &[("overlap_hours", "5")], ..entry("/dashboard/{tenant}/webhooks/{id}/rotate") },
    entry("/dashboard/{tenant}/deliveries/{id}/retry"),
    entry("/dashboard/{tenant}/deliveries/{id}/skip"),
    entry("/dashboard/{tenant}/deliveries/{id}/cancel"),
    entry("/dashboard/{tenant}/deliveries/{id}/expunge"),
    entry("/dashboard/{tenant}/matching-deliveries/retry"),
    entry("/dashboard/{tenant}/matching-deliveries/cancel"),
    Entry { checked: &["delivery_id"], ..entry("/dashboard/{tenant}/several-deliveries") },
    entry("/dashboard/{tenant}/events/{id}/expunge"),
    Entry { values: &[("name", "Typed view")], ..entry("/dashboard/{tenant}/views/new") },
    // A view's form has all that the view has, so the last name wins.
    Entry { values: &[("name", "Other view")], last_wins: true, ..entry("/dashboard/{tenant}/views/{id}") },
    entry("/dashboard/{tenant}/views/{id}/delete"),
    Entry { values: &[("value", "busy-busy")], ..entry("/dashboard/{tenant}/erasures/new") },
    Entry { values: &[("value", "typed value")], ..entry("/dashboard/{tenant}/erasures/{id}/erase") },
    entry("/dashboard/{tenant}/erasures/{id}/cancel"),
    entry("/dashboard/{tenant}/replays/new"),
    entry("/dashboard/{tenant}/replays/{id}/pause"),
    entry("/dashboard/{tenant}/replays/{id}/resume"),
    entry("/dashboard/{tenant}/replays/{id}/cancel"),
    Entry {
        values: &[("name", "Typed tenant"), ("profile", "migma"), ("external_id", "typed-{unique}")],
        ..entry("/dashboard/operator/tenants")
    },
    Entry {
        values: &[
            ("name", "Typed tenant"),
            ("endpoints", "77"),
            ("disable_after_days", "9"),
            ("enforce_catalog", "yes"),
        ],
        ..entry("/dashboard/operator/tenants/{id}")
    },
    Entry { values: &[("name", "typed key"), ("scopes", "read")], ..entry("/dashboard/operator/tenants/{id}/keys") },
    entry("/dashboard/operator/tenants/{id}/keys/{key}/delete"),
    entry("/dashboard/operator/dead-letters/{id}/requeue"),
    entry("/dashboard/operator/dead-letters/{id}/discard"),
    Entry { checked: &["ids"], ..entry("/dashboard/operator/several-dead-letters") },
];

/// Fields that are not shown again after a sign-in: secrets.
pub(super) const SECRETS: [&str; 7] = ["secret", "user_key", "api_token", "webhook_url", "bot_token", "headers", "key"];

/// The entry of a form.
///
/// # Panics
/// There is none.
pub(super) fn entry_of(form: &Key) -> &'static Entry {
    FORMS.iter().find(|entry| entry.route == form.route).unwrap_or_else(|| {
        panic!(
            "the form for POST {} is not covered: add an entry to FORMS in tests/it/all_forms/table.rs, with values for its fields \
             {:?} that make it succeed",
            form.route, form.fields
        )
    })
}

impl Entry {
    /// The value that a person enters into a field, or `None` to leave it.
    fn value(&self, field: &Field) -> Option<&'static str> {
        self.values.iter().find(|(name, _)| *name == field.name).map(|(_, value)| *value)
    }

    /// Whether this is the form of a list without rows, in which nothing can be checked.
    pub(super) fn is_empty_list(&self, submission: &Submission) -> bool {
        let can_check = |name: &&str| submission.fields.iter().any(|field| field.name == *name);
        !self.checked.is_empty() && !self.checked.iter().any(can_check)
    }

    /// The fields of a form as a browser sends them after a person has filled in the form. `unique` replaces `{unique}` in values.
    pub(super) fn fill(&self, submission: &Submission, unique: &str) -> Vec<(String, String)> {
        let mut sent = Vec::new();
        // The other buttons of a list are about everything that matches, whatever is checked.
        let chosen = !submission.button.1.ends_with("-all");
        for field in &submission.fields {
            let typed = self.value(field).map(|value| value.replace("{unique}", unique));
            let value = match field.kind {
                Kind::Hidden => Some(field.value.clone()),
                Kind::Text | Kind::Select => Some(typed.unwrap_or_else(|| field.value.clone())),
                Kind::Box { checked } => {
                    let checked = match typed {
                        Some(typed) => typed == field.value,
                        None => checked || (chosen && self.checked.contains(&field.name.as_str())),
                    };
                    checked.then(|| field.value.clone())
                }
            };
            sent.extend(value.map(|value| (field.name.clone(), value)));
        }
        if !submission.button.0.is_empty() {
            sent.push(submission.button.clone());
        }
        sent
    }

    /// The visible fields of `sent` that a person filled in or checked, except secrets.
    pub(super) fn typed<'a>(&self, submission: &Submission, sent: &'a [(String, String)]) -> Vec<&'a (String, String)> {
        let visible = |name: &String| {
            submission.fields.iter().any(|field| field.name == *name && field.kind != Kind::Hidden)
                && !SECRETS.contains(&name.as_str())
        };
        sent.iter().filter(|(name, value)| visible(name) && !value.is_empty()).collect()
    }
}
