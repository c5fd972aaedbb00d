//! The rows that the conditions of a group need, read before anything is applied.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use engine::{Engine, Key};
use terms::Rejection;

use crate::store::damage::read_rows;
use crate::store::subject::Subject;
use crate::store::types::SubjectTag;
use crate::write::command::Op;
use crate::write::queue_share::Room;
use crate::write::transaction::Rows;

/// Rows that are read at once. The largest are those of subjects.
const ROWS_AT_ONCE: usize = 256;

/// Rows that do not read back, and why.
pub(crate) type Unreadable = HashMap<Key, Rejection>;

/// Reads them: first the subjects that are not in memory, then heads of records. A subject that is
/// not stored has no records, so what creates one reads no head.
///
/// # Errors
/// Of a store that answers no more. Of a row that does not read back only its writes are told.
pub(crate) fn read(
    engine: &dyn Engine,
    ops: &VecDeque<(Op, Room)>,
    cached: &HashMap<SubjectTag, Arc<Subject>>,
) -> Result<(Rows, Unreadable), engine::Error> {
    let mut first = Vec::with_capacity(ops.len());
    let mut heads = Vec::new();
    for (op, _) in ops {
        let head = op.action.record().map(|address| address.row.clone());
        match op.action.owner().filter(|owner| !cached.contains_key(&owner.tag)) {
            Some(owner) => {
                let subject = owner.row();
                heads.extend(head.map(|head| (subject.clone(), head)));
                first.push(subject);
            }
            None => first.extend(head),
        }
        first.extend(op.action.further_row().cloned());
    }
    let (mut rows, mut unreadable) = (Rows::with_capacity(first.len()), Unreadable::new());
    read_into(engine, first, &mut rows, &mut unreadable)?;
    let is_stored = |subject: &Key| rows.get(subject).is_none_or(Option::is_some);
    heads.retain(|(subject, _)| is_stored(subject));
    let heads = heads.into_iter().map(|(_, head)| head).collect();
    read_into(engine, heads, &mut rows, &mut unreadable)?;
    Ok((rows, unreadable))
}

fn read_into(
    engine: &dyn Engine,
    mut keys: Vec<Key>,
    rows: &mut Rows,
    unreadable: &mut Unreadable,
) -> Result<(), engine::Error> {
    keys.sort_unstable();
    keys.dedup();
    for some in keys.chunks(ROWS_AT_ONCE) {
        for (key, row) in some.iter().zip(read_rows(engine, some)?) {
            match row {
                Ok(row) => drop(rows.insert(key.clone(), row)),
                Err(fault) => drop(unreadable.insert(key.clone(), fault)),
            }
        }
    }
    Ok(())
}
