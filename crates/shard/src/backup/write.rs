//! Writes a backup of one view of a store, page by page.

use engine::View;
use ledger::checkpoint::Checkpoint;
use ledger::note::Verifier;

use crate::Error;
use crate::backup::format::{Format, FrameKey, Header, MANIFEST, Manifest, ROWS, encode_rows};
use crate::log::EdgeRow;
use crate::log::begun_backup::BegunBackup;
use crate::node::Node;
use crate::store::all_rows::{Summing, each_page};
use crate::store::types::Minute;

/// Gives all bytes of a backup to `sink`, a frame at a time.
pub(super) fn write(
    node: &Node,
    view: &dyn View,
    begun: &BegunBackup,
    sink: &mut dyn FnMut(Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let edge = EdgeRow::read_in(view)?;
    let damaged = || Error::Damaged("placement log");
    let verifier = Verifier::from_vkey(&begun.vkey).map_err(|_| damaged())?;
    let signed = Checkpoint::open(&begun.note, &verifier).map_err(|_| damaged())?;
    if (edge.period, edge.size) != (begun.period, signed.size) {
        let why = "the log grew before a view of the store was open: try again";
        return Err(Error::NotBackedUp(why.to_owned()));
    }
    let header = Header::new(begun, node.namer.check(), Minute::of(node.now()));
    let (key, beginning) = FrameKey::begin(&*node.keyring, &header, Format::Whole);
    sink(beginning)?;
    let (mut number, mut summing) = (0, Summing::new());
    each_page(view, |rows| {
        number += 1;
        summing.add(rows);
        sink(key.seal(ROWS, number, &encode_rows(rows)))
    })?;
    let (vkey, note) = (begun.vkey.to_string(), begun.note.clone());
    let manifest = Manifest { vkey, note, sum: summing.sum() };
    sink(key.seal(MANIFEST, number + 1, &manifest.encode()))
}
