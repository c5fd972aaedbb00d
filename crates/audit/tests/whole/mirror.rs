//! Mirrors of a shard's logs: what is taken, what is refused, and what an interruption leaves.

use std::path::Path;

use crate::support::shard::{Shown, Shows, connect};
use crate::support::{Log, MAP, ORIGIN, files, signer};
use audit::mirror::{Alarm, Breach, Error, KeyFrom, Mirrors, Pull, Pulled, old_heads, pull};
use audit::{Against, Folder, Policy, verify};
use client::Ledger;
use ledger::entry::{Detail, Entry, Kind};

pub(crate) async fn look(shard: &Ledger, place: &Path, policy: Option<&Policy>) -> Pull {
    pull(shard, &Mirrors { place, policy, named: None, entries_max: None }, &mut |_, _, _| {}).await
}

/// The logs, or the first thing that is wrong.
pub(crate) fn first(mut pull: Pull) -> Result<Vec<Pulled>, Error> {
    if pull.errors.is_empty() { Ok(pull.logs) } else { Err(pull.errors.remove(0)) }
}

pub(crate) async fn take(shard: &Ledger, place: &Path) -> Result<Vec<Pulled>, Error> {
    first(look(shard, place, None).await)
}

pub(crate) fn what(result: Result<Vec<Pulled>, Error>) -> Breach {
    match result {
        Err(Error::Alarm(Alarm { what, .. })) => what,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("nothing was found"),
    }
}

/// Whether the mirror is the log of that size.
pub(crate) fn holds(place: &Path, log: &Log, size: u64) {
    let folder = Folder::of_log(place, &log.origin).expect("a folder");
    let verified = verify(&folder, Against::default(), &mut |_, _| {}).expect("a whole mirror");
    assert_eq!(verified.checkpoint, log.checkpoint(size));
}

pub(crate) fn show(shown: &Shown, change: impl FnOnce(&mut Shows)) {
    change(&mut shown.lock().expect("a lock"));
}

#[tokio::test]
async fn a_mirror_grows_with_its_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = Log::new(ORIGIN, 3000, "a");
    let shown = Shows::of(log.clone());
    let shard = connect(&shown).await;
    let mut before = 0;
    for size in [0, 1, 255, 256, 257, 700, 700, 2000, 3000] {
        show(&shown, |shows| shows.size = size);
        let pulled = take(&shard, dir.path()).await.expect("a log");
        assert_eq!(pulled.len(), 1);
        assert_eq!((pulled[0].before, pulled[0].checkpoint.size), (before, size));
        assert!(pulled[0].findings.is_empty(), "{:?}", pulled[0].findings);
        let from = if before == 0 && size == 0 { KeyFrom::Shard } else { KeyFrom::Mirror };
        assert_eq!(pulled[0].key_from, from);
        holds(dir.path(), &log, size);
        before = size;
    }
    // What it has is what it would have if it had been taken at once.
    let other = tempfile::tempdir().expect("a folder");
    log.write(other.path());
    let mut wanted = files(other.path());
    wanted.extend(["state", "vkey.on-trust"].map(str::to_owned));
    wanted.sort();
    assert_eq!(files(&dir.path().join("ru-msk.a.1")), wanted);
}

#[tokio::test]
async fn an_interrupted_pull_goes_on_where_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = Log::new(ORIGIN, 3000, "a");
    let shown = Shows::of(log.clone());
    let shard = connect(&shown).await;
    show(&shown, |shows| shows.size = 100);
    take(&shard, dir.path()).await.expect("a log");
    show(&shown, |shows| (shows.size, shows.break_after) = (3000, Some(1000)));
    assert!(matches!(take(&shard, dir.path()).await, Err(Error::Call(_))));
    holds(dir.path(), &log, 100);
    show(&shown, |shows| shows.break_after = None);
    take(&shard, dir.path()).await.expect("a log");
    holds(dir.path(), &log, 3000);
    // The bundles that were full are not asked for again.
    assert_eq!(shown.lock().expect("a lock").asked, [0, 100, 1024]);
}

#[tokio::test]
async fn what_an_interrupted_pull_left_is_not_believed() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = Log::new(ORIGIN, 3000, "a");
    let shown = Shows::of(log.clone());
    let shard = connect(&shown).await;
    show(&shown, |shows| (shows.break_after, shows.wrong) = (Some(1000), Some(300)));
    assert!(matches!(take(&shard, dir.path()).await, Err(Error::Call(_))));
    show(&shown, |shows| (shows.break_after, shows.wrong) = (None, None));
    take(&shard, dir.path()).await.expect("a log");
    holds(dir.path(), &log, 3000);
    assert_eq!(shown.lock().expect("a lock").asked, [0, 768, 0]);
}

#[tokio::test]
async fn a_log_that_goes_back_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = Log::new(ORIGIN, 1000, "a");
    let shown = Shows::of(log.clone());
    let shard = connect(&shown).await;
    take(&shard, dir.path()).await.expect("a log");
    show(&shown, |shows| shows.size = 900);
    let expect = Breach::RolledBack { ours: 1000, theirs: 900 };
    assert_eq!(what(take(&shard, dir.path()).await), expect);
    holds(dir.path(), &log, 1000);
}

#[tokio::test]
async fn a_log_with_two_faces_is_refused_and_the_evidence_kept() {
    let (log, other) = (Log::new(ORIGIN, 1000, "a"), Log::new(ORIGIN, 2000, "b"));
    // Smaller, of the same size, and larger: always another log under the same key.
    for theirs in [500, 1000, 2000] {
        let dir = tempfile::tempdir().expect("a folder");
        let shown = Shows::of(log.clone());
        let shard = connect(&shown).await;
        take(&shard, dir.path()).await.expect("a log");
        show(&shown, |shows| (shows.logs, shows.size) = (vec![other.clone()], theirs));
        let notes = Box::new([log.note(1000), other.note(theirs)]);
        let expect = Breach::SplitView { ours: 1000, theirs, notes };
        assert_eq!(what(take(&shard, dir.path()).await), expect);
        holds(dir.path(), &log, 1000);
        let folder = dir.path().join("ru-msk.a.1");
        let kept: Vec<String> =
            files(&folder).into_iter().filter(|file| file.starts_with("conflicts/")).collect();
        assert_eq!(kept.len(), 1);
        let kept = std::fs::read_to_string(folder.join(&kept[0])).expect("a note");
        assert_eq!(kept, other.note(theirs));
        // Nothing else of the other log is there.
        let pure = tempfile::tempdir().expect("a folder");
        log.write(pure.path());
        let mut wanted = files(pure.path());
        wanted.extend(["state", "vkey.on-trust"].map(str::to_owned));
        wanted.extend(files(&folder).into_iter().filter(|file| file.starts_with("conflicts/")));
        wanted.sort();
        assert_eq!(files(&folder), wanted);
    }
}

#[tokio::test]
async fn entries_that_are_not_the_log_s_are_refused() {
    for before in [0, 300] {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Log::new(ORIGIN, 1000, "a");
        let shown = Shows::of(log.clone());
        let shard = connect(&shown).await;
        show(&shown, |shows| shows.size = before);
        take(&shard, dir.path()).await.expect("a log");
        show(&shown, |shows| (shows.size, shows.wrong) = (1000, Some(800)));
        let expect = Breach::BadEntries { from: before, to: 1000 };
        assert_eq!(what(take(&shard, dir.path()).await), expect);
        holds(dir.path(), &log, before);
        show(&shown, |shows| shows.wrong = None);
        take(&shard, dir.path()).await.expect("a log");
        holds(dir.path(), &log, 1000);
    }
}

#[tokio::test]
async fn a_key_is_believed_once_and_a_policy_always() {
    let dir = tempfile::tempdir().expect("a folder");
    let shown = Shows::of(Log::new(ORIGIN, 10, "a"));
    let shard = connect(&shown).await;
    let policy = |vkey: String| Policy::parse(&format!("log {vkey}\nquorum none\n"));
    let own = policy(signer(ORIGIN).vkey()).expect("a policy");
    let pulled = first(look(&shard, dir.path(), Some(&own)).await).expect("a log");
    assert_eq!(pulled[0].key_from, KeyFrom::Policy);
    let foreign = ledger::note::Signer::from_seed(ORIGIN, &[1; 32]).expect("a name");
    let foreign_policy = policy(foreign.vkey()).expect("a policy");
    let refused = first(look(&shard, dir.path(), Some(&foreign_policy)).await);
    assert_eq!(what(refused), Breach::OtherKey("the mirror's"));
    let other = policy(signer("test/ru-msk/b/1").vkey()).expect("a policy");
    let refused = first(look(&shard, dir.path(), Some(&other)).await);
    assert_eq!(what(refused), Breach::Unnamed);
    // A note by another key of that name.
    let log = Log::new(ORIGIN, 20, "a");
    let note = log.checkpoint(20).sign(&foreign).expect("a note");
    show(&shown, |shows| shows.note = Some(note));
    assert!(matches!(what(take(&shard, dir.path()).await), Breach::BadSignature(_)));
    holds(dir.path(), &Log::new(ORIGIN, 10, "a"), 10);
}

#[tokio::test]
async fn a_new_period_must_say_of_the_old_one_what_was_signed() {
    for (entries, right) in [(500, true), (400, false), (501, false)] {
        let dir = tempfile::tempdir().expect("a folder");
        let old = Log::new(ORIGIN, 500, "a");
        let next = "test/ru-msk/a/2";
        let (size, root) = match entries {
            501 => (500, Log::new(ORIGIN, 500, "b").checkpoint(500).root),
            size => (size, old.checkpoint(size).root),
        };
        let head = Detail::OldHead { origin: ORIGIN.to_owned(), size, root };
        let mut genesis = crate::support::genesis(&signer(next).vkey());
        genesis.details.insert(0, head);
        let mut new = Log::of(next, &[crate::support::taken()]);
        new.entries[0] = genesis.encode().expect("an entry");
        let shown = Shows::of(new);
        show(&shown, |shows| shows.logs.insert(0, old));
        let pulled = take(&connect(&shown).await, dir.path()).await.expect("two logs");
        assert_eq!(pulled.len(), 2);
        let findings = old_heads(dir.path()).expect("mirrors");
        assert_eq!(findings.is_empty(), right, "{findings:?}");
        assert_eq!((pulled[0].history.is_none(), pulled[1].history.is_none()), (true, right));
    }
}

#[tokio::test]
async fn what_was_mirrored_is_not_read_again_for_its_maps() {
    let dir = tempfile::tempdir().expect("a folder");
    let shown = Shows::of(Log::new(ORIGIN, 3000, "a"));
    let shard = connect(&shown).await;
    show(&shown, |shows| shows.size = 1000);
    take(&shard, dir.path()).await.expect("a log");
    let folder = Folder::of_log(dir.path(), ORIGIN).expect("a folder");
    let (second, state) = (folder.path().join("tile/entries/001"), folder.path().join("state"));
    let kept = std::fs::read(&second).expect("the second bundle");
    std::fs::remove_file(&second).expect("it can be removed");
    show(&shown, |shows| shows.size = 2000);
    let pulled = take(&shard, dir.path()).await.expect("a log");
    assert_eq!((&pulled[0].maps[..], pulled[0].findings.len()), (&[MAP][..], 0));
    // What is remembered is made again from the entries if it is lost.
    std::fs::write(&second, kept).expect("room");
    std::fs::remove_file(&state).expect("it is there");
    show(&shown, |shows| shows.size = 3000);
    let pulled = take(&shard, dir.path()).await.expect("a log");
    assert_eq!((&pulled[0].maps[..], pulled[0].findings.len()), (&[MAP][..], 0));
    assert!(state.is_file());
}

#[tokio::test]
async fn a_rule_that_new_entries_break_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = Log::new(ORIGIN, 3000, "a");
    log.entries[2500] = Entry::new(Kind::Map, 7).encode().expect("an entry");
    let shown = Shows::of(log);
    let shard = connect(&shown).await;
    show(&shown, |shows| shows.size = 2500);
    assert!(take(&shard, dir.path()).await.expect("a log")[0].findings.is_empty());
    show(&shown, |shows| shows.size = 3000);
    let pulled = take(&shard, dir.path()).await.expect("a log");
    assert_eq!(pulled[0].findings.len(), 1);
    let said = pulled[0].findings[0].to_string();
    assert!(said.starts_with("tile/entries/009 entry 2500 is of 1970-01-01T00:07Z"), "{said}");
}

#[tokio::test]
async fn a_key_that_was_never_followed_by_a_mirror_is_still_taken_on_trust() {
    let dir = tempfile::tempdir().expect("a folder");
    let shown = Shows::of(Log::new(ORIGIN, 1000, "a"));
    let shard = connect(&shown).await;
    show(&shown, |shows| shows.break_after = Some(500));
    assert!(take(&shard, dir.path()).await.is_err());
    show(&shown, |shows| shows.break_after = None);
    let pulled = take(&shard, dir.path()).await.expect("a log");
    assert_eq!(pulled[0].key_from, KeyFrom::Shard);
}

#[tokio::test]
async fn two_at_one_mirror_wait_for_each_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = Log::new(ORIGIN, 3000, "a");
    let shown = Shows::of(log.clone());
    let (a, b) = (connect(&shown).await, connect(&shown).await);
    let (first, second) = tokio::join!(take(&a, dir.path()), take(&b, dir.path()));
    assert_eq!(first.expect("a log").len() + second.expect("a log").len(), 2);
    holds(dir.path(), &log, 3000);
    assert_eq!(shown.lock().expect("a lock").asked, [0]);
}
