//! Which credentials identify a caller, and which headers do not.

use link::host::clock::SystemClock;

use super::*;
use crate::tests::rig;

fn known() -> Identity {
    let caller = |name: &str| rig::caller_named(name);
    let certificates = HashMap::from([
        ("spiffe://sample/caller/one".to_owned(), caller("one")),
        ("spiffe://sample/caller/two".to_owned(), caller("two")),
    ]);
    let callers = Callers::Known(Known { certificates, tokens: None });
    Identity::new(callers, None, Arc::new(SystemClock))
}

fn reason(identity: &Identity, request: http::request::Builder) -> Option<Reason> {
    identity.of(&request.body(()).unwrap()).err().map(|rejection| rejection.reason)
}

#[test]
fn a_request_without_credentials_is_refused() {
    let request = http::Request::builder();
    assert_eq!(reason(&known(), request), Some(Reason::IdentityMissing));
}

#[test]
fn other_headers_identify_no_caller() {
    for (key, value) in [
        ("x-tenant", "sample"),
        ("x-forwarded-client-cert", "URI=spiffe://sample/caller/one"),
        ("x-forwarded-for", "127.0.0.1"),
        ("baggage", "tenant=sample"),
        ("cookie", "token=abc"),
    ] {
        let request = http::Request::builder().header(key, value);
        assert_eq!(reason(&known(), request), Some(Reason::IdentityMissing), "{key}");
    }
}

#[test]
fn a_token_where_none_are_taken_is_refused() {
    let request = http::Request::builder().header("authorization", "Bearer abc");
    assert_eq!(reason(&known(), request), Some(Reason::IdentityInvalid));
}

#[test]
fn a_certificate_names_one_caller_or_none() {
    let Identity::Known(directory) = known() else { panic!("callers are known") };
    let named = |uris: &[&str]| {
        let uris: Vec<String> = uris.iter().map(|uri| (*uri).to_owned()).collect();
        directory.named(&uris).map(|caller| caller.name.clone())
    };
    let (one, two) = ("spiffe://sample/caller/one", "spiffe://sample/caller/two");
    assert_eq!(named(&[one]).as_deref(), Some("one"));
    assert_eq!(named(&["https://elsewhere.example", two]).as_deref(), Some("two"));
    for none in
        [&[][..], &[one, two], &["spiffe://sample/caller/on"], &["spiffe://sample/caller/one/"]]
    {
        assert_eq!(named(none), None, "{none:?}");
    }
}
