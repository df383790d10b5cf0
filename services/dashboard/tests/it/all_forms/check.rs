//! The checks of one form.

use std::sync::atomic::{AtomicI64, Ordering};

use axum::http::StatusCode;

use super::crawl::{Found, From, Key};
use super::html::{Document, Kind, Submission};
use super::site::{Effects, Site};
use super::table::{Entry, entry_of};
use crate::harness::World;
use crate::pages::{Page, get, send_form};

/// Text fields that a page may fill in although the form changes nothing that exists.
const SUGGESTED: [&str; 5] = ["since", "from", "to", "event_types", "data"];
/// A button that changes nothing.
const PREVIEW: &str = "preview";
const SIGN_OUT: &str = "/dashboard/sign-out";

/// A form that is checked on sites of its own.
pub(super) struct Check<'a> {
    world: &'a World,
    form: &'a Found,
    entry: &'static Entry,
    /// The number of test calls so far.
    tests: &'a AtomicI64,
}

/// A form on a page of a site, filled in.
#[derive(Clone)]
struct Filled {
    submission: Submission,
    fields: Vec<(String, String)>,
}

impl<'a> Check<'a> {
    pub(super) fn new(world: &'a World, form: &'a Found, tests: &'a AtomicI64) -> Self {
        Self { world, form, entry: entry_of(&form.key), tests }
    }

    fn name(&self) -> String {
        format!("{:?} by {:?} of {}", self.form.key, self.form.visitor, self.form.profile)
    }

    /// Runs all checks. Returns the page that the form leads to.
    pub(super) async fn run(&self) -> Page {
        let (did, page) = Box::pin(self.sends_once()).await;
        Box::pin(self.ends_with_its_session_and_acts_once(did)).await;
        page
    }

    async fn effects(&self, site: &Site) -> Effects {
        Effects::so_far(self.world, site, self.tests.load(Ordering::SeqCst)).await
    }

    /// What has happened since `before`, once it no longer changes: messages are published a moment after the answer.
    async fn did(&self, site: &Site, before: Effects) -> Effects {
        let mut last = self.effects(site).await;
        loop {
            tokio::time::sleep(Effects::SETTLED_AFTER).await;
            let now = self.effects(site).await;
            if now == last {
                return now.since(before);
            }
            last = now;
        }
    }

    /// Requests the page with the form and fills the form in. `None` if the page no longer has it.
    async fn fill(&self, site: &Site, cookie: &str) -> Option<Filled> {
        let submission = locate(self.world, self.form, site, cookie).await?;
        let fields = self.entry.fill(&submission, site.tenant());
        Some(Filled { submission, fields })
    }

    async fn send(&self, cookie: &str, filled: &Filled) -> Page {
        send(self.world, cookie, &filled.submission, &filled.fields).await
    }

    /// The form acts; reloading its result does nothing; an older copy of the form in another tab, and the form after going back, are
    /// processed or clearly refused.
    async fn sends_once(&self) -> (Effects, Page) {
        let site = Site::new(self.world, self.form.profile).await;
        let cookie = site.sign_in(self.world, self.form.visitor).await;
        let filled = self
            .fill(&site, &cookie)
            .await
            .unwrap_or_else(|| panic!("{} is gone from {:?}", self.name(), self.form.from));
        // The parent of a form on an answer may act only once. A duplicated tab then shows the same answer.
        let other_tab = self.fill(&site, &cookie).await.unwrap_or_else(|| filled.clone());
        self.is_versioned_if_it_edits(&filled.submission);

        let before = self.effects(&site).await;
        let answer = self.send(&cookie, &filled).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}: {}", self.name(), answer.text);
        let landed = land(self.world, &cookie, &answer).await;
        assert!(landed.status.is_success(), "{}: {}\n{}", self.name(), landed.status, landed.text);
        let did = self.did(&site, before).await;
        let asks = Document::read(&landed.text).submissions().iter().any(|next| next.is_post && is_confirmation(next));
        let may_do_nothing = asks || self.ends_the_session() || self.form.key.button.0 == PREVIEW;
        assert!(did != Effects::NONE || may_do_nothing, "{} does nothing", self.name());

        for _ in 0..2 {
            let again = land(self.world, &cookie, &answer).await;
            assert_eq!(again.status, landed.status, "a reload after {}", self.name());
        }
        assert_eq!(self.did(&site, before).await, did, "a reload after {} does nothing", self.name());
        let later = self.send(&cookie, &other_tab).await;
        let later = land(self.world, &cookie, &later).await;
        self.is_clear(&later, "in another tab");
        if has_version(&other_tab.submission) {
            assert_eq!(later.status, StatusCode::PRECONDITION_FAILED, "an old copy of {}", self.name());
            assert_eq!(self.did(&site, before).await, did, "an old copy of {} changes nothing", self.name());
        }
        if let Some(back) = self.fill(&site, &cookie).await {
            let again = self.send(&cookie, &back).await;
            self.is_clear(&land(self.world, &cookie, &again).await, "after going back");
        }
        self.close(&cookie).await;
        (did, landed)
    }

    /// A form of an ended session does nothing, and is shown again after the sign-in. Two identical forms at once, and a third one
    /// later, do what one does, and have the same result.
    async fn ends_with_its_session_and_acts_once(&self, expected: Effects) {
        let site = Site::new(self.world, self.form.profile).await;
        let cookie = site.sign_in(self.world, self.form.visitor).await;
        let filled = self
            .fill(&site, &cookie)
            .await
            .unwrap_or_else(|| panic!("{} is gone from the page of another tenant", self.name()));
        let before = self.effects(&site).await;
        self.close(&cookie).await;
        let ended = self.send(&cookie, &filled).await;
        assert_eq!(ended.status, StatusCode::UNAUTHORIZED, "{}: {}", self.name(), ended.text);
        let (cookie, shown) = self.sign_in_again(&site, &ended).await;
        assert!(shown.status.is_success(), "{} after the sign-in: {}\n{}", self.name(), shown.status, shown.text);
        let document = Document::read(&shown.text);
        for (name, value) in self.entry.typed(&filled.submission, &filled.fields) {
            assert!(document.shows(name, value), "{name}={value} of {} is lost: {}", self.name(), shown.text);
        }
        assert_eq!(self.effects(&site).await.since(before), Effects::SIGN_IN, "{} without a session", self.name());

        let filled =
            self.fill(&site, &cookie).await.unwrap_or_else(|| panic!("{} is gone after a sign-in", self.name()));
        let before = self.effects(&site).await;
        let (one, two) = tokio::join!(self.send(&cookie, &filled), self.send(&cookie, &filled));
        if self.ends_the_session() {
            return;
        }
        let later = self.send(&cookie, &filled).await;
        for other in [&two, &later] {
            let result = |page: &Page| (page.status, page.header("location").to_owned());
            assert_eq!(result(other), result(&one), "{} twice", self.name());
        }
        let did = self.did(&site, before).await;
        assert_eq!(did, expected, "{} sent three times does what it does once", self.name());
        self.close(&cookie).await;
    }

    /// Closes a session. A key has few sessions at a time.
    async fn close(&self, cookie: &str) {
        self.world.store.sessions().close_session(cookie.split_once('=').unwrap().1).await.unwrap();
    }

    /// Signs in with the hidden fields of the sign-in page. Returns the cookie and the page that follows.
    async fn sign_in_again(&self, site: &Site, ended: &Page) -> (String, Page) {
        let document = Document::read(&ended.text);
        let form = document.submissions().into_iter().find(|form| form.is_post).expect("the sign-in form");
        let key = site.key(self.form.visitor);
        let fill = |field: &super::html::Field| {
            let value = if field.name == "key" { key.to_owned() } else { field.value.clone() };
            (field.name.clone(), value)
        };
        let fields: Vec<_> = form.fields.iter().map(fill).collect();
        let signed_in = send(self.world, "", &form, &fields).await;
        assert_eq!(signed_in.status, StatusCode::SEE_OTHER, "{}", signed_in.text);
        let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
        let shown = land(self.world, &cookie, &signed_in).await;
        (cookie, shown)
    }

    /// A form that was processed or clearly refused.
    fn is_clear(&self, page: &Page, when: &str) {
        let clear = !page.status.is_server_error() && page.text.contains("<h1");
        assert!(clear, "{} {when}: {}\n{}", self.name(), page.status, page.text);
    }

    /// A form with stored values replaces them, so it must name the version that it replaces.
    fn is_versioned_if_it_edits(&self, submission: &Submission) {
        let stored = submission.fields.iter().find(|field| {
            field.kind == Kind::Text && !field.value.is_empty() && !SUGGESTED.contains(&field.name.as_str())
        });
        if let Some(field) = stored.filter(|_| !self.entry.last_wins) {
            let hint =
                "a form that edits an object needs its version in a hidden field, so that an old copy is refused";
            assert!(has_version(submission), "{}: {} is filled in: {hint}", self.name(), field.name);
        }
    }

    fn ends_the_session(&self) -> bool {
        self.form.key.route == SIGN_OUT
    }
}

fn has_version(submission: &Submission) -> bool {
    submission.fields.iter().any(|field| field.name == "version" && !field.value.is_empty())
}

/// Whether a form is the answer to a question.
fn is_confirmation(submission: &Submission) -> bool {
    submission.fields.iter().any(|field| field.name == "confirmed")
}

/// Finds a form on a site.
async fn locate(world: &World, form: &Found, site: &Site, cookie: &str) -> Option<Submission> {
    let page = match &form.from {
        From::Page(template) => get(world, cookie, &site.address(template)).await,
        From::Answer(parent) => {
            let submission = Box::pin(locate(world, parent, site, cookie)).await?;
            let fields = entry_of(&parent.key).fill(&submission, site.tenant());
            let answer = send(world, cookie, &submission, &fields).await;
            land(world, cookie, &answer).await
        }
    };
    let all = Document::read(&page.text).submissions();
    all.into_iter().find(|found| found.is_post && Key::of(found) == form.key)
}

async fn send(world: &World, cookie: &str, submission: &Submission, fields: &[(String, String)]) -> Page {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    send_form(world, cookie, &submission.action, &fields).await
}

/// The page that an answer redirects to, or the answer itself.
async fn land(world: &World, cookie: &str, answer: &Page) -> Page {
    let mut page = Page { status: answer.status, headers: answer.headers.clone(), text: answer.text.clone() };
    for _ in 0..3 {
        if !page.status.is_redirection() {
            break;
        }
        page = get(world, cookie, page.header("location")).await;
    }
    page
}
