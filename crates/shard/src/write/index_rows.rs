//! The rows of indexes that a write adds and removes, in the commit of the record's own rows.

use std::collections::BTreeSet;

use engine::{Batch, Key};

use crate::store::index_keys::{INDEX_ROW, Indexes, Named};
use crate::store::indexed::Indexed;
use crate::store::keys::KeyLayout;
use crate::store::record::Address;

/// Removes the rows of the version before that this one does not have, and adds those that the one
/// before did not have.
pub(crate) fn change(
    batch: &mut Batch,
    layout: &KeyLayout,
    address: &Address,
    before: Option<&Indexed>,
    now: &Indexed,
) {
    let before = before.filter(|before| !before.is_found_by_nothing());
    // A plain put of a plain record: the usual case, and no row.
    if before.is_none() && now.is_found_by_nothing() {
        return;
    }
    let old = before.map_or_else(BTreeSet::new, |before| rows(layout, address, before));
    let new = rows(layout, address, now);
    for gone in old.difference(&new) {
        batch.delete(gone.clone());
    }
    for added in new.difference(&old) {
        batch.put(added.clone(), INDEX_ROW);
    }
}

/// The rows by which a record is found.
pub(super) fn rows(layout: &KeyLayout, address: &Address, indexed: &Indexed) -> BTreeSet<Key> {
    let (tenant, collection) = (&address.owner.tenant, &address.collection);
    let indexes = Indexes { layout, tenant, collection };
    let by_attribute = indexed.found_by().map(|(name, value, index)| {
        indexes.of_attribute(name, value.kind(), index).row(layout, value, &address.row)
    });
    let listed = indexed.listed.then(|| indexes.list().listed(&address.row));
    let named = Named { layout, tenant };
    let people = indexed.participants.iter();
    let by_person = people.map(|one| named.row(&one.id, &one.region, &address.row));
    by_attribute.chain(listed).chain(by_person).collect()
}
