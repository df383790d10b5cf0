//! The parts of a form: labelled fields with hints and errors, and the summary of errors above them.

use maud::{Markup, Render, html};
use postrider_operations::{Error, FieldError};

use crate::format::attribute;

/// The error of an edit of an old version.
const OUT_OF_DATE: &str = "This changed since you opened it. Open it again in another tab, compare, and save there.";

/// The errors of a form, by field. A pointer such as `/url` names the field.
#[derive(Clone, Copy, Default)]
pub(crate) struct FormErrors<'a>(pub(crate) Option<&'a Error>);

impl<'a> FormErrors<'a> {
    /// The errors at a pointer. An error below it names its place.
    pub(crate) fn at(self, pointer: &str) -> Vec<String> {
        let details = self.fields().iter().filter_map(|error| {
            let inside = error.pointer.strip_prefix(pointer)?;
            match inside.strip_prefix('/') {
                Some(place) => Some(format!("{}: {}", place.replace("~1", "/").replace("~0", "~"), error.detail)),
                None => inside.is_empty().then(|| error.detail.clone()),
            }
        });
        details.collect()
    }

    /// A field whose id, name and pointer are the same.
    pub(crate) fn field(self, id: &'a str, label: &'a str) -> Field<'a> {
        self.field_at(&format!("/{id}"), id, label)
    }

    /// A field with the errors at another pointer.
    pub(crate) fn field_at(self, pointer: &str, id: &'a str, label: &'a str) -> Field<'a> {
        Field { id, name: id, label, hint: html! {}, errors: self.at(pointer), wide: false, code: false }
    }

    fn fields(self) -> &'a [FieldError] {
        match self.0 {
            Some(Error::Invalid(fields)) => fields,
            _ => &[],
        }
    }

    /// All errors, with links to the fields. The browser focuses it.
    pub(crate) fn summary(self) -> Markup {
        html! { @if let Some(error) = self.0 {
            div.problem role="alert" tabindex="-1" #problem autofocus {
                @match error {
                    Error::Invalid(fields) => {
                        p { strong { "Fix the following:" } }
                        ul { @for field in fields { li { (linked(field)) } } }
                    }
                    Error::VersionMismatch { .. } => p { strong { "Error: " } (OUT_OF_DATE) },
                    other => p { strong { "Error: " } (other) },
                }
            }
        } }
    }

    /// The title of the form's page.
    pub(crate) fn title(self, title: &str) -> String {
        if self.0.is_some() { format!("Error: {title}") } else { title.to_owned() }
    }
}

fn linked(error: &FieldError) -> Markup {
    let id = field_id(&error.pointer);
    html! { @if id.is_empty() { (error.detail) } @else { a href={ "#f-" (id) } { (attribute(id)) } ": " (error.detail) } }
}

/// The id of the field that a pointer names.
fn field_id(pointer: &str) -> &str {
    let pointer = pointer.trim_start_matches('/');
    let id = pointer.strip_prefix("pushover/").or_else(|| pointer.strip_prefix("limits/")).unwrap_or(pointer);
    id.split('/').next().unwrap_or_default()
}

/// A labelled field. `f-{id}` is the id of its input.
pub(crate) struct Field<'a> {
    id: &'a str,
    name: &'a str,
    label: &'a str,
    hint: Markup,
    errors: Vec<String>,
    wide: bool,
    code: bool,
}

impl<'a> Field<'a> {
    pub(crate) fn hint(self, hint: impl Render) -> Self {
        Self { hint: hint.render(), ..self }
    }

    /// Sends the field under another name.
    pub(crate) fn named(self, name: &'a str) -> Self {
        Self { name, ..self }
    }

    /// As wide as the form.
    pub(crate) fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    /// For text that is not prose: no spell checker.
    pub(crate) fn code(self) -> Self {
        Self { code: true, ..self }
    }

    pub(crate) fn text(self, value: &str) -> Markup {
        self.input("text", value)
    }

    /// A text that must not be empty.
    pub(crate) fn required(self, value: &str) -> Markup {
        self.labelled(&html! {
            input.wide[self.wide] id={ "f-" (self.id) } type="text" name=(self.name) value=(value) required maxlength="200"
                autocomplete="off" aria-describedby=[self.described_by()] aria-invalid=[self.invalid()];
        })
    }

    /// A number. It is a text field, so that the form can say what is wrong with it.
    pub(crate) fn number(self, value: &str) -> Markup {
        self.labelled(&html! {
            input id={ "f-" (self.id) } type="text" inputmode="decimal" name=(self.name) value=(value)
                autocomplete="off" aria-describedby=[self.described_by()] aria-invalid=[self.invalid()];
        })
    }

    /// A date and time in UTC.
    pub(crate) fn time(self, value: &str) -> Markup {
        self.input("datetime-local", value)
    }

    pub(crate) fn url(self, value: &str) -> Markup {
        self.labelled(&html! {
            input.wide[self.wide] id={ "f-" (self.id) } type="url" name=(self.name) value=(value) required
                placeholder="https://example.com/webhooks" autocomplete="off"
                aria-describedby=[self.described_by()] aria-invalid=[self.invalid()];
        })
    }

    pub(crate) fn area(self, rows: u8, value: &str) -> Markup {
        self.labelled(&html! {
            textarea.wide.code[self.code] id={ "f-" (self.id) } name=(self.name) rows=(rows) spellcheck=[self.spellcheck()]
                aria-describedby=[self.described_by()] aria-invalid=[self.invalid()] { (value) }
        })
    }

    pub(crate) fn select(self, options: Markup) -> Markup {
        self.labelled(&html! {
            select id={ "f-" (self.id) } name=(self.name)
                aria-describedby=[self.described_by()] aria-invalid=[self.invalid()] { (options) }
        })
    }

    fn input(self, kind: &str, value: &str) -> Markup {
        self.labelled(&html! {
            input.wide[self.wide] id={ "f-" (self.id) } type=(kind) name=(self.name) value=(value)
                autocomplete="off" spellcheck=[self.spellcheck()]
                aria-describedby=[self.described_by()] aria-invalid=[self.invalid()];
        })
    }

    fn labelled(&self, input: &Markup) -> Markup {
        html! { div.field {
            label for={ "f-" (self.id) } { (self.label) }
            @if !self.hint.0.is_empty() { p.hint id={ "f-" (self.id) "-hint" } { (self.hint) } }
            (errors(self.id, &self.errors))
            (input)
        } }
    }

    /// The ids of the hint and of the errors.
    fn described_by(&self) -> Option<String> {
        let hint = (!self.hint.0.is_empty()).then(|| format!("f-{}-hint", self.id));
        let errors = (!self.errors.is_empty()).then(|| format!("f-{}-error", self.id));
        let ids: Vec<String> = hint.into_iter().chain(errors).collect();
        (!ids.is_empty()).then(|| ids.join(" "))
    }

    fn invalid(&self) -> Option<&'static str> {
        (!self.errors.is_empty()).then_some("true")
    }

    fn spellcheck(&self) -> Option<&'static str> {
        self.code.then_some("false")
    }
}

/// The errors of a field.
pub(crate) fn errors(id: &str, errors: &[String]) -> Markup {
    html! { @if !errors.is_empty() { p.error id={ "f-" (id) "-error" } { @for error in errors { (error) " " } } } }
}

/// An option of a `select`.
pub(crate) fn option(value: &str, chosen: &str, label: impl Render) -> Markup {
    html! { option value=(value) selected[value == chosen] { (label) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::field_error;

    #[test]
    fn an_error_is_shown_at_its_field_with_its_place() {
        let error = Error::Invalid(vec![
            field_error("/url", "only https"),
            field_error("/headers/X~1Y", "not a header name"),
            field_error("/url_other", "x"),
        ]);
        let errors = FormErrors(Some(&error));
        assert_eq!(errors.at("/url"), ["only https"]);
        assert_eq!(errors.at("/headers"), ["X/Y: not a header name"]);
        assert!(FormErrors(None).at("/url").is_empty());
    }
}
