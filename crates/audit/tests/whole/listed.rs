//! Which logs a shard shows, and which it must; and what each says of the one before it.

use std::path::Path;

use audit::Policy;
use audit::mirror::{Breach, Error, Mirrors, old_heads, pull};
use ledger::entry::Detail;

use crate::mirror::{first, look, show, take, what};
use crate::support::shard::{Shows, connect};
use crate::support::{Log, ORIGIN, genesis, signer};

const NEXT: &str = "test/ru-msk/a/2";
const LATE: &str = "test/ru-msk/a/10";

/// A log of a later period, whose first entry says that.
fn period(origin: &str, details: Vec<Detail>) -> Log {
    let mut first = genesis(&signer(origin).vkey());
    first.details.extend(details);
    let mut log = Log::of(origin, &[crate::support::taken()]);
    log.entries[0] = first.in_order().encode().expect("an entry");
    log
}

fn head(of: &Log) -> Vec<Detail> {
    let at = of.checkpoint(of.size());
    vec![Detail::OldHead { origin: at.origin, size: at.size, root: at.root }]
}

#[tokio::test]
async fn a_log_that_is_no_longer_shown_is_missed() {
    let dir = tempfile::tempdir().expect("a folder");
    let old = Log::new(ORIGIN, 10, "a");
    let new = period(NEXT, head(&old));
    let shown = Shows::of(new.clone());
    show(&shown, |shows| shows.logs.insert(0, old.clone()));
    let shard = connect(&shown).await;
    assert_eq!(take(&shard, dir.path()).await.expect("two logs").len(), 2);
    show(&shown, |shows| shows.logs = vec![new.clone()]);
    let pulled = look(&shard, dir.path(), None).await;
    // What it shows is mirrored all the same.
    assert_eq!(pulled.logs.len(), 1);
    let found = what(first(pulled));
    assert_eq!(found, Breach::NoLongerShown);
    assert!(found.to_string().ends_with("a log that was mirrored is no longer shown"));
    // One that the policy names, and that nobody has ever seen.
    let other = tempfile::tempdir().expect("a folder");
    let keys = [ORIGIN, NEXT].map(|origin| format!("log {}\n", signer(origin).vkey())).concat();
    let policy = Policy::parse(&format!("{keys}quorum none\n")).expect("a policy");
    let pulled = look(&shard, other.path(), Some(&policy)).await;
    assert_eq!(what(first(pulled)), Breach::NeverShown);
}

#[tokio::test]
async fn a_shard_shows_its_own_logs_in_the_order_of_their_periods() {
    let dir = tempfile::tempdir().expect("a folder");
    let old = Log::new(ORIGIN, 10, "a");
    let new = period(NEXT, head(&old));
    let late = period(LATE, head(&new));
    let shown = Shows::of(old.clone());
    show(&shown, |shows| shows.logs = vec![late, new.clone(), old.clone()]);
    let shard = connect(&shown).await;
    let pulled = take(&shard, dir.path()).await.expect("three logs");
    let origins: Vec<&str> = pulled.iter().map(|log| log.checkpoint.origin.as_str()).collect();
    assert_eq!(origins, [ORIGIN, NEXT, LATE]);
    assert!(pulled.iter().all(|log| log.history.is_none()), "{pulled:?}");
    let none = |named| async move {
        let dir = tempfile::tempdir().expect("a folder");
        let shown = Shows::of(Log::new(ORIGIN, 10, "a"));
        let shard = connect(&shown).await;
        let into =
            Mirrors { place: dir.path(), policy: None, named: Some(named), entries_max: None };
        first(pull(&shard, &into, &mut |_, _, _| {}).await)
    };
    assert!(none(("ru-msk", "a")).await.is_ok());
    assert!(matches!(what(none(("eu-fra", "a")).await), Breach::OtherShard(_)));
    assert!(matches!(what(none(("ru-msk", "b")).await), Breach::OtherShard(_)));
    // Two shards at one address, and two deployments in one folder.
    show(&shown, |shows| shows.logs = vec![Log::new("test/ru-msk/b/1", 5, "a"), old]);
    show(&shown, |shows| shows.size = 5);
    assert!(matches!(what(take(&shard, dir.path()).await), Breach::NoLog(_)));
    show(&shown, |shows| shows.logs = vec![Log::new("prod/ru-msk/b/1", 5, "a")]);
    let refused = take(&shard, dir.path()).await;
    assert!(matches!(refused, Err(Error::OtherDeployment { .. })));
}

async fn history(logs: Vec<Log>, place: &Path) -> Option<String> {
    let newest = logs.last().expect("a log").clone();
    let shown = Shows::of(newest);
    show(&shown, |shows| shows.logs = logs);
    let pulled = take(&connect(&shown).await, place).await.expect("logs");
    let said = pulled.last().expect("a log").history.as_ref().map(ToString::to_string);
    let all: Vec<String> =
        old_heads(place).expect("logs").iter().map(ToString::to_string).collect();
    assert_eq!(said.clone().into_iter().collect::<Vec<_>>(), all);
    said
}

#[tokio::test]
async fn a_later_period_must_say_what_came_before_it() {
    let old = Log::new(ORIGIN, 10, "a");
    let further = Log::new(ORIGIN, 20, "a");
    let foreign = Log::new("test/ru-msk/b/1", 10, "a");
    let reason = vec![Detail::Reason("accepted loss".to_owned())];
    for (details, expect) in [
        (Vec::new(), "says nothing of the log before it"),
        (reason, "says no head of the log before it: accepted loss (accepted loss)"),
        (head(&foreign), "names test/ru-msk/b/1, which is no earlier log of the same shard"),
        (
            head(&further),
            "cannot be checked yet: it says that test/ru-msk/a/1 had 20 entries, and 10 are \
             mirrored",
        ),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let said = history(vec![old.clone(), period(NEXT, details)], dir.path()).await;
        assert_eq!(said, Some(format!("{NEXT}: its first entry {expect}")));
    }
    let dir = tempfile::tempdir().expect("a folder");
    let said = history(vec![period(NEXT, head(&old))], dir.path()).await.expect("a finding");
    let expect = "cannot be checked: test/ru-msk/a/1, the log before it, is not mirrored";
    assert!(said.ends_with(expect), "{said}");
    // A folder with a key and nothing else is not mirrored, and no error.
    let empty = dir.path().join("ru-msk.a.1");
    std::fs::create_dir(&empty).expect("room");
    std::fs::write(empty.join("vkey"), signer(ORIGIN).vkey()).expect("room");
    let all = old_heads(dir.path()).expect("logs");
    assert!(all.len() == 1 && all[0].to_string().ends_with(expect), "{all:?}");
}

#[tokio::test]
async fn a_damaged_mirror_of_another_log_blinds_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let shown = Shows::of(Log::new(ORIGIN, 10, "a"));
    let other = dir.path().join("eu-fra.x.1");
    Log::new("test/eu-fra/x/1", 3, "a").write(&other);
    std::fs::write(other.join("vkey"), "no key").expect("room");
    let pulled = look(&connect(&shown).await, dir.path(), None).await;
    assert_eq!(pulled.logs.len(), 1);
    assert!(matches!(pulled.errors[..], [Error::Folder { .. }]), "{:?}", pulled.errors);
}

#[tokio::test]
async fn no_more_is_taken_than_may_be() {
    let dir = tempfile::tempdir().expect("a folder");
    let shown = Shows::of(Log::new(ORIGIN, 300, "a"));
    let shard = connect(&shown).await;
    for (max, taken) in [(299, false), (300, true), (0, true)] {
        let place = dir.path();
        let into = Mirrors { place, policy: None, named: None, entries_max: Some(max) };
        let pulled = first(pull(&shard, &into, &mut |_, _, _| {}).await);
        assert_eq!(pulled.is_ok(), taken, "{max}");
        assert!(taken || matches!(pulled, Err(Error::TooMany { new: 300, .. })));
    }
    assert_eq!(shown.lock().expect("a lock").asked, [0]);
}

#[tokio::test]
async fn a_shard_does_not_fill_a_disk_with_folders() {
    let dir = tempfile::tempdir().expect("a folder");
    let logs = (1..=65).map(|n| Log::new(&format!("test/ru-msk/a/{n}"), 1, "a")).collect();
    let shown = Shows::of(Log::new(ORIGIN, 1, "a"));
    show(&shown, |shows| shows.logs = logs);
    let shard = connect(&shown).await;
    assert!(matches!(what(take(&shard, dir.path()).await), Breach::NoLog(_)));
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0);
}
