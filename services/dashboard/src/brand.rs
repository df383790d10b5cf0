//! The brand of a page: the name, logo, accent colour and links of the product that the page belongs to.
//!
//! A tenant's pages have the brand of the tenant and its profile. The operator's pages have the brand of Postrider. Pages without
//! a visitor, such as the sign-in page, have the brand of the deployment: the brand of its only product, or no brand if the
//! deployment has several products.

mod accent;
mod files;

use std::sync::Arc;

use maud::{Markup, html};
use postrider_model::brand::{Accent, Brand, Logo};
use postrider_model::ids::TenantId;
use postrider_operations::{Error, Operations};
use postrider_profiles::Language;
use postrider_store::config::Tenant;

pub(crate) use self::files::routes;
use self::files::{accent_href, logo_href};
use crate::assets::ICON;
use crate::language::{Words, key};

/// The brand of a page.
#[derive(Debug)]
pub(crate) struct PageBrand {
    /// The name in the header, in titles and in sentences; `None` if the page has no brand.
    pub(crate) name: Option<String>,
    mark: Mark,
    /// The address of the style sheet with the accent colour; `None` for the colours of Postrider.
    pub(crate) accent: Option<String>,
    /// Links to the product's own pages, each with its text and its address.
    pub(crate) links: Vec<(&'static str, String)>,
    /// The language and the terms of the texts.
    pub(crate) words: Words,
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
        Arc::new(Self::new(Brand::NONE, None, None))
    }

    /// The brand of the deployment, for pages without a visitor.
    pub(crate) fn of_deployment(operations: &Operations) -> Arc<Self> {
        Arc::new(match operations.deployment_brand() {
            Some(brand) => Self::new(brand.clone(), None, operations.language_of(brand)),
            None => Self { name: None, mark: Mark::None, accent: None, links: Vec::new(), words: Words::default() },
        })
    }

    /// The brand of a tenant's pages.
    ///
    /// # Errors
    /// [`Error::Internal`] when the tenant's profile is not loaded.
    pub(crate) fn of_tenant(operations: &Operations, tenant: &Tenant) -> Result<Arc<Self>, Error> {
        let brand = operations.brand_of(tenant)?;
        let language = operations.language_of(&brand);
        Ok(Arc::new(Self::new(brand, Some(tenant.id), language)))
    }

    /// `owner` is the tenant to which the brand belongs; `None` for the brand of the deployment.
    fn new(brand: Brand, owner: Option<TenantId>, language: Option<&Arc<Language>>) -> Self {
        // The texts of the logo and the accent are valid, because they are checked when the brand is set.
        let logo = brand.logo.and_then(|logo| logo.parse::<Logo>().ok());
        let accent = brand.accent.and_then(|accent| accent.parse::<Accent>().ok());
        let mark = match (logo, &brand.name) {
            (Some(logo), _) => Mark::Logo(logo_href(&logo, owner)),
            (None, None) => Mark::Postriders,
            (None, Some(_)) => Mark::None,
        };
        let links = [(key!("Documentation"), brand.docs_url), (key!("Support"), brand.support_url)];
        Self {
            name: Some(brand.name.unwrap_or_else(|| "Postrider".to_owned())),
            mark,
            accent: accent.map(accent_href),
            links: links.into_iter().filter_map(|(text, href)| Some((text, href?))).collect(),
            words: Words { language: language.cloned(), terms: brand.terms },
        }
    }

    /// A page with these words, for tests.
    #[cfg(test)]
    pub(crate) fn of_words(words: Words) -> Self {
        Self { words, ..Self::new(Brand::NONE, None, None) }
    }

    /// The address of the icon in the browser's tab. A product without a logo has an empty icon.
    pub(crate) fn icon(&self) -> String {
        match &self.mark {
            Mark::Postriders => ICON.href(),
            Mark::Logo(href) => href.clone(),
            Mark::None => "data:,".to_owned(),
        }
    }

    /// The logo and the name, as a link to the start page. Empty if the brand has no name.
    pub(crate) fn home_link(&self) -> Markup {
        html! { @if let Some(name) = &self.name {
            a.brand href="/dashboard" {
                // The image needs no text for screen readers, because the name is next to it.
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
