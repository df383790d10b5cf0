//! docs/guarantees.md names tests that there are.

use std::path::Path;

#[test]
fn every_promise_of_the_page_names_a_test_that_there_is() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("it");
    let page = std::fs::read_to_string(tests.join("../../docs/guarantees.md")).expect("the page");
    let named: Vec<(&str, &str)> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|name| name.rsplit_once("::"))
        .filter(|(_, test)| *test != "…" && *test != "check_headers")
        .collect();
    assert!(named.len() > 60, "{} tests are named", named.len());
    let missing = named.iter().filter(|(file, test)| {
        let file = file.replace("::", "/");
        let places = [tests.join(format!("{file}.rs")), tests.join(&file).join("mod.rs")];
        let text = places.iter().find_map(|place| std::fs::read_to_string(place).ok()).unwrap_or_default();
        !text.contains(&format!("async fn {test}("))
    });
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&(&str, &str)>::new());
}
