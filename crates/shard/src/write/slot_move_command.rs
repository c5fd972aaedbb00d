//! Steps of moves of slots between two shards of one region, as the committer takes them.

use engine::{Key, Value};
use ledger::entry::{Entry, MapRef};
use terms::{ShardId, Slot, SlotSet};

use crate::store::slot_move::{Handover, SlotMoveId};

/// One step of the move of a slot.
pub(crate) struct SlotMove {
    pub(crate) slot: Slot,
    pub(crate) move_id: SlotMoveId,
    /// Random: an opening, or what the id of another move is made of.
    pub(crate) random: [u8; 32],
    pub(crate) step: SlotStep,
    /// Bytes that it holds in memory, roughly.
    pub(crate) bytes: usize,
}

/// What is done.
pub(crate) enum SlotStep {
    /// Here: these slots are to go to that shard. Each has an id of its own, made from the one given.
    Order(SlotSet, ShardId),
    /// Here: it is not written from now on.
    Freeze,
    /// Here: it is written again. Whether it is ordered once more.
    GiveUp { again: bool },
    /// Here: it is given away.
    Switch(Box<Given>),
    /// Here: some of its rows go, since the other shard has it.
    Purge,
    /// Here: the other shard has discarded what it had.
    Dropped,
    /// Here: the other shard has discarded what it had of a slot that was given away. It comes once more.
    Renew,
    /// There: it begins to come from that shard. Its rows may name these logs.
    Begin { from: ShardId, origins: Vec<String> },
    /// There: some of its rows, after that one, up to the other.
    Rows { after: Key, next: Key, rows: Vec<(Key, Value)> },
    /// There: it was given away. `checked`: the key up to which its rows were read back.
    Adopt { checked: Key, handover: Handover },
    /// There: some of its rows are put in their places; at last it is served.
    Install,
    /// There: some of what has come goes.
    Drop(ShardId),
    /// There: all that comes from that shard goes, since its store is another one now.
    Forget(ShardId),
}

/// A slot that is given away, as its rows were read after it was frozen.
pub(crate) struct Given {
    /// The map under which it was read.
    pub(crate) map: MapRef,
    /// The log whose tags are in its entries.
    pub(crate) origin: String,
    /// For each collection of a tenant, and each ruling, an entry without its minute and number.
    pub(crate) groups: Vec<(Entry, u64)>,
    pub(crate) digest: [u8; 32],
    /// The other shard serves it already: it was given away before this store was restored.
    pub(crate) held: bool,
    /// The log and index of the entry with which the slot began to come there.
    pub(crate) peer: (String, u64),
}

impl Given {
    /// Live records.
    pub(crate) fn live(&self) -> u64 {
        self.groups.iter().map(|(_, count)| count).sum()
    }
}
