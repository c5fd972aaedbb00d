//! How long a subject is blocked, as its row keeps it.

use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::types::Minute;

/// How long a subject is blocked, and what comes then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// Its last minute is the one before.
    pub(crate) until: Minute,
    /// The subject is erased then. Otherwise it is live again.
    pub(crate) then_erase: bool,
}

impl Blocked {
    pub(crate) fn write(self, row: &mut Writer) {
        row.u32(self.until.0).u8(u8::from(self.then_erase));
    }

    pub(crate) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { until: Minute(row.u32()?), then_erase: row.u8()? == 1 })
    }

    /// Writes the block of a subject that may have none.
    pub(crate) fn write_any(blocked: Option<Self>, row: &mut Writer) {
        row.u8(u8::from(blocked.is_some()));
        blocked.into_iter().for_each(|blocked| blocked.write(row));
    }

    /// Reads the same.
    pub(crate) fn read_any(row: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        match row.u8()? {
            0 => Ok(None),
            1 => Self::read(row).map(Some),
            _ => Err(Malformed),
        }
    }
}
