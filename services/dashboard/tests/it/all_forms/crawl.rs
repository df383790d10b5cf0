//! Finds the forms on all pages that links and searches lead to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::LazyLock;

use axum::http::StatusCode;

use super::html::{Document, Kind, Submission};
use super::site::{Site, Visitor};
use super::table::entry_of;
use crate::harness::World;
use crate::pages::{get, routes};

/// Maximum number of pages of a route. Filters lead to many pages with the same forms.
const PAGES_MAX: usize = 25;
static ROUTES: LazyLock<BTreeSet<String>> = LazyLock::new(routes);
/// Tokens of a page's forms.
const TOKENS: [&str; 2] = ["csrf", "once"];

/// What distinguishes forms: the route, the button, the names of the fields, and hidden values that are words, such as `inactive`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) route: String,
    pub(super) button: (String, String),
    pub(super) fields: BTreeSet<String>,
}

/// Where a form was found.
#[derive(Debug, Clone)]
pub(super) enum From {
    /// The template of a page's address.
    Page(String),
    /// The answer to another form.
    Answer(Box<Found>),
}

/// A form, and how to get to it on another site.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) visitor: Visitor,
    pub(super) profile: &'static str,
    pub(super) from: From,
}

impl Key {
    pub(super) fn of(submission: &Submission) -> Self {
        let fields = submission.fields.iter().filter(|field| !TOKENS.contains(&field.name.as_str()));
        let fields = fields.map(|field| {
            let word =
                (1..=16).contains(&field.value.len()) && field.value.bytes().all(|byte| byte.is_ascii_lowercase());
            if field.kind == Kind::Hidden && word {
                format!("{}={}", field.name, field.value)
            } else {
                field.name.clone()
            }
        });
        let (name, value) = submission.button.clone();
        // The value of a button that carries a token differs on each page.
        let button = if TOKENS.contains(&name.as_str()) { (name, String::new()) } else { (name, value) };
        Self { route: route_of(&submission.action).unwrap_or_default(), button, fields: fields.collect() }
    }
}

/// The route of an address, as in the source of the dashboard; `None` if there is none. Of several routes that match, the one with
/// the fewest parameters.
pub(super) fn route_of(address: &str) -> Option<String> {
    let path: Vec<&str> = address.split(['?', '#']).next()?.split('/').collect();
    let matches = |route: &&String| {
        let parts: Vec<&str> = route.split('/').collect();
        parts.len() == path.len() && parts.iter().zip(&path).all(|(part, is)| part.starts_with('{') || part == is)
    };
    ROUTES.iter().filter(matches).min_by_key(|route| route.matches('{').count()).cloned()
}

/// A crawl of one visitor.
pub(super) struct Crawl<'a> {
    world: &'a World,
    site: &'a Site,
    cookie: String,
    visitor: Visitor,
    profile: &'static str,
    waiting: VecDeque<Step>,
    seen: BTreeSet<String>,
    pages: BTreeMap<String, usize>,
}

/// An address that was found, and how.
struct Step {
    address: String,
    /// Whether it is a link. The search of a form may be refused.
    link: bool,
    on: String,
}

impl<'a> Crawl<'a> {
    pub(super) async fn new(world: &'a World, site: &'a Site, visitor: Visitor, profile: &'static str) -> Self {
        let cookie = site.sign_in(world, visitor).await;
        let mut starts = vec!["/dashboard".to_owned()];
        // The tenant may be on a later page of the list.
        starts.extend((visitor == Visitor::Operator).then(|| format!("/dashboard/operator/tenants/{}", site.tenant())));
        let step = |address| Step { address, link: true, on: "the start".to_owned() };
        let waiting = starts.into_iter().map(step).collect();
        Self { world, site, cookie, visitor, profile, waiting, seen: BTreeSet::new(), pages: BTreeMap::new() }
    }

    /// Requests all pages. Adds their forms to `found`, each once.
    pub(super) async fn run(mut self, found: &mut Vec<Found>) -> usize {
        while let Some(Step { address, link, on }) = self.waiting.pop_front() {
            let page = get(self.world, &self.cookie, &address).await;
            if page.status.is_redirection() {
                let to = page.header("location").to_owned();
                self.follow(&to, link, &address);
                continue;
            }
            let refused = page.status == StatusCode::UNPROCESSABLE_ENTITY && !link;
            assert!(page.status.is_success() || refused, "{address} on {on}: {}\n{}", page.status, page.text);
            if !page.header("content-type").starts_with("text/html") {
                continue;
            }
            let document = Document::read(&page.text);
            for link in &document.links {
                self.follow(link, true, &address);
            }
            for submission in document.submissions() {
                if submission.is_post {
                    self.note(&submission, &address, found);
                } else {
                    self.follow(&searched(&submission), false, &address);
                }
            }
        }
        self.pages.values().sum()
    }

    fn note(&self, submission: &Submission, address: &str, found: &mut Vec<Found>) {
        let key = Key::of(submission);
        if found.iter().all(|known| known.key != key) && !entry_of(&key).is_empty_list(submission) {
            let from = From::Page(self.site.template(address));
            found.push(Found { key, visitor: self.visitor, profile: self.profile, from });
        }
    }

    /// Adds an address of the dashboard, unless a page like it was seen.
    fn follow(&mut self, address: &str, link: bool, on: &str) {
        let address = address.split('#').next().unwrap_or_default();
        if !address.starts_with("/dashboard") {
            return;
        }
        let route = route_of(address);
        let route = route.unwrap_or_else(|| panic!("{address} on {on} leads to no page"));
        let query = address.split_once('?').map_or("", |(_, query)| query);
        let mut kinds: Vec<String> = url::form_urlencoded::parse(query.as_bytes())
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| {
                let varies = value.len() > 20 || value.chars().any(|c| c.is_ascii_digit());
                format!("{name}={}", if varies { "#" } else { &value })
            })
            .collect();
        kinds.sort();
        // The same page of another object may have other forms.
        let path = address.split('?').next().unwrap_or_default();
        let pages = self.pages.entry(route).or_default();
        if *pages < PAGES_MAX && self.seen.insert(format!("{path}?{}", kinds.join("&"))) {
            *pages += 1;
            self.waiting.push_back(Step { address: address.to_owned(), link, on: on.to_owned() });
        }
    }
}

/// The address of a form that is sent by GET: its values, with the first checkbox of each name checked.
fn searched(submission: &Submission) -> String {
    let mut fields: Vec<(&str, &str)> = Vec::new();
    for field in &submission.fields {
        let first = fields.iter().all(|(name, _)| *name != field.name);
        if !matches!(field.kind, Kind::Box { .. }) || field.kind == (Kind::Box { checked: true }) || first {
            fields.push((&field.name, &field.value));
        }
    }
    fields.push((&submission.button.0, &submission.button.1));
    fields.retain(|(name, _)| !name.is_empty());
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    format!("{}?{query}", submission.action.split(['?', '#']).next().unwrap_or_default())
}
