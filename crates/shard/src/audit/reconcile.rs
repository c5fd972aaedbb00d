//! What an auditor compares with the log: how many live records the store has, and how many copies of other
//! regions' records, the openings of entries, and rows drawn by chance. One walk through the store, noted in
//! the log before it is answered: what is opened names persons.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{Key, Order, ScanLimit, Span};
use ledger::entry::Kind;
use terms::{Detail, Reason, Rejection};
use tokio::sync::oneshot;
use wire::v1 as api;

use crate::Error;
use crate::audit::access::{AuditContext, Auditor};
use crate::log::EdgeRow;
use crate::node::Node;
use crate::store::copied_set::{CopiedSet, SetRow};
use crate::store::copy_keys;
use crate::store::growing_log::GrowingLog;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::record::{Address, Head, Stored};
use crate::store::region_maps::map_ref;
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::store::types::SubjectTag;
use crate::write::command::Errand;
use crate::write::question::{NotedAnswer, Question};

/// Entries, and rows, that are opened in one call.
const OPENED_MAX: usize = 1_000;
/// Rows read at once, and their bytes.
const ROWS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 4 << 20;

/// Walks, notes, answers.
pub(crate) async fn answer(
    context: &AuditContext,
    auditor: &Auditor,
    asked: api::LedgerReconcileRequest,
) -> Result<api::LedgerReconcile, Rejection> {
    let rows = usize::try_from(asked.rows).unwrap_or(usize::MAX);
    for (field, count) in [("indexes", asked.indexes.len()), ("rows", rows)] {
        if count > OPENED_MAX {
            let fault = Rejection::new(Reason::TooManyItems).field(field);
            return Err(fault.with(Detail::Limit, OPENED_MAX));
        }
    }
    let turn = context.walk()?;
    let node = Arc::clone(context.node());
    // No caller waits any more: the walk ends, too.
    let stop = Arc::new(AtomicBool::new(false));
    let _stop = Stop(Arc::clone(&stop));
    let told = context.read(move || {
        let _turn = turn;
        let log = node.growing();
        let start_size = log.size();
        let mut walk = Walk {
            node: &node,
            log: &log,
            before: start_size,
            records: 0,
            wanted: asked.indexes.iter().map(|index| (*index, None)).collect(),
            drawn: BTreeMap::new(),
            rows,
            seed: asked.seed,
            seen: 0,
            stop: &stop,
        };
        walk.run()?;
        let copies = Some(walk.copies()?);
        let Walk { records, wanted, drawn, seen, .. } = walk;
        let opened = asked.indexes.iter().map(|index| {
            let origin = log.name.origin.to_string();
            let none = api::OpenedEntry { origin, index: *index, ..Default::default() };
            wanted.get(index).cloned().flatten().unwrap_or(none)
        });
        let opened = opened.collect();
        let rows = drawn.into_values().collect();
        if node.growing.load().id != log.id {
            // What was written into the next log meanwhile is not told from what was there before.
            return Err(Rejection::new(Reason::ShardBusy));
        }
        let (size, origin) = (log.size().max(seen), log.name.origin.to_string());
        Ok(api::LedgerReconcile { records, size, origin, opened, rows, start_size, copies })
    });
    let told = tokio::select! {
        told = told => told?,
        () = context.over() => return Err(Rejection::new(Reason::ShuttingDown)),
    };
    context.still(auditor)?;
    let (sender, noted) = oneshot::channel();
    let count = told.opened.iter().chain(&told.rows).filter(|one| !one.opening.is_empty()).count();
    context.queue().submit_errand(Errand::Note(Box::new(Question {
        kind: Kind::Count,
        answer: NotedAnswer::Auditor(sender),
        who: Arc::clone(&auditor.who),
        collection: None,
        judged: None,
        map: map_ref(&context.node().map()),
        count: u64::try_from(count).unwrap_or(u64::MAX),
        why: "an audit: entries opened for comparison with the log".into(),
    })));
    noted.await.unwrap_or_else(|_| Err(Rejection::new(Reason::ShuttingDown)))?;
    Ok(told)
}

/// Ends a walk when it is dropped.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One walk over all records.
struct Walk<'a> {
    node: &'a Node,
    /// The log that grew when it began.
    log: &'a GrowingLog,
    /// What was written from this entry on is not counted.
    before: u64,
    records: u64,
    wanted: BTreeMap<u64, Option<api::OpenedEntry>>,
    /// Rows by a keyed order that the seed gives: the first of them are the draw.
    drawn: BTreeMap<u64, api::OpenedEntry>,
    rows: usize,
    seed: u64,
    /// Entries that the log must have, by what was seen.
    seen: u64,
    stop: &'a AtomicBool,
}

impl Walk<'_> {
    /// Blocks its thread.
    fn run(&mut self) -> Result<(), Rejection> {
        let mut from = keys::subjects().from;
        // The subject whose rows come now. Whose it is, unless it was erased.
        let mut subject: Option<(Key, Owner, Subject)> = None;
        let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: BYTES_AT_ONCE };
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Rejection::new(Reason::DeadlinePassed));
            }
            let span = Span { from: from.clone(), until: keys::subjects().until };
            let page =
                self.node.engine.scan(&span, Order::Ascending, limit).map_err(Error::from)?;
            let Some((last, _)) = page.rows.last() else { return Ok(()) };
            from.clone_from(last);
            from.push(0);
            for (key, row) in &page.rows {
                let (prefix, tag) = keys::of_subject(key).ok_or(Error::Damaged("subjects"))?;
                if keys::is_subject(key) {
                    subject = self.subject(prefix, tag, row)?;
                    continue;
                }
                match &subject {
                    Some((of, owner, subject)) if of == prefix => {
                        self.record(key, row, owner, subject)?;
                    }
                    // No write leaves a record without its subject.
                    Some(_) | None => return Err(Error::Damaged("records").into()),
                }
            }
        }
    }

    /// Counts the copies of records of other regions. Blocks its thread.
    fn copies(&mut self) -> Result<u64, Rejection> {
        let (mut from, mut copies) = (None::<Key>, 0_u64);
        let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: BYTES_AT_ONCE };
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Rejection::new(Reason::DeadlinePassed));
            }
            let span = copy_keys::sets(from.as_deref());
            let page =
                self.node.engine.scan(&span, Order::Ascending, limit).map_err(Error::from)?;
            let Some((last, _)) = page.rows.last() else { break };
            from = Some(last.clone());
            for (key, row) in &page.rows {
                let set = CopiedSet::open(key, row, self.node.subject_keys())?;
                if let SetRow::Kept(set) = set {
                    copies = copies.saturating_add(set.live);
                }
            }
        }
        // Read after them, so it has the entries of all that was counted.
        let edge = EdgeRow::read(&*self.node.engine)?;
        if edge.period != self.log.name.period {
            return Err(Rejection::new(Reason::ShardBusy));
        }
        self.seen = self.seen.max(edge.size);
        Ok(copies)
    }

    /// Opens a subject's row. `None`: it was erased.
    fn subject(
        &self,
        prefix: &[u8],
        tag: SubjectTag,
        row: &[u8],
    ) -> Result<Option<(Key, Owner, Subject)>, Error> {
        let Some(owner) = Subject::owner_of(row, tag, self.node.subject_keys())? else {
            return Ok(None);
        };
        Ok(match self.node.open_subject(&owner, row)? {
            SubjectRow::Kept(subject) => Some((prefix.to_vec(), owner, subject)),
            SubjectRow::Erased(_) => None,
        })
    }

    fn record(
        &mut self,
        key: &[u8],
        row: &[u8],
        owner: &Owner,
        subject: &Subject,
    ) -> Result<(), Error> {
        let region = &self.node.region;
        let read = Stored::read(row)
            .and_then(|stored| stored.named(owner, key, region, subject.key_of(key)?));
        let (address, head) = match read {
            Ok(opened) => opened,
            // Its keys were replaced between two pages, or it was erased.
            Err(_) => match self.read_again(key, owner)? {
                Some(opened) => opened,
                None => return Ok(()),
            },
        };
        let left = self.node.slots.borrow().on_the_way.left.contains(owner.slot);
        if left || matches!(subject.status, Status::Left(_)) {
            // The log says that it was given away.
            return Ok(());
        }
        let (growing, index) = (head.entry.log == self.log.id, head.entry.index.0);
        if growing {
            self.seen = self.seen.max(index + 1);
        }
        if (!growing || index < self.before) && !head.is_deleted() {
            self.records += 1;
            self.draw(&address, &head)?;
        }
        if growing && let Some(place) = self.wanted.get_mut(&index) {
            *place = Some(opened(self.node, &address, &head)?);
        }
        Ok(())
    }

    /// The record and its subject, both as they are at one moment. None: it is gone.
    fn read_again(&self, key: &[u8], owner: &Owner) -> Result<Option<(Address, Head)>, Error> {
        let view = self.node.engine.view()?;
        let rows = view.get_many(&[&owner.row(), key])?;
        let [Some(subject), Some(row)] = &rows[..] else { return Ok(None) };
        let SubjectRow::Kept(subject) = self.node.open_subject(owner, subject)? else {
            return Ok(None);
        };
        let region = &self.node.region;
        let opened = Stored::read(row)
            .and_then(|stored| stored.named(owner, key, region, subject.key_of(key)?));
        opened.map(Some).map_err(|_| Error::Damaged("records"))
    }

    /// The rows with the least keyed numbers are a draw that can be steered only with the
    /// seed beforehand.
    fn draw(&mut self, address: &Address, head: &Head) -> Result<(), Error> {
        if self.rows == 0 {
            return Ok(());
        }
        let tag = self.node.namer.fingerprint(&[&self.seed.to_be_bytes(), &address.row]);
        let number = u64::from_be_bytes(*tag.0.first_chunk().expect("sixteen bytes"));
        let full = self.drawn.len() >= self.rows;
        if full && self.drawn.last_key_value().is_some_and(|(last, _)| *last <= number) {
            return Ok(());
        }
        self.drawn.insert(number, opened(self.node, address, head)?);
        if full {
            self.drawn.pop_last();
        }
        Ok(())
    }
}

/// What opens an entry.
fn opened(node: &Node, address: &Address, head: &Head) -> Result<api::OpenedEntry, Error> {
    Ok(api::OpenedEntry {
        origin: node.origin_of(head.entry.log)?,
        index: head.entry.index.0,
        opening: head.opening.to_vec().into(),
        statement: address.statement(head.version, head.digest).into(),
    })
}
