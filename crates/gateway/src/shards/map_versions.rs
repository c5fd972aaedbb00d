//! Which map the gateway and its shards hold, as far as sessions need to know.

use std::sync::{Mutex, PoisonError};

use atlas::Epoch;
use tokio::sync::Notify;

use crate::shards::session::Session;

/// The version of the map that the gateway rules by, and the news that a shard holds another.
pub(crate) struct MapVersions {
    own: Mutex<Epoch>,
    news: Notify,
}

impl MapVersions {
    pub(crate) fn new(own: Epoch) -> Self {
        Self { own: Mutex::new(own), news: Notify::new() }
    }

    /// The version that the gateway rules by.
    pub(crate) fn own(&self) -> Epoch {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_own(&self, epoch: Epoch) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = epoch;
    }

    /// A shard has reported which map it holds.
    pub(crate) fn shard_holds(&self, session: &Session, number: u64, digest: &[u8]) {
        let Ok(digest) = digest.try_into() else { return };
        let epoch = Epoch { number, digest };
        if session.map() == Some(epoch) {
            return;
        }
        session.set_map(epoch);
        let (target, own) = (&session.target, self.own());
        if own != epoch {
            tracing::info!(
                region = %target.region,
                shard = %target.shard,
                map_epoch = number,
                own = own.number,
                "gateway and shard hold different maps: the shard rules by its own"
            );
            self.notify();
        }
    }

    /// There is reason to compare maps.
    pub(crate) fn notify(&self) {
        self.news.notify_one();
    }

    /// Done when there is reason to compare maps.
    pub(crate) async fn notified(&self) {
        self.news.notified().await;
    }
}
