//! Whose store this is: a row written once, when the store is new, and again when a period of the
//! log begins.
//!
//! The row: `01`, [`MARK`], then the fields in their order. The mark tells it from the row of a
//! release before storage format 1, which began with `01` and the length of a name.

use engine::Engine;
use terms::{RegionId, ShardId};

use crate::Error;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys;
use crate::store::types::{KeyCheck, Period};

const FORMAT: u8 = 1;
/// Follows the format version.
const MARK: [u8; 16] = *b"bailiwick store\n";

/// The identity row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) deployment: String,
    pub(crate) region: String,
    pub(crate) shard: String,
    /// The country the store stands in. A map that says otherwise is refused.
    pub(crate) territory: String,
    /// The period of the log, from 1.
    pub(crate) period: Period,
    /// The public key of the period's log.
    pub(crate) vkey: String,
    /// Tells this store's keyring from any other.
    pub(crate) key_check: KeyCheck,
}

impl Identity {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Writer::with_capacity(256);
        row.u8(FORMAT).fixed(&MARK);
        row.text(&self.deployment).text(&self.region).text(&self.shard).text(&self.territory);
        row.u32(self.period.0).text(&self.vkey).fixed(&self.key_check.0);
        row.0
    }

    fn decode(mut row: Reader<'_>) -> Result<Self, Malformed> {
        let mut text = || row.text().map(str::to_owned);
        let (deployment, region, shard) = (text()?, text()?, text()?);
        let territory = text()?;
        let (period, vkey) = (Period(row.u32()?), row.text()?.to_owned());
        let key_check = KeyCheck(row.array()?);
        row.end()?;
        Ok(Self { deployment, region, shard, territory, period, vkey, key_check })
    }

    /// Reads the row. `None`: the store is new.
    ///
    /// # Errors
    /// [`Error::StoreFormat`] when another release made the store.
    pub(crate) fn read(engine: &dyn Engine) -> Result<Option<Self>, Error> {
        let row = engine.get_many(&[keys::IDENTITY])?.pop().flatten();
        row.map(|row| Self::of_row(&row)).transpose()
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`Error::StoreFormat`] when another release made the store.
    pub(crate) fn of_row(row: &[u8]) -> Result<Self, Error> {
        let mut row = Reader::new(row);
        let format = row.u8()?;
        if format != FORMAT || row.array() != Ok(MARK) {
            let by = if format <= FORMAT { "an earlier release" } else { "a later release" };
            return Err(Error::StoreFormat { by });
        }
        Ok(Self::decode(row)?)
    }

    /// Refuses a store that is another shard's, or that has moved to another country.
    pub(crate) fn expect(
        &self,
        deployment: &str,
        region: &RegionId,
        shard: &ShardId,
        territory: &str,
    ) -> Result<(), Error> {
        let found = format!("{}/{}/{}", self.deployment, self.region, self.shard);
        let expected = format!("{deployment}/{region}/{shard}");
        if found != expected {
            return Err(Error::ForeignStore { found, expected });
        }
        if self.territory != territory {
            return Err(Error::Territory {
                stands_in: self.territory.clone(),
                map_says: territory.to_owned(),
            });
        }
        Ok(())
    }
}
