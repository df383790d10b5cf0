//! The links and forms of a page, as a browser reads them.

use std::collections::BTreeMap;

use html5gum::{Token, Tokenizer};

/// A field of a form, with the value that the page gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Hidden,
    /// A text field, in one line or several.
    Text,
    /// A checkbox or a radio button.
    Box {
        checked: bool,
    },
    Select,
}

/// A button that sends a form.
#[derive(Debug, Clone, Default)]
struct Button {
    name: String,
    value: String,
    /// Replaces the form's method and action.
    method: Option<String>,
    action: Option<String>,
}

/// A form as one of its buttons sends it.
#[derive(Debug, Clone)]
pub(super) struct Submission {
    pub(super) is_post: bool,
    /// The address to which the form is sent, with its query.
    pub(super) action: String,
    pub(super) fields: Vec<Field>,
    /// The name and the value of the button; empty if the button sends no field.
    pub(super) button: (String, String),
}

/// What a page contains.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) links: Vec<String>,
    forms: Vec<Form>,
    /// Fields and buttons outside of their form, with the form's id.
    fields: Vec<(String, Field)>,
    buttons: Vec<(String, Button)>,
}

#[derive(Debug, Default)]
struct Form {
    id: String,
    method: String,
    action: String,
    fields: Vec<Field>,
    buttons: Vec<Button>,
}

type Attributes = BTreeMap<String, String>;

impl Document {
    pub(super) fn read(text: &str) -> Self {
        let mut reader = Reader::default();
        for Ok(token) in Tokenizer::new(text) {
            match token {
                Token::StartTag(tag) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let attributes = tag.attributes.iter().map(|(name, value)| (text(name), text(value))).collect();
                    reader.start(&text(&tag.name), &attributes);
                }
                Token::EndTag(tag) => reader.end(&String::from_utf8_lossy(&tag.name)),
                Token::String(text) => reader.text(&String::from_utf8_lossy(&text)),
                _ => {}
            }
        }
        reader.document
    }

    /// Every way to send a form of the page, except those that only close a dialog.
    pub(super) fn submissions(&self) -> Vec<Submission> {
        let mut found = Vec::new();
        for form in &self.forms {
            let of_form = |id: &String| !id.is_empty() && *id == form.id;
            let outside = self.fields.iter().filter(|(id, _)| of_form(id)).map(|(_, field)| field);
            let fields: Vec<Field> = form.fields.iter().chain(outside).cloned().collect();
            let outside = self.buttons.iter().filter(|(id, _)| of_form(id)).map(|(_, button)| button);
            for button in form.buttons.iter().chain(outside) {
                let method = button.method.as_deref().unwrap_or(&form.method);
                if method != "dialog" {
                    found.push(Submission {
                        is_post: method.eq_ignore_ascii_case("post"),
                        action: button.action.clone().unwrap_or_else(|| form.action.clone()),
                        fields: fields.clone(),
                        button: (button.name.clone(), button.value.clone()),
                    });
                }
            }
        }
        found
    }

    /// Whether a form of the page shows this value in the field with this name.
    pub(super) fn shows(&self, name: &str, value: &str) -> bool {
        let all = self.forms.iter().flat_map(|form| &form.fields).chain(self.fields.iter().map(|(_, field)| field));
        all.filter(|field| field.name == name).any(|field| match field.kind {
            Kind::Box { checked } => checked && field.value == value,
            _ => field.value.trim().replace('\r', "") == value.trim().replace('\r', ""),
        })
    }
}

#[derive(Default)]
struct Reader {
    document: Document,
    in_form: bool,
    /// The `select` or `textarea` that is open, and the id of its form.
    open: Option<(String, Field)>,
    /// Whether an option of the open `select` was read.
    has_option: bool,
}

impl Reader {
    fn start(&mut self, tag: &str, attributes: &Attributes) {
        let get = |name: &str| attributes.get(name).cloned().unwrap_or_default();
        let field = |kind| Field { name: get("name"), value: get("value"), kind };
        match tag {
            "a" if attributes.contains_key("href") => self.document.links.push(get("href")),
            "form" => {
                let (id, method, action) = (get("id"), get("method"), get("action"));
                self.document.forms.push(Form { id, method, action, ..Form::default() });
                self.in_form = true;
            }
            "input" => match get("type").as_str() {
                "hidden" => self.add(get("form"), field(Kind::Hidden)),
                "checkbox" | "radio" => {
                    let kind = Kind::Box { checked: attributes.contains_key("checked") };
                    self.add(get("form"), field(kind));
                }
                "button" | "reset" => {}
                "submit" | "image" => self.add_button(attributes),
                _ => self.add(get("form"), field(Kind::Text)),
            },
            "button" if !["button", "reset"].contains(&get("type").as_str()) => self.add_button(attributes),
            "textarea" => self.open = Some((get("form"), Field { value: String::new(), ..field(Kind::Text) })),
            "select" => {
                self.open = Some((get("form"), Field { value: String::new(), ..field(Kind::Select) }));
                self.has_option = false;
            }
            "option" => {
                let first = !std::mem::replace(&mut self.has_option, true);
                if let Some((_, select)) = self.open.as_mut().filter(|_| first || attributes.contains_key("selected")) {
                    select.value = get("value");
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: &str) {
        match tag {
            "form" => self.in_form = false,
            "select" | "textarea" => {
                if let Some((form, field)) = self.open.take() {
                    self.add(form, field);
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some((_, field)) = self.open.as_mut().filter(|(_, field)| field.kind == Kind::Text) {
            field.value.push_str(text);
        }
    }

    /// Adds a field to the form with this id, or to the form around it. A field without a name is not sent.
    fn add(&mut self, form: String, field: Field) {
        if field.name.is_empty() {
            return;
        }
        match self.document.forms.last_mut().filter(|_| self.in_form && form.is_empty()) {
            Some(around) => around.fields.push(field),
            None => self.document.fields.push((form, field)),
        }
    }

    fn add_button(&mut self, attributes: &Attributes) {
        let get = |name: &str| attributes.get(name).cloned();
        let button = Button {
            name: get("name").unwrap_or_default(),
            value: get("value").unwrap_or_default(),
            method: get("formmethod"),
            action: get("formaction"),
        };
        match self.document.forms.last_mut().filter(|_| self.in_form && !attributes.contains_key("form")) {
            Some(around) => around.buttons.push(button),
            None => self.document.buttons.push((get("form").unwrap_or_default(), button)),
        }
    }
}

#[test]
fn a_form_has_its_fields_and_buttons_also_from_outside() {
    let page = Document::read(
        r#"<a href="/x?a=1&amp;b=2">x</a><form id="f" method="post" action="/to"><input type="hidden" name="h" value="&lt;">
        <select name="s"><option value="1"><option value="2" selected></select><textarea name="t">two
lines</textarea><button name="b" value="v"></button><button formmethod="dialog"></button></form>
        <input type="checkbox" form="f" name="c" value="9"><button form="f" formaction="/other"></button>"#,
    );
    assert_eq!(page.links, ["/x?a=1&b=2"]);
    let [one, two] = <[Submission; 2]>::try_from(page.submissions()).expect("two ways to send it");
    assert!(one.is_post && one.action == "/to" && one.button == ("b".to_owned(), "v".to_owned()));
    assert_eq!(two.action, "/other");
    let fields: Vec<_> = one.fields.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect();
    assert_eq!(fields, [("h", "<"), ("s", "2"), ("t", "two\nlines"), ("c", "9")]);
    assert!(page.shows("s", "2") && !page.shows("c", "9"));
}
