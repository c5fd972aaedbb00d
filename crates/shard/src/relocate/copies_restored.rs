//! After a restore or a recovery of this store, other regions may have copies of versions and of people that it
//! does not know any more. They are asked, erase all copies of records from here, and what the rules want of
//! what is here is copied again. Until all of them have, no erasure here is done.

use std::collections::HashSet;

use bytes::Bytes;
use engine::Key;
use ledger::entry::CopyEnd;
use terms::{Collection, Rejection, SubjectId, TenantId};
use tokio::sync::oneshot;
use wire::session as proto;
use wire::session::copied::State;
use wire::session::copy_call::Step;

use crate::Error;
use crate::node::Node;
use crate::policy::copies::mirrors_by;
use crate::relocate::copies_due::{call_of, log_now};
use crate::relocate::drive::{Driver, Halt};
use crate::relocate::peer_session::PeerSession;
use crate::relocate::peers::PeerShard;
use crate::store::copy_keys;
use crate::store::copy_mark::{CopyMark, MarkState};
use crate::write::command::Errand;

/// Copies of which one answer may speak, and that are erased together.
const ERASED_AT_ONCE: usize = 256;

impl Driver {
    /// Has all copies erased of which this store may not know, if it was restored. `has_read`: annexes that are
    /// not here by now are not to come.
    pub(super) async fn take_back_copies(&self, has_read: bool) -> Result<(), Halt> {
        if !self.blocking(is_restored).await? {
            return Ok(());
        }
        let (map, mut whole) = (self.node.map(), Ok(()));
        for region in mirrors_by(&map, &self.node.region) {
            if has_read && !self.peers.has(&region) {
                // From here nothing can be sent there.
                continue;
            }
            let none = || Halt::Later(format!("there is no annex of region {region} that counts"));
            for peer in self.peers.shards(&map, &region).ok_or_else(none)? {
                whole = self.take_back_from(&peer).await.and(whole);
            }
        }
        whole?;
        let (sender, done) = oneshot::channel();
        let rows = vec![copy_keys::RESTORED_HOME.to_vec()];
        self.queue.submit_errand(Errand::Clear(rows, sender));
        done.await.map_err(|_| Halt::Later("a step was not answered".to_owned()))
    }

    /// The same of one shard.
    async fn take_back_from(&self, peer: &PeerShard) -> Result<(), Halt> {
        let mut session = PeerSession::open(&self.node, self.tls.as_ref(), peer).await?;
        let mut after = Bytes::new();
        loop {
            let proto::CopiesHeld { all, after: next } =
                session.held_copies(&self.node, after).await?;
            if all.len() > ERASED_AT_ONCE {
                return Err(Halt::Later("the other shard answers more than it may".to_owned()));
            }
            let mut marks = Vec::new();
            for of in all {
                marks.push(self.named(of, peer)?);
            }
            self.erase_there(&mut session, &marks).await?;
            for (key, mark) in &marks {
                self.check_mark(mark, key, true).await?;
            }
            if next.is_empty() {
                return Ok(());
            }
            after = next;
        }
    }

    /// Has one shard erase all copies of some collections of people.
    async fn erase_there(
        &self,
        session: &mut PeerSession,
        marks: &[(Key, CopyMark)],
    ) -> Result<(), Halt> {
        let (origin, index) = log_now(&self.node);
        let mut left: HashSet<usize> = (0..marks.len()).collect();
        while !left.is_empty() {
            let asked: Vec<usize> = left.iter().copied().collect();
            let of = asked.iter().filter_map(|n| marks.get(*n));
            let calls = of.map(|(_, mark)| {
                let step = Step::Drop(CopyEnd::Withdrawn.as_str().to_owned());
                (mark.owner.tenant.clone(), call_of(mark, &origin, index, step))
            });
            let answers = session.copies(&self.node, calls.collect()).await?;
            for (n, answer) in asked.into_iter().zip(answers) {
                match answer {
                    Ok(State::Done | State::None) => {
                        left.remove(&n);
                    }
                    Ok(State::Unfinished) => {}
                    Ok(State::Stale | State::Unspecified) => {
                        let why = "the other region knows something later of this shard's log";
                        return Err(Halt::Later(why.to_owned()));
                    }
                    Err(fault) => return Err(Halt::Later(fault.reason.as_str().to_owned())),
                }
            }
        }
        Ok(())
    }

    /// The key of the mark of copies that the other shard has named, and what stands there if nothing does.
    fn named(&self, of: proto::CopiesOf, peer: &PeerShard) -> Result<(Key, CopyMark), Halt> {
        let proto::CopiesOf { tenant, subject, collection } = of;
        let tenant = TenantId::parse(&tenant).map_err(|why| Rejection::id("tenant", why))?;
        let subject = SubjectId::parse(&subject).map_err(|why| Rejection::id("subject.id", why))?;
        let collection = Collection::parse(&collection);
        let collection = collection.map_err(|why| Rejection::id("collection", why))?;
        let owner = self.node.namer.owner(tenant, subject);
        let (mirror, state) = (peer.region.clone(), MarkState::Gone);
        let key = copy_keys::mark(&owner, self.node.namer.copy_set(&collection, &mirror));
        Ok((key, CopyMark { owner, collection, mirror, state }))
    }
}

/// Whether the store was restored, and other regions are still to be asked. Blocks its thread.
fn is_restored(node: &Node) -> Result<bool, Rejection> {
    let row = node.engine.get_many(&[copy_keys::RESTORED_HOME]).map_err(Error::from)?;
    Ok(row.into_iter().flatten().next().is_some())
}
