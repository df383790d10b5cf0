//! Reads the texts of pages from the source of the dashboard.

use std::collections::BTreeSet;
use std::path::Path;

/// The English texts in the macros `t!`, `tm!` and `key!` of the dashboard.
pub(super) fn texts() -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            // This file defines the macros, and its tests use texts that no page has.
            } else if path.extension().is_some_and(|is| is == "rs") && !path.ends_with("src/language.rs") {
                texts.extend(texts_of(&std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    texts
}

/// The texts of the scripts: the first argument of `translated('…')`, and sentences that are not such an argument.
pub(super) fn texts_of_scripts() -> (BTreeSet<String>, Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/assets");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (mut texts, mut unmarked) = (BTreeSet::new(), Vec::new());
    for script in files.filter(|path| path.extension().is_some_and(|is| is == "js")) {
        let source = std::fs::read_to_string(script).unwrap();
        for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let mut before = "";
            for (index, part) in line.split('\'').enumerate() {
                let is_sentence = part.starts_with(char::is_uppercase) && part.contains(' ');
                if index % 2 == 1 && before.ends_with("translated(") {
                    texts.insert(part.to_owned());
                } else if index % 2 == 1 && is_sentence {
                    unmarked.push(part.to_owned());
                }
                before = part;
            }
        }
    }
    (texts, unmarked)
}

/// The texts in the macros of a source file. Tests at its end are left out.
fn texts_of(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod ").next().unwrap();
    let mut texts = Vec::new();
    for (at, _) in source.match_indices("!(") {
        let before = &source[..at];
        let name = &before[before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1)..];
        if ["t", "tm", "key"].contains(&name) {
            let (literals, begins_with_one) = literals(&source[at + 2..]);
            // A number is followed by two texts. The arguments after the texts are values, which may contain texts in macros.
            texts.extend(literals.into_iter().take(if begins_with_one { 1 } else { 2 }));
        }
    }
    texts
}

/// The string literals among the arguments of a macro, without those in nested brackets, and whether the first argument is one.
fn literals(arguments: &str) -> (Vec<String>, bool) {
    let begins_with_one = arguments.trim_start().starts_with('"');
    let (mut literals, mut depth, mut chars) = (Vec::new(), 0_usize, arguments.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                let text = literal(&mut chars);
                if depth == 0 {
                    literals.push(text);
                }
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    (literals, begins_with_one)
}

/// Reads a string literal to its closing quote.
fn literal(chars: &mut std::str::Chars<'_>) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('u') => {
                    let code: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    text.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
                }
                other => text.extend(other),
            },
            other => text.push(other),
        }
    }
    text
}

#[test]
fn the_texts_of_a_source_file_are_found() {
    let source = r#"let a = t!("One {b}", b = t!("Two"));
x(tm!(n.len() as u64, "3\u{a0}s", "{count} \"4\"", l = html! { "5" }))
key!("Six") format!("7") not!("8")
#[cfg(test)]
mod tests { t!("9") }"#;
    assert_eq!(texts_of(source), ["One {b}", "Two", "3\u{a0}s", "{count} \"4\"", "Six"]);
}
