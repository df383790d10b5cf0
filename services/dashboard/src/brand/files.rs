//! The files of brands: logos, and style sheets with the accent colour.
//!
//! Their names contain a hash of their content, so that a browser may cache them without a limit. Nothing is stored for them: a name
//! says of which colour or whose logo it is, and the file is made again and compared.

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

/// The beginning of the name of a style sheet; the colour follows.
const ACCENT: &str = "accent";
/// The beginning of a logo's name; the tenant's id follows if it is a tenant's.
const LOGO: &str = "logo";
/// An SVG that is opened as a page runs nothing and loads nothing.
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

/// The style sheet with this colour, if this is its name.
fn accent_answer(accent: Accent, file: &str) -> Option<Response> {
    let sheet = style_sheet(accent);
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")), CACHED];
    (accent_file(accent, &sheet) == file).then(|| (headers, sheet).into_response())
}

/// The logo of a tenant or of the deployment, if this is its name.
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
