//! One shard's placement log, by the shard's auditor listener.
//!
//! Nothing that is answered here is believed here: the caller hashes the entries, and compares
//! with a checkpoint that the log's key has signed.

use std::ops::Range;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use wire::status_check::Checked;
use wire::v1::ledger_client::LedgerClient;

use crate::access::Target;
use crate::address::Address;
use crate::{Access, Error, Token, api};

/// Bytes of one answer at the most: a shard sends entries by the megabyte.
pub const LEDGER_ANSWER_BYTES_MAX: usize = 4 << 20;
/// The same for what a store is compared by, and for all that is new under one checkpoint.
pub const LEDGER_LONG_ANSWER_BYTES_MAX: usize = 64 << 20;
/// Time for a checkpoint or a proof.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Time for a walk through a whole store.
const WALK_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Time in which the next entries must come: the shard has them already.
const ENTRIES_WAIT_MAX: Duration = Duration::from_secs(60);
/// Bytes that a stream may be ahead of its reader.
const WINDOW_BYTES: u32 = 4 << 20;

/// A shard, as an auditor has it. Clones share their connection, which comes back by itself.
#[derive(Debug, Clone)]
pub struct Ledger {
    client: LedgerClient<Checked<Channel>>,
    /// The same for long answers.
    long: LedgerClient<Checked<Channel>>,
    token: Token,
}

/// Entries on their way, many to a message.
#[derive(Debug)]
pub struct EntryBatches(Streaming<api::LedgerEntries>);

/// New checkpoints on their way, each with the entries that are new under it.
#[derive(Debug)]
pub struct Tail(Streaming<api::LedgerTail>);

// === impl Ledger ===

impl Ledger {
    /// Connects to the auditor listener of a shard at `url`: `https://host:port`, or
    /// `http://host:port` on this machine.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Tls`], [`Error::Handshake`] and [`Error::Unreachable`].
    pub async fn connect(url: &str, access: &Access) -> Result<Self, Error> {
        let endpoint = endpoint(url, access)?;
        Ok(Self::of(endpoint.connect().await.map_err(Error::of_connect)?, access))
    }

    /// The same without a connection yet: the first call makes it. Needs a running runtime.
    ///
    /// # Errors
    /// [`Error::Address`] and [`Error::Tls`].
    pub fn lazy(url: &str, access: &Access) -> Result<Self, Error> {
        Ok(Self::of(endpoint(url, access)?.connect_lazy(), access))
    }

    fn of(channel: Channel, access: &Access) -> Self {
        let client = LedgerClient::new(Checked::new(channel));
        let client = client.max_decoding_message_size(LEDGER_ANSWER_BYTES_MAX);
        let long = client.clone().max_decoding_message_size(LEDGER_LONG_ANSWER_BYTES_MAX);
        Self { client, long, token: access.token.clone() }
    }

    /// The newest checkpoint of the log `origin`, or of the one that grows if it is empty, and the
    /// keys of all logs of the shard.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn checkpoint(&self, origin: &str) -> Result<api::LedgerCheckpoint, Error> {
        let message = api::LedgerCheckpointRequest { origin: origin.to_owned() };
        let mut client = self.client.clone();
        answered(CALL_MAX, client.checkpoint(self.request(message, CALL_MAX).await?)).await
    }

    /// What time it is there by its own clock, in seconds since 1970, if it says so.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn peer_time(&self) -> Result<Option<u64>, Error> {
        let mut client = self.client.clone();
        let message = api::LedgerCheckpointRequest::default();
        let call = client.checkpoint(self.request(message, CALL_MAX).await?);
        match timeout_at(Instant::now() + CALL_MAX, call).await {
            Ok(answer) => Ok(crate::clock::of_answer(answer?.metadata())),
            Err(_) => Err(Error::TimedOut),
        }
    }

    /// The entries from `start` up to, without, `end`, in order; `end` 0 is all that are signed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn entries(
        &self,
        origin: &str,
        indexes: Range<u64>,
        filter: Option<api::LedgerFilter>,
    ) -> Result<EntryBatches, Error> {
        let origin = origin.to_owned();
        let message =
            api::LedgerEntriesRequest { origin, start: indexes.start, end: indexes.end, filter };
        let mut client = self.client.clone();
        let call = client.entries(self.open_ended(message).await?);
        answered(CALL_MAX, call).await.map(EntryBatches)
    }

    /// That an entry is in the log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn proof(&self, origin: &str, index: u64) -> Result<api::LedgerProof, Error> {
        let message = api::LedgerProofRequest { origin: origin.to_owned(), index };
        let mut client = self.client.clone();
        answered(CALL_MAX, client.proof(self.request(message, CALL_MAX).await?)).await
    }

    /// That the log at `new_size` begins with what it was at `old_size`; `new_size` 0 is that of
    /// the newest checkpoint.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn consistency(
        &self,
        origin: &str,
        old_size: u64,
        new_size: u64,
    ) -> Result<api::LedgerConsistency, Error> {
        let origin = origin.to_owned();
        let message = api::LedgerConsistencyRequest { origin, old_size, new_size };
        let mut client = self.client.clone();
        answered(CALL_MAX, client.consistency(self.request(message, CALL_MAX).await?)).await
    }

    /// New checkpoints of the log that grows as they are signed, with its entries from `start`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tail(&self, start: u64) -> Result<Tail, Error> {
        let mut client = self.long.clone();
        let call = client
            .tail(self.open_ended(api::LedgerTailRequest { start, ..Default::default() }).await?);
        answered(CALL_MAX, call).await.map(Tail)
    }

    /// Has the shard count its records and open entries. What it answers names persons.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn reconcile(
        &self,
        message: api::LedgerReconcileRequest,
    ) -> Result<api::LedgerReconcile, Error> {
        let mut client = self.long.clone();
        answered(WALK_MAX, client.reconcile(self.request(message, WALK_MAX).await?)).await
    }

    async fn request<T>(&self, message: T, within: Duration) -> Result<Request<T>, Error> {
        let mut request = self.open_ended(message).await?;
        request.set_timeout(within);
        Ok(request)
    }

    /// A request that only the caller ends.
    async fn open_ended<T>(&self, message: T) -> Result<Request<T>, Error> {
        let mut request = Request::new(message);
        if let Some(bearer) = self.token.current().await? {
            request.metadata_mut().insert("authorization", bearer);
        }
        Ok(request)
    }
}

/// What a call gives within its time.
async fn answered<T>(
    within: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match timeout_at(Instant::now() + within, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Error::TimedOut),
    }
}

fn endpoint(url: &str, access: &Access) -> Result<tonic::transport::Endpoint, Error> {
    let target = Target { address: Address::parse(url)?, tls: access.tls.clone() };
    let endpoint = target.tls.endpoint(&target.address)?;
    Ok(endpoint
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES))
}

// === impl EntryBatches ===

impl EntryBatches {
    /// The next entries. None: there are no more.
    ///
    /// # Errors
    /// [`Error`]; [`Error::TimedOut`] if the shard falls silent.
    pub async fn next(&mut self) -> Result<Option<api::LedgerEntries>, Error> {
        match timeout(ENTRIES_WAIT_MAX, self.0.message()).await {
            Ok(batch) => Ok(batch?),
            Err(_) => Err(Error::TimedOut),
        }
    }
}

// === impl Tail ===

impl Tail {
    /// The next checkpoint. None: the shard has ended the stream.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn next(&mut self) -> Result<Option<api::LedgerTail>, Error> {
        Ok(self.0.message().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_auditor_does_not_go_in_plaintext_to_another_machine() {
        let lazy = |url: &str| Ledger::lazy(url, &Access::default());
        assert!(lazy("http://127.0.0.1:7500").is_ok());
        assert!(matches!(lazy("http://192.0.2.1:7500"), Err(Error::Address(_))));
        assert!(matches!(lazy("shard"), Err(Error::Address(_))));
        let nobody = Ledger::connect("http://127.0.0.1:1", &Access::default()).await;
        assert!(matches!(nobody, Err(Error::Unreachable(_))));
    }
}
