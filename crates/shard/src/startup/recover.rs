//! `bailiwick shard recover --accept-loss`: an operator has decided to go on with a store that lacks
//! what was signed. The loss is not hidden: a new period of the log begins, under a new key, and
//! its GENESIS names the old head, or says that it is not known any more.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use atlas::Country;
use engine::{Batch, Engine, Order, ScanLimit};
use ledger::checkpoint::Checkpoint;
use ledger::entry::{Detail, Entry};
use link::ops::health::Health;
use link::ops::metrics::Registry;
use terms::UnixMillis;

use crate::clock::GuardedClock;
use crate::log::checkpoint_file::{CheckpointFile, period_of, unverified};
use crate::log::checkpointer::signed_empty;
use crate::log::erasure_file::KnownErasure;
use crate::log::first_commit::FirstCommit;
use crate::log::known_erasures::{Erasures, all_known, keep_all, refuse_copies_alone, that_count};
use crate::log::{EdgeRow, Log, edge_at};
use crate::metrics::Metrics;
use crate::startup::open::{Opening, RESTORE_BEGUN};
use crate::startup::recovery_mark;
use crate::startup::recovery_mark::{GivenUp, Mark};
use crate::startup::shard::Parts;
use crate::store::copy_keys;
use crate::store::generations::Differs;
use crate::store::identity::Identity;
use crate::store::keyring::FileKeyring;
use crate::store::region_maps::Offered;
use crate::store::slots::{self, OwnSlots};
use crate::store::types::{CommitAt, Minute, Period};
use crate::store::{directories, generations};
use crate::{Environment, Error, Settings};

/// What was given up, and where the log goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The head that was signed last: origin and entries. `None`: no checkpoint was left to say.
    pub signed: Option<(String, u64)>,
    /// The log that the store still has: origin and entries. `None`: there is none.
    pub found: Option<(String, u64)>,
    /// What was erased again.
    pub again: ErasedAgain,
    /// The origin of the new period.
    pub origin: String,
    /// The public key of the new period: give it to your auditors, and keep the old one.
    pub vkey: String,
}

/// What a restore or a recovery has erased, or left, in the store that it goes on with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErasedAgain {
    /// People, and collections of people, that the store had and that were erased before.
    pub erased: u64,
    /// People who were arriving from other regions. Their old homes copy them again.
    pub arrivals: u64,
    /// Arrivals of which a row does not read back. They are left as they are, and no caller sees them.
    pub arrivals_left: u64,
}

/// Opens a new log period over what the store still holds. Then it erases again each subject and
/// collection that the file of erasures names, or one of `erasures`, if the store still has it.
///
/// # Errors
/// [`Error`]. Nothing was changed, or the recovery keeps the shard from starting until a second call
/// has ended well: that one names the same old head, and erases again from the same point on.
pub fn recover(
    settings: &Settings,
    map: &atlas::RegionMap,
    annex: &atlas::Annex,
    outside: &Environment,
    erasures: &Erasures,
) -> Result<Recovered, Error> {
    let opening = Opening { settings, map, annex, outside };
    let mark = recovery_mark::read(&opening.recovering())?;
    let noted_lost = mark.as_ref().is_some_and(Mark::erasures_lost);
    let before = match mark {
        Some(Mark::Restore(_)) => {
            return Err(Error::CheckpointFile { path: opening.recovering(), why: RESTORE_BEGUN });
        }
        Some(Mark::Recovery(given_up)) => Some(given_up),
        None => None,
    };
    opening.named()?;
    settings.make_folders(&*outside.store)?;
    let keyring = FileKeyring::open(&settings.keys, &settings.region, settings.guard().as_ref())?;
    // All of it is read before anything is changed. Where no store is left, no one comes back.
    let (stored, missing) = (outside.store.exists()?, !settings.erasures_path().exists());
    let known = all_known(settings, &keyring, erasures, !stored)?;
    let erasures_lost = noted_lost || stored && (missing || *erasures == Erasures::Unknown);
    if stored && erasures_lost {
        refuse_copies_alone(settings, erasures)?;
    }
    let keep = || {
        if known.is_empty() {
            return Ok(());
        }
        keep_all(settings, &keyring, &known, &*outside.entropy)
    };
    if !erasures_lost {
        keep()?;
    }
    let newest = known.last().map(|known| known.entry);
    let before = Before::Loss { before, erasures_lost };
    let mut begun = begin_after(&opening, &keyring, before, newest)?;
    // Before the mark says that the file was lost, one that is made would be taken for the whole of it.
    if erasures_lost {
        keep()?;
    }
    begun.recovered.again = erase_again(&opening, &known, begun.since)?;
    remove(&opening.recovering())?;
    Ok(begun.recovered)
}

/// A period that has begun over what a store held.
pub(crate) struct Begun {
    pub(crate) recovered: Recovered,
    /// The end of the log that the store held.
    pub(crate) since: CommitAt,
}

/// What a new period comes after.
pub(crate) enum Before {
    /// A loss. If a recovery was begun before: what that one gave up.
    Loss {
        before: Option<GivenUp>,
        erasures_lost: bool,
    },
    Restore(AfterRestore),
}

/// What a restore adds to the beginning of a period.
pub(crate) struct AfterRestore {
    /// The newest head that is known of the log before.
    pub(crate) old_head: Checkpoint,
    /// The backup, by its number, and the head with which it ends.
    pub(crate) id: String,
    pub(crate) head: Checkpoint,
    /// Erasures that are known. `None`: it is not known who was erased after the backup.
    pub(crate) erasures: Option<u64>,
}

/// The store over which a period begins.
struct Held {
    engine: Box<dyn Engine>,
    /// `None`: it is empty.
    row: Option<(Identity, EdgeRow)>,
    offered: Offered,
}

impl Held {
    fn open(opening: &Opening<'_>, territory: Country) -> Result<Self, Error> {
        let Opening { settings, map, outside, .. } = opening;
        let engine = outside.store.open()?;
        let Some(identity) = Identity::read(&*engine)? else {
            return Ok(Self { engine, row: None, offered: opening.first_map()? });
        };
        // A recovery does not bring an older map back either.
        let offered = opening.start(&*engine)?.offered;
        let (region, shard) = (&settings.region, &settings.shard);
        identity.expect(map.deployment(), region, shard, territory.as_str())?;
        let edge = EdgeRow::read(&*engine)?;
        Ok(Self { engine, row: Some((identity, edge)), offered })
    }

    fn edge(&self) -> Option<&EdgeRow> {
        self.row.as_ref().map(|(_, edge)| edge)
    }

    /// Whether other regions had copies of records here, or some were due to them.
    fn has_copies_elsewhere(&self) -> Result<bool, Error> {
        let [due, _] = copy_keys::all_due();
        for span in [due, copy_keys::all_marks(None)] {
            let page =
                self.engine.scan(&span, Order::Ascending, ScanLimit { rows: 1, bytes: 1 })?;
            if !page.rows.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the first commit adds, so that the store's rows are those of the keyring. A store that
    /// lacks what was signed may be older than the last change of the keyring; any other may not.
    fn batch(
        &self,
        opening: &Opening<'_>,
        keyring: &FileKeyring,
        signed: Option<&Checkpoint>,
    ) -> Result<Batch, Error> {
        let (region, entropy) = (&opening.settings.region, &*opening.outside.entropy);
        let mut batch = Batch::new();
        if self.row.is_none() || self.has_copies_elsewhere()? {
            // There may be more since, of versions and of people that are not known here.
            batch.put(copy_keys::RESTORED_HOME, copy_keys::RESTORED_ROW);
        }
        let Some((identity, edge)) = &self.row else {
            opening.take_slots(&mut batch);
            generations::put(&mut batch, keyring, region, entropy)?;
            return Ok(batch);
        };
        opening.check_region_key(identity, keyring)?;
        // Another shard may have been made in the place of this one meanwhile.
        // One that was about to be served here may have gone on to another one meanwhile, too.
        let slots = OwnSlots::read(&*self.engine)?;
        let installing = &slots.on_the_way.installing;
        installing.iter().for_each(|slot| slots::own(&mut batch, slot));
        opening.unconfirm(&mut batch, slots.all().or(installing));
        let one = ScanLimit { rows: 1, bytes: 1 };
        let copies = self.engine.scan(&copy_keys::sets(None), Order::Ascending, one)?;
        if !copies.rows.is_empty() {
            // Copies of records of other regions: their homes may have had them erased since.
            batch.put(copy_keys::RESTORED, copy_keys::RESTORED_ROW);
        }
        if signed.is_none_or(|signed| place(signed) > (Some(edge.period.0), edge.size)) {
            let engine = &*self.engine;
            let differs = generations::bring_up(&mut batch, engine, keyring, region, entropy)?;
            if let Some(Differs { generation, why }) = differs {
                let path = FileKeyring::path(&opening.settings.keys, region);
                return Err(Error::OldGeneration { path, generation, why });
            }
        } else {
            opening.check_keyring(&*self.engine, identity, keyring)?;
        }
        Ok(batch)
    }
}

/// Period and size of a head: of two heads, the greater one is the newer.
pub(crate) fn place(head: &Checkpoint) -> (Option<u32>, u64) {
    (period_of(head), head.size)
}

/// Begins a new period over what the store holds. The mark that keeps it from starting stays.
/// `newest`: the newest erasure that is known.
pub(crate) fn begin_after(
    opening: &Opening<'_>,
    keyring: &FileKeyring,
    before: Before,
    newest: Option<CommitAt>,
) -> Result<Begun, Error> {
    let Opening { settings, outside, .. } = opening;
    let territory = opening.named()?;
    let anchored = anchored(opening)?;
    let held = Held::open(opening, territory)?;
    let edge = held.edge();
    let end = edge.map(|edge| CommitAt { period: edge.period, index: edge.size });
    let note = anchored.as_ref().map(|(_, note)| note.clone());
    let in_file = note.as_deref().and_then(unverified);
    let (given_up, restored) = match before {
        Before::Loss { before, erasures_lost } => {
            let new = GivenUp { since: end, note, erasures_lost };
            (GivenUp { erasures_lost, ..before.unwrap_or(new) }, None)
        }
        Before::Restore(restored) => {
            (GivenUp { since: end, note: None, erasures_lost: false }, Some(restored))
        }
    };
    let signed = match &restored {
        Some(restored) => Some(restored.old_head.clone()),
        None => given_up.note.as_deref().and_then(unverified),
    };
    let batch = held.batch(opening, keyring, signed.as_ref())?;
    let last = edge.map_or(UnixMillis(0), |edge| edge.committed);
    let clock = GuardedClock::start(Arc::clone(&outside.clock), settings, last, edge.is_none());
    if restored.is_none() {
        if clock.ahead().is_some() {
            return Err(Error::ClockUnconfirmed);
        }
        // Whatever happens next, no start takes the store for whole. What was refused until here has
        // changed nothing.
        set(&opening.recovering(), &given_up.text())?;
    }
    let heads = signed.iter().chain(&in_file).filter_map(period_of);
    let known = heads.chain(end.map(|end| end.period.0)).chain(newest.map(|at| at.period.0));
    let period = Period(known.fold(settings.last_log_key()?, u32::max)).next();
    let signer = opening.new_signer(period)?;
    let next = opening.identity(period, territory, &signer, keyring);
    let now = clock.now().max(last);
    let first = FirstCommit {
        log: &Log::new(period, held.engine.head()?.size),
        identity: &next,
        details: vec![old_head(opening, &*held.engine, signed.as_ref(), given_up.since)?],
        offered: &held.offered,
        also: restored.map(|AfterRestore { id, head, erasures, .. }| {
            Entry::restored(Minute::of(now).0, &id, &head, erasures)
        }),
        now,
    };
    first.commit(&*held.engine, batch)?;
    // After the commit: a crash in between leaves the old anchor, and the mark that keeps the
    // shard from starting on it.
    anchor(anchored, &opening.anchor_path(), &signed_empty(&signer)?)?;
    let recovered = Recovered {
        signed: signed.map(|head| (head.origin, head.size)),
        found: given_up.since.map(|at| (opening.origins().of(at.period), at.index)),
        again: ErasedAgain::default(),
        origin: signer.name().to_owned(),
        vkey: next.vkey,
    };
    let since = given_up.since.unwrap_or(CommitAt { period: Period(0), index: 0 });
    Ok(Begun { recovered, since })
}

/// Stores the first checkpoint of the new period.
fn anchor(
    anchored: Option<(CheckpointFile, String)>,
    path: &Path,
    empty: &str,
) -> Result<(), Error> {
    match anchored {
        Some((mut anchor, _)) => anchor.store(empty),
        None => {
            set_aside(path)?;
            CheckpointFile::create(path, empty).map(drop)
        }
    }
}

/// Erases again what is known and the store still has. A collection is erased only if its ERASE entry
/// comes after `since`. Then it erases what was arriving from other regions, and notes which moves to here
/// the store does not know any more. Returns how many it has erased.
pub(crate) fn erase_again(
    opening: &Opening<'_>,
    known: &[KnownErasure],
    since: CommitAt,
) -> Result<ErasedAgain, Error> {
    let Opening { settings, outside, .. } = opening;
    let opened = opening.open_unended(false)?;
    let metrics = Metrics::new(&mut Registry::new());
    let mut parts = Parts::new(settings, None, outside, metrics, opened, Health::new())?;
    let mut erased = 0;
    for known in that_count(known) {
        erased += u64::from(parts.committer.erase_again(known, since)?);
    }
    let (arrivals, arrivals_left) = parts.committer.forget_arrivals()?;
    parts.committer.note_lost_moves(known)?;
    parts.committer.signer.lock().sign()?;
    Ok(ErasedAgain { erased, arrivals, arrivals_left })
}

/// The checkpoint file, if there is one that can be read, and its note. One that cannot says as
/// little as one that is missing.
pub(crate) fn anchored(opening: &Opening<'_>) -> Result<Option<(CheckpointFile, String)>, Error> {
    let anchored = match CheckpointFile::open(&opening.anchor_path()) {
        Ok(anchored) => anchored,
        Err(Error::CheckpointFile { .. }) => None,
        Err(other) => return Err(other),
    };
    let head = anchored.as_ref().and_then(|(_, note)| unverified(note));
    let ours = |head: &Checkpoint| head.origin.starts_with(&opening.origin_prefix());
    if let Some(foreign) = head.filter(|head| !ours(head)) {
        let (found, expected) = (foreign.origin, opening.origin_prefix());
        return Err(Error::ForeignStore { found, expected });
    }
    Ok(anchored)
}

/// What GENESIS says of the log before it. `since`: its end in the store.
fn old_head(
    opening: &Opening<'_>,
    engine: &dyn Engine,
    signed: Option<&Checkpoint>,
    since: Option<CommitAt>,
) -> Result<Detail, Error> {
    if let Some(Checkpoint { origin, size, root }) = signed {
        return Ok(Detail::OldHead { origin: origin.clone(), size: *size, root: *root });
    }
    let Some(CommitAt { period, index: size }) = since else {
        let text = "neither store nor checkpoint of the log before this one was left";
        return Ok(Detail::Reason(text.to_owned()));
    };
    // The store's own word, which nothing confirms: the entry says so by its unsigned origin.
    let origin = format!("unsigned:{}", opening.origins().of(period));
    let root = edge_at(engine, period, size)?.root();
    Ok(Detail::OldHead { origin, size, root })
}

pub(crate) fn set(mark: &Path, content: &str) -> Result<(), Error> {
    let replaced = link::host::files::replace(mark, content.as_bytes(), link::host::files::SECRET);
    replaced.map_err(|source| Error::Io { path: mark.to_owned(), source })
}

pub(crate) fn remove(mark: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { path: mark.to_owned(), source };
    fs::remove_file(mark).map_err(io)?;
    directories::sync_parent(mark)
}

/// Keeps an anchor that could not be read, under another name.
fn set_aside(path: &Path) -> Result<(), Error> {
    if path.exists() {
        let io = |source| Error::Io { path: path.to_owned(), source };
        fs::rename(path, path.with_extension("checkpoint.unreadable")).map_err(io)?;
    }
    Ok(())
}
