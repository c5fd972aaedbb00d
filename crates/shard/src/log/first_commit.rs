//! What a period of the log begins with: a new key, and one commit with the store's identity, GENESIS
//! and MAP.

use engine::{Batch, Engine};
use ledger::Edge;
use ledger::entry::{Detail, Entry};
use ledger::note::Signer;
use terms::{Entropy, UnixMillis};

use crate::log::{Draft, Log};
use crate::store::identity::Identity;
use crate::store::region_maps::Offered;
use crate::store::types::{Minute, Period};
use crate::store::{index_state, keys, region_maps, secret_files};
use crate::{Error, Settings};

/// Makes the key of a new period's log. One that is there already is never used again: it may have
/// signed another history.
pub(crate) fn new_signer(
    settings: &Settings,
    deployment: &str,
    entropy: &dyn Entropy,
    period: Period,
) -> Result<Signer, Error> {
    let seed = secret_files::draw(entropy)?;
    let text = zeroize::Zeroizing::new(secret_files::to_hex(&*seed));
    secret_files::write_secret(&settings.log_key_path(period.0), text.as_bytes())?;
    settings.log_signer(deployment, period)
}

/// The first commit of a period.
pub(crate) struct FirstCommit<'a> {
    /// The log, without an entry.
    pub(crate) log: &'a Log,
    pub(crate) identity: &'a Identity,
    /// What GENESIS says of the log before it.
    pub(crate) details: Vec<Detail>,
    /// The map in force.
    pub(crate) offered: &'a Offered,
    /// What else has happened with it.
    pub(crate) also: Option<Entry>,
    pub(crate) now: UnixMillis,
}

impl FirstCommit<'_> {
    /// Commits it to a store that no other process writes, with what goes with it.
    pub(crate) fn commit(self, engine: &dyn Engine, mut batch: Batch) -> Result<(), Error> {
        let (_, size) = self.add_to(engine, &mut batch)?;
        Ok(engine.commit(batch, engine.head()?, size)?)
    }

    /// Adds its rows. Returns the log's edge and the head that the store gets with it.
    pub(crate) fn add_to(
        self,
        engine: &dyn Engine,
        batch: &mut Batch,
    ) -> Result<(Edge, u64), Error> {
        let Self { log, identity, details, offered, also, now } = self;
        let minute = Minute::of(now);
        let mut draft = Draft::new(log);
        append(&mut draft, &Entry::genesis(minute.0, &identity.vkey, details))?;
        append(&mut draft, &region_maps::take_into(batch, offered, minute))?;
        index_state::take_map(batch, engine, &offered.sealed.map)?;
        if let Some(entry) = also {
            append(&mut draft, &entry)?;
        }
        batch.put(keys::IDENTITY, identity.encode());
        Ok(draft.finish(batch, now))
    }
}

fn append(draft: &mut Draft, entry: &Entry) -> Result<(), Error> {
    draft.append(entry).map(|_| ()).map_err(|_| Error::Damaged("placement log"))
}
