//! A store that was put back from before a move of a slot.

use std::time::Duration;

use shard::{Erasures, SlotsRequest};
use tokio::time::sleep;
use wire::session::call::Op;

use super::{ASK_AGAIN, WITHIN, found, get, person, put_of, reason, written};
use crate::slots::{One, annex, port, slots, told};
use crate::support::{stored, unlocked};

/// Has the first shard move the slot to the second, and waits for the end.
async fn moved(first: &One) {
    let settings = first.settings();
    let request = SlotsRequest::Move { to: "s2".into(), slots: Some("764".into()) };
    settings.ask_about_slots("order".into(), request, WITHIN).await.unwrap().unwrap();
    let mut n = 0;
    loop {
        n += 1;
        let asked = settings.ask_about_slots(format!("{n}"), SlotsRequest::Status, ASK_AGAIN);
        if asked.await.unwrap().is_some_and(|status| status.is_done()) {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_from_before_a_move_gives_the_slot_up_once_more() {
    let (p1, p2) = (port().await, port().await);
    let both = annex(&[("s1", p1, "0-1022"), ("s2", p2, "1023")]);
    let (first, second) = (One::new("s1", p1, both.clone()), One::new("s2", p2, both));
    first.init(None);
    second.init(Some(&first));
    let (one, two) = (first.start().await, second.start().await);
    let (mut session, served) = first.session(&one).await;
    if served.is_empty() {
        told(&mut session).await;
    }
    let anna = person(764, 0);
    assert_eq!(written(session.call(Op::Put(put_of(&anna, 1))).await).version, 1);
    drop(session);
    one.stop().await.unwrap();
    first.place.save_store("yesterday");
    let one = first.start().await;
    moved(&first).await;
    let (mut there, _) = second.session(&two).await;
    assert_eq!(written(there.call(Op::Put(put_of(&anna, 2))).await).version, 2);

    one.stop().await.unwrap();
    first.place.put_back_store("yesterday");
    let recover = || first.place.recover_as(&first.settings(), &Erasures::Known(Vec::new()));
    unlocked(recover).await.unwrap();
    let one = first.start().await;
    let (mut session, served) = first.session(&one).await;
    let all_but_it = slots(0..764).or(&slots(765..1023));
    let served = if served.is_empty() { told(&mut session).await } else { served };
    assert_eq!(served, all_but_it);
    let old = session.call(Op::Put(put_of(&anna, 3))).await;
    assert_eq!(reason(old), "SLOT_NOT_OWNED");
    // What is left of it here goes; the other shard has what was written there.
    moved(&first).await;
    assert_eq!(reason(session.call(get(&anna, "k")).await), "SLOT_NOT_OWNED");
    assert_eq!(found(there.call(get(&anna, "k")).await).version, 2);
    drop((session, there));
    one.stop().await.unwrap();
    two.stop().await.unwrap();
    let slot = [&[0x10][..], &764_u16.to_be_bytes()].concat();
    assert!(stored::rows_in(&*first.place.store(), &slot).is_empty());
}
