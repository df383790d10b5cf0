//! All forms: a crawl finds every form of the dashboard, as a customer and as an operator, and each is sent in every way in which
//! visitors send forms. A new form is found by itself; its values are in `table`.

mod check;
mod crawl;
mod html;
mod site;
mod table;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::http::StatusCode;
use bytes::Bytes;
use postrider_broker::Queue;
use postrider_wire::bundle::Member;
use postrider_wire::testing;
use tokio_util::sync::CancellationToken;

use self::check::Check;
use self::crawl::{Crawl, Found, From, Key};
use self::html::Document;
pub(crate) use self::site::held_key;
use self::site::{Site, Visitor};
use self::table::entry_of;
use crate::harness::World;
use crate::pages::{handlers, post};

/// Forms of visitors without a session. They are not processed once, because only the sessions that they open make a difference;
/// `portal.rs` checks links.
const WITHOUT_SESSION: [&str; 1] = ["/dashboard/sign-in"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_acts_once_and_survives_reload_back_tabs_and_sign_out() {
    let world = crate::world("all_forms").await;
    let stop = CancellationToken::new();
    let tests = dispatcher(&world, &stop);
    let mut found = Vec::new();
    for (profile, visitor) in
        [("standard", Visitor::Customer), ("mumara", Visitor::Customer), ("standard", Visitor::Operator)]
    {
        let site = Site::new(&world, profile).await;
        let pages = Crawl::new(&world, &site, visitor, profile).await.run(&mut found).await;
        assert!(pages > 30, "{visitor:?} of {profile} saw only {pages} pages");
    }
    let mut checked = 0;
    while let Some(form) = found.get(checked).cloned() {
        let page = Box::pin(Check::new(&world, &form, &tests).run()).await;
        checked += 1;
        note_answer(&form, &page.text, &mut found);
    }
    assert_every_route_is_covered(&found);
    stop.cancel();
}

/// Adds the forms of the page that a form led to, such as the question before a change.
fn note_answer(form: &Found, text: &str, found: &mut Vec<Found>) {
    for submission in Document::read(text).submissions().iter().filter(|submission| submission.is_post) {
        let key = Key::of(submission);
        if WITHOUT_SESSION.contains(&key.route.as_str()) || entry_of(&key).is_empty_list(submission) {
            continue;
        }
        if found.iter().all(|known| known.key != key) {
            let from = From::Answer(Box::new(form.clone()));
            found.push(Found { key, visitor: form.visitor, profile: form.profile, from });
        }
    }
}

fn assert_every_route_is_covered(found: &[Found]) {
    let covered: BTreeSet<&str> = found.iter().map(|form| form.key.route.as_str()).chain(WITHOUT_SESSION).collect();
    let routes = handlers();
    let takes_forms = routes.iter().filter(|(_, handlers)| handlers.contains("post("));
    let missed: Vec<&String> =
        takes_forms.map(|(route, _)| route).filter(|route| !covered.contains(route.as_str())).collect();
    assert!(
        missed.is_empty(),
        "no page that was found has a form for {missed:?}: give Site::new in tests/it/all_forms/site.rs the object whose page has it"
    );
}

/// Answers test calls in place of a dispatcher, and counts them.
fn dispatcher(world: &World, stop: &CancellationToken) -> Arc<AtomicI64> {
    let tests = Arc::new(AtomicI64::new(0));
    let (broker, stop, counted) = (world.broker.clone(), stop.clone(), Arc::clone(&tests));
    tokio::spawn(async move {
        let answer = move |request: Member| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { answered(&request) }
        };
        broker.serve_rpc(Queue::RpcTest, 4, answer, stop).await;
    });
    tests
}

/// The report of a test that the endpoint answered with 200.
fn answered(request: &Member) -> Option<Member> {
    Member::new(&testing::tested(request.head().ok()?, 200), Bytes::new()).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_double_click_on_sign_in_signs_in() {
    let world = crate::world("all_forms_sign_in").await;
    let tenant = world.tenant("standard").await;
    let form = [("key", tenant.key.as_str()), ("next", "/dashboard")];
    let (one, two) =
        tokio::join!(post(&world, "", "/dashboard/sign-in", &form), post(&world, "", "/dashboard/sign-in", &form));
    for page in [one, two] {
        assert_eq!((page.status, page.header("location")), (StatusCode::SEE_OTHER, "/dashboard"));
    }
}
