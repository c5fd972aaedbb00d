//! Calls in flight, and what becomes of them.

use super::*;

fn table(calls_max: usize, bytes_max: usize) -> InFlightTable {
    let limits = InFlightLimits { calls_max, bytes_max };
    InFlightTable::new(RegionId::parse("kz-ala").unwrap(), limits)
}

fn reason(answer: &mut oneshot::Receiver<CallResult>) -> Reason {
    answer.try_recv().unwrap().err().unwrap().reason
}

fn found(id: u64) -> proto::Reply {
    let found = proto::Found { version: 7, ..Default::default() };
    proto::Reply { id, outcome: Some(proto::reply::Outcome::Found(found)) }
}

#[test]
fn what_is_known_when_a_session_breaks() {
    let table = table(10, 1 << 20);
    let mut answers = Vec::new();
    for (effect, sent, want) in [
        (Effect::Write, true, Reason::WriteOutcomeUnknown),
        (Effect::Write, false, Reason::RegionUnavailable),
        (Effect::Read, true, Reason::RegionUnavailable),
        (Effect::Read, false, Reason::RegionUnavailable),
    ] {
        let (id, answer) = table.register(1, effect, None).unwrap();
        assert!(!sent || table.sent(id));
        answers.push((answer, want));
    }
    table.close();
    for (answer, want) in &mut answers {
        assert_eq!(reason(answer), *want);
    }
    assert!(table.is_empty());
    assert_eq!(
        table.register(1, Effect::Read, None).err().map(|f| f.reason),
        Some(Reason::RegionUnavailable)
    );
}

#[test]
fn calls_and_bytes_are_bounded_and_come_free() {
    let by_calls = table(2, 1 << 20);
    let (first, _answer) = by_calls.register(1, Effect::Write, None).unwrap();
    let (_, _other) = by_calls.register(1, Effect::Write, None).unwrap();
    assert_eq!(
        by_calls.register(1, Effect::Read, None).err().map(|f| f.reason),
        Some(Reason::ShardBusy)
    );
    by_calls.complete(vec![found(first)]);
    assert!(by_calls.register(1, Effect::Read, None).is_ok());

    let by_bytes = table(10, 10_000);
    let (big, _answer) = by_bytes.register(20_000, Effect::Write, None).unwrap();
    assert_eq!(
        by_bytes.register(1, Effect::Write, None).err().map(|f| f.reason),
        Some(Reason::ShardBusy)
    );
    by_bytes.complete(vec![found(big)]);
    assert!(by_bytes.register(1, Effect::Write, None).is_ok());
    assert_eq!(by_bytes.calls().bytes, 1 + CALL_BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_shard_gets_a_call_now_and_then() {
    let table = table(100, 1 << 20);
    let register = || table.register(1, Effect::Write, None).map_err(|rejection| rejection.reason);
    let (first, _answer) = register().unwrap();
    assert!(table.sent(first));
    tokio::time::advance(STALL_MAX).await;
    let probe = register().unwrap();
    assert_eq!(register().err(), Some(Reason::ShardBusy));
    tokio::time::advance(PROBE_EVERY).await;
    assert!(register().is_ok(), "the next probe");
    assert_eq!(register().err(), Some(Reason::ShardBusy));
    // One answer, and all calls are taken again.
    table.complete(vec![found(probe.0)]);
    assert!(register().is_ok() && register().is_ok());
    // A shard that owes nothing may be silent for as long as it likes.
    let idle = self::table(100, 1 << 20);
    tokio::time::advance(STALL_MAX * 10).await;
    for _ in 0..3 {
        assert!(idle.register(1, Effect::Write, None).is_ok());
    }
}

#[test]
fn a_call_that_could_not_be_queued_leaves_nothing_behind() {
    let table = table(1, 1 << 20);
    let (id, _answer) = table.register(1, Effect::Write, None).unwrap();
    table.withdraw(id);
    assert!(table.is_empty() && !table.abandon(id));
    assert!(table.register(1, Effect::Write, None).is_ok());
}

#[test]
fn a_call_whose_caller_has_gone_is_not_sent() {
    let table = table(1, 1 << 20);
    let (id, answer) = table.register(1, Effect::Write, None).unwrap();
    drop(answer);
    assert!(!table.abandon(id));
    assert!(!table.sent(id));
    assert!(table.is_empty());
    assert_eq!(table.calls().bytes, 0);
}

#[test]
fn a_call_that_was_sent_stays_until_it_is_answered() {
    let table = table(1, 1 << 20);
    let (id, answer) = table.register(1, Effect::Write, None).unwrap();
    assert!(table.sent(id));
    drop(answer);
    assert!(table.abandon(id));
    assert_eq!(
        table.register(1, Effect::Write, None).err().map(|f| f.reason),
        Some(Reason::ShardBusy)
    );
    table.complete(vec![found(id), found(id), found(99)]);
    assert!(table.register(1, Effect::Write, None).is_ok());
}

#[test]
fn draining_answers_what_was_sent_and_sends_nothing_more() {
    let table = table(10, 1 << 20);
    let (sent, mut sent_answer) = table.register(1, Effect::Write, None).unwrap();
    assert!(table.sent(sent));
    let (queued, mut queued_answer) = table.register(1, Effect::Write, None).unwrap();
    table.drain();
    assert_eq!(reason(&mut queued_answer), Reason::RegionUnavailable);
    assert!(!table.sent(queued));
    assert_eq!(
        table.register(1, Effect::Read, None).err().map(|f| f.reason),
        Some(Reason::RegionUnavailable)
    );
    table.complete(vec![found(sent)]);
    assert!(sent_answer.try_recv().unwrap().is_ok());
    assert!(table.is_empty());
}

#[test]
fn of_puts_that_go_together_all_are_sent_or_none() {
    let table = table(5, 1 << 20);
    let puts = |count| (0..count).map(|_| (1, None));
    assert!(table.register_all(puts(6), Effect::Write).is_err());
    let (first, answers) = table.register_all(puts(3), Effect::Write).unwrap();
    assert!(table.sent_all(first, 3) && answers.len() == 3);
    // One whose caller has gone keeps the others from being sent, and all are forgotten.
    let (next, _answers) = table.register_all(puts(2), Effect::Write).unwrap();
    assert_eq!(next, first + 3);
    table.abandon(next + 1);
    assert!(!table.sent_all(next, 2));
    assert!(table.register_all(puts(2), Effect::Write).is_ok());
}
