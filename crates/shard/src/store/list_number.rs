//! How many records the list of a tenant's collection has, so that a count reads one row. The number
//! changes in the commit that changes the list.
//!
//! Layout: `01`, the number (8 bytes). The version alone says that the number is not known: then the
//! list itself is gone through.

use engine::{Order, ScanLimit, View};

use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::index_keys::ListKeys;

const FORMAT: u8 = 1;

pub(crate) fn encode(number: Option<u64>) -> Vec<u8> {
    let mut row = Writer::with_capacity(9);
    row.u8(FORMAT);
    if let Some(number) = number {
        row.u64(number);
    }
    row.0
}

fn decode(row: &[u8]) -> Result<Option<u64>, Malformed> {
    let mut row = Reader::new(row);
    row.format(FORMAT)?;
    if row.rest().is_empty() {
        return Ok(None);
    }
    let number = row.u64()?;
    row.end()?;
    Ok(Some(number))
}

/// The number of a list. None: it is not known, or does not read back.
pub(crate) fn read(view: &dyn View, list: &ListKeys) -> Result<Option<u64>, engine::Error> {
    match stored(view, list) {
        Err(engine::Error::Damaged { .. }) => Ok(None),
        read => read,
    }
}

fn stored(view: &dyn View, list: &ListKeys) -> Result<Option<u64>, engine::Error> {
    if let Some(row) = view.get_many(&[&list.number()])?.pop().flatten() {
        return Ok(decode(&row).unwrap_or(None));
    }
    // Without a number, a list has no record. One that has was written before there were numbers.
    let first = view.scan(&list.all(), Order::Ascending, ScanLimit { rows: 1, bytes: 1 })?;
    Ok(first.rows.is_empty().then_some(0))
}

#[cfg(test)]
mod tests {
    use engine::{Batch, Disk, Engine as _, Memory};

    use super::*;

    #[test]
    fn a_number_is_known_unless_its_list_is_older_or_it_does_not_read_back() {
        let list = ListKeys::of_tag([7; 12]);
        let engine = Memory::open(&Disk::new(1));
        let says = |row: Option<Vec<u8>>, listed: bool| {
            let mut batch = Batch::new();
            match row {
                Some(row) => batch.put(list.number(), row),
                None => batch.delete(list.number()),
            }
            match listed {
                true => batch.put(list.listed(&[1; 40]), [1]),
                false => batch.delete(list.listed(&[1; 40])),
            }
            engine.commit(batch, engine.head().unwrap(), 0).unwrap();
            read(&*engine.view().unwrap(), &list).unwrap()
        };
        assert_eq!(says(None, false), Some(0));
        assert_eq!(says(None, true), None);
        assert_eq!(says(Some(encode(Some(1 << 40))), true), Some(1 << 40));
        assert_eq!(says(Some(encode(None)), true), None);
        for malformed in [vec![], vec![2; 9], vec![1; 8], vec![1; 10]] {
            assert_eq!(says(Some(malformed), true), None);
        }
    }
}
