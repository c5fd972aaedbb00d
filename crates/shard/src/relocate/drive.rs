//! Drives moves of subjects to other regions: one step after another, each of which may be done twice.
//! All that is known of a move is in the subject's row, so it goes on after a crash of either shard, and
//! whenever the link between them is back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use link::tls::Tls;
use terms::{Reason, RegionId, Rejection, Retry};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use wire::session as proto;
use wire::session::arrival::Step;

use crate::Error;
use crate::log::view::LogViews;
use crate::node::Node;
use crate::relocate::digest;
use crate::relocate::digest::Whole;
use crate::relocate::peer_session::{CallEnd, PeerSession};
use crate::relocate::peers::{PeerShard, Peers};
use crate::relocate::{pages, receipt, show, travel};
use crate::reply::{Outcome, ReplySlot};
use crate::store::accesses::Accesses;
use crate::store::attachment;
use crate::store::codec::Writer;
use crate::store::damage::read_rows;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::moving::{Left, Move};
use crate::store::record::Body;
use crate::store::subject::Subject;
use crate::write::command::{Action, Depart, DepartStep, Op};
use crate::write::committer::Queue;
use crate::write::expiry::own;
use crate::write::move_command::Switch;

/// Time in which a step here must have begun.
const WITHIN: Duration = Duration::from_secs(60);
/// Time for which others are still copied after a subject was given away, which no region serves until
/// it is handed over. The ones that were given away within it are handed over together.
const UNSERVED_MAX: Duration = Duration::from_secs(1);

/// What drives the moves of one shard, and its copies.
#[derive(Clone)]
pub(crate) struct Driver {
    pub(crate) node: Arc<Node>,
    pub(crate) queue: Queue,
    pub(crate) views: LogViews,
    pub(crate) tls: Option<Tls>,
    pub(crate) peers: Peers,
}

/// Why a move does not go on now.
pub(super) enum Halt {
    /// A step took a part, and is to be asked for again.
    GoesOn,
    /// It is tried again later.
    Later(String),
    /// The other region refuses it for good.
    Refused(Rejection),
    /// It cannot go on here: by this region's own rules, or since what is stored here is damaged.
    Failed(Rejection),
}

impl From<CallEnd> for Halt {
    fn from(end: CallEnd) -> Self {
        match end {
            CallEnd::Refused(fault) if is_for_good(&fault) => Self::Refused(fault),
            CallEnd::Refused(fault) => Self::Later(fault.reason.as_str().to_owned()),
            CallEnd::Broken(why) => Self::Later(why.to_owned()),
        }
    }
}

impl From<Rejection> for Halt {
    fn from(fault: Rejection) -> Self {
        if is_for_good(&fault) {
            Self::Failed(fault)
        } else {
            Self::Later(fault.reason.as_str().to_owned())
        }
    }
}

/// Whether no later attempt is answered otherwise.
pub(super) fn is_for_good(fault: &Rejection) -> bool {
    fault.reason.retry() == Retry::No && fault.reason != Reason::NotBuilt
}

/// The session with another shard, in one turn of the moves there.
#[derive(Default)]
pub(super) struct Sessions {
    open: HashMap<PeerShard, PeerSession>,
    /// Shards that were not reached in this turn: moves there wait for the next one.
    unreached: HashSet<PeerShard>,
    /// When the first subject was given away in this turn: no region serves it.
    given_away: Option<Instant>,
}

impl Sessions {
    /// Whether the shard was not reached.
    pub(super) fn lacks_any(&self) -> bool {
        !self.unreached.is_empty()
    }

    /// Whether the next move there needs no new one.
    pub(super) fn has_open(&self) -> bool {
        self.open.values().any(PeerSession::is_open)
    }

    /// A subject was given away, or could not be handed over.
    pub(super) fn gave_away(&mut self) {
        if self.given_away.is_none() {
            self.given_away = Some(Instant::now());
        }
    }

    /// Whether a subject was given away so long ago that no other one is copied before it is served.
    pub(super) fn is_awaited(&self) -> bool {
        is_awaited(self.given_away, Instant::now())
    }

    /// For the next turn.
    pub(super) fn again(&mut self) {
        self.given_away = None;
        self.open.retain(|_, session| session.is_open());
        self.unreached.clear();
    }
}

impl Driver {
    /// Runs what blocks on a thread that may.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> Result<T, Rejection> + Send + 'static,
    ) -> Result<T, Rejection> {
        let node = Arc::clone(&self.node);
        let done = tokio::task::spawn_blocking(move || work(&node)).await;
        done.unwrap_or_else(|_| Err(Reason::Internal.into()))
    }

    /// Has the committer do one step of a move from here.
    pub(super) async fn step(&self, owner: &Owner, step: DepartStep) -> Result<(), Halt> {
        let opening = self.node.random().map_err(Rejection::from)?;
        let action = Action::Depart(Box::new(Depart { owner: owner.clone(), opening, step }));
        let queue = self.queue.of_session();
        let busy = || Halt::Later("the committer's queue is full".to_owned());
        let room = queue.admit(action.bytes()).ok_or_else(busy)?;
        let (sender, answer) = oneshot::channel();
        let reply = ReplySlot::new(move |outcome, _| drop(sender.send(outcome)));
        let (deadline, asker) = (Instant::now() + WITHIN, own(&self.node, &action));
        queue.submit(Op { reply, deadline, asker, map_epoch: None, action }, room);
        match answer.await {
            Ok(Outcome::Written(written)) if written.unfinished => Err(Halt::GoesOn),
            Ok(Outcome::Written(_)) => Ok(()),
            Ok(Outcome::Rejected(fault)) => Err(fault.into()),
            _ => Err(Halt::Later("a step was not answered".to_owned())),
        }
    }

    /// Copies a subject, and gives it away once both regions have read the same.
    pub(super) async fn copy(
        &self,
        sessions: &mut Sessions,
        owner: &Owner,
        subject: &Arc<Subject>,
        of: &Move,
    ) -> Result<(), Halt> {
        let arrived = self.stage(sessions, owner, subject, of).await?;
        if arrived.state() != proto::arrived::State::Staging {
            return Err(Halt::Later("the other region has it already".to_owned()));
        }
        let move_id = of.request_id;
        match self.step(owner, DepartStep::TakeCopiesBack { move_id }).await {
            // It keeps no other from moving.
            Err(Halt::GoesOn) => {
                let why = "mirrors have not erased their copies of the person yet";
                return Err(Halt::Later(why.to_owned()));
            }
            done => done?,
        }
        let there = self.read_back(sessions, owner, of).await?;
        if sessions.is_awaited() {
            return Err(Halt::GoesOn);
        }
        let to = self.peer(owner, &of.to)?;
        if !receipt::is_log_of(&self.node, &to, &there.origin) {
            // It would stand in this shard's log for ever.
            let fault = Rejection::new(Reason::FieldInvalid).field("arrived.origin");
            return Err(Halt::Refused(fault.problem("is no log of the other shard")));
        }
        let (shared, at) = (Arc::clone(subject), owner.clone());
        let own = self.blocking(move |node| digest::of_all(node, &at, &shared)).await?;
        let Whole { heads, live, digest } = own;
        if there.records != heads || *there.digest != digest {
            let fault = Rejection::new(Reason::StoredDataDamaged);
            return Err(Halt::Refused(fault.problem("the copy differs")));
        }
        let peer = (there.origin, there.index);
        let switch = Switch { move_id, digest, live, peer };
        self.step(owner, DepartStep::Switch(Box::new(switch))).await?;
        sessions.gave_away();
        // The rest is done with what was written.
        self.node.moves.ordered.notify_one();
        Ok(())
    }

    /// Has all records arrive that have not yet.
    async fn stage(
        &self,
        sessions: &mut Sessions,
        owner: &Owner,
        subject: &Arc<Subject>,
        of: &Move,
    ) -> Result<proto::Arrived, Halt> {
        let given_away = sessions.given_away;
        let begin = travel::subject(subject, of).to_vec();
        let session = self.session(sessions, owner, &of.to).await?;
        let begin = Step::Begin(begin.into());
        let mut arrived = self.ask(session, owner, of.request_id, begin).await?;
        while arrived.state() == proto::arrived::State::Staging {
            self.still_moves(owner, of).await?;
            if is_awaited(given_away, Instant::now()) {
                // It goes on from where it is.
                return Err(Halt::GoesOn);
            }
            self.node.moves.set(owner.tag, arrived.records);
            let (shared, at, so_far) = (Arc::clone(subject), owner.clone(), arrived.clone());
            let step = self.blocking(move |node| next_step(node, &at, &shared, &so_far)).await?;
            // What was written since is not of this move.
            self.still_moves(owner, of).await?;
            let Some(step) = step else { break };
            let before = arrived;
            arrived = self.ask(session, owner, of.request_id, step).await?;
            let stands = (&arrived.after, arrived.chunks) == (&before.after, before.chunks);
            if stands && arrived.state() == proto::arrived::State::Staging {
                return Err(Halt::Later("the other region takes no more for now".to_owned()));
            }
        }
        Ok(arrived)
    }

    /// Ends the copy of a subject whose move was given up meanwhile: no further byte of it leaves.
    async fn still_moves(&self, owner: &Owner, of: &Move) -> Result<(), Halt> {
        let row = keys::moving(&owner.row());
        let kept = self.blocking(move |node| show::kept(node, &row)).await?;
        let now = kept.as_ref().and_then(|(_, subject)| subject.status.moving());
        if now.is_some_and(|now| now.request_id == of.request_id) {
            return Ok(());
        }
        // The next look has the other region erase what it has.
        Err(Halt::GoesOn)
    }

    /// Has the other region read back all that has arrived, and say what it is.
    async fn read_back(
        &self,
        sessions: &mut Sessions,
        owner: &Owner,
        of: &Move,
    ) -> Result<proto::Arrived, Halt> {
        loop {
            self.still_moves(owner, of).await?;
            if sessions.is_awaited() {
                return Err(Halt::GoesOn);
            }
            let session = self.session(sessions, owner, &of.to).await?;
            let there = self.ask(session, owner, of.request_id, Step::Check(true)).await?;
            if there.state() != proto::arrived::State::Staging {
                return Err(Halt::Later("nothing arrives there just now".to_owned()));
            }
            if !there.digest.is_empty() {
                return Ok(there);
            }
        }
    }

    /// Has the other region serve a subject that was given away; then what is left of it here goes.
    pub(super) async fn hand_over(
        &self,
        sessions: &mut Sessions,
        owner: &Owner,
        subject: &Arc<Subject>,
        left: &Left,
    ) -> Result<(), Halt> {
        let of = &left.of;
        // Once more: it must be noted outside the store before the other region serves it.
        let again = Switch {
            move_id: of.request_id,
            digest: [0; 32],
            live: BTreeMap::new(),
            peer: (String::new(), 0),
        };
        self.step(owner, DepartStep::Switch(Box::new(again))).await?;
        let staged = match self.stage(sessions, owner, subject, of).await {
            // It may have served the subject already, and have erased it or moved it on since.
            Err(Halt::Refused(_)) => None,
            staged => Some(staged?),
        };
        let (adopted, own) = (proto::arrived::State::Adopted, self.proof(left).await?);
        if staged.as_ref().is_none_or(|staged| staged.state() != adopted) {
            if staged.is_some() {
                self.read_back(sessions, owner, of).await?;
            }
            let mut end = own.clone();
            let (shared, at) = (Arc::clone(subject), owner.clone());
            end.accesses = self.blocking(move |node| accesses(node, &at, &shared)).await?.into();
            let session = self.session(sessions, owner, &of.to).await?;
            let arrived = self.ask(session, owner, of.request_id, Step::Adopt(end)).await?;
            if arrived.state() != adopted {
                return Err(Halt::Later("the other region does not have it".to_owned()));
            }
        }
        self.taken(sessions, owner, of, &own).await?;
        loop {
            match self.step(owner, DepartStep::Finish { move_id: of.request_id }).await {
                Err(Halt::GoesOn) => {}
                done => return done,
            }
        }
    }

    /// Has the other region prove that its log has taken the subject: what is here is kept until then.
    async fn taken(
        &self,
        sessions: &mut Sessions,
        owner: &Owner,
        of: &Move,
        own: &proto::ArrivalEnd,
    ) -> Result<(), Halt> {
        let to = self.peer(owner, &of.to)?;
        let session = self.session(sessions, owner, &of.to).await?;
        let there = self.ask(session, owner, of.request_id, Step::Prove(true)).await?;
        if there.state() != proto::arrived::State::Adopted {
            return Err(Halt::Later("the other region does not have it".to_owned()));
        }
        // It is signed within a beat.
        let taken = there.taken.ok_or(Halt::GoesOn)?;
        if receipt::takes(&self.node, &to, own, &taken) {
            return Ok(());
        }
        Err(Halt::Later("the other region does not prove that it has taken the subject".to_owned()))
    }

    /// The proof that this shard's log has the MOVE_OUT entry. Waits until a checkpoint has signed it.
    async fn proof(&self, left: &Left) -> Result<proto::ArrivalEnd, Halt> {
        let at = left.entry;
        let period = self.node.period_of(at.log).map_err(Rejection::from)?;
        let origin = self.node.origins().of(period);
        let mut checkpoints = self.views.checkpoints();
        let signed =
            checkpoints.wait_for(|signed| !signed.is_of(&origin) || signed.size() > at.index.0);
        let signed = timeout(WITHIN, signed).await;
        let signed = signed.map_err(|_| Halt::Later("no checkpoint is signed".to_owned()))?;
        signed.map_err(|_| Halt::Later("the shard goes down".to_owned())).map(drop)?;
        let (views, named) = (self.views.clone(), origin.clone());
        let proven = self.blocking(move |_| {
            let view = views.of(&named)?;
            let vkey = view.signed.log.vkey.to_string();
            view.proof(at.index.0).map(|(entry, proof)| (entry, proof.to_text(), vkey))
        });
        let (entry, proof, vkey) = proven.await?;
        let opening = left.opening.to_vec().into();
        let (entry, index) = (entry.into(), at.index.0);
        let accesses = Default::default();
        Ok(proto::ArrivalEnd { origin, index, entry, opening, proof, vkey, accesses })
    }

    /// The session with the shard of a region that has the subject's slot.
    pub(super) async fn session<'a>(
        &self,
        sessions: &'a mut Sessions,
        owner: &Owner,
        region: &RegionId,
    ) -> Result<&'a mut PeerSession, Halt> {
        let to = self.peer(owner, region)?;
        let Sessions { open, unreached, .. } = sessions;
        if open.get(&to).is_none_or(|session| !session.is_open()) {
            open.remove(&to);
            if unreached.contains(&to) {
                return Err(later(&to, "it was not reached just now"));
            }
            match PeerSession::open(&self.node, self.tls.as_ref(), &to).await {
                Ok(opened) => return Ok(open.entry(to).or_insert(opened)),
                Err(end) => {
                    let halt = match Halt::from(end) {
                        Halt::Later(why) => later(&to, &why),
                        other @ (Halt::GoesOn | Halt::Refused(_) | Halt::Failed(_)) => other,
                    };
                    unreached.insert(to);
                    return Err(halt);
                }
            }
        }
        open.get_mut(&to).ok_or_else(|| Halt::Later("the session has ended".to_owned()))
    }

    /// The shard of a region that has the subject's slot.
    pub(super) fn peer(&self, owner: &Owner, region: &RegionId) -> Result<PeerShard, Halt> {
        let none = || Halt::Later(format!("there is no annex of region {region} that counts"));
        self.peers.shard(&self.node.map(), region, owner.slot).ok_or_else(none)
    }

    pub(super) async fn ask(
        &self,
        session: &mut PeerSession,
        owner: &Owner,
        move_id: [u8; 16],
        step: Step,
    ) -> Result<proto::Arrived, Halt> {
        let arrival = proto::Arrival {
            move_id: move_id.to_vec().into(),
            subject: owner.subject.expose().to_owned(),
            step: Some(step),
        };
        Ok(session.call(&self.node, &owner.tenant, arrival).await?)
    }
}

/// What goes on later, by the shard for which it waits: the log has the lines of all regions.
fn later(to: &PeerShard, why: &str) -> Halt {
    let PeerShard { region, shard, .. } = to;
    Halt::Later(format!("{region}/{shard}: {why}"))
}

/// Whether a subject that was given away then is to be served before another one is copied.
fn is_awaited(given_away: Option<Instant>, now: Instant) -> bool {
    given_away.is_some_and(|since| now.saturating_duration_since(since) >= UNSERVED_MAX)
}

/// Who read the subject's records. Blocks its thread.
fn accesses(node: &Node, owner: &Owner, subject: &Subject) -> Result<Vec<u8>, Rejection> {
    let rows = read_rows(&*node.engine, &[owner.accesses()]).map_err(Error::from)?;
    let accesses = match rows.into_iter().next().unwrap_or(Ok(None))? {
        Some(row) => Accesses::open(&row, owner, subject.incarnation, &node.region, subject.key())?,
        None => Accesses::default(),
    };
    Ok(travel::accesses(&accesses))
}

/// The next records, or the next chunk of the attachment that comes next. None: there are no more.
/// Blocks its thread.
fn next_step(
    node: &Node,
    owner: &Owner,
    subject: &Subject,
    so_far: &proto::Arrived,
) -> Result<Option<Step>, Rejection> {
    let after = so_far.after.clone();
    let page = pages::next(node, owner, subject, &after)?;
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(None) };
    if let Body::Chunked(bytes) = first.head.body
        && so_far.chunks < attachment::chunks(bytes)
    {
        let number = so_far.chunks;
        let record = travel::record(&first.address, &first.head).into();
        let data = pages::chunk(node, first, number)?.into();
        return Ok(Some(Step::Chunk(proto::ArrivalChunk { after, record, number, data })));
    }
    let next = last.address.row.clone().into();
    let mut records = Writer::with_capacity(1 << 20);
    for one in &page {
        let whole = match one.head.body {
            Body::Chunked(_) => pages::whole(node, one)?.to_vec(),
            Body::Deleted | Body::Inline(_) | Body::Apart(_) => Vec::new(),
        };
        let body = if whole.is_empty() { &one.body } else { &whole };
        travel::add(&mut records, &one.address, &one.head, body);
    }
    Ok(Some(Step::Rows(proto::ArrivalRows { after, next, records: records.0.into() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_end_some_time_after_a_subject_was_given_away_and_go_on_in_the_next_turn() {
        let since = Instant::now();
        assert!(!is_awaited(None, since));
        assert!(!is_awaited(Some(since), since));
        assert!(is_awaited(Some(since), since + UNSERVED_MAX));
        let mut sessions = Sessions { given_away: Some(since), ..Sessions::default() };
        // A later one makes no difference.
        sessions.gave_away();
        assert!(sessions.given_away == Some(since));
        sessions.again();
        assert!(sessions.given_away.is_none() && !sessions.is_awaited());
    }
}
