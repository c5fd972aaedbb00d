//! Notes whose records a logged read was about, in the commit of its READ entry.

use engine::{Key, Span};
use terms::{Collection, Rejection};

use crate::policy::asker::Asker;
use crate::policy::subject_status;
use crate::store::accesses::{Access, AccessKind, Accesses};
use crate::store::keys::Owner;
use crate::store::subject::{Status, Subject};
use crate::write::command::ReadAbout;
use crate::write::transaction::{Known, Transaction};

impl Transaction<'_> {
    /// The row of a subject's accesses with one read more. None: the subject is gone by now.
    pub(super) fn access(
        &mut self,
        asker: &Asker,
        about: &ReadAbout,
        collection: &Collection,
    ) -> Result<Option<Vec<u8>>, Rejection> {
        let subject = match self.known_subject(&about.owner)? {
            Some(Known::Kept(subject)) => subject,
            // It has moved since it was read, and would not be told.
            Some(Known::Erased(stone)) if stone.moved.is_some() => {
                return Err(subject_status::gone(&stone));
            }
            Some(Known::Erased(_)) | None => return Ok(None),
        };
        if matches!(subject.status, Status::Left(_)) {
            // Who read it until it was given away goes with it.
            return subject_status::admit_read(&subject, self.now).map(|()| None);
        }
        self.readable(&about.row)?;
        let mut all = match self.rows.get(&about.row).and_then(Option::as_ref) {
            Some(row) => self.accesses(&about.owner, &subject, row)?,
            None => Accesses::default(),
        };
        let minute = self.entries.minute();
        all.add(Access {
            collection: collection.clone(),
            kind: AccessKind::Records,
            by: Some(asker.who.caller.clone()),
            purpose: about.purpose.clone(),
            reads: 1,
            first: minute,
            last: minute,
        });
        self.sealed(&about.owner, &subject, &all).map(Some)
    }

    /// Seals a subject's accesses under its new key.
    pub(super) fn seal_accesses(
        &mut self,
        owner: &Owner,
        before: &Subject,
        after: &Subject,
    ) -> Result<(), Rejection> {
        let row: Key = owner.accesses();
        let Some((_, stored)) = self.scan(&Span::prefix(&row), 1)?.rows.pop() else {
            return Ok(());
        };
        let all = self.accesses(owner, before, &stored)?;
        let sealed = self.sealed(owner, after, &all)?;
        self.batch.put(row, sealed);
        Ok(())
    }

    /// Takes the lines of a collection out of a subject's accesses.
    pub(super) fn forget_accesses(
        &mut self,
        owner: &Owner,
        subject: &Subject,
        collection: &Collection,
    ) -> Result<(), Rejection> {
        let row: Key = owner.accesses();
        let Some((_, stored)) = self.scan(&Span::prefix(&row), 1)?.rows.pop() else {
            return Ok(());
        };
        let mut all = self.accesses(owner, subject, &stored)?;
        all.0.retain(|line| line.collection != *collection);
        if all.0.is_empty() {
            self.batch.delete(row);
        } else {
            let sealed = self.sealed(owner, subject, &all)?;
            self.batch.put(row, sealed);
        }
        Ok(())
    }

    fn accesses(
        &self,
        owner: &Owner,
        subject: &Subject,
        row: &[u8],
    ) -> Result<Accesses, Rejection> {
        let (incarnation, region) = (subject.incarnation, &self.node.region);
        Ok(Accesses::open(row, owner, incarnation, region, subject.key())?)
    }

    fn sealed(
        &self,
        owner: &Owner,
        subject: &Subject,
        all: &Accesses,
    ) -> Result<Vec<u8>, Rejection> {
        let (node, key) = (self.node, subject.key());
        Ok(all.seal(owner, subject.incarnation, &node.region, key, node.random()?))
    }
}
