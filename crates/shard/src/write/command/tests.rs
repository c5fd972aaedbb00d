//! Which commands are done below the reserve.

use terms::RegionId;

use super::*;
use crate::testing;

/// A disk that runs full keeps no subject from its end: one that was given away is served nowhere
/// else.
#[test]
fn what_ends_an_arrival_is_done_below_the_reserve() {
    let folder = tempfile::tempdir().unwrap();
    let node = testing::node(folder.path(), &engine::Disk::new(1));
    let fills = |step| {
        let owner = testing::address(&node, "anna").owner;
        let from = RegionId::parse("eu-fra").unwrap();
        let (move_id, opening, bytes) = ([1; 16], [2; 32], 0);
        Action::Arrive(Box::new(Arrive { owner, from, move_id, opening, bytes, step })).fills()
    };
    let rows = ArriveStep::Rows { after: Vec::new(), next: Vec::new(), records: Vec::new() };
    assert!(fills(rows));
    assert!(![ArriveStep::Adopt(None), ArriveStep::Look, ArriveStep::Drop].into_iter().any(fills));
}
