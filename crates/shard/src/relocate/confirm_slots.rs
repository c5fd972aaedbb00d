//! Asks the other shards of the region which slots their stores have. A store that was made, restored or
//! recovered serves a slot once each other shard of the annex has said that its own store does not have
//! it. A store has its ownership rows before it asks, and of two that ask each other neither goes on. So
//! two serve one slot only if the annex of the later one to be confirmed does not name the other, or names
//! both by one name: docs/operations.md says what operators see to.

use std::sync::Arc;
use std::time::Duration;

use link::tls::Tls;
use terms::SlotSet;
use tokio::time::sleep;

use crate::node::Node;
use crate::relocate::drive::Driver;
use crate::relocate::peer_session::{CallEnd, PeerSession};
use crate::relocate::peers::{PeerShard, RegionShards};
use crate::write::command::Errand;
use crate::write::committer::Queue;

/// Time between two questions.
const ASK_EVERY: Duration = Duration::from_secs(1);

impl Driver {
    /// Done once the other shards of the region have confirmed all slots of the store.
    pub(crate) fn confirm_slots(
        &self,
        others: RegionShards,
    ) -> impl Future<Output = ()> + Send + use<> {
        confirm(Arc::clone(&self.node), self.queue.clone(), others.others, self.tls.clone())
    }
}

async fn confirm(node: Arc<Node>, queue: Queue, others: Vec<PeerShard>, tls: Option<Tls>) {
    loop {
        let unconfirmed = node.slots.borrow().unconfirmed.clone();
        if unconfirmed.is_empty() {
            return;
        }
        let mut free = free(&node, &others, tls.as_ref(), unconfirmed).await;
        if others.len() > 1 {
            // One that goes from one of the others to another, asked after it came and before it left, is of
            // neither: it is asked for again. No second move of it begins meanwhile, since this store has it.
            free = self::free(&node, &others, tls.as_ref(), free).await;
        }
        if !free.is_empty() {
            // If the queue is full, the next round does it.
            queue.submit_errand(Errand::ConfirmSlots(free));
        }
        sleep(ASK_EVERY).await;
    }
}

/// Those of the slots that no other shard has. None of them, as long as one has not said so.
async fn free(node: &Node, others: &[PeerShard], tls: Option<&Tls>, of: SlotSet) -> SlotSet {
    let mut free = of;
    for other in others {
        let held = match PeerSession::open(node, tls, other).await {
            Ok(mut session) => session.slots(node).await,
            Err(end) => Err(end),
        };
        let (region, shard) = (&other.region, &other.shard);
        match held {
            Ok(held) => {
                let both = free.and(&held);
                if !both.is_empty()
                    && let Some(unsaid) = node.troubles.allow(node.clock.now())
                {
                    tracing::error!(
                        %region, %shard, slots = %both, unsaid,
                        "another shard of the region has slots that this store has: this one does \
                         not serve them. Move them here (`shard move-slots`), or correct the annex"
                    );
                }
                free = free.without(&held);
            }
            Err(end) => {
                let why = match end {
                    CallEnd::Refused(fault) => fault.reason.as_str(),
                    CallEnd::Broken(why) => why,
                };
                if let Some(unsaid) = node.troubles.allow(node.clock.now()) {
                    tracing::warn!(
                        %region, %shard, why, unsaid,
                        "another shard of the region has not said which slots it has: until then \
                         this one serves none of its new ones"
                    );
                }
                return SlotSet::NONE;
            }
        }
    }
    free
}
