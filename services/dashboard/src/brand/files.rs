//! The files of brands: logos, and style sheets with the accent colour.
//!
//! A file's name contains a hash of its content, so that a browser may cache the file without a time limit. The files are not
//! stored. A name contains the colour or the tenant's id, and each request generates the content from that again. If the hash in
//! the name differs from the hash of the content, the answer is a 404.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use postrider_model::brand::{Accent, Logo};
use postrider_model::ids::TenantId;
use postrider_operations::{Error, Operations};

use super::accent::style_sheet;
use crate::Dashboard;
use crate::assets::{CACHED, file_name};
use crate::failure::Answer;

/// The first part of a style sheet's name; the second part is the colour.
const ACCENT: &str = "accent";
/// The first part of a logo's name; the second part is the tenant's id. The deployment's logo has no second part.
const LOGO: &str = "logo";
/// The content security policy of a logo: an SVG that is opened as a page runs no scripts and loads no other files.
const LOGO_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'");

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route("/dashboard/assets/brand/{file}", get(serve))
}

fn href(file: &str) -> String {
    format!("/dashboard/assets/brand/{file}")
}

/// The address of the style sheet with this accent colour.
pub(super) fn accent_href(accent: Accent) -> String {
    href(&accent_file(accent, &style_sheet(accent)))
}

fn accent_file(accent: Accent, sheet: &str) -> String {
    let [red, green, blue] = accent.0;
    file_name(&format!("{ACCENT}-{red:02x}{green:02x}{blue:02x}"), "css", sheet.as_bytes())
}

/// The address of the logo of a tenant, or of the deployment.
pub(super) fn logo_href(logo: &Logo, owner: Option<TenantId>) -> String {
    href(&logo_file(logo, owner))
}

fn logo_file(logo: &Logo, owner: Option<TenantId>) -> String {
    let stem = owner.map_or_else(|| LOGO.to_owned(), |tenant| format!("{LOGO}-{tenant}"));
    file_name(&stem, logo.format().extension(), logo.bytes())
}

/// `GET /dashboard/assets/brand/{file}`
async fn serve(State(dashboard): State<Arc<Dashboard>>, Path(file): Path<String>) -> Answer<Response> {
    let stem = file.split('.').next().unwrap_or_default();
    let found = match stem.split_once('-') {
        Some((ACCENT, digits)) => {
            format!("#{digits}").parse::<Accent>().ok().and_then(|accent| accent_answer(accent, &file))
        }
        Some((LOGO, tenant)) => match tenant.parse() {
            Ok(tenant) => logo_answer(&dashboard.operations, Some(tenant), &file).await?,
            Err(_) => None,
        },
        None if stem == LOGO => logo_answer(&dashboard.operations, None, &file).await?,
        _ => None,
    };
    Ok(found.unwrap_or_else(|| StatusCode::NOT_FOUND.into_response()))
}

/// The style sheet with this colour; `None` if its name is not `file`.
fn accent_answer(accent: Accent, file: &str) -> Option<Response> {
    let sheet = style_sheet(accent);
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")), CACHED];
    (accent_file(accent, &sheet) == file).then(|| (headers, sheet).into_response())
}

/// The logo of a tenant or of the deployment; `None` if its name is not `file`.
async fn logo_answer(operations: &Operations, owner: Option<TenantId>, file: &str) -> Result<Option<Response>, Error> {
    let logo = match owner {
        None => operations.deployment_brand().and_then(|brand| brand.logo.clone()),
        Some(tenant) => match operations.stored_tenant(tenant).await {
            Ok(tenant) => operations.brand_of(&tenant)?.logo,
            Err(Error::NotFound(_)) => None,
            Err(error) => return Err(error),
        },
    };
    let logo = logo.and_then(|logo| logo.parse::<Logo>().ok()).filter(|logo| logo_file(logo, owner) == file);
    Ok(logo.map(|logo| {
        let content_type = HeaderValue::from_static(logo.format().media_type());
        let headers = [(header::CONTENT_TYPE, content_type), (header::CONTENT_SECURITY_POLICY, LOGO_POLICY), CACHED];
        (headers, logo.bytes().to_vec()).into_response()
    }))
}
