//! What is due to a region that is to have copies, as the store has it.

use engine::{Key, Order, ScanLimit};
use ledger::entry::{CopyEnd, Entry, Kind};
use terms::{RegionId, Rejection};
use wire::session as proto;
use wire::session::copy_call::Step;

use crate::Error;
use crate::log::entry_in_row;
use crate::node::Node;
use crate::relocate::{pages, travel};
use crate::store::codec::Writer;
use crate::store::copy_keys;
use crate::store::copy_mark::{CopyDue, CopyMark, DueStep, MarkState};
use crate::store::damage::read_rows;
use crate::store::keys;
use crate::store::record::{Address, Body, Head};
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::store::types::{EntryAt, Minute};
use crate::write::command::{Action, CopyOut, CopyOutStep};
use crate::write::copy_command::SendCopy;

/// Records that are sent together, and bytes of their bodies at which no further one is added.
const RECORDS_AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 1 << 20;
/// Minutes after which a version that the other region calls outdated gets another COPY_OUT entry: each stays
/// for ever, so what that region answers must not make many.
const OLD_AFTER_MINUTES: u32 = 60;

/// A version that is due, as it was found.
pub(super) struct Found {
    pub(super) address: Address,
    pub(super) mark: Key,
    due: CopyDue,
    pub(super) head: Head,
    pub(super) what: What,
    /// Its COPY_OUT entry is old enough to be followed by another.
    pub(super) is_old: bool,
}

/// What is to be done about it.
pub(super) enum What {
    /// The version is sent, with its body, and on what its ruling rests.
    Send { record: Vec<u8>, findings: Vec<u8> },
    /// The copy that is there goes.
    Gone(CopyEnd),
    /// There is no copy.
    Nothing,
}

impl Found {
    /// What is left to do once the other region has no copy of an attachment.
    pub(super) fn left(&self) -> Option<DueStep> {
        matches!(self.head.body, Body::Chunked(_)).then_some(DueStep::Attachment)
    }

    pub(super) fn action(&self, mirror: &RegionId, step: CopyOutStep) -> Action {
        let (address, mark, mirror) = (self.address.clone(), self.mark.clone(), mirror.clone());
        Action::CopyOut(Box::new(CopyOut { address, mirror, mark, step }))
    }

    /// That it is about to be sent.
    pub(super) fn send(&self) -> CopyOutStep {
        let sent = match self.due.step {
            DueStep::Sent(at) if self.due.version == self.head.version => Some(at),
            DueStep::Sent(_) | DueStep::New | DueStep::Attachment => None,
        };
        CopyOutStep::Send(SendCopy { version: self.head.version, minute: self.due.minute, sent })
    }

    /// That it was done.
    pub(super) fn done(&self, mirror: &RegionId, left: Option<DueStep>) -> Action {
        let (version, minute) = (Some(self.head.version), self.due.minute);
        self.action(mirror, CopyOutStep::Done { version, left, minute })
    }

    /// What the other region is asked. It takes the record.
    pub(super) fn call(
        &mut self,
        node: &Node,
        origin: String,
        index: u64,
    ) -> Result<proto::CopyCall, Error> {
        let step = match &mut self.what {
            What::Send { record, findings } => {
                let EntryAt { log, index, .. } = self.head.entry;
                Step::Version(proto::CopyVersion {
                    findings: std::mem::take(findings).into(),
                    record: std::mem::take(record).into(),
                    origin: node.origins().of(node.period_of(log)?),
                    index: index.0,
                    written_minute: self.due.minute.0,
                })
            }
            What::Gone(why) => Step::Gone(proto::CopyGone {
                key: self.address.key.expose().to_owned(),
                why: why.as_str().to_owned(),
            }),
            What::Nothing => return Err(Error::Damaged("copies")),
        };
        let Address { owner, collection, .. } = &self.address;
        let (subject, step) = (owner.subject.expose().to_owned(), Some(step));
        let collection = collection.as_str().to_owned();
        Ok(proto::CopyCall { subject, collection, origin, index, step })
    }
}

/// The regions that are due something. Blocks its thread.
pub(super) fn regions(node: &Node) -> Result<Vec<RegionId>, Error> {
    let (mut regions, limit) = (Vec::new(), ScanLimit { rows: 1, bytes: 1 });
    for mut span in copy_keys::all_due() {
        loop {
            let page = node.engine.scan(&span, Order::Ascending, limit)?;
            let Some((key, _)) = page.rows.first() else { break };
            let found = copy_keys::region_of_due(key);
            let (region, past) = found.ok_or(Error::Damaged("copies"))?;
            span.from = past;
            if !regions.contains(&region) {
                regions.push(region);
            }
        }
    }
    Ok(regions)
}

/// Some of what is due to a region after a row, and the last row that was looked at; no last row: there are
/// no more. What cannot be sent now is passed over. Blocks its thread.
pub(super) fn due(
    node: &Node,
    region: &RegionId,
    from: Option<&[u8]>,
) -> Result<(Vec<Found>, Option<Key>), Rejection> {
    let limit = ScanLimit { rows: RECORDS_AT_ONCE, bytes: 1 << 20 };
    let span = copy_keys::copies_due(region, from);
    let page = node.engine.scan(&span, Order::Ascending, limit).map_err(Error::from)?;
    let (mut found, mut bytes, mut more) = (Vec::new(), 0, page.more);
    let (mut last, count) = (None, page.rows.len());
    for (n, (key, row)) in page.rows.into_iter().enumerate() {
        match one(node, region, &key, &row) {
            Ok(Some(one)) => {
                if let What::Send { record, .. } = &one.what {
                    bytes += record.len();
                }
                found.push(one);
            }
            Ok(None) => {}
            // It is said where reads are counted, and keeps no other from being sent.
            Err(fault) => node.report(&fault),
        }
        last = Some(key);
        if bytes >= BYTES_AT_ONCE {
            more |= n + 1 < count;
            break;
        }
    }
    Ok((found, last.filter(|_| more)))
}

/// One version that is due. None: it cannot be sent now.
fn one(node: &Node, region: &RegionId, key: &Key, row: &[u8]) -> Result<Option<Found>, Rejection> {
    let damaged = || Rejection::from(Error::Damaged("copies"));
    let due = CopyDue::read(row)?;
    if due.step == DueStep::Attachment {
        return Ok(None);
    }
    let record = copy_keys::record_of_due(key).ok_or_else(damaged)?.to_vec();
    let (prefix, tag) = keys::of_subject(&record).ok_or_else(damaged)?;
    let wanted = [keys::subject_row(prefix), record.clone()];
    let mut rows = read_rows(&*node.engine, &wanted).map_err(Error::from)?.into_iter();
    let mut next = || rows.next().unwrap_or(Ok(None));
    let (Some(subject), Some(head)) = (next()?, next()?) else { return Ok(None) };
    let Some(owner) = Subject::owner_of(&subject, tag, node.subject_keys())? else {
        return Ok(None);
    };
    // Another shard may serve what this one has not confirmed.
    if !node.owns(owner.slot) {
        return Ok(None);
    }
    let SubjectRow::Kept(subject) = node.open_subject(&owner, &subject)? else { return Ok(None) };
    if !matches!(subject.status, Status::Live) {
        return Ok(None);
    }
    let opened = pages::open(node, &owner, &subject, &record, &head)?;
    let pages::OpenedRecord { address, head, body } = opened;
    // It is deleted within seconds.
    if subject.is_erasing(&address.collection) || head.has_expired(node.now()) {
        return Ok(None);
    }
    let tag = node.namer.copy_set(&address.collection, region);
    let mark = copy_keys::mark(&owner, tag);
    let marked = stored(node, &mark)?;
    let state = marked.map(|row| CopyMark::open(&mark, &row, node.subject_keys())).transpose()?;
    let state = state.map(|mark| mark.state);
    let has_copies = match state {
        Some(MarkState::Made) => true,
        // Whatever was there goes, or has gone.
        Some(MarkState::Drop(_) | MarkState::Gone) => {
            if !head.is_deleted() {
                return Ok(None);
            }
            false
        }
        None => false,
    };
    let what = match head.body {
        Body::Deleted if has_copies => What::Gone(why(node, &head)?),
        Body::Chunked(_) if has_copies => What::Gone(CopyEnd::Withdrawn),
        Body::Deleted | Body::Chunked(_) => What::Nothing,
        Body::Inline(_) | Body::Apart(_) => {
            let Some(standing) = subject.standing(&address.collection) else { return Ok(None) };
            let findings = standing.weighed(&subject.findings);
            let findings = findings.map_err(crate::policy::standing_ruling::full)?.encode();
            // What a record remembers of requests is for retries, which come to its home.
            let sent = Head { recent: Vec::new(), ..head.clone() };
            let mut record = Writer::with_capacity(body.len() + 512);
            travel::add(&mut record, &address, &sent, &body);
            What::Send { record: record.0, findings }
        }
    };
    let is_old = is_old(node, &due, &head)?;
    Ok(Some(Found { address, mark, due, head, what, is_old }))
}

/// Whether a version that is due has a COPY_OUT entry, and has had it for long.
fn is_old(node: &Node, due: &CopyDue, head: &Head) -> Result<bool, Rejection> {
    let DueStep::Sent(at) = due.step else { return Ok(false) };
    if due.version != head.version {
        return Ok(false);
    }
    let entry = entry_in_row(&*node.engine, node.period_of(at.log)?, at)?;
    let entry = Entry::decode(&entry).map_err(|_| Error::Damaged("placement log"))?;
    Ok(entry.minute.saturating_add(OLD_AFTER_MINUTES) <= Minute::of(node.now()).0)
}

/// Why a record is deleted, as its entry says.
fn why(node: &Node, head: &Head) -> Result<CopyEnd, Rejection> {
    let period = node.period_of(head.entry.log)?;
    let entry = entry_in_row(&*node.engine, period, head.entry)?;
    let entry = Entry::decode(&entry).map_err(|_| Error::Damaged("placement log"))?;
    Ok(if entry.kind == Kind::Expire { CopyEnd::Expired } else { CopyEnd::Deleted })
}

/// Where the log is now: its origin, and how many entries it has.
pub(super) fn log_now(node: &Node) -> (String, u64) {
    let log = node.growing();
    (log.name.origin.to_string(), log.size())
}

/// The mark at a key. Blocks its thread.
pub(super) fn marked(node: &Node, key: &Key) -> Result<Option<CopyMark>, Rejection> {
    let row = stored(node, key)?;
    Ok(row.map(|row| CopyMark::open(key, &row, node.subject_keys())).transpose()?)
}

/// The same, and its subject, if that is still there. Blocks its thread.
pub(super) fn marked_subject(
    node: &Node,
    key: &Key,
) -> Result<Option<(CopyMark, Option<Subject>)>, Rejection> {
    let Some(mark) = marked(node, key)? else { return Ok(None) };
    let Some(row) = stored(node, &mark.owner.row())? else { return Ok(Some((mark, None))) };
    let subject = match node.open_subject(&mark.owner, &row)? {
        SubjectRow::Kept(subject) => Some(subject),
        SubjectRow::Erased(_) => None,
    };
    Ok(Some((mark, subject)))
}

/// A step about the copies of a mark.
pub(super) fn call_of(mark: &CopyMark, origin: &str, index: u64, step: Step) -> proto::CopyCall {
    proto::CopyCall {
        subject: mark.owner.subject.expose().to_owned(),
        collection: mark.collection.as_str().to_owned(),
        origin: origin.to_owned(),
        index,
        step: Some(step),
    }
}

/// What a region is told of a subject of which it has copies. None: it is in hand.
pub(super) fn state_of(subject: &Subject, mark: &CopyMark) -> Option<Step> {
    let blocked = match &subject.status {
        Status::Live => false,
        Status::Blocked(_) => true,
        Status::Moving(of) => of.blocked.is_some(),
        Status::Left(_) | Status::Erasing(_) | Status::Arriving(_) => return None,
    };
    let standing = subject.standing(&mark.collection)?;
    let findings = standing.weighed(&subject.findings).ok()?.encode().into();
    Some(Step::State(proto::CopyState { findings, blocked }))
}

fn stored(node: &Node, key: &Key) -> Result<Option<engine::Value>, Rejection> {
    let rows = read_rows(&*node.engine, std::slice::from_ref(key)).map_err(Error::from)?;
    rows.into_iter().next().unwrap_or(Ok(None))
}
