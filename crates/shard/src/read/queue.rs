//! The reads of one session: a queue of its own, and a few of them at once, so that a gateway that
//! is slow to take its answers keeps nothing but its own reads waiting.
//!
//! Room for the answers is taken before anything is read: first for heads, and for the bodies that
//! lie in their rows; then, for a body that has a row of its own, as much as its head says.

use std::sync::Arc;

use link::session::FromShard;
use terms::{Reason, Rejection, limits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::read::reader::{Get, Reader};
use crate::reply::answer_room::{AnswerRoom, split};
use crate::reply::busy;
use crate::store::record::HEAD_ROW_BYTES_MAX;

/// Groups of reads of one session that are looked up at once.
const READS_AT_ONCE: usize = 4;
/// Reads that are looked up together.
const GETS_AT_ONCE: usize = 32;

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

/// Looks up what waits, until no caller asks or the session has ended. Reads that are left then are
/// answered by being dropped.
async fn work(
    reader: Reader,
    room: AnswerRoom,
    mut waiting: mpsc::Receiver<Get>,
    open: &mpsc::Sender<FromShard>,
) {
    let turns = Arc::new(Semaphore::new(READS_AT_ONCE));
    let mut gets = Vec::new();
    while waiting.recv_many(&mut gets, GETS_AT_ONCE).await > 0 {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let Some(mut heads) = room.take(gets.len() * HEAD_ROW_BYTES_MAX).await else { return };
        for get in &mut gets {
            get.reply.room = split(&mut heads, HEAD_ROW_BYTES_MAX);
        }
        let group = Group { reader: reader.clone(), room: room.clone(), open: open.clone() };
        tokio::spawn(group.serve(std::mem::take(&mut gets), turn));
    }
}

/// Reads that are looked up together, and what they are looked up with.
struct Group {
    reader: Reader,
    room: AnswerRoom,
    /// Keeps the store open for as long as this one may read it.
    open: mpsc::Sender<FromShard>,
}

impl Group {
    /// Reads heads; then each body that lies apart, once there is room for it.
    async fn serve(self, gets: Vec<Get>, _turn: OwnedSemaphorePermit) {
        let Some(mut apart) = self.look_up(gets).await else { return };
        while let Some(mut get) = apart.pop() {
            let Some(bytes) = get.body else { continue };
            let Some(room) = self.room.take(bytes + HEAD_ROW_BYTES_MAX).await else { return };
            get.reply.room = Some(room);
            match self.look_up(vec![get]).await {
                // It has grown in between: it waits again.
                Some(grown) => apart.extend(grown),
                None => return,
            }
        }
    }

    /// `None`: a panic; what was being read is answered by being dropped.
    async fn look_up(&self, gets: Vec<Get>) -> Option<Vec<Get>> {
        let (reader, open) = (self.reader.clone(), self.open.clone());
        let served = tokio::task::spawn_blocking(move || {
            let apart = reader.serve(gets);
            drop(reader);
            drop(open);
            apart
        });
        served.await.ok()
    }
}

#[cfg(test)]
mod tests;
