//! The `Ledger` service: the log for auditors.

use std::pin::Pin;

use ledger::Entry;
use ledger::entry::Kind;
use link::status::status;
use terms::{Detail, Fault, Reason, limits};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use wire::v1 as api;
use wire::v1::ledger_server::Ledger;

use crate::Error;
use crate::auditors::{Auditor, Desk};
use crate::chronicle::Chronicle;
use crate::reconcile;

/// Entries of one message: with their numbers it stays below what a message may hold.
const BATCH_ENTRIES_MAX: usize = 1_024;
/// Bytes of the entries of one message.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Messages that wait for their auditor to take them.
const BATCHES_WAITING: usize = 4;
/// Entries that are read in one go: then it is another call's turn.
const TURN_ENTRIES: u64 = 65_536;

/// The service.
pub(crate) struct Service(pub(crate) Desk);

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Who asks. The gate has let in nobody else.
fn auditor<T>(request: &Request<T>) -> Result<Auditor, Status> {
    let auditor = request.extensions().get::<Auditor>().cloned();
    auditor.ok_or_else(|| status(&Fault::new(Reason::Internal), terms::CallId(0)))
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
        let (chronicles, origin) = (self.0.chronicles().clone(), request.into_inner().origin);
        let told = self.0.read(move || {
            let log = chronicles.of(&origin)?;
            let (checkpoint, vkey) = (log.signed.note.clone(), log.vkey.to_string());
            Ok(api::LedgerCheckpoint { checkpoint, vkey, vkeys: chronicles.vkeys()? })
        });
        answer(told.await, &auditor)
    }

    async fn entries(
        &self,
        request: Request<api::LedgerEntriesRequest>,
    ) -> Result<Response<Self::EntriesStream>, Status> {
        let auditor = auditor(&request)?;
        let (desk, asked) = (self.0.clone(), request.into_inner());
        let refused = |fault: Fault| status(&fault, auditor.call);
        let filter = Filter::read(asked.filter.unwrap_or_default()).map_err(refused)?;
        let (chronicles, origin) = (desk.chronicles().clone(), asked.origin);
        let log = desk.read(move || chronicles.of(&origin)).await.map_err(refused)?;
        let log = std::sync::Arc::new(log);
        let end = if asked.end == 0 { log.size() } else { asked.end.min(log.size()) };
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
        let (call, mut at) = (auditor.call, asked.start);
        tokio::spawn(async move {
            let _auditor = auditor;
            while at < end {
                let until = end.min(at + TURN_ENTRIES);
                let (log, filter) = (std::sync::Arc::clone(&log), filter.clone());
                let from = at;
                let read = desk.read(move || batches(&log, &filter, (from, until)));
                let batches = tokio::select! {
                    read = read => read,
                    () = desk.over() => Err(Fault::new(Reason::ShuttingDown)),
                    () = sender.closed() => return,
                };
                let batches = match batches {
                    Ok(batches) => batches,
                    Err(fault) => {
                        // Gone is gone.
                        drop(sender.send(Err(status(&fault, call))).await);
                        return;
                    }
                };
                for batch in batches {
                    if sender.send(Ok(batch)).await.is_err() {
                        return;
                    }
                }
                at = until;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn proof(
        &self,
        request: Request<api::LedgerProofRequest>,
    ) -> Result<Response<api::LedgerProof>, Status> {
        let auditor = auditor(&request)?;
        let (chronicles, asked) = (self.0.chronicles().clone(), request.into_inner());
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
        let (chronicles, asked) = (self.0.chronicles().clone(), request.into_inner());
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
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
        let (desk, start) = (self.0.clone(), request.into_inner().start);
        tokio::spawn(async move {
            tokio::select! {
                () = tail(&desk, &auditor, start, &sender) => {}
                () = desk.over() => {
                    let fault = Fault::new(Reason::ShuttingDown);
                    drop(sender.try_send(Err(status(&fault, auditor.call))));
                }
            }
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

fn answer<T>(told: Result<T, Fault>, auditor: &Auditor) -> Result<Response<T>, Status> {
    told.map(Response::new).map_err(|fault| status(&fault, auditor.call))
}

/// Sends what is new under each checkpoint, until nobody listens any more.
async fn tail(
    desk: &Desk,
    auditor: &Auditor,
    start: u64,
    sender: &mpsc::Sender<Result<api::LedgerTail, Status>>,
) {
    let mut checkpoints = desk.chronicles().checkpoints();
    let mut at = start;
    loop {
        let waited = tokio::select! {
            waited = checkpoints.wait_for(|signed| signed.size() > at) => waited.is_ok(),
            () = sender.closed() => false,
        };
        if !waited {
            return;
        }
        let log = std::sync::Arc::new(desk.chronicles().growing());
        while at < log.size() {
            let (from, until) = (at, log.size().min(at + TURN_ENTRIES));
            let shared = std::sync::Arc::clone(&log);
            let read = desk.read(move || batches(&shared, &Filter::default(), (from, until)));
            let told = match read.await {
                Ok(batches) => batches,
                Err(fault) => {
                    drop(sender.send(Err(status(&fault, auditor.call))).await);
                    return;
                }
            };
            for batch in told {
                let start = batch.indexes.first().copied().unwrap_or_default();
                let checkpoint = log.signed.note.clone();
                let message = api::LedgerTail { checkpoint, start, entries: batch.entries };
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
            }
            at = until;
        }
    }
}

/// The entries of a range that are wanted, in messages. Blocks its thread.
fn batches(
    log: &Chronicle,
    filter: &Filter,
    (from, until): (u64, u64),
) -> Result<Vec<api::LedgerEntries>, Fault> {
    let mut batches = Vec::new();
    let (mut batch, mut bytes) = (api::LedgerEntries::default(), 0);
    log.each(from, until, &mut |index, entry| {
        if !filter.wants(entry)? {
            return Ok(());
        }
        bytes += entry.len();
        batch.indexes.push(index);
        batch.entries.push(entry.to_vec().into());
        if batch.indexes.len() == BATCH_ENTRIES_MAX || bytes >= BATCH_BYTES_MAX {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        Ok(())
    })?;
    if !batch.indexes.is_empty() {
        batches.push(batch);
    }
    Ok(batches)
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
    fn read(asked: api::LedgerFilter) -> Result<Self, Fault> {
        let api::LedgerFilter { kinds, from_time, until_time, jurisdiction, collection } = asked;
        if kinds.len() > Kind::ALL.len() {
            let fault = Fault::new(Reason::TooManyItems).field("filter.kinds");
            return Err(fault.with(Detail::Limit, Kind::ALL.len()));
        }
        let invalid = |field: &'static str| Fault::new(Reason::FieldInvalid).field(field);
        let kind = |kind: &String| Kind::parse(kind).ok_or_else(|| invalid("filter.kinds"));
        let kinds = kinds.iter().map(kind).collect::<Result<_, _>>()?;
        let names = [("filter.jurisdiction", &jurisdiction), ("filter.collection", &collection)];
        if let Some((field, _)) = names.iter().find(|(_, name)| name.len() > limits::NAME_BYTES_MAX)
        {
            return Err(invalid(field));
        }
        let minute = |field: &'static str, seconds: i64, up: u64| -> Result<_, Fault> {
            let seconds = u64::try_from(seconds).map_err(|_| invalid(field))?;
            Ok(Some((seconds + up) / 60))
        };
        // Entries tell whole minutes: one that has begun is wanted from its beginning on.
        let from = from_time.map_or(Ok(None), |t| minute("filter.from_time", t.seconds, 0))?;
        let until = until_time.map_or(Ok(None), |t| minute("filter.until_time", t.seconds, 59))?;
        Ok(Self { kinds, minutes: (from, until), jurisdiction, collection })
    }

    fn wants(&self, entry: &[u8]) -> Result<bool, Error> {
        let Self { kinds, minutes: (from, until), jurisdiction, collection } = self;
        let all = kinds.is_empty()
            && from.is_none()
            && until.is_none()
            && jurisdiction.is_empty()
            && collection.is_empty();
        if all {
            return Ok(true);
        }
        let entry = Entry::decode(entry).map_err(|_| Error::Damaged("placement log"))?;
        let minute = u64::from(entry.minute);
        Ok((kinds.is_empty() || kinds.contains(&entry.kind))
            && from.is_none_or(|from| minute >= from)
            && until.is_none_or(|until| minute < until)
            && (jurisdiction.is_empty() || entry.jurisdictions.contains(jurisdiction))
            && (collection.is_empty() || entry.collection.as_deref() == Some(collection)))
    }
}
