//! Sends requests and e-mail.

use std::time::Duration;

use bytes::Bytes;
use postrider_egress::{Egress, Headers, Request, Response};
use postrider_mail::{Mail, Mailer, Sent};
use postrider_model::attempt::Outcome;
use postrider_wire::messages::DeliveryTask;

use crate::endpoint::PreparedEndpoint;
use crate::endpoint::service::{Messenger, notification};

/// The clients of attempts.
pub(crate) struct Outbound {
    pub(crate) egress: Egress,
    /// `None` if the deployment has no SMTP server.
    pub(crate) mailer: Option<Mailer>,
}

impl Outbound {
    /// Sends the body of an attempt. The reply of an SMTP server becomes a response.
    pub(crate) async fn send(
        &self,
        endpoint: &PreparedEndpoint,
        task: &DeliveryTask,
        headers: Headers<'_>,
        body: Bytes,
    ) -> Response {
        let Some(recipients) = endpoint.messenger.as_ref().and_then(Messenger::recipients) else {
            let request = Request { url: &endpoint.target.url, headers, body, timeout: endpoint.timeout };
            return self.egress.send(request).await;
        };
        let Some(mailer) = &self.mailer else {
            return response(Sent {
                outcome: Outcome::ConnectFailed,
                code: None,
                said: String::new(),
                error: Some("e-mail is not enabled on this deployment".into()),
                retry_after: None,
                duration: Duration::ZERO,
            });
        };
        let notification = notification(&body, &task.delivery.event_type);
        let id = task.delivery.id.to_string();
        let sender = endpoint.profile.brand.name.as_deref();
        let mail = Mail { id: &id, recipients, sender, notification: &notification };
        response(mailer.send(task.delivery.tenant, &mail, endpoint.timeout).await)
    }
}

fn response(sent: Sent) -> Response {
    Response {
        outcome: sent.outcome,
        status_code: sent.code,
        headers: Vec::new(),
        excerpt: sent.said.into(),
        retry_after: sent.retry_after,
        first_byte: None,
        duration: sent.duration,
        incomplete: false,
        error: sent.error,
    }
}
