//! The calls of a session that are about region maps. A gateway fetches and offers maps by itself:
//! what it brings is believed for its signatures alone. Operators ask for history and surveys.

use std::sync::Arc;

use atlas::{Date, SignedMap};
use terms::{Fault, Reason};
use tokio::sync::Semaphore;
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome as Told;

use crate::committer::busy;
use crate::maps::{self, Taken};
use crate::op::{Outcome, ReplySlot};
use crate::prepare::Asker;
use crate::reads::Reader;
use crate::survey::Survey;
use crate::take_map::{Errand, MapOp, Noted};

/// What calls about maps need.
#[derive(Clone)]
pub(crate) struct MapCalls {
    pub(crate) reader: Reader,
    pub(crate) signers: Option<Arc<ledger::Signers>>,
    /// One walk over all subjects at a time, and one map being read: either is a core's work.
    pub(crate) turn: Arc<Semaphore>,
}

impl MapCalls {
    /// For all sessions of one shard.
    pub(crate) fn new(reader: Reader, signers: Option<ledger::Signers>) -> Self {
        Self { reader, signers: signers.map(Arc::new), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Answers a call of the gateway itself, for which there is no caller.
    pub(crate) fn of_gateway(&self, reply: ReplySlot, op: Op) {
        match op {
            Op::MapFetch(fetch) => self.fetch(reply, &fetch),
            Op::MapOffer(offer) => self.offer(reply, offer),
            _ => reply.send(Fault::new(Reason::Internal).into()),
        }
    }

    /// Answers a call of an operator.
    pub(crate) fn of_operator(&self, reply: ReplySlot, asker: Asker, op: Op) {
        match op {
            Op::MapHistory(_) => self.history(reply),
            Op::Survey(survey) => self.survey(reply, asker, survey),
            _ => reply.send(Fault::new(Reason::Internal).into()),
        }
    }

    fn fetch(&self, reply: ReplySlot, fetch: &proto::MapFetch) {
        let (node, epoch, after) = (Arc::clone(&self.reader.node), fetch.epoch, fetch.after);
        tokio::task::spawn_blocking(move || {
            let engine = &*node.engine;
            let found =
                if after { maps::after(engine, epoch) } else { maps::exactly(engine, epoch) };
            let told = found.map(|found| {
                let signed = found.map_or_else(SignedMap::default, |taken| taken.signed);
                Outcome::Told(Told::Map(to_wire(signed)))
            });
            reply.send(told.unwrap_or_else(|error| Outcome::Fault(error.into())));
        });
    }

    fn offer(&self, reply: ReplySlot, offer: proto::MapOffer) {
        let Ok(turn) = Arc::clone(&self.turn).try_acquire_owned() else {
            return reply.send(busy());
        };
        let (queue, signers) = (self.reader.queue.clone(), self.signers.clone());
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let signed = from_wire(offer.map.unwrap_or_default());
            match maps::open(signed, signers.as_deref()) {
                Ok(offered) => queue.submit_errand(Errand::Map(MapOp { reply, offered })),
                Err(fault) => reply.send(fault.into()),
            }
        });
    }

    fn history(&self, reply: ReplySlot) {
        let node = Arc::clone(&self.reader.node);
        tokio::task::spawn_blocking(move || {
            let told = maps::history(&*node.engine).map(|all| {
                let maps = all.into_iter().map(|(epoch, taken)| taken_to_wire(epoch, taken));
                Outcome::Told(Told::History(proto::MapsTaken { maps: maps.collect() }))
            });
            reply.send(told.unwrap_or_else(|error| Outcome::Fault(error.into())));
        });
    }

    fn survey(&self, reply: ReplySlot, asker: Asker, survey: proto::Survey) {
        let Ok(turn) = Arc::clone(&self.turn).try_acquire_owned() else {
            return reply.send(busy());
        };
        let reader = self.reader.clone();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let signed = from_wire(survey.map.unwrap_or_default());
            let surveyed = signed.read().and_then(|next| {
                let today = Date::of(reader.node.now());
                let date = if survey.day == 0 { today } else { Date::from_day(survey.day.into()) };
                let surveyed = Survey { node: &reader.node, next: &next, date }.walk()?;
                Ok((maps::map_ref(&next), surveyed))
            });
            match surveyed {
                Ok((map, surveyed)) => {
                    let (count, caller) = (surveyed.subjects, Arc::clone(&asker.caller));
                    let outcome = Outcome::Told(Told::Surveyed(surveyed));
                    let tenant_tag = asker.tenant_tag;
                    let noted = Noted { reply, outcome, tenant_tag, caller, map, count };
                    reader.queue.submit_errand(Errand::Note(Box::new(noted)));
                }
                Err(fault) => reply.send(fault.into()),
            }
        });
    }
}

fn from_wire(map: proto::SignedMap) -> SignedMap {
    SignedMap { text: map.text, note: map.note, packs: map.packs }
}

fn to_wire(map: SignedMap) -> proto::SignedMap {
    proto::SignedMap { text: map.text, note: map.note, packs: map.packs }
}

fn taken_to_wire(epoch: u64, taken: Taken) -> proto::MapTaken {
    let digest = taken.digest.to_vec().into();
    let map = Some(proto::MapRef { epoch, digest });
    proto::MapTaken { map, minute: taken.minute, signers: taken.by }
}
