//! The map that a gateway rules by, where its shards are, and the data by which it reads evidence.
//! All of them change while it serves; a call keeps those that it began with.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use atlas::{Annex, Epoch, RegionMap, SignedMap, Succession, VerifiedMap};
use evidence::DatabaseRefused;
use ledger::Signers;
use terms::{Reason, Rejection};
use tokio::sync::{Semaphore, watch};

use crate::map::evidence_data::EvidenceData;
use crate::map::routing::Routing;
use crate::shards::map_versions::MapVersions;

/// Maps of callers that are read at once: each takes a core for a while.
const READING_MAX: usize = 2;

/// What to do when another map comes into force.
type OnNewMap = Box<dyn Fn(&RegionMap) + Send + Sync>;

/// The map in force here, and the shards of its regions.
pub(crate) struct MapState {
    routing: watch::Sender<Arc<Routing>>,
    annexes: Mutex<Vec<Annex>>,
    data: ArcSwap<EvidenceData>,
    signers: Option<Signers>,
    on_new_map: OnNewMap,
    /// The version in force, and those that shards hold.
    pub(crate) versions: Arc<MapVersions>,
    /// Permits to read a map that a caller sent.
    pub(crate) reading: Semaphore,
}

impl MapState {
    pub(crate) fn new(
        routing: Routing,
        annexes: Vec<Annex>,
        data: EvidenceData,
        signers: Option<Signers>,
        on_new_map: OnNewMap,
    ) -> Self {
        let versions = Arc::new(MapVersions::new(routing.map().epoch()));
        let (routing, annexes) = (watch::Sender::new(Arc::new(routing)), Mutex::new(annexes));
        Self {
            routing,
            annexes,
            data: ArcSwap::from_pointee(data),
            signers,
            on_new_map,
            versions,
            reading: Semaphore::new(READING_MAX),
        }
    }

    /// The map and the shards at present, for one call.
    pub(crate) fn pin(&self) -> Arc<Routing> {
        Arc::clone(&self.routing.borrow())
    }

    /// The data by which evidence is read at present, for one call.
    pub(crate) fn data(&self) -> Arc<EvidenceData> {
        self.data.load_full()
    }

    /// Reports changes of map and annexes.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Routing>> {
        self.routing.subscribe()
    }

    /// Opens a map that a caller or a shard sent.
    ///
    /// # Errors
    /// `MAP_UNSIGNED`, also when no keys are known; `MAP_INVALID`.
    pub(crate) fn open(&self, signed: &SignedMap) -> Result<VerifiedMap, Rejection> {
        let Some(signers) = &self.signers else {
            return Err(Rejection::new(Reason::MapUnsigned)
                .field("map")
                .problem("this gateway knows no signers of maps")
                .cure("name `map_signers` in its configuration and in those of the shards"));
        };
        signed.open(|note| signers.signed_by(note))
    }

    /// Whether it takes maps from shards and callers at all.
    pub(crate) const fn takes_maps(&self) -> bool {
        self.signers.is_some()
    }

    /// Takes a map that a shard holds, if it may follow the one in force. Where maps between them are
    /// missing, what it widens is not known: then two people must have signed, and `vouched` must
    /// report that shards of more than one region hold it, since a signed map may never have been
    /// applied.
    ///
    /// # Errors
    /// As [`atlas::succeeds`].
    pub(crate) fn take(
        &self,
        verified: &VerifiedMap,
        vouched: impl FnOnce(Epoch) -> bool,
    ) -> Result<Succession, Rejection> {
        let annexes = self.annexes();
        let own = self.pin();
        let next = &verified.map;
        let succession = match atlas::succeeds(Some(own.map()), next, verified.by.len()) {
            Err(gap) if gap.reason == Reason::MapGap && vouched(next.epoch()) => {
                atlas::succeeds(None, next, verified.by.len()).map_err(|_| gap)?
            }
            other => other?,
        };
        if succession == Succession::Next {
            (self.on_new_map)(next);
            self.versions.set_own(next.epoch());
            self.routing.send_replace(Arc::new(own.next(Arc::clone(next), &annexes)));
            let by = verified.by.join(", ");
            tracing::info!(map_epoch = next.epoch().number, by, "a region map came into force");
        }
        drop(annexes);
        Ok(succession)
    }

    /// This lock is held while routing changes, so that no change is lost.
    fn annexes(&self) -> std::sync::MutexGuard<'_, Vec<Annex>> {
        self.annexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_annexes(&self, new: Vec<Annex>) {
        let mut annexes = self.annexes();
        *annexes = new;
        let own = self.pin();
        self.routing.send_replace(Arc::new(own.next(Arc::clone(own.map()), &annexes)));
        drop(annexes);
        self.versions.notify();
    }
}

/// Changes what may change while a gateway serves.
#[derive(Clone)]
pub struct Handle(Arc<MapState>);

impl Handle {
    pub(crate) fn of(map: &Arc<MapState>) -> Self {
        Self(Arc::clone(map))
    }

    /// The map in force.
    pub fn map(&self) -> Arc<RegionMap> {
        Arc::clone(self.0.pin().map())
    }

    /// Replaces the IP database from the next call on; gives its version.
    ///
    /// # Errors
    /// [`DatabaseRefused`]: then the old one stays.
    pub fn set_ip_database(&self, bytes: Vec<u8>) -> Result<String, DatabaseRefused> {
        let data = EvidenceData::new(self.0.data().sources.with_ip_database(bytes)?);
        let version = data.ip.clone();
        self.0.data.store(Arc::new(data));
        Ok(version)
    }

    /// Waits until another map than that one is in force, and gives it.
    pub async fn until_other(&self, map: &RegionMap) -> Arc<RegionMap> {
        let mut routing = self.0.routing.subscribe();
        let other = routing.wait_for(|routing| routing.map().epoch() != map.epoch()).await;
        // `self` holds the sender.
        other.map_or_else(|_| self.map(), |routing| Arc::clone(routing.map()))
    }

    /// Where the shards are at present.
    pub fn annexes(&self) -> Vec<Annex> {
        self.0.annexes().clone()
    }

    /// Sets where the shards are. An annex of a region that the map does not have is not used; calls
    /// to a region without an annex are answered `REGION_UNAVAILABLE`.
    pub fn set_annexes(&self, annexes: Vec<Annex>) {
        self.0.set_annexes(annexes);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("map", &self.map().epoch()).finish()
    }
}
