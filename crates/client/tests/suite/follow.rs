//! Where a body goes when a law wants it taken by another gateway, and what is sent again: shown
//! by gateways that note every call.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that goes astray may panic")]

pub(crate) mod desk;
mod lies;
mod sealed;
mod uploads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use client::{Access, Error, Ingress, NotFollowed, Tls, Token, api};
use desk::{Authority, Desk, Say, access, client, put};
use terms::{Detail, Reason};
use tonic::Code;

pub(crate) fn no(code: Code, reason: &'static str) -> Say {
    Say::No(code, reason, Vec::new())
}

/// WRONG_INGRESS, naming a gateway.
pub(crate) fn wrong_ingress(region: &str, ingress: &str) -> Say {
    let metadata = vec![("region", region.to_owned()), ("ingress", ingress.to_owned())];
    Say::No(Code::FailedPrecondition, "WRONG_INGRESS", metadata)
}

#[track_caller]
pub(crate) fn not_followed(error: &Error) -> NotFollowed {
    assert_eq!(error.refused().unwrap().known(), Some(Reason::WrongIngress), "{error}");
    let Error::NotFollowed { why, .. } = error else { panic!("{error}") };
    *why
}

#[tokio::test]
async fn a_put_follows_to_the_listed_gateway_under_the_same_request_id() {
    let authority = Authority::new();
    let inside = Desk::start(Some(&authority), vec![Say::Done, Say::Done]).await;
    let script = vec![wrong_ingress("ru-msk", &inside.url), wrong_ingress("ru-msk", &inside.url)];
    let outside = Desk::start(Some(&authority), script).await;
    let token = Token::fixed("a-token").unwrap();
    let client = client(&outside, Access { token, ..access(&authority, &[&inside]) });
    for n in 1..=2 {
        client.put(&put(true)).await.unwrap();
        assert_eq!((outside.asked().len(), inside.asked().len()), (n, n));
    }
    let first = &outside.asked()[0];
    assert_eq!(first.request_id, put(true).request_id);
    assert_eq!(first.token.as_deref(), Some("Bearer a-token"));
    assert_eq!(*first, inside.asked()[0], "the same request, and nothing else");
}

#[tokio::test]
async fn what_is_tried_again_after_following_stays_there_and_is_the_same_request() {
    let authority = Authority::new();
    let script = vec![no(Code::Unavailable, "REGION_UNAVAILABLE"), Say::Done];
    let inside = Desk::start(Some(&authority), script).await;
    let script = vec![wrong_ingress("ru-msk", &inside.url)];
    let outside = Desk::start(Some(&authority), script).await;
    client(&outside, access(&authority, &[&inside])).put(&put(true)).await.unwrap();
    assert_eq!(outside.calls(), ["put"]);
    assert_eq!(inside.calls(), ["put", "put"]);
    let all = [outside.asked(), inside.asked()].concat();
    assert!(all.iter().all(|asked| asked.request_id == put(true).request_id));
}

#[tokio::test]
async fn gateways_that_name_each_other_are_left() {
    let authority = Authority::new();
    let (one, two) = (
        Desk::start(Some(&authority), Vec::new()).await,
        Desk::start(Some(&authority), Vec::new()).await,
    );
    one.say(wrong_ingress("ru-msk", &two.url));
    two.say(wrong_ingress("ru-msk", &one.url));
    let any = Access { follow_any: true, ..access(&authority, &[]) };
    let error = client(&one, any).put(&put(true)).await.err().unwrap();
    assert_eq!(not_followed(&error), NotFollowed::Again);
    assert_eq!((one.calls(), two.calls()), (vec!["put"], vec!["put"]));
}

#[tokio::test]
async fn a_gateway_that_names_itself_is_left() {
    let authority = Authority::new();
    let listener = Desk::start(Some(&authority), vec![wrong_ingress("ru-msk", "")]).await;
    // It names none, and the caller's list says that it is the one.
    let error = client(&listener, access(&authority, &[&listener]));
    let error = error.put(&put(true)).await.err().unwrap();
    assert_eq!(not_followed(&error), NotFollowed::Again);
    assert_eq!(listener.calls(), ["put"]);
}

#[tokio::test]
async fn a_body_does_not_go_where_the_law_of_a_participant_wants_it() {
    let authority = Authority::new();
    let inside = Desk::start(Some(&authority), Vec::new()).await;
    let Say::No(code, reason, mut metadata) = wrong_ingress("ru-msk", &inside.url) else {
        panic!("a refusal")
    };
    metadata.push(("field", "participants[0]".to_owned()));
    let outside = Desk::start(Some(&authority), vec![Say::No(code, reason, metadata)]).await;
    let client = client(&outside, access(&authority, &[&inside]));
    let error = client.put(&put(true)).await.err().unwrap();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert_eq!(error.refused().unwrap().field.as_deref(), Some("participants[0]"));
    assert!(inside.asked().is_empty(), "a body went there");
}

#[tokio::test]
async fn a_body_goes_neither_to_plaintext_nor_where_nobody_lets_it() {
    let authority = Authority::new();
    let secure = Desk::start(Some(&authority), Vec::new()).await;
    let plain = Desk::start(None, Vec::new()).await;
    let listed = Desk::start(Some(&authority), Vec::new()).await;
    let cases = [
        (&plain.url, NotFollowed::Insecure),
        (&secure.url, NotFollowed::Unlisted),
        (&"file:///etc/passwd".to_owned(), NotFollowed::Insecure),
    ];
    for (named, expect) in cases {
        for resolved in [false, true] {
            let say = if resolved {
                Say::Placed("ru-msk", named.clone(), true)
            } else {
                wrong_ingress("ru-msk", named)
            };
            let outside = Desk::start(Some(&authority), vec![say]).await;
            let client = client(&outside, access(&authority, &[&listed]));
            let request = put(true);
            let answer = if resolved {
                client.put_resolved(&request).await
            } else {
                client.put(&request).await
            };
            let error = answer.err().unwrap();
            assert_eq!(not_followed(&error), expect, "{named}");
            assert_eq!(error.refused().unwrap().detail(Detail::Region), Some("ru-msk"));
            assert_eq!(outside.asked().len(), 1);
        }
    }
    let all = [secure, plain, listed];
    assert!(all.iter().all(|desk| desk.asked().is_empty()), "a body went there");
    // Without a list and an address, there is nowhere to go.
    let outside = Desk::start(Some(&authority), vec![wrong_ingress("ru-msk", "")]).await;
    let error = client(&outside, access(&authority, &[])).put(&put(true)).await.err().unwrap();
    assert_eq!(not_followed(&error), NotFollowed::Nowhere);
}

#[tokio::test]
async fn whoever_follows_to_any_gateway_still_wants_its_certificate() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let fake = Desk::start(Some(&theirs), Vec::new()).await;
    let outside = Desk::start(Some(&ours), vec![wrong_ingress("ru-msk", &fake.url)]).await;
    let any = Access { follow_any: true, ..access(&ours, &[]) };
    let error = client(&outside, any).put(&put(true)).await.err().unwrap();
    assert!(matches!(error, Error::Handshake(_)), "{error:?}");
    assert!(fake.asked().is_empty());
    // Listed with its own authority, it is the right one.
    let inside = Desk::start(Some(&theirs), vec![Say::Done]).await;
    let outside = Desk::start(Some(&ours), vec![wrong_ingress("ru-msk", &inside.url)]).await;
    let authorities = Some(theirs.pem.clone().into_bytes());
    let region = "ru-msk".to_owned();
    let ingresses = vec![Ingress { region, url: inside.url.clone(), authorities }];
    let access = Access { ingresses, ..access(&ours, &[]) };
    client(&outside, access).put(&put(true)).await.unwrap();
    assert_eq!(inside.calls(), ["put"]);
}

#[tokio::test]
async fn resolving_first_sends_the_body_once_and_only_inside() {
    let authority = Authority::new();
    let inside = Desk::start(Some(&authority), vec![Say::Done, Say::Done, Say::Done]).await;
    let script = vec![
        Say::Placed("ru-msk", inside.url.clone(), true),
        // The annex names no address: the caller's list does.
        Say::Placed("ru-msk", String::new(), true),
    ];
    let outside = Desk::start(Some(&authority), script).await;
    let client = client(&outside, access(&authority, &[&inside]));
    client.put_resolved(&put(true)).await.unwrap();
    client.put_resolved(&put(true)).await.unwrap();
    // Without evidence nobody can be asked, and the list decides by the domicile.
    client.put_resolved(&put(false)).await.unwrap();
    assert_eq!(outside.calls(), ["resolve", "resolve"]);
    assert_eq!(inside.calls(), ["put", "put", "put"]);
    assert!(inside.asked().iter().all(|asked| asked.body == 10));
}

#[tokio::test]
async fn resolving_first_stays_where_no_law_minds_and_ends_where_none_allows() {
    let authority = Authority::new();
    let inside = Desk::start(Some(&authority), Vec::new()).await;
    let script = vec![
        Say::Placed("ru-msk", inside.url.clone(), false),
        Say::Done,
        Say::NotPlaced("UNSATISFIABLE"),
        no(Code::PermissionDenied, "NOT_PERMITTED"),
    ];
    let own = Desk::start(Some(&authority), script).await;
    let client = client(&own, access(&authority, &[&inside]));
    client.put_resolved(&put(true)).await.unwrap();
    let error = client.put_resolved(&put(true)).await.err().unwrap();
    let refused = error.refused().unwrap();
    assert_eq!(refused.known(), Some(Reason::Unsatisfiable));
    assert_eq!(refused.cure.as_deref(), Some("look again"));
    assert_eq!(refused.detail(Detail::Conflicting), Some("RU,EEA"));
    assert!(client.put_resolved(&put(true)).await.is_err());
    assert_eq!(own.calls(), ["resolve", "put", "resolve", "resolve"]);
    assert!(inside.asked().is_empty());
}

#[tokio::test]
async fn a_gateway_that_was_resolved_may_not_name_a_third() {
    let authority = Authority::new();
    let third = Desk::start(Some(&authority), Vec::new()).await;
    let inside = Desk::start(Some(&authority), vec![wrong_ingress("kz-ala", &third.url)]).await;
    let script = vec![Say::Placed("ru-msk", inside.url.clone(), true)];
    let outside = Desk::start(Some(&authority), script).await;
    let any = Access { follow_any: true, ..access(&authority, &[]) };
    let error = client(&outside, any).put_resolved(&put(true)).await.err().unwrap();
    assert_eq!(not_followed(&error), NotFollowed::Again);
    assert!(third.asked().is_empty());
}

#[tokio::test]
async fn what_a_law_or_an_operator_refuses_is_asked_once() {
    let refusals = [
        (Code::FailedPrecondition, "EGRESS_NOT_COVERED"),
        (Code::PermissionDenied, "NOT_PERMITTED"),
        (Code::Unauthenticated, "IDENTITY_MISSING"),
        (Code::Unauthenticated, "IDENTITY_INVALID"),
        // A read has no other gateway to go to, whatever is said.
        (Code::FailedPrecondition, "WRONG_INGRESS"),
    ];
    let request = api::GetRecordRequest { subject: put(false).subject, ..Default::default() };
    for (code, reason) in refusals {
        let desk = Desk::start(None, vec![no(code, reason)]).await;
        let token = Token::fixed("a-token").unwrap();
        let client = client(&desk, Access { token, ..Default::default() });
        let error = client.get(&request).await.err().unwrap();
        let Error::Refused(refused) = error else { panic!("{error}") };
        assert_eq!(refused.reason, reason);
        assert_eq!(desk.calls(), ["get"], "{reason} was asked again");
    }
}

#[tokio::test]
async fn a_token_that_ran_out_is_replaced_once_and_not_for_ever() {
    let expired = || no(Code::Unauthenticated, "IDENTITY_INVALID");
    let desk = Desk::start(None, vec![expired(), Say::Done, expired(), expired()]).await;
    let number = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&number);
    let token =
        Token::given(move || Some(format!("token-{}", count.fetch_add(1, Ordering::Relaxed))));
    let client = client(&desk, Access { token, ..Default::default() });
    client.put(&put(false)).await.unwrap();
    let tokens: Vec<_> = desk.asked().iter().filter_map(|asked| asked.token.clone()).collect();
    assert_eq!(tokens, ["Bearer token-0", "Bearer token-1"]);
    let error = client.put(&put(false)).await.err().unwrap();
    assert_eq!(error.refused().unwrap().known(), Some(Reason::IdentityInvalid));
    assert_eq!(desk.asked().len(), 4);
}

#[tokio::test]
async fn a_gateway_of_another_authority_gets_nothing() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let desk = Desk::start(Some(&theirs), Vec::new()).await;
    let own = client(&desk, access(&ours, &[]));
    let error = own.put(&put(false)).await.err().unwrap();
    assert!(matches!(error, Error::Handshake(_)), "{error:?}");
    let tls = Tls::trusting(theirs.pem.as_str()).unwrap().expecting("another.example.org");
    let named = client(&desk, Access { tls, ..Default::default() });
    assert!(matches!(named.put(&put(false)).await, Err(Error::Handshake(_))));
    assert!(desk.asked().is_empty());
}

#[tokio::test]
async fn a_stream_carries_the_token() {
    let desk = Desk::start(None, vec![Say::Done]).await;
    let token = Token::fixed("a-token").unwrap();
    let client = client(&desk, Access { token, ..Default::default() });
    let (puts, mut answers) = client.stream_put(1).await.unwrap();
    drop(puts);
    assert!(answers.next().await.unwrap().is_none());
    assert_eq!(desk.asked()[0].token.as_deref(), Some("Bearer a-token"));
}
