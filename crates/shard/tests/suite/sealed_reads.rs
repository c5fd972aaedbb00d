//! Lists, scans and exports whose bodies are answered sealed: what a gateway changes, mixes or leaves out is
//! refused, or does not open.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use ledger::entry::Kind;
use sealed::{AnswerPart, AnswerSecret, Binding, Call, PageDigest, TransitKey};
use wire::session::{self as proto, call::Op, reply::Outcome};

use crate::erasure::of_kind;
use crate::sealed::{binding, key, sealed_put};
use crate::support::{MAP, Place, Running, Session};

const PURPOSE: &str = "the person asked";

/// What is asked for, by a question and by the call that brings it.
#[derive(Clone, Copy)]
pub(crate) struct Reads {
    call: Call,
    subject: &'static str,
    collection: &'static str,
    filter: &'static str,
    order_by: &'static str,
    participant: [&'static str; 2],
    purpose: &'static str,
}

impl Reads {
    pub(crate) const fn export(subject: &'static str, collection: &'static str) -> Self {
        Self { call: Call::Export, collection, ..Self::list(subject) }
    }

    const fn list(subject: &'static str) -> Self {
        Self {
            call: Call::List,
            subject,
            collection: "profiles",
            filter: "",
            order_by: "",
            participant: [""; 2],
            purpose: PURPOSE,
        }
    }

    /// A question for that.
    fn question(&self, to: &TransitKey) -> (Vec<u8>, AnswerSecret) {
        let [participant, region] = self.participant;
        let all = [self.filter, self.order_by, participant, region, self.purpose];
        let export = self.call == Call::Export;
        let collection = if export { "" } else { self.collection };
        let asks = if export { &all[4..] } else { &all[..] };
        let of = Binding { collection, asks, ..binding(self.call, self.subject, "") };
        to.seal(&of, &[]).unwrap()
    }

    /// A page of that, as a gateway asks for it with a question.
    fn with(&self, to: &TransitKey, question: &[u8]) -> proto::List {
        proto::List {
            collection: self.collection.into(),
            subject: self.subject.into(),
            filter: self.filter.into(),
            order_by: self.order_by.into(),
            participant: self.participant[0].into(),
            participant_region: self.participant[1].into(),
            view: 3,
            page_size: 100,
            bytes_max: 1 << 20,
            purpose: self.purpose.into(),
            scan: self.call == Call::Scan,
            export: self.call == Call::Export,
            sealed_key: to.id().to_owned(),
            sealed_question: question.to_vec().into(),
            ..Default::default()
        }
    }

    /// Both.
    pub(crate) fn sealed(&self, to: &TransitKey) -> (proto::List, AnswerSecret) {
        let (question, secret) = self.question(to);
        (self.with(to, &question), secret)
    }
}

fn part<'a>(subject: &'a str, collection: &'a str, one: &'a proto::ListedRecord) -> AnswerPart<'a> {
    let attachment_bytes = i64::try_from(one.attachment_bytes).unwrap();
    let (key, version, etag) = (&one.key, one.version, &one.etag);
    AnswerPart::Record { subject, collection, key, version, etag, attachment_bytes }
}

fn body(secret: &AnswerSecret, one: &proto::ListedRecord) -> Vec<u8> {
    assert!(one.sealed);
    secret.open_part(&part(&one.subject, "profiles", one), &one.body).unwrap()
}

async fn refused(session: &mut Session, list: proto::List) -> String {
    session.list(list).await.err().expect("it is refused").reason
}

/// A shard with records of anna in a collection that wants its bodies sealed: one lies apart.
async fn filled() -> (Place, Running, Session, TransitKey, Vec<u8>) {
    let wants = "name = \"profiles\"\n";
    assert!(MAP.contains(wants));
    let mut place = Place::new("ru-msk");
    place.map = MAP.replacen(wants, &format!("{wants}transit = \"sealed\"\n"), 1);
    let shard = place.start().await;
    let mut session = shard.session().await;
    let to = key(&place, &mut session).await;
    let large = vec![7; 70_000];
    for (n, (name, body)) in
        [("a", &b"hello"[..]), ("b", &large[..]), ("c", &b""[..])].iter().enumerate()
    {
        let put = sealed_put(&to, "anna", name, body, 1 + n as u64);
        session.put(put).await.unwrap();
    }
    session.put(sealed_put(&to, "boris", "a", b"of boris", 9)).await.unwrap();
    session.role = Some("reader");
    (place, shard, session, to, large)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_and_a_scan_are_answered_sealed_to_their_own_question() {
    let (_place, shard, mut session, to, large) = filled().await;
    let all = Reads::list("anna");
    let (asked, secret) = all.sealed(&to);
    let listed = session.list(asked.clone()).await.map_err(|no| no.reason).unwrap();
    let mut bodies: Vec<_> = listed.records.iter().map(|one| body(&secret, one)).collect();
    bodies.sort();
    assert_eq!(bodies, [Vec::new(), large, b"hello".to_vec()]);
    assert!(listed.seal.is_empty());
    // No body opens as that of another record, in another version, or as an attachment.
    let (one, two) = (&listed.records[0], &listed.records[1]);
    for other in [
        part("boris", "profiles", one),
        part("anna", "messages", one),
        part("anna", "profiles", two),
        part("anna", "profiles", &proto::ListedRecord { version: 9, ..one.clone() }),
        part("anna", "profiles", &proto::ListedRecord { etag: "e".into(), ..one.clone() }),
        part("anna", "profiles", &proto::ListedRecord { attachment_bytes: 9, ..one.clone() }),
    ] {
        assert!(secret.open_part(&other, &one.body).is_err());
    }
    assert!(secret.open(one.version, &one.etag, &one.body).is_err());
    // The same question again, to be compared with the first answer, is answered under other keys.
    let again = session.list(asked.clone()).await.map_err(|no| no.reason).unwrap();
    assert!(listed.records.iter().zip(&again.records).all(|(one, two)| one.body != two.body));
    // Another question's answer.
    let (_, unrelated) = all.sealed(&to);
    assert!(unrelated.open_part(&part("anna", "profiles", one), &one.body).is_err());

    let scan = Reads { call: Call::Scan, ..Reads::list("") };
    let (scanned, opens) = scan.sealed(&to);
    let first = session.list(scanned).await.map_err(|no| no.reason).unwrap();
    assert_eq!(first.records.len(), 4);
    let of_boris = first.records.iter().filter(|one| body(&opens, one) == b"of boris").count();
    assert_eq!(of_boris, 1);

    // A question that is for something else, whatever the call says that brings it.
    let (question, _) = all.question(&to);
    for other in [
        Reads { subject: "boris", ..all },
        Reads { subject: "", ..all },
        Reads { subject: "", call: Call::Scan, ..all },
        Reads { call: Call::Export, ..all },
        Reads { collection: "messages", ..all },
        Reads { order_by: "key", ..all },
        Reads { participant: ["boris", ""], ..all },
        Reads { purpose: "another", ..all },
    ] {
        let reason = refused(&mut session, other.with(&to, &question)).await;
        assert_eq!(reason, "TRANSIT_SEAL_INVALID");
    }
    let plain = proto::List { sealed_key: String::new(), ..all.with(&to, &[]) };
    assert_eq!(refused(&mut session, plain).await, "TRANSIT_NOT_SEALED");
    for (what, odd) in [
        ("names", proto::List { view: 1, ..asked.clone() }),
        ("a watch", proto::List { changes: true, ..asked.clone() }),
        ("a count", proto::List { count: true, ..asked.clone() }),
        ("a short question", proto::List { sealed_question: vec![1; 20].into(), ..asked.clone() }),
        (
            "an export without a question",
            proto::List {
                export: true,
                collection: "messages".into(),
                sealed_key: String::new(),
                sealed_question: Default::default(),
                ..asked.clone()
            },
        ),
    ] {
        assert_eq!(refused(&mut session, odd).await, "FIELD_INVALID", "{what}");
    }
    let unknown = proto::List { sealed_key: "0123456789abcdef".into(), ..asked };
    assert_eq!(refused(&mut session, unknown).await, "TRANSIT_KEY_UNKNOWN");
    drop(session);
    shard.stop().await.unwrap();
}

fn person(to: &TransitKey, question: &[u8], export: bool) -> proto::Person {
    proto::Person {
        subject: "anna".into(),
        export,
        purpose: PURPOSE.into(),
        sealed_key: to.id().to_owned(),
        sealed_question: question.to_vec().into(),
    }
}

async fn held(session: &mut Session, person: proto::Person) -> proto::HeldPerson {
    let Ok(Outcome::Held(held)) = session.call(Op::Person(person)).await else {
        panic!("an export is answered with what is held");
    };
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_a_chain_of_seals_from_its_collections_to_its_end() {
    let (_place, shard, mut session, to, large) = filled().await;
    let pages = Reads::export("anna", "profiles");
    let (question, secret) = pages.question(&to);
    let held = held(&mut session, person(&to, &question, true)).await;
    let names: Vec<&str> = held.collections.iter().map(|it| it.collection.as_str()).collect();
    assert_eq!(names, ["profiles"]);
    secret.open_part(&AnswerPart::Collections(&names), &held.seal).unwrap();
    for other in [&[][..], &["messages"], &["profiles", "messages"]] {
        assert!(secret.open_part(&AnswerPart::Collections(other), &held.seal).is_err());
    }
    let (mut from, mut bodies, mut seals) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let page =
            proto::List { page_size: 2, cursor: from.clone().into(), ..pages.with(&to, &question) };
        let page = session.list(page).await.map_err(|no| no.reason).unwrap();
        let mut records = PageDigest::default();
        page.records.iter().for_each(|one| records.add(&one.body));
        let (next, records) = (page.next.to_vec(), records.finish());
        let of = |from: &[u8], next: &[u8], records: &[u8; 32]| {
            let part = AnswerPart::Page { collection: "profiles", from, next, records };
            secret.open_part(&part, &page.seal).is_ok()
        };
        assert!(of(&from, &next, &records));
        // As the first page, as the last, or with another record in it, it is not whole.
        assert!(from.is_empty() || !of(&[], &next, &records));
        assert!(next.is_empty() || !of(&from, &[], &records));
        assert!(!of(&from, &next, &PageDigest::default().finish()));
        bodies.extend(page.records.iter().map(|one| body(&secret, one)));
        seals.push(page.seal);
        from = next;
        if from.is_empty() {
            break;
        }
    }
    assert_eq!(seals.len(), 2);
    bodies.sort();
    assert_eq!(bodies, [Vec::new(), large, b"hello".to_vec()]);
    assert_eq!(of_kind(&shard, Kind::Export, 1).await.len(), 1);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_question_of_an_export_is_for_this_person_and_leaves_nothing_out() {
    let (_place, shard, mut session, to, _) = filled().await;
    let pages = Reads::export("anna", "profiles");
    let (question, _) = pages.question(&to);
    // Nothing that leaves records out is a page of an export.
    for odd in [
        Reads { filter: "age = 1", ..pages },
        Reads { order_by: "key", ..pages },
        Reads { participant: ["boris", ""], ..pages },
        Reads { subject: "", ..pages },
    ] {
        let (odd, _) = odd.sealed(&to);
        assert_eq!(refused(&mut session, odd).await, "FIELD_INVALID");
    }
    let scan = proto::List { scan: true, ..pages.with(&to, &question) };
    assert_eq!(refused(&mut session, scan).await, "FIELD_INVALID");
    // The question is for this person, as an export, for this purpose.
    for other in [
        Reads { subject: "boris", ..pages },
        Reads { purpose: "another", ..pages },
        Reads { call: Call::List, ..pages },
    ] {
        let reason = refused(&mut session, other.with(&to, &question)).await;
        assert_eq!(reason, "TRANSIT_SEAL_INVALID");
    }
    let good = person(&to, &question, true);
    let plain = proto::Person { sealed_key: String::new(), ..person(&to, &[], true) };
    for (odd, reason) in [
        (proto::Person { subject: "boris".into(), ..good.clone() }, "TRANSIT_SEAL_INVALID"),
        (proto::Person { subject: "unknown".into(), ..good.clone() }, "TRANSIT_SEAL_INVALID"),
        (proto::Person { purpose: "another".into(), ..good.clone() }, "TRANSIT_SEAL_INVALID"),
        (proto::Person { sealed_key: "0123456789abcdef".into(), ..good }, "TRANSIT_KEY_UNKNOWN"),
        (person(&to, &question, false), "FIELD_INVALID"),
        (person(&to, &[1; 20], true), "FIELD_INVALID"),
        (plain, "TRANSIT_NOT_SEALED"),
    ] {
        let refused = session.call(Op::Person(odd)).await.err().unwrap();
        assert_eq!(refused.reason, reason);
    }
    // None of them has an entry: one that came after them all is there.
    let asked = proto::Person { sealed_key: String::new(), ..person(&to, &[], false) };
    assert!(session.call(Op::Person(asked)).await.is_ok());
    of_kind(&shard, Kind::Count, 1).await;
    assert!(of_kind(&shard, Kind::Export, 0).await.is_empty());
    drop(session);
    shard.stop().await.unwrap();
}
