//! The page of a tenant: its usage, health, settings, limits, brand and keys.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_model::brand::{Brand, Terms};
use postrider_operations::stats::Figures;
use postrider_operations::tenants::{EVENTS_COUNTED_MAX, EditTenant, Tenant, TenantLimits, TenantUsage, Usage};
use postrider_operations::{Caller, Error};

use super::{TENANTS, keys};
use crate::components::{DAY, Form, Tile, success_tile, tile_list, time};
use crate::failure::Answer;
use crate::fields::{FieldReader, Fields, Sent};
use crate::format::{count, percent};
use crate::page::{Id, OperatorPage, redirect_with};
use crate::texts::Notice;

/// The fields of the settings form.
fn fields_of(tenant: &Tenant) -> Fields {
    let limits = &tenant.limits;
    Fields::default()
        .with("name", &tenant.name)
        .with_some("endpoints", limits.endpoints)
        .with_some("events_per_second", limits.events_per_second)
        .with_some("waiting_deliveries", limits.waiting_deliveries)
        .with_some("paused_bytes", limits.paused_bytes)
        .with_some("paused_days", limits.paused_days)
        .with_some("rate_per_second_max", limits.rate_per_second_max)
        .with_some("timeout_seconds_max", limits.timeout_seconds_max)
        .with_some("disable_after_days", tenant.disable_after_days)
        .with("failing_endpoints", tenant.failing_endpoints)
        .with("enforce_catalog", if tenant.enforce_catalog { "yes" } else { "" })
        .with("version", tenant.version)
}

fn request(fields: &Fields) -> Result<EditTenant, Error> {
    let mut reader = FieldReader::new(fields);
    let limits = TenantLimits {
        endpoints: reader.number("/limits/endpoints"),
        events_per_second: reader.number("/limits/events_per_second"),
        waiting_deliveries: reader.number("/limits/waiting_deliveries"),
        paused_bytes: reader.number("/limits/paused_bytes"),
        paused_days: reader.number("/limits/paused_days"),
        rate_per_second_max: reader.number("/limits/rate_per_second_max"),
        timeout_seconds_max: reader.number("/limits/timeout_seconds_max"),
    };
    let days = reader.number("/disable_after_days");
    let failing_endpoints = reader.parse("/failing_endpoints");
    reader.finish(EditTenant {
        name: Some(fields.get("name").to_owned()),
        limits: Some(limits),
        enforce_catalog: Some(fields.is_checked("enforce_catalog")),
        disable_after_days: Some(days),
        failing_endpoints,
        ..EditTenant::default()
    })
}

/// `GET /dashboard/operator/tenants/{id}`
pub(super) async fn show(page: OperatorPage, Id(id): Id) -> Answer<Response> {
    // Only the settings form has a version. A form without a version is the form for a new key.
    let entered = match page.visitor.restored() {
        Some(fields) if fields.is_checked("version") => Entered { settings: Some(fields.into()), ..Entered::default() },
        key => Entered { key: key.unwrap_or_default(), ..Entered::default() },
    };
    show_with(&page, &id, entered, html! {}).await
}

/// The forms of the page that a visitor has filled in. The other forms have the stored values.
#[derive(Default)]
pub(super) struct Entered {
    pub(super) settings: Option<Form>,
    /// The fields of a new key; empty if the form was not filled in.
    pub(super) key: Fields,
}

/// The page of a tenant. `note` is shown above the settings form.
pub(super) async fn show_with(page: &OperatorPage, id: &str, entered: Entered, note: Markup) -> Answer<Response> {
    let caller = page.visitor.caller;
    let tenant = page.operations.read_tenant(caller, id).await?;
    let keys = page.operations.list_keys(caller, id).await?;
    let usage = page.operations.read_tenant_usage(caller, id).await?;
    let of_tenant = match caller {
        Caller::Operator { acting, .. } => Caller::Operator { tenant: Some(tenant.id), acting },
        own => own,
    };
    let day = page.operations.tenant_stats(of_tenant, &DAY.query()).await?;
    let form = entered.settings.unwrap_or_else(|| fields_of(&tenant).into());
    let content = html! {
        div.heading {
            h1.long { (tenant.name) }
            a.button href={ "/dashboard/" (id) "/webhooks" } { "Show its webhooks" }
        }
        dl.facts.panel {
            dt { "Id" } dd { code { (tenant.id) } }
            dt { "Profile" } dd { span.tag { (tenant.profile) } }
            dt { "Created" } dd { (time(tenant.created_at)) }
        }
        (note)
        section aria-labelledby="usage" {
            h2 #usage { "Usage, and health in the last 24 hours" }
            (tiles(id, &usage, &day.total))
        }
        section.panel #f-limits aria-labelledby="limits" tabindex="-1" {
            h2 #limits { "Settings and limits" }
            (form.summary())
            (settings(page, id, &form))
        }
        (brand(&tenant.brand))
        (keys::section(page, id, &keys.data, &entered.key))
    };
    Ok(form.answer(page.show(&form.title(&tenant.name), content)))
}

/// The tenant's usage against its limits, and how well its attempts of the last 24 hours succeeded.
fn tiles(id: &str, usage: &TenantUsage, day: &Figures) -> Markup {
    let bad = |number: u64| if number > 0 { "is-bad" } else { "" };
    let or_more = if usage.events >= u64::from(EVENTS_COUNTED_MAX) { " or more" } else { "" };
    let troubled = usage.failing_endpoints + usage.disabled_endpoints;
    let disabled = count(usage.disabled_endpoints);
    tile_list([
        used("Webhooks", usage.endpoints),
        Tile {
            name: "Failing webhooks",
            value: count(usage.failing_endpoints),
            class: bad(troubled),
            note: html! {
                "and " (disabled) " switched off by Postrider"
                @if troubled > 0 { ": " a href={ "/dashboard/" (id) "/webhooks" } { "show" } }
            },
        },
        used("Waiting deliveries", usage.waiting_deliveries),
        Tile {
            name: "Events",
            value: format!("{}{or_more}", count(usage.events)),
            class: "",
            note: html! { "in the last 24 hours" },
        },
        success_tile(day),
        Tile {
            name: "First attempt within 5\u{a0}s",
            value: percent(day.promise.within_5s),
            class: "",
            note: html! { "of " (count(day.promise.first_attempts)) " in the last 24 hours" },
        },
    ])
}

/// A tile with the usage of a limit. From 90 % on, it has the colour of a problem.
fn used(name: &'static str, usage: Usage) -> Tile {
    let class = if usage.used * 10 >= usage.limit * 9 { "is-poor" } else { "" };
    let note = html! {
        "of " (count(usage.limit)) " "
        meter min="0" max=(usage.limit.max(1)) value=(usage.used) aria-label={ (name) " used" } {}
    };
    Tile { name, value: count(usage.used), class, note }
}

/// The limits of a tenant: the field, its label and its hint.
const LIMITS: [(&str, &str, &str); 7] = [
    ("endpoints", "Webhooks", "Default: 100."),
    ("events_per_second", "Events per second", "Default: 2,000."),
    ("waiting_deliveries", "Waiting deliveries", "Default: 1,000,000."),
    ("paused_bytes", "Bytes that wait for paused webhooks", "Default: 1,073,741,824 (1 GiB)."),
    ("paused_days", "Days that deliveries wait for paused webhooks", "1 to 365. Default: 7."),
    ("rate_per_second_max", "Maximum rate of a webhook", "Attempts per second. Default: no limit."),
    ("timeout_seconds_max", "Maximum timeout of a webhook", "1 to 60 seconds. Default: 60."),
];

fn settings(page: &OperatorPage, id: &str, form: &Form) -> Markup {
    html! { form.stack method="post" action={ (TENANTS) "/" (id) } {
        (page.visitor.tokens)
        input type="hidden" name="version" value=(form.get("version"));
        (form.field("name", "Name").wide().required())
        div.pair {
            @for (name, label, hint) in LIMITS {
                (form.field_at(&format!("/limits/{name}"), name, label).hint(hint).number())
            }
            (form.field("disable_after_days", "Switch a failing webhook off after days")
                .hint("0 means never. Default: the profile's value.").number())
        }
        (form.field("failing_endpoints", "What happens to a failing webhook then")
            .hint("Also after an answer 410, where the profile honours it.")
            .choice([("disable", "It is switched off"), ("pause", "It is paused: its deliveries wait")]))
        (form.checkbox("enforce_catalog", "Refuse events whose type is not in the catalog"))
        button.primary type="submit" { "Save" }
    } }
}

/// The tenant's own brand. A part that is not set comes from the profile.
fn brand(brand: &Brand) -> Markup {
    let Brand { name, accent, logo, docs_url, support_url, language, terms } = brand;
    let texts = [
        ("Name", name.as_deref()),
        ("Accent", accent.as_deref()),
        ("Documentation", docs_url.as_deref()),
        ("Support", support_url.as_deref()),
        ("Language", language.as_deref()),
    ];
    let terms = Terms::NAMES.map(|name| (name, terms.get(name)));
    html! { section.panel aria-labelledby="brand" {
        h2 #brand { "Brand" }
        p.hint {
            "What customers see in place of Postrider. What is not set here comes from the profile. "
            "Set it with " code { "PATCH /v1/tenants/{id}" } "."
        }
        dl.facts {
            @for (label, text) in texts { @if let Some(text) = text { dt { (label) } dd.long { (text) } } }
            @for (name, word) in terms { @if let Some(word) = word { dt { "Term “" (name) "”" } dd.long { (word) } } }
            @if let Some(logo) = logo { dt { "Logo" } dd { img.brand-logo src=(logo) alt="The logo"; } }
        }
    } }
}

/// `POST /dashboard/operator/tenants/{id}`
pub(super) async fn save(page: OperatorPage, Id(id): Id, Sent(fields): Sent) -> Answer<Response> {
    let expected = fields.get("version").parse().ok();
    match async { page.operations.edit_tenant(page.visitor.caller, &id, expected, request(&fields)?).await }.await {
        Ok(_) => Ok(redirect_with(&format!("{TENANTS}/{id}"), Notice::Saved).into_response()),
        Err(error) => {
            let entered = Entered { settings: Some(Form::refused(fields, error)?), ..Entered::default() };
            show_with(&page, &id, entered, html! {}).await
        }
    }
}
