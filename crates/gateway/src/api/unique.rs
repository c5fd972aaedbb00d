//! Writes that may create their subject, where the map wants ids to be unique among regions. The shard
//! says whether the subject would be created, with a ticket. Then the id is claimed at all other regions,
//! and the write goes to the same shard once more, with the ticket. `shard/store/claims.rs` says why two
//! regions that reach each other never both create one id.

use atlas::Unique;
use bytes::Bytes;
use terms::{Reason, RegionId, Rejection, SubjectId};
use tokio::time::Instant;
use wire::session::claimed::Outcome as Claimed;
use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1;

use crate::api::context::{Admitted, CallContext};
use crate::api::locate::{Questions, missing};
use crate::api::pinned_map::PinnedMap;
use crate::map::routing::Route;
use crate::shards::in_flight::Effect;
use crate::shards::session::ShardAnswer;

/// A write that may create its subject.
pub(crate) struct Creation<'a> {
    pub(crate) ctx: &'a CallContext,
    pub(crate) pinned: &'a PinnedMap,
    pub(crate) admitted: &'a Admitted,
    pub(crate) subject: &'a SubjectId,
    pub(crate) deadline: Instant,
    pub(crate) validate_only: bool,
}

/// The regions that could not be asked for the id.
pub(crate) type Unreachable = Vec<v1::RegionMissing>;

impl Creation<'_> {
    /// Sends the write, of so many bytes. Where its subject is created, the regions that could not be
    /// asked come with the answer.
    ///
    /// # Errors
    /// As a call of a shard; `SUBJECT_ELSEWHERE`, `UNIQUENESS_UNSETTLED`.
    pub(crate) async fn send(
        &self,
        route: Route<'_>,
        op: Op,
        bytes: usize,
    ) -> Result<(ShardAnswer, Unreachable), Rejection> {
        let region = route.region().clone();
        let effect = Effect::of_write(self.validate_only);
        let call = |op| self.admitted.shard_call(&region, self.deadline, effect, bytes, op);
        let again = self.may_be_asked().then(|| op.clone());
        let answer = route.send(call(op)?).await?;
        let Some(ticket) = ticket(&answer) else { return Ok((answer, Unreachable::new())) };
        let mut op = again.ok_or(Reason::MapsDiffer)?;
        if let Op::Put(put) = &mut op {
            put.asked = ticket;
        } else if let Op::Create(create) = &mut op {
            create.asked = ticket;
        } else if let Op::Upload(upload) = &mut op {
            upload.put.get_or_insert_default().asked = ticket;
        }
        let unreachable = self.claim(&region).await?;
        let answer = self.again(&region)?.send(call(op)?).await?;
        settled(&answer)?;
        Ok((answer, unreachable))
    }

    /// Whether the map says that other regions are to be asked. If the shard's own alone says so, the
    /// two of them differ.
    pub(crate) fn may_be_asked(&self) -> bool {
        let tenant = self.pinned.routing.map().tenant(&self.admitted.acting.caller.tenant);
        tenant.is_some_and(|tenant| tenant.unique() == Unique::Reachable)
    }

    /// The route once more. Should another shard have the slot by now, it asks again: the ticket is not
    /// its own.
    pub(crate) fn again(&self, region: &RegionId) -> Result<Route<'_>, Rejection> {
        let tenant = &self.admitted.acting.caller.tenant;
        self.pinned.routing.domicile(region, tenant, self.subject)
    }

    /// Claims the id for a region at all others. Gives those that could not be asked.
    pub(crate) async fn claim(&self, home: &RegionId) -> Result<Unreachable, Rejection> {
        let Self { ctx, pinned, admitted, subject, deadline, validate_only } = *self;
        let questions = Questions { ctx, pinned, admitted, subject, deadline };
        let regions = pinned.routing.map().regions().iter().map(atlas::Region::name);
        let others = regions.filter(|region| *region != home);
        let op = |question: Bytes| {
            Op::Claim(proto::Claim { question, region: home.as_str().to_owned(), validate_only })
        };
        let (mut unreachable, mut contended) = (Unreachable::new(), false);
        for (region, outcome) in questions.ask(others, op).await {
            let claimed = match outcome {
                Ok(Outcome::Claimed(claimed)) => claimed.outcome(),
                Ok(_) => return Err(Reason::Internal.into()),
                Err(rejection) => {
                    unreachable.push(missing(&region, &rejection));
                    continue;
                }
            };
            match claimed {
                Claimed::Free => {}
                Claimed::Contended => contended = true,
                // Which one it is, a law may keep from this caller.
                Claimed::Held => {
                    return Err(Rejection::new(Reason::SubjectElsewhere).field("subject.id"));
                }
                Claimed::Unspecified => return Err(Reason::Internal.into()),
            }
        }
        if contended {
            return Err(unsettled());
        }
        Ok(unreachable)
    }
}

/// Refuses an answer that asks once more: the ticket has run out meanwhile.
pub(crate) fn settled(answer: &ShardAnswer) -> Result<(), Rejection> {
    if ticket(answer).is_some() { Err(unsettled()) } else { Ok(()) }
}

/// The ticket of an answer that asks for the other regions to be asked first.
pub(crate) fn ticket(answer: &ShardAnswer) -> Option<Bytes> {
    let Outcome::AskFirst(first) = &answer.outcome else { return None };
    Some(first.ticket.clone())
}

fn unsettled() -> Rejection {
    Rejection::new(Reason::UniquenessUnsettled).field("subject.id")
}
