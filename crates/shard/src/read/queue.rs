//! The reads of one session: a queue of its own, and a few of them at once, so that a gateway that
//! is slow to take its answers keeps nothing but its own reads waiting.
//!
//! Room for the answers is taken before anything is read, by the most that the map lets a record
//! have; what a record does not need is given back once its size is known.

use std::sync::Arc;

use link::session::FromShard;
use terms::{Reason, Rejection, limits};
use tokio::sync::{Semaphore, mpsc};

use crate::read::reader::{Get, Reader};
use crate::server::answer_room::{AnswerRoom, split};
use crate::write::committer::busy;

/// Groups of reads of one session that are looked up at once.
const READS_AT_ONCE: usize = 4;
/// Reads that are looked up together.
const GETS_AT_ONCE: usize = 32;
/// Bytes of rows that are looked up together, unless one alone has more.
const BYTES_AT_ONCE: usize = limits::FRAME_BYTES_MAX;
/// Bytes of a record's row beside its body, at most.
const ROW_BESIDE_BODY_BYTES: usize = 8 << 10;

/// The way to it. The worker ends with the last of these.
pub(crate) struct ReadQueue(mpsc::Sender<Get>);

impl ReadQueue {
    /// Starts the worker of one session, whose outgoing half stays `open` as long as the worker has
    /// the store in its hands: a shard that has seen its sessions end may close it.
    pub(crate) fn start(reader: Reader, room: AnswerRoom, open: mpsc::Sender<FromShard>) -> Self {
        let (sender, waiting) = mpsc::channel(limits::SESSION_READS_MAX);
        tokio::spawn(async move {
            work(reader, room, waiting, &open).await;
            drop(open);
        });
        Self(sender)
    }

    /// Queues a read, or answers it at once when too many wait.
    pub(crate) fn submit(&self, get: Get) {
        match self.0.try_send(get) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(get)) => get.reply.send(busy()),
            Err(mpsc::error::TrySendError::Closed(get)) => {
                get.reply.send(Rejection::new(Reason::ShuttingDown).into());
            }
        }
    }
}

/// Looks up what waits, until nobody asks or the session has ended. Reads that are left then are
/// answered by being dropped.
async fn work(
    reader: Reader,
    room: AnswerRoom,
    mut waiting: mpsc::Receiver<Get>,
    open: &mpsc::Sender<FromShard>,
) {
    let turns = Arc::new(Semaphore::new(READS_AT_ONCE));
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(first) => first,
            None => match waiting.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let mut bytes = row_bytes(&reader, &first);
        let mut gets = vec![(first, bytes)];
        while gets.len() < GETS_AT_ONCE
            && let Ok(get) = waiting.try_recv()
        {
            let more = row_bytes(&reader, &get);
            if bytes + more > BYTES_AT_ONCE {
                next = Some(get);
                break;
            }
            bytes += more;
            gets.push((get, more));
        }
        let Some(mut room) = room.take(bytes).await else { return };
        let gets = gets.into_iter().map(|(mut get, bytes)| {
            get.reply.room = split(&mut room, bytes);
            get
        });
        let gets = gets.collect();
        let (reader, open) = (reader.clone(), open.clone());
        tokio::task::spawn_blocking(move || {
            reader.serve(gets);
            drop(reader);
            drop((turn, open));
        });
    }
}

/// Bytes that a record's row may have. One that was stored under a map that allowed more may have
/// more: it counts as what this map allows.
fn row_bytes(reader: &Reader, get: &Get) -> usize {
    let map = reader.node.map();
    let rules = map.collection(&get.lookup.address.collection);
    let body = rules.map_or(limits::BODY_BYTES_MAX, atlas::CollectionRules::body_bytes_max);
    body + ROW_BESIDE_BODY_BYTES
}
