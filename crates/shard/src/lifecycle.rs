//! How far a shard's life has come.

use tokio::sync::watch;

/// Whether the shard still answers. It only ever goes on to a later state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Life {
    Serving,
    /// Nothing new is taken; what is queued is finished.
    Draining,
    /// The time to drain is over: what is still connected is left.
    Ended,
    /// A flush failed: nothing is answered any more.
    Poisoned,
}

/// Goes on to a later state; never back.
pub(crate) fn advance(life: &watch::Sender<Life>, to: Life) {
    life.send_if_modified(|life| {
        let later = *life < to;
        if later {
            *life = to;
        }
        later
    });
}
