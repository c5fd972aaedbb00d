//! Tests that a page names as what shows a feature: a file and a function, each in backquotes, in the last
//! cell of a row.

/// A test that is named.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    line: usize,
    file: String,
    test: String,
}

/// The tests that a page names. A row without one says so by a dash.
pub(crate) fn named(page: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut within = false;
    for (line, text) in (1..).zip(page.lines()) {
        let mut cells = text.trim_matches('|').split('|').map(str::trim);
        let Some(last) = cells.next_back().filter(|_| text.starts_with('|')) else {
            within = false;
            continue;
        };
        if last == "shown by" {
            within = true;
        } else if within && !last.starts_with("---") && last != "\u{2013}" {
            let mut parts = last.split('`').skip(1).step_by(2).map(str::to_owned);
            let (file, test) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            found.push(Named { line, file, test });
        }
    }
    found
}

/// What is wrong with a test that is named; none: it exists.
pub(crate) fn missing(named: &Named) -> Option<String> {
    let Named { line, file, test } = named;
    let text = std::fs::read_to_string(crate::root().join(file)).unwrap_or_default();
    (!has_test(&text, test)).then(|| format!("line {line}: `{file}` `{test}`"))
}

/// Whether a file has a test of that name: a function right below an attribute of a test.
fn has_test(text: &str, test: &str) -> bool {
    let (plain, of_task) = (format!("fn {test}()"), format!("async fn {test}()"));
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("fn ") || line.starts_with("async fn ") {
            if is_test && (line.starts_with(&plain) || line.starts_with(&of_task)) {
                return true;
            }
            is_test = false;
        }
    }
    false
}

#[test]
fn a_test_that_does_not_exist_is_found() {
    let page = "| a | shown by |\n|---|---|\n| x | `f.rs` `is_there` |\n| y | \u{2013} |\n| z | no test |\n\n| b | c |\n|---|---|\n| `x` | `y` |";
    let found = named(page);
    let of = |line, file: &str, test: &str| Named { line, file: file.into(), test: test.into() };
    assert_eq!(found, [of(3, "f.rs", "is_there"), of(5, "", "")]);
    assert!(missing(&found[0]).is_some() && missing(&found[1]).is_some());
    let text = "#[test]\nfn is_there() {}\nfn helper() {}\n#[tokio::test(flavor = \"x\")]\n#[expect(y)]\nasync fn so_is_this() {}";
    assert!(has_test(text, "is_there") && has_test(text, "so_is_this"));
    assert!(!has_test(text, "helper") && !has_test(text, "is_the") && !has_test(text, ""));
}
