//! A session with another shard: of another region, over which a move asks for one step after another; or
//! of this one, which is asked for its slots.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use link::session::{Dialled, Frames, MESSAGE_BYTES_MAX, PROTOCOL, dial};
use link::spiffe_id::PeerId;
use link::tls::{Peer, Tls};
use terms::{Reason, Rejection, Slot, SlotSet, TenantId};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Streaming;
use wire::session as proto;
use wire::session::call::Op;
use wire::session::session_client::SessionClient;
use wire::status_check::Checked;

use crate::node::Node;
use crate::relocate::peers::PeerShard;

/// Time from the first byte of a connection to the welcome.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for one step.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Calls that wait to be sent: a move has one in flight.
const QUEUED_MAX: usize = 1;

/// Why a step was not answered as it was asked.
pub(crate) enum CallEnd {
    /// The other shard says no.
    Refused(Rejection),
    /// The session has ended, or did not begin. Whether the step was done is not known.
    Broken(&'static str),
}

/// An open session.
pub(crate) struct PeerSession {
    calls: mpsc::Sender<proto::Call>,
    replies: Streaming<proto::ToGateway>,
    /// The verified process at its other end.
    peer: Option<(Tls, Arc<Peer>)>,
    next: u64,
    /// Nothing more is asked on it.
    ended: bool,
}

impl PeerSession {
    /// Opens a session with one shard, at the first of its addresses that answers.
    ///
    /// # Errors
    /// [`CallEnd::Broken`].
    pub(crate) async fn open(
        node: &Node,
        tls: Option<&Tls>,
        to: &PeerShard,
    ) -> Result<Self, CallEnd> {
        let mut end = CallEnd::Broken("its annex has no address");
        for address in &to.addresses {
            match timeout(WELCOME_TIMEOUT, Self::open_at(node, tls, to, address)).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(why)) => end = why,
                Err(_) => end = CallEnd::Broken("it did not send its welcome in time"),
            }
        }
        Err(end)
    }

    async fn open_at(
        node: &Node,
        tls: Option<&Tls>,
        to: &PeerShard,
        address: &str,
    ) -> Result<Self, CallEnd> {
        let PeerShard { region, shard, .. } = to;
        let map = node.map();
        let name = format!("spiffe://{}/region/{region}/shard/{shard}", map.trust_domain());
        let wanted = PeerId::parse(&name).ok_or(CallEnd::Broken("it has no name of ours"))?;
        let dialled = dial(address, &wanted, tls).await;
        let Dialled { channel, peer } =
            dialled.map_err(|_| CallEnd::Broken("it is not reached"))?;
        let epoch = map.epoch();
        let hello = proto::Hello {
            protocol: PROTOCOL,
            deployment: node.deployment.clone(),
            region: region.to_string(),
            shard: shard.to_string(),
            gateway: String::new(),
            map_epoch: epoch.number,
            map_digest: epoch.digest.to_vec().into(),
            from_region: node.region.to_string(),
            from_shard: node.shard.to_string(),
        };
        let (calls, receiver) = mpsc::channel(QUEUED_MAX);
        let first = proto::ToShard { hello: Some(hello), calls: Vec::new() };
        let mut client = SessionClient::new(Checked::new(channel))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let broken = |_| CallEnd::Broken("it has ended the session");
        let mut replies =
            client.open(Frames::new(first, receiver)).await.map_err(broken)?.into_inner();
        let first = replies.message().await.map_err(broken)?;
        let first = first.ok_or(CallEnd::Broken("it has ended the session"))?;
        let Some(welcome) = first.welcome else {
            let refused = first.goodbye.map(link::session::from_wire);
            // By its map, this region is none: nothing can move there.
            return Err(match refused.filter(|fault| fault.reason == Reason::NotPermitted) {
                Some(fault) => CallEnd::Refused(fault),
                None => CallEnd::Broken("it refuses the session"),
            });
        };
        let territory = map.region(region).map(|region| region.territory().as_str());
        let right = welcome.region == region.as_str()
            && welcome.shard == shard.as_str()
            && Some(welcome.territory.as_str()) == territory;
        let forked = welcome.map_epoch == epoch.number && *welcome.map_digest != epoch.digest;
        if !right || forked {
            return Err(CallEnd::Broken(
                "it is another shard, or has another map of the same version",
            ));
        }
        let peer = tls.cloned().zip(peer);
        Ok(Self { calls, replies, peer, next: 1, ended: false })
    }

    /// Whether more can be asked on it.
    pub(crate) fn is_open(&self) -> bool {
        let trusted = self.peer.as_ref().is_none_or(|(tls, peer)| tls.trusts(peer));
        trusted && !self.ended && !self.calls.is_closed()
    }

    /// Asks for one step of a move, and waits for its answer. A step that is not answered ends the session,
    /// so that a late answer is never taken for that of another step.
    ///
    /// # Errors
    /// [`CallEnd`].
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    pub(crate) async fn call(
        &mut self,
        node: &Node,
        tenant: &TenantId,
        arrival: proto::Arrival,
    ) -> Result<proto::Arrived, CallEnd> {
        let asked = vec![(tenant.to_string(), Op::Arrival(arrival))];
        match self.ask_one(node, asked).await? {
            proto::reply::Outcome::Arrived(arrived) => Ok(arrived),
            _ => Err(self.mistaken()),
        }
    }

    /// The slots of which the other shard's store has the ownership row.
    ///
    /// # Errors
    /// [`CallEnd`].
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    pub(crate) async fn slots(&mut self, node: &Node) -> Result<SlotSet, CallEnd> {
        let asked = vec![(String::new(), Op::AskSlots(proto::AskSlots {}))];
        match self.ask_one(node, asked).await? {
            proto::reply::Outcome::Slots(slots) => {
                SlotSet::from_bytes(&slots).ok_or_else(|| self.mistaken())
            }
            _ => Err(self.mistaken()),
        }
    }

    /// Asks for one step of the move of a slot, as [`PeerSession::call`].
    ///
    /// # Errors
    /// [`CallEnd`].
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    pub(crate) async fn slot(
        &mut self,
        node: &Node,
        slot: Slot,
        move_id: &[u8; 16],
        step: proto::slot_move::Step,
    ) -> Result<proto::SlotStands, CallEnd> {
        let (slot, move_id) = (u32::from(slot.number()), move_id.to_vec().into());
        let of = proto::SlotMove { slot, move_id, step: Some(step) };
        match self.ask_one(node, vec![(String::new(), Op::SlotMove(of))]).await? {
            proto::reply::Outcome::SlotStands(stands) => Ok(stands),
            _ => Err(self.mistaken()),
        }
    }

    /// Asks for steps about copies, all at once, and waits for all answers, as [`PeerSession::call`].
    ///
    /// # Errors
    /// [`CallEnd::Broken`]: what has become of the steps is not known.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    pub(crate) async fn copies(
        &mut self,
        node: &Node,
        steps: Vec<(TenantId, proto::CopyCall)>,
    ) -> Result<Vec<Result<proto::copied::State, Rejection>>, CallEnd> {
        let asked = steps.into_iter().map(|(tenant, copy)| (tenant.to_string(), Op::Copy(copy)));
        let mut answers = Vec::new();
        for outcome in self.ask(node, asked.collect()).await? {
            answers.push(match outcome {
                proto::reply::Outcome::Copied(copied) => Ok(copied.state()),
                proto::reply::Outcome::Fault(fault) => Err(link::session::from_wire(fault)),
                _ => return Err(self.mistaken()),
            });
        }
        Ok(answers)
    }

    /// Asks which copies the other shard has of records of this one, after a place.
    ///
    /// # Errors
    /// [`CallEnd`].
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    pub(crate) async fn held_copies(
        &mut self,
        node: &Node,
        after: Bytes,
    ) -> Result<proto::CopiesHeld, CallEnd> {
        let asked = vec![(String::new(), Op::HeldCopies(proto::HeldCopies { after }))];
        match self.ask_one(node, asked).await? {
            proto::reply::Outcome::CopiesHeld(held) => Ok(held),
            _ => Err(self.mistaken()),
        }
    }

    fn mistaken(&mut self) -> CallEnd {
        self.ended = true;
        CallEnd::Broken("it has answered something else")
    }

    /// Asks one thing, and waits for the answer.
    async fn ask_one(
        &mut self,
        node: &Node,
        asked: Vec<(String, Op)>,
    ) -> Result<proto::reply::Outcome, CallEnd> {
        match self.ask(node, asked).await?.pop() {
            Some(proto::reply::Outcome::Fault(fault)) => {
                Err(CallEnd::Refused(link::session::from_wire(fault)))
            }
            Some(outcome) => Ok(outcome),
            None => Err(self.mistaken()),
        }
    }

    /// Asks, and waits for all answers. An end of the session is kept in mind.
    async fn ask(
        &mut self,
        node: &Node,
        ops: Vec<(String, Op)>,
    ) -> Result<Vec<proto::reply::Outcome>, CallEnd> {
        let answers = self.ask_all(node, ops).await;
        self.ended |= answers.is_err();
        answers
    }

    async fn ask_all(
        &mut self,
        node: &Node,
        ops: Vec<(String, Op)>,
    ) -> Result<Vec<proto::reply::Outcome>, CallEnd> {
        let gone = || CallEnd::Broken("the session has ended");
        let (deadline, first) = (Instant::now() + CALL_TIMEOUT, self.next);
        let mut answers: Vec<Option<proto::reply::Outcome>> = Vec::new();
        answers.resize_with(ops.len(), || None);
        for (tenant, op) in ops {
            let id = self.next;
            self.next += 1;
            let call = proto::Call {
                id,
                deadline_ms: u32::try_from(CALL_TIMEOUT.as_millis()).unwrap_or(u32::MAX),
                tenant,
                map_epoch: node.map().epoch().number,
                op: Some(op),
                ..Default::default()
            };
            let late = |_| CallEnd::Broken("it takes nothing more");
            timeout_at(deadline, self.calls.send(call)).await.map_err(late)?.map_err(|_| gone())?;
        }
        let mut left = answers.len();
        while left > 0 {
            let message = timeout_at(deadline, self.replies.message()).await;
            let message = message.map_err(|_| CallEnd::Broken("it has not answered in time"))?;
            let frame = message.map_err(|_| gone())?.ok_or_else(gone)?;
            // What is in flight is still answered.
            self.ended |= frame.goodbye.is_some() || frame.dial_again;
            for reply in frame.replies {
                let at = reply.id.checked_sub(first).and_then(|at| usize::try_from(at).ok());
                let Some(place) = at.and_then(|at| answers.get_mut(at)) else { continue };
                let outcome = reply.outcome;
                let outcome = outcome.ok_or(CallEnd::Broken("it has answered something else"))?;
                left -= usize::from(place.is_none());
                *place = Some(outcome);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }
}
