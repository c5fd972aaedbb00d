//! The lists and counts of a session: a few at once, each on a thread that may block, with room for
//! its answer.

use std::sync::Arc;

use terms::limits::{BODY_BYTES_MAX, LIST_PAGE_BYTES_MAX};
use tokio::sync::Semaphore;

use crate::read::list::{List, View};
use crate::read::reader::Reader;
use crate::reply::answer_room::AnswerRoom;
use crate::reply::busy;

/// Lists and counts that are read at once, of all sessions.
const LISTS_AT_ONCE: usize = 4;
/// Lists and counts that may wait for that.
const LISTS_WAITING_MAX: usize = 256;

/// What lists and counts need. Clones share it.
#[derive(Clone)]
pub(crate) struct ListCalls {
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl ListCalls {
    /// For all sessions of one shard.
    pub(crate) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(LISTS_AT_ONCE)),
            waiting: Arc::new(Semaphore::new(LISTS_WAITING_MAX)),
        }
    }

    /// Reads a page, and answers. It waits for room before it waits for its turn: a gateway that
    /// takes no answers keeps no other from its lists.
    pub(crate) fn submit(&self, mut list: List, reader: &Reader, room: &AnswerRoom) {
        let Ok(waiting) = Arc::clone(&self.waiting).try_acquire_owned() else {
            return list.reply.send(busy());
        };
        let (turns, reader, room) = (Arc::clone(&self.turns), reader.clone(), room.clone());
        tokio::spawn(async move {
            // The first record always fits, whatever its size.
            let body = if list.query.view == View::Whole { BODY_BYTES_MAX } else { 0 };
            // None: the session has ended.
            let Some(taken) = room.take(LIST_PAGE_BYTES_MAX + body).await else { return };
            list.reply.room = Some(taken);
            let Ok(turn) = turns.acquire_owned().await else { return };
            drop(waiting);
            tokio::task::spawn_blocking(move || {
                list.serve(&reader);
                drop(turn);
            });
        });
    }
}
