//! Sealed transit at the shard: what was sealed for one request opens for no other, and a map that wants bodies
//! sealed gets no plain one, whatever a gateway sends.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use ledger::entry::{Entry, Kind};
use ledger::note::Verifier;
use ledger::statement::{Statement, content_digest};
use link::host::clock::SystemClock;
use sealed::{AnswerSecret, Binding, Call, TransitKey};
use terms::Clock as _;
use wire::session::upload::Step;
use wire::session::{self as proto, call::Op, reply::Outcome};

use crate::erasure::of_kind;
use crate::support::{MAP, Place, Session, TENANT, put_ru, request_id};

const DEPLOYMENT: &str = "sample";

/// The region's key, as a caller believes it.
pub(crate) async fn key(place: &Place, session: &mut Session) -> TransitKey {
    let Ok(Outcome::TransitKey(note)) =
        session.call(Op::TransitKey(proto::TransitKeyAsked {})).await
    else {
        panic!("a key is answered with a key");
    };
    believed(place, &note)
}

/// The key of a note of that region.
pub(crate) fn believed(place: &Place, note: &str) -> TransitKey {
    let identity = place.settings().transit_identity(DEPLOYMENT).unwrap();
    let identity = Verifier::from_vkey(&identity).unwrap();
    let now = SystemClock.now().0 / 1_000;
    TransitKey::verify(note, &identity, place.region, now).unwrap().key
}

pub(crate) fn binding<'a>(call: Call, subject: &'a str, key: &'a str) -> Binding<'a> {
    Binding {
        call,
        tenant: TENANT,
        subject,
        collection: "profiles",
        key,
        request_id: &[],
        if_version: None,
        etag: "",
        asks: &[],
    }
}

/// A put whose body is sealed for it.
pub(crate) fn sealed_put(
    to: &TransitKey,
    subject: &str,
    key: &str,
    body: &[u8],
    n: u64,
) -> proto::Put {
    let id = request_id(n);
    let of = Binding { request_id: &id, ..binding(Call::Put, subject, key) };
    let (body, _) = to.seal(&of, body).unwrap();
    proto::Put { sealed_key: to.id().to_owned(), ..put_ru(subject, key, &body, n) }
}

/// A get whose answer is to be sealed, and what opens it.
fn sealed_get(to: &TransitKey, subject: &str, key: &str) -> (proto::Get, AnswerSecret) {
    let (question, secret) = to.seal(&binding(Call::Get, subject, key), &[]).unwrap();
    let get = proto::Get {
        subject: subject.into(),
        collection: "profiles".into(),
        key: key.into(),
        purpose: "a test".into(),
        sealed_key: to.id().to_owned(),
        sealed_question: question.into(),
        ..Default::default()
    };
    (get, secret)
}

async fn found(session: &mut Session, get: proto::Get) -> Result<proto::Found, String> {
    match session.call(Op::Get(get)).await {
        Ok(Outcome::Found(found)) => Ok(found),
        Ok(_) => panic!("a get is answered with what was found"),
        Err(fault) => Err(fault.reason),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_body_is_stored_as_its_caller_means_it_and_answered_to_that_caller_alone() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let to = key(&place, &mut session).await;
    let put = sealed_put(&to, "anna", "main", b"hello", 1);
    let done = session.put(put).await.unwrap();
    // The receipt is about the plain body.
    let opening: [u8; 32] = done.opening.as_ref().try_into().unwrap();
    let said = Statement::decode(&done.statement).unwrap().digest;
    assert_eq!(said, content_digest(&opening, b"hello"));
    // The same request, sealed once more, is the same request.
    let again = session.put(sealed_put(&to, "anna", "main", b"hello", 1)).await.unwrap();
    assert!(again.replayed && again.version == 1);
    let other = session.put(sealed_put(&to, "anna", "main", b"other", 1)).await;
    assert_eq!(other.err().as_deref(), Some("REQUEST_ID_REUSED"));
    assert!(session.get("anna", "profiles", "main").await.unwrap().body == b"hello"[..]);

    let (get, secret) = sealed_get(&to, "anna", "main");
    let answer = found(&mut session, get.clone()).await.unwrap();
    assert!(answer.sealed && answer.body != b"hello"[..]);
    assert_eq!(secret.open(answer.version, &answer.etag, &answer.body).unwrap(), b"hello");
    // The same question again is answered under another key: no two answers can be compared.
    let second = found(&mut session, get.clone()).await.unwrap();
    assert!(second.body != answer.body);
    assert_eq!(secret.open(second.version, &second.etag, &second.body).unwrap(), b"hello");
    let (_, unrelated) = sealed_get(&to, "anna", "main");
    assert!(unrelated.open(answer.version, &answer.etag, &answer.body).is_err());
    // A body that has a row of its own.
    let large = vec![7; 70_000];
    session.put(sealed_put(&to, "anna", "large", &large, 2)).await.unwrap();
    let (get, secret) = sealed_get(&to, "anna", "large");
    let answer = found(&mut session, get).await.unwrap();
    assert!(secret.open(answer.version, &answer.etag, &answer.body).unwrap() == large);
    // A patch.
    let id = request_id(3);
    let of = Binding { request_id: &id, ..binding(Call::Patch, "anna", "main") };
    let (body, _) = to.seal(&of, b"patched").unwrap();
    let patch = proto::Patch {
        subject: "anna".into(),
        collection: "profiles".into(),
        key: "main".into(),
        request_id: id.clone().into(),
        body: Some(body.into()),
        sealed_key: to.id().to_owned(),
        ..Default::default()
    };
    session.patch(patch).await.unwrap();
    assert!(session.get("anna", "profiles", "main").await.unwrap().body == b"patched"[..]);
    drop(session);
    shard.stop().await.unwrap();
    // The key is still the region's after a start.
    let shard = place.start().await;
    let mut session = shard.session().await;
    assert_eq!(key(&place, &mut session).await.id(), to.id());
    let (get, secret) = sealed_get(&to, "anna", "main");
    let answer = found(&mut session, get).await.unwrap();
    assert_eq!(secret.open(answer.version, &answer.etag, &answer.body).unwrap(), b"patched");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_changes_or_swaps_is_refused() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let to = key(&place, &mut session).await;
    let good = sealed_put(&to, "anna", "main", b"hello", 1);
    let other = sealed_put(&to, "boris", "main", b"other", 2);
    let with = |change: &dyn Fn(&mut proto::Put)| {
        let mut put = good.clone();
        change(&mut put);
        put
    };
    let mut flipped = good.body.to_vec();
    flipped[40] ^= 1;
    let cut = good.body.slice(..good.body.len() - 1);
    for (what, put) in [
        ("another request's body", with(&|put| put.body = other.body.clone())),
        ("another person", with(&|put| put.subject = "boris".into())),
        ("another key", with(&|put| put.key = "other".into())),
        ("another collection", with(&|put| put.collection = "messages".into())),
        ("another request", with(&|put| put.request_id = request_id(9).into())),
        ("another condition", with(&|put| put.if_version = Some(0))),
        ("another etag", with(&|put| put.etag = "1".into())),
        ("a byte", with(&|put| put.body = flipped.clone().into())),
        ("an end", with(&|put| put.body = cut.clone())),
        ("nothing", with(&|put| put.body = bytes::Bytes::new())),
    ] {
        assert_eq!(session.put(put).await.err().as_deref(), Some("TRANSIT_SEAL_INVALID"), "{what}");
    }
    let unknown = with(&|put| put.sealed_key = "0123456789abcdef".into());
    assert_eq!(session.put(unknown).await.err().as_deref(), Some("TRANSIT_KEY_UNKNOWN"));
    // As a patch.
    let patch = proto::Patch {
        subject: "anna".into(),
        collection: "profiles".into(),
        key: "main".into(),
        request_id: good.request_id.clone(),
        body: Some(good.body.clone()),
        sealed_key: good.sealed_key.clone(),
        ..Default::default()
    };
    let bare = proto::Patch { body: None, ..patch.clone() };
    assert_eq!(session.patch(bare).await.err().as_deref(), Some("FIELD_INVALID"));
    assert_eq!(session.patch(patch).await.err().as_deref(), Some("TRANSIT_SEAL_INVALID"));
    // Another region's key, under whichever id.
    let foreign = Place::new("eu-fra");
    let other_shard = foreign.start().await;
    let mut other_session = other_shard.session().await;
    let foreign_key = key(&foreign, &mut other_session).await;
    let put = sealed_put(&foreign_key, "anna", "main", b"hello", 1);
    let renamed = proto::Put { sealed_key: to.id().to_owned(), ..put.clone() };
    assert_eq!(session.put(put).await.err().as_deref(), Some("TRANSIT_KEY_UNKNOWN"));
    assert_eq!(session.put(renamed).await.err().as_deref(), Some("TRANSIT_SEAL_INVALID"));
    // Nothing of that was stored, and the body still opens for its own request.
    session.put(good).await.unwrap();
    // A question for another record, or for a part of a body.
    let (get, _) = sealed_get(&to, "anna", "main");
    session.put(sealed_put(&to, "anna", "second", b"second", 3)).await.unwrap();
    // It does not tell whether there is such a record, either.
    for (subject, key) in [("anna", "second"), ("anna", "none"), ("nobody", "main")] {
        let swapped = proto::Get { subject: subject.into(), key: key.into(), ..get.clone() };
        let answer = found(&mut session, swapped).await;
        assert_eq!(answer.err().as_deref(), Some("TRANSIT_SEAL_INVALID"));
    }
    let unknown = proto::Get { sealed_key: "0123456789abcdef".into(), ..get.clone() };
    assert_eq!(found(&mut session, unknown).await.err().as_deref(), Some("TRANSIT_KEY_UNKNOWN"));
    let range = Some(proto::BodyRange { offset: 0, length: 3, etag: String::new() });
    let part = proto::Get { range, ..get.clone() };
    assert_eq!(found(&mut session, part).await.err().as_deref(), Some("FIELD_INVALID"));
    let short = proto::Get { sealed_question: get.sealed_question.slice(..20), ..get };
    assert_eq!(found(&mut session, short).await.err().as_deref(), Some("FIELD_INVALID"));
    drop((session, other_session));
    shard.stop().await.unwrap();
    other_shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one case after another")]
async fn a_map_that_wants_bodies_sealed_gets_no_plain_one() {
    let collection = "name = \"profiles\"\n";
    let law = "id = \"ru-152fz\"\n";
    for wants in [collection, law] {
        assert!(MAP.contains(wants));
        let mut place = Place::new("ru-msk");
        place.map = MAP.replacen(wants, &format!("{wants}transit = \"sealed\"\n"), 1);
        let shard = place.start().await;
        let mut session = shard.session().await;
        let to = key(&place, &mut session).await;
        let not_sealed = Some("TRANSIT_NOT_SEALED");
        let plain = session.put(put_ru("anna", "main", b"hello", 1)).await;
        assert_eq!(plain.err().as_deref(), not_sealed);
        let dry = proto::Put { validate_only: true, ..put_ru("anna", "main", b"hello", 1) };
        assert_eq!(session.put(dry).await.err().as_deref(), not_sealed);
        session.put(sealed_put(&to, "anna", "main", b"hello", 1)).await.unwrap();
        let patch = proto::Patch {
            subject: "anna".into(),
            collection: "profiles".into(),
            key: "main".into(),
            request_id: request_id(2).into(),
            body: Some(b"patched".to_vec().into()),
            ..Default::default()
        };
        assert_eq!(session.patch(patch).await.err().as_deref(), not_sealed);
        let begin = proto::Upload {
            put: Some(put_ru("anna", "film", b"", 3)),
            size: 5,
            sha256: vec![1; 32].into(),
            step: Some(Step::Begin(true)),
        };
        let upload = session.call(Op::Upload(begin)).await.err().map(|fault| fault.reason);
        assert_eq!(upload.as_deref(), not_sealed);
        // Of reads, too, whether there is such a record or not.
        for name in ["main", "none"] {
            let plain = session.get("anna", "profiles", name).await;
            assert_eq!(plain.err().as_deref(), not_sealed);
        }
        for length in [3, 0] {
            let range = Some(proto::BodyRange { offset: 0, length, etag: String::new() });
            let (whole, _) = sealed_get(&to, "anna", "main");
            let (sealed_key, sealed_question) = (String::new(), bytes::Bytes::new());
            let part = proto::Get { range, sealed_key, sealed_question, ..whole };
            assert_eq!(found(&mut session, part).await.err().as_deref(), not_sealed);
        }
        let list = |view, scan| proto::List {
            collection: "profiles".into(),
            subject: if scan { String::new() } else { "anna".into() },
            view,
            page_size: 10,
            bytes_max: 1 << 20,
            purpose: "a test".into(),
            scan,
            ..Default::default()
        };
        let watch = proto::List { changes: true, ..list(3, false) };
        let watch = session.list(watch).await.err().map(|fault| fault.reason);
        assert_eq!(watch.as_deref(), not_sealed);
        for scan in [false, true] {
            let whole = session.list(list(3, scan)).await;
            assert_eq!(whole.err().map(|fault| fault.reason).as_deref(), not_sealed);
            let names = session.list(list(2, scan)).await.map_err(|fault| fault.reason);
            assert_eq!(names.unwrap().records.len(), 1);
        }
        let (get, secret) = sealed_get(&to, "anna", "main");
        let answer = found(&mut session, get).await.unwrap();
        assert_eq!(secret.open(answer.version, &answer.etag, &answer.body).unwrap(), b"hello");
        // Another collection, which the law covers as well.
        let messages =
            proto::Put { collection: "messages".into(), ..put_ru("anna", "m", b"hello", 4) };
        let other = session.put(messages).await.err();
        assert_eq!(other.as_deref(), not_sealed.filter(|_| wants == law));
        drop(session);
        shard.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_would_carry_plain_bodies_is_refused_and_not_logged_as_one() {
    let wants = "name = \"profiles\"\n";
    let mut place = Place::new("ru-msk");
    place.map = MAP.replacen(wants, &format!("{wants}transit = \"sealed\"\n"), 1);
    let shard = place.start().await;
    let mut session = shard.session().await;
    let to = key(&place, &mut session).await;
    session.put(sealed_put(&to, "anna", "main", b"hello", 1)).await.unwrap();
    let person = |export| {
        let purpose = "the person asked".into();
        Op::Person(proto::Person { subject: "anna".into(), export, purpose, ..Default::default() })
    };
    session.role = Some("reader");
    let export = session.call(person(true)).await.err().map(|fault| fault.reason);
    assert_eq!(export.as_deref(), Some("TRANSIT_NOT_SEALED"));
    // A question without records has an entry, which came after.
    assert!(session.call(person(false)).await.is_ok());
    while !of_kind(&shard, Kind::Count, 1).await.iter().any(Entry::is_question) {}
    assert!(of_kind(&shard, Kind::Export, 0).await.is_empty());
    drop(session);
    shard.stop().await.unwrap();
}
