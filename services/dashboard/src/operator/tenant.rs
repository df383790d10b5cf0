//! A tenant with its settings, limits and keys.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_operations::Error;
use postrider_operations::tenants::{EditTenant, Limits, Tenant};

use super::{TENANTS, keys};
use crate::components::form::FormErrors;
use crate::components::time;
use crate::failure::Failure;
use crate::fields::{Fields, Form, FormReader};
use crate::layout::Section;
use crate::page::{Id, OperatorPage, form_error, redirect_with, refused};
use crate::texts::Notice;

/// The settings form, as text.
#[derive(Clone)]
struct TenantInput {
    name: String,
    endpoints: String,
    events_per_second: String,
    waiting_deliveries: String,
    rate_per_second_max: String,
    timeout_seconds_max: String,
    disable_after_days: String,
    enforce_catalog: bool,
    version: String,
}

impl TenantInput {
    fn of_form(fields: &Fields) -> Self {
        let text = |name: &str| fields.get(name).to_owned();
        Self {
            name: text("name"),
            endpoints: text("endpoints"),
            events_per_second: text("events_per_second"),
            waiting_deliveries: text("waiting_deliveries"),
            rate_per_second_max: text("rate_per_second_max"),
            timeout_seconds_max: text("timeout_seconds_max"),
            disable_after_days: text("disable_after_days"),
            enforce_catalog: fields.is_checked("enforce_catalog"),
            version: text("version"),
        }
    }

    fn of_tenant(tenant: &Tenant) -> Self {
        fn text<T: ToString>(number: Option<T>) -> String {
            number.map(|number| number.to_string()).unwrap_or_default()
        }
        let limits = &tenant.limits;
        Self {
            name: tenant.name.clone(),
            endpoints: text(limits.endpoints),
            events_per_second: text(limits.events_per_second),
            waiting_deliveries: text(limits.waiting_deliveries),
            rate_per_second_max: text(limits.rate_per_second_max),
            timeout_seconds_max: text(limits.timeout_seconds_max),
            disable_after_days: text(tenant.disable_after_days),
            enforce_catalog: tenant.enforce_catalog,
            version: tenant.version.to_string(),
        }
    }

    fn request(&self) -> Result<EditTenant, Error> {
        let mut reader = FormReader::default();
        let limits = Limits {
            endpoints: reader.number("/limits/endpoints", &self.endpoints),
            events_per_second: reader.number("/limits/events_per_second", &self.events_per_second),
            waiting_deliveries: reader.number("/limits/waiting_deliveries", &self.waiting_deliveries),
            rate_per_second_max: reader.number("/limits/rate_per_second_max", &self.rate_per_second_max),
            timeout_seconds_max: reader.number("/limits/timeout_seconds_max", &self.timeout_seconds_max),
        };
        let days = reader.number("/disable_after_days", &self.disable_after_days);
        reader.finish(EditTenant {
            name: Some(self.name.clone()),
            limits: Some(limits),
            enforce_catalog: Some(self.enforce_catalog),
            disable_after_days: Some(days),
            ..EditTenant::default()
        })
    }
}

/// `GET /dashboard/operator/tenants/{id}`
pub(super) async fn show(page: OperatorPage, Id(id): Id) -> Result<Markup, Failure> {
    // Only the settings form has a version; a restored form without one is that of a key, which is short.
    let entered = page.visitor.restored().filter(|fields| fields.is_checked("version")).map(TenantInput::of_form);
    show_tenant(&page, &id, entered, FormErrors(None), html! {}).await
}

/// The page, with `note` above the forms.
pub(super) async fn show_with(page: &OperatorPage, id: &str, note: Markup) -> Result<Markup, Failure> {
    show_tenant(page, id, None, FormErrors(None), note).await
}

async fn show_tenant(
    page: &OperatorPage,
    id: &str,
    entered: Option<TenantInput>,
    errors: FormErrors<'_>,
    note: Markup,
) -> Result<Markup, Failure> {
    let caller = page.visitor.caller;
    let tenant = page.operations.read_tenant(caller, id).await?;
    let keys = page.operations.list_keys(caller, id).await?;
    let input = entered.unwrap_or_else(|| TenantInput::of_tenant(&tenant));
    let content = html! {
        div.heading {
            h1.long { (tenant.name) }
            a.button href={ "/dashboard/" (id) "/webhooks" } { "Show its webhooks" }
        }
        dl.facts {
            dt { "Id" } dd { code { (tenant.id) } }
            dt { "Profile" } dd { span.tag { (tenant.profile) } }
            dt { "Created" } dd { (time(tenant.created_at)) }
        }
        (note)
        section.panel #f-limits aria-labelledby="limits" tabindex="-1" {
            h2 #limits { "Settings and limits" }
            (errors.summary())
            (form(page, id, &input, errors))
        }
        (keys::section(page, id, &keys.data))
    };
    Ok(page.show(Section::Tenants, &errors.title(&tenant.name), content))
}

fn form(page: &OperatorPage, id: &str, input: &TenantInput, errors: FormErrors<'_>) -> Markup {
    let limits = [
        ("endpoints", "Webhooks", "Default: 100.", &input.endpoints),
        ("events_per_second", "Events per second", "Default: 2,000.", &input.events_per_second),
        ("waiting_deliveries", "Waiting deliveries", "Default: 1,000,000.", &input.waiting_deliveries),
        (
            "rate_per_second_max",
            "Maximum rate of a webhook",
            "Attempts per second. Default: no limit.",
            &input.rate_per_second_max,
        ),
        (
            "timeout_seconds_max",
            "Maximum timeout of a webhook",
            "1 to 60 seconds. Default: 60.",
            &input.timeout_seconds_max,
        ),
    ];
    html! { form.stack method="post" action={ (TENANTS) "/" (id) } {
        (page.visitor.tokens)
        input type="hidden" name="version" value=(input.version);
        (errors.field("name", "Name").wide().required(&input.name))
        @for (name, label, hint, value) in limits {
            (errors.field_at(&format!("/limits/{name}"), name, label).hint(hint).number(value))
        }
        (errors.field("disable_after_days", "Switch a failing webhook off after days")
            .hint("0 means never. Default: the profile's value.").number(&input.disable_after_days))
        label.check {
            input type="checkbox" name="enforce_catalog" value="yes" checked[input.enforce_catalog];
            " Refuse events whose type is not in the catalog"
        }
        button.primary type="submit" { "Save" }
    } }
}

/// `POST /dashboard/operator/tenants/{id}`
pub(super) async fn save(page: OperatorPage, Id(id): Id, Form(fields): Form) -> Result<Response, Failure> {
    let input = TenantInput::of_form(&fields);
    let saved = match input.request() {
        Ok(request) => page.operations.edit_tenant(page.visitor.caller, &id, input.version.parse().ok(), request).await,
        Err(error) => Err(error),
    };
    match saved {
        Ok(_) => Ok(redirect_with(&format!("{TENANTS}/{id}"), Notice::Saved).into_response()),
        Err(error) => {
            let error = form_error(error)?;
            let errors = FormErrors(Some(&error));
            Ok(refused(&error, show_tenant(&page, &id, Some(input), errors, html! {}).await?))
        }
    }
}
