//! Moves between two mirrored logs: what agrees is counted, and whatever one log lacks or says otherwise is
//! named.

use audit::pair::{Log as Mirrored, Paired, pair};
use audit::{Against, Folder, verify};
use ledger::entry::{Call, Caller, Detail, Entry, Kind, Role};

use crate::support::{Log, MAP, MINUTE, genesis, signer, taken};

pub(crate) const FROM: &str = "test/ru-msk/a/1";
pub(crate) const TO: &str = "test/eu-fra/a/1";

/// An entry of a shard about a move.
fn of_move(kind: Kind, collection: Option<&str>) -> Entry {
    let caller = Caller { role: Role::Shard, tag: [4; 16], territory: Some("RU".to_owned()) };
    let call = Call { tenant_tag: Some([3; 16]), caller: Some(&caller), collection, map: MAP };
    Entry::of_call(kind, MINUTE, call)
}

fn peer(origin: &str, index: u64) -> Detail {
    Detail::Peer { origin: origin.to_owned(), index }
}

/// The log of the source: two entries, the order, and what it gives away: `records` of one collection.
fn source(records: u64, begun: u64, commitment: [u8; 32]) -> Vec<Entry> {
    let mut order = of_move(Kind::MoveOut, None);
    order.say(Detail::Reason("asked for".to_owned()));
    order.commitment = Some([1; 32]);
    let mut of_collection = of_move(Kind::MoveOut, Some("profile"));
    of_collection.say(Detail::Count(records));
    let mut away = of_move(Kind::MoveOut, None);
    away.say(Detail::Reason("asked for".to_owned()));
    away.say(peer(TO, begun));
    away.commitment = Some(commitment);
    vec![genesis(&signer(FROM).vkey()), taken(), order, of_collection, away]
}

/// The log of the target: two entries, the beginning, one record, and the adoption.
fn target(records: u64, gave: u64, commitment: [u8; 32]) -> Vec<Entry> {
    let mut begun = of_move(Kind::MoveIn, None);
    begun.commitment = Some([2; 32]);
    let mut record = of_move(Kind::MoveIn, Some("profile"));
    record.commitment = Some([5; 32]);
    let mut adopted = of_move(Kind::MoveIn, None);
    adopted.say(Detail::Count(records));
    adopted.say(peer(FROM, gave));
    adopted.commitment = Some(commitment);
    vec![genesis(&signer(TO).vkey()), taken(), begun, record, adopted]
}

pub(crate) fn compared(from: &[Entry], to: &[Entry]) -> Paired {
    compared_logs(from, &[(TO, to)])
}

pub(crate) fn compared_logs(from: &[Entry], to: &[(&str, &[Entry])]) -> Paired {
    let logs = [&[(FROM, from)][..], to].concat();
    let written = logs.into_iter().map(|(origin, entries)| {
        let dir = tempfile::tempdir().expect("a folder");
        let entries = entries.iter().map(|entry| entry.encode().expect("an entry")).collect();
        let folder: Folder = Log { origin: origin.to_owned(), entries }.write(dir.path());
        let verified = verify(&folder, Against::default(), &mut |_, _| {});
        let verified = verified.unwrap_or_else(|found| panic!("{found}"));
        (dir, folder, verified)
    });
    let written: Vec<_> = written.collect();
    let log = |n: usize| Mirrored { folder: &written[n].1, checkpoint: &written[n].2.checkpoint };
    let (first, second) = ([log(0)], (1..written.len()).map(log).collect::<Vec<_>>());
    let there = pair(&first, &second).expect("both are read");
    // Whichever comes first.
    assert_eq!(pair(&second, &first).expect("both are read"), there);
    there
}

#[test]
fn a_move_that_both_logs_tell_alike_is_counted() {
    let paired = compared(&source(1, 2, [7; 32]), &target(1, 4, [7; 32]));
    assert_eq!(paired, Paired { moves: 1, ..Paired::default() });
}

#[test]
fn what_one_log_lacks_or_says_otherwise_is_named() {
    let (from, to) = (source(1, 2, [7; 32]), target(1, 4, [7; 32]));
    let finding = |from: &[Entry], to: &[Entry]| {
        let paired = compared(from, to);
        assert_eq!((paired.moves, paired.findings.len()), (0, 1), "{:?}", paired.findings);
        paired.findings[0].clone()
    };
    let lacks_in = finding(&from, &to[..4]);
    assert!(lacks_in.starts_with("test/ru-msk/a/1 entry 4: MOVE_OUT"), "{lacks_in}");
    let lacks_out = finding(&[&from[..4], &[taken()]].concat(), &to);
    assert!(lacks_out.starts_with("test/eu-fra/a/1 entry 4: MOVE_IN"), "{lacks_out}");
    let other_digest = finding(&from, &target(1, 4, [8; 32]));
    assert!(other_digest.contains("other records"), "{other_digest}");
    let other_count = finding(&from, &target(2, 4, [7; 32]));
    assert!(other_count.contains("another number"), "{other_count}");
    let other_beginning = finding(&source(1, 3, [7; 32]), &to);
    assert!(other_beginning.contains("beginning"), "{other_beginning}");
    let twice = finding(&from, &[&to[..], &to[4..]].concat());
    assert!(twice.contains("more than one"), "{twice}");
}

#[test]
fn an_adoption_that_a_later_log_of_the_shard_says_again_is_one_move() {
    const LATER: &str = "test/eu-fra/a/2";
    let (from, to) = (source(1, 2, [7; 32]), target(1, 4, [7; 32]));
    let again = |commitment, also: &[Detail]| {
        let mut adopted = Entry { commitment: Some(commitment), ..to[4].clone() };
        also.iter().for_each(|detail| adopted.say(detail.clone()));
        vec![genesis(&signer(LATER).vkey()), taken(), adopted.in_order()]
    };
    let reason = Detail::Reason("that log has ended".to_owned());
    let said = again([7; 32], std::slice::from_ref(&reason));
    let paired = compared_logs(&from, &[(TO, &to), (LATER, &said)]);
    assert_eq!(paired, Paired { moves: 1, ..Paired::default() });
    // One that takes something else is another; so is one that does not say why it comes once more, and one
    // that believes another key of the source.
    let key = Detail::LogKey(signer(FROM).vkey());
    let others = [
        again([8; 32], std::slice::from_ref(&reason)),
        again([7; 32], &[]),
        again([7; 32], &[reason, key]),
    ];
    for other in others {
        let other = compared_logs(&from, &[(TO, &to), (LATER, &other)]);
        assert_eq!((other.moves, other.findings.len()), (0, 1));
        assert!(other.findings[0].contains("more than one"), "{:?}", other.findings);
    }
}

#[test]
fn what_is_not_mirrored_yet_is_no_finding() {
    let away = compared(&source(1, 9, [7; 32]), &target(1, 4, [7; 32])[..2]);
    assert_eq!(away, Paired { not_mirrored: 1, ..Paired::default() });
    let came = compared(&source(1, 2, [7; 32])[..2], &target(1, 4, [7; 32]));
    assert_eq!(came, Paired { not_mirrored: 1, ..Paired::default() });
}

#[test]
fn what_went_to_a_shard_of_that_region_that_is_not_here_is_not_checked() {
    let elsewhere = |log: &[Entry], origin: &str, index: u64| {
        let (mut all, last) = (log.to_vec(), log.len() - 1);
        all[last].details.retain(|detail| !matches!(detail, Detail::Peer { .. }));
        all[last].say(peer(origin, index));
        all
    };
    let (from, to) = (source(1, 2, [7; 32]), target(1, 4, [7; 32]));
    let away = compared(&elsewhere(&from, "test/eu-fra/b/1", 2), &to[..2]);
    assert_eq!(away, Paired { not_mirrored: 1, ..Paired::default() });
    let came = compared(&from[..2], &elsewhere(&to, "test/ru-msk/b/1", 4));
    assert_eq!(came, Paired { not_mirrored: 1, ..Paired::default() });
    // Of a third region, or of another deployment, nothing is asked.
    for other in ["test/kz-ala/a/1", "other/eu-fra/a/1"] {
        let third = compared(&elsewhere(&from, other, 2), &to[..2]);
        assert_eq!(third, Paired::default(), "{other}");
    }
}
