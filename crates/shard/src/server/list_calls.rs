//! The lists and counts of a session, and questions about a subject: a few at once, each on a thread
//! that may block, with room for its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use terms::TenantId;
use terms::limits::{BODY_BYTES_MAX, LIST_PAGE_BYTES_MAX};
use tokio::sync::Semaphore;
use wire::session as proto;

use crate::policy::asker::Asker;
use crate::read::binding::AskBinding;
use crate::read::list::{List, Of, View};
use crate::read::locate::Locate;
use crate::read::person::AboutPerson;
use crate::read::reader::Reader;
use crate::reply::answer_room::AnswerRoom;
use crate::reply::{ReplySlot, busy};
use crate::server::decode::participants::asked;
use crate::server::move_calls::{AskMoves, MovesOf};
use crate::server::proof_waiter::ProofWaiter;

/// How many calls of one kind are worked on at once, and how many may wait for that.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    turns: usize,
    waiting: usize,
}

/// Lists and counts, of all sessions; and of one tenant, so that none takes all turns.
const LISTS: Numbers = Numbers { turns: 4, waiting: 256 };
const LISTS_OF_TENANT: Numbers = Numbers { turns: LISTS.turns - 1, waiting: LISTS.waiting / 4 };

/// Subjects that are looked for.
const LOCATES: Numbers = Numbers { turns: 8, ..LISTS };

/// Questions for what binds a person. A put asks for up to eight persons, and a batch or a stream has
/// many puts under way: those of one tenant wait here, and are not refused.
const BINDINGS: Numbers = Numbers { turns: 8, waiting: 32_768 };
const BINDINGS_OF_TENANT: Numbers =
    Numbers { turns: BINDINGS.turns - 1, waiting: BINDINGS.waiting / 2 };

/// Bytes of the names of a map's collections.
const LOCATED_BYTES_MAX: usize = 64 << 10;
/// Bytes of the codes of jurisdictions.
const BINDING_BYTES_MAX: usize = 4 << 10;
/// Bytes of what is held of a subject: its findings, and its rulings.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Bytes of a tenant's moves that are listed.
const MOVES_BYTES_MAX: usize = 1 << 20;
/// Bytes of the proof of a move: two entries with their paths and checkpoints.
const MOVE_PROOF_BYTES_MAX: usize = 32 << 10;
/// Bytes of a number, or of one move.
const COUNT_BYTES_MAX: usize = 1 << 10;

/// What lists and counts need, in one session.
#[derive(Clone)]
pub(crate) struct ListCalls {
    lists: Turns,
    /// Questions for a subject, which read one row: they wait for no list.
    points: Turns,
    /// Those before a put.
    bindings: Turns,
}

impl ListCalls {
    /// For all sessions of one shard.
    pub(crate) fn new() -> Self {
        Self {
            lists: Turns::new(LISTS, LISTS_OF_TENANT),
            points: Turns::new(LOCATES, LISTS_OF_TENANT),
            bindings: Turns::new(BINDINGS, BINDINGS_OF_TENANT),
        }
    }

    /// For one session more.
    pub(crate) fn of_session(&self) -> Self {
        let (lists, points) = (self.lists.of_session(), self.points.of_session());
        Self { lists, points, bindings: self.bindings.of_session() }
    }

    /// Reads a page, and answers.
    pub(crate) fn submit(&self, list: List, reader: &Reader, room: &AnswerRoom) {
        let bytes = match (list.query.of, list.query.view) {
            (Of::Number, _) => COUNT_BYTES_MAX,
            // The first record always fits, whatever its size.
            (_, View::Whole) => LIST_PAGE_BYTES_MAX + BODY_BYTES_MAX,
            _ => LIST_PAGE_BYTES_MAX,
        };
        let List { reply, deadline, asker, query } = list;
        let (reader, tenant) = (reader.clone(), asker.tenant.clone());
        self.lists.serve(&tenant, reply, bytes, room, move |reply| {
            List { reply, deadline, asker, query }.serve(&reader);
        });
    }

    /// Reads what is held of a subject, and answers.
    pub(crate) fn about(&self, about: AboutPerson, reader: &Reader, room: &AnswerRoom) {
        let AboutPerson { reply, deadline, asker, asked } = about;
        let (reader, tenant) = (reader.clone(), asker.tenant.clone());
        self.lists.serve(&tenant, reply, HELD_BYTES_MAX, room, move |reply| {
            AboutPerson { reply, deadline, asker, asked }.serve(&reader);
        });
    }

    /// Looks for a subject, and answers.
    pub(crate) fn locate(&self, locate: Locate, reader: &Reader, room: &AnswerRoom) {
        let Locate { reply, asker, asked } = locate;
        let (reader, tenant) = (reader.clone(), asker.tenant.clone());
        self.points.serve(&tenant, reply, LOCATED_BYTES_MAX, room, move |reply| {
            Locate { reply, asker, asked }.serve(&reader);
        });
    }

    /// Reads what has become of moves, and answers. None: the question was refused, and answered.
    pub(crate) fn moves(
        &self,
        ask: Option<AskMoves>,
        prover: &ProofWaiter,
        reader: &Reader,
        room: &AnswerRoom,
    ) {
        let Some(AskMoves { reply, asker, of }) = ask else { return };
        let (reader, views) = (reader.clone(), prover.views().clone());
        let tenant = asker.tenant.clone();
        let (turns, bytes) = match &of {
            MovesOf::Subject(_) => (&self.points, COUNT_BYTES_MAX),
            MovesOf::Arrived(_) => (&self.points, MOVE_PROOF_BYTES_MAX),
            MovesOf::Tenant => (&self.lists, MOVES_BYTES_MAX),
        };
        turns.serve(&tenant, reply, bytes, room, move |reply| {
            AskMoves { reply, asker, of }.serve(&reader, &views);
        });
    }

    /// Reads what binds a person, and answers.
    pub(crate) fn ask_binding(
        &self,
        reply: ReplySlot,
        asker: Asker,
        of: &proto::AskBinding,
        reader: &Reader,
        room: &AnswerRoom,
    ) {
        let (owner, collection) = match asked(&reader.node, &asker, of) {
            Ok(asked) => asked,
            Err(fault) => return reply.send(fault.into()),
        };
        let (reader, tenant) = (reader.clone(), asker.tenant.clone());
        self.bindings.serve(&tenant, reply, BINDING_BYTES_MAX, room, move |reply| {
            AskBinding { reply, asker, owner, collection }.serve(&reader);
        });
    }
}

/// Turns of one kind of call, of which no tenant has all.
#[derive(Clone)]
struct Turns {
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    of_tenants: Tenants,
    /// The same of this session: a gateway that takes no answers keeps a tenant's calls of this
    /// session, and none of another.
    here: Tenants,
}

impl Turns {
    fn new(all: Numbers, of_tenant: Numbers) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(all.turns)),
            waiting: Arc::new(Semaphore::new(all.waiting)),
            of_tenants: Tenants::new(of_tenant),
            here: Tenants::new(of_tenant),
        }
    }

    fn of_session(&self) -> Self {
        Self {
            turns: Arc::clone(&self.turns),
            waiting: Arc::clone(&self.waiting),
            of_tenants: self.of_tenants.clone(),
            here: Tenants::new(self.here.part),
        }
    }

    /// Waits for the tenant's turn in this session, then for room, then for its turn in the shard. What
    /// waits holds nothing that another session needs. What waits for its turn in the shard holds room of
    /// its session, for which lists of other tenants there may wait as long.
    fn serve(
        &self,
        tenant: &TenantId,
        mut reply: ReplySlot,
        bytes: usize,
        room: &AnswerRoom,
        serve: impl FnOnce(ReplySlot) + Send + 'static,
    ) {
        let (here, of_tenant) = (self.here.part(tenant), self.of_tenants.part(tenant));
        let waiting = (
            Arc::clone(&of_tenant.waiting).try_acquire_owned(),
            Arc::clone(&self.waiting).try_acquire_owned(),
        );
        let (Ok(of_waiting), Ok(waiting)) = waiting else { return reply.send(busy()) };
        let (turns, room) = (Arc::clone(&self.turns), room.clone());
        tokio::spawn(async move {
            let Ok(_here) = here.turns.acquire().await else { return };
            // None: the session has ended.
            let Some(taken) = room.take_for_list(bytes).await else { return };
            reply.room = Some(taken);
            let Ok(_of_tenant) = of_tenant.turns.acquire().await else { return };
            let Ok(_turn) = turns.acquire_owned().await else { return };
            drop((of_waiting, waiting));
            // A panic answers by dropping the reply.
            tokio::task::spawn_blocking(move || serve(reply)).await.ok();
        });
    }
}

/// The tenants that have calls now.
#[derive(Clone)]
struct Tenants {
    now: Arc<Mutex<HashMap<TenantId, Weak<OfTenant>>>>,
    /// What each of them has.
    part: Numbers,
}

/// A tenant's part.
struct OfTenant {
    turns: Semaphore,
    waiting: Arc<Semaphore>,
}

impl Tenants {
    fn new(part: Numbers) -> Self {
        Self { now: Arc::default(), part }
    }

    /// The part of that tenant. It is forgotten when no call of the tenant has it.
    fn part(&self, tenant: &TenantId) -> Arc<OfTenant> {
        // Nothing that can panic runs under this lock.
        let mut tenants = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = tenants.get(tenant).and_then(Weak::upgrade) {
            return part;
        }
        tenants.retain(|_, part| part.strong_count() > 0);
        let part = Arc::new(OfTenant {
            turns: Semaphore::new(self.part.turns),
            waiting: Arc::new(Semaphore::new(self.part.waiting)),
        });
        tenants.insert(tenant.clone(), Arc::downgrade(&part));
        part
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use terms::{Reason, Rejection};
    use tokio::sync::oneshot;

    use super::*;
    use crate::reply::Outcome;

    /// A call that answers once it is let go.
    struct Held {
        answer: oneshot::Receiver<Outcome>,
        go: mpsc::Sender<()>,
        begun: oneshot::Receiver<()>,
    }

    fn call(turns: &Turns, tenant: &str, bytes: usize, room: &AnswerRoom) -> Held {
        let (answered, answer) = oneshot::channel();
        let (begins, begun) = oneshot::channel();
        let (go, wait) = mpsc::channel::<()>();
        let reply = ReplySlot::new(|outcome, _| {
            answered.send(outcome).ok();
        });
        let tenant = TenantId::parse(tenant).unwrap();
        turns.serve(&tenant, reply, bytes, room, move |reply| {
            begins.send(()).ok();
            wait.recv().ok();
            reply.send(Rejection::new(Reason::NotBuilt).into());
        });
        Held { answer, go, begun }
    }

    #[tokio::test]
    async fn counts_and_lists_that_wait_keep_no_record_and_no_other_tenant_waiting() {
        let (calls, room) = (ListCalls::new(), AnswerRoom::new());
        let session = calls.of_session();
        let page = LIST_PAGE_BYTES_MAX;
        let busy = || call(&session.lists, "busy", page, &room);
        let mut all: Vec<_> = (0..LISTS_OF_TENANT.turns).map(|_| busy()).collect();
        for held in &mut all {
            (&mut held.begun).await.unwrap();
        }
        all.extend((0..LISTS_OF_TENANT.waiting).map(|_| busy()));
        // All that other answers ever have is free.
        let free = room.take(OTHERS).await.unwrap();
        drop(free);
        // The tenant's calls fill its own part of the queue, and of the turns.
        let full = call(&session.lists, "busy", COUNT_BYTES_MAX, &room);
        assert!(matches!(full.answer.await.unwrap(), Outcome::Rejected(_)));
        // Another tenant, in a session of its own, has a turn at once.
        let (other, own) = (calls.of_session(), AnswerRoom::new());
        let held = call(&other.lists, "quiet", page, &own);
        held.begun.await.unwrap();
        held.go.send(()).unwrap();
        held.answer.await.unwrap();
        // And in the same session, too.
        let small = call(&session.lists, "quiet", COUNT_BYTES_MAX, &room);
        small.begun.await.unwrap();
        small.go.send(()).unwrap();
        small.answer.await.unwrap();
        // All of the first are answered in the end.
        for held in all {
            held.go.send(()).ok();
            held.answer.await.unwrap();
        }
    }

    #[tokio::test]
    async fn questions_before_the_puts_of_a_batch_wait_and_are_not_refused() {
        let (calls, room) = (ListCalls::new(), AnswerRoom::new());
        let session = calls.of_session();
        let ask = || call(&session.bindings, "busy", BINDING_BYTES_MAX, &room);
        // A batch works on 128 puts at once, with eight persons each.
        let all: Vec<_> = (0..128 * 8).map(|_| ask()).collect();
        // Another tenant has a turn meanwhile.
        let quiet = call(&calls.of_session().bindings, "quiet", BINDING_BYTES_MAX, &room);
        quiet.begun.await.unwrap();
        quiet.go.send(()).unwrap();
        quiet.answer.await.unwrap();
        for held in &all {
            held.go.send(()).unwrap();
        }
        for held in all {
            held.begun.await.unwrap();
            held.answer.await.unwrap();
        }
    }

    /// More than there is.
    const OTHERS: usize = usize::MAX >> 1;
}
