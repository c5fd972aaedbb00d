//! The log as others see it: what a checkpoint has signed, and nothing beyond.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ledger::hash::Hash;
use ledger::proof;
use ledger::tile::{BundleId, HashReader as _, TILE_WIDTH, TileId};
use ledger::tree::Edge;
use ledger::{TlogProof, bundle};
use terms::{Reason, Rejection, UnixMillis};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Error;
use crate::log::closed_periods;
use crate::log::closed_periods::Sealed;
use crate::log::{Each, Tiles, each_entry, edge_at, entry_at};
use crate::node::Node;
use crate::store::growing_log::LogName;
use crate::store::types::Period;

/// For how long a cosigned checkpoint is shown in place of newer ones.
const PATIENCE: Duration = Duration::from_secs(30);

/// A signed state of a log.
pub(crate) struct Signed {
    pub(crate) log: LogName,
    /// The checkpoint, a signed note.
    pub(crate) note: String,
    /// The tree that it signs.
    pub(crate) edge: Edge,
    /// When it was signed.
    pub(crate) at: UnixMillis,
}

impl Signed {
    pub(crate) const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Whether it is of the log of that origin; empty: of any.
    pub(crate) fn is_of(&self, origin: &str) -> bool {
        origin.is_empty() || *origin == *self.log.origin
    }
}

/// One period's log, up to one signed state of it.
pub(crate) struct LogView {
    node: Arc<Node>,
    pub(crate) signed: Arc<Signed>,
}

/// All logs of a shard that are served: the one that grows, and those that were sealed.
#[derive(Clone)]
pub(crate) struct LogViews {
    node: Arc<Node>,
    newest: watch::Receiver<Arc<Signed>>,
    /// What witnesses have cosigned. None: no witness is asked.
    cosigned: Option<watch::Receiver<Cosigned>>,
    shown: Arc<Mutex<Shown>>,
}

/// What witnesses have cosigned.
#[derive(Clone, Default)]
pub(crate) struct Cosigned {
    /// Of the log that grows, the newest.
    pub(crate) growing: Option<Arc<Signed>>,
    /// The last checkpoints of sealed logs, by period.
    pub(crate) sealed: BTreeMap<Period, String>,
}

/// What was shown of the log that grows. It never goes back: to a reader that has seen more, that would
/// be a log that has lost entries. Of another log than that it says nothing.
#[derive(Default)]
struct Shown {
    last: Option<Arc<Signed>>,
    /// Since when there is more than what is cosigned, and how much was cosigned then.
    behind: Option<(u64, Instant)>,
}

impl LogViews {
    pub(crate) fn new(
        node: Arc<Node>,
        newest: watch::Receiver<Arc<Signed>>,
        cosigned: Option<watch::Receiver<Cosigned>>,
    ) -> Self {
        Self { node, newest, cosigned, shown: Arc::default() }
    }

    /// The log that grows, by its newest checkpoint.
    pub(crate) fn growing(&self) -> LogView {
        self.at(self.newest())
    }

    fn newest(&self) -> Arc<Signed> {
        Arc::clone(&self.newest.borrow())
    }

    /// The log that grows, as it is shown: by the checkpoint that witnesses have cosigned, unless
    /// they have been behind for so long that it says little.
    fn shown(&self, newest: Arc<Signed>) -> LogView {
        let Some(cosigned) = &self.cosigned else { return self.at(newest) };
        let of_newest = |signed: &Arc<Signed>| signed.log.period == newest.log.period;
        let cosigned = cosigned.borrow().growing.clone().filter(of_newest);
        let size = cosigned.as_ref().map_or(0, |signed| signed.size());
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.last.as_ref().is_some_and(|last| !of_newest(last)) {
            *shown = Shown::default();
        }
        if size >= newest.size() {
            shown.behind = None;
        } else if shown.behind.is_none_or(|(of, _)| of != size) {
            shown.behind = Some((size, Instant::now()));
        }
        let patient = shown.behind.is_none_or(|(_, since)| since.elapsed() <= PATIENCE);
        let mut show = cosigned.filter(|_| patient).unwrap_or_else(|| Arc::clone(&newest));
        if let Some(last) = shown.last.as_ref().filter(|last| last.size() > show.size()) {
            show = Arc::clone(last);
        }
        shown.last = Some(Arc::clone(&show));
        drop(shown);
        self.at(show)
    }

    /// The log of that origin as it is shown: see [`LogViews::shown`].
    ///
    /// # Errors
    /// `LOG_UNKNOWN`.
    pub(crate) fn shown_of(&self, origin: &str) -> Result<LogView, Rejection> {
        let newest = self.newest();
        if newest.is_of(origin) { Ok(self.shown(newest)) } else { self.of(origin) }
    }

    /// Sealed logs, with what they were signed as.
    pub(crate) fn sealed(&self) -> Result<Vec<(Period, LogView)>, Rejection> {
        let all = closed_periods::all(&*self.node.engine)?;
        let origins = self.node.origins();
        let each = all.iter().map(|(period, _)| Ok((*period, self.of(&origins.of(*period))?)));
        each.collect()
    }

    fn at(&self, signed: Arc<Signed>) -> LogView {
        let node = Arc::clone(&self.node);
        LogView { node, signed }
    }

    /// Told of every checkpoint.
    pub(crate) fn checkpoints(&self) -> watch::Receiver<Arc<Signed>> {
        self.newest.clone()
    }

    /// The keys of all logs, the oldest first.
    pub(crate) fn vkeys(&self) -> Result<Vec<String>, Error> {
        let growing = self.newest.borrow().log.clone();
        // Its period may be ending just now: then it stands among them already.
        let ended = closed_periods::all(&*self.node.engine)?.into_iter();
        let ended = ended.filter(|(period, _)| *period < growing.period);
        let mut vkeys: Vec<String> = ended.map(|(_, sealed)| sealed.vkey).collect();
        vkeys.push(growing.vkey.to_string());
        Ok(vkeys)
    }

    /// The log of that origin, up to all that is signed; empty: the one that grows. Blocks its
    /// thread: the edge of a sealed log is read from the store.
    ///
    /// # Errors
    /// `LOG_UNKNOWN`.
    pub(crate) fn of(&self, origin: &str) -> Result<LogView, Rejection> {
        let newest = self.newest();
        if newest.is_of(origin) {
            return Ok(self.at(newest));
        }
        let unknown = || Rejection::new(Reason::LogUnknown).field("origin");
        let period = origin.rsplit('/').next().and_then(|period| period.parse().ok());
        let period = Period(period.ok_or_else(unknown)?);
        if self.node.origins().of(period) != origin {
            return Err(unknown());
        }
        let found = closed_periods::of(&*self.node.engine, period)?.ok_or_else(unknown)?;
        let Sealed { vkey, note, size } = found;
        let cosigned = self.cosigned.as_ref().map(|cosigned| cosigned.borrow().clone());
        let note = cosigned.and_then(|all| all.sealed.get(&period).cloned()).unwrap_or(note);
        let edge = edge_at(&*self.node.engine, period, size)?;
        let log = LogName { period, origin: origin.into(), vkey: vkey.into() };
        Ok(self.at(Arc::new(Signed { log, note, edge, at: UnixMillis(0) })))
    }
}

impl LogView {
    /// Entries that are signed.
    pub(crate) fn size(&self) -> u64 {
        self.signed.size()
    }

    pub(crate) fn origin(&self) -> &Arc<str> {
        &self.signed.log.origin
    }

    fn period(&self) -> Period {
        self.signed.log.period
    }

    fn tiles(&self) -> Tiles<'_> {
        Tiles { engine: &*self.node.engine, period: self.period(), edge: &self.signed.edge }
    }

    /// A tile. None: the signed tree has none of that width.
    pub(crate) fn tile(&self, tile: TileId) -> Result<Option<Vec<u8>>, Error> {
        let signed = TileId::of_size(tile.level, tile.index, self.size());
        if signed.is_none_or(|signed| signed.width < tile.width) {
            return Ok(None);
        }
        self.tiles().read_tile(tile).map(Some)
    }

    /// A bundle of entries, as `tile/entries` has it. None: so many are not signed.
    pub(crate) fn bundle(&self, wanted: BundleId) -> Result<Option<Vec<u8>>, Error> {
        let signed = BundleId::of_size(wanted.index, self.size());
        if signed.is_none_or(|signed| signed.width < wanted.width) {
            return Ok(None);
        }
        let from = wanted.index * u64::from(TILE_WIDTH);
        let mut entries = Vec::with_capacity(usize::from(wanted.width));
        self.each(from, from + u64::from(wanted.width), &mut |_, entry| {
            entries.push(entry.to_vec());
            Ok(())
        })?;
        bundle::encode(&entries).map(Some).map_err(|_| Error::Damaged("placement log"))
    }

    /// Every entry in that range. The caller keeps within the signed size.
    pub(crate) fn each(&self, from: u64, until: u64, each: &mut Each<'_>) -> Result<(), Error> {
        each_entry(&*self.node.engine, self.period(), from, until.min(self.size()), each)
    }

    /// An entry and the proof that this log has it.
    ///
    /// # Errors
    /// `ENTRY_UNKNOWN` beyond what is signed.
    pub(crate) fn proof(&self, index: u64) -> Result<(Vec<u8>, TlogProof), Rejection> {
        if index >= self.size() {
            return Err(Rejection::new(Reason::EntryUnknown).field("index"));
        }
        let entry = entry_at(&*self.node.engine, self.period(), index)?;
        let path = proof::inclusion(index, self.size(), &mut self.tiles());
        let path = path.map_err(|_| Error::Damaged("placement log"))?;
        let checkpoint = self.signed.note.clone();
        Ok((entry, TlogProof { extra: None, index, path, checkpoint }))
    }

    /// The proof that the log of `new` entries begins with that of `old`; 0: all that is signed.
    ///
    /// # Errors
    /// `ENTRY_UNKNOWN` beyond what is signed.
    pub(crate) fn consistency(&self, old: u64, new: u64) -> Result<(u64, Vec<Hash>), Rejection> {
        let new = if new == 0 { self.size() } else { new };
        if new > self.size() || old > new {
            return Err(Rejection::new(Reason::EntryUnknown).field("old_size"));
        }
        // A state between two checkpoints has no tiles of its own: its hashes are in wider ones.
        let hashes = proof::consistency(old, new, &mut self.tiles());
        Ok((new, hashes.map_err(|_| Error::Damaged("placement log"))?))
    }
}
