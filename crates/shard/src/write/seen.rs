//! Pages of a whole collection, in the accesses of the people whose records they have: a line for each
//! caller and purpose, which a day changes once. So what is read again and again is written once a day.

use std::sync::Arc;

use engine::Key;
use terms::{Collection, Reason, Rejection};

use crate::Error;
use crate::node::Node;
use crate::policy::subject_status;
use crate::store::accesses::{Access, AccessKind, Accesses};
use crate::store::damage::{Row, read_rows};
use crate::store::keys::Owner;
use crate::store::principal::Principal;
use crate::store::subject::{Status, SubjectRow};
use crate::store::types::Minute;

/// The people of a page, and who reads it for which purpose.
pub(crate) struct Seen {
    pub(crate) owners: Vec<Owner>,
    pub(crate) collection: Collection,
    pub(crate) who: Arc<Principal>,
    pub(crate) purpose: String,
}

/// A row of accesses as it is to be.
pub(crate) struct Told {
    pub(crate) key: Key,
    pub(crate) row: Vec<u8>,
}

impl Seen {
    /// The rows of those who are not told yet, as they are to be.
    ///
    /// # Errors
    /// A row does not read back; a subject has been given to another region, or has moved there, and would
    /// not be told.
    pub(crate) fn untold(&self, node: &Node) -> Result<Vec<Told>, Rejection> {
        let keys = self.owners.iter().flat_map(|owner| [owner.row(), owner.accesses()]);
        let keys: Vec<Key> = keys.collect();
        let rows = read_rows(&*node.engine, &keys).map_err(Error::from)?;
        let mut rows = rows.into_iter();
        let mut next = || rows.next().unwrap_or(Ok(None));
        let mut untold = Vec::new();
        for owner in &self.owners {
            let (subject, accesses) = (next(), next());
            untold.extend(self.one(node, owner, subject, accesses)?);
        }
        Ok(untold)
    }

    /// The row of one of them. None: nothing is to be added, or the subject is erased by now.
    fn one(
        &self,
        node: &Node,
        owner: &Owner,
        subject: Row,
        accesses: Row,
    ) -> Result<Option<Told>, Rejection> {
        let Some(row) = subject? else { return Ok(None) };
        let subject = match node.open_subject(owner, &row)? {
            SubjectRow::Kept(subject) => subject,
            // The person has moved since the page was read, and would not be told: a page that is read
            // now has none of those records.
            SubjectRow::Erased(stone) if stone.moved.is_some() => {
                return Err(Reason::ShardBusy.into());
            }
            SubjectRow::Erased(_) => return Ok(None),
        };
        match subject.status {
            Status::Left(_) => {
                return subject_status::admit_read(&subject, node.now()).map(|()| None);
            }
            Status::Erasing(_) => return Ok(None),
            Status::Live | Status::Blocked(_) | Status::Moving(_) | Status::Arriving(_) => {}
        }
        let (region, incarnation) = (&node.region, subject.incarnation);
        let mut all = match accesses? {
            Some(row) => Accesses::open(&row, owner, incarnation, region, subject.key())?,
            None => Accesses::default(),
        };
        if !all.add(self.read(node)) {
            return Ok(None);
        }
        let row = all.seal(owner, incarnation, region, subject.key(), node.random()?);
        Ok(Some(Told { key: owner.accesses(), row }))
    }

    /// The read, as it is told.
    fn read(&self, node: &Node) -> Access {
        let minute = Minute::of(node.now());
        Access {
            collection: self.collection.clone(),
            kind: AccessKind::Pages,
            by: Some(self.who.in_log(&node.growing()).caller.clone()),
            purpose: self.purpose.clone(),
            reads: 1,
            first: minute,
            last: minute,
        }
    }
}
