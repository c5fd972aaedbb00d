//! `bailiwick shard recover --accept-loss`: somebody has decided to go on with a store that lacks
//! what was signed. The loss is not hidden: a new period of the log begins, under a new key, and
//! its GENESIS names the old head.

use engine::Batch;
use ledger::checkpoint::Checkpoint;
use ledger::entry::Detail;
use ledger::hash::Hash;

use crate::anchor::{self, Anchor};
use crate::identity::Identity;
use crate::keyring::FileKeyring;
use crate::log::Log;
use crate::open::{Opening, edge_row, signed_empty};
use crate::{Error, Outside, Settings, folders};

/// What was given up, and where the log goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The origin of the log that ended, and the entries that were signed for in it.
    pub old_origin: String,
    /// Entries that were signed for.
    pub signed: u64,
    /// Entries that the store still has of it.
    pub found: u64,
    /// The origin of the new period.
    pub origin: String,
    /// The public key of the new period: give it to your auditors, and keep the old one.
    pub vkey: String,
}

/// Opens a new log period over whatever the store still holds.
///
/// # Errors
/// [`Error`]; the store and its anchor are unchanged then, or a second call goes on.
pub fn recover(
    settings: &Settings,
    map: &atlas::RegionMap,
    annex: &atlas::Annex,
    outside: &Outside,
) -> Result<Recovered, Error> {
    let opening = Opening { settings, map, annex, outside };
    let territory = opening.named()?;
    opening.folders()?;
    let path = anchor::path(&settings.anchor, settings.region.as_str(), settings.shard.as_str());
    let anchored = Anchor::open(&path)?;
    if !folders::is_empty(&settings.data)? {
        engine::accept_loss(&settings.data)?;
    }
    let engine = opening.engine()?;
    let identity = Identity::read(&*engine)?;
    if let Some(identity) = &identity {
        let (deployment, territory) = (map.deployment(), territory.as_str());
        identity.expect(deployment, &settings.region, &settings.shard, territory)?;
    }
    let found = match &identity {
        Some(_) => edge_row(&*engine)?.size,
        None => 0,
    };
    // The anchor knows best what was signed. Without it, the store's own log is the old head.
    let old = match &anchored {
        Some((_, note)) => unverified(note)
            .ok_or(Error::Anchor { path: path.clone(), why: "it holds no checkpoint" })?,
        None => match &identity {
            Some(identity) => Checkpoint {
                origin: opening.origin(identity.period),
                size: found,
                root: Log::restore(&*engine, &edge_row(&*engine)?)?.edge.root(),
            },
            None => return Err(Error::Anchor { path, why: "there is nothing to recover" }),
        },
    };
    let of_anchor = old.origin.rsplit('/').next().and_then(|period| period.parse::<u32>().ok());
    let of_store = identity.as_ref().map_or(0, |identity| identity.period);
    let period = of_anchor.unwrap_or(0).max(of_store) + 1;
    let keyring = FileKeyring::open(&settings.keys, &settings.region, None)?;
    let signer = opening.new_signer(period)?;
    let next = opening.identity(period, territory, &signer, &keyring);
    let mut batch = Batch::new();
    if identity.is_none() {
        opening.take_slots(&mut batch);
    }
    let log = Log::new(period, engine.head()?.size);
    let head = Detail::OldHead { origin: old.origin.clone(), size: old.size, root: old.root };
    opening.begin_period(&*engine, batch, &next, (&log, vec![head]))?;
    // After the commit: a crash in between leaves the old anchor, and a second call names the
    // same old head again.
    let empty = signed_empty(&signer)?;
    match anchored {
        Some((mut anchor, _)) => anchor.store(&empty)?,
        None => drop(Anchor::create(&path, &empty)?),
    }
    Ok(Recovered {
        old_origin: old.origin,
        signed: old.size,
        found,
        origin: signer.name().to_owned(),
        vkey: next.vkey,
    })
}

/// The checkpoint of a note whose key may be lost with the store: its signature is not checked,
/// because the new period names what the anchor says, right or wrong, and auditors hold the
/// signed original.
fn unverified(note: &str) -> Option<Checkpoint> {
    let (text, _) = note.rsplit_once("\n\n")?;
    Checkpoint::parse(&format!("{text}\n"))
        .ok()
        .filter(|checkpoint| checkpoint.root != Hash([0; 32]))
}
