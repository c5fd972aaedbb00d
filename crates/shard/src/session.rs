//! The server of sessions: gateways connect, say whom they mean, and send calls.

use std::sync::Arc;

use link::session::{Frames, FromShard, PROTOCOL};
use terms::{Fault, Reason, limits};
use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};
use wire::session as proto;
use wire::session::session_server::Session;

use crate::committer::Life;
use crate::op::{Action, Op, ReplySlot};
use crate::prepare::{self, Asker, Prepare};
use crate::reads::{Get, Reader};

/// Bodies from this size on are sealed on a thread that may be busy for a while.
const LARGE_BODY_BYTES: usize = 32 << 10;

/// Takes sessions. Clones share the shard.
#[derive(Clone)]
pub(crate) struct Sessions {
    pub(crate) reader: Reader,
    pub(crate) life: watch::Receiver<Life>,
}

type Answers = std::pin::Pin<Box<dyn Stream<Item = Result<proto::ToGateway, Status>> + Send>>;

#[tonic::async_trait]
impl Session for Sessions {
    type OpenStream = Answers;

    async fn open(
        &self,
        request: Request<Streaming<proto::ToShard>>,
    ) -> Result<Response<Answers>, Status> {
        let mut calls = request.into_inner();
        let first = calls.message().await?.unwrap_or_default();
        let (sender, receiver) = mpsc::channel(limits::SESSION_IN_FLIGHT_MAX + 1);
        let welcome = match self.welcome(first.hello.as_ref()) {
            Ok(welcome) => proto::ToGateway { welcome: Some(welcome), ..Default::default() },
            Err(fault) => {
                tracing::warn!(reason = fault.reason.as_str(), "a session was refused");
                let goodbye = Some(link::session::to_wire(&fault));
                let refusal = proto::ToGateway { goodbye, ..Default::default() };
                let answers: Answers = Box::pin(tokio_stream::once(Ok(refusal)));
                return Ok(Response::new(answers));
            }
        };
        let served = Served {
            prepare: Prepare::new(Arc::clone(&self.reader.node)),
            reader: self.reader.clone(),
            life: self.life.clone(),
            sender,
        };
        tokio::spawn(served.run(calls, first.calls));
        let answers: Answers = Box::pin(Frames::new(welcome, receiver).map(Ok));
        Ok(Response::new(answers))
    }
}

impl Sessions {
    /// Whether the gateway means this shard, and a map that can be the same.
    fn welcome(&self, hello: Option<&proto::Hello>) -> Result<proto::Welcome, Fault> {
        let node = &self.reader.node;
        let hello = hello.ok_or_else(|| Fault::new(Reason::FieldMissing).field("hello"))?;
        let wrong = |field: &'static str, problem: &'static str| {
            Err(Fault::new(Reason::PlacementNotAdmitted).field(field).problem(problem))
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
        let epoch = node.map.epoch();
        if hello.map_epoch == epoch.number && *hello.map_digest != epoch.digest {
            return wrong("hello.map_digest", "is another map of the same version");
        }
        if *self.life.borrow() != Life::Serving {
            return Err(Fault::new(Reason::ShuttingDown));
        }
        Ok(proto::Welcome {
            region: node.region.to_string(),
            shard: node.shard.to_string(),
            territory: node.territory.as_str().to_owned(),
            map_epoch: epoch.number,
            map_digest: epoch.digest.to_vec().into(),
            origin: node.origin.to_string(),
        })
    }
}

/// One open session.
struct Served {
    prepare: Prepare,
    reader: Reader,
    life: watch::Receiver<Life>,
    sender: mpsc::Sender<FromShard>,
}

impl Served {
    /// Reads calls until the gateway is done, or the shard is. What is in flight then is still
    /// answered by whoever holds it, unless the shard is poisoned: then nobody answers.
    async fn run(mut self, mut calls: Streaming<proto::ToShard>, first: Vec<proto::Call>) {
        self.reader.node.metrics.sessions.inc();
        let mut draining = false;
        let mut frame = first;
        loop {
            if self.frame(frame, draining).await.is_err() {
                break;
            }
            frame = tokio::select! {
                message = calls.message() => match message {
                    Ok(Some(message)) => message.calls,
                    // The gateway is done, or the connection is.
                    Ok(None) | Err(_) => break,
                },
                changed = self.life.changed() => {
                    if changed.is_err() || *self.life.borrow_and_update() > Life::Draining {
                        break;
                    }
                    draining = true;
                    let goodbye = FromShard::Goodbye(Fault::new(Reason::ShuttingDown));
                    if self.sender.send(goodbye).await.is_err() {
                        break;
                    }
                    Vec::new()
                }
            };
        }
        self.reader.node.metrics.sessions.dec();
    }

    /// Starts the calls of one frame. `Err`: the gateway has gone.
    async fn frame(&mut self, calls: Vec<proto::Call>, draining: bool) -> Result<(), ()> {
        let mut gets = Vec::new();
        for call in calls {
            // Waits while too many answers of this session are under way: then the gateway's
            // frames wait in its own window.
            let permit = self.sender.clone().reserve_owned().await.map_err(|_| ())?;
            let reply = ReplySlot { id: call.id, permit };
            if draining {
                reply.send(Fault::new(Reason::ShuttingDown).into());
            } else {
                self.call(reply, call, &mut gets);
            }
        }
        if !gets.is_empty() {
            let reader = self.reader.clone();
            tokio::task::spawn_blocking(move || reader.serve(gets));
        }
        Ok(())
    }

    fn call(&mut self, reply: ReplySlot, call: proto::Call, gets: &mut Vec<Get>) {
        let deadline = Prepare::deadline(call.deadline_ms);
        let asker = match self.prepare.asker(&call.tenant, call.caller) {
            Ok(asker) => asker,
            Err(fault) => return reply.send(fault.into()),
        };
        match call.op {
            Some(proto::call::Op::Get(get)) => match self.prepare.get(asker, &get) {
                Ok(lookup) => gets.push(Get { reply, deadline, lookup }),
                Err(fault) => reply.send(fault.into()),
            },
            Some(proto::call::Op::Put(put)) if put.body.len() >= LARGE_BODY_BYTES => {
                let reader = self.reader.clone();
                tokio::task::spawn_blocking(move || {
                    let action = prepare::put(&reader.node, &asker, put);
                    submit(&reader, reply, (deadline, asker), action);
                });
            }
            Some(proto::call::Op::Put(put)) => {
                let action = prepare::put(&self.reader.node, &asker, put);
                submit(&self.reader, reply, (deadline, asker), action);
            }
            Some(proto::call::Op::Delete(delete)) => {
                let action = prepare::delete(&self.reader.node, &asker, delete);
                submit(&self.reader, reply, (deadline, asker), action);
            }
            Some(proto::call::Op::Create(create)) => {
                let action = prepare::create(&self.reader.node, &asker, create);
                submit(&self.reader, reply, (deadline, asker), action);
            }
            None => reply.send(Fault::new(Reason::NotBuilt).into()),
        }
    }
}

fn submit(
    reader: &Reader,
    reply: ReplySlot,
    (deadline, asker): (tokio::time::Instant, Asker),
    action: Result<Action, Fault>,
) {
    match action {
        Ok(action) => {
            let Asker { caller, tenant_tag, .. } = asker;
            reader.queue.submit(Op { reply, deadline, caller, tenant_tag, action });
        }
        Err(fault) => reply.send(fault.into()),
    }
}
