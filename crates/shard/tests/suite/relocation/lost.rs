//! The region to which a person has moved is restored from before the move, while the old home has not been
//! answered yet and still has what it gave away: whatever was done to the person since stays done.

use shard::Settings;
use wire::session::arrival::Step;
use wire::session::arrived::State as Arrived;

use super::restored::{as_source, asked};
use super::*;
use crate::support::Session;

const COLLECTIONS: [&str; 3] = ["profiles", "messages", "payments"];
const THIRD: &str = "kz-ala";
/// Time between two checkpoints of a region that signs none in time.
const SLOW: Duration = Duration::from_secs(3_600);

/// Anna's old home and her new one, and the id of the request by which she has moved.
struct Unanswered {
    home: Place,
    away: Place,
    order: Vec<u8>,
}

/// A shard that knows where those of other regions listen.
async fn serve(place: &Place, settings: Settings, others: &[(&'static str, u16)]) -> Running {
    let shard = place.open_made(settings).await.unwrap();
    let annex = |(region, port): &(&'static str, u16)| {
        let annex = Place::new(region).annex;
        let annex = annex.replace("127.0.0.1:1\"", &format!("127.0.0.1:{port}\""));
        Annex::parse(&annex, &place.map()).unwrap()
    };
    shard.peers().set(others.iter().map(annex).collect());
    Running::serve(shard, place.region).await
}

fn order(region: &str, country: &str, n: u64) -> proto::Relocate {
    proto::Relocate {
        subject: "anna".into(),
        region: region.into(),
        request_id: request_id(n).into(),
        reason: "the person has moved".into(),
        findings: findings(&[("citizenship", country), ("residence", country)]).into(),
        ..Default::default()
    }
}

impl Unanswered {
    /// Anna is served at her new home. No checkpoint says so, so her old home keeps what it has.
    async fn new() -> Self {
        let (home, away) = (Place::new(REGIONS[0]), Place::new(REGIONS[1]));
        away.start().await.stop().await.unwrap();
        away.save_store("yesterday");
        let target = serve(&away, Settings { beat: SLOW, ..away.settings() }, &[]).await;
        let shard = source(&home, target.port).await;
        let (mut here, mut there) = (shard.session().await, target.session().await);
        for (n, collection) in (1..).zip(COLLECTIONS) {
            let put = put_ru("anna", "k", b"body", n);
            here.put(proto::Put { collection: collection.into(), ..put }).await.unwrap();
        }
        let order = order(REGIONS[1], "DE", 10);
        here.call(Op::Relocate(order.clone())).await.ok().unwrap();
        until(&mut there, "done").await;
        assert_eq!(said(&mut here, "profiles").await, "SUBJECT_MOVING");
        drop((here, there));
        shard.stop().await.unwrap();
        target.stop().await.unwrap();
        Self { home, away, order: order.request_id.to_vec() }
    }

    /// Anna's new home, once more, with the other shards that it knows.
    async fn away(&self, others: &[(&'static str, u16)]) -> Running {
        serve(&self.away, self.away.settings(), others).await
    }

    /// The new home is restored from before the move.
    async fn lose(&self) {
        self.away.put_back_store("yesterday");
        unlocked(|| self.away.recover()).await.unwrap();
    }

    /// Both serve until the old home has ended the move. What the new one answers then.
    async fn end(&self) -> (Running, Running) {
        let target = self.away(&[]).await;
        let shard = source(&self.home, target.port).await;
        until(&mut shard.session().await, "SUBJECT_MOVED").await;
        (shard, target)
    }

    /// What that period of the log of the new home, which was restored, says of the move: the number of records
    /// of the entry that names the entry of the old home, and whether it says why it is there.
    fn said_again(&self, period: u32) -> (Option<u64>, bool) {
        let logs = [(&self.home, 1), (&self.away, period)];
        let [out, into] = logs.map(|(place, period)| {
            let all = place.entries(period);
            all.iter().map(|entry| Entry::decode(entry).unwrap()).collect::<Vec<_>>()
        });
        let (left, taken) = (ends(&out, Kind::MoveOut), ends(&into, Kind::MoveIn));
        let ([(at, _)], [(by, (origin, index))]) = (left.as_slice(), taken.as_slice()) else {
            panic!("each names the other once: {left:?} {taken:?}")
        };
        assert_eq!((origin.as_str(), index), ("sample/ru-msk/s1/1", at));
        let entry = |all: &[Entry], n: u64| all[usize::try_from(n).unwrap()].clone();
        let (gave, took) = (entry(&out, *at), entry(&into, *by));
        assert!(gave.commitment.is_some() && gave.commitment == took.commitment);
        assert!(took.log_key().is_some_and(|key| key.starts_with("sample/ru-msk/s1/1+")));
        (took.count(), took.reason().is_some())
    }
}

/// What becomes of a read.
async fn said(session: &mut Session, collection: &str) -> String {
    session.get("anna", collection, "k").await.err().unwrap_or_else(|| "done".to_owned())
}

/// Waits until a read of anna's profile comes to that.
async fn until(session: &mut Session, expected: &str) {
    let reads = async {
        while said(session, "profiles").await != expected {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), reads).await.expect("it comes to that in time");
}

/// Erases a collection; empty: all of it.
async fn erase(session: &mut Session, collection: &str, n: u64) {
    let erase = proto::Erase {
        subject: "anna".into(),
        collection: collection.into(),
        request_id: request_id(n).into(),
        reason: "asked for".into(),
        ..Default::default()
    };
    session.role = Some("eraser");
    assert_eq!(reason(session.call(Op::Erase(erase)).await), "done");
    session.role = None;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_was_erased_after_the_move_does_not_come_back() {
    let moved = Unanswered::new().await;
    let shard = moved.away(&[]).await;
    let mut session = shard.session().await;
    erase(&mut session, "messages", 20).await;
    erase(&mut session, "payments", 21).await;
    drop(session);
    shard.stop().await.unwrap();
    // A second time changes nothing.
    moved.lose().await;
    moved.lose().await;
    let (home, target) = moved.end().await;
    let mut there = target.session().await;
    assert_eq!(said(&mut there, "profiles").await, "done");
    for (n, collection) in [(2, "messages"), (3, "payments")] {
        assert_eq!(said(&mut there, collection).await, "RECORD_NOT_FOUND", "{collection}");
        // Nor does a late retry bring it back.
        let put = proto::Put {
            collection: collection.into(),
            create_subject: false,
            findings: Default::default(),
            ..put_ru("anna", "k", b"body", n)
        };
        assert_eq!(there.put(put).await.err().unwrap(), "COLLECTION_ERASED", "{collection}");
    }
    drop(there);
    home.stop().await.unwrap();
    target.stop().await.unwrap();
    let rows = moved.away.rows(&[0x10]);
    assert_eq!(rows.len(), 2, "the subject, and the head of her profile");
    assert_eq!(moved.said_again(3), (Some(3), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_has_moved_on_is_served_there_alone_and_the_old_home_ends_the_move() {
    let moved = Unanswered::new().await;
    let third = Place::new(THIRD);
    let far = third.start().await;
    let shard = moved.away(&[(THIRD, far.port)]).await;
    let (mut session, mut served) = (shard.session().await, far.session().await);
    let on = session.call(Op::Relocate(order(THIRD, "KZ", 30))).await;
    assert_eq!(reason(on), "done");
    until(&mut session, "SUBJECT_MOVED").await;
    drop(session);
    shard.stop().await.unwrap();
    moved.lose().await;
    let (home, target) = moved.end().await;
    assert_eq!(said(&mut target.session().await, "profiles").await, "SUBJECT_MOVED");
    assert_eq!(said(&mut served, "profiles").await, "done");
    drop(served);
    for shard in [home, target, far] {
        shard.stop().await.unwrap();
    }
    assert_eq!(moved.said_again(2), (Some(3), true));
    let left = moved.home.rows(&[0x10]);
    assert_eq!(left.len(), 1, "a tombstone is left at the old home");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_home_of_a_person_who_was_erased_after_the_move_ends_it() {
    let moved = Unanswered::new().await;
    let shard = moved.away(&[]).await;
    let mut session = shard.session().await;
    erase(&mut session, "", 20).await;
    drop(session);
    shard.stop().await.unwrap();
    moved.lose().await;
    // Neither does one who has a key of the old home's shard bring her back, nor keep the move from its end.
    let target = moved.away(&[]).await;
    let mut thief = as_source(&target).await;
    let begin = proto::Arrival {
        move_id: moved.order.clone().into(),
        subject: "anna".into(),
        step: Some(Step::Begin(travels::arriving().into())),
    };
    for _ in 0..2 {
        let answer = thief.call(Op::Arrival(begin.clone())).await;
        assert_eq!(reason(answer), "SUBJECT_ERASED");
        for step in [Step::Drop(true), Step::Adopt(proto::ArrivalEnd::default()), Step::Prove(true)]
        {
            assert!(asked(&mut thief, &moved.order, step).await.state() == Arrived::None);
        }
    }
    drop(thief);
    target.stop().await.unwrap();
    let (home, target) = moved.end().await;
    assert_eq!(said(&mut target.session().await, "profiles").await, "SUBJECT_ERASED");
    home.stop().await.unwrap();
    target.stop().await.unwrap();
    assert_eq!(moved.said_again(2), (Some(3), true));
    assert_eq!(moved.home.rows(&[0x10]).len(), 1, "a tombstone is left at the old home");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_from_before_the_person_left_and_came_back_is_served_alone_until_it_is_erased() {
    let (home, away) = (Place::new(REGIONS[0]), Place::new(REGIONS[1]));
    let shard = away.start().await;
    let german = proto::Put { findings: findings(GERMAN).into(), ..put_ru("anna", "k", b"old", 1) };
    shard.session().await.put(german).await.unwrap();
    shard.stop().await.unwrap();
    away.save_store("yesterday");
    let there = home.start().await;
    let shard = serve(&away, away.settings(), &[(REGIONS[0], there.port)]).await;
    let mut session = shard.session().await;
    let left = session.call(Op::Relocate(order(REGIONS[0], "RU", 2))).await;
    assert_eq!(reason(left), "done");
    until(&mut session, "SUBJECT_MOVED").await;
    drop(session);
    shard.stop().await.unwrap();
    let later = proto::Put { create_subject: false, ..put_ru("anna", "k", b"new", 3) };
    there.session().await.put(later).await.unwrap();
    there.stop().await.unwrap();
    // She comes back, and her old home is not answered.
    let target = serve(&away, Settings { beat: SLOW, ..away.settings() }, &[]).await;
    let there = source(&home, target.port).await;
    let back = there.session().await.call(Op::Relocate(order(REGIONS[1], "DE", 4))).await;
    assert_eq!(reason(back), "done");
    until(&mut target.session().await, "done").await;
    there.stop().await.unwrap();
    target.stop().await.unwrap();
    let moved = Unanswered { home, away, order: request_id(4) };
    moved.lose().await;
    let target = moved.away(&[]).await;
    let there = source(&moved.home, target.port).await;
    let mut session = target.session().await;
    assert_eq!(session.get("anna", "profiles", "k").await.unwrap().body, "old");
    assert_eq!(said(&mut there.session().await, "profiles").await, "SUBJECT_MOVING");
    // Erased here, she is not copied once more.
    erase(&mut session, "", 5).await;
    until(&mut there.session().await, "SUBJECT_MOVED").await;
    assert_eq!(said(&mut session, "profiles").await, "SUBJECT_ERASED");
    drop(session);
    for shard in [there, target] {
        shard.stop().await.unwrap();
    }
    assert_eq!(moved.home.rows(&[0x10]).len(), 1, "a tombstone is left at the other home");
}
