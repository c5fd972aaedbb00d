//! What reads of the largest records take of a process's memory. Alone in its file: the peak is the
//! whole process's.
#![cfg(target_os = "linux")]

#[path = "suite/support/mod.rs"]
mod support;

use support::{Place, put_ru};
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;

const BODY_BYTES: usize = 16 << 20;
const READS: usize = 64;

/// The most that this process has had in memory so far, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("a peak") / 1_024
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_records_take_a_bounded_part_of_memory() {
    let mut place = Place::new("ru-msk");
    let rules = "name = \"profiles\"\n";
    assert!(place.map.contains(rules));
    place.map = place.map.replace(rules, &format!("{rules}body_bytes_max = {BODY_BYTES}\n"));
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "k", &vec![7; BODY_BYTES], 1)).await.unwrap();
    let before = peak_mib();
    let calls: Vec<_> = (0..READS)
        .map(|_| {
            let get = proto::Get {
                subject: "anna".into(),
                collection: "profiles".into(),
                key: "k".into(),
                ..Default::default()
            };
            let mut call = session.wrap(Op::Get(get));
            call.deadline_ms = 600_000;
            call
        })
        .collect();
    session.send(calls).await;
    let mut found = 0;
    while found < READS {
        let frame = session.answers.message().await.expect("open").expect("open");
        for reply in frame.replies {
            let Some(Outcome::Found(body)) = reply.outcome else { panic!("not found") };
            assert_eq!(body.body.len(), BODY_BYTES);
            found += 1;
        }
    }
    // The room for answers, and for each group of reads a row beside it; what the test itself
    // takes of each answer comes on top. Without the bound it is well over 1,000.
    let after = peak_mib();
    assert!(after - before < 400, "{before} MiB before, {after} MiB after");
    drop(session);
    shard.stop().await.unwrap();
}
