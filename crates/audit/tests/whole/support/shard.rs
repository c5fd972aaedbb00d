//! A shard that serves logs made in memory, and lies when it is told to.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use client::{Access, Ledger, api};
use ledger::hash::{Hash, leaf_hash};
use ledger::tile::TileId;
use ledger::{proof, tree};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use wire::v1::ledger_server::{Ledger as Served, LedgerServer};

use super::{Log, signer};

/// Entries in a message.
const BATCH: usize = 100;

/// What the shard shows, and how it lies.
#[derive(Default)]
pub(crate) struct Shows {
    /// Its logs, the oldest first.
    pub(crate) logs: Vec<Log>,
    /// Entries that are signed of the newest; of the others, all are.
    pub(crate) size: u64,
    /// Entries after which a stream breaks.
    pub(crate) break_after: Option<usize>,
    /// The entry that is sent as another one.
    pub(crate) wrong: Option<usize>,
    /// Whether it proves nothing, since it is busy.
    pub(crate) busy: bool,
    /// Whether messages without entries come before the others.
    pub(crate) empty: bool,
    /// The note that is shown in place of the newest log's.
    pub(crate) note: Option<String>,
    /// The answer to a reconciliation.
    pub(crate) reconcile: api::LedgerReconcile,
    /// The first entries that were asked for, one for each call.
    pub(crate) asked: Vec<u64>,
}

pub(crate) type Shown = Arc<Mutex<Shows>>;

struct Shard(Shown);

impl Shows {
    pub(crate) fn of(log: Log) -> Shown {
        let size = log.size();
        Arc::new(Mutex::new(Self { logs: vec![log], size, ..Self::default() }))
    }

    fn log(&self, origin: &str) -> Result<(&Log, u64), Status> {
        let newest = self.logs.last().expect("a log");
        if origin.is_empty() || origin == newest.origin {
            return Ok((newest, self.size));
        }
        let log = self.logs.iter().find(|log| log.origin == origin);
        log.map(|log| (log, log.size())).ok_or_else(|| Status::not_found("no such log"))
    }

    fn note(&self, origin: &str) -> Result<String, Status> {
        let (log, size) = self.log(origin)?;
        let newest = self.logs.last().is_some_and(|newest| newest.origin == log.origin);
        match &self.note {
            Some(note) if newest => Ok(note.clone()),
            _ => Ok(log.note(size)),
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Served for Shard {
    type EntriesStream = Answers<api::LedgerEntries>;
    type TailStream = Answers<api::LedgerTail>;

    async fn checkpoint(
        &self,
        request: Request<api::LedgerCheckpointRequest>,
    ) -> Result<Response<api::LedgerCheckpoint>, Status> {
        let shows = self.0.lock().expect("a lock");
        let origin = request.into_inner().origin;
        let (log, _) = shows.log(&origin)?;
        Ok(Response::new(api::LedgerCheckpoint {
            checkpoint: shows.note(&origin)?,
            vkey: signer(&log.origin).vkey(),
            vkeys: shows.logs.iter().map(|log| signer(&log.origin).vkey()).collect(),
        }))
    }

    async fn entries(
        &self,
        request: Request<api::LedgerEntriesRequest>,
    ) -> Result<Response<Self::EntriesStream>, Status> {
        let mut shows = self.0.lock().expect("a lock");
        let api::LedgerEntriesRequest { origin, start, end, .. } = request.into_inner();
        shows.asked.push(start);
        let (log, size) = shows.log(&origin)?;
        let end = if end == 0 { size } else { end.min(size) };
        let mut wanted: Vec<(u64, Vec<u8>)> = (start..end)
            .map(|index| (index, log.entries[usize::try_from(index).expect("a place")].clone()))
            .collect();
        if let Some(wrong) = shows.wrong
            && let Some((_, entry)) = wanted.iter_mut().find(|(i, _)| *i == wrong as u64)
        {
            *entry = super::place(1, "wrong").encode().expect("an entry");
        }
        let until = shows.break_after.unwrap_or(usize::MAX);
        let broken = wanted.len() > until;
        wanted.truncate(until);
        let mut batches: Vec<Result<api::LedgerEntries, Status>> = wanted
            .chunks(BATCH)
            .map(|chunk| {
                let (indexes, entries) =
                    chunk.iter().map(|(index, entry)| (*index, entry.clone().into())).unzip();
                Ok(api::LedgerEntries { indexes, entries })
            })
            .collect();
        if shows.empty {
            batches.insert(0, Ok(api::LedgerEntries::default()));
        }
        if broken {
            batches.push(Err(Status::unavailable("broken")));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(batches))))
    }

    async fn proof(
        &self,
        _: Request<api::LedgerProofRequest>,
    ) -> Result<Response<api::LedgerProof>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn consistency(
        &self,
        request: Request<api::LedgerConsistencyRequest>,
    ) -> Result<Response<api::LedgerConsistency>, Status> {
        let shows = self.0.lock().expect("a lock");
        if shows.busy {
            return Err(Status::unavailable("busy"));
        }
        let api::LedgerConsistencyRequest { origin, old_size, new_size } = request.into_inner();
        let (log, size) = shows.log(&origin)?;
        let new_size = if new_size == 0 { size } else { new_size };
        let leaves: Vec<Hash> = log.entries.iter().map(|entry| leaf_hash(entry)).collect();
        let mut reader = |tile: TileId| -> Result<Vec<u8>, Status> {
            let wide = 1 << (usize::from(tile.level) * 8);
            let first = usize::try_from(tile.index).expect("a place") * 256;
            let hash = |n: usize| tree::root_of(&leaves[n * wide..(n + 1) * wide]).0;
            Ok((first..first + usize::from(tile.width)).flat_map(hash).collect())
        };
        let hashes = proof::consistency(old_size, new_size, &mut reader)
            .map_err(|_| Status::internal("no proof"))?;
        let hashes = hashes.into_iter().map(|hash| hash.0.to_vec().into()).collect();
        let checkpoint = shows.note(&origin)?;
        Ok(Response::new(api::LedgerConsistency { new_size, hashes, checkpoint }))
    }

    async fn tail(
        &self,
        _: Request<api::LedgerTailRequest>,
    ) -> Result<Response<Self::TailStream>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }

    async fn reconcile(
        &self,
        _: Request<api::LedgerReconcileRequest>,
    ) -> Result<Response<api::LedgerReconcile>, Status> {
        Ok(Response::new(self.0.lock().expect("a lock").reconcile.clone()))
    }
}

/// Serves it on a port of this machine.
pub(crate) async fn serve(shown: &Shown) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener).map(|it| it);
    let service = LedgerServer::new(Shard(Arc::clone(shown)));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    address
}

/// An auditor's connection to it.
pub(crate) async fn connect(shown: &Shown) -> Ledger {
    let url = format!("http://{}", serve(shown).await);
    Ledger::connect(&url, &Access::default()).await.expect("a shard")
}
