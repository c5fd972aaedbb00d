//! Opening a shard: every check that must hold before it answers any call.

use std::path::Path;
use std::sync::Arc;

use atlas::{Annex, Country, RegionMap};
use engine::{Batch, Engine, Head};
use ledger::note::Signer;
use terms::{SlotSet, UnixMillis};

use crate::clock::GuardedClock;
use crate::log::checkpoint_file::{CheckpointFile, open_note, period_of, unverified};
use crate::log::checkpointer::signed_empty;
use crate::log::{EdgeRow, Log, began, edge_at, ends_in_seal, root_at};
use crate::log::{closed_periods, first_commit};
use crate::relocate::peers::{PeerShard, RegionShards};
use crate::startup::recovery_mark;
use crate::startup::recovery_mark::Mark;
use crate::store::generations;
use crate::store::generations::Differs;
use crate::store::growing_log::{GrowingLog, Origins};
use crate::store::identity::Identity;
use crate::store::keyring::{FileKeyring, Keyring as _};
use crate::store::keys;
use crate::store::keys::KeyLayout;
use crate::store::region_maps::Offered;
use crate::store::slots::OwnSlots;
use crate::store::types::Period;
use crate::{Environment, Error, Settings};

const FORMAT: u8 = 1;
/// Entries with which the first period begins: GENESIS, MAP, and KEY where the keyring was made.
const FIRST_ENTRIES_MAX: u64 = 3;
/// Entries with which every later period begins: GENESIS and MAP.
const PERIOD_ENTRIES: u64 = 2;

/// What is said of a store that a restore has not filled.
pub(crate) const RESTORE_BEGUN: &str = "a restore was begun here and has not ended: what is in the \
                                        store is not all of a backup. Empty the store, and restore again";

/// What a shard is opened with.
pub(crate) struct Opening<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) map: &'a RegionMap,
    pub(crate) annex: &'a Annex,
    pub(crate) outside: &'a Environment,
}

/// A store that passed every check.
pub(crate) struct Opened {
    /// The map in force.
    pub(crate) map: Arc<RegionMap>,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) keyring: FileKeyring,
    pub(crate) namer: KeyLayout,
    pub(crate) territory: Country,
    pub(crate) growing: GrowingLog,
    pub(crate) slots: OwnSlots,
    /// The other shards of the region, by the annex.
    pub(crate) others: RegionShards,
    pub(crate) log: Log,
    pub(crate) head: Head,
    pub(crate) last_commit: UnixMillis,
    pub(crate) clock: GuardedClock,
    pub(crate) signer: Signer,
    pub(crate) anchor: CheckpointFile,
    /// The period has ended, and nothing may be written into it: the map with which the next begins.
    pub(crate) sealed: Option<Box<Offered>>,
    /// The last signed checkpoint as a note, and its size.
    pub(crate) note: String,
    pub(crate) signed: u64,
}

impl Opening<'_> {
    /// Opens the store. One that was never made, or is gone, is not made here: `shard init` does.
    pub(crate) fn open(&self) -> Result<Opened, Error> {
        self.open_to(false)
    }

    /// The same; to `look` at it alone, nothing is made, taken or signed.
    pub(crate) fn open_to(&self, look: bool) -> Result<Opened, Error> {
        if let Some(mark) = recovery_mark::read(&self.recovering())? {
            let why = match mark {
                Mark::Restore(_) => RESTORE_BEGUN,
                Mark::Recovery(_) => "a recovery was begun here and has not ended",
            };
            return Err(Error::CheckpointFile { path: self.recovering(), why });
        }
        self.open_unended(look)
    }

    /// The same within a recovery or a restore.
    pub(crate) fn open_unended(&self, look: bool) -> Result<Opened, Error> {
        let (territory, settings) = (self.named()?, self.settings);
        if !look {
            settings.make_folders(&*self.outside.store)?;
        }
        let anchor_path = self.anchor_path();
        let found = CheckpointFile::open(&anchor_path)?;
        let (engine, identity) = self.existing(found.as_ref())?;
        let Some((mut anchor, mut note)) = found else {
            return Err(Error::CheckpointFile { path: anchor_path, why: "it is missing" });
        };
        let (region, shard) = (&settings.region, &settings.shard);
        identity.expect(self.map.deployment(), region, shard, territory.as_str())?;
        let keyring = self.keyring(&*engine)?;
        let row = EdgeRow::read(&*engine)?;
        let namer = self.check_keyring(&*engine, &identity, &keyring);
        let namer = namer.map_err(|error| self.of_old_store(error, &row, &note))?;
        if !look {
            keyring.forget_earlier()?;
            keyring.discard_given()?;
        }
        let signer = self.signer(identity.period)?;
        if signer.vkey() != identity.vkey {
            let path = self.settings.log_key_path(identity.period.0);
            return Err(Error::Keys { path, why: "it is not the key of this store's log" });
        }
        let log = Log::restore(&*engine, &row)?;
        let new = log.period == Period::FIRST && log.edge.size() <= FIRST_ENTRIES_MAX;
        let clock = Arc::clone(&self.outside.clock);
        let clock = GuardedClock::start(clock, settings, row.committed, new);
        let head = engine.head()?;
        if row.period != identity.period || head.size != log.head_size() {
            return Err(Error::Damaged("placement log"));
        }
        if after_rotation(&*engine, &log, &note)? {
            note = signed_empty(&signer)?;
            if !look {
                anchor.store(&note)?;
            }
        }
        let signed = check_extends(&*engine, &log, &note, &identity.vkey, &anchor_path)?;
        let slots = OwnSlots::read(&*engine)?;
        let start = self.start(&*engine)?;
        let sealed = ends_in_seal(&*engine, &log)?;
        let growing = self.growing(&*engine, &identity, &keyring)?;
        let mut opened = Opened {
            map: Arc::clone(&start.offered.sealed.map),
            last_commit: row.committed,
            clock,
            engine,
            keyring,
            namer,
            territory,
            growing,
            slots,
            others: self.others(),
            log,
            head,
            signer,
            anchor,
            note,
            signed,
            sealed: None,
        };
        if sealed {
            opened.sealed = Some(Box::new(start.offered));
        } else if !look {
            self.accept_map(&mut opened, start)?;
        }
        self.compare_slots(&opened);
        Ok(opened)
    }

    /// A store may fit the keyring no more because it is an old one: then no keyring is the right one,
    /// and an older one would bring a destroyed generation back.
    fn of_old_store(&self, error: Error, row: &EdgeRow, note: &str) -> Error {
        let Error::Generation { .. } = error else { return error };
        self.behind(row, note).unwrap_or(error)
    }

    /// What is lost, if the store ends before the last checkpoint. Nothing confirms that one's word
    /// here: the shard does not start either way.
    fn behind(&self, row: &EdgeRow, note: &str) -> Option<Error> {
        let signed = unverified(note)?;
        let period = period_of(&signed)?;
        if period == row.period.0 && signed.size > row.size {
            return Some(lost(signed.size, row.size));
        }
        let found = self.origins().of(row.period);
        let what = format!("the log {} was signed, and the store ends with {found}", signed.origin);
        (period > row.period.0).then_some(Error::DataLost { what })
    }

    /// Opens the engine of a store that is there: opening it would make one.
    fn existing(
        &self,
        found: Option<&(CheckpointFile, String)>,
    ) -> Result<(Box<dyn Engine>, Identity), Error> {
        if !self.outside.store.exists()? {
            return Err(self.unmade(found));
        }
        let engine = self.outside.store.open()?;
        match Identity::read(&*engine)? {
            Some(identity) => Ok((engine, identity)),
            None => Err(self.unmade(found)),
        }
    }

    /// The country that the map gives the region, if map and annex name this shard at all.
    pub(crate) fn named(&self) -> Result<Country, Error> {
        let Settings { region, shard, .. } = self.settings;
        let missing = |document, what| Err(Error::NotNamed { document, what });
        let Some(found) = self.map.region(region) else {
            return missing("region map", format!("region {region}"));
        };
        if self.annex.region() != region {
            return missing("annex", format!("region {region}"));
        }
        if self.annex.shard(shard).is_none() {
            return missing("annex", format!("shard {shard} of region {region}"));
        }
        if self.annex.vouched(self.map, ledger::said_by).is_err() {
            return Err(Error::AnnexUnsigned);
        }
        Ok(found.territory())
    }

    /// The origins of this shard's logs.
    pub(crate) fn origins(&self) -> Origins<'_> {
        self.settings.origins(self.map.deployment())
    }

    /// The log of the store's period.
    fn growing(
        &self,
        engine: &dyn Engine,
        identity: &Identity,
        keyring: &FileKeyring,
    ) -> Result<GrowingLog, Error> {
        let Identity { period, vkey, .. } = identity;
        let began = began(engine, *period)?;
        Ok(GrowingLog::new(self.origins(), *period, vkey, began, keyring))
    }

    /// What every origin of this shard begins with.
    pub(crate) fn origin_prefix(&self) -> String {
        let Settings { region, shard, .. } = self.settings;
        format!("{}/{region}/{shard}/", self.map.deployment())
    }

    pub(crate) fn anchor_path(&self) -> std::path::PathBuf {
        self.settings.checkpoint_path()
    }

    /// Where the store lies, for messages.
    pub(crate) fn place(&self) -> String {
        self.outside.store.place()
    }

    /// A file that stands beside the anchor from the moment when a loss is accepted until the new
    /// period has begun: a recovery that did not end must not pass as a store that lost nothing.
    pub(crate) fn recovering(&self) -> std::path::PathBuf {
        self.anchor_path().with_extension("recovering")
    }

    /// Reads the key of a period's log.
    pub(crate) fn signer(&self, period: Period) -> Result<Signer, Error> {
        self.settings.log_signer(self.map.deployment(), period)
    }

    /// Makes the key of a new period's log.
    pub(crate) fn new_signer(&self, period: Period) -> Result<Signer, Error> {
        let deployment = self.map.deployment();
        first_commit::new_signer(self.settings, deployment, &*self.outside.entropy, period)
    }

    /// The keyring. A change of it that was committed and not taken, because a crash came between, is
    /// taken now.
    pub(crate) fn keyring(&self, engine: &dyn Engine) -> Result<FileKeyring, Error> {
        let Settings { keys, region, .. } = self.settings;
        let guard = self.settings.guard();
        let keyring = FileKeyring::open(keys, region, guard.as_ref())?;
        if generations::differs(engine, &keyring, region)?.is_some()
            && let Some(next) = FileKeyring::open_next(keys, region, guard.as_ref())?
            && generations::differs(engine, &next, region)?.is_none()
        {
            keyring.take_next()?;
            tracing::warn!("a change of the region's keys was committed, and is taken now");
        }
        Ok(keyring)
    }

    /// Refuses a keyring that is not wholly that of the store: by its index key, and by each of its
    /// generations.
    pub(crate) fn check_keyring(
        &self,
        engine: &dyn Engine,
        identity: &Identity,
        keyring: &FileKeyring,
    ) -> Result<KeyLayout, Error> {
        let namer = self.check_region_key(identity, keyring)?;
        match generations::differs(engine, keyring, &self.settings.region)? {
            Some(Differs { generation, why }) => {
                let path = FileKeyring::path(&self.settings.keys, &self.settings.region);
                Err(Error::Generation { path, generation, why })
            }
            None => Ok(namer),
        }
    }

    /// Refuses a keyring that has another index key than that of the store.
    pub(crate) fn check_region_key(
        &self,
        identity: &Identity,
        keyring: &FileKeyring,
    ) -> Result<KeyLayout, Error> {
        let namer = KeyLayout::new(keyring);
        if namer.check() != identity.key_check {
            let path = FileKeyring::path(&self.settings.keys, &self.settings.region);
            return Err(Error::Keys { path, why: "it is not the keyring of this store" });
        }
        Ok(namer)
    }

    pub(crate) fn identity(
        &self,
        period: Period,
        territory: Country,
        signer: &Signer,
        keyring: &FileKeyring,
    ) -> Identity {
        let namer = KeyLayout::new(keyring);
        Identity {
            deployment: self.map.deployment().to_owned(),
            region: self.settings.region.to_string(),
            shard: self.settings.shard.to_string(),
            territory: territory.as_str().to_owned(),
            period,
            vkey: signer.vkey(),
            key_check: namer.check(),
        }
    }

    /// The other shards of the region, by the annex.
    fn others(&self) -> RegionShards {
        let Settings { region, shard, .. } = self.settings;
        let others = self.annex.shards().iter().filter(|other| other.name() != shard);
        let others = others.map(|other| PeerShard::new(region, other)).collect();
        let wished = |shard: &atlas::Shard| (shard.name().clone(), shard.slots().collect());
        RegionShards { others, wished: self.annex.shards().iter().map(wished).collect() }
    }

    /// Takes the slots that the annex gives this shard: for a store that is new.
    pub(crate) fn take_slots(&self, batch: &mut Batch) {
        let shard = self.annex.shard(&self.settings.shard);
        let slots: SlotSet = shard.into_iter().flat_map(atlas::Shard::slots).collect();
        slots.iter().for_each(|slot| batch.put(keys::slot(slot), vec![FORMAT]));
        self.unconfirm(batch, slots);
    }

    /// Notes that another shard of the region may have these slots as well: the store is new, or it was
    /// not in use until now. Where the annex names no other shard, none has.
    pub(crate) fn unconfirm(&self, batch: &mut Batch, slots: SlotSet) {
        if self.annex.shards().len() > 1 {
            let slots = OwnSlots { unconfirmed: slots, ..OwnSlots::default() };
            slots.put_unconfirmed(batch);
        }
    }

    /// Says where wish and ownership differ: the annex is the wish, the store's rows are the fact.
    fn compare_slots(&self, opened: &Opened) {
        let Some(shard) = self.annex.shard(&self.settings.shard) else { return };
        let wished: SlotSet = shard.slots().collect();
        let owned = opened.slots.all();
        let (lacking, more) = (wished.without(&owned), owned.without(&wished));
        if !lacking.is_empty() {
            tracing::warn!(
                slots = %lacking,
                "the annex gives this shard slots that its store does not own: it will not serve them"
            );
        }
        if !more.is_empty() {
            tracing::error!(
                slots = %more,
                "the annex gives other shards slots that this store owns: it goes on serving them. \
                 Correct the annex, and start no other shard that owns them"
            );
        }
    }
}

/// Whether the checkpoint file still holds the last checkpoint of the period before this one,
/// because a crash came between the first commit of this one and the file.
fn after_rotation(engine: &dyn Engine, log: &Log, note: &str) -> Result<bool, Error> {
    // Once anything else was written, the file had been given the new log.
    let just_begun = log.edge.size() == PERIOD_ENTRIES;
    let last = closed_periods::last(engine)?;
    Ok(just_begun && last.is_some_and(|(_, sealed)| sealed.note == note))
}

/// The size that the anchor's checkpoint signed for, if the store extends it.
fn check_extends(
    engine: &dyn Engine,
    log: &Log,
    note: &str,
    vkey: &str,
    path: &Path,
) -> Result<u64, Error> {
    let checkpoint = open_note(note, vkey, path)?;
    if checkpoint.size > log.edge.size() {
        return Err(lost(checkpoint.size, log.edge.size()));
    }
    let root = root_at(engine, log.period, &log.edge, checkpoint.size)?;
    // The edge, computed from the entries themselves, must be the one that was signed too.
    let entries = edge_at(engine, log.period, checkpoint.size)?;
    if root != checkpoint.root || entries.root() != checkpoint.root {
        return Err(Error::DataLost {
            what: "its log does not extend the last signed checkpoint".to_owned(),
        });
    }
    Ok(checkpoint.size)
}

pub(crate) fn lost(signed: u64, found: u64) -> Error {
    Error::DataLost {
        what: format!("{signed} log entries were signed for and the store has {found}"),
    }
}
