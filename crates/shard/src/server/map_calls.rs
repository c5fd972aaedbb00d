//! The calls of a session that are about region maps. A gateway fetches and offers maps by itself:
//! what it brings is believed for its signatures alone. Operators ask for history and surveys.

use std::sync::Arc;

use atlas::{Date, Moment, SIGNED_MAP_BYTES_MAX, SignedMap, Tenant, Unique};
use bytes::Bytes;
use ledger::entry::Kind;
use terms::{Reason, Rejection};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::policy::asker::Asker;
use crate::policy::map_impact::MapImpact;
use crate::read::reader::Reader;
use crate::reply::answer_room::AnswerRoom;
use crate::reply::{Outcome, ReplySlot, busy};
use crate::server::decode::GatewayCall;
use crate::store::index_state::IndexesBuilding;
use crate::store::region_maps;
use crate::store::types::EpochNumber;
use crate::write::command::{Errand, MapOp};
use crate::write::question::{NotedAnswer, Question};

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
    pub(crate) fn of_gateway(&self, reply: ReplySlot, call: GatewayCall, room: &AnswerRoom) {
        match call {
            GatewayCall::MapFetch { epoch, after } => {
                self.fetch(reply, epoch, after, room.clone());
            }
            GatewayCall::MapOffer(map) => self.offer(reply, map),
            GatewayCall::LocateKey => reply.send(Outcome::LocateKey(self.locate_key())),
            GatewayCall::IndexStatus => self.index_status(reply),
            GatewayCall::TransitKey => reply.send(self.transit_key()),
        }
    }

    /// The key by which subjects are asked for, if the map lets any tenant ask.
    fn locate_key(&self) -> Option<Bytes> {
        let asks = |tenant: &Tenant| tenant.locate() || tenant.unique() == Unique::Reachable;
        let node = &self.reader.node;
        let allowed = node.map().tenants().any(asks);
        allowed.then(|| Bytes::copy_from_slice(node.namer.locate_key()))
    }

    /// The key to which callers seal bodies now.
    fn transit_key(&self) -> Outcome {
        let node = &self.reader.node;
        let note = node.transit.published(node.now());
        let internal = || Rejection::new(Reason::Internal).into();
        note.map_or_else(internal, |note| Outcome::TransitKey((*note).to_owned()))
    }

    /// Two rows are read: it takes the turn of a fetch.
    fn index_status(&self, reply: ReplySlot) {
        let Ok(turn) = Arc::clone(&self.turns.fetches).try_acquire_owned() else {
            return reply.send(busy());
        };
        let node = Arc::clone(&self.reader.node);
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let slots = node.slots.borrow().all();
            let building = IndexesBuilding::read(&*node.engine, &slots);
            let outcome = building.map(Outcome::Indexes);
            reply.send(outcome.unwrap_or_else(|error| Outcome::Rejected(error.into())));
        });
    }

    /// A map takes room among the session's answers until its gateway has taken it, and waits for
    /// it before it waits for its turn: a gateway that takes nothing keeps no other from maps.
    fn fetch(&self, mut reply: ReplySlot, epoch: EpochNumber, after: bool, room: AnswerRoom) {
        let (turns, node) = (Arc::clone(&self.turns), Arc::clone(&self.reader.node));
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
                    Ok(found) => found.map(|taken| taken.signed),
                    Err(error) => return reply.send(Outcome::Rejected(error.into())),
                };
                reply.fit_room(found.as_ref().map_or(0, SignedMap::bytes));
                reply.send(Outcome::Map(found));
            });
        });
    }

    fn offer(&self, reply: ReplySlot, offered: SignedMap) {
        let (turns, queue) = (Arc::clone(&self.turns), self.reader.queue.clone());
        let signers = self.signers.clone();
        tokio::spawn(async move {
            let Ok(waiting) = turns.waiting.try_acquire() else { return reply.send(busy()) };
            let Ok(turn) = Arc::clone(&turns.offers).acquire_owned().await else { return };
            drop(waiting);
            tokio::task::spawn_blocking(move || {
                let _turn = turn;
                match region_maps::open(offered.trimmed(), signers.as_deref()) {
                    Ok(offered) => queue.submit_errand(Errand::Map(MapOp { reply, offered })),
                    Err(fault) => reply.send(fault.into()),
                }
            });
        });
    }

    /// A page of the history takes room, too.
    pub(crate) fn history(&self, mut reply: ReplySlot, after: EpochNumber, room: AnswerRoom) {
        let (turns, node) = (Arc::clone(&self.turns), Arc::clone(&self.reader.node));
        tokio::spawn(async move {
            let Some(taken) = room.take(HISTORY_PAGE_BYTES_MAX).await else { return };
            reply.room = Some(taken);
            let Ok(turn) = Arc::clone(&turns.fetches).acquire_owned().await else { return };
            tokio::task::spawn_blocking(move || {
                let page = region_maps::history(&*node.engine, after);
                drop(turn);
                let outcome = page.map(|(maps, more)| Outcome::History { maps, more });
                reply.send(outcome.unwrap_or_else(|error| Outcome::Rejected(error.into())));
            });
        });
    }

    /// What a map would do to the subjects of this shard, on that day or today. An operator asks.
    pub(crate) fn impact(
        &self,
        reply: ReplySlot,
        deadline: Instant,
        asker: Asker,
        map: SignedMap,
        day: Option<u32>,
    ) {
        let Ok(turn) = Arc::clone(&self.turns.surveys).try_acquire_owned() else {
            return reply.send(busy());
        };
        let reader = self.reader.clone();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let judged = map.read().and_then(|next| {
                let today = || Moment::of(reader.node.now());
                let date = day.map_or_else(today, |day| Date::from_day(day.into()).into());
                let impact =
                    MapImpact { node: &reader.node, next: &next, date, deadline }.walk()?;
                Ok((region_maps::map_ref(&next), impact))
            });
            match judged {
                Ok((map, impact)) => {
                    let count = impact.subjects.at_least;
                    let answer = NotedAnswer::Session(reply, Box::new(Outcome::Impact(impact)));
                    let why =
                        "a plan: standing rulings made again under this map, and counted".into();
                    // The asker's role alone decides.
                    let (who, collection, judged) = (asker.who, None, None);
                    let kind = Kind::Count;
                    let question =
                        Question { kind, answer, who, collection, judged, map, count, why };
                    reader.queue.submit_errand(Errand::Note(Box::new(question)));
                }
                Err(fault) => reply.send(fault.into()),
            }
        });
    }
}
