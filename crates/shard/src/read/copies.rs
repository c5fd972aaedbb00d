//! Reads of copies of records whose home is another region. They are judged as other reads are, by the
//! findings that came with the copy, and not answered once this shard's own map allows no such copy.

use atlas::Moment;
use bytes::Bytes;
use engine::{Order, ScanLimit};
use terms::{Detail, Reason, RegionId, Rejection, ShardId};
use tokio::time::Instant;

use crate::Error;
use crate::node::Node;
use crate::policy::copies::{CopyQuestion, copy_ruling};
use crate::policy::egress::unknown;
use crate::policy::second_check::Here;
use crate::read::reader::{Get, Opened, Reader, found_of};
use crate::reply::{CopiesHeld, Found, FoundCopy};
use crate::store::copied_record;
use crate::store::copied_set::{CopiedSet, SetRow};
use crate::store::copy_keys;
use crate::store::damage::read_rows;
use crate::store::participants::Participant;
use crate::store::record::Body;
use crate::store::types::EpochNumber;

/// Sets of copies that are looked at together.
const SETS_AT_ONCE: usize = 256;

/// Whether the store was restored, and the copies in it are still to go: none is read, and none is taken.
pub(crate) fn is_restored(node: &Node) -> Result<bool, Rejection> {
    let row = node.engine.get_many(&[copy_keys::RESTORED]).map_err(Error::from)?;
    Ok(row.into_iter().flatten().next().is_some())
}

/// The copies here of records of one shard of a region, after a row. Blocks its thread.
pub(crate) fn held_of(
    node: &Node,
    home: &RegionId,
    shard: &ShardId,
    after: Option<&[u8]>,
) -> Result<CopiesHeld, Rejection> {
    let limit = ScanLimit { rows: SETS_AT_ONCE, bytes: 1 << 20 };
    let page = node.engine.scan(&copy_keys::sets(after), Order::Ascending, limit);
    let (mut all, page) = (Vec::new(), page.map_err(Error::from)?);
    let after = page.rows.last().filter(|_| page.more).map(|(key, _)| key.clone());
    for (key, row) in page.rows {
        match CopiedSet::open(&key, &row, node.subject_keys()) {
            Ok(SetRow::Kept(set)) if set.home == *home && set.floor.shard == *shard => {
                all.push((set.owner, set.collection));
            }
            Ok(SetRow::Kept(_) | SetRow::Dropped(_)) => {}
            // None of its copies can be read.
            Err(error) => node.report(&error.into()),
        }
    }
    Ok(CopiesHeld { all, after })
}

/// Whether this shard's own map lets a copy lie here that names these people.
fn may_lie_here(
    node: &Node,
    set: &CopiedSet,
    participants: &[Participant],
) -> Result<(), Rejection> {
    let question = CopyQuestion {
        home: &set.home,
        there: Here { region: &node.region, territory: node.territory },
        tenant: &set.owner.tenant,
        collection: &set.collection,
        findings: &set.findings,
        participants,
        chosen: None,
    };
    copy_ruling(&node.map(), Moment::of(node.now()), &question).map(drop)
}

impl Reader {
    /// Opens the copy of a record.
    pub(super) fn open_copy(&self, get: &Get, judged: EpochNumber) -> Result<Opened, Rejection> {
        let (node, lookup) = (&*self.node, &get.lookup);
        if Instant::now() > get.deadline {
            return Err(Rejection::new(Reason::DeadlinePassed));
        }
        let (map, collection) = (node.map(), &lookup.address.collection);
        let rules = map.collection(collection);
        // As of a read of a record: without a purpose nothing is told.
        rules.map_or(Ok(()), |rules| rules.admit_purpose(&lookup.purpose))?;
        // As of a read of a record: a question that does not open is told nothing.
        self.answer_secret(lookup)?;
        if is_restored(node)? {
            return Err(Reason::ShardBusy.into());
        }
        let home = lookup.copy_of.as_ref().ok_or(Reason::Internal)?;
        let owner = &lookup.address.owner;
        let at = copy_keys::set(owner, node.namer.copy_set(collection, home));
        let row = read_rows(&*node.engine, std::slice::from_ref(&at)).map_err(Error::from)?;
        let row = row.into_iter().next().unwrap_or(Ok(None))?;
        let set =
            match row.map(|row| CopiedSet::open(&at, &row, node.subject_keys())).transpose()? {
                Some(SetRow::Kept(set)) => Some(set),
                Some(SetRow::Dropped(_)) | None => None,
            };
        let policy = self.egress(lookup, judged);
        policy.admit_copy(set.as_ref().map(|set| &set.findings))?;
        let set = set.ok_or_else(unknown)?;
        // What looks for such copies has not come to it yet.
        may_lie_here(node, &set, &[]).map_err(|_| unknown())?;
        if set.blocked {
            return Err(Rejection::new(Reason::SubjectBlocked).field("subject.id"));
        }
        self.open_in(get, &set, judged)
    }

    fn open_in(
        &self,
        get: &Get,
        set: &CopiedSet,
        judged: EpochNumber,
    ) -> Result<Opened, Rejection> {
        let (node, lookup) = (&*self.node, &get.lookup);
        let not_found = || Rejection::new(Reason::RecordNotFound).field("key");
        let damaged = || Rejection::from(Error::Damaged("copies"));
        let address = copied_record::address(set, &lookup.address.key, node.subject_keys());
        let mut keys = vec![address.row.clone()];
        keys.extend(get.body.map(|_| copy_keys::copied_body(&address.row)));
        let mut rows = read_rows(&*node.engine, &keys).map_err(Error::from)?.into_iter();
        let mut next = || rows.next().unwrap_or(Ok(None));
        let row = next()?.ok_or_else(not_found)?;
        let copy = copied_record::open(set, &address, &row, &node.region)?;
        let head = &copy.head;
        let named = &head.indexed.participants;
        let gives = self.egress(lookup, judged).gives(named);
        if !gives || head.has_expired(node.now()) {
            return Err(not_found());
        }
        if !named.is_empty() {
            // What binds these people may have changed since it came.
            may_lie_here(node, set, named).map_err(|_| not_found())?;
        }
        let part = lookup.part.as_ref();
        if part.is_some_and(|part| !part.etag.is_empty() && part.etag != head.etag()) {
            let fault = Rejection::new(Reason::VersionMismatch).field("etag");
            return Err(fault.with(Detail::Version, head.version));
        }
        let apart = match head.body {
            Body::Deleted => return Err(not_found()),
            Body::Chunked(_) => return Err(damaged()),
            Body::Inline(_) => None,
            Body::Apart(bytes) => {
                let bytes = usize::try_from(bytes).map_err(|_| damaged())?;
                // Also where it has grown since its size was asked for.
                if get.body.is_none_or(|room| room < bytes) {
                    return Ok(Opened::Apart(bytes));
                }
                Some(next()?.ok_or_else(damaged)?)
            }
        };
        let body = copy.stored.body(&address, &node.region, node.cipher, head, apart);
        let (mut body, mut size) = (Bytes::from(body.map_err(|_| damaged())?), 0);
        if let Some(part) = part {
            let range = part.within(body.len())?;
            (size, body) = (body.len() as u64, body.slice(range));
        }
        let (home, written, taken) = (set.home.clone(), copy.from.written, copy.from.taken);
        let of = Some(FoundCopy { home, written, taken });
        let found = Found { copy: of, ..found_of(head, body, size) };
        Ok(Opened::Found(self.answered(get, found)?, head.entry))
    }
}
