//! What a mirror must not forget: forks that were shown for a moment, findings, keys on trust.

use audit::folder::{Standing, StandingKind};
use audit::mirror::{Breach, Error};
use audit::{Folder, Policy};
use client::Ledger;
use ledger::entry::{Entry, Kind};

use crate::mirror::{first, holds, look, show, take, what};
use crate::support::shard::{Shown, Shows, connect};
use crate::support::{Log, ORIGIN, files, genesis, place, signer};

/// A mirror of the first `size` entries of a log, and the shard that shows it.
async fn mirrored(log: &Log, size: u64) -> (tempfile::TempDir, Shown, Ledger, Folder) {
    let dir = tempfile::tempdir().expect("a folder");
    let shown = Shows::of(log.clone());
    show(&shown, |shows| shows.size = size);
    let shard = connect(&shown).await;
    take(&shard, dir.path()).await.expect("a log");
    let folder = Folder::of_log(dir.path(), ORIGIN).expect("a folder");
    (dir, shown, shard, folder)
}

fn standing(folder: &Folder) -> Vec<StandingKind> {
    folder.standing().expect("it can be read").iter().map(|s: &Standing| s.kind).collect()
}

#[tokio::test]
async fn a_fork_that_was_shown_before_hanging_up_is_not_forgotten() {
    let (log, fork) = (Log::new(ORIGIN, 1000, "a"), Log::new(ORIGIN, 900, "b"));
    let (dir, shown, shard, folder) = mirrored(&log, 500).await;
    show(&shown, |shows| (shows.logs, shows.size) = (vec![fork.clone()], 900));
    show(&shown, |shows| shows.break_after = Some(10));
    assert!(matches!(take(&shard, dir.path()).await, Err(Error::Call(_))));
    assert_eq!(standing(&folder), [StandingKind::Pending]);
    // The log goes on as if nothing had been, and does not reach what was signed yet.
    show(&shown, |shows| (shows.logs, shows.size) = (vec![log.clone()], 700));
    show(&shown, |shows| shows.break_after = None);
    let expect = Breach::RolledBack { ours: 900, theirs: 700 };
    assert_eq!(what(take(&shard, dir.path()).await), expect);
    holds(dir.path(), &log, 700);
    show(&shown, |shows| shows.size = 1000);
    let notes = Box::new([log.note(1000), fork.note(900)]);
    let expect = Breach::SplitView { ours: 1000, theirs: 900, notes };
    assert_eq!(what(take(&shard, dir.path()).await), expect);
    holds(dir.path(), &log, 1000);
    assert_eq!(standing(&folder), [StandingKind::Conflict]);
    // Nobody accuses twice, and the evidence stands.
    take(&shard, dir.path()).await.expect("a log");
    assert_eq!(standing(&folder), [StandingKind::Conflict]);
}

#[tokio::test]
async fn what_was_only_cut_short_is_no_evidence() {
    let log = Log::new(ORIGIN, 1000, "a");
    let (dir, shown, shard, folder) = mirrored(&log, 100).await;
    show(&shown, |shows| (shows.size, shows.break_after) = (800, Some(300)));
    assert!(matches!(take(&shard, dir.path()).await, Err(Error::Call(_))));
    assert_eq!(standing(&folder), [StandingKind::Pending]);
    show(&shown, |shows| (shows.size, shows.break_after) = (1000, None));
    take(&shard, dir.path()).await.expect("a log");
    assert!(standing(&folder).is_empty());
    assert!(files(folder.path()).iter().all(|file| !file.starts_with("pending")));
}

#[tokio::test]
async fn a_busy_shard_with_another_root_has_not_shown_two_faces() {
    let (log, fork) = (Log::new(ORIGIN, 1000, "a"), Log::new(ORIGIN, 900, "b"));
    let (dir, shown, shard, folder) = mirrored(&log, 500).await;
    show(&shown, |shows| (shows.logs, shows.size, shows.busy) = (vec![fork], 900, true));
    let found = what(take(&shard, dir.path()).await);
    assert_eq!(found, Breach::Unshown { ours: 500, theirs: 900 });
    assert!(found.to_string().contains("was not shown"), "{found}");
    assert_eq!(standing(&folder), [StandingKind::Pending]);
    holds(dir.path(), &log, 500);
}

#[tokio::test]
async fn a_damaged_folder_accuses_nobody() {
    let log = Log::new(ORIGIN, 1000, "a");
    let (dir, shown, shard, folder) = mirrored(&log, 1000).await;
    let tile = folder.path().join("tile/0/001");
    let mut bytes = std::fs::read(&tile).expect("a tile");
    bytes[5] ^= 1;
    std::fs::write(&tile, bytes).expect("room");
    // The same checkpoint: two signatures are compared, and no file.
    take(&shard, dir.path()).await.expect("a log");
    show(&shown, |shows| shows.size = 400);
    let found = take(&shard, dir.path()).await.expect_err("a damaged folder");
    assert!(matches!(found, Error::Folder { error: audit::folder::Error::Root, .. }), "{found}");
    assert!(standing(&folder).is_empty());
}

#[tokio::test]
async fn a_damaged_folder_accuses_nobody_of_what_is_pending() {
    let log = Log::new(ORIGIN, 1000, "a");
    let (dir, shown, shard, folder) = mirrored(&log, 1000).await;
    // Signed, and what the mirror begins with.
    let pending = folder.path().join("pending");
    std::fs::create_dir(&pending).expect("room");
    let note = pending.join("500-0123456789abcdef.checkpoint");
    std::fs::write(&note, log.note(500)).expect("room");
    let tile = folder.path().join("tile/0/001");
    let bytes = std::fs::read(&tile).expect("a tile");
    let mut damaged = bytes.clone();
    damaged[5] ^= 1;
    std::fs::write(&tile, damaged).expect("room");
    let found = take(&shard, dir.path()).await.expect_err("a damaged folder");
    assert!(matches!(found, Error::Folder { .. }), "{found}");
    assert!(note.exists() && standing(&folder) == [StandingKind::Pending]);
    std::fs::write(&tile, bytes).expect("room");
    take(&shard, dir.path()).await.expect("a log");
    assert!(!note.exists() && standing(&folder).is_empty());
    drop(shown);
}

#[tokio::test]
async fn messages_without_entries_are_refused() {
    let log = Log::new(ORIGIN, 1000, "a");
    let (dir, shown, shard, _) = mirrored(&log, 500).await;
    show(&shown, |shows| (shows.size, shows.empty) = (1000, true));
    assert!(matches!(what(take(&shard, dir.path()).await), Breach::BadAnswer(_)));
}

#[tokio::test]
async fn what_entries_break_is_said_until_somebody_has_dealt_with_it() {
    let mut log = Log::new(ORIGIN, 400, "a");
    for entry in &mut log.entries[150..300] {
        *entry = genesis("x").encode().expect("an entry");
    }
    log.entries[301] = Entry::new(Kind::Map, 7).encode().expect("an entry");
    let (dir, shown, shard, folder) = mirrored(&log, 100).await;
    assert!(standing(&folder).is_empty());
    show(&shown, |shows| shows.size = 400);
    let pulled = take(&shard, dir.path()).await.expect("a log");
    assert_eq!(pulled[0].findings.len(), 100);
    // Found once, said again by whoever looks, and none is lost.
    for _ in 0..2 {
        let pulled = take(&shard, dir.path()).await.expect("a log");
        assert!(pulled[0].findings.is_empty());
        let standing = folder.standing().expect("it can be read");
        assert_eq!(standing.len(), 101);
        assert!(standing[0].text.ends_with("entry 150 is a second GENESIS"), "{}", standing[0]);
        assert_eq!(standing[100].text, "findings: 51 more were found, and not kept");
    }
    std::fs::remove_file(folder.path().join("findings")).expect("a file");
    take(&shard, dir.path()).await.expect("a log");
    assert!(standing(&folder).is_empty());
}

#[tokio::test]
async fn a_log_that_has_ended_has_ended_for_good() {
    let minute = 29_000_000;
    let after = [Entry::new(Kind::Seal, minute), place(1, "a"), place(2, "a"), place(3, "a")];
    let log = Log::of(ORIGIN, &after);
    let (dir, shown, shard, folder) = mirrored(&log, 3).await;
    assert_eq!(standing(&folder), [StandingKind::Entry]);
    show(&shown, |shows| shows.size = 5);
    let pulled = take(&shard, dir.path()).await.expect("a log");
    // The entry before these is no SEAL any more, and the log has ended all the same.
    assert!(pulled[0].sealed);
    assert_eq!(pulled[0].findings.len(), 2);
    assert_eq!(standing(&folder).len(), 3);
}

#[tokio::test]
async fn a_key_is_on_trust_until_a_policy_names_it() {
    let log = Log::new(ORIGIN, 20, "a");
    let (dir, _shown, shard, folder) = mirrored(&log, 10).await;
    for _ in 0..2 {
        assert!(take(&shard, dir.path()).await.expect("a log")[0].on_trust);
        assert!(
            audit::verify(&folder, audit::Against::default(), &mut |_, _| {})
                .expect("a log")
                .on_trust
        );
    }
    let text = format!("log {}\nquorum none\n", signer(ORIGIN).vkey());
    let policy = Policy::parse(&text).expect("a policy");
    assert!(
        !audit::verify(
            &folder,
            audit::Against { policy: Some(&policy), ..Default::default() },
            &mut |_, _| {}
        )
        .expect("a log")
        .on_trust
    );
    let pulled = first(look(&shard, dir.path(), Some(&policy)).await).expect("a log");
    assert!(!pulled[0].on_trust);
    assert!(!take(&shard, dir.path()).await.expect("a log")[0].on_trust);
}
