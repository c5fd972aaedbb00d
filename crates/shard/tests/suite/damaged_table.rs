//! A store of fjall with a damaged block that a compaction meets: the shard serves reads, refuses
//! writes, says which file it is, and so it is after each start.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use link::ops::health::Health;
use link::ops::metrics::Registry;

use crate::support::{Place, Running, Session, Stand, put_ru};

const BODY_BYTES: usize = 1 << 20;
/// Tables after which the library merges them.
const TABLES: usize = 4;
const DAMAGED: &str = "STORED_DATA_DAMAGED";

/// The tables of the store that a whole write buffer was written out into.
fn tables(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(tables(&path));
        } else if folder.ends_with("tables")
            && fs::metadata(&path).is_ok_and(|about| about.len() > 50 << 20)
        {
            all.push(path);
        }
    }
    all.sort();
    all
}

fn body(n: u64) -> Vec<u8> {
    let seed = n.to_be_bytes();
    seed.into_iter().cycle().take(BODY_BYTES).collect()
}

async fn put(session: &mut Session, n: u64) -> Result<(), String> {
    session.put(put_ru(&format!("p{n}"), "k", &body(n), n)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_table_ends_writes_and_not_the_shard() {
    let place = Place::on("ru-msk", Stand::Files(engine::Kind::Fjall));
    let shard = place.start().await;
    let mut session = shard.session().await;
    let mut puts = 0;
    while tables(&place.path("data")).len() < TABLES - 1 {
        put(&mut session, puts).await.unwrap();
        puts += 1;
    }
    drop(session);
    shard.stop().await.unwrap();
    let table = tables(&place.path("data")).pop().unwrap();
    let mut bytes = fs::read(&table).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    fs::write(&table, bytes).unwrap();

    for _ in 0..2 {
        let (health, mut registry) = (Health::new(), Registry::new());
        let shard = place.open_watched(place.settings(), &mut registry, health.clone()).await;
        let shard = Running::serve(shard.unwrap(), "ru-msk").await;
        let mut session = shard.session().await;
        let refused = loop {
            match put(&mut session, puts).await {
                Ok(()) => puts += 1,
                // What has happened is being looked for.
                Err(reason) if reason == "REGION_UNAVAILABLE" => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(reason) => break reason,
            }
        };
        assert_eq!(refused, DAMAGED);
        let mut damaged = 0;
        for n in 0..puts {
            match session.get(&format!("p{n}"), "profiles", "k").await {
                Ok(found) => assert!(found.body == body(n), "p{n}"),
                Err(reason) => {
                    assert_eq!(reason, DAMAGED);
                    damaged += 1;
                }
            }
        }
        assert!((1..=3).contains(&damaged), "{damaged} of {puts}");
        let page = health.ready_page();
        let file = table.display().to_string();
        for fact in ["store: damaged, restore it from a backup: ", "writes: refused: "] {
            let line = page.lines().find(|line| line.starts_with(fact));
            assert!(line.is_some_and(|line| line.contains(&file)), "{page}");
        }
        assert!(health.is_alive() && health.is_ready(), "{page}");
        drop(session);
        // It ends in good order, and not to be started again at once.
        shard.stop().await.unwrap();
    }
}
