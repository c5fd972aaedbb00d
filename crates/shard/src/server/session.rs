//! The server of sessions: gateways connect, name the shard that they mean, and send calls.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use atlas::RegionMap;
use link::net::listener::ConnectionInfo;
use link::session::{Frames, FromShard, PROTOCOL};
use link::tls::Tls;
use terms::{Reason, Rejection, limits};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};
use wire::session as proto;
use wire::session::session_server::Session;

use crate::lifecycle::Life;
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::policy::egress::{self, Right};
use crate::read::list::List;
use crate::read::locate::Locate;
use crate::read::person::AboutPerson;
use crate::read::queue::ReadQueue;
use crate::read::reader::{Get, Reader};
use crate::reply::answer_room::{AnswerRoom, Stalls};
use crate::reply::{ReplySlot, busy};
use crate::server::decode::{Call, CallerCall, Prepare, Write};
use crate::server::handshake;
use crate::server::handshake::Gateway;
use crate::server::list_calls::ListCalls;
use crate::server::map_calls::MapCalls;
use crate::server::move_calls::AskMoves;
use crate::server::proof_waiter::ProofWaiter;
use crate::server::put_all::{PutAll, put_all};
use crate::server::write_calls::Sent;
use crate::server::{decode, encode, peer_calls, upload_calls};
use crate::store::region_maps;
use crate::store::slots::OwnSlots;
use crate::store::types::EpochNumber;

/// Bodies from this size on are sealed on a thread that may be busy for a while.
const LARGE_BODY_BYTES: usize = 32 << 10;
/// Bytes that a write takes up beside its body.
const OP_BYTES: usize = 512;
/// Time in which a gateway must name the shard that it means.
const HELLO_MAX: Duration = Duration::from_secs(10);

/// Takes sessions. Clones share the shard.
#[derive(Clone)]
pub(crate) struct Sessions {
    /// None: plaintext, from this machine.
    pub(crate) tls: Option<Tls>,
    pub(crate) reader: Reader,
    pub(crate) map_calls: MapCalls,
    pub(crate) list_calls: ListCalls,
    pub(crate) prover: ProofWaiter,
    pub(crate) life: watch::Receiver<Life>,
    pub(crate) stalls: Stalls,
}

type Outgoing = std::pin::Pin<Box<dyn Stream<Item = Result<proto::ToGateway, Status>> + Send>>;

#[tonic::async_trait]
impl Session for Sessions {
    type OpenStream = Outgoing;

    async fn open(
        &self,
        request: Request<Streaming<proto::ToShard>>,
    ) -> Result<Response<Outgoing>, Status> {
        let arrived = request.extensions().get::<ConnectionInfo>().cloned();
        let mut calls = request.into_inner();
        let mut life = self.life.clone();
        let first = tokio::select! {
            first = timeout(HELLO_MAX, calls.message()) => first.unwrap_or(Ok(None))?,
            // The shard does not wait for a gateway that says nothing while the shard goes down.
            _later = life.wait_for(|life| *life != Life::Serving) => None,
        };
        let first = first.unwrap_or_default();
        // A place for the answer to every call that may be in flight, and one for notices.
        let (sender, receiver) = mpsc::channel(limits::SESSION_IN_FLIGHT_MAX + 1);
        // Before the welcome says which map is in force: no change after it goes unsaid.
        let (maps, slots) =
            (self.reader.node.in_force.subscribe(), self.reader.node.slots.subscribe());
        let news = News { maps, slots };
        let (gateway, welcome) = match self.welcome(first.hello.as_ref(), arrived.as_ref()) {
            Ok((gateway, welcome)) => {
                if let Some(arrived) = &arrived {
                    arrived.authenticated();
                }
                (gateway, proto::ToGateway { welcome: Some(welcome), ..Default::default() })
            }
            Err(fault) => {
                self.say_refused(&fault, arrived.as_ref());
                let goodbye = Some(link::session::to_wire(&fault));
                // In a fork the other side is told which map this is: both heads must be named.
                let forked = fault.field.as_deref() == Some(OF_DIGEST);
                let map = forked.then(|| map_ref(&self.reader.node));
                let refusal = proto::ToGateway { goodbye, map, ..Default::default() };
                let refusal: Outgoing = Box::pin(tokio_stream::once(Ok(refusal)));
                return Ok(Response::new(refusal));
            }
        };
        let (room, cut) = (AnswerRoom::new(), Arc::new(AtomicBool::new(false)));
        let taken = Arc::new(AtomicU64::new(0));
        let welcomed = welcome.welcome.as_ref().map(|welcome| welcome.origin.as_str());
        let welcomed = welcomed.unwrap_or_default().into();
        let reader = Reader { queue: self.reader.queue.of_session(), ..self.reader.clone() };
        let served = Served {
            prepare: Prepare::new(Arc::clone(&reader.node), gateway.territory),
            gateway,
            welcomed,
            reads: ReadQueue::start(reader.clone(), room.clone(), sender.clone()),
            reader,
            map_calls: self.map_calls.clone(),
            list_calls: self.list_calls.of_session(),
            prover: self.prover.clone(),
            life: self.life.clone(),
            sender,
            notices: VecDeque::new(),
            room,
            cut: Arc::clone(&cut),
        };
        let (watched, stalls) = (Arc::clone(&taken), self.stalls.clone());
        tokio::spawn(served.run(calls, first.calls, news, watched, stalls));
        let outgoing = Frames::new(welcome, receiver)
            // Drop queued replies once the peer's certificate is no longer trusted.
            .take_while(move |_| !cut.load(Ordering::Acquire))
            .map(move |frame| {
                taken.fetch_add(1, Ordering::Relaxed);
                Ok(frame)
            });
        Ok(Response::new(Box::pin(outgoing)))
    }
}

impl Sessions {
    /// Whether the gateway is who it says, means this shard, and a map that can be the same.
    fn welcome(
        &self,
        hello: Option<&proto::Hello>,
        arrived: Option<&ConnectionInfo>,
    ) -> Result<(Gateway, proto::Welcome), Rejection> {
        let node = &self.reader.node;
        let hello = hello.ok_or_else(|| Rejection::new(Reason::FieldMissing).field("hello"))?;
        let gateway = Gateway::of(node, self.tls.as_ref(), arrived, hello)?;
        let wrong = |field: &'static str, problem: &'static str| {
            Err(Rejection::new(Reason::PlacementNotAdmitted).field(field).problem(problem))
        };
        if hello.protocol != PROTOCOL {
            return wrong("hello.protocol", "is a version that this shard does not speak");
        }
        if hello.deployment != node.deployment {
            return wrong("hello.deployment", "is not this shard's deployment");
        }
        if hello.region != node.region.as_str() || hello.shard != node.shard.as_str() {
            return wrong("hello.region", "is not this shard");
        }
        let epoch = node.map().epoch();
        if hello.map_epoch == epoch.number && *hello.map_digest != epoch.digest {
            return wrong(OF_DIGEST, "is another map of the same version");
        }
        if *self.life.borrow() != Life::Serving {
            return Err(Rejection::new(Reason::ShuttingDown));
        }
        let welcome = proto::Welcome {
            region: node.region.to_string(),
            shard: node.shard.to_string(),
            territory: node.territory.as_str().to_owned(),
            map_epoch: epoch.number,
            map_digest: epoch.digest.to_vec().into(),
            origin: node.growing().name.origin.to_string(),
            slots: node.slots.borrow().served.as_bytes().to_vec().into(),
        };
        Ok((gateway, welcome))
    }

    /// Notes a refusal, as often as is good for the disk.
    fn say_refused(&self, fault: &Rejection, arrived: Option<&ConnectionInfo>) {
        let node = &self.reader.node;
        node.metrics.sessions_refused.inc();
        if let Some(unsaid) = node.refusals.allow(node.clock.now()) {
            let (reason, peer) = (fault.reason.as_str(), handshake::shown(arrived));
            let field = fault.field.as_deref().unwrap_or_default();
            tracing::warn!(reason, field, peer, unsaid, "a session was refused");
        }
    }
}

/// The field of a hello that is wrong where two maps have one version.
const OF_DIGEST: &str = "hello.map_digest";

/// The map in force, as it is told.
fn map_ref(node: &Node) -> proto::MapRef {
    encode::map_ref(region_maps::map_ref(&node.map()))
}

/// What sessions are told of when it changes.
struct News {
    maps: watch::Receiver<Arc<RegionMap>>,
    slots: watch::Receiver<OwnSlots>,
}

/// Time between two looks at whether all is answered, of a session with a shard that goes down.
const IDLE_LOOK: Duration = Duration::from_millis(50);

/// One open session.
struct Served {
    prepare: Prepare,
    gateway: Gateway,
    /// The origin of the log that grew when it began.
    welcomed: Arc<str>,
    /// Set when nothing more may leave.
    cut: Arc<AtomicBool>,
    reader: Reader,
    map_calls: MapCalls,
    list_calls: ListCalls,
    prover: ProofWaiter,
    life: watch::Receiver<Life>,
    sender: mpsc::Sender<FromShard>,
    /// What is to be said beside answers, as soon as there is a place for it: one of each kind.
    notices: VecDeque<FromShard>,
    room: AnswerRoom,
    reads: ReadQueue,
}

/// The session ends: the gateway has gone, or broken the protocol, or the shard is done.
struct Ends;

impl Served {
    /// Reads calls until the gateway is done, or the shard is. What is in flight then is still
    /// answered by the queue that holds it.
    async fn run(
        mut self,
        mut calls: Streaming<proto::ToShard>,
        first: Vec<proto::Call>,
        news: News,
        taken: Arc<AtomicU64>,
        stalls: Stalls,
    ) {
        let sessions = self.reader.node.metrics.sessions.clone();
        sessions.inc();
        let (mut over, gateway, room) =
            (self.life.clone(), self.gateway.clone(), self.room.clone());
        let cut = Arc::clone(&self.cut);
        tokio::select! {
            _ends = self.serve(&mut calls, first, news) => {}
            _later = over.wait_for(|life| *life > Life::Draining) => {}
            () = gateway.until_distrusted() => cut.store(true, Ordering::Release),
            () = room.watch(&taken, &stalls) => {}
        }
        room.close();
        sessions.dec();
    }

    /// Waits for frames, and for nothing else that a gateway, a disk or another call could delay.
    async fn serve(
        &mut self,
        calls: &mut Streaming<proto::ToShard>,
        first: Vec<proto::Call>,
        News { mut maps, mut slots }: News,
    ) -> Ends {
        let mut draining = false;
        let mut frame = first;
        let gateway = self.gateway.clone();
        let mut renewed = pin!(gateway.until_renewed());
        let mut told = false;
        loop {
            if self.frame(frame, draining).is_err() {
                return Ends;
            }
            frame = Vec::new();
            tokio::select! {
                message = calls.message() => match message {
                    // A session's first frame, seen once more: the sender is not in step.
                    Ok(Some(message)) if message.hello.is_some() => {
                        tracing::warn!("a session said hello twice");
                        return Ends;
                    }
                    Ok(Some(message)) => frame = message.calls,
                    // The gateway is done, or the connection is.
                    Ok(None) | Err(_) => return Ends,
                },
                place = self.sender.reserve(), if !self.notices.is_empty() => {
                    let Ok(place) = place else { return Ends };
                    if let Some(notice) = self.notices.pop_front() {
                        place.send(notice);
                    }
                }
                () = &mut renewed, if !told => {
                    told = true;
                    self.notices.push_back(FromShard::DialAgain);
                }
                Ok(()) = maps.changed() => {
                    let map = Arc::clone(&maps.borrow_and_update());
                    // The new map has its region elsewhere, or no more: nothing goes there.
                    if !gateway.stands_by(&self.reader.node, &map) {
                        self.cut.store(true, Ordering::Release);
                        return Ends;
                    }
                    // The newest is enough.
                    self.notices.retain(|notice| !matches!(notice, FromShard::Map(_)));
                    self.notices.push_back(FromShard::Map(map_ref(&self.reader.node)));
                }
                Ok(()) = slots.changed() => {
                    let served = slots.borrow_and_update().served.as_bytes().to_vec();
                    self.notices.retain(|notice| !matches!(notice, FromShard::Slots(_)));
                    self.notices.push_back(FromShard::Slots(served.into()));
                }
                changed = self.life.changed(), if !draining => {
                    if changed.is_err() {
                        return Ends;
                    }
                    draining = true;
                    let goodbye = Rejection::new(Reason::ShuttingDown);
                    self.notices.push_back(FromShard::Goodbye(goodbye));
                }
                // Another shard hears it when it asks next, and may not ask for long.
                () = sleep(IDLE_LOOK), if draining && gateway.shard.is_some() => {
                    if self.notices.is_empty() && self.sender.capacity() == self.sender.max_capacity() {
                        return Ends;
                    }
                }
            }
        }
    }

    /// Starts the calls of one frame.
    fn frame(&mut self, calls: Vec<proto::Call>, draining: bool) -> Result<(), Ends> {
        if calls.len() > limits::FRAME_CALLS_MAX {
            tracing::warn!(calls = calls.len(), "a frame has more calls than allowed");
            return Err(Ends);
        }
        for call in calls {
            let reply = self.slot(call.id)?;
            let more = match &call.op {
                Some(proto::call::Op::PutAll(all)) => self.slots(call.id, all.puts.len())?,
                _ => Vec::new(),
            };
            if draining {
                refuse(reply, more, &Rejection::new(Reason::ShuttingDown));
            } else {
                self.call(reply, more, call);
            }
        }
        Ok(())
    }

    /// A place for the answer to call `id`.
    fn slot(&self, id: u64) -> Result<ReplySlot, Ends> {
        let place = self.sender.clone().try_reserve_owned().map_err(|error| {
            if matches!(error, TrySendError::Full(_)) {
                // No gateway of ours does that. There is no place even for a "no".
                tracing::warn!("a session has more calls in flight than allowed");
            }
            Ends
        })?;
        let welcomed = Arc::clone(&self.welcomed);
        Ok(ReplySlot::new(move |outcome, room| {
            place.send(FromShard::Reply(encode::reply(id, outcome, &welcomed), room));
        }))
    }

    /// The places after the first for the answers to puts of which all are done or none.
    fn slots(&self, id: u64, puts: usize) -> Result<Vec<ReplySlot>, Ends> {
        if puts == 0 || puts > limits::ATOMIC_PUTS_MAX {
            tracing::warn!(puts, "a call has no puts, or more than allowed");
            return Err(Ends);
        }
        let next = |id: &mut u64, _| {
            *id = id.wrapping_add(1);
            Some(*id)
        };
        (1..puts).scan(id, next).map(|id| self.slot(id)).collect()
    }

    /// What shards ask, nothing else does; and they ask nothing else.
    fn call(&mut self, reply: ReplySlot, more: Vec<ReplySlot>, call: proto::Call) {
        let (reader, views, gateway) = (&self.reader, self.prover.views(), &self.gateway);
        match (&gateway.shard, peer_calls::are_of_shards(call.op.as_ref())) {
            (Some(of), true) => peer_calls::serve(reader, views, gateway, of, reply, call),
            (None, false) => self.of_gateway(reply, more, call),
            _ => refuse(reply, more, &Rejection::new(Reason::NotPermitted)),
        }
    }

    /// Whether the asker's role may ask for that.
    fn permitted(&self, asker: &Asker, right: Right) -> Result<(), Rejection> {
        if egress::permitted(asker.who.caller.role, right) {
            return Ok(());
        }
        asker.stands.refused(&self.reader.node, Reason::NotPermitted);
        let judged = EpochNumber::of(&self.reader.node.map());
        self.reader.counts.refused(Reason::NotPermitted, judged, &asker.who, None);
        Err(Rejection::new(Reason::NotPermitted))
    }

    fn of_gateway(&mut self, reply: ReplySlot, more: Vec<ReplySlot>, call: proto::Call) {
        let proto::Call { deadline_ms, tenant, caller, op, map_epoch, .. } = call;
        let (map_epoch, deadline) = (decode::map_epoch(map_epoch), Prepare::deadline(deadline_ms));
        let call = match decode::call(op) {
            Some(Call::Caller(call)) => call,
            Some(Call::Gateway(call)) => return self.map_calls.of_gateway(reply, call, &self.room),
            None => return reply.send(Rejection::new(Reason::NotBuilt).into()),
        };
        let asker = match self.prepare.asker(&tenant, caller) {
            Ok(asker) => asker,
            Err(fault) => return refuse(reply, more, &fault),
        };
        // Before anything else is looked at: who may not ask learns nothing.
        if let Err(fault) = self.permitted(&asker, call.right()) {
            return refuse(reply, more, &fault);
        }
        match call {
            CallerCall::Get(get) => match self.prepare.get(asker, get) {
                Ok(lookup) => self.reads.submit(Get { reply, deadline, lookup, body: None }),
                Err(fault) => reply.send(fault.into()),
            },
            CallerCall::List(list) => match self.prepare.list(&asker, *list) {
                Ok(query) => {
                    let list = List { reply, deadline, asker, query };
                    self.list_calls.submit(list, &self.reader, &self.room);
                }
                Err(fault) => reply.send(fault.into()),
            },
            CallerCall::Person(of) => match decode::person::about(&self.reader.node, &asker, of) {
                Ok(asked) => {
                    let about = AboutPerson { reply, deadline, asker, asked };
                    self.list_calls.about(about, &self.reader, &self.room);
                }
                Err(fault) => reply.send(fault.into()),
            },
            CallerCall::Moves(of) => {
                let ask = AskMoves::read(&self.reader.node, reply, asker, &of);
                self.list_calls.moves(ask, &self.prover, &self.reader, &self.room);
            }
            CallerCall::Locate(of) => self.locate(reply, asker, &of),
            CallerCall::AskBinding(of) => {
                self.list_calls.ask_binding(reply, asker, &of, &self.reader, &self.room);
            }
            CallerCall::Write(write) => {
                self.write(write, Sent { reply, deadline, asker, map_epoch });
            }
            CallerCall::PutAll(puts) => {
                let replies = std::iter::once(reply).chain(more).collect();
                let all = PutAll { replies, puts, deadline, asker, map_epoch };
                put_all(&self.reader, &self.prover, all);
            }
            CallerCall::Upload(upload) => {
                let sent = upload_calls::Sent { reply, deadline, asker, map_epoch };
                upload_calls::submit(&self.reader, &self.prover, sent, *upload);
            }
            CallerCall::MapHistory(after) => {
                self.map_calls.history(reply, after, self.room.clone())
            }
            CallerCall::MapImpact(map, day) => {
                self.map_calls.impact(reply, deadline, asker, map, day);
            }
        }
    }

    fn locate(&self, reply: ReplySlot, asker: Asker, of: &proto::Locate) {
        match decode::locate::asked(&self.reader.node, &asker, &of.question) {
            Ok(asked) => {
                let locate = Locate { reply, asker, asked };
                self.list_calls.locate(locate, &self.reader, &self.room);
            }
            Err(fault) => reply.send(fault.into()),
        }
    }

    /// Prepares a write and queues it. A large body, or a sealed one, takes a thread that may be busy.
    fn write(&self, write: Write, mut sent: Sent) {
        if write.prove() {
            sent.reply = self.prover.proven(sent.reply);
        }
        let body = write.body_bytes();
        let Some(room) = self.reader.queue.admit(body + OP_BYTES) else {
            return sent.reply.send(busy());
        };
        if body < LARGE_BODY_BYTES && !write.reads() && !write.is_sealed() {
            return sent.submit(&self.reader, write, room);
        }
        let reader = self.reader.clone();
        tokio::task::spawn_blocking(move || sent.submit(&reader, write, room));
    }
}

/// Refuses a call, and what came with it.
fn refuse(reply: ReplySlot, more: Vec<ReplySlot>, fault: &Rejection) {
    std::iter::once(reply).chain(more).for_each(|reply| reply.send(fault.clone().into()));
}
