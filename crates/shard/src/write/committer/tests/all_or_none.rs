//! Writes of which all are done or none: one commit, and nothing of it where one is refused or the
//! commit fails.

use super::*;
use crate::store::damage::read_rows;

/// Queues puts of the subjects, the `n`th with request `n`, all of them or none; those named here
/// insist on a version that is not there.
fn put_all(stage: &Stage, subjects: &[&str], wrong: &[usize]) {
    let one = |(n, subject): (usize, &&str)| {
        let number = u8::try_from(n).expect("few") + 1;
        let mut put = stage.a_put(subject, number, findings(0), b"body");
        if wrong.contains(&n) {
            put.condition.if_version = Some(Version(7));
        }
        stage.op(number, Action::Put(Box::new(put)))
    };
    stage.queue.submit_all(subjects.iter().enumerate().map(one).collect());
}

/// The fields of refusals, by the number of their call; and how many were written.
fn ends(answers: Vec<(u8, Outcome)>) -> (Vec<(u8, String)>, usize) {
    let (mut refused, mut written) = (Vec::new(), 0);
    for (n, outcome) in answers {
        if let Outcome::Rejected(fault) = outcome {
            let field = fault.field.as_deref().unwrap_or_default();
            refused.push((n, format!("{} {field}", fault.reason.as_str())));
        } else {
            assert!(matches!(outcome, Outcome::Written(_)), "another answer");
            written += 1;
        }
    }
    (refused, written)
}

#[test]
fn a_group_of_its_own_is_one_commit() {
    let stage = Stage::new(&Disk::new(1));
    stage.put("before", 100, findings(0));
    put_all(&stage, &["a", "b", "c"], &[]);
    stage.put("after", 101, findings(0));
    let (left, answers) = stage.answers();
    assert_eq!(ends(answers), (Vec::new(), 5));
    assert_eq!(left.node.metrics.commits.get(), 3);
    assert_eq!(left.node.metrics.entries.get(), 5);
}

#[test]
fn if_one_is_refused_nothing_is_written_and_each_is_told_why() {
    for wrong in [&[0][..], &[1], &[2], &[1, 2]] {
        let stage = Stage::new(&Disk::new(1));
        stage.put("before", 100, findings(0));
        put_all(&stage, &["a", "b", "c"], wrong);
        // What comes after finds nothing of it: each of these is new.
        stage.put("a", 1, findings(0));
        let (left, answers) = stage.answers();
        let (refused, written) = ends(answers);
        let why = format!("VERSION_MISMATCH requests[{}].if_version", wrong[0]);
        assert_eq!(refused, [1, 2, 3].map(|n| (n, why.clone())), "{wrong:?}");
        assert_eq!((written, left.node.metrics.entries.get()), (2, 2));
        for (subject, there) in [("before", true), ("a", true), ("b", false), ("c", false)] {
            let row = [address(&left.node, subject).row];
            let rows = read_rows(&*left.node.engine, &row).expect("a read");
            let found = rows.into_iter().next().expect("a row").expect("it reads back");
            assert_eq!(found.is_some(), there, "{subject}");
        }
    }
}

#[test]
fn a_record_whose_time_has_come_is_deleted_by_what_is_done_alone() {
    let mut stage = Stage::new(&Disk::new(1));
    let at = UnixMillis(stage.committer.now().0 + 60_000);
    let mut put = stage.a_put("a", 100, findings(0), b"body");
    put.expires = Some(at);
    let mut ops = VecDeque::from([stage.op(100, Action::Put(Box::new(put)))]);
    stage.committer.commit(&mut ops, false).expect("a commit");
    stage.committer.last_commit = at;
    // Refused as a whole; then only checked.
    put_all(&stage, &["a", "b"], &[1]);
    let mut dry = stage.a_put("a", 101, findings(0), b"body");
    (dry.validate_only, dry.condition.if_version) = (true, Some(Version::NONE));
    stage.submit(101, Action::Put(Box::new(dry)));
    let metrics = stage.committer.node.metrics.clone();
    let (_, answers) = stage.answers();
    let dry = answers.into_iter().find(|(n, _)| *n == 101).map(|(_, outcome)| outcome);
    let version = dry.and_then(|outcome| {
        if let Outcome::Written(written) = outcome { Some(written.version) } else { None }
    });
    // That of a record written after the deletion.
    assert_eq!(version, Some(Version(3)));
    assert_eq!((metrics.entries.get(), metrics.expired.get()), (1, 0));
    // The same put, done: the deletion and it.
    let mut stage = Stage::new(&Disk::new(1));
    let mut put = stage.a_put("a", 100, findings(0), b"body");
    put.expires = Some(at);
    let mut ops = VecDeque::from([stage.op(100, Action::Put(Box::new(put)))]);
    stage.committer.commit(&mut ops, false).expect("a commit");
    stage.committer.last_commit = at;
    put_all(&stage, &["a", "b"], &[]);
    let metrics = stage.committer.node.metrics.clone();
    let (_, answers) = stage.answers();
    assert_eq!(ends(answers), (Vec::new(), 3));
    assert_eq!((metrics.entries.get(), metrics.expired.get()), (4, 1));
}

#[test]
fn a_commit_that_fails_leaves_all_of_them_open_alike() {
    for (fault, expected) in [
        (DiskFault::Full, "DISK_RESERVE "),
        (DiskFault::FlushFails, "WRITE_OUTCOME_UNKNOWN "),
        (DiskFault::ReplyLost, "WRITE_OUTCOME_UNKNOWN "),
    ] {
        let disk = Disk::new(1);
        let stage = Stage::new(&disk);
        disk.fail_next(fault);
        put_all(&stage, &["a", "b", "c"], &[]);
        let (_, answers) = stage.answers();
        let (refused, written) = ends(answers);
        assert_eq!(refused, [1, 2, 3].map(|n| (n, expected.to_owned())), "{fault:?}");
        assert_eq!(written, 0);
    }
}
