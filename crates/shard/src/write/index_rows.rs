//! The rows of indexes that a write adds and removes, in the commit of the record's own rows, and how
//! the number of records in a list changes by it.

use std::collections::BTreeSet;

use engine::{Batch, Key};

use crate::store::index_keys::{INDEX_ROW, Indexes, ListKeys, Named};
use crate::store::indexed::Indexed;
use crate::store::keys::KeyLayout;
use crate::store::record::Address;
use crate::write::list_numbers::ListChanges;

/// What a write changes.
pub(crate) struct ChangedRows<'a> {
    pub(crate) batch: &'a mut Batch,
    pub(crate) listed: &'a mut ListChanges,
}

/// Removes the rows of the version before that this one does not have, and adds those that the one
/// before did not have.
pub(crate) fn change(
    to: ChangedRows<'_>,
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
    let ChangedRows { batch, listed } = to;
    if before.is_some_and(|before| before.listed) != now.listed {
        let list = list(layout, address);
        let row = list.listed(&address.row);
        if now.listed {
            batch.put(row, INDEX_ROW);
        } else {
            batch.delete(row);
        }
        listed.add(list, now.listed);
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

/// The list that may have a record.
pub(super) fn list(layout: &KeyLayout, address: &Address) -> ListKeys {
    let (tenant, collection) = (&address.owner.tenant, &address.collection);
    Indexes { layout, tenant, collection }.list()
}

/// The rows by which a record is found, but for that in its collection's list.
pub(super) fn rows(layout: &KeyLayout, address: &Address, indexed: &Indexed) -> BTreeSet<Key> {
    let (tenant, collection) = (&address.owner.tenant, &address.collection);
    let indexes = Indexes { layout, tenant, collection };
    let by_attribute = indexed.found_by().map(|(name, value, index)| {
        indexes.of_attribute(name, value.kind(), index).row(layout, value, &address.row)
    });
    let named = Named { layout, tenant };
    let people = indexed.participants.iter();
    let by_person = people.map(|one| named.row(&one.id, &one.region, &address.row));
    by_attribute.chain(by_person).collect()
}
