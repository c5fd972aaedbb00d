//! A region of several shards: calls go to the shard whose store owns the slot, and the region is
//! reported as it serves.

use link::ops::health::Health;
use terms::{Reason, Slot, SlotSet};
use wire::session as proto;
use wire::v1;

use super::peers::until_page;
use super::rig::*;
use crate::map::state::Handle;

/// Slots 342 and 764 (`the_slot_of_a_subject_never_changes` in `terms` says how they are computed).
const LOWER: &str = "p2";
const UPPER: &str = "p-1";

fn slots(range: std::ops::Range<u16>) -> SlotSet {
    range.filter_map(Slot::new).collect()
}

/// A shard of `us-iad` that says that it owns these slots.
async fn shard(name: &str, owned: &SlotSet) -> Shard {
    let slots = owned.as_bytes().to_vec().into();
    Shard::start(proto::Welcome { shard: name.to_owned(), slots, ..welcome("us-iad", "US") }).await
}

/// Gives `us-iad` two shards: `s1` with the lower half of the slots, and `s2` with the upper.
fn set_two(rig: &Rig, first: &str, second: &str) {
    let handle = Handle::of(&rig.ctx.map);
    let (map, before) = (handle.map(), handle.annexes());
    let shard = |name: &str, address: &str, slots: &str| {
        format!("[[shards]]\nname = \"{name}\"\naddress = \"{address}\"\nslots = [\"{slots}\"]\n")
    };
    let (s1, s2) = (shard("s1", first, "0-511"), shard("s2", second, "512-1023"));
    let annex = atlas::Annex::parse(&format!("region = \"us-iad\"\n{s1}{s2}"), &map).unwrap();
    let rest = before.into_iter().filter(|annex| annex.region().as_str() != "us-iad");
    handle.set_annexes(rest.chain([annex]).collect());
}

/// A gateway with these two shards, and its sessions with them.
async fn two(first: &SlotSet, second: &SlotSet) -> (Rig, [Shard; 2], [Conn; 2]) {
    let (mut s1, mut s2) = (shard("s1", first).await, shard("s2", second).await);
    let rig = Rig::start(&[]).await;
    set_two(&rig, &s1.address, &s2.address);
    let conns = [s1.conn().await, s2.conn().await];
    (rig, [s1, s2], conns)
}

fn put_of(subject: &str) -> v1::PutRecordRequest {
    let subject = Some(v1::SubjectRef { id: subject.to_owned(), domicile: String::new() });
    v1::PutRecordRequest { subject, ..put_from("US") }
}

/// Waits until the page says that of the region.
async fn until_said(health: &Health, said: &str) {
    let line = format!("region/us-iad: {said}\n");
    until_page(health, |ready, page| ready && page.contains(&line)).await;
}

#[tokio::test]
async fn a_call_goes_to_the_shard_that_owns_the_slot_whatever_the_annex_says() {
    let (rig, [_s1, s2], [mut first, second]) = two(&SlotSet::ALL, &SlotSet::NONE).await;
    until_said(&rig.health, "within reach").await;
    let mut client = rig.client().await;
    for subject in [LOWER, UPPER] {
        let (answer, call) = tokio::join!(client.put(put_of(subject)), first.accept());
        assert!(answer.is_ok() && matches!(call.op, Some(proto::call::Op::Put(_))));
    }
    // The region serves all of its slots without the one that has none.
    s2.stop();
    second.break_off().await;
    until_said(&rig.health, "within reach; missing: s2").await;
    let (answer, _) = tokio::join!(client.put(put_of(UPPER)), first.accept());
    assert!(answer.is_ok());
}

#[tokio::test]
async fn a_slot_that_two_shards_own_is_asked_of_neither() {
    let upper = slots(512..1024);
    let (rig, _shards, [mut first, mut second]) = two(&SlotSet::ALL, &upper).await;
    until_said(&rig.health, "partly within reach; slots that several shards own: 512-1023").await;
    let mut client = rig.client().await;
    let (answer, _) = tokio::join!(client.put(put_of(LOWER)), first.accept());
    assert!(answer.is_ok());
    let status = refused(client.put(put_of(UPPER)).await);
    assert_eq!(reason(&status), Reason::SlotNotOwned);
    assert_eq!(reason(&refused(client.get(get_in("us-iad")).await)), Reason::SlotNotOwned);
    assert!(first.calls.try_recv().is_err() && second.calls.try_recv().is_err(), "one was asked");
}

#[tokio::test]
async fn a_region_of_which_one_shard_is_missing_serves_the_slots_of_the_other() {
    let (rig, [_s1, s2], [mut first, mut second]) = two(&slots(0..512), &slots(512..1024)).await;
    until_said(&rig.health, "within reach").await;
    let mut client = rig.client().await;
    let (answer, _) = tokio::join!(client.put(put_of(UPPER)), second.accept());
    assert!(answer.is_ok());
    s2.stop();
    second.break_off().await;
    let said = "partly within reach; missing: s2; slots that no shard serves: 512-1023";
    until_said(&rig.health, said).await;
    let status = refused(client.put(put_of(UPPER)).await);
    assert_eq!(reason(&status), Reason::RegionUnavailable);
    let (answer, _) = tokio::join!(client.put(put_of(LOWER)), first.accept());
    assert!(answer.is_ok());
}

#[tokio::test]
async fn a_shard_that_serves_other_slots_than_before_says_so() {
    let (rig, _shards, [mut first, second]) = two(&SlotSet::NONE, &SlotSet::NONE).await;
    until_said(&rig.health, "partly within reach; slots that no shard serves: 0-1023").await;
    let says = |slots: &SlotSet| proto::ToGateway {
        slots: slots.as_bytes().to_vec().into(),
        ..Default::default()
    };
    second.out.send(Ok(says(&slots(0..512)))).await.expect("an open session");
    until_said(&rig.health, "partly within reach; slots that no shard serves: 512-1023").await;
    first.out.send(Ok(says(&slots(512..1024)))).await.expect("an open session");
    until_said(&rig.health, "within reach").await;
    let mut client = rig.client().await;
    let (answer, _) = tokio::join!(client.put(put_of(UPPER)), first.accept());
    assert!(answer.is_ok());
}

#[tokio::test]
async fn a_region_in_which_two_shards_own_the_same_slots_is_not_listed() {
    let upper = slots(512..1024);
    let (rig, _shards, [mut first, mut second]) = two(&SlotSet::ALL, &upper).await;
    until_said(&rig.health, "partly within reach; slots that several shards own: 512-1023").await;
    let mut client = rig.client().await;
    let (collection, regions) = ("profiles".to_owned(), vec!["us-iad".to_owned()]);
    let list = v1::ListRecordsRequest {
        collection: collection.clone(),
        regions: regions.clone(),
        ..Default::default()
    };
    let status = refused(client.list(list).await);
    assert_eq!(reason(&status), Reason::RegionUnavailable);
    let count = v1::CountRecordsRequest { collection, regions, ..Default::default() };
    let status = refused(client.count(count).await);
    assert_eq!(reason(&status), Reason::RegionUnavailable);
    assert!(first.calls.try_recv().is_err() && second.calls.try_recv().is_err(), "one was asked");
}

#[tokio::test]
async fn a_shard_is_sent_nothing_of_another_that_has_not_said_what_it_owns() {
    let mut s1 = shard("s1", &SlotSet::ALL).await;
    let rig = Rig::start(&[]).await;
    // Nothing listens there.
    set_two(&rig, &s1.address, "http://127.0.0.1:1");
    let mut first = s1.conn().await;
    let said = "partly within reach; missing: s2; slots that no shard serves: 512-1023";
    until_said(&rig.health, said).await;
    let mut client = rig.client().await;
    let (answer, _) = tokio::join!(client.put(put_of(LOWER)), first.accept());
    assert!(answer.is_ok());
    let status = refused(client.put(put_of(UPPER)).await);
    assert_eq!(reason(&status), Reason::RegionUnavailable);
    assert!(first.calls.try_recv().is_err(), "it was asked");
    // The other one says that it has none of them.
    let mut s2 = shard("s2", &SlotSet::NONE).await;
    set_two(&rig, &s1.address, &s2.address);
    let _second = s2.conn().await;
    until_said(&rig.health, "within reach").await;
    let (answer, _) = tokio::join!(client.put(put_of(UPPER)), first.accept());
    assert!(answer.is_ok());
}
