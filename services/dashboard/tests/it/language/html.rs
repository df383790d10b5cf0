//! Reads the texts of a page that a visitor sees or hears.

/// Elements without an end tag.
const VOID: [&str; 8] = ["br", "col", "hr", "img", "input", "link", "meta", "wbr"];
/// Elements whose text is data: addresses, payloads, keys, times, and what a visitor typed.
const DATA: [&str; 6] = ["code", "kbd", "output", "pre", "textarea", "time"];
/// Lists of choices whose labels are data: the sounds of Pushover, and the names of actions and statuses in the API.
const DATA_CHOICES: [&str; 2] = ["f-sound", "q-action"];
/// Attributes with a text for visitors.
const ATTRIBUTES: [&str; 9] =
    ["aria-label", "title", "placeholder", "alt", "data-label", "data-copy-url", "data-busy", "data-values", "label"];

/// The texts of a page, each with the element around it. Parts that are English by intention (`lang="en"`)
/// and names and values of the API (`translate="no"`) are left out.
pub(super) fn texts(html: &str) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    // The open elements, and whether their text is left out.
    let mut open: Vec<(String, bool)> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let (text, tag) = rest.split_at(at);
        let is_left_out = open.last().is_some_and(|(_, left_out)| *left_out);
        if !is_left_out && !text.trim().is_empty() {
            texts.push((open.last().map(|(name, _)| name.clone()).unwrap_or_default(), unescaped(text)));
        }
        // Maud escapes `<` and `>` in texts, but only quotes in attributes.
        let end = end_of(tag);
        let inside = &tag[1..end];
        rest = &tag[end + 1..];
        if let Some(name) = inside.strip_prefix('/') {
            assert_eq!(open.pop().map(|(open, _)| open).as_deref(), Some(name), "end tags match start tags");
            continue;
        }
        if inside.starts_with('!') {
            continue;
        }
        let name = inside.split(|c: char| c.is_whitespace()).next().unwrap().to_owned();
        let is = |name, value| attribute(inside, name).as_deref() == Some(value);
        let is_data = is("lang", "en") || is("translate", "no") || DATA.contains(&name.as_str());
        let is_choice = attribute(inside, "id").is_some_and(|id| DATA_CHOICES.contains(&id.as_str()));
        let left_out = is_left_out || is_data || is_choice;
        // The value of a cell may be data, but its label is a text.
        let of_attributes = ATTRIBUTES.into_iter().filter(|_| !is_left_out && !is("lang", "en"));
        texts.extend(of_attributes.filter_map(|of| Some((format!("{name} {of}"), attribute(inside, of)?))));
        if !VOID.contains(&name.as_str()) {
            open.push((name, left_out));
        }
    }
    texts
}

/// The position of the `>` that ends a tag.
fn end_of(tag: &str) -> usize {
    let mut quoted = false;
    let ends = |(_, c): &(usize, char)| {
        quoted ^= *c == '"';
        *c == '>' && !quoted
    };
    tag.char_indices().find(ends).expect("a tag ends").0
}

/// The value of an attribute of a start tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(unescaped(rest.split('"').next().unwrap()))
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

#[test]
fn the_texts_of_a_page_are_found() {
    let html = "<!DOCTYPE html><html lang=\"qps\"><body><a title=\"T &lt; >\">A &amp; B</a> <code>c</code>\
                <span lang=\"en\">d<b>e</b></span>f<br><select id=\"f-sound\"><option>g</option></select></body></html>";
    let expected = [("a title", "T < >"), ("a", "A & B"), ("body", "f")];
    let expected = expected.map(|(place, text)| (place.to_owned(), text.to_owned()));
    assert_eq!(texts(html), expected);
}
