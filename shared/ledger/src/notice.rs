//! Decides whether a notice about the state of an endpoint is sent, and writes its text.

use bytes::Bytes;
use postrider_model::attempt::Outcome;
use postrider_model::delivery::EndpointStatus;
use postrider_model::limits::NOTICE_WAITING_MAX;
use postrider_model::notice::NoticeState;
use postrider_model::time::UnixMillis;
use postrider_store::config::LastFailure;
use postrider_store::notices::DueNotice;
use serde::Serialize;

/// Returns the `data` of the notice's event; `None` if there is nothing to tell. `link` is the address of the endpoint's page, if
/// the deployment has a public URL.
pub fn data(due: &DueNotice, link: Option<String>) -> Option<Bytes> {
    if !is_sent(due) {
        return None;
    }
    let notice = Notice::new(due, link);
    serde_json::to_vec(&notice).ok().map(Bytes::from)
}

/// Whether the notice is sent: `notify` names the state, the addressee can get it, and the endpoint is still in the state.
fn is_sent(due: &DueNotice) -> bool {
    let Some(notify) = &due.notify else { return false };
    let wanted = notify.on.contains(&due.state);
    let reachable = due.addressee.is_some_and(EndpointStatus::is_on) && !due.is_loop;
    wanted && reachable && holds(due, notify.on.contains(&NoticeState::Failing))
}

/// Whether the endpoint is still in the state. If failures cause notices, a recovery causes one only after a notice of the state that it
/// ends.
fn holds(due: &DueNotice, failures_cause_notices: bool) -> bool {
    match due.state {
        NoticeState::Failing => due.failing && due.status == EndpointStatus::Active,
        NoticeState::Disabled => due.status == EndpointStatus::Disabled,
        NoticeState::Paused => due.status == EndpointStatus::Paused,
        NoticeState::Recovered => {
            let is_news = due.last_notice.is_some_and(|told| told != NoticeState::Recovered) || !failures_cause_notices;
            is_news && !due.failing && due.status == EndpointStatus::Active
        }
    }
}

/// The `data` of a notice's event.
#[derive(Debug, Serialize)]
struct Notice<'a> {
    title: String,
    text: String,
    endpoint_id: String,
    name: &'a str,
    state: NoticeState,
    /// When the state began.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// When the first attempt of the series of failures started.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<String>,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl<'a> Notice<'a> {
    fn new(due: &'a DueNotice, link: Option<String>) -> Self {
        let since = match due.state {
            NoticeState::Failing => due.failing_since,
            NoticeState::Disabled | NoticeState::Paused => due.stopped_at,
            NoticeState::Recovered => due.recovered_at,
        };
        Self {
            title: title(due),
            text: text(due, since, link.as_deref()),
            endpoint_id: due.endpoint.to_string(),
            name: &due.name,
            state: due.state,
            since: since.map(UnixMillis::to_rfc3339_millis),
            failing_since: failing_since(due).map(UnixMillis::to_rfc3339_millis),
            failures: due.failures,
            last_error: last_error(due),
            reason: due.reason.as_deref(),
            waiting: due.waiting,
            url: link,
        }
    }
}

fn title(due: &DueNotice) -> String {
    let what = match due.state {
        NoticeState::Failing => "is failing",
        NoticeState::Disabled => "was switched off",
        NoticeState::Paused => "was paused",
        NoticeState::Recovered => "works again",
    };
    format!("{} {what}", due.name)
}

/// The sentences of the notice, one in each line.
fn text(due: &DueNotice, since: Option<UnixMillis>, link: Option<&str>) -> String {
    let at = |time: Option<UnixMillis>, word: &str| {
        time.map(|time| format!(" {word} {}", readable(time))).unwrap_or_default()
    };
    let mut lines = vec![match due.state {
        NoticeState::Failing => format!("{} attempts in a row have failed{}.", due.failures, at(since, "since")),
        NoticeState::Disabled => {
            format!("It gets no events until somebody switches it on. Switched off{}.", at(since, "at"))
        }
        NoticeState::Paused => format!("Its deliveries wait until somebody resumes it. Paused{}.", at(since, "at")),
        NoticeState::Recovered => format!("An attempt succeeded{}.", at(since, "at")),
    }];
    match (&due.reason, due.state) {
        (Some(reason), NoticeState::Disabled | NoticeState::Paused) => lines.push(format!("Reason: {reason}.")),
        (None, NoticeState::Paused) => lines.push("A person paused it.".to_owned()),
        _ => {}
    }
    if due.state == NoticeState::Recovered
        && let Some(from) = due.failing_since
    {
        lines.push(format!("It had failed since {}.", readable(from)));
    }
    if let Some(error) = last_error(due) {
        lines.push(format!("Last error: {error}."));
    }
    lines.extend(due.waiting.map(|waiting| match waiting {
        0 => "No deliveries wait.".to_owned(),
        1 => "1 delivery waits.".to_owned(),
        NOTICE_WAITING_MAX => format!("{NOTICE_WAITING_MAX} deliveries or more wait."),
        number => format!("{number} deliveries wait."),
    }));
    lines.extend(link.map(str::to_owned));
    lines.join("\n")
}

/// The start of the failures, if they are the reason of the state or have ended with it.
fn failing_since(due: &DueNotice) -> Option<UnixMillis> {
    due.failing_since.filter(|_| due.failures > 0 || due.state == NoticeState::Recovered)
}

/// The last failure in words, while the endpoint fails.
fn last_error(due: &DueNotice) -> Option<String> {
    let LastFailure { outcome, status_code, error, .. } = due.last_failure.as_ref().filter(|_| due.failures > 0)?;
    Some(match (outcome, status_code, error) {
        (Outcome::HttpStatus, Some(code), _) => format!("status {code}"),
        (_, _, Some(error)) => error.trim_end_matches('.').to_owned(),
        (outcome, ..) => outcome.as_str().replace('_', " "),
    })
}

fn readable(time: UnixMillis) -> String {
    time.to_rfc3339_seconds().replace('T', " ").replace('Z', " UTC")
}

#[cfg(test)]
mod tests {
    use NoticeState::{Disabled, Failing, Paused, Recovered};
    use postrider_model::ids::{EndpointId, TenantId};
    use postrider_model::notice::Notify;

    use super::*;

    fn failing() -> DueNotice {
        DueNotice {
            endpoint: EndpointId::generate(),
            tenant: TenantId::generate(),
            name: "hook".into(),
            notify: Some(Notify { endpoint: EndpointId::generate(), on: NoticeState::ALL.to_vec() }),
            state: Failing,
            last_notice: None,
            status: EndpointStatus::Active,
            reason: None,
            stopped_at: None,
            failing: true,
            failures: 5,
            failing_since: Some(UnixMillis(1_705_314_600_000)),
            recovered_at: None,
            last_failure: Some(LastFailure {
                at: UnixMillis(1_705_314_600_000),
                outcome: Outcome::HttpStatus,
                status_code: Some(503),
                error: None,
            }),
            addressee: Some(EndpointStatus::Active),
            is_loop: false,
            waiting: Some(7),
        }
    }

    fn recovered(last_notice: Option<NoticeState>) -> DueNotice {
        DueNotice { state: Recovered, last_notice, failing: false, failures: 0, ..failing() }
    }

    #[test]
    fn a_state_is_sent_while_it_holds() {
        assert!(is_sent(&failing()));
        assert!(!is_sent(&DueNotice { failing: false, ..failing() }), "it has recovered");
        assert!(!is_sent(&DueNotice { status: EndpointStatus::Disabled, ..failing() }), "another notice tells that");
        for (state, status) in [(Disabled, EndpointStatus::Disabled), (Paused, EndpointStatus::Paused)] {
            assert!(is_sent(&DueNotice { state, status, ..failing() }));
            assert!(!is_sent(&DueNotice { state, ..failing() }), "it is active again");
        }
        assert!(is_sent(&recovered(Some(Failing))) && is_sent(&recovered(Some(Paused))));
    }

    #[test]
    fn a_recovery_is_no_news_if_the_failure_was_not_told() {
        assert!(!is_sent(&recovered(Some(Recovered))) && !is_sent(&recovered(None)));
        let mut only_recoveries = recovered(Some(Recovered));
        only_recoveries.notify.as_mut().unwrap().on = vec![Recovered];
        assert!(is_sent(&only_recoveries));
        assert!(!is_sent(&DueNotice { failing: true, ..recovered(Some(Failing)) }), "it fails again");
    }

    #[test]
    fn nobody_is_sent_who_does_not_want_it_or_cannot_get_it() {
        let mut unwanted = failing();
        unwanted.notify.as_mut().unwrap().on = vec![Disabled, Paused];
        assert!(!is_sent(&unwanted));
        assert!(!is_sent(&DueNotice { notify: None, ..failing() }));
        assert!(!is_sent(&DueNotice { addressee: None, ..failing() }), "deleted");
        assert!(!is_sent(&DueNotice { addressee: Some(EndpointStatus::Disabled), ..failing() }));
        assert!(
            is_sent(&DueNotice { addressee: Some(EndpointStatus::Paused), ..failing() }),
            "it waits for the resume"
        );
        assert!(!is_sent(&DueNotice { is_loop: true, ..failing() }));
    }

    #[test]
    fn a_notice_says_what_since_when_how_many_wait_and_where() {
        let told = |due: &DueNotice, link: Option<&str>| -> serde_json::Value {
            serde_json::from_slice(&data(due, link.map(str::to_owned)).unwrap()).unwrap()
        };
        let due = failing();
        let notice = told(&due, Some("https://hooks.example.com/x"));
        assert_eq!(notice["title"], "hook is failing");
        assert_eq!(
            notice["text"],
            "5 attempts in a row have failed since 2024-01-15 10:30:00 UTC.\nLast error: status 503.\n7 deliveries \
             wait.\nhttps://hooks.example.com/x"
        );
        assert_eq!(notice["endpoint_id"], due.endpoint.to_string());
        assert_eq!(notice["state"], "failing");
        assert_eq!(notice["since"], "2024-01-15T10:30:00.000Z");
        assert_eq!((notice["failures"].as_u64(), notice["waiting"].as_u64()), (Some(5), Some(7)));
        let paused =
            DueNotice { state: Paused, status: EndpointStatus::Paused, failing: false, failures: 0, ..failing() };
        let text = told(&paused, None)["text"].as_str().unwrap().to_owned();
        assert_eq!(
            text,
            "Its deliveries wait until somebody resumes it. Paused.\nA person paused it.\n7 deliveries wait."
        );
        assert_eq!(told(&recovered(Some(Failing)), None)["failing_since"], "2024-01-15T10:30:00.000Z");
        let many = told(&DueNotice { waiting: Some(NOTICE_WAITING_MAX), ..failing() }, None)["text"].to_string();
        assert!(many.contains("10000 deliveries or more wait."), "{many}");
    }
}
