//! A subject with many records moves while it is written and read, with crashes of both shards and cuts of
//! the link at random. `tests/long/relocations` runs it with 10,000 records.

use super::*;

/// Records of the subject; `RELOCATION_RECORDS` in the environment: more of them.
const RECORDS: u64 = 150;
/// Records that are stored at the same time.
const AT_ONCE: u64 = 25;

#[expect(clippy::disallowed_methods, reason = "a long run is asked for by the environment")]
fn records() -> u64 {
    let more = std::env::var("RELOCATION_RECORDS").ok();
    more.and_then(|text| text.parse().ok()).unwrap_or(RECORDS)
}

/// Reads one record after another wherever the subject is. Each is there, or not for now. Gives how many
/// were read.
async fn read(rig: Arc<Rig>, records: u64, mut chance: Chance, end: Arc<AtomicBool>) -> u64 {
    let (mut home, mut found) = (0, 0);
    while !end.load(Ordering::Acquire) {
        let n = chance.below(records);
        let get = proto::Get {
            subject: "anna".into(),
            collection: "profiles".into(),
            key: format!("k{n}"),
            ..Default::default()
        };
        match rig.call(home, Op::Get(get)).await {
            Some(Ok(Outcome::Found(record))) => {
                assert_eq!(record.body, body(n), "{n}");
                found += 1;
            }
            Some(Ok(_)) => panic!("a get is answered with what was found"),
            Some(Err(fault)) if fault.reason == "SUBJECT_MOVED" => home = 1,
            Some(Err(fault)) => assert!(passes(&fault.reason), "{}", fault.reason),
            // The shard is down just now.
            None => sleep(Duration::from_millis(5)).await,
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn many_records_move_under_readers_writers_crashes_and_cuts() {
    let (records, mut chance) = (records(), Chance(77));
    let rig = Arc::new(Rig::new(77).await);
    for first in (0..records).step_by(usize::try_from(AT_ONCE).unwrap()) {
        let some = (first..records.min(first + AT_ONCE)).map(|n| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move {
                let op = Op::Put(put(&rig, "anna", &format!("k{n}"), &body(n)));
                assert_eq!(reason(rig.told(0, op).await), "done");
            })
        });
        for one in some.collect::<Vec<_>>() {
            one.await.unwrap();
        }
    }
    let end = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|n| tokio::spawn(write(Arc::clone(&rig), format!("w{n}"), Arc::clone(&end))))
        .collect();
    let readers: Vec<_> = (0..2)
        .map(|n| tokio::spawn(read(Arc::clone(&rig), records, Chance(n), Arc::clone(&end))))
        .collect();
    let chances = Chances { crash: 20, flush_fails: 10, reply_lost: 20, full: 20 };
    rig.regions.iter().for_each(|one| one.disk.set_chances(chances));
    // However fast it goes, each shard crashes in one of the commits that every move has.
    rig.regions.iter().for_each(|one| one.disk.fail_after(1, Fault::Crash));
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await), "done");
    // Some links carry a page, some more, some all of it.
    for _ in 0..8 {
        rig.cut_after(700_000 + chance.below(3_000_000));
        let side = usize::try_from(chance.below(2)).unwrap();
        let commits = usize::try_from(2 + chance.below(8)).unwrap();
        rig.regions[side].disk.fail_after(commits, Fault::Crash);
        sleep(Duration::from_millis(100 + chance.below(300))).await;
    }
    rig.cut_after(0);
    rig.regions.iter().for_each(|one| one.disk.set_chances(Chances::default()));
    rig.until("anna", &[State::Done]).await;
    end.store(true, Ordering::Release);
    let mut known = Vec::new();
    for writer in writers {
        known.push(writer.await.unwrap());
    }
    let mut found = 0;
    for reader in readers {
        found += reader.await.unwrap();
    }
    assert!(found > 0, "reads were served");
    for (n, known) in known.iter().enumerate() {
        check(&rig, 1, &format!("w{n}"), known, 77).await;
    }
    for n in 0..records {
        let there = get(&rig, 1, "anna", &format!("k{n}")).await.unwrap();
        assert!(there.version == 1 && there.body == body(n), "{n}");
    }
    let Ok(rig) = Arc::try_unwrap(rig) else { panic!("all have ended") };
    let (places, starts) = rig.stop().await;
    agree(&places, true);
    assert!(starts >= 3, "{starts}");
    println!("{records} records, {starts} starts, {found} reads");
}
