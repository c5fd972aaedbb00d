//! Lists and counts of a collection in the region to which a subject has moved.

use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1::OperationState as State;

use super::{RECORDS, fill, reason, relocate};
use crate::attributes::list;
use crate::relocation::rig::Rig;

async fn listed(rig: &Rig, at: usize, list: proto::List) -> proto::Listed {
    match rig.told(at, Op::List(list)).await {
        Ok(Outcome::Listed(listed)) => listed,
        Ok(_) => panic!("a list is answered with what was listed"),
        Err(fault) => panic!("{} {}", fault.reason, fault.problem),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_record_that_has_moved_is_in_no_list() {
    let with_list = "reads = \"counted\"\nlist = true\n";
    let rig = Rig::with(7, |place| {
        place.map = place.map.replacen("reads = \"counted\"\n", with_list, 1);
    });
    let rig = rig.await;
    // One of them was deleted.
    fill(&rig, "anna").await;
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await), "done");
    rig.until("anna", &[State::Done]).await;
    let mut keys: Vec<String> =
        listed(&rig, 1, list("")).await.records.into_iter().map(|record| record.key).collect();
    keys.sort();
    let mut all: Vec<String> = (0..RECORDS).filter(|n| *n != 2).map(|n| format!("k{n}")).collect();
    all.sort();
    assert_eq!(keys, all);
    let counted = listed(&rig, 1, proto::List { count: true, ..list("") }).await;
    assert_eq!(counted.count, RECORDS - 1);
    rig.stop().await;
}
