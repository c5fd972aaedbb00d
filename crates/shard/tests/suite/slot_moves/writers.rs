//! Writers while slots move back and forth, with crashes and cuts by seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::Chances;
use tokio::time::sleep;
use wire::session::call::Op;

use super::{Rig, agree, found, get, person, put, wait_served, written};
use crate::relocation::rig::Chance;

/// Runs with random crashes and cuts; `SLOT_SEEDS` in the environment: more of them.
const SEEDS: u64 = 12;

/// Writes one record again and again until it is told to stop. Gives how many writes were acknowledged, and
/// the last body.
async fn write(rig: Arc<Rig>, subject: String, stop: Arc<AtomicBool>) -> (i64, Vec<u8>) {
    let (mut done, mut last) = (0, Vec::new());
    while !stop.load(Ordering::Acquire) {
        let body = format!("{subject} {done}").into_bytes();
        let put = put(&rig, &subject, "k", &body);
        let version = written(rig.told(Op::Put(put)).await).version;
        done += 1;
        assert_eq!(version, done, "each write is done once");
        let read = found(rig.told(get(&subject, "k")).await);
        assert_eq!((read.version, read.body.as_ref()), (done, body.as_slice()));
        last = body;
    }
    (done, last)
}

/// How many runs there are.
#[expect(clippy::disallowed_methods, reason = "a long run is asked for by the environment")]
fn seeds() -> u64 {
    let more = std::env::var("SLOT_SEEDS").ok();
    more.and_then(|more| more.parse().ok()).unwrap_or(SEEDS)
}

#[tokio::test(flavor = "multi_thread")]
async fn under_writers_crashes_and_cuts_nothing_is_lost_or_done_twice() {
    for seed in 0..seeds() {
        let rig = Arc::new(Rig::new(seed).await);
        let mut chance = Chance(seed);
        let stop = Arc::new(AtomicBool::new(false));
        let people = [person(764, 0), person(764, 1), person(765, 0)];
        let writers: Vec<_> = people
            .iter()
            .map(|subject| {
                tokio::spawn(write(Arc::clone(&rig), subject.clone(), Arc::clone(&stop)))
            })
            .collect();
        for at in [0, 1, 0] {
            rig.order(at, "764-765").await;
            let below = |chance: &mut Chance, n| usize::try_from(chance.below(n)).unwrap();
            let crash = u16::try_from(chance.below(100)).unwrap();
            let chances = Chances { crash, reply_lost: crash / 2, ..Chances::default() };
            rig.shards[below(&mut chance, 2)].disk.set_chances(chances);
            let bytes = [0, 3_000, 20_000][below(&mut chance, 3)];
            rig.shards.iter().for_each(|one| one.cut_after.store(bytes, Ordering::Release));
            sleep(Duration::from_millis(chance.below(300))).await;
            for one in &rig.shards {
                one.disk.set_chances(Chances::default());
                one.cut_after.store(0, Ordering::Release);
            }
            rig.until_done(at).await;
            wait_served(&rig, 1 - at, 764).await;
            wait_served(&rig, 1 - at, 765).await;
        }
        stop.store(true, Ordering::Release);
        for (writer, subject) in writers.into_iter().zip(&people) {
            let (done, last) = writer.await.unwrap();
            let read = found(rig.told(get(subject, "k")).await);
            assert_eq!((read.version, read.body.as_ref()), (done, last.as_slice()), "seed {seed}");
        }
        let rig = Arc::into_inner(rig).unwrap();
        let (places, _) = rig.stop().await;
        assert_eq!((agree(&places[0], &places[1]), agree(&places[1], &places[0])), (4, 2));
    }
}
