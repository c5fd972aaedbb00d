//! The calls of a session that are about region maps. A gateway fetches and offers maps by itself:
//! what it brings is believed for its signatures alone. Operators ask for history and surveys.

use std::sync::Arc;

use atlas::{Date, Moment, SIGNED_MAP_BYTES_MAX, SignedMap};
use terms::{Reason, Rejection};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome as Told;

use crate::policy::map_impact::MapImpact;
use crate::read::reader::Reader;
use crate::server::answer_room::AnswerRoom;
use crate::server::decode::Asker;
use crate::store::region_maps;
use crate::store::region_maps::Taken;
use crate::write::admin::{Errand, MapOp, NotedAnswer, Question};
use crate::write::command::{Outcome, ReplySlot};
use crate::write::committer::busy;

/// What calls about maps need.
#[derive(Clone)]
pub(crate) struct MapCalls {
    pub(crate) reader: Reader,
    pub(crate) signers: Option<Arc<ledger::Signers>>,
    turns: Arc<Turns>,
}

/// How much is done at once for calls about maps. Each kind has its own: a long walk over subjects
/// must not keep a shard from taking a map.
struct Turns {
    /// Maps being read, each a core's work. Others wait, a few of them.
    offers: Arc<Semaphore>,
    waiting: Semaphore,
    /// One walk over all subjects.
    surveys: Arc<Semaphore>,
    /// Maps and histories being fetched.
    fetches: Arc<Semaphore>,
}

/// Bytes of one page of the history, at most: names of signers, mostly.
const HISTORY_PAGE_BYTES_MAX: usize = 8 << 20;
/// Offers that may wait for their turn: several gateways bring the same map at once.
const OFFERS_WAITING_MAX: usize = 64;
/// Maps and histories that are fetched at once.
const FETCHES_MAX: usize = 2;

impl MapCalls {
    /// For all sessions of one shard.
    pub(crate) fn new(reader: Reader, signers: Option<ledger::Signers>) -> Self {
        let turns = Turns {
            offers: Arc::new(Semaphore::new(1)),
            waiting: Semaphore::new(OFFERS_WAITING_MAX),
            surveys: Arc::new(Semaphore::new(1)),
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
        };
        Self { reader, signers: signers.map(Arc::new), turns: Arc::new(turns) }
    }

    /// Answers a call of the gateway itself, for which there is no caller.
    pub(crate) fn of_gateway(&self, reply: ReplySlot, op: Op, room: &AnswerRoom) {
        match op {
            Op::MapFetch(fetch) => self.fetch(reply, &fetch, room.clone()),
            Op::MapOffer(offer) => self.offer(reply, offer),
            Op::Put(_)
            | Op::Get(_)
            | Op::Delete(_)
            | Op::Create(_)
            | Op::MapHistory(_)
            | Op::Survey(_) => reply.send(Rejection::new(Reason::Internal).into()),
        }
    }

    /// Answers a call of an operator.
    pub(crate) fn of_operator(
        &self,
        reply: ReplySlot,
        (deadline, asker): (Instant, Asker),
        op: Op,
        room: &AnswerRoom,
    ) {
        match op {
            Op::MapHistory(history) => self.history(reply, history.after, room.clone()),
            Op::Survey(survey) => self.survey(reply, (deadline, asker), survey),
            Op::Put(_)
            | Op::Get(_)
            | Op::Delete(_)
            | Op::Create(_)
            | Op::MapFetch(_)
            | Op::MapOffer(_) => reply.send(Rejection::new(Reason::Internal).into()),
        }
    }

    /// A map takes room among the session's answers until its gateway has taken it, and waits for
    /// it before it waits for its turn: a gateway that takes nothing keeps no other from maps.
    fn fetch(&self, mut reply: ReplySlot, fetch: &proto::MapFetch, room: AnswerRoom) {
        let (turns, node) = (Arc::clone(&self.turns), Arc::clone(&self.reader.node));
        let (epoch, after) = (fetch.epoch, fetch.after);
        tokio::spawn(async move {
            // None: the session has ended.
            let Some(taken) = room.take(SIGNED_MAP_BYTES_MAX).await else { return };
            reply.room = Some(taken);
            let Ok(turn) = Arc::clone(&turns.fetches).acquire_owned().await else { return };
            tokio::task::spawn_blocking(move || {
                let engine = &*node.engine;
                let found = if after {
                    region_maps::after(engine, epoch)
                } else {
                    region_maps::exactly(engine, epoch)
                };
                drop(turn);
                let found = match found {
                    Ok(found) => found.map_or_else(SignedMap::default, |taken| taken.signed),
                    Err(error) => return reply.send(Outcome::Rejected(error.into())),
                };
                reply.fit_room(found.bytes());
                reply.send(Outcome::Told(Told::Map(to_wire(found))));
            });
        });
    }

    fn offer(&self, reply: ReplySlot, offer: proto::MapOffer) {
        let (turns, queue) = (Arc::clone(&self.turns), self.reader.queue.clone());
        let signers = self.signers.clone();
        tokio::spawn(async move {
            let Ok(waiting) = turns.waiting.try_acquire() else { return reply.send(busy()) };
            let Ok(turn) = Arc::clone(&turns.offers).acquire_owned().await else { return };
            drop(waiting);
            tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let signed = from_wire(offer.map.unwrap_or_default()).trimmed();
                match region_maps::open(signed, signers.as_deref()) {
                    Ok(offered) => queue.submit_errand(Errand::Map(MapOp { reply, offered })),
                    Err(fault) => reply.send(fault.into()),
                }
            });
        });
    }

    /// A page of the history takes room, too.
    fn history(&self, mut reply: ReplySlot, after: u64, room: AnswerRoom) {
        let (turns, node) = (Arc::clone(&self.turns), Arc::clone(&self.reader.node));
        tokio::spawn(async move {
            let Some(taken) = room.take(HISTORY_PAGE_BYTES_MAX).await else { return };
            reply.room = Some(taken);
            let Ok(turn) = Arc::clone(&turns.fetches).acquire_owned().await else { return };
            tokio::task::spawn_blocking(move || {
                let page = region_maps::history(&*node.engine, after);
                drop(turn);
                let told = page.map(|(maps, more)| {
                    let maps = maps.into_iter().map(|(epoch, taken)| taken_to_wire(epoch, taken));
                    Outcome::Told(Told::History(proto::MapsTaken { maps: maps.collect(), more }))
                });
                reply.send(told.unwrap_or_else(|error| Outcome::Rejected(error.into())));
            });
        });
    }

    fn survey(&self, reply: ReplySlot, (deadline, asker): (Instant, Asker), survey: proto::Survey) {
        let Ok(turn) = Arc::clone(&self.turns.surveys).try_acquire_owned() else {
            return reply.send(busy());
        };
        let reader = self.reader.clone();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let signed = from_wire(survey.map.unwrap_or_default());
            let surveyed = signed.read().and_then(|next| {
                let date = match survey.day {
                    0 => Moment::of(reader.node.now()),
                    day => Date::from_day(day.into()).into(),
                };
                let surveyed =
                    MapImpact { node: &reader.node, next: &next, date, deadline }.walk()?;
                Ok((region_maps::map_ref(&next), surveyed))
            });
            match surveyed {
                Ok((map, surveyed)) => {
                    let count = surveyed.subjects.as_ref().map_or(0, |subjects| subjects.at_least);
                    let caller = Arc::clone(&asker.caller);
                    let outcome = Box::new(Outcome::Told(Told::Surveyed(surveyed)));
                    let answer = NotedAnswer::Session(reply, outcome);
                    let tenant_tag = Some(asker.tenant_tag);
                    let why = "a plan: standing rulings made again under this map, and counted";
                    let question = Question { answer, tenant_tag, caller, map, count, why };
                    reader.queue.submit_errand(Errand::Note(Box::new(question)));
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
    proto::MapTaken { map, minute: taken.minute.0, signers: taken.by }
}
