//! Builds messages: headers, a plain text, and the same as simple HTML.

use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use postrider_model::notification::Notification;

use crate::mailer::Mail;

/// Tells other programs not to answer (RFC 3834 section 5).
const AUTO_SUBMITTED: &str = "Auto-Submitted";

/// Builds the message of a delivery, or returns `None` if a recipient is not an address.
pub(crate) fn message(mail: &Mail<'_>, from: &Mailbox) -> Option<Message> {
    let sender = mail.sender.or(from.name.as_deref()).unwrap_or(from.email.as_ref());
    let sender: String = sender.chars().filter(|c| !c.is_control()).collect();
    let mut builder = Message::builder()
        .from(Mailbox::new(Some(sender.clone()), from.email.clone()))
        .subject(mail.notification.title.clone())
        .message_id(Some(format!("<{}@{}>", mail.id, from.email.domain())));
    for recipient in mail.recipients {
        builder = builder.to(Mailbox::new(None, recipient.parse().ok()?));
    }
    let auto = HeaderValue::new(HeaderName::new_from_ascii_str(AUTO_SUBMITTED), "auto-generated".to_owned());
    let body = MultiPart::alternative_plain_html(plain(mail.notification, &sender), html(mail.notification, &sender));
    builder.raw_header(auto).multipart(body).ok()
}

fn plain(notification: &Notification, sender: &str) -> String {
    let Notification { title, text, facts, time } = notification;
    let mut lines = vec![title.clone(), String::new()];
    lines.extend(text.lines().map(str::to_owned));
    lines.extend(facts.iter().map(|fact| format!("{}: {}", fact.name, fact.value)));
    lines.extend([time.clone(), String::new(), format!("Sent by {sender}")]);
    lines.join("\n")
}

fn html(notification: &Notification, sender: &str) -> String {
    let Notification { title, text, facts, time } = notification;
    let lines: Vec<String> = text.lines().map(escape).collect();
    let text = if lines.is_empty() { String::new() } else { format!("<p>{}</p>\n", lines.join("<br>\n")) };
    let row = |name: &str, value: &str| {
        format!("<tr><th align=\"left\">{}</th><td>{}</td></tr>\n", escape(name), escape(value))
    };
    let rows: String = facts.iter().map(|fact| row(&fact.name, &fact.value)).collect();
    let table = if rows.is_empty() { String::new() } else { format!("<table>\n{rows}</table>\n") };
    format!(
        "<!DOCTYPE html>\n<html><body>\n<h3>{}</h3>\n{text}{table}<p>{}</p>\n<p><small>Sent by {}</small></p>\n</body></html>\n",
        escape(title),
        escape(time),
        escape(sender)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use postrider_model::time::UnixMillis;

    use super::*;

    #[test]
    fn a_message_has_its_headers_and_no_text_adds_to_them() {
        let facts = [("note", "<b>x</b> & \"y\"")];
        let notification = Notification::new("Bounced\r\nBcc: evil@example.com", "one\ntwo", facts, UnixMillis(0));
        let recipients = ["a@example.com".to_owned(), "b@example.org".to_owned()];
        let mail = Mail {
            id: "dlv_1",
            recipients: &recipients,
            sender: Some("Acme\r\nX-Evil: 1"),
            notification: &notification,
        };
        let from: Mailbox = "Postrider <hooks@postrider.example>".parse().unwrap();
        let message = String::from_utf8(message(&mail, &from).unwrap().formatted()).unwrap();
        let (head, body) = message.split_once("\r\n\r\n").unwrap();
        let header = |name: &str| {
            let wanted = format!("{name}: ");
            let found: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix(&wanted)).collect();
            assert!(found.len() <= 1, "{head}");
            found.first().map(|value| (*value).to_owned())
        };
        assert_eq!(header("Message-ID").as_deref(), Some("<dlv_1@postrider.example>"));
        assert_eq!(header("Auto-Submitted").as_deref(), Some("auto-generated"));
        assert_eq!(header("To").as_deref(), Some("a@example.com, b@example.org"));
        assert_eq!(header("Subject").as_deref(), Some("Bounced Bcc: evil@example.com"));
        assert!(header("From").unwrap().ends_with("<hooks@postrider.example>") && header("Date").is_some(), "{head}");
        assert_eq!((header("Bcc"), header("X-Evil")), (None, None));
        // Quoted-printable breaks long lines.
        let body = body.replace("=\r\n", "");
        assert!(!body.contains("\nX-Evil"), "{body}");
        assert!(body.contains("Note: <b>x</b>") && body.contains("&lt;b&gt;x&lt;/b&gt; &amp; &quot;y&quot;"), "{body}");
    }
}
