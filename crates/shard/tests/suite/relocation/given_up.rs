//! How moves end that are given up: what one left in a region that is gone keeps no person from moving to
//! another region, a cancel ends the move that it means, and what two regions call alike is not one move.

use super::*;

const KAZAKH: &[(&str, &str)] = &[("citizenship", "KZ"), ("residence", "KZ")];

fn cancel(subject: &str, id: &[u8]) -> Op {
    Op::Moves(proto::Moves {
        of: Some(Of::Cancel(subject.into())),
        reason: "as the test wants".into(),
        request_id: id.to_vec().into(),
    })
}

/// The rows of copies that other regions are still to erase.
fn left_copies(place: &Place) -> usize {
    stored::rows_in(&*place.store(), &[0x36]).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_is_not_reached_keeps_no_person_from_another_one() {
    let rig = Rig::new(21).await;
    let all = fill(&rig, "anna").await;
    // Enough for a part of the copy.
    rig.cut_after(60_000);
    let first = relocate(&rig, "anna");
    assert_eq!(reason(rig.told(0, Op::Relocate(first.clone())).await), "done");
    rig.until("anna", &[State::Copying]).await;
    rig.cut_after(1);
    assert_eq!(reason(rig.told(0, cancel("anna", &first.request_id)).await), "done");
    rig.until("anna", &[State::Cancelling]).await;
    // There again: not before it has erased what it has. Somewhere else: at once.
    let again = rig.call(0, Op::Relocate(relocate(&rig, "anna"))).await.unwrap();
    assert_eq!(reason(again), "SUBJECT_MOVING");
    let second = proto::Relocate {
        region: "kz-ala".into(),
        findings: findings(KAZAKH).into(),
        ..relocate(&rig, "anna")
    };
    assert_eq!(reason(rig.told(0, Op::Relocate(second.clone())).await), "done");
    // A late retry of the first cancel gives up nothing of the second move.
    let late = rig.told(0, cancel("anna", &first.request_id)).await;
    assert_eq!(reason(late), "RECORD_NOT_FOUND");
    assert_eq!(rig.until("anna", &[State::Copying]).await.region, "kz-ala");
    assert_eq!(reason(rig.told(0, cancel("anna", &second.request_id)).await), "done");
    has(&rig, 0, "anna", &all).await;
    // What the first left is erased as soon as its region is reached, whatever has come since.
    rig.cut_after(0);
    let third = relocate(&rig, "anna");
    while reason(rig.told_once(0, Op::Relocate(third.clone())).await) != "done" {
        sleep(Duration::from_millis(20)).await;
    }
    rig.until("anna", &[State::Done]).await;
    has(&rig, 1, "anna", &all).await;
    let (places, _) = rig.stop().await;
    agree(&places, true);
    // The third region was never reached: what it may have is still to be erased, though the subject is
    // gone from here.
    assert_eq!(left_copies(&places[0]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_done_is_not_given_up() {
    let rig = Rig::new(22).await;
    fill(&rig, "anna").await;
    let order = relocate(&rig, "anna");
    assert_eq!(reason(rig.told(0, Op::Relocate(order.clone())).await), "done");
    rig.until("anna", &[State::Done]).await;
    let fault = rig.told(0, cancel("anna", &order.request_id)).await.err().unwrap();
    assert_eq!(fault.reason, "SUBJECT_MOVED", "a client does not repeat it for ever");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_leaves_after_a_cancel() {
    let rig = Rig::new(24).await;
    // Several pages of half a megabyte.
    for n in 0..100 {
        let op = Op::Put(put(&rig, "anna", &format!("k{n}"), &[7; 40_000]));
        assert_eq!(reason(rig.told(0, op).await), "done");
    }
    // The first one arrives, and the second one is held on its way.
    rig.hold_after(1, 700_000);
    let order = relocate(&rig, "anna");
    assert_eq!(reason(rig.told(0, Op::Relocate(order.clone())).await), "done");
    while rig.state("anna").await.is_none_or(|found| found.copied == 0) {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(reason(rig.told(0, cancel("anna", &order.request_id)).await), "done");
    // It is written at once.
    assert_eq!(reason(rig.told(0, Op::Put(later(&rig, "anna", "new", b"late"))).await), "done");
    let carried = rig.carried(1);
    rig.hold_after(1, u64::MAX);
    rig.until("anna", &[State::Cancelled]).await;
    // No more than what was on its way, and not the megabytes that were still to come.
    let more = rig.carried(1) - carried;
    assert!(more < 2_000_000, "{more}");
    let (places, _) = rig.stop().await;
    assert_eq!(left_copies(&places[0]), 0);
    assert!(stored::rows_in(&*places[1].store(), &[0x10]).is_empty());
}

/// One step of a move, asked for by a shard of that region.
async fn asked(rig: &Rig, from: &str, step: proto::arrival::Step) -> Answer {
    let hello = proto::Hello { from_region: from.into(), ..rig.hello_of_shard() };
    let client = wire::session::session_client::SessionClient::connect(rig.port(1)).await.unwrap();
    let (mut session, first) = crate::support::open(client, hello).await.unwrap();
    assert!(first.welcome.is_some());
    let arrival =
        proto::Arrival { move_id: vec![9; 16].into(), subject: "anna".into(), step: Some(step) };
    session.call(Op::Arrival(arrival)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_that_two_regions_name_alike_are_two() {
    use proto::arrival::Step;
    let rig = Rig::new(23).await;
    let state = |answer: Answer| match answer {
        Ok(Outcome::Arrived(arrived)) => arrived.state(),
        _ => panic!("a step is answered with how far it is"),
    };
    // The move of ru-msk has ended; that of kz-ala begins.
    assert!(state(asked(&rig, "ru-msk", Step::Drop(true)).await) == proto::arrived::State::None);
    let begin = || Step::Begin(travels::arriving().into());
    assert_eq!(reason(asked(&rig, "ru-msk", begin()).await), "REQUEST_ID_REUSED");
    let begun = asked(&rig, "kz-ala", begin()).await;
    assert!(state(begun) == proto::arrived::State::Staging);
    // What one asks for ends nothing of the other.
    assert!(state(asked(&rig, "ru-msk", Step::Drop(true)).await) == proto::arrived::State::None);
    let still = asked(&rig, "kz-ala", Step::Check(true)).await;
    assert!(state(still) == proto::arrived::State::Staging);
    assert!(state(asked(&rig, "kz-ala", Step::Drop(true)).await) == proto::arrived::State::None);
    let (places, _) = rig.stop().await;
    assert!(stored::rows_in(&*places[1].store(), &[0x10]).is_empty());
}
