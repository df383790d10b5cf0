//! Secrets that are shown once, and public keys.

use maud::{Markup, html};

use crate::language::{Text, t};

/// A secret or key that was just created.
pub(crate) struct NewSecret<'a> {
    /// The id of the element with the value, for tests and scripts.
    pub(crate) id: &'a str,
    pub(crate) title: Text,
    /// What to do with the value.
    pub(crate) instruction: Text,
    pub(crate) value: &'a str,
}

impl NewSecret<'_> {
    /// The secret of a webhook.
    pub(crate) fn of_webhook(value: &str) -> NewSecret<'_> {
        let instruction = t!("Store it now where your receiver can read it.");
        NewSecret { id: "secret", title: t!("Your secret"), instruction, value }
    }

    pub(crate) fn show(&self) -> Markup {
        html! {
            section.panel.secret aria-labelledby={ (self.id) "-title" } {
                h2 id={ (self.id) "-title" } { (self.title) }
                p {
                    strong { (self.instruction) }
                    " " (t!("This page shows it for 15 minutes while you are signed in. After that it cannot be shown again."))
                }
                (copyable(self.id, self.value))
            }
        }
    }
}

/// A public key.
pub(crate) fn public_key(key: &str) -> Markup {
    html! {
        section.panel.secret aria-labelledby="public-key-title" {
            h2 #public-key-title { (t!("Public key")) }
            p { (t!("Verify deliveries with it. It is not secret, and the {webhook}'s page always shows it.")) }
            (copyable("public-key", key))
        }
    }
}

fn copyable(id: &str, value: &str) -> Markup {
    html! { div.copyable {
        output.secret-value id=(id) { (value) }
        button type="button" hidden data-copy { (t!("Copy")) }
    } }
}
