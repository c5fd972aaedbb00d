//! Copies of what changes at the home: deletions that are answered before a mirror is reached, rulings that
//! are made again, people that a record names, and attachments.

use atlas::Annex;
use link::ops::health::Health;
use link::ops::metrics::Registry;
use wire::session::upload;

use super::maps::{next_map, start, stop, until_copied};
use super::*;
use crate::participants::{named, naming};
use crate::support::{Running, request_id};

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_deletion_names_the_regions_that_still_have_a_copy() {
    let rig = rig(21).await;
    written(&rig, put(&rig, "anna", "k", b"body")).await;
    written(&rig, Op::Put(put_ru("bert", "k", b"at home only", 900))).await;
    has_version(&rig, "anna", "k", 1).await;
    assert!(written(&rig, delete(&rig, "bert", "k")).await.copied.is_empty());
    rig.hold_after(1, 0);
    let op = delete(&rig, "anna", "k");
    for replayed in [false, true, true] {
        let done = written(&rig, op.clone()).await;
        assert_eq!((done.replayed, done.copied), (replayed, vec!["kz-ala".to_owned()]));
    }
    rig.hold_after(1, u64::MAX);
    let asked = async {
        while !written(&rig, op.clone()).await.copied.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, asked).await.expect("the copy is deleted in time");
    assert_eq!(found(&rig, 1, "anna", "k").await.err().unwrap(), "RECORD_NOT_FOUND");
    rig.stop().await;
}

/// Has the rulings of a person made again for another residence.
async fn reassess(rig: &Rig, residence: &str) {
    let of = proto::Reassess {
        subject: "anna".into(),
        findings: findings(&[("residence", residence)]).into(),
        reason: "the person has moved".into(),
        ..Default::default()
    };
    let done = written(rig, Op::Reassess(of)).await;
    assert!(done.stands);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_a_ruling_takes_away_and_gives_back_has_the_copies_again() {
    let rig = rig(22).await;
    written(&rig, put(&rig, "anna", "k", b"body")).await;
    has_version(&rig, "anna", "k", 1).await;
    reassess(&rig, "RU").await;
    is_gone(&rig, "anna", "k").await;
    reassess(&rig, "KZ").await;
    has_version(&rig, "anna", "k", 1).await;
    // Also where the mirror learns of the first only after the second.
    rig.hold_after(1, 0);
    for residence in ["RU", "KZ", "RU", "KZ"] {
        reassess(&rig, residence).await;
        // Most often the home has looked by then; otherwise less is tested.
        sleep(Duration::from_millis(700)).await;
    }
    rig.hold_after(1, u64::MAX);
    written(&rig, put(&rig, "anna", "new", b"after it")).await;
    has_version(&rig, "anna", "new", 1).await;
    has_version(&rig, "anna", "k", 1).await;
    reassess(&rig, "RU").await;
    is_gone(&rig, "anna", "k").await;
    erased(&rig, erase(&rig, "anna", "")).await;
    let (places, _) = rig.stop().await;
    agree(&places);
    for prefix in [0x20, 0x38, 0x39] {
        assert_eq!(rows(&places[0], prefix), 0, "{prefix:02x}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_names_a_person_is_not_read_once_it_may_not_lie_there_with_that_person() {
    let (home, mut mirror) = (Place::new(REGIONS[0]), Place::new(REGIONS[1]));
    let (here, there) = start(&home, &mirror).await;
    let (mut session, mut reader) = (here.session().await, there.session().await);
    let both = |key: &str, n| proto::Put {
        findings: findings(BOTH).into(),
        ..put_ru("anna", key, b"body", n)
    };
    session.put(naming(both("with", 1), vec![named("claire", "eu-fra", &["EEA"])])).await.unwrap();
    session.put(both("alone", 2)).await.unwrap();
    for key in ["with", "alone"] {
        until_copied(&mut reader, "anna", key, true).await;
    }
    drop((session, reader));
    stop([here, there]).await;
    // The mirror's next map has no clause for the other person any more; that for the record's owner stands.
    let (before, after) = (["EEA", "KZ"], ["EEA", "GB"]);
    let [before, after] =
        [before, after].map(|[from, to]| format!("from = \"{from}\"\nto = \"{to}\"\n"));
    let next = next_map(&mirror, 2, true);
    assert!(next.contains(&before));
    mirror.map = next.replacen(&before, &after, 1);
    let there = mirror.start().await;
    let mut reader = there.session().await;
    let mut read = async |key: &str| match reader.call(get("anna", key, REGIONS[0])).await {
        Ok(_) => "found".to_owned(),
        Err(fault) => fault.reason,
    };
    assert_eq!(read("with").await, "RECORD_NOT_FOUND");
    assert_eq!(read("alone").await, "found");
    drop(reader);
    there.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_of_which_a_law_wants_a_copy_is_refused() {
    let place = Place::new(REGIONS[0]);
    let shard = place.start().await;
    let mut session = shard.session().await;
    let step = |subject: &str, evidence: &[(&str, &str)], n| {
        let put = proto::Put {
            body: Vec::new().into(),
            findings: findings(evidence).into(),
            ..put_ru(subject, "film", b"", n)
        };
        Op::Upload(proto::Upload {
            put: Some(put),
            size: 4,
            sha256: vec![7; 32].into(),
            step: Some(upload::Step::Begin(true)),
        })
    };
    let russian: &[(&str, &str)] = &[("citizenship", "RU"), ("residence", "RU")];
    assert!(session.call(step("bert", russian, 1)).await.is_ok());
    let fault = session.call(step("anna", BOTH, 2)).await.err().unwrap();
    assert_eq!(fault.reason, "NOT_BUILT");
    assert!(fault.problem.contains("none is made of an attachment"), "{}", fault.problem);
    assert_ne!(request_id(1), request_id(2));
    drop(session);
    shard.stop().await.unwrap();
    assert_eq!(place.rows(&[0x13]).len(), 1, "nothing is begun for the other one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_refuses_costs_the_home_no_more_than_one_commit() {
    let (home, mut mirror) = (Place::new(REGIONS[0]), Place::new(REGIONS[1]));
    mirror.map = next_map(&home, 2, false);
    let there = mirror.start().await;
    home.init_as(&home.settings()).unwrap();
    let mut registry = Registry::new();
    let shard = home.open_watched(home.settings(), &mut registry, Health::new()).await.unwrap();
    let annex = mirror.annex.replace("127.0.0.1:1\"", &format!("127.0.0.1:{}\"", there.port));
    shard.peers().set(vec![Annex::parse(&annex, &home.map()).unwrap()]);
    let here = Running::serve(shard, home.region).await;
    let mut session = here.session().await;
    let put = put_ru("anna", "main", &[7; 9_000], 1);
    session.put(proto::Put { findings: findings(BOTH).into(), ..put }).await.unwrap();
    let number = |name: &str| -> u64 {
        let (page, line) = (registry.encode(), format!("bailiwick_shard_{name}_total "));
        page.lines().find_map(|found| found.strip_prefix(&*line)?.parse().ok()).unwrap()
    };
    let halted = async |times| {
        while number("copies_halted") < times {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, halted(2)).await.expect("it is refused in time");
    let commits = number("commits");
    timeout(WITHIN, halted(5)).await.expect("it is refused again in time");
    assert_eq!(number("commits"), commits);
    drop(session);
    stop([here, there]).await;
}
