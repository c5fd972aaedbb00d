//! Copies: what one log may say of them, and what two logs must say alike.

use audit::pair::Paired;
use audit::{Against, verify};
use ledger::entry::{Detail, Entry, Kind};

use crate::pair::{FROM, TO, compared};
use crate::support::{
    Log, MAP, MINUTE, call, copy_drop, copy_in, copy_out, genesis, place, signer, taken,
};

/// The log of the home: two entries, a write, and what comes after it.
fn home(more: &[Entry]) -> Vec<Entry> {
    let written = Entry { commitment: Some([7; 32]), ..place(0, "") };
    [&[genesis(&signer(FROM).vkey()), taken(), written][..], more].concat()
}

/// The log of the mirror: two entries, and what comes after them.
fn mirror(more: &[Entry]) -> Vec<Entry> {
    [&[genesis(&signer(TO).vkey()), taken()][..], more].concat()
}

fn sent() -> Entry {
    copy_out(MINUTE, "eu-fra", 2)
}

fn came() -> Entry {
    copy_in(MINUTE, (FROM, 2), None)
}

/// Something that the home has logged later.
fn later() -> Entry {
    Entry::map_taken(MINUTE + 5, MAP, &[])
}

/// What is wrong in a log of that origin, with the numbers of its entries.
fn broken(origin: &str, entries: &[Entry]) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a folder");
    let entries = entries.iter().map(|entry| entry.encode().expect("an entry")).collect();
    let folder = Log { origin: origin.to_owned(), entries }.write(dir.path());
    let verified = verify(&folder, Against::default(), &mut |_, _| {}).expect("it is signed");
    verified.broken.iter().map(ToString::to_string).collect()
}

#[test]
fn what_a_shard_logs_breaks_no_rule() {
    assert!(broken(FROM, &home(&[sent(), copy_out(MINUTE, "kz-ala", 2)])).is_empty());
    let next = copy_in(MINUTE, (FROM, 5), Some(2));
    let log = mirror(&[came(), next, came(), copy_drop(MINUTE, Some(3), None)]);
    assert!(broken(TO, &log).is_empty());
    let all = [&log[..], &[copy_drop(MINUTE, None, Some(1))]].concat();
    assert!(broken(TO, &all).is_empty());
}

#[test]
fn what_no_shard_may_log_is_named() {
    let wrong = |origin: &str, log: &[Entry], says: &str| {
        let broken = broken(origin, log);
        let [only] = &broken[..] else { panic!("{broken:?}, expected {says}") };
        let at = format!("entry {} ", log.len() - 1);
        assert!(only.contains(&at) && only.contains(says), "{only}\nexpected {says}");
    };
    let of_home = |entry: Entry, says| wrong(FROM, &home(&[entry]), says);
    of_home(copy_out(MINUTE, "eu-fra", 1), "names entry 1, which stores no record");
    of_home(copy_out(MINUTE, "eu-fra", 3), "names entry 3 as an earlier one");
    of_home(copy_out(MINUTE, "ru-msk", 2), "at the other end is not another one");
    of_home(copy_out(MINUTE, "RU/MSK", 2), "at the other end is not another one");
    of_home(Entry { commitment: None, ..sent() }, "is COPY_OUT without its commitment");
    of_home(Entry { earlier: None, ..sent() }, "is COPY_OUT without the entry that placed");
    of_home(Entry { map: None, ..sent() }, "is COPY_OUT without its region map");
    let mut older = Entry { earlier: None, ..sent() };
    older.say(Detail::Peer { origin: FROM.to_owned(), index: 2 });
    of_home(older, "not one of the earlier ones of its own shard");

    let of_mirror = |entry: Entry, says| wrong(TO, &mirror(&[came(), entry]), says);
    let mut elsewhere = came();
    elsewhere.details.retain(|detail| !matches!(detail, Detail::Region(_)));
    elsewhere.say(Detail::Region("kz-ala".to_owned()));
    of_mirror(elsewhere, "not one of the home of the copy");
    of_mirror(copy_in(MINUTE, (FROM, 2), Some(1)), "names entry 1, which took no copy");
    of_mirror(copy_drop(MINUTE, Some(1), None), "names entry 1, which took no copy");
    of_mirror(copy_drop(MINUTE, None, Some(2)), "removes more copies than came");
    of_mirror(copy_drop(MINUTE, None, None), "neither counts copies nor names one");
    of_mirror(copy_drop(MINUTE, Some(2), Some(1)), "counts copies and names one");
    let gone = copy_drop(MINUTE, Some(2), None);
    wrong(TO, &mirror(&[came(), gone.clone(), gone]), "whose copy went before");
}

#[test]
fn a_copy_that_both_logs_tell_alike_is_counted() {
    let paired = compared(&home(&[sent()]), &mirror(&[came()]));
    assert_eq!(paired, Paired { copies: 1, ..Paired::default() });
    // It was sent again after it was removed.
    let again = [came(), copy_drop(MINUTE, Some(2), None), came()];
    let paired = compared(&home(&[sent(), sent()]), &mirror(&again));
    assert_eq!(paired, Paired { copies: 2, ..Paired::default() });
}

#[test]
fn a_copy_under_way_is_no_finding() {
    let paired = compared(&home(&[sent()]), &mirror(&[]));
    assert_eq!(paired, Paired { copies_under_way: 1, ..Paired::default() });
    // To a region that is not compared.
    let paired = compared(&home(&[copy_out(MINUTE, "kz-ala", 2)]), &mirror(&[]));
    assert_eq!(paired, Paired::default());
}

#[test]
fn a_copy_from_a_shard_of_the_home_that_is_not_here_is_not_checked() {
    let other = copy_in(MINUTE, ("test/ru-msk/b/1", 2), None);
    let paired = compared(&home(&[]), &mirror(&[other]));
    assert_eq!(paired, Paired { copies_not_mirrored: 1, ..Paired::default() });
}

#[test]
fn a_copy_of_what_went_is_behind_until_it_goes_too() {
    let delete = Entry { earlier: Some(2), ..call(Kind::Delete, MINUTE) };
    let home = home(&[sent(), delete]);
    let paired = compared(&home, &mirror(&[came()]));
    assert_eq!(paired, Paired { copies: 1, copies_behind: 1, ..Paired::default() });
    let gone = copy_drop(MINUTE, Some(2), None);
    let paired = compared(&home, &mirror(&[came(), gone]));
    assert_eq!(paired, Paired { copies: 1, ..Paired::default() });
}

#[test]
fn what_the_home_did_not_send_is_named() {
    let finding = |from: &[Entry], to: &[Entry], says: &str| {
        let paired = compared(from, to);
        assert_eq!((paired.copies, paired.findings.len()), (0, 1), "{:?}", paired.findings);
        assert!(paired.findings[0].contains(says), "{}\nexpected {says}", paired.findings[0]);
    };
    let none = "test/eu-fra/a/1 entry 2: COPY_IN has a copy that no COPY_OUT entry sends";
    finding(&home(&[later()]), &mirror(&[came()]), none);
    // To another region.
    let elsewhere = home(&[copy_out(MINUTE, "kz-ala", 2), later()]);
    finding(&elsewhere, &mirror(&[came()]), none);
    let other = Entry { commitment: Some([8; 32]), ..came() };
    finding(&home(&[sent()]), &mirror(&[other]), "COPY_IN commits to another version");
    let other = Entry { commitment: Some([8; 32]), ..sent() };
    let says = "test/ru-msk/a/1 entry 3: COPY_OUT commits to another version";
    let paired = compared(&home(&[other]), &mirror(&[]));
    assert!(paired.findings[0].starts_with(says), "{:?}", paired.findings);
    let of_none = copy_in(MINUTE, (FROM, 1), None);
    finding(&home(&[sent()]), &mirror(&[of_none]), "which stores no record");
    let late = home(&[copy_out(MINUTE + 3, "eu-fra", 2)]);
    finding(&late, &mirror(&[came()]), "is dated before each COPY_OUT entry");
}

#[test]
fn what_is_not_mirrored_yet_is_no_finding_of_copies() {
    let one = Paired { copies_not_mirrored: 1, ..Paired::default() };
    // The home was mirrored before it sent the copy, or before it wrote the version.
    assert_eq!(compared(&home(&[]), &mirror(&[came()])), one);
    let beyond = copy_in(MINUTE, (FROM, 99), None);
    assert_eq!(compared(&home(&[]), &mirror(&[beyond])), one);
    // Another period of the home.
    let before = copy_in(MINUTE, ("test/ru-msk/a/7", 2), None);
    assert_eq!(compared(&home(&[]), &mirror(&[before])), one);
}
