//! The map that a gateway rules by, where its shards are, and the data by which it reads evidence.
//! All change while it serves; a call keeps those that it began with.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use atlas::{Annex, Epoch, RegionMap, SignedMap, Succession, VerifiedMap};
use evidence::DatabaseRefused;
use ledger::Signers;
use terms::{Reason, Rejection};
use tokio::sync::{Notify, Semaphore, watch};

use crate::api::response::Data;
use crate::map::routing::Routing;
use crate::shards::session::Session;

/// Maps that are read at once because somebody asks.
const READING_MAX: usize = 2;

/// What is done when another map is in force.
type Follow = Box<dyn Fn(&RegionMap) + Send + Sync>;

/// The map in force here, and the shards of its regions.
pub(crate) struct Charts {
    routing: watch::Sender<Arc<Routing>>,
    annexes: Mutex<Vec<Annex>>,
    data: ArcSwap<Data>,
    signers: Option<Signers>,
    follow: Follow,
    /// Told when a shard has said which map it holds, and when shards are elsewhere.
    stir: Notify,
    /// Maps that are read at once because somebody asks: each is a core's work.
    pub(crate) reading: Semaphore,
}

impl Charts {
    pub(crate) fn new(
        routing: Routing,
        annexes: Vec<Annex>,
        data: Data,
        signers: Option<Signers>,
        follow: Follow,
    ) -> Self {
        let (routing, annexes) = (watch::Sender::new(Arc::new(routing)), Mutex::new(annexes));
        Self {
            routing,
            annexes,
            data: ArcSwap::from_pointee(data),
            signers,
            follow,
            stir: Notify::new(),
            reading: Semaphore::new(READING_MAX),
        }
    }

    /// The map and the shards of now, for one call.
    pub(crate) fn pin(&self) -> Arc<Routing> {
        Arc::clone(&self.routing.borrow())
    }

    /// The data by which evidence is read now, for one call.
    pub(crate) fn data(&self) -> Arc<Data> {
        self.data.load_full()
    }

    /// A shard has said which map it holds.
    pub(crate) fn heard(&self, session: &Session, number: u64, digest: &[u8]) {
        let Ok(digest) = digest.try_into() else { return };
        let epoch = Epoch { number, digest };
        if session.map() == Some(epoch) {
            return;
        }
        session.heard_map(epoch);
        let peer = &session.peer;
        let own = self.pin().map().epoch();
        if own != epoch {
            tracing::info!(
                region = %peer.region,
                shard = %peer.shard,
                map_epoch = number,
                own = own.number,
                "gateway and shard hold different maps: the shard rules by its own"
            );
            self.stir.notify_one();
        }
    }

    /// Tells whoever keeps up the sessions that map or annexes have changed.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Routing>> {
        self.routing.subscribe()
    }

    /// Done when a shard has said something of maps.
    pub(crate) async fn stirred(&self) {
        self.stir.notified().await;
    }

    /// Opens a map that somebody brings.
    ///
    /// # Errors
    /// `MAP_UNSIGNED`, also when no keys are known; `MAP_INVALID`.
    pub(crate) fn open(&self, signed: &SignedMap) -> Result<VerifiedMap, Rejection> {
        let Some(signers) = &self.signers else {
            let fault = Rejection::new(Reason::MapUnsigned).field("map");
            return Err(fault
                .problem("this gateway knows no signers of maps")
                .cure("name `map_signers` in its configuration and in those of the shards"));
        };
        signed.open(|note| signers.signed_by(note))
    }

    /// Whether maps may come from others at all.
    pub(crate) const fn follows(&self) -> bool {
        self.signers.is_some()
    }

    /// Takes a map that a shard holds, if it may follow ours. Where maps between are missing, two
    /// people must have signed, since nobody can say what it widens, and `vouched` must say that
    /// shards of more than one region hold it: it may be signed and never have been applied.
    ///
    /// # Errors
    /// As [`atlas::succeeds`].
    pub(crate) fn take(
        &self,
        sealed: &VerifiedMap,
        vouched: impl FnOnce(Epoch) -> bool,
    ) -> Result<Succession, Rejection> {
        let annexes = self.annexes();
        let own = self.pin();
        let next = &sealed.map;
        let succession = match atlas::succeeds(Some(own.map()), next, sealed.by.len()) {
            Err(gap) if gap.reason == Reason::MapGap && vouched(next.epoch()) => {
                atlas::succeeds(None, next, sealed.by.len()).map_err(|_| gap)?
            }
            other => other?,
        };
        if succession == Succession::Next {
            (self.follow)(next);
            self.routing.send_replace(Arc::new(own.next(Arc::clone(next), &annexes)));
            let by = sealed.by.join(", ");
            tracing::info!(map_epoch = next.epoch().number, by, "a region map came into force");
        }
        drop(annexes);
        Ok(succession)
    }

    /// The lock on annexes is held while routing changes, so that no change is lost.
    fn annexes(&self) -> std::sync::MutexGuard<'_, Vec<Annex>> {
        self.annexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_annexes(&self, new: Vec<Annex>) {
        let mut annexes = self.annexes();
        *annexes = new;
        let own = self.pin();
        self.routing.send_replace(Arc::new(own.next(Arc::clone(own.map()), &annexes)));
        drop(annexes);
        self.stir.notify_one();
    }
}

/// A hold on what changes while a gateway serves.
#[derive(Clone)]
pub struct Handle(Arc<Charts>);

impl Handle {
    pub(crate) fn of(charts: &Arc<Charts>) -> Self {
        Self(Arc::clone(charts))
    }

    /// The map in force.
    pub fn map(&self) -> Arc<RegionMap> {
        Arc::clone(self.0.pin().map())
    }

    /// What evidence is read by with another IP database, from the next call on; which one it is
    /// now.
    ///
    /// # Errors
    /// [`DatabaseRefused`]: then the old one stays.
    pub fn set_ip_database(&self, bytes: Vec<u8>) -> Result<String, DatabaseRefused> {
        let data = Data::new(self.0.data().sources.with_ip_database(bytes)?);
        let version = data.ip_database().to_owned();
        self.0.data.store(Arc::new(data));
        Ok(version)
    }

    /// Done when another map is in force than that one.
    pub async fn until_other(&self, map: &RegionMap) -> Arc<RegionMap> {
        let mut routing = self.0.routing.subscribe();
        let other = routing.wait_for(|routing| routing.map().epoch() != map.epoch()).await;
        // The sender is in the same hands as this receiver.
        other.map_or_else(|_| self.map(), |routing| Arc::clone(routing.map()))
    }

    /// Where the shards are now.
    pub fn annexes(&self) -> Vec<Annex> {
        self.0.annexes().clone()
    }

    /// Where the shards are from now on. An annex of a region that the map does not have leads
    /// nowhere; the people of a region without one are answered `REGION_UNAVAILABLE`.
    pub fn set_annexes(&self, annexes: Vec<Annex>) {
        self.0.set_annexes(annexes);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("map", &self.map().epoch()).finish()
    }
}
