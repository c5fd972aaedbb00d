//! Puts that travel together: each gets its own answer or none, whatever the gateway and the wire do.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here fails the test"
)]

pub(crate) mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::{Access, Client, Error, Proof, Settings, Token, Written, api};
use fake::{Fake, Trick, Wire};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use crate::follow::desk::put;

type Done = Result<Written<api::PutRecordResponse>, Error>;

const ONCE: Settings =
    Settings { deadline: Duration::from_secs(10), attempts_max: 1, ..Settings::DEFAULT };
const PATIENT: Settings = Settings { attempts_max: 50, ..ONCE };
/// With a deadline that no machine is slow enough to meet.
const FAR: Settings = Settings { deadline: Duration::from_secs(240), ..PATIENT };

/// A put that is like no other.
fn numbered(n: u64) -> api::PutRecordRequest {
    let id = terms::RequestId::from_bytes(u128::from(n).to_be_bytes());
    let (key, body) = (format!("k{n}"), format!("body {n}").into());
    api::PutRecordRequest { key, body, request_id: id.to_string(), ..put(n.is_multiple_of(2)) }
}

fn lazy(url: &str, settings: Settings) -> Client {
    Client::lazy(url, settings).unwrap()
}

/// Puts with these numbers, all at once.
async fn together(client: &Client, numbers: std::ops::Range<u64>) -> Vec<(u64, Done)> {
    begun(client, numbers).join_all().await
}

/// The same, not waited for.
fn begun(client: &Client, numbers: std::ops::Range<u64>) -> JoinSet<(u64, Done)> {
    let mut tasks = JoinSet::new();
    for n in numbers {
        let client = client.clone();
        tasks.spawn(async move { (n, client.put(&numbered(n)).await) });
    }
    tasks
}

/// Has the client open a lane, by a few puts from that number on, and gives the next number.
async fn open(client: &Client, fake: &Fake, mut n: u64) -> u64 {
    let items = fake.items().len();
    let until = Instant::now() + Duration::from_secs(60);
    while fake.items().len() == items {
        assert!(Instant::now() < until, "no lane is opened");
        together(client, n..n + 2).await;
        n += 2;
        sleep(Duration::from_millis(5)).await;
    }
    n
}

fn reason(error: &Error) -> &str {
    error.refused().map_or("", |refused| refused.reason.as_str())
}

#[tokio::test]
async fn a_put_that_is_alone_goes_as_a_call_and_so_do_all_if_there_are_no_lanes() {
    let fake = Fake::start([]).await;
    let client = lazy(&fake.url(), ONCE);
    for n in 0..20 {
        client.put(&numbered(n)).await.unwrap();
    }
    let none = lazy(&fake.url(), Settings { lanes: 0, ..ONCE });
    for (_, done) in together(&none, 20..220).await {
        done.unwrap();
    }
    assert_eq!((fake.streams(), fake.calls()), (0, 220));
}

#[tokio::test]
async fn puts_that_meet_others_travel_together_and_each_has_its_own_receipt() {
    let fake = Fake::start([Trick::Reversed(7), Trick::Reversed(50)]).await;
    let client = lazy(&fake.url(), FAR).first_time();
    let first = open(&client, &fake, 0).await;
    let honest = Fake::start([]).await;
    let own = lazy(&honest.url(), Settings { attempts_max: 1, ..FAR }).first_time();
    let n = open(&own, &honest, 0).await;
    for round in 0..10 {
        for (n, done) in together(&own, n + round * 500..n + (round + 1) * 500).await {
            let done = done.unwrap();
            assert!(matches!(done.proof, Proof::Receipt(_)) && honest.has(&numbered(n)));
        }
    }
    assert!(honest.streams() <= Settings::DEFAULT.lanes, "{}", honest.streams());
    assert!(honest.items().len() > 4_500, "{} of 5,000", honest.items().len());
    // In another order, and with answers that come late: those of a group that is not full are held
    // until the gateway lets them go. Of two lanes these are fewer than 7 and fewer than 50.
    let mut tasks = begun(&client, first..first + 1_000);
    for _ in 0..900 {
        let (_, done) = tasks.join_next().await.unwrap().unwrap();
        done.unwrap();
    }
    fake.release();
    for (_, done) in tasks.join_all().await {
        done.unwrap();
    }
}

/// What each trick does to the puts of one client: none is answered wrongly, and a second attempt
/// settles those in doubt.
#[tokio::test]
async fn an_answer_that_cannot_be_matched_leaves_the_outcome_open_and_nothing_else() {
    let unknown = "WRITE_OUTCOME_UNKNOWN";
    let busy = (Code::ResourceExhausted, "SHARD_BUSY");
    for (trick, expected) in [
        (Trick::Twice, unknown),
        (Trick::Stray, unknown),
        (Trick::OtherId, unknown),
        (Trick::Empty, unknown),
        (Trick::Cut, unknown),
        (Trick::Ended, unknown),
        (Trick::Refused(Code::Unavailable, "SHUTTING_DOWN"), "SHUTTING_DOWN"),
        (Trick::Refused(Code::InvalidArgument, "FIELD_INVALID"), unknown),
        (Trick::No(busy.0, busy.1), busy.1),
        (Trick::No(Code::FailedPrecondition, "SUBJECT_UNKNOWN"), "SUBJECT_UNKNOWN"),
        (Trick::Swapped, unknown),
        (Trick::SwappedContents, ""),
        (Trick::Deleted, ""),
    ] {
        let fake = Fake::start([trick]).await;
        let client = lazy(&fake.url(), Settings { attempts_max: 1, lanes: 1, ..FAR });
        let n = open(&client, &fake, 0).await;
        let (mut failed, mut tasks) = (0, begun(&client, n..n + 64));
        // All but one, which may be of a group that is never full.
        for _ in 1..64 {
            let (n, done) = tasks.join_next().await.unwrap().unwrap();
            match done {
                Ok(done) => assert!(matches!(done.proof, Proof::Receipt(_)), "{trick:?} {n}"),
                Err(error) => {
                    failed += 1;
                    assert_eq!(reason(&error), expected, "{trick:?}: {error:?}");
                    let unproven = matches!(error, Error::Unproven(_));
                    assert_eq!(unproven, expected.is_empty(), "{trick:?}: {error:?}");
                }
            }
        }
        assert!(failed > 0, "{trick:?} is seen");
        tasks.shutdown().await;

        // As a backend that tries again: all are done where that is allowed.
        fake.add(trick);
        let client = lazy(&fake.url(), Settings { lanes: 1, ..PATIENT });
        let n = open(&client, &fake, 1_000).await;
        let again = together(&client, n..n + 64).await;
        let failed = again.iter().filter(|(_, done)| done.is_err()).count();
        let passes = expected == unknown || expected == "SHUTTING_DOWN";
        assert_eq!(failed == 0, passes, "{trick:?}: {failed}");
    }
}

#[tokio::test]
async fn a_deadline_holds_on_a_lane_and_a_stuck_one_is_left() {
    let fake = Fake::start([Trick::Held]).await;
    // Long enough that a slow machine opens the lane within it.
    let settings = Settings { deadline: Duration::from_secs(4), lanes: 1, ..PATIENT };
    let client = lazy(&fake.url(), settings);
    let n = open(&client, &fake, 0).await;
    let mut late = 0;
    // The gateway never answers: what ends these puts is their deadline alone.
    let puts = timeout(Duration::from_secs(60), together(&client, n..n + 50));
    for (_, done) in puts.await.expect("every put ends") {
        match done {
            Ok(_) => {}
            Err(Error::TimedOut) => late += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(late > 40, "{late}");
    // The next puts do not wait on that lane.
    for round in 0..4 {
        for (_, done) in together(&client, n + 100 + round * 50..n + 150 + round * 50).await {
            done.unwrap();
        }
    }
    let n = open(&client, &fake, n + 1_000).await;
    assert_eq!(fake.streams(), 2, "another lane was opened");
    client.put(&numbered(n)).await.unwrap();
}

#[tokio::test]
async fn the_answer_of_a_put_that_was_given_up_reaches_nobody() {
    let fake = Fake::start([Trick::Held]).await;
    let client = lazy(&fake.url(), Settings { attempts_max: 1, lanes: 1, ..FAR });
    let n = open(&client, &fake, 0).await;
    let mut tasks = JoinSet::new();
    let before = fake.items().len();
    for n in n..n + 300 {
        let client = client.clone();
        tasks.spawn(async move { client.put(&numbered(n)).await.is_ok() });
    }
    while fake.items().len() < before + 250 {
        sleep(Duration::from_millis(5)).await;
    }
    // They go, and their answers come afterwards, among those of others.
    tasks.shutdown().await;
    let others = tokio::spawn({
        let client = client.clone();
        async move { together(&client, n + 300..n + 600).await }
    });
    sleep(Duration::from_millis(100)).await;
    fake.release();
    for (n, done) in others.await.unwrap() {
        let done = done.unwrap();
        assert!(matches!(done.proof, Proof::Receipt(_)) && fake.has(&numbered(n)));
    }
    assert_eq!(fake.streams(), 1, "the lane goes on");
}

#[tokio::test]
async fn a_lane_has_room_for_so_many_puts_and_the_rest_waits() {
    let fake = Fake::start([Trick::Held]).await;
    let client = lazy(&fake.url(), Settings { lanes: 1, ..FAR });
    let n = open(&client, &fake, 0).await;
    let (most, calls) = (terms::limits::STREAM_IN_FLIGHT_MAX, fake.calls());
    let all = tokio::spawn({
        let client = client.clone();
        async move { together(&client, n..n + 3_000).await }
    });
    while fake.items().len() < most {
        sleep(Duration::from_millis(5)).await;
    }
    // Time in which more would come. Three were answered honestly.
    sleep(Duration::from_millis(500)).await;
    let items = fake.items().len();
    assert!((most..=most + 3).contains(&items), "{items} are on the lane");
    assert_eq!(fake.calls(), calls, "none went round it");
    fake.release();
    for (_, done) in all.await.unwrap() {
        done.unwrap();
    }
    // Large puts go as calls: nothing waits behind them.
    let large = |n| api::PutRecordRequest { body: vec![7; 65 << 10].into(), ..numbered(n) };
    let before = fake.calls();
    let (a, b) = (large(90_000), large(90_001));
    let (a, b) = tokio::join!(client.put(&a), client.put(&b));
    assert!(a.is_ok() && b.is_ok() && fake.calls() == before + 2);
}

#[tokio::test]
async fn a_lane_carries_only_puts_of_the_token_that_it_was_opened_with() {
    let fake = Fake::start([]).await;
    let second = Arc::new(AtomicBool::new(false));
    let source = Arc::clone(&second);
    let token = Token::given(move || {
        let name = if source.load(Ordering::Relaxed) { "second" } else { "first" };
        Some(name.to_owned())
    });
    let access = Access { token, ..Access::default() };
    let client = Client::lazy_with(&fake.url(), ONCE, access).unwrap();
    fake.accept("first");
    let n = open(&client, &fake, 0).await;
    // The token is changed: the old one is bad at once.
    second.store(true, Ordering::Relaxed);
    fake.accept("second");
    let old = fake.items().len();
    for (_, done) in together(&client, n..n + 200).await {
        done.unwrap();
    }
    sleep(Duration::from_millis(600)).await;
    open(&client, &fake, n + 200).await;
    assert!(fake.items()[old..].iter().all(|token| token.as_deref() == Some("Bearer second")));

    // The gateway refuses it before there is a new one, and then there is: one more attempt.
    second.store(false, Ordering::Relaxed);
    fake.accept("first");
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let token = Token::given(move || {
        let late = count.fetch_add(1, Ordering::Relaxed) > 300;
        Some(if late { "third" } else { "first" }.to_owned())
    });
    let client =
        Client::lazy_with(&fake.url(), ONCE, Access { token, ..Access::default() }).unwrap();
    let n = open(&client, &fake, 10_000).await;
    asked.store(0, Ordering::Relaxed);
    fake.accept("third");
    let ends = together(&client, n..n + 100).await;
    assert!(ends.iter().all(|(_, done)| {
        done.as_ref().err().is_none_or(|error| reason(error) == "IDENTITY_INVALID")
    }));
    asked.store(1_000, Ordering::Relaxed);
    for (_, done) in together(&client, n + 200..n + 400).await {
        done.unwrap();
    }
}

/// What draws the choices of one run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// One run: puts at random times, some given up, some with a short deadline, over a wire that is cut,
/// to a gateway that plays tricks. Whatever is answered is answered rightly, and whoever goes on
/// trying gets there.
async fn run(seed: u64) {
    const TRICKS: [Trick; 12] = [
        Trick::Honest,
        Trick::Reversed(2),
        Trick::Reversed(5),
        Trick::Twice,
        Trick::Stray,
        Trick::OtherId,
        Trick::Empty,
        Trick::Held,
        Trick::Cut,
        Trick::Ended,
        Trick::Refused(Code::Unavailable, "SHUTTING_DOWN"),
        Trick::Refused(Code::ResourceExhausted, "GATEWAY_BUSY"),
    ];
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let tricks: Vec<Trick> =
        (0..40).map(|_| TRICKS[usize::try_from(dice.roll(12)).unwrap()]).collect();
    let fake = Fake::start(tricks).await;
    let wire = Wire::to(fake.address).await;
    let client = lazy(&wire.url, Settings { attempts_max: 1_000, lanes: 2, ..FAR });
    let hasty = lazy(&wire.url, Settings { deadline: Duration::from_millis(30), ..PATIENT });
    let (mut patient, mut others) = (JoinSet::new(), JoinSet::new());
    for n in 0..600 {
        let own = if dice.roll(4) == 0 { hasty.clone() } else { client.clone() };
        let limit = Duration::from_millis(dice.roll(40));
        match dice.roll(4) {
            0 => drop(others.spawn(async move {
                // Given up at any moment.
                timeout(limit, own.put(&numbered(n))).await.ok().map(|done| (n, done))
            })),
            1 => drop(others.spawn(async move { Some((n, own.put(&numbered(n)).await)) })),
            _ => {
                let own = client.clone();
                patient.spawn(async move { (n, own.put(&numbered(n)).await) });
            }
        }
        match dice.roll(60) {
            0 => wire.cut(),
            1..10 => sleep(Duration::from_millis(dice.roll(4))).await,
            _ => {}
        }
    }
    sleep(Duration::from_millis(50)).await;
    fake.release();
    let right = |n: u64, done: &Written<api::PutRecordResponse>| {
        let kept = fake.has(&numbered(n)) && matches!(done.proof, Proof::Receipt(_));
        assert!(kept, "seed {seed}: put {n} has an answer that is not its own");
    };
    for (n, done) in patient.join_all().await {
        let done = done.unwrap_or_else(|error| panic!("seed {seed}: put {n}: {error:?}"));
        right(n, &done);
    }
    for (n, done) in others.join_all().await.into_iter().flatten() {
        match done {
            Ok(done) => right(n, &done),
            Err(Error::TimedOut) => {}
            Err(error) => {
                let refused = error.refused().is_some_and(|refused| refused.retryable);
                let broken = matches!(error, Error::Broken | Error::Unreachable(_));
                assert!(refused || broken, "seed {seed}: put {n}: {error:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_random_every_answer_is_that_of_its_own_put() {
    for seed in 1..=12 {
        timeout(Duration::from_secs(300), run(seed))
            .await
            .unwrap_or_else(|_| panic!("seed {seed}"));
    }
}
