//! Gateways that lie: about what was done, about where, about when to come back, and about who
//! they are.

use std::time::Duration;

use client::{Access, Answer, Error, Ingress, NotFollowed, Proof, Unproven, Written, api};
use tonic::Code;

use crate::follow::desk::{Authority, Desk, Say, access, client, put};
use crate::follow::{no, not_followed, wrong_ingress};

/// It has stored nothing, and says that it had done so before.
const CLAIMED: Say = Say::Forged(|answer| {
    answer.replayed = true;
    let receipt = answer.receipt.take().unwrap();
    answer.receipt = Some(api::Receipt { origin: receipt.origin, ..Default::default() });
});

/// A receipt that is sound in itself, of another region's log.
const ABROAD: Say = Say::Forged(|answer| {
    "sample/eu-fra/s1/1".clone_into(&mut answer.receipt.as_mut().unwrap().origin);
});

#[track_caller]
fn unproven<A>(answer: Result<A, Error>) -> Unproven {
    let error = answer.err().expect("it is not proven");
    let Error::Unproven(why) = error else { panic!("{error}") };
    why
}

type Outcome = Result<Written<api::PutRecordResponse>, Error>;

fn outcome(answer: Result<Option<Answer>, Error>) -> Outcome {
    answer.unwrap().unwrap().outcome
}

#[tokio::test]
async fn a_write_that_is_only_claimed_is_told_from_one_that_is_proven() {
    let script = vec![Say::Done, CLAIMED, CLAIMED];
    let desk = Desk::start(None, script).await;
    let client = client(&desk, Access::default());
    let done = client.put(&put(false)).await.unwrap();
    assert!(matches!(done.proof, Proof::Receipt(_)));
    // Whoever keeps an id for a retry may be told so, and sees that it is no more than a word.
    let done = client.put(&put(false)).await.unwrap();
    assert_eq!((done.proof.clone(), done.replayed), (Proof::Unproven, true));
    // Nobody can have done what was not sent before.
    let first = client.first_time().put(&put(false)).await;
    assert_eq!(unproven(first), Unproven::Replayed);
    assert_eq!(desk.calls(), ["put", "put", "put"], "a lie is not asked for again");
}

#[tokio::test]
async fn a_second_attempt_may_find_what_the_first_has_done() {
    let away = || no(Code::Unavailable, "WRITE_OUTCOME_UNKNOWN");
    let again = Say::Forged(|answer| answer.replayed = true);
    let desk = Desk::start(None, vec![away(), again, away(), CLAIMED]).await;
    let client = client(&desk, Access::default()).first_time();
    let done = client.put(&put(false)).await.unwrap();
    assert!(done.replayed && matches!(done.proof, Proof::Receipt(_)));
    let done = client.put(&put(false)).await.unwrap();
    assert_eq!(done.proof, Proof::Unproven);
}

#[tokio::test]
async fn following_is_no_second_attempt() {
    let authority = Authority::new();
    let inside = Desk::start(Some(&authority), vec![CLAIMED]).await;
    let outside = Desk::start(Some(&authority), vec![wrong_ingress("ru-msk", &inside.url)]).await;
    let client = client(&outside, access(&authority, &[&inside])).first_time();
    assert_eq!(unproven(client.put(&put(false)).await), Unproven::Replayed);
}

#[tokio::test]
async fn a_sound_receipt_of_another_regions_log_is_none() {
    let script = vec![ABROAD, Say::Placed("ru-msk", String::new(), false), ABROAD];
    let desk = Desk::start(None, script).await;
    let own = client(&desk, Access::default());
    assert_eq!(unproven(own.put(&put(true)).await), Unproven::OtherRegion);
    assert_eq!(unproven(own.put_resolved(&put(true)).await), Unproven::OtherRegion);
    // Nor is one about somebody else's write.
    desk.say(Say::Done);
    let tenant = Some("other".to_owned());
    let other = client(&desk, Access { tenant, ..Access::default() });
    assert_eq!(unproven(other.put(&put(true)).await), Unproven::OtherTenant);
}

#[tokio::test]
async fn answers_of_a_stream_are_held_to_the_same() {
    let elsewhere = || wrong_ingress("ru-msk", "https://ru.example.org:7400");
    let busy = || no(Code::ResourceExhausted, "SHARD_BUSY");
    let script = vec![Say::Done, Say::Done, ABROAD, CLAIMED, elsewhere(), busy(), Say::Stray];
    let desk = Desk::start(None, script).await;
    for first in [false, true] {
        if first {
            vec![Say::Done, Say::Done, CLAIMED].into_iter().for_each(|say| desk.say(say));
        }
        let client = client(&desk, Access::default());
        let client = if first { client.first_time() } else { client };
        let (puts, mut answers) = client.stream_put(8).await.unwrap();
        for _ in 0..if first { 2 } else { 6 } {
            puts.send(put(true)).await.unwrap();
        }
        drop(puts);
        let mut next = async || answers.next().await;
        let done = outcome(next().await).unwrap();
        assert!(matches!(done.proof, Proof::Receipt(_)) && done.version == 1);
        if first {
            assert_eq!(unproven(outcome(next().await)), Unproven::Replayed);
            continue;
        }
        assert_eq!(unproven(outcome(next().await)), Unproven::OtherRegion);
        assert_eq!(outcome(next().await).unwrap().proof, Proof::Unproven);
        let error = outcome(next().await).err().unwrap();
        assert_eq!(not_followed(&error), NotFollowed::Stream);
        let refused = error.refused().unwrap();
        assert_eq!(refused.region(), Some("ru-msk"));
        assert_eq!(refused.ingress(), Some("https://ru.example.org:7400"));
        let error = outcome(next().await).err().unwrap();
        assert!(matches!(&error, Error::Refused(refused) if refused.reason == "SHARD_BUSY"));
        assert_eq!(unproven(next().await), Unproven::NotAsked);
    }
}

#[tokio::test]
async fn a_wait_beyond_all_clocks_ends_the_call_and_nothing_else() {
    for (seconds, nanos) in [(i64::MAX, i32::MAX), (i64::MAX, 0), (9_000_000_000, 0)] {
        let desk = Desk::start(None, vec![Say::Wait(seconds, nanos)]).await;
        let error = client(&desk, Access::default()).put(&put(false)).await.err().unwrap();
        let refused = error.refused().unwrap();
        assert!(refused.retryable, "{seconds} {nanos}");
        assert!(refused.retry_after <= Some(Duration::from_secs(86_400)), "{seconds} {nanos}");
        assert_eq!(desk.calls(), ["put"]);
    }
    // A moment that has passed is now.
    for (seconds, nanos) in [(i64::MIN, i32::MIN), (i64::MIN, 0), (-1, 0), (0, -1), (0, 0)] {
        let desk = Desk::start(None, vec![Say::Wait(seconds, nanos), Say::Done]).await;
        client(&desk, Access::default()).put(&put(false)).await.unwrap();
        assert_eq!(desk.calls(), ["put", "put"], "{seconds} {nanos}");
    }
}

/// The ingress of ru-msk at `desk`, whose certificate only `authority` may have signed.
fn pinned(desk: &Desk, authority: &Authority) -> Vec<Ingress> {
    let authorities = Some(authority.pem.clone().into_bytes());
    vec![Ingress { region: "ru-msk".to_owned(), url: desk.url.clone(), authorities }]
}

#[tokio::test]
async fn a_connection_that_another_rule_allowed_does_not_pass_a_pin() {
    let (ours, private) = (Authority::new(), Authority::new());
    let shared = Desk::start(Some(&ours), vec![Say::Done, Say::Done]).await;
    // The rogue names the address for a region of which nobody asks, and it is opened for that.
    let script = vec![wrong_ingress("kz-ala", &shared.url), wrong_ingress("ru-msk", &shared.url)];
    let rogue = Desk::start(Some(&ours), script).await;
    let ingresses = pinned(&shared, &private);
    let access = Access { ingresses, follow_any: true, ..access(&ours, &[]) };
    let client = client(&rogue, access);
    client.put(&put(false)).await.unwrap();
    assert_eq!(shared.calls(), ["put"]);
    let error = client.put(&put(false)).await.err().unwrap();
    assert!(matches!(error, Error::Handshake(_)), "{error:?}");
    assert_eq!(shared.calls(), ["put"], "a body went past the pin");
}

#[tokio::test]
async fn the_own_connection_does_not_pass_a_pin_either() {
    let (ours, private) = (Authority::new(), Authority::new());
    let own = Desk::start(Some(&ours), vec![Say::Done]).await;
    let ingresses = pinned(&own, &private);
    let pinning = client(&own, Access { ingresses, ..access(&ours, &[]) });
    let error = pinning.put_resolved(&put(false)).await.err().unwrap();
    assert!(matches!(error, Error::Handshake(_)), "{error:?}");
    assert!(own.asked().is_empty(), "a body went past the pin");
    // Under the same trust, it is the same gateway.
    let listing = client(&own, access(&ours, &[&own]));
    listing.put_resolved(&put(false)).await.unwrap();
    assert_eq!(own.calls(), ["put"]);
}

#[tokio::test]
async fn a_gateway_that_is_outside_and_names_itself_gets_no_body() {
    let authority = Authority::new();
    let own = Desk::start(Some(&authority), Vec::new()).await;
    own.say(Say::Placed("ru-msk", own.url.clone(), true));
    own.say(Say::Placed("ru-msk", String::new(), true));
    own.say(Say::Placed("kz-ala", own.url.clone(), true));
    let client = client(&own, Access { follow_any: true, ..access(&authority, &[&own]) });
    for _ in 0..3 {
        let error = client.put_resolved(&put(true)).await.err().unwrap();
        assert_eq!(not_followed(&error), NotFollowed::Again);
    }
    assert_eq!(own.calls(), ["resolve", "resolve", "resolve"]);
}
