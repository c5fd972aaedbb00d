//! No generated message can be printed: whatever it holds, now or after a change of the proto, it
//! has no way into a log, an error or a panic.

/// The code as it was generated.
const GENERATED: &[(&str, &str)] = &[
    ("bailiwick.v1", include_str!(concat!(env!("OUT_DIR"), "/bailiwick.v1.rs"))),
    ("bailiwick.internal.v1", include_str!(concat!(env!("OUT_DIR"), "/bailiwick.internal.v1.rs"))),
];

/// The items that are derived `Debug`, or have it by hand. Clients and servers are let through:
/// they hold a connection and no message.
fn printable(code: &str) -> Vec<String> {
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with("impl") && line.contains("Debug for") {
            found.push((*line).to_owned());
        }
        if line.starts_with("#[derive(") && line.contains("Debug") {
            let item = lines[at..].iter().find(|line| line.starts_with("pub "));
            let item = item.copied().unwrap_or_default();
            if !(item.starts_with("pub struct") && item.contains("<T")) {
                found.push(item.to_owned());
            }
        }
    }
    found
}

#[test]
fn no_message_can_be_printed() {
    for (package, code) in GENERATED {
        let messages = code.matches("::prost::Message").count();
        assert!(messages >= 10, "{package}: only {messages} messages were found");
        assert_eq!(printable(code), Vec::<String>::new(), "{package}");
    }
}

#[test]
fn one_that_can_is_found() {
    let derived = "#[derive(Clone, Debug, PartialEq, ::prost::Message)]\npub struct Body {\n}";
    assert_eq!(printable(derived), ["pub struct Body {"]);
    let choice = "#[derive(Clone, Debug, ::prost::Oneof)]\npub enum Op {\n}";
    assert_eq!(printable(choice), ["pub enum Op {"]);
    let own = "impl ::core::fmt::Debug for Body {";
    assert_eq!(printable(own), [own]);
    assert_eq!(printable("#[derive(Debug)]\npub struct A<T: B> {"), Vec::<String>::new());
}
