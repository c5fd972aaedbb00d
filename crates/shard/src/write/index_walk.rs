//! Builds the indexes that a map has declared for what is stored already, and removes the rows of
//! those that it has dropped: a walk through all heads, a few records in each commit, at a pace that
//! leaves the writer to callers. [`crate::store::index_state`] has what it keeps.
//!
//! The walk looks at heads outside of the committer, which then looks at each again: what was written
//! meanwhile is right already. A step that began under another map, or at another place, changes
//! nothing. A head that does not open stops the walk there, since an index without its record would
//! not be complete; the walk says so in the log and comes again.

use std::sync::Arc;
use std::time::Duration;

use atlas::RegionMap;
use engine::{Batch, Key, Order, ScanLimit, Span};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::node::Node;
use crate::store::index_state::{IndexState, WalkPlace};
use crate::store::indexed::Indexed;
use crate::store::keys;
use crate::store::record::{Address, Head, Stored};
use crate::store::region_maps::map_ref;
use crate::store::subject::{Subject, SubjectRow};
use crate::write::command::{Errand, IndexStep};
use crate::write::committer::{Committer, Queue};
use crate::write::index_rows::{self, ChangedRows};
use crate::write::list_numbers::ListChanges;

/// Time after which a walk that was held up is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// For each step, the walk rests so many times as long as the step took.
const REST: u32 = 3;
/// Records that one step changes, give or take those of one page, which has as many rows.
const AT_ONCE: usize = 256;
/// Pages that one step looks at, at most.
const PAGES_MAX: usize = 32;
/// Bytes that are read at once.
const BYTES_AT_ONCE: usize = 1 << 20;
/// Bytes of the rows that one step writes, give or take those of one record.
const STEP_BYTES: usize = 2 << 20;
const DAMAGED: Error = Error::Damaged("records");

/// Goes on whenever something is to be done. Never done.
pub(crate) async fn tend(node: Arc<Node>, queue: Queue) {
    let mut maps = node.in_force.subscribe();
    loop {
        while let Some(took) = step(&node, &queue).await {
            sleep(took * REST).await;
        }
        tokio::select! {
            // The node has the sender.
            _ = maps.changed() => {}
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

/// Does one step, and says how long it took. None: there is nothing to do, or not now.
async fn step(node: &Arc<Node>, queue: &Queue) -> Option<Duration> {
    let began = Instant::now();
    let shared = Arc::clone(node);
    let done = match tokio::task::spawn_blocking(move || look(&shared, AT_ONCE)).await {
        Ok(Ok(None)) | Err(_) => return None,
        Ok(Ok(Some(step))) => {
            let (sender, done) = oneshot::channel();
            queue.submit_errand(Errand::Index(step, sender));
            // Without an answer, the queue was full, or the shard goes down.
            done.await.unwrap_or(Ok(false))
        }
        Ok(Err(error)) => Err(error),
    };
    match done {
        Ok(done) => done.then(|| began.elapsed()),
        Err(error) => {
            if let Some(unsaid) = node.troubles.allow(node.clock.now()) {
                tracing::error!(%error, unsaid, "indexes of stored records cannot be built");
            }
            None
        }
    }
}

/// Looks for about so many records that come next. None: all indexes are complete. Blocks its thread.
pub(super) fn look(node: &Node, at_once: usize) -> Result<Option<IndexStep>, Error> {
    let map = node.map();
    let view = node.engine.view()?;
    let state = IndexState::read(&*view)?.unwrap_or_default();
    let building = state.building().count();
    node.metrics.indexes_building.set(i64::try_from(building).unwrap_or(i64::MAX));
    let Some(from) = WalkPlace::read(&*view)? else { return Ok(None) };
    drop(view);
    let tags: Vec<_> =
        state.walked()?.iter().map(|collection| node.namer.collection_tag(collection)).collect();
    let (mut heads, mut pages, mut at) = (Vec::new(), 0, from.next.clone());
    let next = loop {
        let span = Span { from: at, until: keys::subjects().until };
        let limit = ScanLimit { rows: at_once, bytes: BYTES_AT_ONCE };
        // A view of its own for each page: one that is open for long costs the writer.
        let view = node.engine.view()?;
        let mut page = view.scan(&span, Order::Ascending, limit)?;
        let Some((last, _)) = page.rows.last() else { break None };
        at = past(last);
        pages += 1;
        page.rows
            .retain(|(key, _)| keys::collection_of(key).is_some_and(|tag| tags.contains(&tag)));
        let subjects = page.rows.iter().map(|(key, _)| subject_row(key));
        let subjects = subjects.collect::<Result<Vec<_>, _>>()?;
        let wanted: Vec<&[u8]> = subjects.iter().map(Vec::as_slice).collect();
        for ((head, row), subject) in page.rows.into_iter().zip(view.get_many(&wanted)?) {
            if unaligned(node, &map, &head, subject.as_deref(), &row)?.is_some() {
                heads.push(head);
            }
        }
        if !page.more {
            break None;
        }
        if pages >= PAGES_MAX || heads.len() >= at_once {
            break Some(at);
        }
    };
    Ok(Some(IndexStep { from, judged: map_ref(&map), heads, next }))
}

impl Committer {
    /// Does a step of the walk: a commit without an entry, for it changes nothing that a caller has
    /// told the shard. False: not now. The inner error: nothing was changed.
    pub(super) fn index(&mut self, step: &IndexStep) -> Result<Result<bool, Error>, Error> {
        if self.disk_is_low() {
            return Ok(Ok(false));
        }
        match self.indexed(step) {
            // A map has come in between: the next look begins again.
            Ok(None) => Ok(Ok(true)),
            Ok(Some(rows)) => {
                let done = self.commit_unlogged(rows.batch, &rows.listed, &mut [])?;
                if done {
                    self.node.metrics.index_records.inc_by(rows.changed);
                }
                Ok(Ok(done))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// The rows of a step. None: it does not follow what the store says now.
    fn indexed(&self, step: &IndexStep) -> Result<Option<StepRows>, Error> {
        let (node, map) = (&*self.node, self.rules.map());
        let view = node.engine.view()?;
        if map_ref(map) != step.judged || WalkPlace::read(&*view)?.as_ref() != Some(&step.from) {
            return Ok(None);
        }
        let (mut step_rows, mut next) = (StepRows::default(), step.next.clone());
        'step: for some in step.heads.chunks(AT_ONCE) {
            let mut wanted = Vec::with_capacity(some.len() * 2);
            for head in some {
                wanted.push(subject_row(head)?);
                wanted.push(head.clone());
            }
            let wanted: Vec<&[u8]> = wanted.iter().map(Vec::as_slice).collect();
            let rows = view.get_many(&wanted)?;
            for (head, rows) in some.iter().zip(rows.chunks(2)) {
                let [subject, Some(row)] = rows else { continue };
                let found = unaligned(node, map, head, subject.as_deref(), row)?;
                let Some(found) = found else { continue };
                found.write(node, &mut step_rows)?;
                if step_rows.batch.bytes() >= STEP_BYTES {
                    next = Some(past(head));
                    break 'step;
                }
            }
        }
        let StepRows { batch, changed, .. } = &mut step_rows;
        match next {
            Some(next) => {
                let place = WalkPlace { changed: step.from.changed + *changed, next };
                batch.put(keys::INDEX_WALK, place.encode());
            }
            None => {
                let mut state = IndexState::read(&*view)?.unwrap_or_default();
                state.complete();
                batch.put(keys::INDEX_STATE, state.encode());
                batch.delete(keys::INDEX_WALK);
                let records = step.from.changed + *changed;
                tracing::info!(map_epoch = map.epoch().number, records, "all indexes are complete");
            }
        }
        Ok(Some(step_rows))
    }
}

/// What a step writes.
#[derive(Default)]
struct StepRows {
    batch: Batch,
    /// How lists change.
    listed: ListChanges,
    /// Records that it changes.
    changed: u64,
}

/// A live record that is not found as the map says.
struct Unaligned<'a> {
    subject: Subject,
    address: Address,
    head: Head,
    indexed: Indexed,
    stored: Stored<'a>,
}

/// None: it is found as the map says, or is deleted.
fn unaligned<'a>(
    node: &Node,
    map: &RegionMap,
    key: &[u8],
    subject: Option<&[u8]>,
    row: &'a [u8],
) -> Result<Option<Unaligned<'a>>, Error> {
    let (_, tag) = keys::of_subject(key).ok_or(DAMAGED)?;
    // No write leaves a record without its subject.
    let subject = subject.ok_or(DAMAGED)?;
    let owner = Subject::owner_of(subject, tag, node.subject_keys())?.ok_or(DAMAGED)?;
    let SubjectRow::Kept(subject) = node.open_subject(&owner, subject)? else {
        return Err(DAMAGED);
    };
    let stored = Stored::read(row).map_err(|_| DAMAGED)?;
    let opened = stored.named(&owner, key, &node.region, subject.key_of(key)?);
    let (address, head) = opened.map_err(|_| DAMAGED)?;
    if head.is_deleted() {
        return Ok(None);
    }
    let aligned = head.indexed.aligned(map.collection(&address.collection));
    Ok(aligned.map(|indexed| Unaligned { subject, address, head, indexed, stored }))
}

impl Unaligned<'_> {
    /// Adds its rows as the map says: the same version with the same content and entry, found
    /// otherwise.
    fn write(self, node: &Node, rows: &mut StepRows) -> Result<(), Error> {
        let Self { subject, address, mut head, indexed, stored } = self;
        let StepRows { batch, listed, changed } = rows;
        *changed += 1;
        let to = ChangedRows { batch, listed };
        index_rows::change(to, &node.namer, &address, Some(&head.indexed), &indexed);
        let sealed = stored.sealed_body(&head);
        head.indexed = indexed;
        let (key, nonce) = (subject.key_of(&address.row)?, node.random()?);
        let rows = sealed.into_rows(&address, &node.region, &head, key, nonce);
        batch.put(address.row, rows.head);
        Ok(())
    }
}

/// The key of the row of the subject whose record's head that is.
fn subject_row(head: &[u8]) -> Result<Key, Error> {
    let (prefix, _) = keys::of_subject(head).ok_or(DAMAGED)?;
    Ok(keys::subject_row(prefix))
}

/// The first key past that one.
fn past(key: &[u8]) -> Key {
    [key, &[0]].concat()
}
