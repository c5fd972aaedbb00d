//! What has changed, by the feed of changes, in the order of commits.
//!
//! The feed says which records a commit has changed; what is told of a record is what its head says
//! now. A change that another one has followed is passed over where the feed has that one too: so a
//! watcher that is late reads each record once, and in the order of its newest change.

use bytes::Bytes;
use engine::{Order, ScanLimit, Value};
use terms::{Reason, Rejection};

use crate::Error;
use crate::node::Node;
use crate::read::list::cursor::Cursors;
use crate::read::list::fault::Fault;
use crate::read::list::people::Person;
use crate::read::list::walk::{BYTES_AT_ONCE, Walk};
use crate::reply::{Listed, Page, weight};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::feed::{Change, ChangeKind, kept_throughout, swept_to};
use crate::store::keys;
use crate::store::participants;
use crate::store::record::{Address, Head};
use crate::store::types::{CommitAt, EpochNumber, Minute, Period};

/// Rows of the feed that are read at once.
const ROWS_AT_ONCE: usize = 64;
/// Changes of the collection that one page looks at.
const LOOKED_AT_MAX: usize = 10_000;
/// Rows of the feed that one page looks at, of whatever collections.
const ROWS_MAX: usize = 10_000;
/// Records that are opened at once.
const OPENED_AT_ONCE: usize = 256;

/// A place in the feed: a commit, or the first after it, and how many of its changes were told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    commit: CommitAt,
    told: u32,
}

/// Where the feed ends just now: later commits have later places.
pub(super) fn end(node: &Node) -> Place {
    let log = node.growing();
    Place { commit: CommitAt { period: log.name.period, index: log.size() }, told: 0 }
}

/// What a cursor holds: a place, when nothing before it was left to tell, and the map of then.
struct Held {
    place: Place,
    minute: Minute,
    epoch: EpochNumber,
}

impl Held {
    fn encode(&self) -> Vec<u8> {
        let Self { place: Place { commit, told }, minute, epoch } = self;
        let mut text = Writer::with_capacity(32);
        text.u32(commit.period.0).u64(commit.index).u32(*told).u32(minute.0).u64(epoch.0);
        text.0
    }

    fn decode(text: &[u8]) -> Result<Self, Malformed> {
        let mut text = Reader::new(text);
        let commit = CommitAt { period: Period(text.u32()?), index: text.u64()? };
        let held = Self {
            place: Place { commit, told: text.u32()? },
            minute: Minute(text.u32()?),
            epoch: EpochNumber(text.u64()?),
        };
        text.end()?;
        Ok(held)
    }
}

/// The next changes. `end`: where the feed ended before the view was opened.
pub(super) fn page(walk: &Walk<'_>, end: Place) -> Result<Page, Fault> {
    let node = walk.policy.node;
    let Some(life) = walk.asked.rules.feed() else {
        return Err(Rejection::new(Reason::FeedRequired).field("collection").into());
    };
    let now = Minute::of(walk.now);
    let cursors = Cursors::new(node, walk.policy.asker, walk.query);
    let seal = |place, minute| {
        let held = Held { place, minute, epoch: walk.policy.judged };
        cursors.seal(&held.encode())
    };
    if walk.query.cursor.is_empty() {
        return Ok(Page { next: seal(end, now)?, ..Page::default() });
    }
    let damaged = |_| super::cursor::invalid();
    let held = Held::decode(&cursors.open(&walk.query.cursor)?).map_err(damaged)?;
    let oldest = now.0.saturating_sub(life.minutes());
    let swept = swept_to(walk.view)?.is_some_and(|last| held.place.commit <= last);
    let (then, collection) = (held.epoch, &walk.query.collection);
    let judged = walk.policy.judged;
    let kept = then == judged || kept_throughout(walk.view, then, judged, collection)?;
    if held.minute.0 < oldest || swept || !kept {
        return Err(Rejection::new(Reason::CursorExpired).field("cursor").into());
    }
    let mut telling = Telling { walk, page: Page::default(), looked: 0, place: held.place };
    let minute = match telling.tell()? {
        // All of it, up to this moment.
        None => {
            telling.place = telling.place.max(end);
            now
        }
        Some(minute) => minute,
    };
    let Telling { mut page, place, .. } = telling;
    page.next = seal(place, minute)?;
    Ok(page)
}

/// A page that is being filled.
struct Telling<'a> {
    walk: &'a Walk<'a>,
    page: Page,
    /// Changes that were looked at.
    looked: usize,
    /// Before it, everything was told.
    place: Place,
}

impl Telling<'_> {
    /// Tells what fits. The minute of the commit with which the page ends; none: there was no more.
    fn tell(&mut self) -> Result<Option<Minute>, Fault> {
        let policy = self.walk.policy;
        let key = policy.node.feed_key();
        let (tenant, collection) = (&policy.asker.tenant, &self.walk.query.collection);
        let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: BYTES_AT_ONCE };
        let mut rows = 0;
        loop {
            self.walk.in_time()?;
            let span = keys::feed_from(self.place.commit);
            let found = self.walk.view.scan(&span, Order::Ascending, limit)?;
            rows += found.rows.len();
            for (row_key, row) in &found.rows {
                let minute = crate::store::feed::minute_of(row)?;
                let commit = keys::fed_commit(row_key).ok_or(Error::Damaged("change feed"))?;
                // Of one that was told in part, the rest.
                self.place = self.place.max(Place { commit, told: 0 });
                let changes = key.open(row_key, row, tenant, collection)?;
                if !self.row(&changes)? {
                    self.page.more = true;
                    return Ok(Some(minute));
                }
                let next = CommitAt { index: commit.index + 1, ..commit };
                self.place = Place { commit: next, told: 0 };
                if self.looked >= LOOKED_AT_MAX || self.page.records.len() >= self.page_size() {
                    self.page.more = true;
                    return Ok(Some(minute));
                }
            }
            if !found.more {
                return Ok(None);
            }
            if rows >= ROWS_MAX {
                self.page.more = true;
                let last = found.rows.last().map(|(_, row)| crate::store::feed::minute_of(row));
                return Ok(last.transpose()?);
            }
        }
    }

    const fn page_size(&self) -> usize {
        self.walk.query.page_size
    }

    /// Tells the changes of one row that were not told yet. False: the page is full.
    fn row(&mut self, changes: &[Change]) -> Result<bool, Fault> {
        let told = usize::try_from(self.place.told).unwrap_or(usize::MAX);
        let rest = changes.get(told..).unwrap_or_default();
        for some in rest.chunks(OPENED_AT_ONCE) {
            let heads: Vec<&[u8]> = some.iter().map(|change| change.head.as_slice()).collect();
            let rows = self.walk.view.get_many(&heads)?;
            // An erased person has no head any more.
            let there = heads.iter().zip(&rows).filter(|(_, row)| row.is_some());
            let there: Vec<&[u8]> = there.map(|(head, _)| *head).collect();
            self.walk.people.borrow_mut().meet(self.walk.policy, self.walk.view, &there)?;
            for (change, row) in some.iter().zip(rows) {
                if self.page.records.len() >= self.page_size() {
                    return Ok(false);
                }
                if let Some(row) = row
                    && !self.change(change, &row)?
                {
                    return Ok(false);
                }
                self.looked += 1;
                self.place.told += 1;
            }
        }
        Ok(true)
    }

    /// Tells one change. False: it does not fit any more.
    fn change(&mut self, change: &Change, row: &Value) -> Result<bool, Fault> {
        let walk = self.walk;
        let (_, tag) = keys::of_subject(&change.head).ok_or(Error::Damaged("change feed"))?;
        if walk.query.subject.as_ref().is_some_and(|owner| owner.tag != tag) {
            return Ok(true);
        }
        // Of another slot by now, or erased.
        let Some(person) = walk.people.borrow().get(tag) else { return Ok(true) };
        let opened = person.open(walk.policy.node, walk.view, &change.head, row)?;
        let Some((address, head)) = opened else { return Ok(true) };
        let followed = head.version > change.version && head.indexed.fed;
        // Its deletion comes, as a change of its own.
        let ends = head.has_expired(walk.now) && head.indexed.fed;
        if followed || ends {
            return Ok(true);
        }
        let barred = person.barred || !walk.policy.lets_know_of(&head.indexed);
        if barred {
            walk.policy.barred();
        }
        if barred || !person.readable {
            self.page.withheld += 1;
            return Ok(true);
        }
        let kind = match (head.is_deleted(), head.version == change.version) {
            (false, _) => ChangeKind::Written,
            (true, true) => change.kind,
            (true, false) => ChangeKind::Deleted,
        };
        Ok(self.add(&person, address, head, kind))
    }

    fn add(&mut self, person: &Person, address: Address, head: Head, kind: ChangeKind) -> bool {
        let subject = person.owner.subject.clone();
        let participants = head.indexed.participants.clone();
        let named_bytes = participants::bytes(&participants);
        let names = subject.expose().len() + address.key.expose().len() + named_bytes;
        let etag = if head.is_deleted() { String::new() } else { head.etag() };
        let (count, attributes) = (head.indexed.attributes.len(), head.indexed.encoded);
        let weight = weight(count, names + attributes.len());
        let full = self.page.weight + weight > self.walk.query.weight_max;
        if full && !self.page.records.is_empty() {
            return false;
        }
        self.page.weight += weight;
        self.page.records.push(Listed {
            subject,
            key: address.key,
            version: head.version,
            etag,
            expires: head.expires,
            attributes,
            participants,
            body: Bytes::new(),
            sealed: false,
            attachment_bytes: head.body.attachment_bytes(),
            order: Vec::new(),
            cursor: Bytes::new(),
            change: Some(kind),
        });
        true
    }
}
