//! Whose store this is: a row written once, when the store is new, and again when a loss is
//! accepted.

use engine::Engine;
use terms::{RegionId, ShardId};

use crate::Error;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys;
use crate::store::keys::Tag;

const FORMAT: u8 = 1;

/// The identity row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) deployment: String,
    pub(crate) region: String,
    pub(crate) shard: String,
    /// The country the store stands in. A map that says otherwise is refused.
    pub(crate) territory: String,
    /// The period of the log, from 1.
    pub(crate) period: u32,
    /// The public key of the period's log.
    pub(crate) vkey: String,
    /// Tells this store's keyring from any other.
    pub(crate) key_check: Tag,
}

impl Identity {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Writer::with_capacity(256);
        row.u8(FORMAT).text(&self.deployment).text(&self.region).text(&self.shard);
        row.text(&self.territory).u32(self.period).text(&self.vkey).fixed(&self.key_check);
        row.0
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut row = Reader::new(bytes);
        row.format(FORMAT)?;
        let mut text = || row.text().map(str::to_owned);
        let (deployment, region, shard) = (text()?, text()?, text()?);
        let territory = text()?;
        let (period, vkey) = (row.u32()?, row.text()?.to_owned());
        let key_check = row.array()?;
        row.end()?;
        Ok(Self { deployment, region, shard, territory, period, vkey, key_check })
    }

    /// Reads the row. `None`: the store is new.
    pub(crate) fn read(engine: &dyn Engine) -> Result<Option<Self>, Error> {
        match engine.get_many(&[keys::IDENTITY])?.pop().flatten() {
            Some(row) => Ok(Some(Self::decode(&row)?)),
            None => Ok(None),
        }
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
