//! The `Ledger` service: the log for auditors.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ledger::Entry;
use ledger::entry::Kind;
use link::grpc_status::status;
use terms::{Detail, Reason, Rejection, limits};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use wire::v1 as api;
use wire::v1::ledger_server::Ledger;

use crate::Error;
use crate::audit::access::{AuditContext, Auditor};
use crate::audit::reconcile;
use crate::log::view::{LogView, Signed};

/// Entries of one message: with their numbers it stays below what a message may hold.
const BATCH_ENTRIES_MAX: usize = 1_024;
/// Bytes of the entries of one message.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Messages that wait for their auditor to take them.
const BATCHES_WAITING: usize = 2;
/// Entries that are looked at in one go, where few are wanted: then it is another call's turn.
const TURN_ENTRIES: u64 = 16_384;
/// Time in which an auditor must take a message.
const TAKEN_MAX: Duration = Duration::from_secs(60);
/// Time between two looks at whether an auditor who waits would still be let in.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The service.
pub(crate) struct Service(pub(crate) AuditContext);

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Who asks. The gate has let in no other.
fn auditor<T>(request: &Request<T>) -> Result<Auditor, Status> {
    let auditor = request.extensions().get::<Auditor>().cloned();
    auditor.ok_or_else(|| status(&Rejection::new(Reason::Internal), terms::CallId(0)))
}

#[tonic::async_trait]
impl Ledger for Service {
    type EntriesStream = Outgoing<api::LedgerEntries>;
    type TailStream = Outgoing<api::LedgerTail>;

    async fn checkpoint(
        &self,
        request: Request<api::LedgerCheckpointRequest>,
    ) -> Result<Response<api::LedgerCheckpoint>, Status> {
        let auditor = auditor(&request)?;
        let (chronicles, origin) = (self.0.logs().clone(), request.into_inner().origin);
        let told = self.0.read(move || {
            let log = chronicles.shown_of(&origin)?;
            let (checkpoint, vkey) = (log.signed.note.clone(), log.signed.log.vkey.to_string());
            Ok(api::LedgerCheckpoint { checkpoint, vkey, vkeys: chronicles.vkeys()? })
        });
        answer(told.await, &auditor)
    }

    async fn entries(
        &self,
        request: Request<api::LedgerEntriesRequest>,
    ) -> Result<Response<Self::EntriesStream>, Status> {
        let auditor = auditor(&request)?;
        let (context, asked) = (self.0.clone(), request.into_inner());
        let refused = |fault: Rejection| status(&fault, auditor.call);
        let filter = Filter::read(asked.filter.unwrap_or_default()).map_err(refused)?;
        let (chronicles, origin) = (context.logs().clone(), asked.origin);
        let log = context.read(move || chronicles.of(&origin)).await.map_err(refused)?;
        let end = if asked.end == 0 { log.size() } else { asked.end.min(log.size()) };
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
        let sending = Sending { context, auditor, sender };
        let (log, start) = (Arc::new(log), asked.start);
        tokio::spawn(async move {
            let told = sending.range(&log, &filter, start..end, entries_message).await;
            sending.end(told).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn proof(
        &self,
        request: Request<api::LedgerProofRequest>,
    ) -> Result<Response<api::LedgerProof>, Status> {
        let auditor = auditor(&request)?;
        let (chronicles, asked) = (self.0.logs().clone(), request.into_inner());
        let told = self.0.read(move || {
            let (entry, proof) = chronicles.of(&asked.origin)?.proof(asked.index)?;
            Ok(api::LedgerProof { entry: entry.into(), tlog_proof: proof.to_text() })
        });
        answer(told.await, &auditor)
    }

    async fn consistency(
        &self,
        request: Request<api::LedgerConsistencyRequest>,
    ) -> Result<Response<api::LedgerConsistency>, Status> {
        let auditor = auditor(&request)?;
        let (chronicles, asked) = (self.0.logs().clone(), request.into_inner());
        let told = self.0.read(move || {
            let log = chronicles.of(&asked.origin)?;
            let (new_size, hashes) = log.consistency(asked.old_size, asked.new_size)?;
            let hashes = hashes.into_iter().map(|hash| hash.0.to_vec().into()).collect();
            Ok(api::LedgerConsistency { new_size, hashes, checkpoint: log.signed.note.clone() })
        });
        answer(told.await, &auditor)
    }

    async fn tail(
        &self,
        request: Request<api::LedgerTailRequest>,
    ) -> Result<Response<Self::TailStream>, Status> {
        let auditor = auditor(&request)?;
        let (context, asked) = (self.0.clone(), request.into_inner());
        let refused = |fault: Rejection| status(&fault, auditor.call);
        let growing = context.logs().growing();
        if !growing.signed.is_of(&asked.origin) {
            return Err(refused(Rejection::new(Reason::LogUnknown).field("origin")));
        }
        // Of a log that has begun again since, say, a follower would wait for ever.
        if asked.start > growing.size() {
            return Err(refused(Rejection::new(Reason::EntryUnknown).field("start")));
        }
        let origin = Arc::clone(growing.origin());
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
        let sending = Sending { context, auditor, sender };
        tokio::spawn(async move {
            let told = sending.tail(&origin, asked.start).await;
            sending.end(told).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn reconcile(
        &self,
        request: Request<api::LedgerReconcileRequest>,
    ) -> Result<Response<api::LedgerReconcile>, Status> {
        let auditor = auditor(&request)?;
        answer(reconcile::answer(&self.0, &auditor, request.into_inner()).await, &auditor)
    }
}

fn answer<T>(told: Result<T, Rejection>, auditor: &Auditor) -> Result<Response<T>, Status> {
    told.map(Response::new).map_err(|fault| status(&fault, auditor.call))
}

/// A stream on its way to an auditor.
struct Sending<T> {
    context: AuditContext,
    auditor: Auditor,
    sender: mpsc::Sender<Result<T, Status>>,
}

/// The caller takes it no more.
struct Gone;

/// Why a stream ends early.
enum Ends {
    Gone(Gone),
    Refused(Rejection),
}

impl From<Rejection> for Ends {
    fn from(fault: Rejection) -> Self {
        Self::Refused(fault)
    }
}

fn entries_message(_: &LogView, batch: api::LedgerEntries) -> api::LedgerEntries {
    batch
}

fn tail_message(log: &LogView, batch: api::LedgerEntries) -> api::LedgerTail {
    let start = batch.indexes.first().copied().unwrap_or_default();
    let checkpoint = log.signed.note.clone();
    api::LedgerTail { checkpoint, start, entries: batch.entries }
}

impl<T> Sending<T> {
    /// Says why it ends, unless all was sent or the caller has gone.
    async fn end(self, told: Result<(), Ends>) {
        if let Err(Ends::Refused(fault)) = told {
            let last = self.sender.send(Err(status(&fault, self.auditor.call)));
            // Gone is gone.
            drop(timeout(TAKEN_MAX, last).await);
        }
    }

    /// Sends the entries of a range that are wanted, a message at a time: the next is read only
    /// when there is room for it, as long as the auditor would still be let in.
    async fn range(
        &self,
        log: &Arc<LogView>,
        filter: &Filter,
        entries: Range<u64>,
        message: fn(&LogView, api::LedgerEntries) -> T,
    ) -> Result<(), Ends> {
        let mut at = entries.start;
        while at < entries.end {
            let room = tokio::select! {
                room = timeout(TAKEN_MAX, self.sender.reserve()) => room,
                () = self.context.over() => return Err(Rejection::new(Reason::ShuttingDown).into()),
            };
            let Ok(Ok(room)) = room else { return Err(Ends::Gone(Gone)) };
            self.context.still(&self.auditor)?;
            let (shared, filter) = (Arc::clone(log), filter.clone());
            let rest = at..entries.end;
            let (batch, next) = self.context.read(move || batch(&shared, &filter, rest)).await?;
            at = next;
            if !batch.indexes.is_empty() {
                room.send(Ok(message(log, batch)));
            }
        }
        Ok(())
    }
}

impl Sending<api::LedgerTail> {
    /// Sends what is new under each checkpoint, until the listener has gone, or the log has ended.
    async fn tail(&self, origin: &Arc<str>, start: u64) -> Result<(), Ends> {
        let chronicles = self.context.logs();
        let mut checkpoints = chronicles.checkpoints();
        let mut at = start;
        loop {
            let new = |signed: &Arc<Signed>| !signed.is_of(origin) || signed.size() > at;
            let waited = tokio::select! {
                waited = timeout(LOOK_EVERY, checkpoints.wait_for(new)) => {
                    waited.is_ok_and(|waited| waited.is_ok())
                }
                () = self.context.over() => return Err(Rejection::new(Reason::ShuttingDown).into()),
                () = self.sender.closed() => return Err(Ends::Gone(Gone)),
            };
            self.context.still(&self.auditor)?;
            if !waited {
                continue;
            }
            let ended = !checkpoints.borrow().is_of(origin);
            let (chronicles, of) = (chronicles.clone(), Arc::clone(origin));
            let log = Arc::new(self.context.read(move || chronicles.of(&of)).await?);
            self.range(&log, &Filter::default(), at..log.size(), tail_message).await?;
            at = log.size();
            if ended {
                return Ok(());
            }
        }
    }
}

/// The next entries that are wanted, as much as one message holds, and the first that was not
/// looked at. Blocks its thread.
fn batch(
    log: &LogView,
    filter: &Filter,
    entries: Range<u64>,
) -> Result<(api::LedgerEntries, u64), Rejection> {
    // Without a filter every entry is taken, and none is read for nothing.
    let most = if filter.takes_all() { BATCH_ENTRIES_MAX as u64 } else { TURN_ENTRIES };
    let from = entries.start;
    let until = entries.end.min(from.saturating_add(most));
    let (mut batch, mut bytes, mut next) = (api::LedgerEntries::default(), 0, until);
    log.each(from, until, &mut |index, entry| {
        if next != until || !filter.wants(entry)? {
            return Ok(());
        }
        if batch.indexes.len() == BATCH_ENTRIES_MAX || bytes + entry.len() > BATCH_BYTES_MAX {
            next = index;
            return Ok(());
        }
        bytes += entry.len();
        batch.indexes.push(index);
        batch.entries.push(entry.to_vec().into());
        Ok(())
    })?;
    Ok((batch, next))
}

/// Which entries are wanted.
#[derive(Clone, Default)]
struct Filter {
    kinds: Vec<Kind>,
    /// The first minute, and the first that is not wanted.
    minutes: (Option<u64>, Option<u64>),
    jurisdiction: String,
    collection: String,
}

impl Filter {
    fn read(asked: api::LedgerFilter) -> Result<Self, Rejection> {
        let api::LedgerFilter { kinds, from_time, until_time, jurisdiction, collection } = asked;
        if kinds.len() > Kind::ALL.len() {
            let fault = Rejection::new(Reason::TooManyItems).field("filter.kinds");
            return Err(fault.with(Detail::Limit, Kind::ALL.len()));
        }
        let invalid = |field: &'static str| Rejection::new(Reason::FieldInvalid).field(field);
        let kind = |kind: &String| Kind::parse(kind).ok_or_else(|| invalid("filter.kinds"));
        let kinds = kinds.iter().map(kind).collect::<Result<_, _>>()?;
        let names = [("filter.jurisdiction", &jurisdiction), ("filter.collection", &collection)];
        if let Some((field, _)) = names.iter().find(|(_, name)| name.len() > limits::NAME_BYTES_MAX)
        {
            return Err(invalid(field));
        }
        let minute = |field: &'static str, seconds: i64, up: u64| -> Result<_, Rejection> {
            let seconds = u64::try_from(seconds).map_err(|_| invalid(field))?;
            Ok(Some((seconds + up) / 60))
        };
        // Entries tell whole minutes: one that has begun is wanted from its beginning on.
        let from = from_time.map_or(Ok(None), |t| minute("filter.from_time", t.seconds, 0))?;
        let until = until_time.map_or(Ok(None), |t| minute("filter.until_time", t.seconds, 59))?;
        Ok(Self { kinds, minutes: (from, until), jurisdiction, collection })
    }

    fn takes_all(&self) -> bool {
        let Self { kinds, minutes, jurisdiction, collection } = self;
        kinds.is_empty()
            && *minutes == (None, None)
            && jurisdiction.is_empty()
            && collection.is_empty()
    }

    fn wants(&self, entry: &[u8]) -> Result<bool, Error> {
        if self.takes_all() {
            return Ok(true);
        }
        let Self { kinds, minutes: (from, until), jurisdiction, collection } = self;
        let entry = Entry::decode(entry).map_err(|_| Error::Damaged("placement log"))?;
        let minute = u64::from(entry.minute);
        Ok((kinds.is_empty() || kinds.contains(&entry.kind))
            && from.is_none_or(|from| minute >= from)
            && until.is_none_or(|until| minute < until)
            && (jurisdiction.is_empty() || entry.jurisdictions.contains(jurisdiction))
            && (collection.is_empty() || entry.collection.as_deref() == Some(collection)))
    }
}
