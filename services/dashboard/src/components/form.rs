//! A form: its values, its labelled fields with hints and errors, and the summary of errors above the fields.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, Render, html};
use postrider_http::problem::Problem;
use postrider_operations::{Error, FieldError};

use crate::failure::Answer;
use crate::fields::Fields;
use crate::format::local;
use crate::language::{english, t};
use crate::texts::field_label;

/// The values of a form, and the error if the form was refused.
#[derive(Default)]
pub(crate) struct Form {
    pub(crate) fields: Fields,
    error: Option<Error>,
}

impl From<Fields> for Form {
    fn from(fields: Fields) -> Self {
        Self { fields, error: None }
    }
}

impl Form {
    /// A refused form, to be shown again with its error. An error that the visitor cannot correct becomes an error page.
    pub(crate) fn refused(fields: Fields, error: Error) -> Answer<Self> {
        match error {
            Error::Invalid(_) | Error::Conflict(_) | Error::VersionMismatch { .. } => {
                Ok(Self { fields, error: Some(error) })
            }
            other => Err(other.into()),
        }
    }

    /// Sets a field, unless the visitor has filled it in.
    #[must_use]
    pub(crate) fn filled(self, name: &str, value: &str) -> Self {
        if !self.get(name).is_empty() {
            return self;
        }
        let fields = Fields::read(self.fields.without(&[name]).as_bytes()).with(name, value);
        Self { fields, ..self }
    }

    /// The page of the form, with the status of its error.
    pub(crate) fn answer(&self, page: Markup) -> Response {
        (self.status(), page).into_response()
    }

    /// The status code of the form's error; 200 if it has no error.
    pub(crate) fn status(&self) -> StatusCode {
        self.error.as_ref().map_or(StatusCode::OK, |error| Problem::from(error.clone()).status_code())
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.error.is_some()
    }

    /// The value of a field, trimmed.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.fields.get(name)
    }

    /// The errors at a pointer such as `/url`. An error at a longer pointer, such as `/headers/X-A`, begins with the rest of its
    /// pointer: `X-A: …`.
    pub(crate) fn errors_at(&self, pointer: &str) -> Vec<String> {
        let details = self.errors().iter().filter_map(|error| {
            let rest = error.pointer.strip_prefix(pointer)?;
            match rest.strip_prefix('/') {
                Some(rest) => Some(format!("{}: {}", rest.replace("~1", "/").replace("~0", "~"), error.detail)),
                None => rest.is_empty().then(|| error.detail.clone()),
            }
        });
        details.collect()
    }

    /// A field whose id, name and pointer are the same.
    pub(crate) fn field<'a>(&'a self, id: &'a str, label: impl Into<Cow<'a, str>>) -> Field<'a> {
        self.field_at(&format!("/{id}"), id, label)
    }

    /// A field that shows the errors at `pointer`.
    pub(crate) fn field_at<'a>(&'a self, pointer: &str, id: &'a str, label: impl Into<Cow<'a, str>>) -> Field<'a> {
        let (errors, label) = (self.errors_at(pointer), label.into());
        Field { form: self, id, name: id, label, hint: html! {}, errors, wide: false, code: false }
    }

    /// A checkbox, with the text to its right.
    pub(crate) fn checkbox(&self, name: &str, text: impl Render) -> Markup {
        html! { label.check for={ "f-" (name) } {
            input id={ "f-" (name) } type="checkbox" name=(name) value="yes" checked[self.fields.is_checked(name)]; " " (text)
        } }
    }

    fn errors(&self) -> &[FieldError] {
        match &self.error {
            Some(Error::Invalid(fields)) => fields,
            _ => &[],
        }
    }

    /// The list of all errors, with links to the fields. The browser focuses this list.
    pub(crate) fn summary(&self) -> Markup {
        html! { @if let Some(error) = &self.error {
            div.problem role="alert" tabindex="-1" #problem autofocus {
                @match error {
                    Error::Invalid(fields) => {
                        p { strong { (t!("Fix the following:")) } }
                        ul { @for field in fields { li { (linked(field)) } } }
                    }
                    Error::VersionMismatch { .. } => p {
                        strong { (t!("Error:")) } " "
                        (t!("This changed since you opened it. Open it again in another tab, compare, and save there."))
                    },
                    other => p { strong { (t!("Error:")) } " " (english(other.to_string())) },
                }
            }
        } }
    }

    /// The title of the form's page.
    pub(crate) fn title(&self, title: &str) -> String {
        if self.is_refused() { t!("Error: {title}", title = title).into_owned() } else { title.to_owned() }
    }
}

fn linked(error: &FieldError) -> Markup {
    let id = field_id(&error.pointer);
    html! {
        @if !id.is_empty() { a href={ "#f-" (id) } { (field_label(id)) } ": " }
        (english(&error.detail))
    }
}

/// The id of the field that a pointer names.
fn field_id(pointer: &str) -> &str {
    let pointer = pointer.trim_start_matches('/');
    let groups = ["pushover/", "chat/", "telegram/", "email/", "limits/"];
    let id = groups.into_iter().find_map(|group| pointer.strip_prefix(group)).unwrap_or(pointer);
    id.split('/').next().unwrap_or_default()
}

/// A labelled field. `f-{id}` is the id of its input.
pub(crate) struct Field<'a> {
    form: &'a Form,
    id: &'a str,
    name: &'a str,
    label: Cow<'a, str>,
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

    /// Makes the field as wide as the form.
    pub(crate) fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    /// Turns off the spell checker, for text that is not prose.
    pub(crate) fn code(self) -> Self {
        Self { code: true, ..self }
    }

    /// A line of text.
    pub(crate) fn text(self) -> Markup {
        self.input("text", None, None)
    }

    /// A line of text that must not be empty.
    pub(crate) fn required(self) -> Markup {
        self.input("text", None, Some(""))
    }

    /// A number. It is a text field, so that the server receives a wrong number and can say what is wrong.
    pub(crate) fn number(self) -> Markup {
        self.input("text", Some("decimal"), None)
    }

    /// A date and time in UTC.
    pub(crate) fn time(self) -> Markup {
        self.input("datetime-local", None, None)
    }

    /// A URL that must not be empty.
    pub(crate) fn url(self) -> Markup {
        self.input("url", None, Some("https://example.com/webhooks"))
    }

    /// Several lines of text.
    pub(crate) fn area(self, rows: u8) -> Markup {
        self.labelled(&html! {
            textarea.wide.code[self.code] id={ "f-" (self.id) } name=(self.name) rows=(rows) spellcheck=[self.spellcheck()]
                aria-describedby=[self.described_by()] aria-invalid=[self.invalid()] { (self.form.fields.lines(self.name)) }
        })
    }

    /// A choice of values, each with its label.
    pub(crate) fn choice<'b>(self, values: impl IntoIterator<Item = (&'b str, impl AsRef<str>)>) -> Markup {
        let options = options(self.form.get(self.name), values);
        self.select(options)
    }

    pub(crate) fn select(self, options: Markup) -> Markup {
        self.labelled(&html! {
            select id={ "f-" (self.id) } name=(self.name)
                aria-describedby=[self.described_by()] aria-invalid=[self.invalid()] { (options) }
        })
    }

    /// An input. If `required` is set, the input must not be empty, and `required` is its placeholder.
    fn input(self, kind: &str, mode: Option<&str>, required: Option<&str>) -> Markup {
        let placeholder = required.filter(|text| !text.is_empty());
        let chars_max = (required == Some("")).then_some("200");
        let value = self.form.get(self.name);
        let value = if kind == "datetime-local" { local(value) } else { value.to_owned() };
        self.labelled(&html! {
            input.wide[self.wide] id={ "f-" (self.id) } type=(kind) inputmode=[mode] name=(self.name)
                value=(value) required[required.is_some()] maxlength=[chars_max] placeholder=[placeholder]
                autocomplete="off" spellcheck=[self.spellcheck()]
                aria-describedby=[self.described_by()] aria-invalid=[self.invalid()];
        })
    }

    fn labelled(&self, input: &Markup) -> Markup {
        html! { div.field {
            label for={ "f-" (self.id) } { (self.label) }
            @if !self.hint.0.is_empty() { p.hint id={ "f-" (self.id) "-hint" } { (self.hint) } }
            (field_errors(self.id, &self.errors))
            (input)
        } }
    }

    /// The ids of the hint and of the errors, separated by a space.
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

pub(crate) fn field_errors(id: &str, errors: &[String]) -> Markup {
    html! { @if !errors.is_empty() { p.error id={ "f-" (id) "-error" } { @for error in errors { (english(error)) " " } } } }
}

/// The options of a `select`: each value and its label.
pub(crate) fn options<'a>(chosen: &str, values: impl IntoIterator<Item = (&'a str, impl AsRef<str>)>) -> Markup {
    html! { @for (value, label) in values { option value=(value) selected[value == chosen] { (label.as_ref()) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_at_its_field_with_the_rest_of_its_pointer() {
        let errors = [("/url", "only https"), ("/headers/X~1Y", "not a header name"), ("/url_other", "x")];
        let error = Error::Invalid(errors.map(|(pointer, detail)| FieldError::new(pointer, detail)).to_vec());
        let form = Form::refused(Fields::default(), error).unwrap();
        assert_eq!(form.errors_at("/url"), ["only https"]);
        assert_eq!(form.errors_at("/headers"), ["X/Y: not a header name"]);
        assert!(Form::default().errors_at("/url").is_empty());
    }
}
