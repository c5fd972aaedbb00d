//! What a subject's row keeps of moves between regions: of one from here or to here that goes on, and
//! of the last one from here that was given up. A block goes with the subject.

use atlas::Findings;
use terms::limits::RULINGS_PER_SUBJECT_MAX;
use terms::{Collection, Reason, RegionId};
use zeroize::Zeroizing;

use crate::Error;
use crate::store::block::Blocked;
use crate::store::chunks;
use crate::store::chunks::AttachmentKey;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::types::{EntryAt, Fingerprint, Minute};

/// A move from here that was ordered.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Move {
    /// Where to.
    pub(crate) to: RegionId,
    pub(crate) request_id: [u8; 16],
    pub(crate) fingerprint: Fingerprint,
    pub(crate) began: Minute,
    /// Why, for the log.
    pub(crate) reason: String,
    /// Heads of records that there are: none comes or goes meanwhile.
    pub(crate) heads: u64,
    /// What is known of the subject there.
    pub(crate) findings: Findings,
    /// On what the rulings there rest, by collection.
    pub(crate) bases: Vec<(Collection, Findings)>,
    /// The subject is blocked, here and there.
    pub(crate) blocked: Option<Blocked>,
    /// Some records name other people, whose law has its say as well.
    pub(crate) shared: bool,
}

impl Move {
    pub(super) fn write(&self, row: &mut Writer) {
        row.text(self.to.as_str()).fixed(&self.request_id).fixed(&self.fingerprint.0);
        row.u32(self.began.0).text(&self.reason).u64(self.heads).bytes(&self.findings.encode());
        write_bases(&self.bases, row);
        Blocked::write_any(self.blocked, row);
        row.u8(u8::from(self.shared));
    }

    pub(super) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            to: region(row)?,
            request_id: row.array()?,
            fingerprint: Fingerprint(row.array()?),
            began: Minute(row.u32()?),
            reason: row.text()?.to_owned(),
            heads: row.u64()?,
            findings: findings(row)?,
            bases: read_bases(row)?,
            blocked: Blocked::read_any(row)?,
            shared: row.u8()? == 1,
        })
    }
}

/// A subject that was given away, whose records are kept until the other region has confirmed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) of: Move,
    /// The MOVE_OUT entry, and its opening.
    pub(crate) entry: EntryAt,
    pub(crate) opening: [u8; 32],
    /// Live records that it counts.
    pub(crate) live: u64,
}

impl Left {
    pub(super) fn write(&self, row: &mut Writer) {
        self.of.write(row);
        self.entry.write(row);
        row.fixed(&self.opening).u64(self.live);
    }

    pub(super) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (of, entry) = (Move::read(row)?, EntryAt::read(row)?);
        Ok(Self { of, entry, opening: row.array()?, live: row.u64()? })
    }
}

/// A move to here.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Arriving {
    /// Where from.
    pub(crate) from: RegionId,
    /// The id of the request that ordered it.
    pub(crate) move_id: [u8; 16],
    /// The MOVE_IN entry with which it began.
    pub(crate) began: EntryAt,
    /// How far it is, as the source says it.
    pub(crate) after: Vec<u8>,
    /// Heads of records that have come, and how many of them are live.
    pub(crate) heads: u64,
    pub(crate) live: u64,
    /// The row that was here before: the tombstone of a subject that had moved away.
    pub(crate) before: Option<Vec<u8>>,
    /// The subject is blocked.
    pub(crate) blocked: Option<Blocked>,
    /// The attachment whose chunks come now. Its record comes after them.
    pub(crate) attachment: Option<ArrivingChunks>,
    /// The digest of all that has come, once the source has proven that it gave exactly that away, and
    /// something of it goes before it is served. From then on nothing more comes.
    pub(crate) proven: Option<[u8; 32]>,
}

/// What outlives a restore of a move by which a subject was taken from another region.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Where from.
    pub(crate) from: RegionId,
    /// The id of the request that ordered it.
    pub(crate) move_id: [u8; 16],
    /// Live records that came.
    pub(crate) live: u64,
    /// What both logs commit to.
    pub(crate) commitment: [u8; 32],
    /// The subject had moved away from here before.
    pub(crate) returned: bool,
}

impl Taken {
    pub(crate) fn write(&self, row: &mut Writer) {
        row.text(self.from.as_str()).fixed(&self.move_id).u64(self.live);
        row.fixed(&self.commitment).u8(u8::from(self.returned));
    }

    pub(crate) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (from, move_id, live) = (region(row)?, row.array()?, row.u64()?);
        Ok(Self { from, move_id, live, commitment: row.array()?, returned: row.u8()? == 1 })
    }
}

/// An attachment of which some chunks have come.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ArrivingChunks {
    /// The key of its record's head, here.
    pub(crate) row: Vec<u8>,
    /// Bytes of the whole.
    pub(crate) bytes: u32,
    /// Its own key, here.
    pub(crate) key: AttachmentKey,
    /// The chunk that comes next.
    pub(crate) next: u32,
}

impl ArrivingChunks {
    /// Whether all chunks have come.
    pub(crate) fn is_whole(&self) -> bool {
        self.next == chunks::chunks(self.bytes)
    }

    fn write(&self, row: &mut Writer) {
        row.bytes(&self.row).u32(self.bytes).fixed(&*self.key).u32(self.next);
    }

    fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (head, bytes) = (row.bytes()?.to_vec(), row.u32()?);
        Ok(Self { row: head, bytes, key: Zeroizing::new(row.array()?), next: row.u32()? })
    }
}

impl Arriving {
    pub(super) fn write(&self, row: &mut Writer) {
        row.text(self.from.as_str()).fixed(&self.move_id);
        self.began.write(row);
        row.bytes(&self.after).u64(self.heads).u64(self.live);
        row.bytes(self.before.as_deref().unwrap_or_default());
        Blocked::write_any(self.blocked, row);
        let (attachment, proven) = (self.attachment.is_some(), self.proven.is_some());
        row.u8(u8::from(attachment) | u8::from(proven) << 1);
        self.attachment.iter().for_each(|chunks| chunks.write(row));
        if let Some(digest) = &self.proven {
            row.fixed(digest);
        }
    }

    pub(super) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (from, move_id, began) = (region(row)?, row.array()?, EntryAt::read(row)?);
        let (after, heads, live) = (row.bytes()?.to_vec(), row.u64()?, row.u64()?);
        let before = Some(row.bytes()?.to_vec()).filter(|before| !before.is_empty());
        let blocked = Blocked::read_any(row)?;
        let (attachment, proven) = match row.u8()? {
            0 => (None, None),
            1 => (Some(ArrivingChunks::read(row)?), None),
            2 => (None, Some(row.array()?)),
            3 => (Some(ArrivingChunks::read(row)?), Some(row.array()?)),
            _ => return Err(Malformed),
        };
        Ok(Self { from, move_id, began, after, heads, live, before, blocked, attachment, proven })
    }
}

/// A move from here that was given up.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) to: RegionId,
    pub(crate) request_id: [u8; 16],
    pub(crate) fingerprint: Fingerprint,
    pub(crate) began: Minute,
    pub(crate) ended: Minute,
    /// The reason for which it could not go on, there or here. None: a caller gave it up.
    pub(crate) refused: Option<Reason>,
    /// The other region has erased what had arrived.
    pub(crate) dropped: bool,
}

impl GivenUp {
    pub(super) fn write(&self, row: &mut Writer) {
        row.text(self.to.as_str()).fixed(&self.request_id).fixed(&self.fingerprint.0);
        row.u32(self.began.0).u32(self.ended.0);
        row.text(self.refused.map_or("", Reason::as_str)).u8(u8::from(self.dropped));
    }

    pub(super) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            to: region(row)?,
            request_id: row.array()?,
            fingerprint: Fingerprint(row.array()?),
            began: Minute(row.u32()?),
            ended: Minute(row.u32()?),
            refused: match row.text()? {
                "" => None,
                name => Some(Reason::parse(name).ok_or(Malformed)?),
            },
            dropped: row.u8()? == 1,
        })
    }
}

/// The format of a row that says that a subject moves from here.
const MOVING_FORMAT: u8 = 1;

/// What such a row says, so that moves are told apart before any subject is opened: `01`, whether the
/// subject was given away already, since which minute, and the region with its length.
pub(crate) struct MovesTo {
    pub(crate) to: RegionId,
    pub(crate) left: bool,
    pub(crate) since: Minute,
}

impl MovesTo {
    /// The row as it is stored.
    pub(crate) fn row(&self) -> Vec<u8> {
        let mut row = Writer::with_capacity(32);
        row.u8(MOVING_FORMAT).u8(u8::from(self.left)).u32(self.since.0).text(self.to.as_str());
        row.0
    }

    /// Reads a stored row.
    pub(crate) fn read(row: &[u8]) -> Result<Self, Error> {
        let mut row = Reader::new(row);
        row.format(MOVING_FORMAT)?;
        let (left, since) = (row.u8()? == 1, Minute(row.u32()?));
        let to = region(&mut row)?;
        row.end()?;
        Ok(Self { to, left, since })
    }
}

/// Writes on what rulings rest.
pub(crate) fn write_bases(bases: &[(Collection, Findings)], row: &mut Writer) {
    row.u32(u32::try_from(bases.len()).expect("bounded by RULINGS_PER_SUBJECT_MAX"));
    for (collection, basis) in bases {
        row.text(collection.as_str()).bytes(&basis.encode());
    }
}

/// Reads the same.
pub(crate) fn read_bases(row: &mut Reader<'_>) -> Result<Vec<(Collection, Findings)>, Malformed> {
    let count = row.u32()?;
    if usize::try_from(count).map_or(true, |count| count > RULINGS_PER_SUBJECT_MAX) {
        return Err(Malformed);
    }
    let one = |_| {
        let collection = Collection::parse(row.text()?).map_err(|_| Malformed)?;
        Ok((collection, findings(row)?))
    };
    (0..count).map(one).collect()
}

fn findings(row: &mut Reader<'_>) -> Result<Findings, Malformed> {
    Findings::decode(row.bytes()?).map_err(|_| Malformed)
}

/// The name of a region.
fn region(row: &mut Reader<'_>) -> Result<RegionId, Malformed> {
    RegionId::parse(row.text()?).map_err(|_| Malformed)
}
