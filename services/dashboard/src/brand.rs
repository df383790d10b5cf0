//! The product whose pages these are: its name, logo, accent colour and links.
//!
//! A tenant's pages have the brand of the tenant and its profile, and the operator's pages that of Postrider. Pages without a
//! visitor, such as the sign-in, have the brand of the deployment: that of its only product, or none if it has several.

mod accent;
mod files;

use std::sync::Arc;

use maud::{Markup, html};
use postrider_model::brand::{Accent, Brand, Logo};
use postrider_model::ids::TenantId;
use postrider_operations::{Error, Operations};
use postrider_store::config::Tenant;

pub(crate) use self::files::routes;
use self::files::{accent_href, logo_href};
use crate::assets::ICON;

/// What a page shows of its product.
#[derive(Debug)]
pub(crate) struct PageBrand {
    /// The name in the header, in titles and in sentences; `None` if the page belongs to several products.
    pub(crate) name: Option<String>,
    mark: Mark,
    /// The address of the style sheet with the accent colour; `None`: the colours of Postrider.
    pub(crate) accent: Option<String>,
    /// Links to the product's own pages: texts and addresses.
    pub(crate) links: Vec<(&'static str, String)>,
}

/// The image next to the name.
#[derive(Debug)]
enum Mark {
    Postriders,
    /// The address of the product's logo.
    Logo(String),
    None,
}

impl PageBrand {
    /// The brand of Postrider itself.
    pub(crate) fn postrider() -> Arc<Self> {
        Arc::new(Self::new(Brand::default(), None))
    }

    /// The brand of pages without a visitor.
    pub(crate) fn of_deployment(operations: &Operations) -> Arc<Self> {
        Arc::new(match operations.deployment_brand() {
            Some(brand) => Self::new(brand.clone(), None),
            None => Self { name: None, mark: Mark::None, accent: None, links: Vec::new() },
        })
    }

    /// The brand of a tenant's pages.
    ///
    /// # Errors
    /// [`Error::Internal`] when the tenant's profile is not loaded.
    pub(crate) fn of_tenant(operations: &Operations, tenant: &Tenant) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self::new(operations.brand_of(tenant)?, Some(tenant.id))))
    }

    /// `owner` is the tenant whose brand it is; `None`: the deployment's.
    fn new(brand: Brand, owner: Option<TenantId>) -> Self {
        // Both texts were checked when the brand was set.
        let logo = brand.logo.and_then(|logo| logo.parse::<Logo>().ok());
        let accent = brand.accent.and_then(|accent| accent.parse::<Accent>().ok());
        let mark = match (logo, &brand.name) {
            (Some(logo), _) => Mark::Logo(logo_href(&logo, owner)),
            (None, None) => Mark::Postriders,
            (None, Some(_)) => Mark::None,
        };
        let links = [("Documentation", brand.docs_url), ("Support", brand.support_url)];
        Self {
            name: Some(brand.name.unwrap_or_else(|| "Postrider".to_owned())),
            mark,
            accent: accent.map(accent_href),
            links: links.into_iter().filter_map(|(text, href)| Some((text, href?))).collect(),
        }
    }

    /// The address of the icon of the browser's tab. A product without a logo has an empty one.
    pub(crate) fn icon(&self) -> String {
        match &self.mark {
            Mark::Postriders => ICON.href(),
            Mark::Logo(href) => href.clone(),
            Mark::None => "data:,".to_owned(),
        }
    }

    /// Logo and name, as a link to the start page. Empty if there is no name.
    pub(crate) fn home_link(&self) -> Markup {
        html! { @if let Some(name) = &self.name {
            a.brand href="/dashboard" {
                // The name next to it says what it is.
                @match &self.mark {
                    Mark::Postriders => {
                        svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" focusable="false" {
                            path class="brand-mark" d="M3 6.5 12 13l9-6.5M3 6v12h18V6zM1 12h3M1 15h2" {}
                        }
                    }
                    Mark::Logo(href) => { img.brand-logo src=(href) alt=""; }
                    Mark::None => {}
                }
                span.brand-name { (name) }
            }
        } }
    }
}
