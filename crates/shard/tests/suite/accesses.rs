//! A person is told who read their records: what the READ entries about that person say.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use ledger::entry::{Entry, Kind};
use wire::session as proto;
use wire::session::call::Op;

use crate::attributes::list;
use crate::erasure::{START, as_eraser, erase, held, of_kind, started};
use crate::support::stored::rows_in;
use crate::support::{Session, put_ru};

const MINUTE: u64 = 60_000;

/// Collection, role, purpose and number of each line.
async fn lines(session: &mut Session, subject: &str) -> Vec<(String, String, String, u64)> {
    let told = held(session, subject).await.unwrap();
    let lines = told.accesses.into_iter();
    lines.map(|it| (it.collection, it.role, it.purpose, it.reads)).collect()
}

fn line(role: &str, purpose: &str, reads: u64) -> (String, String, String, u64) {
    ("payments".into(), role.into(), purpose.into(), reads)
}

#[tokio::test(flavor = "multi_thread")]
async fn logged_reads_of_a_person_are_told_by_role_and_purpose() {
    let (place, clock, shard, mut session) = started().await;
    for (subject, first) in [("anna", 1), ("boris", 10)] {
        for (n, key) in (first..).zip(["a", "b"]) {
            let put = put_ru(subject, key, b"x", n);
            let put = proto::Put { collection: "payments".into(), ..put };
            session.put(put).await.unwrap();
        }
        session.put(put_ru(subject, "a", b"x", first + 5)).await.unwrap();
    }
    for key in ["a", "b", "a"] {
        session.get("anna", "payments", key).await.unwrap();
    }
    // Counted reads are not told by person, nor is a list of the whole collection.
    session.get("anna", "profiles", "a").await.unwrap();
    let page = |subject: &str| proto::List {
        collection: "payments".into(),
        subject: subject.into(),
        purpose: "care".into(),
        ..list("")
    };
    session.list(page("anna")).await.ok().unwrap();
    session.list(page("")).await.ok().unwrap();
    assert_eq!(
        lines(&mut session, "anna").await,
        [line("reader", "", 3), line("reader", "care", 1)]
    );
    assert_eq!(lines(&mut session, "boris").await, []);
    clock.set(&place, START + 5 * MINUTE);
    session.get("anna", "payments", "a").await.unwrap();
    let told = held(&mut session, "anna").await.unwrap();
    let first = told.accesses.first().unwrap();
    let minute = |ms: u64| u32::try_from(ms / MINUTE).unwrap();
    // The caller is where its gateway is.
    assert_eq!((first.reads, first.territory.as_str()), (4, "RU"));
    assert_eq!(first.first_minute, minute(START));
    assert_eq!(first.last_minute, minute(START + 5 * MINUTE));
    // As many as there are entries, but for the one of the whole collection; and by the same tag.
    let read: Vec<Entry> = of_kind(&shard, Kind::Read, 6).await;
    assert_eq!(read.len(), 6);
    let tag = read.first().unwrap().caller.as_ref().unwrap().tag;
    assert_eq!(first.caller_tag, tag.as_slice());

    // They are kept, and go with what they are about.
    drop(session);
    shard.stop().await.unwrap();
    let shard = place.open_made(place.settings()).await.unwrap();
    let shard = crate::support::Running::serve(shard, "ru-msk").await;
    let mut session = shard.session().await;
    session.get("boris", "payments", "a").await.unwrap();
    assert_eq!(
        lines(&mut session, "anna").await,
        [line("reader", "", 4), line("reader", "care", 1)]
    );
    let of_payments = proto::Erase { collection: "payments".into(), ..erase("anna", 30) };
    as_eraser(&mut session, Op::Erase(of_payments)).await.unwrap();
    assert_eq!(lines(&mut session, "anna").await, []);
    let told = held(&mut session, "anna").await.unwrap();
    let erased = told.erased.first().unwrap();
    assert_eq!(erased.collection, "payments");
    assert!(erased.minute >= minute(START + 5 * MINUTE));
    as_eraser(&mut session, Op::Erase(erase("boris", 31))).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
    assert_eq!(rows_in(&*place.store(), &[0x16]).len(), 0);
}
