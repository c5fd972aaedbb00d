//! Slots in the answer about maps: which each shard owns, and which no shard serves.

use terms::{Slot, SlotSet};
use wire::v1;

use crate::map::routing::Routing;
use crate::shards::session::Session;

/// The slots that a shard owns, as it last said.
pub(super) fn owned(session: &Session) -> Vec<v1::SlotRange> {
    session.slots().as_deref().map(ranges).unwrap_or_default()
}

/// The slots whose calls are refused now, of each region that has such.
pub(super) fn unserved(routing: &Routing) -> Vec<v1::UnservedSlots> {
    let regions = routing.unserved().into_iter();
    let regions = regions.map(|(region, unserved)| v1::UnservedSlots {
        region: region.to_string(),
        missing: ranges(&unserved.missing),
        contested: ranges(&unserved.contested),
    });
    regions.collect()
}

fn ranges(slots: &SlotSet) -> Vec<v1::SlotRange> {
    let number = |slot: Slot| i32::from(slot.number());
    let range = |(first, last)| v1::SlotRange { first: number(first), last: number(last) };
    slots.ranges().into_iter().map(range).collect()
}
