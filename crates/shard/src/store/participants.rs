//! The people that a record names besides its owner, as its head holds them: id and region, and the
//! jurisdictions whose law attaches to that person's records of the collection, as the person's own
//! region has said.
//!
//! Layout, within the sealed head: their number (1 byte), then of each its id, its region, the number
//! of jurisdictions (1 byte), and these.

use atlas::Jurisdiction;
use terms::{RegionId, SubjectId, limits};

use crate::store::codec::{Malformed, Reader, Writer};

/// Bytes of their form at most.
pub(crate) const PARTICIPANTS_BYTES_MAX: usize = 1 + limits::PARTICIPANTS_MAX
    * (4 + limits::SUBJECT_ID_BYTES_MAX
        + 4
        + limits::NAME_BYTES_MAX
        + 1
        + limits::PARTICIPANT_JURISDICTIONS_MAX * JURISDICTION_BYTES_MAX);
/// Bytes of a jurisdiction's code, with what stands before it.
const JURISDICTION_BYTES_MAX: usize = 4 + 8;

/// A person that a record names besides its owner.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Participant {
    pub(crate) id: SubjectId,
    /// Where that person's own records of the collection lie.
    pub(crate) region: RegionId,
    pub(crate) jurisdictions: Vec<Jurisdiction>,
}

/// Bytes of their form.
pub(crate) fn bytes(all: &[Participant]) -> usize {
    let each = all.iter().map(|one| {
        let codes = one.jurisdictions.iter().map(|code| 4 + code.as_str().len()).sum::<usize>();
        4 + one.id.expose().len() + 4 + one.region.as_str().len() + 1 + codes
    });
    1 + each.sum::<usize>()
}

pub(crate) fn write(all: &[Participant], head: &mut Writer) {
    head.u8(count(all.len()));
    for one in all {
        head.text(one.id.expose()).text(one.region.as_str()).u8(count(one.jurisdictions.len()));
        for code in &one.jurisdictions {
            head.text(code.as_str());
        }
    }
}

pub(crate) fn read(head: &mut Reader<'_>) -> Result<Vec<Participant>, Malformed> {
    let count = head.u8()?;
    (0..count).map(|_| one(head)).collect()
}

fn one(head: &mut Reader<'_>) -> Result<Participant, Malformed> {
    let id = SubjectId::parse(head.text()?).map_err(|_| Malformed)?;
    let region = RegionId::parse(head.text()?).map_err(|_| Malformed)?;
    let count = head.u8()?;
    let code = |_| Jurisdiction::parse(head.text()?).ok_or(Malformed);
    let jurisdictions = (0..count).map(code).collect::<Result<_, _>>()?;
    Ok(Participant { id, region, jurisdictions })
}

/// All of these are few: see the limits.
fn count(length: usize) -> u8 {
    u8::try_from(length).expect("a record has few participants, and each few jurisdictions")
}
