//! What the next version of a record adds to its group: the entry, the record's rows, those of
//! indexes, copies that are due, and the row by which a record that expires is found.

use std::collections::HashMap;

use atlas::RegionMap;
use engine::{Batch, Key};
use ledger::entry::{Entry, Kind};
use terms::{RegionId, Rejection, UnixMillis};

use crate::Error;
use crate::node::Node;
use crate::reply::Receipt;
use crate::store::copy_mark::{CopyDue, DueStep};
use crate::store::feed::{ChangeKind, FeedDraft};
use crate::store::indexed::Indexed;
use crate::store::record::{Address, Body, Head};
use crate::store::subject::Subject;
use crate::store::types::{EntryAt, Minute, Version};
use crate::store::{attachment, keys};
use crate::write::command::{Content, Request};
use crate::write::entries::GroupEntries;
use crate::write::index_rows::{self, ChangedRows};
use crate::write::list_numbers::ListChanges;

/// Of the row of a record that expires: it alone.
pub(super) const EXPIRES_FORMAT: u8 = 1;

/// The next version of a record, under an entry that was made for it.
pub(crate) struct NextVersion {
    pub(crate) entry: Entry,
    /// None: no caller asked for it.
    pub(crate) request: Option<Request>,
    pub(crate) content: Content,
    pub(crate) expires: Option<UnixMillis>,
    pub(crate) indexed: Indexed,
}

/// What an entry of that kind did to its record.
fn change_kind(kind: Kind) -> ChangeKind {
    if kind == Kind::Delete {
        ChangeKind::Deleted
    } else if kind == Kind::Expire {
        ChangeKind::Expired
    } else {
        ChangeKind::Written
    }
}

/// The row of a copy that is due.
pub(super) fn copy_due(version: Version, entry: EntryAt, minute: Minute) -> Vec<u8> {
    CopyDue { version, entry, minute, step: DueStep::New }.row()
}

/// The parts of a group that records change.
pub(crate) struct RecordRows<'a, 'b> {
    pub(crate) node: &'a Node,
    pub(crate) batch: &'b mut Batch,
    pub(crate) listed: &'b mut ListChanges,
    pub(crate) entries: &'b mut GroupEntries<'a>,
    /// Heads as the group has left them.
    pub(crate) heads: &'b mut HashMap<Key, Head>,
    /// The map in force.
    pub(crate) map: &'b RegionMap,
    pub(crate) feed: &'b mut FeedDraft,
}

impl RecordRows<'_, '_> {
    /// Deletes a record whose time has come.
    pub(crate) fn expire(
        &mut self,
        address: &Address,
        subject: &Subject,
        before: &Head,
    ) -> Result<Head, Rejection> {
        let content = Content::none(self.node.random()?, self.node.random()?);
        let entry = self.entries.expired(address);
        let indexed = before.indexed.deleted();
        let next = NextVersion { entry, request: None, content, expires: None, indexed };
        self.store(address, subject, Some(before), next, None).map(|(head, _)| head)
    }

    /// Adds the next version of a record. `mirrors`: where copies are due; `None`: where the ruling
    /// that stands says.
    pub(crate) fn store(
        &mut self,
        address: &Address,
        subject: &Subject,
        before: Option<&Head>,
        next: NextVersion,
        mirrors: Option<&[RegionId]>,
    ) -> Result<(Head, Receipt), Rejection> {
        let NextVersion { mut entry, request, content, expires, mut indexed } = next;
        // Before anything is added.
        let key = subject.key_of(&address.row).map_err(Error::from)?;
        indexed.fed = self.map.collection(&address.collection).and_then(|c| c.feed()).is_some();
        if indexed.fed {
            self.feed.begin(|| self.node.random())?;
        }
        let Content { opening, digest, body_key, nonce, sealed } = content;
        let version = before.map_or(Version::NONE, |head| head.version).next();
        let statement = address.statement(version, digest);
        if let Some(before) = before {
            self.entries.name_earlier(&mut entry, before.entry)?;
        }
        entry.commitment = Some(ledger::statement::commitment(&opening, &statement));
        let at = self.entries.next();
        let done = request.map(|request| self.entries.recent(&request, version));
        let bytes = self.entries.append(&entry)?;

        let mut recent =
            before.map_or_else(Vec::new, |head| head.remembered(self.entries.minute()));
        recent.extend(done);
        let (incarnation, body) = (subject.incarnation, sealed.body());
        if indexed.fed {
            self.feed.add(address, version, change_kind(entry.kind));
        }
        let old = before.map(|before| &before.indexed);
        let to = ChangedRows { batch: self.batch, listed: self.listed };
        index_rows::change(to, &self.node.namer, address, old, &indexed);
        let head = Head {
            incarnation,
            version,
            body,
            entry: at,
            opening,
            digest,
            body_key,
            expires,
            indexed,
            recent,
        };
        if let Some(before) = before
            && let Body::Chunked(bytes) = before.body
            && before.body_key != head.body_key
        {
            let tag = self.node.namer.attachment(&before.body_key);
            attachment::discard(self.batch, &address.row, tag, bytes);
        }
        let kept = sealed.is_kept();
        let rows = sealed.into_rows(address, &self.node.region, &head, key, nonce);
        self.batch.put(address.row.clone(), rows.head);
        match rows.body {
            Some(row) => self.batch.put(keys::body(&address.row), row),
            None if !kept && before.is_some_and(|before| matches!(before.body, Body::Apart(_))) => {
                self.batch.delete(keys::body(&address.row));
            }
            None => {}
        }
        self.index_expiry(address, before, &head);
        let standing = || subject.standing(&address.collection).map_or(&[][..], |s| &s.mirrors);
        for mirror in mirrors.unwrap_or_else(standing) {
            let due = copy_due(version, at, self.entries.minute());
            self.batch.put(keys::copy_due(mirror, &address.row), due);
            self.node.copies_due.notify_one();
        }
        self.heads.insert(address.row.clone(), head.clone());
        Ok((head, Receipt { entry: bytes.into(), opening, statement: statement.into() }))
    }

    /// Keeps the row by which a record that expires is found.
    fn index_expiry(&mut self, address: &Address, before: Option<&Head>, head: &Head) {
        let key = |head: &Head| Some(keys::expires(Minute::of(head.expires?), &address.row));
        let (old, new) = (before.and_then(key), key(head));
        if old == new {
            return;
        }
        old.into_iter().for_each(|old| self.batch.delete(old));
        new.into_iter().for_each(|new| self.batch.put(new, vec![EXPIRES_FORMAT]));
    }
}
