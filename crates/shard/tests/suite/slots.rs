//! Several shards of one region over real sessions: none serves a slot before each other one has said
//! that it does not have it, and what a session is told when that changes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use shard::{Erasures, KeyringSource};
use terms::{ShardId, Slot, SlotSet};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use wire::session as proto;

use crate::attributes::list;
use crate::changes::{changes, with_feed};
use crate::support::{Place, Running, Session, put_ru};

/// Longer than a loaded machine takes.
const WITHIN: Duration = Duration::from_secs(120);
/// Slots 342, 764 and 796 (`terms` says how they are computed).
const LOW: &str = "p2";
const MIDDLE: &str = "p-1";
const HIGH: &str = "p0";

pub(crate) fn slots(range: std::ops::Range<u16>) -> SlotSet {
    range.filter_map(Slot::new).collect()
}

/// A port that is free, and stays so for this test.
pub(crate) async fn port() -> u16 {
    listen(0).await.local_addr().unwrap().port()
}

async fn listen(port: u16) -> TcpListener {
    link::net::listener::bind(([127, 0, 0, 1], port).into()).await.unwrap()
}

/// An annex with these shards: name, port, slots.
pub(crate) fn annex(shards: &[(&str, u16, &str)]) -> String {
    let shard = |(name, port, slots): &(&str, u16, &str)| {
        format!(
            "[[shards]]\nname = \"{name}\"\naddress = \"http://127.0.0.1:{port}\"\n\
             slots = \"{slots}\"\n"
        )
    };
    "region = \"ru-msk\"\n".to_owned() + &shards.iter().map(shard).collect::<String>()
}

/// One shard of the region.
pub(crate) struct One {
    pub(crate) place: Place,
    name: &'static str,
    port: u16,
}

impl One {
    pub(crate) fn new(name: &'static str, port: u16, annex: String) -> Self {
        let mut place = Place::new("ru-msk");
        place.annex = annex;
        Self { place, name, port }
    }

    pub(crate) fn settings(&self) -> shard::Settings {
        shard::Settings { shard: ShardId::parse(self.name).unwrap(), ..self.place.settings() }
    }

    /// Makes it, with the keyring of another one.
    pub(crate) fn init(&self, of: Option<&Self>) {
        let keyring = of.map(|of| of.place.settings().keys.join("ru-msk.keyring"));
        let keyring = keyring.map_or(KeyringSource::New, KeyringSource::File);
        self.place.init_with(&self.settings(), &keyring).unwrap();
    }

    pub(crate) async fn start(&self) -> Running {
        let shard = self.place.open_made(self.settings()).await.unwrap();
        Running::serve_on(shard, "ru-msk", None, listen(self.port).await).await
    }

    /// A session, and the slots of its welcome.
    pub(crate) async fn session(&self, running: &Running) -> (Session, SlotSet) {
        let hello = proto::Hello { shard: self.name.into(), ..running.hello() };
        let (session, first) = running.session_as(hello).await;
        (session, SlotSet::from_bytes(&first.welcome.unwrap().slots).unwrap())
    }
}

/// Waits until the session is told of other slots.
pub(crate) async fn told(session: &mut Session) -> SlotSet {
    let told = async {
        loop {
            let frame = session.answers.message().await.unwrap().unwrap();
            if !frame.slots.is_empty() {
                return SlotSet::from_bytes(&frame.slots).unwrap();
            }
        }
    };
    timeout(WITHIN, told).await.expect("the slots are not confirmed")
}

async fn put(session: &mut Session, subject: &str, n: u64) -> Result<(), String> {
    session.put(put_ru(subject, "k", b"body", n)).await.map(drop)
}

fn refused() -> Result<(), String> {
    Err("SLOT_NOT_OWNED".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_served_once_each_other_shard_has_said_that_it_does_not_have_it() {
    let (p1, p2) = (port().await, port().await);
    let two = annex(&[("s1", p1, "0-511"), ("s2", p2, "512-1023")]);
    let (first, second) = (One::new("s1", p1, two.clone()), One::new("s2", p2, two));
    first.init(None);
    second.init(Some(&first));

    // Alone, it does not know.
    let one = first.start().await;
    let (mut of_one, served) = first.session(&one).await;
    assert_eq!(served, SlotSet::NONE);
    assert_eq!(put(&mut of_one, LOW, 1).await, refused());

    let two = second.start().await;
    let (mut of_two, mut served) = second.session(&two).await;
    assert_eq!(told(&mut of_one).await, slots(0..512));
    if served.is_empty() {
        served = told(&mut of_two).await;
    }
    assert_eq!(served, slots(512..1024));
    for (session, here, there, n) in [(&mut of_one, LOW, HIGH, 2), (&mut of_two, HIGH, LOW, 3)] {
        assert_eq!(put(session, here, n).await, Ok(()));
        assert_eq!(put(session, there, n).await, refused());
        assert!(session.get(here, "profiles", "k").await.is_ok());
    }

    // From then on it serves, whatever becomes of the other one.
    drop((of_one, of_two));
    one.stop().await.unwrap();
    two.stop().await.unwrap();
    let one = first.start().await;
    let (session, served) = first.session(&one).await;
    assert_eq!(served, slots(0..512));
    drop(session);
    one.stop().await.unwrap();

    // A store that was recovered may have been replaced meanwhile: the other one is asked again.
    first.place.recover_as(&first.settings(), &Erasures::Known(Vec::new())).unwrap();
    let one = first.start().await;
    let (mut session, served) = first.session(&one).await;
    assert_eq!(served, SlotSet::NONE);
    assert_eq!(put(&mut session, LOW, 4).await, refused());
    let two = second.start().await;
    assert_eq!(told(&mut session).await, slots(0..512));
    assert!(session.get(LOW, "profiles", "k").await.is_ok());
    drop(session);
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_over_all_people_is_refused_until_all_slots_are_confirmed() {
    let (p1, p2) = (port().await, port().await);
    let both = annex(&[("s1", p1, "0-511"), ("s2", p2, "512-1023")]);
    let mut first = One::new("s1", p1, both.clone());
    let mut second = One::new("s2", p2, both);
    first.place.map = with_feed();
    second.place.map = with_feed();
    first.init(None);
    second.init(Some(&first));
    let (one, two) = (first.start().await, second.start().await);
    let (mut session, served) = first.session(&one).await;
    if served.is_empty() {
        told(&mut session).await;
    }
    assert_eq!(put(&mut session, LOW, 1).await, Ok(()));
    drop(session);
    one.stop().await.unwrap();
    two.stop().await.unwrap();

    // Its records are there, and served by no one: a list without them would look whole, and a count of
    // them would name people that another shard may have.
    first.place.recover_as(&first.settings(), &Erasures::Known(Vec::new())).unwrap();
    let one = first.start().await;
    let (mut session, served) = first.session(&one).await;
    assert_eq!(served, SlotSet::NONE);
    let number = || proto::List { count: true, ..list("") };
    for asked in [list(""), number(), changes(b"")] {
        assert_eq!(session.list(asked).await.err().unwrap().reason, "SLOT_NOT_OWNED");
    }
    let two = second.start().await;
    assert_eq!(told(&mut session).await, slots(0..512));
    let listed = session.list(list("")).await.map_err(|fault| fault.reason).unwrap();
    assert_eq!(listed.records.len(), 1);
    let counted = session.list(number()).await.map_err(|fault| fault.reason).unwrap();
    assert_eq!(counted.count, 1);
    drop(session);
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_made_with_slots_of_another_shard_serves_none_of_these() {
    let (p1, p2) = (port().await, port().await);
    let (wide, narrow) = ("0-767", "0-511");
    let mut first = One::new("s1", p1, annex(&[("s1", p1, wide), ("s3", 1, "768-1023")]));
    first.init(None);
    // The annex names no other shard now: there is none that could have them.
    first.place.annex = annex(&[("s1", p1, "0-1023")]);
    let one = first.start().await;
    let (mut of_one, mut served) = first.session(&one).await;
    if served.is_empty() {
        served = told(&mut of_one).await;
    }
    assert_eq!(served, slots(0..768));
    assert_eq!(put(&mut of_one, MIDDLE, 1).await, Ok(()));

    // An annex gives some of them to another shard, and that one is made.
    let second = One::new("s2", p2, annex(&[("s1", p1, narrow), ("s2", p2, "512-1023")]));
    second.init(Some(&first));
    let two = second.start().await;
    let (mut of_two, mut served) = second.session(&two).await;
    if served.is_empty() {
        served = told(&mut of_two).await;
    }
    assert_eq!(served, slots(768..1024));
    assert_eq!(put(&mut of_two, HIGH, 2).await, Ok(()));
    assert_eq!(put(&mut of_two, MIDDLE, 3).await, refused());
    // The person is where she was.
    assert_eq!(put(&mut of_one, MIDDLE, 4).await, Ok(()));
    drop((of_one, of_two));
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_new_stores_with_the_same_slots_serve_neither_of_them() {
    let (p1, p2) = (port().await, port().await);
    // The first asks the second through this: each question is a connection.
    let door = listen(0).await;
    let at = door.local_addr().unwrap().port();
    let (count, mut questions) = watch::channel(0_u64);
    let carried = tokio::spawn(async move {
        while let Ok((mut near, _)) = door.accept().await {
            count.send_modify(|n| *n += 1);
            tokio::spawn(async move {
                if let Ok(mut far) = TcpStream::connect(("127.0.0.1", p2)).await {
                    drop(copy_bidirectional(&mut near, &mut far).await);
                }
            });
        }
    });
    let first = One::new("s1", p1, annex(&[("s1", p1, "0-767"), ("s2", at, "768-1023")]));
    let second = One::new("s2", p2, annex(&[("s1", p1, "0-511"), ("s2", p2, "512-1023")]));
    first.init(None);
    second.init(Some(&first));
    let (one, two) = (first.start().await, second.start().await);
    for (one, running, expected) in
        [(&first, &one, slots(0..512)), (&second, &two, slots(768..1024))]
    {
        let (mut session, mut served) = one.session(running).await;
        if served.is_empty() {
            served = told(&mut session).await;
        }
        assert_eq!(served, expected);
        assert_eq!(put(&mut session, MIDDLE, 1).await, refused());
    }
    // However often it asks. The last but one of these was answered before the last was asked.
    let asked = *questions.borrow_and_update();
    let again = questions.wait_for(|n| *n > asked + 2);
    timeout(WITHIN, again).await.expect("it asks again").unwrap();
    let (mut session, served) = first.session(&one).await;
    assert_eq!(served, slots(0..512));
    assert_eq!(put(&mut session, MIDDLE, 2).await, refused());
    drop(session);
    carried.abort();
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn four_shards_of_a_region_confirm_one_another() {
    let names = ["s1", "s2", "s3", "s4"];
    let mut shards = Vec::new();
    for (n, name) in (0_u16..).zip(names) {
        shards.push((name, port().await, format!("{}-{}", n * 256, n * 256 + 255)));
    }
    let all: Vec<_> = shards.iter().map(|(name, port, own)| (*name, *port, own.as_str())).collect();
    let all = annex(&all);
    let shards: Vec<One> =
        shards.iter().map(|(name, port, _)| One::new(name, *port, all.clone())).collect();
    let mut first = None;
    for shard in &shards {
        shard.init(first);
        first = first.or(Some(shard));
    }
    let (mut running, mut sessions) = (Vec::new(), Vec::new());
    for shard in &shards {
        // Each waits for the last one.
        running.push(shard.start().await);
        let (session, served) = shard.session(running.last().unwrap()).await;
        sessions.push((session, served));
    }
    let mut union = SlotSet::NONE;
    for (n, (session, served)) in (0_u16..).zip(&mut sessions) {
        if served.is_empty() {
            *served = told(session).await;
        }
        assert_eq!(*served, slots(n * 256..n * 256 + 256));
        assert!(union.and(served).is_empty());
        union = union.or(served);
    }
    assert_eq!(union, SlotSet::ALL);
    drop(sessions);
    for shard in running {
        shard.stop().await.unwrap();
    }
}
